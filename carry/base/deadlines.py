"""How long a call may still take. Seconds of the machine's own monotonic clock, also in lockstep.

A deadline guards sockets, not the strategy: what the strategy measures is `Clock.mono_ms`.
"""

import time

import attrs


@attrs.frozen
class Deadline:
    """A moment of `time.monotonic()` that a call, with everything it waits for, must not pass."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.at_s - time.monotonic()

    def sooner(self, other: "Deadline | None") -> "Deadline":
        return self if other is None or self.at_s <= other.at_s else other
