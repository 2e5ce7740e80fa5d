"""Calls to Aster's two hosts: signed over the bytes that leave, sent once, classified.

Nothing is repeated here. Reads raise `ReadFailed` through `taken`; writes hand back the `Answer`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from carry.base.deadlines import Deadline
from carry.core.types import Leg
from carry.venues.base import Clock, ReadFailed
from carry.venues.keys import SignatureMismatch
from carry.venues.transport import PostFailed, Reply

from .constants import WEIGHT_A_MINUTE, path_of
from .nonces import Nonces
from .replies import (
    NEXT_STEP,
    Answer,
    NotSent,
    Refused,
    Taken,
    Unknown,
    read_reply,
    refusal_text,
)
from .signing import Params, Signer, form

CALL_S = 6.0
"""Longest time for one call, seconds."""

SHARE_PERCENT = 80
"""Of the venue's weight a minute, what reads may use; the rest is left to writes."""

_USED_WEIGHT = "x-mbx-used-weight-1m"
_FORM = "application/x-www-form-urlencoded"
_NOTHING: Params = ()


class Transport(Protocol):
    """What carries a request to one host; see `carry.venues.transport.SocketTransport`."""

    def call(
        self, method: str, target: str, body: str, headers: Mapping[str, str], deadline_s: float
    ) -> Reply: ...

    def close(self) -> None: ...


OnReply = Callable[[Mapping[str, str]], None]
"""Told the headers of every reply, by lowercase name: the clock of a lockstep run reads them."""


class _Time(msgspec.Struct):
    serverTime: int


