"""A bot on the local Aster in one process: real signatures and replies, time by the exchange."""

import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from carry.base.secrets import Redactor, Secret
from carry.core.state import State
from carry.core.types import Leg
from carry.exchange.aster.api import Api
from carry.exchange.aster.auth import Request
from carry.exchange.aster.model import Aster
from carry.shell.commands import overridden
from carry.shell.config_file import parse
from carry.shell.journal import Journal
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, Manner
from carry.shell.status import report
from carry.venues.aster.connect import agent_signer
from carry.venues.aster.constants import Network
from carry.venues.aster.nonces import SharedNonces
from carry.venues.aster.rest import Rest
from carry.venues.aster.venue import AsterVenue
from carry.venues.transport import PostFailed, Reply
from tests.exchange.aster_serving import AGENT, USER

EPOCH_MS = 1_790_000_000_000
LATENCY_MS = 30
CONFIG = """\
venue: {{name: aster, network: testnet, base_url: http://127.0.0.1:1}}
account: {{address: '{user}', agent_key: {{env: NONE}}}}
markets: [{markets}]
interval_ms: {interval_ms}
strategy: {{target_usd_notional: 1500, horizon_h: 2000, volatility: {{max: 20}}{strategy}}}
risk: {{slice_usd: 400, per_symbol_notional_cap: 4000, portfolio_notional_cap: 9000,
  quote_age_ms_max: 120000, account_age_ms_max: 240000, context_age_ms_max: 240000,
  max_spread_bps: 40}}
"""


class Wire:
    """Requests to the exchange, each a little later than the last; faults are the exchange's."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def call(
        self, method: str, target: str, body: str, headers: Mapping[str, str], deadline_s: float
    ) -> Reply:
        self.api.ex.advance(self.api.ex.now + LATENCY_MS)
        path, _, query = target.partition("?")
        named = {name.lower(): value for name, value in headers.items()}
        reply = self.api.answer(Request(method, path, query, body, named))
        if reply is None:
            raise PostFailed(True, "RemoteDisconnected: the connection was closed")
        return reply[0], {name.lower(): value for name, value in reply[2].items()}, reply[1]

    def close(self) -> None: ...


class Time:
    """The exchange's time is all the time there is."""

    def __init__(self, exchange: Aster) -> None:
        self.ex = exchange

    def mono_ms(self) -> int:
        return self.ex.now

    wall_ms = mono_ms

    def venue_ms(self) -> int | None:
        return self.ex.now

    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None: ...

    def journal_id(self, account: str) -> int:
        return int.from_bytes(hashlib.sha256(account.encode()).digest()[:8], "big")

    def sync(self, venue: Any) -> None: ...

    def wait(self, venue: Any, ms: int) -> bool:
        self.ex.advance(self.ex.now + ms)
        return False


class World:
    """One account, one bot, one journal."""

    def __init__(
        self, folder: Path, *, seed: int = 4, markets: str = "{base: BTC}",
        interval_ms: int = 60_000, spot: str = "3000", perp: str = "3000", strategy: str = "",
    ) -> None:  # fmt: skip
        text = CONFIG.format(
            user=USER.address, markets=markets, interval_ms=interval_ms, strategy=strategy
        )
        self.policy, self.wiring = parse(text)
        self.ex = Aster(seed, EPOCH_MS, network="testnet")
        self.ex.open_account(USER.address, spot=Decimal(spot), perp=Decimal(perp))
        self.ex.approve(AGENT.address, USER.address)
        self.api = Api(self.ex)
        self.clock = Time(self.ex)
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        """A new process on the journal as it is."""
        user = USER.address.lower()
        wire = Wire(self.api)
        signer = agent_signer(Secret(AGENT.key.hex()), user, Network.TESTNET)
        nonces = SharedNonces(self.folder, user)
        rest = Rest(dict.fromkeys(Leg, wire), signer, nonces, self.clock)
        self.venue = AsterVenue(
            rest, self.clock, network=Network.TESTNET, account=user, coins=self.policy.coins,
            agent=signer.address,
        )  # fmt: skip
        assert self.venue.identify().problem is None
        path = str(self.folder / "carry.db")
        self.journal = Journal.open(path, network="testnet", account=user)
        state = self.journal.load()
        if state is None:
            state = State.initial(self.policy, self.venue.capabilities)
            self.journal.begin(state, self.clock.journal_id(user))
        else:
            self.venue.recall([c.market for c in state.carries.values() if c.market is not None])
        policy, _ = overridden(self.policy, self.journal.given(state.command_id))
        self.until_ms = 0
        self.bot = Bot(
            venue=self.venue, clock=self.clock, journal=self.journal, state=state, policy=policy,
            from_file=self.policy, log=EventLog(None, Redactor(), console=False),
            manner=Manner(interval_ms=self.wiring.interval_ms), stop=lambda: False,
        )  # fmt: skip

    def run(self, ticks: int) -> State:
        """So many more ticks."""
        self.bot.manner = attrs.evolve(self.bot.manner, ticks_max=self.journal.seq + ticks)
        return self.bot.run()

    def until(self, wanted: Callable[[State], bool], ticks: int = 400) -> State:
        """Tick until `wanted`; ticks that follow an order come at once, not a minute later."""
        for _ in range(0, ticks, 10):
            state = self.run(10)
            if wanted(state):
                return state
        raise AssertionError(f"not within {ticks} ticks: {report(1, state)}")

    def hours(self, count: int) -> State:
        """Let so many hours pass."""
        end_ms = self.ex.now + count * 3_600_000
        while self.ex.now < end_ms:
            state = self.run(30)
        return state

    @property
    def account(self) -> Any:
        return self.ex.accounts[USER.address.lower()]
