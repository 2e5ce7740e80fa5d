"""The second process: one telling per episode over every route, silence, dead threads, the monitor,
the daily note; it never writes the journal but its inbox."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from carry.base.secrets import Secret
from carry.core.actions import Alert
from carry.core.observations import Observations
from carry.core.state import Latch, Repair, State
from carry.ops import watch as module
from carry.ops.botapi import BotApi
from carry.ops.catalogue import cause_of
from carry.ops.main import memory_of
from carry.ops.memory import Memory
from carry.ops.outbox import Delivery
from carry.ops.routes import LogRoute, NotTaken, TelegramRoute, WebhookRoute
from carry.ops.watch import Watch
from carry.shell import places
from carry.shell.journal import Journal

from .conftest import ops_log
from .telegram_server import ANNA, TOKEN, BotServer

HOUR_S = 3_600


class Clock:
    """Both clocks of the watch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s = 1_000_000.0  # 13:46 UTC
        monkeypatch.setattr(module.time, "monotonic", lambda: self.s)
        monkeypatch.setattr(module, "wall_ms", lambda: int(self.s * 1000))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Route:
    """Takes everything, or refuses while `down`."""

    def __init__(self, name: str = "webhook", level: str = "warn") -> None:
        self.name, self.level, self.told, self.down = name, level, [], False

    def tell(self, episodes: Any) -> None:
        if self.down:
            raise NotTaken("webhook_down", "HTTP 500")
        self.told += [(e.name, e.count, e.text) for e in episodes]


class Ops:
    """A watch with one route beside the log, looked at by hand."""

    def __init__(self, where: places.Places, clock: Clock, *routes: Any) -> None:
        self.where, self.clock, self.routes = where, clock, routes
        self.memory = memory_of(where)
        self.watch = Watch(where, ops_log(where), self.memory, [LogRoute(ops_log(where)), *routes])

    def look(self, seconds: float = 1.0) -> None:
        self.clock.s += seconds
        self.watch.look()
        for delivery in self.watch._deliveries[1:]:
            delivery.once(int(self.clock.s * 1000))

    def events(self, name: str) -> list[dict[str, str]]:
        lines = (self.where.logs / "ops.log").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["event"] == name]

    def told(self, *also: str) -> list[tuple[str, int]]:
        """What the first route took of the bot's alerts; of ops' own those that are named."""
        own = [name for name in ("daily_note", "silence", "webhook_down") if name not in also]
        return [(name, count) for name, count, _ in self.routes[0].told if name not in own]


@pytest.fixture
def ops(where: places.Places, clock: Clock) -> Iterator[Ops]:
    made = Ops(where, clock, Route())
    yield made
    made.memory.close()


def alert(name: str, level: str = "page", coin: str | None = "HYPE", text: str = "Do it.") -> Alert:
    return Alert(level=level, name=name, coin=coin, text=text)


# --- episodes ------------------------------------------------------------------------------------


