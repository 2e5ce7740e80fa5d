"""The websocket: one daemon thread reads frames into a bounded queue, the main thread decodes them.

On a wall clock the thread reconnects by itself, for ever, at most 30 times a minute. In lockstep,
where time is the exchange's, it never does: the main thread reconnects when it drains, so that what
happens at a moment of exchange time does not depend on how fast this machine is.
Source: hyperliquid-docs, websocket, timeouts-and-heartbeats (it closes a connection to which it has
not sent a frame for 60 s).
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

import msgspec
import websocket

from carry.core.observations import Event
from carry.venues.base import Clock
from carry.venues.transport import proxy_of

from .feed import Feed
from .metadata import Known

PING_MS = 30_000
SILENCE_MS = 65_000
QUEUE_MAX = 10_000
_HANDSHAKE_S = 5.0
_ACKS_S = 5.0
_SPACING_MS = 2_000  # 30 connections a minute, the venue's limit for an address
_BACKOFF_MS_MAX = 30_000

_json = msgspec.json.Encoder().encode
_PING = '{"method":"ping"}'

Frames = Sequence[tuple[int, bytes]]
"""(monotonic ms of arrival, text) in order."""


class Link(Protocol):
    """A connection that comes and goes; an exchange in the same process can stand in for it."""

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        """Connect, and send what `hello` returns on each new connection."""

    def stop(self) -> None: ...
    def send(self, texts: Sequence[str], acked: bool) -> None:
        """Send; `acked`: each is a subscription, which the other side acknowledges."""

    def take(self) -> tuple[Frames, bool]:
        """What arrived since the last call, and whether anything was or may have been lost."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until something arrived or broke."""

    def tend(self, now_ms: int) -> None:
        """Called in the main thread from time to time: reconnect where no thread does."""

    def abort(self) -> None:
        """Break the connection: it has been silent for too long."""

    def is_open(self) -> bool: ...
    def received(self) -> int: ...
    def wait_received(self, count: int, timeout_s: float) -> bool: ...
    def wait_closed(self, timeout_s: float) -> bool: ...


class SocketLink:
    """A websocket client. `session`: its name in a lockstep run, None on a wall clock."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        session: str | None = None,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        joint = "&" if "?" in url else "?"
        self._url = url if session is None else f"{url}{joint}session={quote(session)}"
        self._clock = clock
        self._lockstep = session is not None
        self._queue_max = queue_max
        self._changed = threading.Condition()
        self._frames: deque[tuple[int, bytes]] = deque()
        self._lost = False
        self._received = 0
        self._acks = 0
        self._socket: websocket.WebSocket | None = None
        self._hello: Callable[[], Sequence[str]] = tuple
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._next_try_ms = 0
        self._backoff_ms = _SPACING_MS
        self.connects = 0
        self.last_error = ""

    # --- connecting ---------------------------------------------------------------------

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        self._hello = hello
        if self._lockstep:
            self.tend(self._clock.mono_ms())
        else:
            self._spawn(self._run, "ws")

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads = [*(t for t in self._threads if t.is_alive()), thread]
        thread.start()

    def _connect(self) -> websocket.WebSocket | None:
        """A new connection with everything subscribed to; None when it fails."""
        self.connects += 1
        sock = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=True)
        try:
            # No redirect is followed. websocket-client carries no types.
            sock.connect(  # type: ignore[no-untyped-call]
                self._url, timeout=_HANDSHAKE_S, redirect_limit=0, **_proxy(self._url)
            )
            sock.settimeout(None)
            with self._changed:
                self._received = self._acks = 0
                self._socket = sock
            for text in self._hello():
                sock.send(text)
        except Exception as error:  # the library, ssl and the socket each raise their own kinds
            self.last_error = f"{type(error).__name__}: {error}"[:200]
            _break(sock)
            self._closed()
            return None
        return sock

    def _run(self) -> None:
        """Wall clock: connect and read until stopped."""
        backoff_ms = _SPACING_MS
        while not self._stopping.is_set():
            began_s = time.monotonic()
            sock = self._connect()
            if sock is None:
                backoff_ms = min(2 * backoff_ms, _BACKOFF_MS_MAX)
            else:
                backoff_ms = _SPACING_MS
                self._read(sock)
            spent_s = time.monotonic() - began_s
            self._stopping.wait(max(0.0, backoff_ms / 1000 - spent_s))

    def tend(self, now_ms: int) -> None:
        if not self._lockstep or self.is_open() or self._stopping.is_set():
            return
        if now_ms < self._next_try_ms:
            return
        sock = self._connect()
        self._backoff_ms = (
            min(2 * self._backoff_ms, _BACKOFF_MS_MAX) if sock is None else _SPACING_MS
        )
        self._next_try_ms = now_ms + self._backoff_ms
        if sock is not None:
            self._spawn(lambda: self._read(sock), "ws")
            self._wait_acks(len(self._hello()))

    def _wait_acks(self, count: int) -> None:
        """Lockstep: until every subscription is answered, or what follows would be a race."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._acks >= count or self._socket is None, timeout=_ACKS_S
            )

    # --- reading ------------------------------------------------------------------------

    def _read(self, sock: websocket.WebSocket) -> None:
        try:
            while not self._stopping.is_set():
                kind, data = sock.recv_data()
                if kind == websocket.ABNF.OPCODE_TEXT:
                    self._arrived(bytes(data))
                elif kind == websocket.ABNF.OPCODE_CLOSE:
                    break
        except Exception as error:  # whatever ends the connection, the next one is the answer
            self.last_error = f"{type(error).__name__}: {error}"[:200]
        _break(sock)
        self._closed()

    def _arrived(self, text: bytes) -> None:
        head = text[:48]
        now_ms = self._clock.mono_ms()
        with self._changed:
            self._received += 1
            if b'"subscriptionResponse"' in head or b'"error"' in head:
                self._acks += 1
            if len(self._frames) >= self._queue_max:
                self._lost = True
            else:
                self._frames.append((now_ms, text))
            self._changed.notify_all()

    def _closed(self) -> None:
        with self._changed:
            self._lost = self._lost or self._socket is not None
            self._socket = None
            self._changed.notify_all()

    # --- for the main thread ------------------------------------------------------------

    def stop(self) -> None:
        self._stopping.set()
        self.abort()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def abort(self) -> None:
        with self._changed:
            sock = self._socket
        if sock is not None:
            _break(sock)
            if self._lockstep:
                self.wait_closed(_HANDSHAKE_S)

    def send(self, texts: Sequence[str], acked: bool) -> None:
        with self._changed:
            sock, before = self._socket, self._acks
        if sock is None:
            return
        try:
            for text in texts:
                sock.send(text)
        except Exception as error:  # the reader notices too, and reconnects
            self.last_error = f"{type(error).__name__}: {error}"[:200]
            _break(sock)
            return
        if acked and self._lockstep:
            self._wait_acks(before + len(texts))

    def take(self) -> tuple[Frames, bool]:
        with self._changed:
            frames, lost = tuple(self._frames), self._lost
            self._frames.clear()
            self._lost = False
        if self._lockstep:
            # When the thread got hold of a frame is this machine's business; in exchange time it
            # is here now.
            now_ms = self._clock.mono_ms()
            frames = tuple((now_ms, text) for _, text in frames)
        return frames, lost

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._frames) or self._lost, timeout_s)

    def is_open(self) -> bool:
        with self._changed:
            return self._socket is not None

    def received(self) -> int:
        with self._changed:
            return self._received

    def wait_received(self, count: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._received >= count, timeout_s)

    def wait_closed(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._socket is None, timeout_s)


