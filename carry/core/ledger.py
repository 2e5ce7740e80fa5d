"""PnL by cause, exactly: change of value = funding - fees + basis + slippage + external.

Each fill is measured against the mid of its leg when it was decided (`ref_px`): what was paid
beyond it is slippage, what the holding does from there on is basis. A fee taken in the coin is
valued at the fill's own price. Nothing is rounded, so in simulation the residual is zero.
"""

from decimal import Decimal

import attrs

from .actions import Posting
from .num import ZERO
from .state import Account, Carry, Ledger, Outside, State
from .types import Fill, FundingReceipt, Leg

SHARE_USD = Decimal("1E-12")

@attrs.frozen(kw_only=True)
class Pnl:
    """USD by cause; `net_usd` is their sum (fees subtracted)."""

    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    basis_usd: Decimal = ZERO
    slippage_usd: Decimal = ZERO
    external_usd: Decimal = ZERO

    @property
    def net_usd(self) -> Decimal:
        return (
            self.funding_usd
            - self.fees_usd
            + self.basis_usd
            + self.slippage_usd
            + self.external_usd
        )

    def plus(self, other: "Pnl") -> "Pnl":
        return Pnl(
            funding_usd=self.funding_usd + other.funding_usd,
            fees_usd=self.fees_usd + other.fees_usd,
            basis_usd=self.basis_usd + other.basis_usd,
            slippage_usd=self.slippage_usd + other.slippage_usd,
            external_usd=self.external_usd + other.external_usd,
        )


def price(carry: Carry, leg: Leg) -> Decimal | None:
    """What a unit of a leg is valued at: the newest mid, else the mark; None before either was
    seen.
    """
    seen = carry.quotes.get(leg.value)
    if seen is not None:
        return seen.book.mid_px
    return carry.context.mark_px if carry.context is not None else None


def own_fill(fill: Fill, ref_px: Decimal) -> Posting:
    """A fill of ours: (ref - px) x net size is slippage, the rest is carried at `ref_px`."""
    net = fill.base_change
    return Posting(
        kind="fill",
        ref=fill.trade_id,
        at_ms=fill.at_ms,
        coin=fill.coin,
        leg=fill.leg,
        sz=net,
        px=fill.px,
        ref_px=ref_px,
        fees_usd=fill.fee_usd,
        slippage_usd=net * (ref_px - fill.px),
        ref_cost_usd=net * ref_px,
        turnover_usd=fill.px * fill.sz,
    )


def taken(fill: Fill, owned: Decimal, foreign: Decimal, ref_px: Decimal) -> Posting:
    """What others did to a leg (liquidation, ADL, a trade by hand), of which `owned` was ours: all
    of that is external, with the fee. Else the fee is the outside's.
    """
    own_fee = fill.fee_usd if owned else ZERO
    return Posting(
        kind="external",
        ref=fill.trade_id,
        at_ms=fill.at_ms,
        coin=fill.coin,
        leg=fill.leg,
        sz=owned,
        px=fill.px,
        ref_px=ref_px,
        external_usd=owned * (ref_px - fill.px) - own_fee,
        ref_cost_usd=owned * ref_px,
        foreign_usd=foreign * fill.px,
        outside_usd=own_fee - fill.fee_usd,
    )


def appeared(
    coin: str, leg: Leg, owned: Decimal, foreign: Decimal, ref_px: Decimal, at_ms: int
) -> Posting:
    """A change of a leg that nothing explains.

    Coins come and go for nothing: worth their size x `ref_px`, external. A perp position does not:
    whoever closed it, its cash moved at the price of that moment, for which `ref_px` is taken.
    """
    free_px = ref_px if leg is Leg.SPOT else ZERO
    return Posting(
        kind="external",
        ref="",
        at_ms=at_ms,
        coin=coin,
        leg=leg,
        sz=owned,
        px=ref_px - free_px,
        ref_px=ref_px,
        external_usd=owned * free_px,
        ref_cost_usd=owned * ref_px,
        foreign_usd=foreign * ref_px,
        outside_usd=foreign * free_px,
    )


def moved(
    kind: str, coin: str, leg: Leg, owned: Decimal, px: Decimal, at_ms: int, *, known: bool
) -> Posting:
    """Holdings change hands between foreign and owned at `px`: no PnL. known: the account was
    valued before, so that the foreign side is in its baseline."""
    cost = owned * px
    return Posting(
        kind=kind,
        ref="",
        at_ms=at_ms,
        coin=coin,
        leg=leg,
        sz=owned,
        px=px,
        ref_px=px,
        ref_cost_usd=cost,
        foreign_usd=-cost if known else ZERO,
    )


