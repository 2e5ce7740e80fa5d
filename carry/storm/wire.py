"""The wire of a storm: requests and frames as bytes, with latency and faults, no socket."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from carry.core.observations import BookSeen, Observations
from carry.exchange.listener import Listener
from carry.shell.value_calls import Call
from carry.venues.transport import PostFailed, Reply

if TYPE_CHECKING:
    from carry.exchange.sessions import Session

    from .world import World

LATENCY_MS: Final = (10, 160)
FRAME_MS: Final = (1, 60)
SPACING_MS: Final = 2_000
BACKOFF_MS_MAX: Final = 30_000
CALL_MS: Final = 6_000
FILLS: Final = "userFills"
OWN: Final = ("orderUpdates", FILLS)
OWN_TEXT: Final = tuple(f'{{"channel":"{name}"' for name in OWN)
Frame = Any
"""What a stream carries: text, or what it says."""


class Wire:
    """A `Transport`: what the bot posts reaches the exchange unless the storm has other plans."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        """One request, in the exchange's time; `deadline_s` is of the machine and means nothing."""
        status, answer = self.carry(Call.of(path, body))
        return status, {}, answer

    def carry(self, call: Call) -> tuple[int, Any]:
        """There and back: status and answer, as bytes or as a value."""
        world = self._world
        world.boundary("before send")
        if call.is_write:
            world.truth.on_send(call)
        low, high = LATENCY_MS
        world.pass_ms(world.rng["network"].randrange(low // 2, high // 2))
        status, answer = world.storm.carry(call)
        world.pass_ms(world.rng["network"].randrange(low // 2, high // 2))
        world.boundary("after receive")
        return status, answer

    def close(self) -> None:
        pass


def timed_out(world: "World", text: str = "timeout") -> PostFailed:
    """The call's deadline passed without a reply."""
    world.pass_ms(CALL_MS)
    return PostFailed(True, text)


def seen_twice(observations: Observations) -> bool:
    """Whether a tick heard the same thing twice, or more than once in a row of replays."""
    own = [str(event) for event in observations.events if not isinstance(event, BookSeen)]
    return len(dict.fromkeys(own)) < len(own)


@attrs.define
class StreamFaults:
    """What is wrong with the stream now. Times are the exchange's, ms; 0 is the past.

    dead: nothing arrives although the socket looks open. frozen: this channel says nothing.
    refuse: no connection is taken. slow: every frame takes so much longer.
    """

    dead_ms: int = 0
    refuse_ms: int = 0
    frozen: tuple[str, int] = ("", 0)
    drop_fills: int = 0
    twice: int = 0
    shuffle: int = 0
    slow_until_ms: int = 0
    slow_ms: int = 0
    kept: list[Frame] = attrs.field(factory=list)


class StormLink:
    """A `Link` to the exchange's sessions, reconnecting as the socket's own thread does."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._session: Session | None = None
        self._hello: Callable[[], Sequence[str]] = tuple
        self._frames: list[tuple[int, Frame]] = []
        self._last_due = 0
        self._lost = False
        self._stopped = False
        self._next_try_ms = 0
        self._backoff_ms = SPACING_MS
        self.faults = StreamFaults()

    # --- connecting ---------------------------------------------------------------------

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        self._hello = hello
        self._connect()

    def stop(self) -> None:
        self._stopped = True
        self.drop()

    def _connect(self) -> bool:
        ex = self._world.exchange
        if ex.now < self.faults.refuse_ms:
            return False
        self._session = self._open()
        for text in self._hello():
            ex.receive(self._session, text)
        self.pump()
        return True

    def _open(self) -> "Session":
        return self._world.exchange.connect("bot")

    def tend(self, now_ms: int) -> None:
        if self._session is not None and self._session.closed:
            self.drop()
        now = self._world.exchange.now
        if self._session is not None or self._stopped or now < self._next_try_ms:
            return
        connected = self._connect()
        grown = min(2 * self._backoff_ms, BACKOFF_MS_MAX)
        self._backoff_ms = SPACING_MS if connected else grown
        self._next_try_ms = now + self._backoff_ms

    def drop(self) -> None:
        """The connection breaks: what was not read yet is gone."""
        if self._session is not None:
            self._world.exchange.streams.disconnect(self._session)
            self._session = None
            self._lost = True
            self._frames.clear()

    def abort(self) -> None:
        self.drop()

    # --- frames -------------------------------------------------------------------------

    @property
    def session(self) -> "Session | None":
        return self._session

    def pump(self) -> None:
        """Take what the exchange wrote, and let the faults at it."""
        if self._session is None:
            return
        for frame in self._taken():
            for passed in self._through(frame):
                self._arrive(passed)

    def _taken(self) -> Sequence[Frame]:
        assert self._session is not None
        return self._session.take()

    def _of(self, frame: Frame, *channels: str) -> bool:
        """Whether a frame is of one of these channels."""
        return bool(frame.startswith(tuple(f'{{"channel":"{name}"' for name in channels)))

    def _own(self, frame: Frame) -> bool:
        """Whether a frame is about an own order or fill."""
        return bool(frame.startswith(OWN_TEXT))

    def _through(self, text: Frame) -> Sequence[Frame]:
        faults, now, storm = self.faults, self._world.exchange.now, self._world.storm
        own = self._own(text)
        if now < faults.dead_ms:
            self._gone("F40", own)
            return ()
        channel, until = faults.frozen
        if now < until and self._of(text, channel):
            self._gone("F41", own)
            return ()
        if not own:
            return (text,)
        if faults.drop_fills and self._of(text, FILLS):
            faults.drop_fills -= 1
            self._gone("F27", True)
            return ()
        if faults.twice:
            faults.twice -= 1
            storm.hit("F44", seen_twice)
            old = faults.kept[-3:]
            faults.kept.append(text)
            return (*old, text, text)
        if faults.shuffle:
            faults.shuffle -= 1
            faults.kept.append(text)
            if faults.shuffle:
                return ()
            self._gone("F44", True)
            held, faults.kept = faults.kept[::-1], []
            return held
        return (text,)

    def _gone(self, fault: str, own: bool) -> None:
        """A frame about our own orders or fills is not there when it should be."""
        if own:
            self._world.storm.hit(fault, lambda observations: True)

    def _arrive(self, frame: Frame) -> None:
        now = self._world.exchange.now
        due = now + self._world.rng["stream"].randrange(*FRAME_MS)
        if now < self.faults.slow_until_ms:
            due += self.faults.slow_ms
        # One connection keeps its order.
        self._last_due = max(self._last_due, due)
        self._frames.append((self._last_due, frame))

    def next_own_ms(self) -> int | None:
        """When the next frame about an own order or fill arrives; None when none is on its way."""
        return next((due for due, frame in self._frames if self._own(frame)), None)

    def waiting(self) -> bool:
        """Whether word of an own order or fill is on its way, or there and not read yet."""
        return any(self._own(frame) for _, frame in self._frames)

    # --- for the bot --------------------------------------------------------------------

    def send(self, texts: Sequence[str], acked: bool) -> None:
        if self._session is None or self._session.closed:
            return
        for text in texts:
            self._world.exchange.receive(self._session, text)
        self.pump()

    def take(self) -> tuple[Sequence[tuple[int, bytes]], bool]:
        ready, lost = self.ready()
        return tuple((at_ms, text.encode()) for at_ms, text in ready), lost

    def ready(self) -> tuple[Sequence[tuple[int, Frame]], bool]:
        """What has arrived, stamped now, and whether anything was lost."""
        now = self._world.exchange.now
        count = sum(1 for due, _ in self._frames if due <= now)
        ready, self._frames = self._frames[:count], self._frames[count:]
        lost, self._lost = self._lost, False
        mono = self._world.clock.mono_ms()
        return [(mono, frame) for _, frame in ready], lost

    def wait(self, timeout_s: float) -> bool:
        return bool(self._frames) or self._lost

    def is_open(self) -> bool:
        return self._session is not None

    def received(self) -> int:
        return 0 if self._session is None else self._session.sent

    def wait_received(self, count: int, timeout_s: float) -> bool:
        return True

    def wait_closed(self, timeout_s: float) -> bool:
        return True


class ValueLink(StormLink):
    """The link of a storm to a session that hears values."""

    def _open(self) -> Listener:
        return self._world.direct(self._world.account).listen("bot")

    def _taken(self) -> Sequence[Frame]:
        return cast(Listener, self._session).hear()

    def _of(self, frame: Frame, *channels: str) -> bool:
        return frame.channel in channels

    def _own(self, frame: Frame) -> bool:
        return frame.channel in OWN
