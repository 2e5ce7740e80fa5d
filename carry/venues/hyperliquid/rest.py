"""The two routes of the venue: reads that fail as `ReadFailed`, writes that are sent exactly once.

Nothing is repeated here; the shell owns the retry of reads and the core that of writes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from carry.base.deadlines import Deadline
from carry.venues.base import Clock, ReadFailed
from carry.venues.transport import PostFailed, Transport

from .budget import Budget, Tier, of_read

CALL_S = 6.0
"""Longest time for one call, seconds."""

OnReply = Callable[[Mapping[str, str]], None]
"""Told the headers of every reply, by lowercase name: the clock of a lockstep run reads them."""

_json = msgspec.json.Encoder().encode


@attrs.frozen
class Answer:
    """A complete reply to a read. `sent_ms`: monotonic clock when the request left."""

    body: bytes
    sent_ms: int


@attrs.frozen
class Posted:
    """How a write went. `body` is None when no complete reply came; `left`: bytes may have left."""

    left: bool
    status: int
    body: bytes | None
    why: str


class Rest:
    """Requests of one bot to one venue, inside its weight budget and its deadlines.

    until: a moment that no call may outlive, set by the shell for a tick; None for none.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        on_reply: OnReply | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.transport = transport
        self.until: Deadline | None = None
        self.budget = budget or Budget()
        self._clock = clock
        self._on_reply = on_reply

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; raises `PostFailed`."""
        left_s = Deadline.after(CALL_S).sooner(self.until).left_s()
        headers: Mapping[str, str] = {}
        try:
            status, headers, content = self.transport.post(path, body, left_s)
        except PostFailed as failed:
            headers = failed.headers
            raise
        finally:
            if headers and self._on_reply is not None:
                self._on_reply(headers)
        return status, content

    def info(self, source: str, request: Mapping[str, Any], weight: int) -> Answer:
        """A read. `source` names it in faults; `weight` as the venue counts it, without rows."""
        sent_ms = self._clock.mono_ms()
        tier = of_read(source, weight)
        if not self.budget.take(weight, tier, sent_ms):
            used = self.budget.used(sent_ms)
            raise ReadFailed(
                source, "budget", f"{used} of {int(tier)} weight used in the last minute"
            )
        try:
            status, body = self._post("/info", _json(request))
        except PostFailed as failed:
            raise ReadFailed(source, "transport", failed.text) from None
        if status == 200:
            return Answer(body, sent_ms)
        if status == 429:
            self.budget.refused(self._clock.mono_ms())
            raise ReadFailed(source, "budget", "HTTP 429: the venue counts more than our own use")
        kind = "unsupported" if status == 422 else "transport"
        raise ReadFailed(source, kind, f"HTTP {status}: {shorten(body)}")

    def surcharge(self, rows: int, rows_per_weight: int) -> None:
        """Account for rows returned: one more weight for every so many."""
        self.budget.charge(rows // rows_per_weight, self._clock.mono_ms())

    def exchange(self, body: bytes, tier: Tier) -> Posted:
        """A write, sent at most once."""
        now_ms = self._clock.mono_ms()
        if not self.budget.take(1, tier, now_ms):
            used = self.budget.used(now_ms)
            why = f"local budget: {used} of {int(tier)} weight used in the last minute"
            return Posted(False, 0, None, why)
        try:
            status, reply = self._post("/exchange", body)
        except PostFailed as failed:
            return Posted(failed.left, 0, None, failed.text)
        if status == 429:
            self.budget.refused(self._clock.mono_ms())
        if status != 200:
            return Posted(True, status, None, f"HTTP {status}: {shorten(reply)}")
        return Posted(True, status, reply, "")


def shorten(body: bytes) -> str:
    """The start of a reply, on one line, for an operator."""
    return " ".join(body[:160].decode("utf-8", "replace").split())
