"""Replies of `/info` about the account as core reads. Pure: bytes and what is known in, values out.

Rows of coins that are not configured are passed over, however they look. A row that cannot even be
told apart from ours fails the whole read: left out, it would look like something that is gone.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from carry.core.num import ONE, ZERO
from carry.core.observations import (
    Balance,
    BalancesRead,
    OpenOrder,
    OrderRecord,
    Position,
    PositionsRead,
)
from carry.core.types import AccountMode, Fees, Fill, FundingReceipt, Leg, Side
from carry.venues.numbers import not_negative, number, positive, stamp_ms

from .constants import QUOTE_NAME, QUOTE_TOKEN
from .metadata import Known
from .parse import UNREADABLE, CoinRow, Page, decode, ours

_SIDES: Mapping[str, Side] = {"B": Side.BUY, "A": Side.SELL}


def _side(text: str) -> Side:
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"side {text[:20]!r} is neither B nor A")
    return side


_MODES: Mapping[str, AccountMode] = {
    "disabled": AccountMode.SPLIT,
    "default": AccountMode.SPLIT,
    "unifiedAccount": AccountMode.UNIFIED,
    "portfolioMargin": AccountMode.PORTFOLIO,
}


def read_mode(body: bytes) -> tuple[AccountMode, str]:
    """`userAbstraction`: a bare JSON string. A word we do not know is UNKNOWN, not a guess."""
    word = decode(body, str)[:40]
    return mode_of(word), word


def mode_of(word: str) -> AccountMode:
    return _MODES.get(word, AccountMode.UNKNOWN)


class _Margin(msgspec.Struct):
    accountValue: str
    totalRawUsd: str
    totalMarginUsed: str


class _PositionRow(msgspec.Struct):
    coin: str
    szi: str
    positionValue: str
    unrealizedPnl: str
    marginUsed: str
    maxLeverage: int = 0


class _PositionItem(msgspec.Struct):
    position: msgspec.Raw


class _Perps(msgspec.Struct):
    marginSummary: _Margin
    crossMaintenanceMarginUsed: str
    assetPositions: list[_PositionItem]
    time: int


def _position_of(row: _PositionRow) -> Position:
    """entry_ntl is exact from value and PnL, where `entryPx` is rounded for display."""
    sz = number(row.szi)
    value = not_negative(row.positionValue)
    signed = value if sz > 0 else -value
    return Position(
        sz=sz,
        entry_ntl=signed - number(row.unrealizedPnl),
        margin_used=number(row.marginUsed),
        value=signed,
        rate=ONE / (2 * row.maxLeverage) if row.maxLeverage > 0 else ZERO,
    )


def read_positions(body: bytes, known: Known, issued_ms: int) -> PositionsRead:
    """`clearinghouseState`. A foreign coin's row that is unreadable is passed over, ours fails."""
    state = decode(body, _Perps)
    positions: dict[str, Position] = {}
    for item in state.assetPositions:
        coin = decode(item.position, CoinRow).coin
        if coin in positions:
            raise ValueError(f"two positions of {coin[:20]}")
        try:
            positions[coin] = _position_of(decode(item.position, _PositionRow))
        except UNREADABLE:
            if coin in known.listed:
                raise
    return PositionsRead(
        positions={coin: row for coin, row in positions.items() if row.sz},
        raw_usd=number(state.marginSummary.totalRawUsd),
        equity=number(state.marginSummary.accountValue),
        margin_used=number(state.marginSummary.totalMarginUsed),
        maintenance=number(state.crossMaintenanceMarginUsed),
        at_ms=stamp_ms(state.time),
        issued_ms=issued_ms,
    )


class _Holder(msgspec.Struct):
    coin: str
    token: int | None = None


class _BalanceRow(msgspec.Struct):
    total: str
    hold: str


class _Spot(msgspec.Struct):
    balances: list[msgspec.Raw]


def read_balances(
    body: bytes, known: Known, issued_ms: int, pnl: Decimal = ZERO
) -> BalancesRead:
    """`spotClearinghouseState`; a token without a row is not held. Names repeat, so by number.

    pnl: unrealised, USD, that is in the total of USDC and not in what is told here.
    """
    usd: Balance | None = None
    coins: dict[str, Balance] = {}
    for raw in decode(body, _Spot).balances:
        holder = decode(raw, _Holder)
        coin = None if holder.token is None else known.by_token.get(holder.token)
        if coin is None and holder.token != QUOTE_TOKEN:
            continue
        row = decode(raw, _BalanceRow)
        total, hold = number(row.total), number(row.hold)
        if coin is not None:
            listed = known.listed[coin]
            total, hold = listed.coin_sz(Leg.SPOT, total), listed.coin_sz(Leg.SPOT, hold)
        balance = Balance(total=total, hold=hold)
        if coin is None:
            if usd is not None or holder.coin != QUOTE_NAME:
                raise ValueError(f"token {QUOTE_TOKEN} is {holder.coin[:20]!r}, or is there twice")
            usd = Balance(total=total - pnl, hold=hold)
        elif coin in coins:
            raise ValueError(f"two balances of {coin}")
        else:
            coins[coin] = balance
    return BalancesRead(usd=usd or Balance(total=ZERO, hold=ZERO), coins=coins, issued_ms=issued_ms)


