"""One websocket connection and what it hears, without a socket."""

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from .assets import Asset

if TYPE_CHECKING:
    from .info import Info

MINUTE_MS = 60_000
CONNECTIONS_MAX = 10
CONNECTIONS_A_MINUTE = 30
MESSAGES_A_MINUTE = 2_000


class Subscription:
    """One thing a session hears. `due_ms` is its next periodic frame, None if it has no period."""

    __slots__ = ("asset", "due_ms", "kind", "last", "period_ms", "request", "user")

    def __init__(
        self, request: dict[str, Any], asset: Asset | None, user: str | None, period_ms: int | None
    ) -> None:
        self.request = request
        self.kind: str = request["type"]
        self.asset = asset
        self.user = user
        self.period_ms = period_ms
        self.due_ms: int | None = None
        self.last: object = None


class Session:
    """One connection. `sent` counts text frames since it connected, the first one included."""

    def __init__(self, name: str, now: int) -> None:
        self.name = name
        self.subscriptions: dict[str, Subscription] = {}
        self.out: list[str] = []
        self.sent = 0
        self.heard_ms = now
        self.closed = False
        self.woke = False

    def send(self, text: str) -> None:
        self.out.append(text)
        self.sent += 1

    def say(self, message: dict[str, Any]) -> None:
        self.send(msgspec.json.encode(message).decode())

    def quote(self, info: "Info", asset: Asset) -> object:
        """The best bid and offer as this session is told them."""
        return info.bbo(asset)

    def take(self) -> list[str]:
        """The frames not yet handed to the wire."""
        out, self.out = self.out, []
        return out


class Doors:
    """What one IP may open and send: 10 connections, 30 new ones and 2,000 messages a minute."""

    def __init__(self) -> None:
        self._opened: deque[int] = deque()
        self._received: deque[int] = deque()

    def opens(self, now: int, connected: int) -> bool:
        """Whether one more connection fits; counts it if it does."""
        _forget(self._opened, now)
        if connected >= CONNECTIONS_MAX or len(self._opened) >= CONNECTIONS_A_MINUTE:
            return False
        self._opened.append(now)
        return True

    def hears(self, now: int) -> bool:
        """Whether one more message is heard; counts it."""
        _forget(self._received, now)
        self._received.append(now)
        return len(self._received) <= MESSAGES_A_MINUTE


def _forget(times: deque[int], now: int) -> None:
    while times and times[0] <= now - MINUTE_MS:
        times.popleft()


def key_of_request(request: dict[str, Any]) -> str:
    """What makes two subscriptions the same: everything but the order of keys and nulls."""
    kept = {k: v for k, v in request.items() if v is not None}
    if isinstance(kept.get("user"), str):
        kept["user"] = kept["user"].lower()
    return msgspec.json.encode(kept, order="sorted").decode()
