"""The exchange's own count of what its clients spend: IP weight and address actions.

Enforcement and evidence are one: a test reads here what the venue would have counted.
"""

from collections import deque

MINUTE_MS = 60_000
IP_WEIGHT_A_MINUTE = 1_200


class Meter:
    """What was spent, in the last rolling minute, at its worst and by kind."""

    __slots__ = ("_last", "_spent", "by_kind", "peak", "peak_ms", "total")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Counts from nothing, as if no minute had passed before."""
        self._spent: deque[tuple[int, int]] = deque()
        self._last = 0
        self.total = 0
        self.peak = 0
        self.peak_ms = 0
        self.by_kind: dict[str, int] = {}

    def last_minute(self, now: int) -> int:
        """Spent in the 60 s that end at `now`."""
        spent = self._spent
        while spent and spent[0][0] <= now - MINUTE_MS:
            self._last -= spent.popleft()[1]
        return self._last

    def spend(self, now: int, amount: int, kind: str) -> None:
        last = self.last_minute(now) + amount
        self._spent.append((now, amount))
        self._last = last
        self.total += amount
        self.by_kind[kind] = self.by_kind.get(kind, 0) + amount
        if last > self.peak:
            self.peak, self.peak_ms = last, now

    def shown(self, now: int) -> dict[str, object]:
        return {
            "total": self.total, "lastMinute": self.last_minute(now), "peakMinute": self.peak,
            "peakTime": self.peak_ms, "byKind": dict(self.by_kind),
        }


class Meters:
    """One meter for the IP (the whole loopback is one), one for each address that acted."""

    __slots__ = ("actions", "ip", "refused_429")

    def __init__(self) -> None:
        self.ip = Meter()
        self.actions: dict[str, Meter] = {}
        self.refused_429 = 0

    def allows(self, now: int) -> bool:
        """Whether the IP may ask once more; what it asks may overdraw the minute."""
        if self.ip.last_minute(now) < IP_WEIGHT_A_MINUTE:
            return True
        self.refused_429 += 1
        return False

    def act(self, address: str, now: int, count: int, kind: str) -> None:
        meter = self.actions.get(address)
        if meter is None:
            meter = self.actions[address] = Meter()
        meter.spend(now, count, kind)

    def reset(self) -> None:
        self.ip.reset()
        self.actions.clear()
        self.refused_429 = 0

    def shown(self, now: int) -> dict[str, object]:
        """Everything, as the lockstep endpoint answers it."""
        return {
            "ipWeight": self.ip.shown(now), "refused429": self.refused_429,
            "actions": {address: meter.shown(now) for address, meter in self.actions.items()},
        }
