"""From a config to a venue: whose account, with which key, over which clock.

The bot, the doctor and the probes connect by the same code, so that what one of them finds holds
for the others.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import attrs

from carry.base.clock import LockstepClock, WallClock
from carry.base.secrets import Redactor, Secret, check_agent, resolve
from carry.core.policy import Policy
from carry.core.types import Leg
from carry.venues.base import Overview, Venue

from . import embedded
from .logs import EventLog
from .places import Places
from .wiring import NOBODY, VenueWiring, Wiring

if TYPE_CHECKING:
    from carry.venues.hyperliquid.venue import HyperliquidVenue
    from carry.venues.keys import AgentKey

SESSION: Final = "bot"
PAPER: Final = "paper"
PAPER_FILE: Final = "paper.json"
Clocks = WallClock | LockstepClock


class Refused(Exception):
    """Refused for safety: exit code 3."""


def account_of(wiring: Wiring, paper: bool = False) -> str:
    """The account that is read and traded; of paper nobody's, so that none is needed."""
    simulated = wiring.venue.embedded or paper
    account = embedded.play_account() if simulated else wiring.account.address
    assert account is not None, "the config refuses a live venue without an address"
    return account


def network_of(wiring: Wiring, paper: bool = False) -> str:
    """What a journal is of, besides its account: paper of one network is not of another."""
    network = "embedded" if wiring.venue.embedded else str(wiring.venue.network)
    return f"{PAPER} {network}" if paper else network


def lock_name(places: Places, paper: bool = False) -> str:
    """What a second bot must not share, with the account.

    Play money is one account everywhere; there the folder tells bots apart.
    """
    assert places.wiring is not None
    if paper:
        return f"{PAPER} {places.run_folder.resolve()}"
    if places.wiring.venue.embedded:
        return f"embedded {places.run_folder.resolve()}"
    return network_of(places.wiring)


# On Hyperliquid it is let in by evidence, which `ladder` weighs.
REAL_MONEY_REFUSED = (
    "real money on aster is refused: its deposits and withdrawals are not read, and the bot was "
    "not tried under faults there; use its testnet"
)


def refuse_unbuilt(wiring: Wiring, dry_run: bool) -> None:
    """Say no to what this version must not or cannot do."""
    venue = wiring.venue
    if venue.name == "aster" and venue.network == "mainnet" and not dry_run:
        raise Refused(REAL_MONEY_REFUSED)


def key_of(wiring: Wiring, account: str, keyless: bool, redact: Redactor) -> Secret | None:
    """The agent's key; None where there may be none (a dry run) and is none."""
    if wiring.venue.embedded:
        return embedded.play_agent()
    if wiring.account.api_key is not None:
        from . import aster

        aster.legacy_pair(wiring.account, redact)  # no agent, and known to whoever redacts
        return None
    reference = wiring.account.agent_key
    if reference is None:
        if keyless:
            return None
        raise Refused(
            "account.agent_key is missing: name where the key of an agent (API wallet) is, such as "
            "{file: agent.key}; or use --dry-run"
        )
    key = resolve(reference.kind, reference.name)
    redact.add(key)
    check_agent(key, account)
    return key


def connected(
    places: Places,
    policy: Policy,
    wiring: Wiring,
    account: str,
    key: Secret | None,
    stop: threading.Event,
    log: EventLog | None,
) -> tuple[Venue, Clocks]:
    """The venue and the clock that belongs to it; the stream is not started yet."""
    if wiring.venue.name == "aster":
        from . import aster

        return aster.connected(wiring.account, wiring.venue, policy.coins, key, stop.is_set)
    from carry.venues.keys import AgentKey

    agent = None if key is None else AgentKey(key.reveal())
    where = wiring.venue
    if not where.embedded:
        wall = WallClock(stop.is_set)
        return _live(where, policy, account, agent, wall), wall
    return _embedded(places, policy, account, agent, SESSION, log)


def _live(
    where: VenueWiring, policy: Policy, account: str, agent: "AgentKey | None", clock: WallClock
) -> "HyperliquidVenue":
    """Hyperliquid itself, in real time."""
    from carry.venues.hyperliquid.constants import Network
    from carry.venues.hyperliquid.venue import connect

    return connect(
        network=Network(where.network),
        account=account,
        coins=policy.coins,
        key=agent,
        clock=clock,
        base_url=where.base_url,
        ws_url=where.ws_url,
        pinned=policy.token_ids,
        total_has_pnl=where.unified_total_has_pnl,
    )