class _Order(msgspec.Struct):
    coin: str
    side: str
    limitPx: str
    sz: str
    oid: int
    cloid: str | None = None


def read_orders(body: bytes, known: Known) -> tuple[OpenOrder, ...]:
    """`frontendOpenOrders` or `openOrders` of the configured instruments; `sz` is what remains."""
    orders = []
    for raw, coin, leg in ours(decode(body, list[msgspec.Raw]), known):
        row = decode(raw, _Order)
        listed = known.listed[coin]
        orders.append(
            OpenOrder(
                coin=coin,
                leg=leg,
                oid=str(row.oid),
                cloid=row.cloid,
                side=_side(row.side),
                px=listed.coin_px(leg, not_negative(row.limitPx)),
                sz=listed.coin_sz(leg, not_negative(row.sz)),
            )
        )
    return tuple(orders)


class FillRow(msgspec.Struct):
    px: str
    sz: str
    side: str
    time: int
    oid: int
    tid: int
    fee: str
    coin: str
    feeToken: str = ""
    dir: str = ""
    cloid: str | None = None


def fill_of(row: FillRow, coin: str, leg: Leg, known: Known) -> Fill:
    """A fill of a configured instrument. A fee in a token that is neither leg's fails it.

    `tid` alone is no key: it is a hash of the two orders, and 0 for conversions of dust.
    """
    token = row.feeToken.strip()
    listed = known.listed[coin]
    base = listed.market.spot_token
    in_base = leg is Leg.SPOT and token == base
    if not in_base and token != QUOTE_NAME and (token or leg is Leg.SPOT):
        raise ValueError(f"{row.coin}: fee in {token[:20]!r}, neither {base} nor {QUOTE_NAME}")
    return Fill(
        trade_id=f"{stamp_ms(row.time)}:{row.coin}:{row.tid}:{row.oid}",
        coin=coin,
        leg=leg,
        side=_side(row.side),
        px=listed.coin_px(leg, positive(row.px)),
        sz=listed.coin_sz(leg, positive(row.sz)),
        fee=listed.coin_sz(leg, number(row.fee)) if in_base else number(row.fee),
        fee_in_base=in_base,
        oid=str(row.oid),
        cloid=row.cloid,
        at_ms=row.time,
        kind=row.dir[:60],
    )


class _Timed(msgspec.Struct):
    time: int


def read_fills(body: bytes, known: Known) -> Page[Fill]:
    """`userFillsByTime`: fills of configured instruments, ascending."""
    rows = decode(body, list[msgspec.Raw])
    fills = [fill_of(decode(r, FillRow), c, leg, known) for r, c, leg in ours(rows, known)]
    fills.sort(key=lambda fill: fill.at_ms)
    newest_ms = max((stamp_ms(decode(row, _Timed).time) for row in rows), default=0)
    return Page(fills, len(rows), newest_ms)


class _Funding(msgspec.Struct):
    coin: str
    usdc: str
    szi: str
    fundingRate: str


class _FundingRow(msgspec.Struct):
    time: int
    delta: msgspec.Raw


class _DeltaKind(msgspec.Struct):
    type: str


def read_receipts(body: bytes, known: Known, *, ledger: bool = False) -> Page[FundingReceipt]:
    """`userFunding` of configured coins, ascending; `usdc` > 0 was received.

    ledger: out of `userNonFundingLedgerUpdates`, among rows of other kinds.
    """
    rows = decode(body, list[_FundingRow])
    receipts = []
    for row in rows:
        if ledger and decode(row.delta, _DeltaKind).type != "funding":
            continue
        found = known.by_symbol.get(decode(row.delta, CoinRow).coin)
        if found is None:
            continue
        delta = decode(row.delta, _Funding)
        receipts.append(
            FundingReceipt(
                coin=found[0],
                at_ms=stamp_ms(row.time),
                usd=number(delta.usdc),
                sz=number(delta.szi),
                rate=number(delta.fundingRate),
            )
        )
    receipts.sort(key=lambda receipt: receipt.at_ms)
    return Page(receipts, len(rows), max((stamp_ms(row.time) for row in rows), default=0))


