"""Between the wire and the exchange: clocks, latency, faults, saving. Still no socket.

Lockstep: exchange time moves only while a client waits (`POST /lockstep`) and while a request takes
its drawn latency, so a run is a function of its seed and of its requests. Wall: whoever owns the
clock calls `tick`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from .faults import Faults
from .model import Exchange
from .noise import key_of, mix

LATENCY_MS = (15, 120)
"""Bounds of a request's latency in lockstep: half of it before processing, half after."""

SAVE_EVERY_MS = 15 * 60_000
"""A lockstep exchange is saved at least this often in its own time, quiet or not."""

WAIT_MS_MAX = 24 * 3_600_000
TIME_HEADER = "X-Exchange-Time"


class Reply:
    """What to send back. `held_ms`: exchange time this reply let pass, for pacing."""

    __slots__ = ("body", "headers", "held_ms", "status")

    def __init__(
        self, status: int, body: bytes, headers: dict[str, str], held_ms: int = 0
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.held_ms = held_ms


class Gateway:
    """`save` is called before a reply goes out whenever accounts changed."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        lockstep: bool,
        faults: Faults | None = None,
        save: Callable[["Gateway"], None] | None = None,
    ) -> None:
        self.exchange = exchange
        self.lockstep = lockstep
        self.faults = faults or Faults(exchange.seed)
        self.requests = 0
        self._latency_key = key_of(exchange.seed, "latency")
        self._save = save
        self._saved_ms = exchange.now

    def tick(self, now_ms: int) -> None:
        """Wall clock: runs the exchange up to `now_ms`."""
        self.exchange.advance(now_ms)
        self.save_if_changed()

    def post(self, path: str, body: bytes) -> Reply | None:
        """One POST; None where the connection is to be closed without a reply."""
        if path == "/lockstep":
            return self._lockstep(body) if self.lockstep else Reply(404, b"", {})
        before, after = self._latency()
        exchange = self.exchange
        if self.lockstep:
            exchange.advance(exchange.now + before)
        if self.faults.request_is_lost():
            return None
        status, answer = exchange.http(path, body)
        self.save_if_changed()
        lost = self.faults.reply_is_lost()
        headers: dict[str, str] = {}
        if self.lockstep:
            exchange.advance(exchange.now + after)
            headers[TIME_HEADER] = str(exchange.now)
            self.save_if_changed()
        return None if lost else Reply(status, answer, headers, before + after)

    def save_if_changed(self) -> None:
        if self.exchange.changed:
            self.exchange.changed = False
            self._saved_ms = self.exchange.now
            if self._save is not None:
                self._save(self)

    def _latency(self) -> tuple[int, int]:
        low, high = LATENCY_MS
        drawn = low + mix(self._latency_key + self.requests) % (high - low + 1)
        self.requests += 1
        return drawn // 2, drawn - drawn // 2

    def _lockstep(self, body: bytes) -> Reply:
        try:
            request = msgspec.json.decode(body)
            kind = request["type"]
            wait_ms = int(request["ms"]) if kind == "wait" else 0
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return Reply(422, b"bad lockstep request", {})
        if kind not in ("now", "wait", "meters") or not 0 <= wait_ms <= WAIT_MS_MAX:
            return Reply(422, b"bad lockstep request", {})
        exchange = self.exchange
        if kind == "meters":
            shown = exchange.meters.shown(exchange.now)
            if request.get("reset") is True:
                exchange.meters.reset()
            return Reply(200, msgspec.json.encode(shown), {TIME_HEADER: str(exchange.now)})
        start = exchange.now
        if kind == "wait":
            waking = None
            if request.get("wake") is True:
                waking = exchange.streams.find(str(request.get("session", "")))
            exchange.advance(start + wait_ms, waking=waking)
            if exchange.now - self._saved_ms >= SAVE_EVERY_MS:
                exchange.changed = True
            self.save_if_changed()
        answer: dict[str, Any] = {
            "time": exchange.now,
            "seed": exchange.seed,
            "streams": {session.name: session.sent for session in exchange.streams.sessions},
            "faults": {**self.faults.counts, "requests": self.requests},
        }
        headers = {TIME_HEADER: str(exchange.now)}
        return Reply(200, msgspec.json.encode(answer), headers, exchange.now - start)
