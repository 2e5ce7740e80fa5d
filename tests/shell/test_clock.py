"""Two clocks with one face."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from carry.base import clock as module
from carry.base.clock import ClockFailed, LockstepClock, WallClock


class Stream:
    def __init__(self) -> None:
        self.frames, self.woken, self.polled = 0, False, 0

    def poll(self, timeout_s: float) -> bool:
        self.polled += 1
        return self.woken

    def received(self) -> int:
        return self.frames


class Venue:
    def __init__(self) -> None:
        self.stream = Stream()


class Time:
    """The machine's clocks, as the test sets them (ns)."""

    def __init__(self) -> None:
        self.mono, self.wall = 50_000_000_000, 1_700_000_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.mono

    def monotonic(self) -> float:
        return self.mono / 1e9

    def time_ns(self) -> int:
        return self.wall

    def sleep(self, seconds: float) -> None:
        self.mono += int(seconds * 1e9)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Time:
    machine = Time()
    monkeypatch.setattr(module, "time", machine)
    return machine


def test_the_monotonic_clock_never_goes_back(machine: Time) -> None:
    clock = WallClock()
    assert clock.mono_ms() == 50_000
    machine.mono -= 10_000_000_000
    assert clock.mono_ms() == 50_000


def test_the_venue_s_clock_is_the_last_stamp_and_the_time_since(machine: Time) -> None:
    clock = WallClock()
    assert clock.venue_ms() is None
    assert clock.skew_ms() is None
    clock.saw_venue(1_000_000, 49_000)
    machine.mono += 250_000_000
    assert clock.venue_ms() == 1_000_250
    # An older stamp (a book of a second ago) proves nothing new and does not set it back.
    clock.saw_venue(999_000, 50_000)
    assert clock.venue_ms() == 1_000_250
    clock.saw_venue(1_000_900, 50_000)
    assert clock.venue_ms() == 1_000_900


def test_one_absurd_stamp_is_forgotten(machine: Time) -> None:
    clock = WallClock()
    clock.saw_venue(9_000_000_000, 0)
    for n in range(3):
        clock.saw_venue(1_000_000 + n, 0)
    assert clock.venue_ms() == 1_000_002


def test_a_leap_is_believed_when_a_second_stamp_agrees(machine: Time) -> None:
    """One stamp from the future would put nonces and floors there; a machine that slept has two."""
    clock = WallClock()
    clock.saw_venue(1_000_000, 0)
    clock.saw_venue(9_000_000_000, 0)
    assert clock.venue_ms() == 1_000_000
    clock.saw_venue(1_000_001, 0)
    clock.saw_venue(9_000_000_000, 0)
    clock.saw_venue(7_000_000_000, 0)
    assert clock.venue_ms() == 1_000_001
    clock.saw_venue(7_000_000_002, 0)
    assert clock.venue_ms() == 7_000_000_002


def test_skew_is_ours_minus_the_venue_s(machine: Time) -> None:
    clock = WallClock()
    clock.saw_venue(clock.wall_ms() - 3_000, 0)
    assert clock.skew_ms() == 3_000


def test_a_reboot_does_not_set_the_journal_s_times_back(machine: Time) -> None:
    """The machine's monotonic clock starts at zero again; cooldowns of the journal still end."""
    clock = WallClock()
    wall_ms = clock.wall_ms()
    machine.mono = 1_000_000_000
    machine.wall += 60_000_000_000
    again = WallClock()
    again.resume(50_000, wall_ms)
    assert again.mono_ms() == 110_000
    machine.mono += 5_000_000
    assert again.mono_ms() == 110_005


def test_a_wait_ends_early_for_what_is_ours_and_for_a_stop() -> None:
    venue, stopped = Venue(), [False]
    clock = WallClock(lambda: stopped[0])
    venue.stream.woken = True
    assert clock.wait(venue, 10_000) is True
    venue.stream.woken = False
    assert clock.wait(venue, 1) is False
    stopped[0] = True
    assert clock.wait(venue, 10_000_000) is False