class _UserFees(msgspec.Struct):
    userCrossRate: str
    userAddRate: str
    userSpotCrossRate: str
    userSpotAddRate: str
    activeReferralDiscount: str = "0"


def read_fees(body: bytes) -> Fees:
    """`userFees`: tier and staking are in the rates, the referral discount is not; rebates keep."""
    row = decode(body, _UserFees)
    kept = ONE - not_negative(row.activeReferralDiscount)
    if kept <= 0:
        raise ValueError(f"referral discount {row.activeReferralDiscount} leaves nothing")

    def own(text: str) -> Decimal:
        rate = number(text)
        return rate * kept if rate > 0 else rate

    return Fees(
        spot_maker=own(row.userSpotAddRate),
        spot_taker=own(row.userSpotCrossRate),
        perp_maker=own(row.userAddRate),
        perp_taker=own(row.userCrossRate),
    )


class _Setting(msgspec.Struct):
    type: str
    value: int


class _AssetData(msgspec.Struct):
    coin: str
    leverage: _Setting


def read_leverage(body: bytes, coin: str) -> tuple[int, bool]:
    """`activeAssetData`: the leverage in force even when flat, and whether it is cross."""
    row = decode(body, _AssetData)
    if row.coin != coin or row.leverage.type not in ("cross", "isolated") or row.leverage.value < 1:
        raise ValueError(f"{row.coin[:20]}: leverage {row.leverage}")
    return row.leverage.value, row.leverage.type == "cross"


class _RateLimit(msgspec.Struct):
    nRequestsUsed: int
    nRequestsCap: int


def read_budget(body: bytes) -> int:
    """`userRateLimit`: actions left to the address."""
    row = decode(body, _RateLimit)
    return max(0, row.nRequestsCap - row.nRequestsUsed)


class _RoleData(msgspec.Struct):
    user: str | None = None
    master: str | None = None


class _Role(msgspec.Struct):
    role: str
    data: _RoleData | None = None


class Agent(msgspec.Struct, frozen=True):
    """A named agent of the account. `validUntil`: epoch ms, None when the venue names no end."""

    address: str
    name: str
    validUntil: int | None = None


def read_role(body: bytes) -> tuple[str, str | None]:
    """`userRole`: "user", "agent", "subAccount", "vault" or "missing", and whose it is (lowercase).

    Reads of an agent's or a missing address succeed and are empty: they look like a flat account.
    """
    row = decode(body, _Role)
    owner = None if row.data is None else row.data.user or row.data.master
    return row.role[:20], None if owner is None else owner.lower()


def read_agents(body: bytes) -> tuple[Agent, ...]:
    """`extraAgents`: named agents only; the venue does not list the unnamed one."""
    return tuple(decode(body, list[Agent]))


def status_of(word: str) -> str:
    """A status word as ours: "open", "filled" or "gone"; `ValueError` for one that says neither.

    The set is open: 32 words are known, and all that end an order unfilled say cancel or reject.
    """
    if word in ("open", "triggered"):
        return "open"
    if word == "filled":
        return "filled"
    if "cancel" in word.lower() or "reject" in word.lower():
        return "gone"
    raise ValueError(f"order status {word[:40]!r} is unknown")


class _Recorded(msgspec.Struct):
    oid: int
    cloid: str | None = None


class _Detail(msgspec.Struct):
    order: _Recorded
    status: str


class _OrderStatus(msgspec.Struct):
    status: str
    order: _Detail | None = None


def read_record(body: bytes, intent: int, cloid: str, issued_ms: int) -> OrderRecord:
    """`orderStatus` by cloid. Its `sz` is as of the last change of status: fills tell the size."""
    reply = decode(body, _OrderStatus)
    if reply.status == "unknownOid":
        return OrderRecord(
            intent=intent, status="unknown", oid=None, word="unknownOid", issued_ms=issued_ms
        )
    if reply.status != "order" or reply.order is None:
        raise ValueError(f"answer {reply.status[:40]!r} to a query by cloid")
    detail = reply.order
    if detail.order.cloid != cloid:
        raise ValueError(f"the record is of cloid {str(detail.order.cloid)[:40]}, not {cloid}")
    return OrderRecord(
        intent=intent,
        status=status_of(detail.status),
        oid=str(detail.order.oid),
        word=detail.status[:40],
        issued_ms=issued_ms,
    )