def _proxy(url: str) -> Mapping[str, Any]:
    """How websocket-client is told of a proxy; "*" tells it of none."""
    proxy = proxy_of(url)
    if proxy is None:
        return {"http_no_proxy": ["*"]}
    parts = urlsplit(proxy)
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return {
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or 80,
        "http_proxy_auth": auth,
        "proxy_type": "http",
    }


def _break(sock: websocket.WebSocket) -> None:
    """End a connection at once, waking a thread that is reading it."""
    with contextlib.suppress(Exception):
        if sock.sock is not None:
            sock.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        # websocket-client carries no types.
        sock.shutdown()  # type: ignore[no-untyped-call]


class HyperliquidStream:
    """Own orders, own fills and the best quotes of the configured markets, as they happen.

    session: this stream's name in a lockstep run, for its clock.
    """

    def __init__(self, link: Link, feed: Feed, clock: Clock, session: str | None = None) -> None:
        self.session = session
        self.feed = feed
        self.link = link
        self._clock = clock
        self._started = False
        self._pinged_ms = 0
        self._heard_ms = 0

    def start(self) -> None:
        """Connect and subscribe; again: nothing."""
        if not self._started:
            self._started = True
            self._pinged_ms = self._heard_ms = self._clock.mono_ms()
            self.link.start(self._hello)

    def stop(self) -> None:
        self.link.stop()

    def _hello(self) -> Sequence[str]:
        return [_subscribe(wanted) for wanted in self.feed.subscriptions()]

    def know(self, known: Known) -> None:
        """New metadata: subscribe to instruments that were not known before."""
        before = [_subscribe(wanted) for wanted in self.feed.subscriptions()]
        self.feed.known = known
        added = [text for text in self._hello() if text not in before]
        if added and self._started:
            self.link.send(added, acked=True)

    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        self._tend()
        self._take()
        return self.feed.drain()

    def poll(self, timeout_s: float) -> bool:
        self._tend()
        self.link.wait(timeout_s)
        return self._take()

    def _take(self) -> bool:
        frames, lost = self.link.take()
        woke = False
        for seen_ms, text in frames:
            self._heard_ms = max(self._heard_ms, seen_ms)
            woke = self.feed.take(text, seen_ms) or woke
        if lost:
            self.feed.lost()
        return woke

    def _tend(self) -> None:
        """Keep the connection alive: by the clock of the bot, so in lockstep by the exchange's."""
        if not self._started:
            return
        now_ms = self._clock.mono_ms()
        was_open = self.link.is_open()
        self.link.tend(now_ms)
        if not was_open:
            self._heard_ms = self._pinged_ms = now_ms
        elif now_ms - self._heard_ms > SILENCE_MS:
            self.link.abort()
            self._heard_ms = now_ms
        elif now_ms - self._pinged_ms >= PING_MS:
            self._pinged_ms = now_ms
            self.link.send([_PING], acked=False)

    def received(self) -> int:
        return self.link.received()

    def wait_received(self, count: int, timeout_s: float) -> bool:
        """Wait until `received()` is at least `count`; False when it did not in time."""
        return self.link.wait_received(count, timeout_s)

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the present connection is known to have ended."""
        return self.link.wait_closed(timeout_s)

    def ages_ms(self, mono_ms: int) -> Mapping[str, int]:
        return self.feed.ages_ms(mono_ms)


def _subscribe(wanted: Mapping[str, Any]) -> str:
    return _json({"method": "subscribe", "subscription": wanted}).decode()
