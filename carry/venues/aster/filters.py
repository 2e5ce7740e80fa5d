"""The filters of a symbol: what an order must satisfy, checked in the venue's order before it goes.

Spot and futures spell the same rules differently (MIN_NOTIONAL is `minNotional` or `notional`).
`pricePrecision` is never a tick: SOLUSDT's is 4 where its tick is 0.01.
Source: Aster API docs V3 "Filters"; recorded exchangeInfo of both.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs
import msgspec

from carry.core.num import ZERO, ceil_to, floor_to, show
from carry.core.types import Leg, Side
from carry.venues.numbers import not_negative, positive

CLIENT_ID_CHARS = 36


@attrs.frozen(kw_only=True)
class Filters:
    """Bounds of one symbol. Prices in quote, sizes in base; None where a rule is absent or off.

    up, down: multipliers of the reference price (mark on futures, index on spot). both_sides: the
    spot rule, where each bound holds for either side; on futures `up` binds buys, `down` sells.
    """

    tick: Decimal
    min_px: Decimal
    max_px: Decimal | None
    step: Decimal
    min_sz: Decimal
    max_sz: Decimal | None
    min_notional: Decimal
    max_notional: Decimal | None = None
    up: Decimal | None = None
    down: Decimal | None = None
    both_sides: bool = False

    def px_down(self, px: Decimal) -> Decimal:
        """The highest valid price not above `px`: ticks are counted from the lowest price."""
        return floor_to(px - self._from, self.tick) + self._from

    def px_up(self, px: Decimal) -> Decimal:
        """The lowest valid price not below `px`."""
        return ceil_to(px - self._from, self.tick) + self._from

    def size_for(self, notional: Decimal, px: Decimal) -> Decimal:
        """The smallest valid size worth at least `notional` at `px`."""
        raw = max(notional / px, self.min_sz)
        return ceil_to(raw - self.min_sz, self.step) + self.min_sz

    @property
    def _from(self) -> Decimal:
        return self.min_px % self.tick

    def fault(
        self,
        side: Side,
        px: Decimal,
        sz: Decimal,
        reference: Decimal | None,
        *,
        reduce_only: bool = False,
    ) -> str | None:
        """The first rule that an order breaks, with value and bound; None when it breaks none."""
        if (px - self.min_px) % self.tick:
            return f"price {show(px)} is not on the tick {show(self.tick)}"
        if px < self.min_px or (self.max_px is not None and px > self.max_px):
            return f"price {show(px)} is outside {show(self.min_px)} to {_shown(self.max_px)}"
        if (sz - self.min_sz) % self.step:
            return f"size {show(sz)} is not on the step {show(self.step)}"
        if sz < self.min_sz or (self.max_sz is not None and sz > self.max_sz):
            return f"size {show(sz)} is outside {show(self.min_sz)} to {_shown(self.max_sz)}"
        notional = px * sz
        if notional < self.min_notional and not reduce_only:
            return f"value {show(notional)} is below the minimum {show(self.min_notional)}"
        if self.max_notional is not None and notional > self.max_notional:
            return f"value {show(notional)} is above the maximum {show(self.max_notional)}"
        return None if reference is None else self._band_fault(side, px, reference)

    def _band_fault(self, side: Side, px: Decimal, reference: Decimal) -> str | None:
        capped = self.both_sides or side is Side.BUY
        floored = self.both_sides or side is Side.SELL
        if capped and self.up is not None and px > reference * self.up:
            return f"price {show(px)} is above {show(reference)} x {show(self.up)}"
        if floored and self.down is not None and px < reference * self.down:
            return f"price {show(px)} is below {show(reference)} x {show(self.down)}"
        return None


def _shown(bound: Decimal | None) -> str:
    return "any" if bound is None else show(bound)


class _Row(msgspec.Struct):
    filterType: str
    tickSize: str = ""
    minPrice: str = ""
    maxPrice: str = ""
    stepSize: str = ""
    minQty: str = ""
    maxQty: str = ""
    notional: str = ""
    minNotional: str = ""
    maxNotional: str = ""
    multiplierUp: str = ""
    multiplierDown: str = ""


def read_filters(
    rows: Sequence[msgspec.Raw],
    leg: Leg,
    *,
    tick: Decimal | None = None,
    step: Decimal | None = None,
) -> Filters:
    """The filters of one symbol's row; raises `ValueError` for a grid that is missing.

    tick, step: of the config, instead of the venue's; None takes the venue's.
    """
    found: dict[str, _Row] = {}
    for raw in rows:
        row = msgspec.json.decode(raw, type=_Row)
        found[row.filterType] = row
    price, lot = _need(found, "PRICE_FILTER"), _need(found, "LOT_SIZE")
    notional = found.get("MIN_NOTIONAL") or found.get("NOTIONAL")
    if notional is None:
        raise ValueError("no MIN_NOTIONAL filter: the smallest order is unknown")
    band = found.get("PERCENT_PRICE")
    most = found.get("MAX_NOTIONAL") or found.get("NOTIONAL")
    return Filters(
        tick=tick if tick is not None else positive(price.tickSize),
        min_px=not_negative(price.minPrice),
        max_px=_bound(price.maxPrice),
        step=step if step is not None else positive(lot.stepSize),
        min_sz=not_negative(lot.minQty),
        max_sz=_bound(lot.maxQty),
        min_notional=not_negative(notional.minNotional or notional.notional),
        max_notional=None if most is None else _bound(most.maxNotional),
        up=None if band is None else _bound(band.multiplierUp),
        down=None if band is None else _bound(band.multiplierDown),
        both_sides=leg is Leg.SPOT,
    )


def _need(found: Mapping[str, _Row], kind: str) -> _Row:
    row = found.get(kind)
    if row is None:
        raise ValueError(f"no {kind} filter")
    return row


def _bound(text: str) -> Decimal | None:
    """0 switches a rule off; so does its absence."""
    value = not_negative(text) if text else ZERO
    return value or None
