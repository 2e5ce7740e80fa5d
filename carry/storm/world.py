"""One seed's world: the exchange, its time, the wire, the journal, and the bot that lives in them.

Everything of the bot is the real thing; the clock, the two ends of the wire and the process itself
are the storm's. There is no thread and no socket, so a run is a function of its case.
"""

import heapq
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from carry.base.clock import Streaming, WallClock
from carry.base.secrets import Redactor
from carry.core.actions import Action
from carry.core.observations import Observations
from carry.core.state import State
from carry.exchange.direct import Direct, Throttled
from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange
from carry.exchange.paths import Market
from carry.shell.bot import all_foreign
from carry.shell.by_value import DirectVenue
from carry.shell.commands import overridden
from carry.shell.embedded import play_account, play_agent
from carry.shell.journal import CHECKPOINT_TICKS, Journal
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, CrashedTwice, Manner
from carry.shell.value_calls import Call
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.keys import AgentKey

from .draw import CONCERNS, Case, stream
from .faults import Storm
from .invariants import Truth, Violation
from .market import START_MINUTE, STILL, Shaped, stand_still, thin_out
from .watched import Watched
from .wire import StormLink, ValueLink, Wire

EPOCH_MS: Final = 1_767_607_200_000
HOUR_MS: Final = 3_600_000
RESTARTS_MAX: Final = 400
START_S: Final = START_MINUTE * 60


class Killed(BaseException):
    """The process is gone, here and now. No `except Exception` may keep it alive."""


class Database(sqlite3.Connection):
    """The journal's connection: each statement is a boundary at which the process may die."""

    boundary: Callable[[str], None] = staticmethod(lambda name: None)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        word = sql.split(maxsplit=1)[0]
        self.boundary(f"before {word}")
        cursor = super().execute(sql, parameters)
        self.boundary(f"after {word}")
        return cursor


class StormJournal(Journal):
    """The real journal, watched: what it committed and when."""

    world: "World"

    def commit(self, observations: Observations, state: State, actions: Sequence[Action]) -> None:
        before = self.world.bot.state
        super().commit(observations, state, actions)
        self.world.committed(before, observations, state, actions)

    def crashed(self, observations: Observations, state: State, text: str) -> None:
        super().crashed(observations, state, text)
        raise Violation("CRASH", f"a check of the bot's own failed: {text}")


class StormClock(WallClock):
    """The machine's clocks in the exchange's time; the venue's clock is learned from stamps."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world
        self.wall_offset_ms = 0
        self.wall_stands_ms: int | None = None
        self._shift_ms = -EPOCH_MS + 50_000_000

    def mono_ms(self) -> int:
        return self._world.exchange.now + self._shift_ms

    def resume(self, mono_ms: int, wall_ms: int) -> None:
        gone_ms = max(0, self.wall_ms() - wall_ms)
        self._shift_ms = mono_ms + gone_ms - self._world.exchange.now

    def wall_ms(self) -> int:
        if self.wall_stands_ms is not None:
            return self.wall_stands_ms
        return self._world.exchange.now + self.wall_offset_ms

    def journal_id(self, account: str) -> int:
        return stream(self._world.case.seed, "journal").getrandbits(64)

    def wait(self, venue: Streaming, ms: int) -> bool:
        world = self._world
        world.boundary("wait")
        end_ms = world.exchange.now + ms
        while True:
            if venue.stream.poll(0):
                return True
            if world.stopping and not self._noticed:
                self._noticed = True
                return False
            if world.exchange.now >= end_ms:
                return False
            world.until(end_ms, wake=True)


class Silent(EventLog):
    """A log that keeps nothing: the transcript of a violation is made from the journal."""

    def __init__(self) -> None:
        super().__init__(None, Redactor(), console=False)

    def emit(self, event: str, at_ms: int | None, coin: str | None, fields: Any) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


class StormBot(Bot):
    """The real loop without its rendering, which decides nothing and is half of a tick's time."""

    def _say(self, *args: Any) -> None:
        self._missed.clear()


@attrs.frozen(order=True)
class Due:
    """Something that happens at a time of the exchange."""

    at_ms: int
    no: int
    what: Callable[[], None] = attrs.field(order=False)