def funding(receipt: FundingReceipt, foreign_perp: Decimal | None) -> Posting:
    """A payment: what foreign size was paid is the outside's; all of it where foreign is None."""
    ours = ZERO if foreign_perp is None else funding_share(receipt, foreign_perp)
    return Posting(
        kind="funding",
        ref="",
        at_ms=receipt.at_ms,
        coin=receipt.coin,
        leg=Leg.PERP,
        funding_usd=ours,
        outside_usd=receipt.usd - ours,
    )


def funding_share(receipt: FundingReceipt, foreign_perp: Decimal) -> Decimal:
    """Our part of a payment, USD: all of it unless foreign size was paid too.

    It is read minutes after it was paid, so what we own by now says nothing of what it was paid on.
    A share that does not end is cut at `SHARE_USD`, so that sums stay exact; the rest is foreign.
    """
    if not receipt.sz or not foreign_perp:
        return receipt.usd
    share = receipt.usd * max(ZERO, (receipt.sz - foreign_perp) / receipt.sz)
    return share.quantize(SHARE_USD)


def post(ledger: Ledger, posting: Posting) -> Ledger:
    """The totals of a market after one more line."""
    return Ledger(
        funding_usd=ledger.funding_usd + posting.funding_usd,
        fees_usd=ledger.fees_usd + posting.fees_usd,
        slippage_usd=ledger.slippage_usd + posting.slippage_usd,
        external_usd=ledger.external_usd + posting.external_usd,
        ref_cost_usd=ledger.ref_cost_usd + posting.ref_cost_usd,
        turnover_usd=ledger.turnover_usd + posting.turnover_usd,
    )


def pnl(carry: Carry) -> Pnl:
    """Totals of one market at the newest prices; without one the holdings are carried at cost."""
    ledger = carry.ledger
    spot_px, perp_px = price(carry, Leg.SPOT), price(carry, Leg.PERP)
    basis = ZERO
    if spot_px is not None and perp_px is not None:
        basis = carry.spot_sz * spot_px + carry.perp_sz * perp_px - ledger.ref_cost_usd
    return Pnl(
        funding_usd=ledger.funding_usd,
        fees_usd=ledger.fees_usd,
        basis_usd=basis,
        slippage_usd=ledger.slippage_usd,
        external_usd=ledger.external_usd,
    )


def total(state: State) -> Pnl:
    """PnL by cause over all markets."""
    result = Pnl()
    for carry in state.carries.values():
        result = result.plus(pnl(carry))
    return result


def cash(account: Account, coins: tuple[str, ...]) -> Decimal:
    """USD of the account without any holding of the markets: what is left when perps are at zero.

    Split: the quote balance plus the perp account's cash leg. Unified: the one balance holds
    realised cash only, so what positions cost on entry is taken out of it.
    """
    assert account.usd is not None
    if account.mode is not None and account.mode.value == "split":
        return account.usd.total + account.raw_usd
    entry = sum((account.positions[c].entry_ntl for c in coins if c in account.positions), ZERO)
    return account.usd.total - entry


def account_value(state: State) -> Decimal | None:
    """Value of the account in the markets' coins and USD, USD; None before all prices are known."""
    account = state.account
    value = cash(account, tuple(state.carries))
    for coin, carry in state.carries.items():
        spot_px, perp_px = price(carry, Leg.SPOT), price(carry, Leg.PERP)
        spot = account.coins[coin].total if coin in account.coins else ZERO
        perp = account.positions[coin].sz if coin in account.positions else ZERO
        if spot_px is None or perp_px is None:
            if spot or perp:
                return None
            continue
        value += spot * spot_px + perp * perp_px
    return value


def explained(state: State) -> Decimal:
    """Change of value since the baseline by our own sources, USD: PnL, transfers, the outside."""
    outside: Outside = state.account.outside
    foreign = ZERO
    for carry in state.carries.values():
        spot_px, perp_px = price(carry, Leg.SPOT), price(carry, Leg.PERP)
        if spot_px is not None and perp_px is not None:
            foreign += carry.foreign_spot * spot_px + carry.foreign_perp * perp_px
    return (
        total(state).net_usd
        + state.account.transfers_usd
        + foreign
        - outside.ref_cost_usd
        + outside.cash_usd
    )
