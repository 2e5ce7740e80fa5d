"""Account modes as variants: what is free, what a carry of a size needs, how far liquidation is.

Split: spot and perp wallets are apart, spot coins are no collateral. Unified: one USD balance pays
for spot and margins the perps; spot coins are still no collateral. Sources: the venue's margining
and liquidation pages (liq = mark - side x margin / size / (1 - l x side), side -1 for a short).
All shorts are taken to rise together, as coins do: for one short that is the venue's own figure.
"""

from decimal import Decimal

import attrs

from .num import ONE, ZERO
from .state import Carry, State
from .types import AccountMode, Leg

KEPT_SHARE = Decimal("0.1")  # of the notional, that the venue keeps in the perp wallet
DRIFT = Decimal("0.01")  # by how much a price may move while a slice is on its way
MARK_MS = 15_000  # a mark older than this is not trusted to be the highest price


@attrs.frozen(kw_only=True)
class Terms:
    """What a size is judged by. fee: of both legs, a fraction. rate: maintenance margin, a fraction
    of notional. distance: how far the price must be able to rise once it is held.
    """

    leverage: int
    buffer: Decimal
    fee: Decimal
    rate: Decimal
    distance: Decimal

    @property
    def backing(self) -> Decimal:
        """USD that one USD of short takes from what may be lost, once held at that distance."""
        return self.rate + self.fee + self.distance * (ONE + self.rate)

    @property
    def recommended(self) -> Decimal:
        """USD in the perp wallet beside one of spot: spot <= equity x L / (1+L) x (1-buffer)."""
        share = Decimal(self.leverage) / (1 + self.leverage) * (ONE - self.buffer)
        return max(ONE / share - ONE, (ONE + self.fee) / self.leverage, self.backing)


@attrs.frozen(kw_only=True)
class Sizing:
    """A leg of `usd`, once `move` USD went into the perp wallet (< 0: out of it)."""

    usd: Decimal
    move: Decimal = ZERO


@attrs.frozen(kw_only=True)
class Split:
    """USD by wallet. `perp_equity`: cash leg plus positions at mark. `margin_used`: at our
    leverage. `exposure`: sum of the shorts' notional x (1 + maintenance rate).
    """

    spot_free: Decimal
    spot_total: Decimal
    perp_equity: Decimal
    margin_used: Decimal
    maintenance: Decimal
    notional: Decimal = ZERO
    exposure: Decimal = ZERO

    @property
    def equity(self) -> Decimal:
        return self.spot_total + self.perp_equity

    @property
    def margin_left(self) -> Decimal:
        """What a rise of the shorts may cost before liquidation."""
        return self.perp_equity - self.maintenance

    @property
    def withdrawable(self) -> Decimal:
        """What may leave the perp wallet by the venue's rule."""
        return max(ZERO, self.perp_equity - max(self.margin_used, self.notional * KEPT_SHARE))

    @property
    def distance(self) -> Decimal | None:
        return self.margin_left / self.exposure if self.exposure else None

    def spare(self, distance: Decimal) -> Decimal:
        """USD the perp wallet can do without while its shorts keep their `distance`."""
        return max(ZERO, min(self.withdrawable, self.margin_left - distance * self.exposure))

    def affordable(self, terms: Terms) -> Decimal:
        """Largest leg, USD notional, that both wallets carry as they are, with `buffer` of the
        equity idle.
        """
        lever = terms.leverage
        balanced = self.equity * lever / (1 + lever) * (ONE - terms.buffer)
        spot = self.spot_free / (ONE + terms.fee)
        perp = (self.perp_equity - self.margin_used) * lever / (ONE + terms.fee)
        far = (self.margin_left - terms.distance * self.exposure) / terms.backing
        return max(ZERO, min(balanced, spot, perp, far))

    def sized(self, terms: Terms, wanted: Decimal, movable: Decimal) -> Sizing:
        """A leg of at most `wanted` USD, when up to `movable` USD may change wallets first."""
        as_is = min(wanted, self.affordable(terms))
        spare = self.spare(terms.distance)
        spot_need, perp_need = ONE + terms.fee + DRIFT, terms.recommended
        usd = min(wanted, (self.spot_free + spare) / (spot_need + perp_need))
        if self.spot_free < usd * spot_need:
            usd = min(usd, (self.spot_free + movable) / spot_need)
            move = self.spot_free - usd * spot_need
        else:
            usd = min(usd, (spare + movable) / perp_need)
            move = usd * perp_need - spare
        if usd <= as_is * (ONE + DRIFT * 5) or not move:
            return Sizing(usd=as_is)  # what little a move would add is not worth one
        return Sizing(usd=usd, move=move)