class Rest:
    """Requests of one user to both hosts.

    signer: None for one who only reads in public. sync_ms: how often the venue's clock is read.
    until: a moment that no call may outlive, set by the shell for a tick; None for none.
    """

    def __init__(
        self,
        transports: Mapping[Leg, Transport],
        signer: Signer | None,
        nonces: Nonces,
        clock: Clock,
        *,
        sync_ms: int = 60_000,
        on_reply: OnReply | None = None,
    ) -> None:
        self.until: Deadline | None = None
        self.weight_max = dict(WEIGHT_A_MINUTE)
        self._transports, self._signer, self._nonces = transports, signer, nonces
        self._clock, self._sync_ms, self._on_reply = clock, sync_ms, on_reply
        self._synced_ms: int | None = None
        self._ahead_ms = 0  # the venue's clock minus the machine's
        self._used: dict[Leg, tuple[int, int]] = {}  # weight, and when it was said (monotonic)

    @property
    def version(self) -> int:
        return 3 if self._signer is None else self._signer.version

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    # --- time -----------------------------------------------------------------------------------

    def skew_ms(self) -> int | None:
        """The machine's clock minus the venue's, as last read; None before."""
        return None if self._synced_ms is None else -self._ahead_ms

    def sync(self, leg: Leg) -> None:
        """Read the venue's clock; raises `ReadFailed`. The middle of the call is its moment."""
        began_ms, wall_ms = self._clock.mono_ms(), self._clock.wall_ms()
        body = self.public("time", leg, "/time", 1).body
        try:
            server_ms = msgspec.json.decode(body, type=_Time).serverTime
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise ReadFailed("time", "unreadable", str(error)[:200]) from None
        ended_ms = self._clock.mono_ms()
        self._ahead_ms = server_ms - (wall_ms + (ended_ms - began_ms) // 2)
        self._synced_ms = ended_ms
        self._clock.saw_venue(server_ms, began_ms)

    def now_us(self, leg: Leg) -> int:
        """The venue's clock in microseconds, read again when the last reading is old."""
        if self._synced_ms is None or self._clock.mono_ms() - self._synced_ms > self._sync_ms:
            self.sync(leg)
        return (self._clock.wall_ms() + self._ahead_ms) * 1_000

    # --- calls ----------------------------------------------------------------------------------

    def public(
        self, source: str, leg: Leg, name: str, weight: int, params: Params = _NOTHING
    ) -> Taken:
        """A read that needs no signature; raises `ReadFailed`."""
        self._afford(source, leg, weight)
        target = path_of(leg, self.version, name)
        if params:
            target += "?" + form(params)
        return taken(source, self._send(leg, "GET", target, "", {}))

    def read(
        self, source: str, leg: Leg, name: str, weight: int, params: Params = _NOTHING
    ) -> Taken:
        """A signed read; raises `ReadFailed`."""
        self._afford(source, leg, weight)
        return taken(source, self.signed(leg, "GET", name, params))

    def signed(
        self,
        leg: Leg,
        method: str,
        name: str,
        params: Params = _NOTHING,
        *,
        nonce_us: int | None = None,
    ) -> Answer:
        """One signed call, sent at most once.

        Raises:
            SignatureMismatch: it does not recover to the agent; nothing was sent.
        """
        signer = self._signer
        if signer is None:
            return NotSent("there are no credentials: only public data can be read")
        try:
            now_us = self.now_us(leg)
        except ReadFailed as failed:
            return NotSent(str(failed))
        if nonce_us is None:
            try:
                nonce_us = self._nonces.next(now_us)
            except OSError as error:
                return NotSent(f"the file of nonces cannot be used: {error}")
        # V1's timestamp is the venue's now; only V3 has nonces that must not repeat.
        text = signer.signed(params, nonce_us if signer.version == 3 else now_us)
        target = path_of(leg, signer.version, name)
        if method == "GET":
            return self._send(leg, method, f"{target}?{text}", "", signer.headers)
        return self._send(leg, method, target, text, {**signer.headers, "Content-Type": _FORM})

    def _send(
        self, leg: Leg, method: str, target: str, body: str, headers: Mapping[str, str]
    ) -> Answer:
        sent_ms = self._clock.mono_ms()
        left_s = Deadline.after(CALL_S).sooner(self.until).left_s()
        try:
            status, said, content = self._transports[leg].call(
                method, target, body, {"User-Agent": "carry", **headers}, left_s
            )
        except PostFailed as failed:
            return Unknown(failed.text) if failed.left else NotSent(failed.text)
        if self._on_reply is not None:
            self._on_reply(said)
        used = said.get(_USED_WEIGHT, "")
        if used.isdigit():
            self._used[leg] = (int(used), self._clock.mono_ms())
        elif status in (418, 429):
            self._used[leg] = (self.weight_max[leg], self._clock.mono_ms())
        return read_reply(status, content, sent_ms)

    def weight(self, leg: Leg) -> tuple[int, int]:
        """By the host's own count: used in its last minute, and its limit."""
        return self._used.get(leg, (0, 0))[0], self.weight_max[leg]

    def _afford(self, source: str, leg: Leg, weight: int) -> None:
        """Hold a read back while the venue's own count of the minute is near its limit."""
        used, at_ms = self._used.get(leg, (0, 0))
        if self._clock.mono_ms() - at_ms > 60_000:
            return
        most = self.weight_max[leg] * SHARE_PERCENT // 100
        if used + weight > most:
            raise ReadFailed(source, "budget", f"{used} of {most} weight used in the last minute")


def taken(source: str, answer: Answer) -> Taken:
    """The reply of a read, or `ReadFailed` with what came instead."""
    match answer:
        case Taken():
            return answer
        case Refused():
            kind = "budget" if answer.word == "budget" else "unsupported"
            advice = NEXT_STEP.get(answer.word, "") if answer.word in ("identity", "nonce") else ""
            raise ReadFailed(
                source, kind, refusal_text(answer) + (f"; {advice}" if advice else "")
            )
        case Unknown():
            kind = "budget" if answer.status in (418, 429) else "transport"
            raise ReadFailed(source, kind, answer.why)
        case NotSent():
            raise ReadFailed(source, "transport", answer.why)


__all__ = ["Rest", "SignatureMismatch", "Transport", "taken"]