def test_one_telling_per_episode_then_still_failing(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    """Naked for three hours, said each hour by the core: once, then x2, x3; later it is news."""
    naked = attrs.evolve(
        state, carries={"HYPE": attrs.evolve(state.carries["HYPE"], repair=Repair(spent_ms=9_000))}
    )
    for _ in range(3):
        journal.commit(tick, naked, (alert("naked_HYPE"),))
        for _ in range(10):
            journal.commit(tick, naked, ())
            ops.look(HOUR_S / 10)
    assert ops.told() == [("naked_HYPE", 1), ("naked_HYPE", 2), ("naked_HYPE", 3)]
    texts = [row["text"] for row in ops.events("ops_alert") if row["name"] == "naked_HYPE"]
    assert len(texts) == 3
    # It ends, and comes back after ten quiet minutes: another episode, told at once.
    journal.commit(tick, state, ())
    ops.look()
    ops.look(601)
    journal.commit(tick, naked, (alert("naked_HYPE"),))
    ops.look()
    assert ops.told()[3:] == [("naked_HYPE", 1)]


def test_what_flickers_is_one_episode(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    latched = attrs.evolve(state, latches={"drawdown": Latch(mode="reduce", why="x", since_ms=0)})
    for _ in range(20):
        journal.commit(tick, latched, (alert("drawdown", coin=None),))
        ops.look(30)
        journal.commit(tick, state, ())
        ops.look(30)
    assert ops.told() == [("drawdown", 1)]
    ops.look(HOUR_S)
    assert ops.told() == [("drawdown", 1), ("drawdown", 20)]


def test_markets_and_causes_are_apart(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    journal.commit(
        tick,
        state,
        (
            alert("refused_lot"),
            alert("refused_tick"),
            alert("refused_lot", coin="BTC"),
            alert("fault_context_age_ms_HYPE"),
            alert("fault_clock_skew_ms", coin=None),
        ),
    )
    ops.look()
    assert ops.told() == [
        ("refused_tick", 2),
        ("refused_lot", 1),
        ("fault_context_age_ms_HYPE", 1),
        ("fault_clock_skew_ms", 1),
    ]


def test_what_grows_worse_is_told_at_once(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    journal.commit(tick, state, (alert("agent_expires_14d", "warn", None),))
    ops.look()
    journal.commit(tick, state, (alert("agent_expires_7d", "warn", None),))
    ops.look(HOUR_S)
    assert len(ops.told()) == 1, "a warning is repeated after a day"
    journal.commit(tick, state, (alert("agent_expires_2d", "page", None),))
    ops.look()
    assert ops.told()[1:] == [("agent_expires_2d", 3)]


def test_levels_are_routed(
    where: places.Places, clock: Clock, journal: Journal, state: State, tick: Observations
) -> None:
    pages, all_ = Route("webhook", "page"), Route("telegram_1", "info")
    ops = Ops(where, clock, pages, all_)
    levels = (("refused_lot", "info"), ("adopt", "warn"), ("drawdown", "page"))
    journal.commit(tick, state, tuple(alert(name, level) for name, level in levels))
    ops.look()
    assert [name for name, _, _ in pages.told if name != "daily_note"] == ["drawdown"]
    assert [name for name, _, _ in all_.told if name != "daily_note"] == [n for n, _ in levels]


def test_at_least_once_over_an_outage_and_a_crash(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    route = ops.routes[0]
    route.down = True
    journal.commit(tick, state, (alert("drawdown", coin=None),))
    for _ in range(5):
        ops.look(60)
    assert route.told == []
    # The process ends before the route took it, and another begins.
    ops.memory.close()
    again = Ops(ops.where, ops.clock, Route())
    again.look()
    again.look()
    assert again.told() == [("drawdown", 1)]
    # Killed between the route's answer and the mark: told twice, never not.
    again.memory.rows("DELETE FROM told")
    again.look()
    assert again.told() == [("drawdown", 1)] * 2
    again.memory.close()


def test_a_route_that_fails_is_said_by_the_others(
    where: places.Places, clock: Clock, journal: Journal, state: State, tick: Observations
) -> None:
    broken, other = Route("webhook"), Route("telegram_1")
    broken.down = True
    ops = Ops(where, clock, broken, other)
    journal.commit(tick, state, (alert("drawdown", coin=None),))
    for _ in range(4):
        ops.look(60)
        journal.commit(tick, state, ())
    names = [name for name, _, _ in other.told if name != "daily_note"]
    assert names == ["drawdown", "webhook_down"]
    broken.down = False
    ops.look(60)
    ops.look(1)
    assert ops.memory.lasting() == [] or "webhook_down" not in str(ops.memory.lasting())


# --- silence, threads, the monitor ----------------------------------------------------------------


def test_silence_is_said_and_repeated_only_later(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    for _ in range(10):
        ops.look(60)
    assert ops.told("silence") == [("silence", 1)]
    assert "nobody hedges it" in ops.routes[0].told[-1][2]
    ops.look(HOUR_S)
    assert ops.told("silence") == [("silence", 1), ("silence", 2)]
    journal.commit(tick, state, ())
    ops.look()
    assert [c for _, c, _, _ in ops.memory.lasting()] == []
    beat = json.loads((ops.where.run_folder / "heartbeat.json").read_text())
    assert beat["seq"] in (0, 1)


def test_it_waits_for_a_bot_that_has_not_started(ops: Ops) -> None:
    ops.look()
    assert ops.events("ops_waits")
    assert not Path(ops.where.journal).exists()


def test_a_journal_that_becomes_unreadable_is_an_alert(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    journal.commit(tick, state, ())
    ops.look()
    journal.close()
    for file in Path(ops.where.journal).parent.glob("carry.db*"):
        file.write_bytes(b"not a database at all, not even close to one")
    ops.look()
    assert ops.told() == [("journal_unreadable", 1)]


# A thread ends early only by an exception, which pytest notes: here it is the fault under test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("how", ["ends", "hangs", "fails"])
def test_a_thread_that_dies_is_noticed_elsewhere(
    ops: Ops, journal: Journal, state: State, tick: Observations, how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.undo()  # threads need real clocks
    journal.commit(tick, state, ())
    hold = threading.Event()

    def once() -> float:
        if how == "ends":
            raise SystemExit
        if how == "fails":
            raise RuntimeError("the API changed")
        hold.wait(30)
        return 1.0

    ops.watch.add_worker("chat", once)
    worker = ops.watch.workers[-1]
    worker.quiet_s_max = 0.2
    worker.start()
    end = time.monotonic() + 10
    while not worker.problem() and time.monotonic() < end:
        time.sleep(0.02)
    ops.watch.look()
    ops.watch._deliveries[1].once(module.wall_ms())
    hold.set()
    assert ("ops_worker_chat", 1) in ops.told()
    assert not ops.watch._well, "and the monitor elsewhere is not asked"


@pytest.fixture
def monitor() -> Iterator[Any]:
    """A monitor elsewhere: counts who asks, and answers `status`."""

    class Monitor(http.server.BaseHTTPRequestHandler):
        asked: ClassVar[list[str]] = []
        bodies: ClassVar[list[Any]] = []
        status = 200

        def do_GET(self) -> None:
            Monitor.asked.append(self.path)
            self.send_response(Monitor.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            Monitor.bodies.append(json.loads(self.rfile.read(length)))
            self.do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Monitor)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    Monitor.url = f"http://127.0.0.1:{server.server_address[1]}/ping/abc"
    yield Monitor
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def test_the_monitor_is_asked_only_while_all_is_well(
    place: Callable[..., places.Places],
    clock: Clock,
    monitor: Any,
    state: State,
    tick: Observations,
) -> None:
    where = place(f"alerts: {{heartbeat_url: '{monitor.url}', silence_ms_max: 5000}}\n")
    ops = Ops(where, clock, Route())
    assert ops.watch._ask_monitor() == 1.0
    assert monitor.asked == [], "no bot yet"
    journal = Journal.open(where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(state, 1)
    journal.commit(tick, state, ())
    ops.look()
    assert ops.watch._ask_monitor() == 60.0
    assert monitor.asked == ["/ping/abc"]
    ops.look(6)
    assert ops.watch._ask_monitor() == 1.0
    assert len(monitor.asked) == 1, "the bot is silent"
    journal.commit(tick, state, ())
    ops.look()
    monitor.status = 500
    for _ in range(3):
        assert ops.watch._ask_monitor() == 10.0
    assert "heartbeat_unanswered" in str(ops.memory.lasting())
    monitor.status = 200
    ops.watch._ask_monitor()
    assert "heartbeat_unanswered" not in str(ops.memory.lasting())
    journal.close()


# --- real routes ---------------------------------------------------------------------------------


def test_telegram_and_webhook_take_what_is_due(
    where: places.Places, clock: Clock, monitor: Any, server: BotServer, journal: Journal,
    state: State, tick: Observations,
) -> None:  # fmt: skip
    telegram = TelegramRoute(BotApi(server.url, Secret(TOKEN)), ANNA, "warn")
    ops = Ops(where, clock, telegram, WebhookRoute(Secret(monitor.url), "warn"))
    journal.commit(tick, state, (alert("naked_HYPE", text="HYPE <b>&</b> is unhedged."),))
    ops.look()
    assert any(chat == ANNA and "PAGE naked_HYPE\nHYPE <b>&</b> is" in t for chat, t in server.sent)
    body = monitor.bodies[-1]
    assert "naked_HYPE" in body["text"]
    assert [a["cause"] for a in body["alerts"] if a["name"] != "daily_note"] == ["naked"]
    # The API asks to wait: it is waited, and nothing is lost.
    server.answers["sendMessage"] = [(429, {"ok": False, "parameters": {"retry_after": 30}})]
    journal.commit(tick, state, (alert("drawdown", coin=None),))
    delivery = Delivery(ops.memory, telegram, 3_600_000)
    ops.watch.look()
    assert delivery.once(int(clock.s * 1000)) == 30.0
    assert delivery.failure is not None
    assert TOKEN not in str(delivery.failure)
    delivery.once(int(clock.s * 1000))
    assert "drawdown" in server.sent[-1][1]
    ops.memory.close()


def test_a_storm_of_alerts_is_few_messages(
    where: places.Places, clock: Clock, server: BotServer, journal: Journal, state: State,
    tick: Observations,
) -> None:  # fmt: skip
    telegram = TelegramRoute(BotApi(server.url, Secret(TOKEN)), ANNA, "warn")
    ops = Ops(where, clock, telegram)
    many = tuple(alert(f"naked_C{n}", coin=f"C{n}") for n in range(25))
    journal.commit(tick, state, many)
    for _ in range(5):
        ops.look()
    assert len(server.sent) <= 4
    assert all(f"naked_C{n}\n" in server.said() for n in range(25))
    ops.memory.close()


# --- the daily note ------------------------------------------------------------------------------


def test_a_quiet_day_sends_only_the_note(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    for _ in range(3 * 24 * 2):
        journal.commit(tick, state, ())
        ops.look(1_800)
    names = [name for name, _, _ in ops.routes[0].told]
    assert names == ["daily_note"] * 4  # the first at once: it is after seven
    text = ops.routes[0].told[-1][2]
    assert "earned $" in text
    assert "the same money left in plain USDC would be $" in text
    assert "Holding HYPE" in text
    assert "Unexplained: $" in text


def test_the_note_says_what_was_not_done_and_why(
    where: places.Places, clock: Clock, state: State, tick: Observations
) -> None:
    from carry.core.state import Idle

    idle = attrs.evolve(
        state.carries["HYPE"],
        phase=Idle(until_ms=10**12),
        perp_sz=0 * state.carries["HYPE"].perp_sz,
    )
    journal = Journal.open(where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(attrs.evolve(state, carries={"HYPE": idle}), 1)
    ops = Ops(where, clock, Route())
    ops.look()
    text = ops.routes[0].told[0][2]
    assert "Not done: " in text
    assert "is " in text.split("Not done: ")[1]
    assert "needs" in text.split("Not done: ")[1]
    ops.memory.close()


# --- what ops may touch --------------------------------------------------------------------------


def test_ops_reads_the_journal_and_writes_only_its_own_file(
    ops: Ops, journal: Journal, state: State, tick: Observations
) -> None:
    journal.commit(tick, state, (alert("naked_HYPE"),))
    before = list(journal._db.iterdump())
    for _ in range(5):
        ops.look(60)
    assert list(journal._db.iterdump()) == before
    assert (Path(ops.where.journal).parent / "ops.db").stat().st_mode & 0o077 == 0


def test_a_first_look_at_an_old_journal_tells_only_the_last_day(
    ops: Ops, journal: Journal, state: State
) -> None:
    day = 86_400_000
    now = 10 * day
    for at_ms, name in ((now - 3 * day, "drawdown"), (now - day // 2, "crash")):
        seen = Observations(mono_ms=1, wall_ms=at_ms, venue_ms=at_ms)
        journal.commit(seen, state, (alert(name, coin=None),))
    journal.commit(
        Observations(mono_ms=1, wall_ms=now, venue_ms=now),
        attrs.evolve(state, venue_ms=now),
        (),
    )
    ops.look()
    assert ops.told() == [("crash", 1)]


def test_marks_are_kept(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "ops.db")
    memory.add("x")
    memory.add("x", 2)
    memory.close()
    assert Memory(tmp_path / "ops.db").mark("x") == 3


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("naked_HYPE", "naked"),
        ("liquidation_BTC_close", "liquidation"),
        ("external_HYPE_spot_77", "external"),
        ("fault_context_age_ms_HYPE", "fault_context_age_ms_HYPE"),
        ("order_123456", "foreign_order"),
        ("undecided_12", "undecided"),
        ("something_new", "something_new"),
    ],
)
def test_causes(name: str, cause: str) -> None:
    assert cause_of(name) == cause
