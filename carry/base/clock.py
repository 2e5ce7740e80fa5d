"""Two clocks with one face: the machine's own, and the embedded exchange's (lockstep).

All values are ms. `mono` never goes back and measures ages; `wall` is the machine's date, for
nonces; `venue` is the venue's clock as far as its stamps prove it.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

TIME_HEADER: Final = "x-exchange-time"
SLICE_S: Final = 0.2  # a stop is noticed within this while nothing arrives
STALE_STAMPS_MAX: Final = 3
STALE_MS: Final = 5_000
DRAIN_S_MAX: Final = 15.0
RUN_S_MAX: Final = 120.0


class ClockFailed(Exception):
    """The exchange that owns the time does not answer: nothing can be timed any more."""


class Reader(Protocol):
    """What a clock needs of the websocket reader: see `venues.base.Stream`."""

    def poll(self, timeout_s: float) -> bool: ...
    def received(self) -> int: ...


class Streaming(Protocol):
    """A venue, as far as a clock cares."""

    @property
    def stream(self) -> Reader: ...


def never() -> bool:
    return False


class WallClock:
    """Real time. `interrupted` ends a wait early (a signal came)."""

    def __init__(self, interrupted: Callable[[], bool] = never) -> None:
        self._interrupted = interrupted
        self._noticed = False
        self._newest_mono = 0
        self._shift_ms = 0
        self._ahead_ms: int | None = None  # venue clock minus monotonic, the tightest proven
        self._stale_stamps = 0
        self._leap_ms: int | None = None  # a stamp far beyond what is proven, not believed alone

    def mono_ms(self) -> int:
        # CLOCK_MONOTONIC should not go back; a virtual machine's sometimes did.
        now_ms = time.monotonic_ns() // 1_000_000 + self._shift_ms
        self._newest_mono = max(self._newest_mono, now_ms)
        return self._newest_mono

    def resume(self, mono_ms: int, wall_ms: int) -> None:
        """Continue the monotonic clock of a process that last saw these times.

        A reboot sets the machine's own back to zero, and cooldowns of the journal would never end.
        """
        gone_ms = max(0, self.wall_ms() - wall_ms)
        self._shift_ms = mono_ms + gone_ms - time.monotonic_ns() // 1_000_000
        self._newest_mono = 0

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def venue_ms(self) -> int | None:
        return None if self._ahead_ms is None else self.mono_ms() + self._ahead_ms

    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None:
        """The venue's clock is at least `at_ms` now, so each stamp is a lower bound and the largest
        is kept: an expiry must never be believed passed before it is. A leap is believed when a
        second stamp agrees (the machine slept), for one wrong stamp would move nonces and floors
        past recall. A first one that was wrong is forgotten when three in a row disagree with it.
        """
        ahead = at_ms - self.mono_ms()
        if self._ahead_ms is not None and ahead > self._ahead_ms + STALE_MS:
            last, self._leap_ms = self._leap_ms, ahead
            if last is None or abs(ahead - last) > STALE_MS:
                return
        self._leap_ms = None
        if self._ahead_ms is None or ahead >= self._ahead_ms:
            self._ahead_ms, self._stale_stamps = ahead, 0
        elif ahead < self._ahead_ms - STALE_MS:
            self._stale_stamps += 1
            if self._stale_stamps >= STALE_STAMPS_MAX:
                self._ahead_ms, self._stale_stamps = ahead, 0
        else:
            self._stale_stamps = 0

    def skew_ms(self) -> int | None:
        """The machine's date minus the venue's; > 0 when ours is ahead. None before a stamp."""
        venue_ms = self.venue_ms()
        return None if venue_ms is None else self.wall_ms() - venue_ms

    def journal_id(self, account: str) -> int:
        return int.from_bytes(os.urandom(8), "big")

    def sync(self, venue: Streaming) -> None:
        """Real time needs none: what has not arrived has not happened yet."""

    def wait(self, venue: Streaming, ms: int) -> bool:
        end_ms = self.mono_ms() + ms
        while True:
            if self._interrupted() and not self._noticed:
                # Once: what a stop has to finish takes ticks of its own, each with its wait.
                self._noticed = True
                return False
            left_ms = end_ms - self.mono_ms()
            if left_ms <= 0:
                return False
            if venue.stream.poll(min(left_ms / 1000, SLICE_S)):
                return True


class LockstepClock:
    """Time of an exchange that runs only while the bot waits: mono = wall = venue = exchange time.

    So one run is a function of its seed, at every speed and on every machine.
    """

    def __init__(self, url: str, session: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        path = parts.path.rstrip("/") + "/lockstep"
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self._session = session
        self._socket: socket.socket | None = None
        self._moved = True  # time passed since the stream was last known to be drained
        self._now_ms = 0
        self._ask({"type": "now"}, 0)

    def mono_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return self._now_ms

    def venue_ms(self) -> int | None:
        return self._now_ms

    def skew_ms(self) -> int | None:
        return 0

    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None:
        """Nothing: a stamp inside a reply is older than the exchange's own time in its header."""

    def on_reply(self, headers: Mapping[str, str]) -> None:
        """Take the exchange's time from the headers (lower-case names) of any of its replies."""
        at_ms = headers.get(TIME_HEADER)
        if at_ms is not None:
            self._moved = True
            self._now_ms = max(self._now_ms, int(at_ms))

    def journal_id(self, account: str) -> int:
        reply = self._ask({"type": "now"}, 0)
        text = f"{reply['seed']}:{reply['time']}:{account.lower()}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def sync(self, venue: Streaming) -> None:
        if self._moved:
            self._drained(venue, self._ask({"type": "now"}, 0))

    def wait(self, venue: Streaming, ms: int) -> bool:
        end_ms = self._now_ms + ms
        reply = self._ask({"type": "wait", "ms": ms, "wake": True, "session": self._session}, ms)
        self._drained(venue, reply)
        return self._now_ms < end_ms

    def _drained(self, venue: Streaming, reply: dict[str, Any]) -> None:
        """Return when the reader thread holds every frame the exchange says it wrote."""
        self._moved = False
        frames = reply["streams"].get(self._session)
        if frames is None:
            # Not connected. When the reader notices is this machine's business; wait until it has.
            closed = getattr(venue.stream, "wait_closed", None)
            if closed is not None:
                closed(DRAIN_S_MAX)
            return
        deadline = time.monotonic() + DRAIN_S_MAX
        while venue.stream.received() < frames:
            if time.monotonic() > deadline:
                raise ClockFailed(
                    f"the exchange wrote {frames} websocket frames and the reader holds "
                    f"{venue.stream.received()} after {DRAIN_S_MAX:.0f} s; restart the bot"
                )
            time.sleep(0.0001)

    def _ask(self, body: dict[str, Any], ms: int) -> dict[str, Any]:
        content = json.dumps(body).encode()
        for attempt in (1, 2):
            try:
                if self._socket is None:
                    self._socket = socket.create_connection((self._host, self._port), RUN_S_MAX)
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.settimeout(RUN_S_MAX + ms / 1000)
                reply: dict[str, Any] = json.loads(_post(self._socket, self._head, content))
                self._now_ms = max(self._now_ms, int(reply["time"]))
                return reply
            except OSError as error:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None
                # An idle connection may have been closed under us; a second failure is real.
                if attempt == 2:
                    raise ClockFailed(
                        f"the exchange at {self._host}:{self._port} that keeps the time does not "
                        f"answer ({error}); start it, or run `carry run` to start one"
                    ) from error
        raise AssertionError("unreachable")


def _post(sock: socket.socket, head: bytes, content: bytes) -> bytes:
    """One POST in one packet. Raises OSError, also for what is no reply of the exchange.

    Twice in every tick of a run as fast as it can: a general HTTP client takes most of that time.
    """
    sock.sendall(head % len(content) + content)
    text = b""
    while (end := text.find(b"\r\n\r\n")) < 0:
        more = sock.recv(65_536)
        if not more:
            raise ConnectionError("the connection was closed")
        text += more
    status, *fields = text[:end].split(b"\r\n")
    lengths = [f.split(b":", 1)[1] for f in fields if f.lower().startswith(b"content-length:")]
    if b" 200" not in status[:16] or not lengths:
        raise ConnectionError(f"it says {status[:80]!r}")
    length = end + 4 + int(lengths[0])
    while len(text) < length:
        more = sock.recv(65_536)
        if not more:
            raise ConnectionError("the reply broke off")
        text += more
    return text[end + 4 : length]