def _embedded(
    places: Places,
    policy: Policy,
    account: str,
    agent: "AgentKey | None",
    session: str,
    log: EventLog | None,
) -> tuple["HyperliquidVenue", LockstepClock]:
    """The exchange of the run folder as a venue, in its own time."""
    from carry.venues.hyperliquid.constants import Network
    from carry.venues.hyperliquid.venue import connect

    assert places.wiring is not None
    where = places.wiring.venue
    exchange = embedded.find_or_start(places.run_folder, where, places.exchange_state)
    if exchange.started and log is not None:
        fields = {"url": exchange.url, "pid": str(exchange.pid), "seed": str(where.seed)}
        log.emit("exchange_started", None, None, fields)
    clock = LockstepClock(exchange.url, session)
    venue = connect(
        network=Network.TESTNET,
        account=account,
        coins=policy.coins,
        key=agent,
        clock=clock,
        base_url=exchange.url,
        ws_url=exchange.ws_url,
        session=session,
        identified=True,
        on_reply=clock.on_reply,
    )
    return venue, clock


def paper_connected(
    places: Places, policy: Policy, wiring: Wiring, stop: threading.Event, log: EventLog | None
) -> tuple[Venue, Clocks]:
    """The live market, read without a key, and the account beside the journal that is on paper.

    Raises:
        Refused, ReadFailed: the venue did not say what it lists.
    """
    from .paper import PaperAccount, PaperVenue, kept_coins

    where, file = wiring.venue, places.journal_folder / PAPER_FILE
    if where.name == "aster":
        raise Refused("--paper follows Hyperliquid's market only; on Aster use --dry-run")
    clock: Clocks
    if where.embedded:
        live, clock = _embedded(places, policy, NOBODY, None, PAPER, log)
    else:
        clock = wall = WallClock(stop.is_set)
        live = _live(where, policy, NOBODY, None, wall)
    coins = tuple(sorted({*policy.coins, *kept_coins(file)}))
    listed = live.markets(coins).markets
    for coin in list(listed)[:1]:
        live.book(coin, Leg.PERP)  # for its stamp: the account lives in the venue's time
    account = PaperAccount(
        account_of(wiring, paper=True),
        listed,
        clock.venue_ms() or clock.wall_ms(),
        funds_usd=where.funds_usd,
        mode=where.mode,
        file=file,
    )
    return PaperVenue(live, account, coins, clock), clock


def role_asker(wiring: Wiring) -> Callable[[str], str] | None:
    """Asks the config's venue what an address is ("user", "agent", "missing", ...); raises
    `ReadFailed`. None where nobody can be asked.
    """
    if wiring.venue.name != "hyperliquid":
        return None

    def ask(address: str) -> str:
        from carry.venues.hyperliquid.constants import Network
        from carry.venues.hyperliquid.venue import connect

        venue = connect(
            network=Network(wiring.venue.network),
            account=address,
            coins=(),
            key=None,
            clock=WallClock(),
            base_url=wiring.venue.base_url,
            ws_url=wiring.venue.ws_url,
        )
        try:
            return venue.role_of(address).word
        finally:
            venue.close()

    return ask


@contextlib.contextmanager
def public_venue(
    places: Places, base_url: str | None
) -> Iterator[tuple[Venue, Overview, Clocks, Policy]]:
    """A venue for public reads: of the config, of `base_url`, or mainnet's without either."""
    wiring, policy = places.wiring or Wiring(), places.policy or Policy()
    if wiring.venue.name == "aster":
        from . import aster

        with aster.public(wiring.venue, base_url, policy.coins) as (reader, overview, wall):
            yield reader, overview, wall, policy
        return
    from carry.venues.hyperliquid.constants import Network
    from carry.venues.hyperliquid.overview import HyperliquidOverview
    from carry.venues.hyperliquid.venue import connect

    if places.wiring is None:
        wiring = attrs.evolve(
            wiring, venue=VenueWiring(name="hyperliquid", network=Network.MAINNET.value)
        )
    if wiring.venue.embedded and base_url is None:
        # A reader beside the bot: in the exchange's own time nothing may wait for it.
        running = embedded.find(places.run_folder)
        if running is None:
            raise Refused("the embedded exchange does not run: `./start.sh`, or give --base-url")
        base_url = running.url
    network = Network(wiring.venue.network or Network.TESTNET.value)
    clock = WallClock()
    venue = connect(
        network=network,
        account=wiring.account.address or NOBODY,
        coins=policy.coins,
        key=None,
        clock=clock,
        base_url=base_url or wiring.venue.base_url,
        pinned=policy.token_ids,
    )
    try:
        yield venue, HyperliquidOverview(venue), clock, policy
    finally:
        venue.close()
