"""The bot's venue, watched: when a fault touched a call, did the bot come to see something else?

A second venue, whose wire is honest and takes no time, is asked the same; for a write, the answer
that the exchange itself gave is read as the adapter reads it. The bot never learns of either.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from carry.base.clock import WallClock
from carry.core.actions import Fence, Place, Write
from carry.core.observations import Accepted, Outcome
from carry.exchange.direct import Direct
from carry.shell.by_value import DirectVenue
from carry.shell.value_calls import outcome_by_value
from carry.venues.base import ReadFailed
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.replies import outcome_of
from carry.venues.hyperliquid.rest import Posted
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.transport import Reply

from .wire import ValueLink

if TYPE_CHECKING:
    from .world import World

READS: Final = (
    "markets", "contexts", "book", "prints", "closes", "mode", "positions", "balances",
    "open_orders", "fills", "receipts", "transfers", "fees", "leverage", "budget", "order",
)  # fmt: skip
_STAMPS: Final = re.compile(r"\b(issued|seen|at|issued_venue)_ms=\d+")


class Watched:
    """The bot's venue; what it answers is passed on as it is."""

    def __init__(self, venue: HyperliquidVenue | DirectVenue, world: "World") -> None:
        self._venue, self._world = venue, world
        self._honest: HyperliquidVenue | DirectVenue | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._venue, name)
        return self._read(name, found) if name in READS else found

    def _read(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any) -> Any:
            storm = self._world.storm
            storm.touched.clear()
            try:
                found = real(*args)
            except ReadFailed:
                storm.settle(True)
                raise
            if storm.touched:
                storm.settle(_shape(found) != _shape(getattr(self.honest, name)(*args)))
            return found

        return read

    def write(self, action: Write) -> Outcome:
        storm = self._world.storm
        storm.touched.clear()
        storm.answers.clear()
        outcome = self._venue.write(action)
        if storm.touched:
            answer = storm.answers.get((action.nonce, isinstance(action, Fence)))
            storm.settle(
                answer is None
                or outcome != self._told(action, answer)
                or _less(action, outcome)
                or self._late()
            )
        return outcome

    def _told(self, action: Write, answer: Any) -> Outcome:
        if self._world.values:
            return outcome_by_value(action, 200, answer)
        return outcome_of(action, Posted(True, 200, answer, ""))

    def _late(self) -> bool:
        """Whether word of the fill came before the answer."""
        touched = self._world.storm.touched
        return any(hit.fault == "F26" for hit in touched) and self._world.link.waiting()

    @property
    def honest(self) -> HyperliquidVenue | DirectVenue:
        if self._honest is None and isinstance(self._world.link, ValueLink):
            world = self._world
            self._honest = DirectVenue(
                account=world.account,
                signer=world.key.address,
                coins=world.case.policy.coins,
                clock=_Still(world),
                direct=lambda address: Direct(world.exchange, address, free=True),
                passage=lambda call: (200, call.do and call.do(world.account)),
                link=self._world.link,
            )
        if self._honest is None:
            self._honest = HyperliquidVenue(
                network=Network.TESTNET,
                account=self._world.account,
                coins=self._world.case.policy.coins,
                key=None,
                clock=_Still(self._world),
                transport=_Honest(self._world),
                link=self._world.link,
            )
        return self._honest


def _less(action: Write, outcome: Outcome) -> bool:
    """Whether an order did less than its size: on books this deep, by the fault's doing."""
    if not isinstance(action, Place):
        return False
    return not isinstance(outcome, Accepted) or outcome.filled_sz < action.sz


def _shape(value: object) -> str:
    """What was seen, without when."""
    return _STAMPS.sub("", repr(value))


class _Honest:
    """A `Transport` that asks the exchange itself: no time, no weight, no fault."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        answer, _ = self._world.exchange.info.answer(msgspec.json.decode(body))
        return 200, {}, answer

    def close(self) -> None:
        pass


class _Still(WallClock):
    """A clock of the exchange that learns nothing."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def mono_ms(self) -> int:
        return self._world.exchange.now

    def wall_ms(self) -> int:
        return self._world.exchange.now

    def venue_ms(self) -> int | None:
        return self._world.exchange.now