class World:
    """See the module. `disk`: keep the journal in a file, as in production, not in memory.

    start_s: seconds past an hour at which life begins. values: the bot and the exchange exchange
    values, not bytes. checkpoints: as often in the journal as in production, so that a replay can
    begin at each; otherwise at its beginning only. Who lives otherwise names another clock, bot,
    market or network.
    """

    clock_type: type[StormClock] = StormClock
    bot_type: type[Bot] = StormBot
    network = "storm"
    operator = "storm"

    def __init__(
        self,
        case: Case,
        *,
        disk: bool = False,
        start_s: int = START_S,
        values: bool = False,
        checkpoints: bool = False,
    ) -> None:
        self.case = case
        self._checkpoint_ticks = CHECKPOINT_TICKS if checkpoints else 10**9
        self.values = values
        self._users: dict[str, Direct] = {}
        self.rng = {concern: stream(case.seed, concern) for concern in CONCERNS}
        start_ms = EPOCH_MS + case.seed % 24 * HOUR_MS
        self.exchange = Exchange(self._market(start_ms), seed=case.seed)
        self.exchange.funding.history_sample_ms = HOUR_MS
        if case.shape.regime == "thin":
            thin_out(self.exchange, 25)
        elif case.shape.regime == STILL:
            stand_still(self.exchange)
        self.exchange.set_start(start_ms + start_s * 1_000)
        self.account = play_account()
        self.key = AgentKey(play_agent().reveal())
        self.exchange.open_account(
            self.account, mode=case.mode, usdc=case.funds_usd, wallet=case.wallet
        )
        self.exchange.approve(self.key.address, self.account)
        self.clock = self.clock_type(self)
        self.link = self._new_link()
        self.storm = Storm(self)
        self.truth = Truth(self)
        self.stopping = False
        self.tick = 0
        self.restarts = 0
        self.crash_at: int | None = None
        self.boundaries = 0
        self._agenda: list[Due] = []
        self._due_no = 0
        self._folder = tempfile.TemporaryDirectory() if disk else None
        self._path = ":memory:" if self._folder is None else str(Path(self._folder.name) / "db")
        self.db = sqlite3.connect(self._path, isolation_level=None, factory=Database)
        self.on_tick: Callable[[], None] = lambda: None
        self._enough: Callable[[], bool] = lambda: False
        self._done = False
        self.history: list[tuple[State, Observations, State, Sequence[Action]]] = []
        self.keep_history = False
        self.bot: Bot
        self.boot()

    # --- the process --------------------------------------------------------------------

    def boot(self) -> None:
        """Start the process on the journal as it is."""
        case = self.case
        self.stopping = self.clock._noticed = False
        self.link.stop()
        faults = self.link.faults
        self.link = self._new_link()
        self.link.faults = faults
        self.venue = self._new_venue()
        journal = StormJournal.open(
            self._path, network=self.network, account=self.account, connect=self._connect,
            checkpoint_ticks=self._checkpoint_ticks,
        )
        assert isinstance(journal, StormJournal)
        journal.world = self
        state = journal.load()
        if state is None:
            state = State.initial(case.policy, self.venue.capabilities)
            journal.begin(state, self.clock.journal_id(self.account))
        else:
            self.clock.resume(state.now_ms, state.wall_ms)
            self.venue.recall([c.market for c in state.carries.values() if c.market is not None])
        policy, _ = overridden(case.policy, journal.given(state.command_id))
        self.venue.stream.start()
        self.bot = self.bot_type(
            venue=Watched(self.venue, self),
            clock=self.clock,
            journal=journal,
            state=state,
            policy=policy,
            from_file=case.policy,
            log=Silent(),
            manner=Manner(interval_ms=case.interval_ms),
            stop=lambda: self.stopping,
            ready=all_foreign,
        )
        self.truth.booted()

    def _market(self, start_ms: int) -> Market:
        case = self.case
        return Shaped(SeededMarket(case.seed, start_ms, case.policy.coins), case.shape)

    def _new_link(self) -> StormLink:
        return ValueLink(self) if self.values else StormLink(self)

    def _new_venue(self) -> HyperliquidVenue | DirectVenue:
        if isinstance(self.link, ValueLink):
            return DirectVenue(
                account=self.account,
                signer=self.key.address,
                coins=self.case.policy.coins,
                clock=self.clock,
                direct=self.direct,
                passage=Wire(self).carry,
                link=self.link,
            )
        return HyperliquidVenue(
            network=Network.TESTNET,
            account=self.account,
            coins=self.case.policy.coins,
            key=self.key,
            clock=self.clock,
            transport=Wire(self),
            link=self.link,
        )

    def direct(self, address: str) -> Direct:
        """The exchange by values, for that user."""
        found = self._users.get(address)
        if found is None:
            found = self._users[address] = Direct(self.exchange, address)
        return found

    def _connect(self, *args: Any, **more: Any) -> sqlite3.Connection:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.db.boundary = self.boundary
        return self.db

    def run(self, upto: int, enough: Callable[[], bool] = lambda: False) -> None:
        """Live until tick `upto` or `enough`, through crashes and restarts. Raises Violation."""
        self._enough, self._done = enough, False
        while self.tick < upto and not self._done:
            try:
                left = upto - self.tick
                self.bot.manner = attrs.evolve(
                    self.bot.manner, ticks_max=self.bot.journal.seq + left
                )
                self.bot.run()
                if self.bot.refusal is not None:
                    raise Violation("REFUSAL", self.bot.refusal)
                if self.tick < upto and not self._done:
                    self.restart(self.rng["crash"].randrange(500, 4_000))
            except Killed:
                self.restart(self.rng["crash"].randrange(500, 12_000))
            except CrashedTwice as error:
                raise Violation("CRASH", str(error)) from error

    def restart(self, after_ms: int) -> None:
        self.restarts += 1
        if self.restarts > RESTARTS_MAX:
            raise Violation("RESTARTS", "the process ended too often")
        self.crash_at = None
        self.link.drop()
        while True:
            try:
                self.pass_ms(after_ms)
                self.storm.between_lives()
                self.boot()
                return
            except Killed:
                continue

    def boundary(self, name: str) -> None:
        """A point between two effects at which the process can die."""
        self.boundaries += 1
        if self.crash_at is not None and self.boundaries >= self.crash_at:
            self.crash_at = None
            self.truth.note(f"killed at: {name}")
            raise Killed(name)

    def committed(
        self, before: State, observations: Observations, after: State, actions: Sequence[Action]
    ) -> None:
        """A tick is durable; nothing of it was sent yet."""
        self.tick += 1
        if self.keep_history:
            self.history = [*self.history[-60:], (before, observations, after, actions)]
        self.truth.on_commit(before, observations, after, actions)
        self.storm.on_tick(observations, after)
        self.on_tick()
        if self._enough():
            self._done = True
            self.bot.manner = attrs.evolve(self.bot.manner, ticks_max=self.bot.journal.seq)

    # --- time ---------------------------------------------------------------------------

    def after(self, ms: int, what: Callable[[], None]) -> None:
        """Let `what` happen `ms` of exchange time from now."""
        self._due_no += 1
        heapq.heappush(self._agenda, Due(self.exchange.now + max(ms, 0), self._due_no, what))

    def pass_ms(self, ms: int) -> None:
        end_ms = self.exchange.now + ms
        while self.exchange.now < end_ms:
            self.until(end_ms)

    def until(self, end_ms: int, wake: bool = False) -> None:
        """Let time pass up to `end_ms`, the next thing on the agenda, or the next own frame."""
        ex = self.exchange
        if self._agenda:
            end_ms = min(end_ms, max(self._agenda[0].at_ms, ex.now))
        session = None
        if wake:
            session = self.link.session
            own = self.link.next_own_ms()
            if own is not None:
                end_ms = min(end_ms, max(own, ex.now))
        ex.advance(end_ms, waking=session)
        self.link.pump()
        while self._agenda and self._agenda[0].at_ms <= ex.now:
            heapq.heappop(self._agenda).what()
            self.link.pump()
        self.truth.look()

    def land(self, call: Call) -> tuple[int, Any]:
        """A call reaches the exchange now."""
        status, answer = self.answer(call, self.account)
        self.link.pump()
        if status == 429:
            self.truth.throttled_ms = self.exchange.now
        if call.is_write:
            self.storm.answers.setdefault((call.decoded["nonce"], call.kind == "noop"), answer)
            self.truth.landed(call, answer)
        return status, answer

    def answer(self, call: Call, address: str) -> tuple[int, Any]:
        """What the exchange says; to a call by values in the name of `address`."""
        if call.do is None:
            return self.exchange.http(call.path, call.body)
        try:
            return 200, call.do(address)
        except Throttled:
            return 429, b"null"

    # --- the operator -------------------------------------------------------------------

    def command(self, what: str, **args: str) -> None:
        """Into the inbox, as `carry pause` and its like do."""
        sqlite3.Connection.execute(
            self.db,
            "INSERT INTO inbox (at_ms, who, what, args) VALUES (?, ?, ?, ?)",
            (self.exchange.now, self.operator, what, _json(args)),
        )

    def obey(self, order: str) -> None:
        """Carry out an order of the case's operator."""
        what, _, latch = order.partition(" ")
        self.truth.note(f"operator: {order}")
        if what == "stop":
            self.stopping = True
        elif what == "resume":
            self.command(what, latch=latch)
        elif what != "nothing":
            self.command(what)

    def save(self, path: Path) -> None:
        """Keep the journal in a file of its own, over one that is there."""
        path.unlink(missing_ok=True)
        self.db.boundary = lambda name: None
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.db.execute("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        self.db.close()
        if self._folder is not None:
            self._folder.cleanup()


def _json(args: dict[str, str]) -> str:
    import json

    return json.dumps(args, sort_keys=True)