@attrs.frozen(kw_only=True)
class Unified:
    """USD in one balance: `cash` realised, `pnl` of positions at mark, `hold` of open orders.
    `exposure` as in `Split`.
    """

    cash: Decimal
    pnl: Decimal
    hold: Decimal
    margin_used: Decimal
    maintenance: Decimal
    exposure: Decimal = ZERO

    @property
    def equity(self) -> Decimal:
        return self.cash + self.pnl

    @property
    def margin_left(self) -> Decimal:
        return self.equity - self.maintenance

    @property
    def distance(self) -> Decimal | None:
        return self.margin_left / self.exposure if self.exposure else None

    def affordable(self, terms: Terms) -> Decimal:
        """Largest leg, USD notional: spot is paid and the short margined from the same balance."""
        lever = terms.leverage
        free = (self.equity - max(self.margin_used, self.hold)) * (ONE - terms.buffer)
        far = (self.margin_left - terms.distance * self.exposure) / (ONE + terms.backing)
        return max(ZERO, min(free * lever / (1 + lever) / (ONE + terms.fee), far))

    def sized(self, terms: Terms, wanted: Decimal, movable: Decimal) -> Sizing:
        """A leg of at most `wanted` USD; there is one wallet, so nothing is moved."""
        return Sizing(usd=min(wanted, self.affordable(terms)))


Wallets = Split | Unified


@attrs.frozen(kw_only=True)
class _Marked:
    """All positions at mark, USD: signed value and cost, margins, and what the shorts weigh."""

    value: Decimal = ZERO
    entry: Decimal = ZERO
    initial: Decimal = ZERO
    maintenance: Decimal = ZERO
    notional: Decimal = ZERO
    exposure: Decimal = ZERO


def mark_px(state: State, carry: Carry) -> Decimal | None:
    """The mark; when that is old and the book is higher, the book's mid: a short fears a rise."""
    if carry.context is None:
        return None
    quote = carry.quotes.get(Leg.PERP.value)
    old = state.now_ms - carry.context_ms > MARK_MS
    if old and quote is not None and quote.seen_ms > carry.context_ms:
        return max(carry.context.mark_px, quote.book.mid_px)
    return carry.context.mark_px


def _marked(state: State) -> _Marked:
    value = entry = initial = maintenance = notional = exposure = ZERO
    for coin, position in state.account.positions.items():
        carry = state.carries.get(coin)
        mark = mark_px(state, carry) if carry is not None else None
        if carry is None or carry.market is None or mark is None:
            # Not one of our markets: what the venue told when it was read is all that is known.
            worth, rate = position.value or position.entry_ntl, position.rate
            initial += position.margin_used
        else:
            worth, rate = position.sz * mark, carry.market.perp.maintenance_rate
            initial += abs(worth) / (carry.leverage.value if carry.leverage is not None else 1)
        value += worth
        entry += position.entry_ntl
        maintenance += abs(worth) * rate
        notional += abs(worth)
        if worth < 0:
            exposure -= worth * (ONE + rate)
    # The venue's own figure knows every tier; ours knows the newest mark. The larger one counts.
    return _Marked(
        value=value,
        entry=entry,
        initial=initial,
        maintenance=max(maintenance, state.account.maintenance),
        notional=notional,
        exposure=exposure,
    )


def wallets(state: State) -> Wallets | None:
    """The account by its mode; None before it was read, or in a mode whose entries are refused."""
    account = state.account
    if account.usd is None or not account.positions_ms:
        return None
    if account.mode is AccountMode.SPLIT:
        held = _marked(state)
        return Split(
            spot_free=account.usd.total - account.usd.hold,
            spot_total=account.usd.total,
            perp_equity=account.raw_usd + held.value,
            margin_used=held.initial,
            maintenance=held.maintenance,
            notional=held.notional,
            exposure=held.exposure,
        )
    if account.mode is AccountMode.UNIFIED:
        held = _marked(state)
        return Unified(
            cash=account.usd.total,
            pnl=held.value - held.entry,
            hold=account.usd.hold,
            margin_used=held.initial,
            maintenance=held.maintenance,
            exposure=held.exposure,
        )
    return None
