"""What the venue tells of all markets at once, for people who choose: volumes of the day."""

from collections.abc import Mapping
from decimal import Decimal

from carry.core.types import Fees, Leg

from . import parse
from .constants import PAIRED, QUOTE
from .rest import Rest

BASE_FEES = Fees(
    spot_maker=Decimal("0.00005"),
    spot_taker=Decimal("0.0004"),
    perp_maker=Decimal("0.0001"),
    perp_taker=Decimal("0.00035"),
)
WEIGHT = 40  # of the day's figures of all symbols


class AsterOverview:
    """Implements `carry.venues.base.Overview`."""

    coins: tuple[str, ...] = PAIRED

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def volumes(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        told: dict[Leg, Mapping[str, Decimal]] = {}
        for leg in Leg:
            answer = self._rest.public("volumes", leg, "/ticker/24hr", WEIGHT)
            with parse.reading("volumes"):
                told[leg] = parse.read_volumes(answer.body)
        return {
            coin: (told[Leg.SPOT][name], told[Leg.PERP][name])
            for coin in self.coins
            if (name := f"{coin}{QUOTE}") in told[Leg.SPOT] and name in told[Leg.PERP]
        }

    def fees(self) -> Fees:
        """Nobody's can be read here: the base tier as published, which changed over time."""
        return BASE_FEES

    def shift(self, coin: str) -> int:
        return 0
