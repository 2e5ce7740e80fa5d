"""What the venue tells of all markets at once, for people who choose: volumes of the day."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from carry.core.types import Fees, Leg
from carry.venues.numbers import not_negative

from .constants import WRAPPERS
from .metadata import Known, name_of
from .parse import UNREADABLE, decode, reading
from .venue import HyperliquidVenue


class _Universe(msgspec.Struct):
    universe: list[msgspec.Raw]


class _PerpContext(msgspec.Struct):
    dayNtlVlm: str


class _SpotContext(msgspec.Struct):
    coin: str
    dayNtlVlm: str


def perp_volumes(body: bytes, known: Known) -> Mapping[str, Decimal]:
    """`metaAndAssetCtxs`: USD traded in the last day, by coin; context i belongs to row i."""
    meta, rows = decode(body, tuple[_Universe, list[msgspec.Raw]])
    found = {}
    for row, context in zip(meta.universe, rows, strict=True):
        coin = name_of(row)
        if coin is None or coin not in known.listed:
            continue
        try:
            found[coin] = not_negative(decode(context, _PerpContext).dayNtlVlm)
        except UNREADABLE:
            continue
    return found


def spot_volumes(body: bytes, known: Known) -> Mapping[str, Decimal]:
    """`spotMetaAndAssetCtxs`: by the context's own `coin`, since the two lists are not aligned."""
    _, rows = decode(body, tuple[msgspec.Raw, list[msgspec.Raw]])
    found = {}
    for raw in rows:
        try:
            row = decode(raw, _SpotContext)
            pair = known.by_symbol.get(row.coin)
            if pair is not None and pair[1] is Leg.SPOT:
                found[pair[0]] = not_negative(row.dayNtlVlm)
        except UNREADABLE:
            continue
    return found


class HyperliquidOverview:
    """Implements `carry.venues.base.Overview`. venue: its markets are read before anything here."""

    coins: tuple[str, ...] = tuple(WRAPPERS)

    def __init__(self, venue: HyperliquidVenue) -> None:
        self._venue = venue

    def volumes(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        rest, known = self._venue.rest, self._venue.known
        perps = rest.info("volumes", {"type": "metaAndAssetCtxs"}, 20)
        spots = rest.info("volumes", {"type": "spotMetaAndAssetCtxs"}, 20)
        with reading("volumes"):
            perp = perp_volumes(perps.body, known)
            spot = spot_volumes(spots.body, known)
        return {coin: (spot[coin], perp[coin]) for coin in spot if coin in perp}

    def fees(self) -> Fees:
        return self._venue.fees().fees

    def shift(self, coin: str) -> int:
        one = self._venue.known.listed.get(coin)
        return 0 if one is None else one.shift