def test_a_stop_ends_one_wait_only(machine: Time) -> None:
    """What a stop has to finish takes ticks: without waits they would be a busy loop."""
    venue, clock = Venue(), WallClock(lambda: True)

    def poll(timeout_s: float) -> bool:
        machine.sleep(timeout_s)
        return False

    venue.stream.poll = poll
    assert clock.wait(venue, 1_000) is False
    assert clock.mono_ms() == 50_000
    assert clock.wait(venue, 1_000) is False
    assert clock.mono_ms() == 51_000


def test_journal_ids_are_drawn() -> None:
    clock = WallClock()
    ids = {clock.journal_id("0xa") for _ in range(100)}
    assert len(ids) == 100
    assert all(0 <= one < 2**64 for one in ids)


class Exchange(ThreadingHTTPServer):
    """The lockstep protocol, and nothing else."""

    daemon_threads, block_on_close = True, False
    now_ms, sent, woken_after = 5_000, 3, 10_000_000

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.venue = Venue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Exchange

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if body["type"] == "wait":
            self.server.now_ms += min(body["ms"], self.server.woken_after)
            self.server.venue.stream.frames = self.server.sent = self.server.sent + 2
        reply = {"time": self.server.now_ms, "seed": 7, "streams": {"bot": self.server.sent}}
        text = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    server = Exchange()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def url(exchange: Exchange) -> str:
    return f"http://127.0.0.1:{exchange.server_port}"


def test_lockstep_has_one_time(exchange: Exchange) -> None:
    clock = LockstepClock(url(exchange), "bot")
    assert clock.mono_ms() == clock.wall_ms() == clock.venue_ms() == 5_000
    assert clock.skew_ms() == 0
    clock.saw_venue(9_999_999, 0)
    assert clock.mono_ms() == 5_000
    clock.on_reply({"x-exchange-time": "5100"})
    assert clock.mono_ms() == 5_100
    clock.on_reply({"content-type": "x"})
    assert clock.mono_ms() == 5_100


def test_a_lockstep_wait_returns_when_the_reader_has_every_frame(exchange: Exchange) -> None:
    clock = LockstepClock(url(exchange), "bot")
    assert clock.wait(exchange.venue, 1_000) is False
    assert clock.mono_ms() == 6_000
    assert exchange.venue.stream.received() == 5
    exchange.woken_after = 10
    assert clock.wait(exchange.venue, 1_000) is True
    assert clock.mono_ms() == 6_010
    assert exchange.asked[-1] == {"type": "wait", "ms": 1_000, "wake": True, "session": "bot"}


def test_syncing_twice_at_one_moment_asks_once(exchange: Exchange) -> None:
    """Time passes only by requests and waits: without either there is nothing new to drain."""
    clock = LockstepClock(url(exchange), "bot")
    exchange.venue.stream.frames = 3
    clock.sync(exchange.venue)
    asked = len(exchange.asked)
    clock.sync(exchange.venue)
    assert len(exchange.asked) == asked
    clock.on_reply({"x-exchange-time": "5100"})
    clock.sync(exchange.venue)
    assert len(exchange.asked) == asked + 1


def test_frames_that_never_arrive_are_told(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S_MAX", 0.05)
    clock = LockstepClock(url(exchange), "bot")
    with pytest.raises(ClockFailed, match="wrote 3 websocket frames and the reader holds 0"):
        clock.sync(exchange.venue)


def test_the_journal_id_is_a_function_of_the_run(exchange: Exchange) -> None:
    one, two = LockstepClock(url(exchange), "bot"), LockstepClock(url(exchange), "bot")
    assert one.journal_id("0xA") == two.journal_id("0xa") != one.journal_id("0xb")
    assert 0 <= one.journal_id("0xA") < 2**64


def test_an_exchange_that_is_not_there_is_told() -> None:
    with pytest.raises(ClockFailed, match="does not answer"):
        LockstepClock("http://127.0.0.1:9", "bot")
