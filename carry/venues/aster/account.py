"""Replies about configured coins as core reads them. Pure: bytes and what is known in, values out.

USDT counts as USD. Spot and futures are two wallets, which the core calls a split account.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs
import msgspec

from carry.core.num import ONE, ZERO
from carry.core.observations import (
    Balance,
    BalancesRead,
    OpenOrder,
    Position,
    PositionsRead,
)
from carry.core.types import (
    Fees,
    Fill,
    FundingPrint,
    FundingReceipt,
    Instrument,
    Leg,
    Market,
    PriceRule,
    Side,
    Transfer,
)
from carry.venues.numbers import not_negative, number, positive, stamp_ms

from .constants import QUOTE
from .parse import Symbol, decode, read_orders, read_spot_balances

_DIGITS = 40
"""More significant figures than any price has: the tick alone binds here."""


def instrument(symbol: Symbol, leg: Leg) -> Instrument:
    """A symbol as core has it. Its price rule is a number of decimals, so that a tick which is no
    power of ten, or a grid that does not begin at zero, is refused rather than rounded.
    """
    f = symbol.filters
    tick = f.tick.normalize()
    if tick.as_tuple().digits != (1,) or f.min_px % f.tick:
        raise ValueError(f"{symbol.name}: prices in steps of {f.tick} from {f.min_px} are no grid")
    if f.min_sz % f.step:
        raise ValueError(f"{symbol.name}: sizes in steps of {f.step} from {f.min_sz} are no grid")
    perp = leg is Leg.PERP
    initial = symbol.initial_percent
    return Instrument(
        symbol=symbol.name,
        lot=f.step,
        rule=PriceRule(_DIGITS, -int(tick.as_tuple().exponent), False),
        min_notional=f.min_notional,
        max_leverage=int(100 / initial) if perp and initial else int(perp),
        maintenance_rate=symbol.maintenance_percent / 100 if perp else ZERO,
        tradable=symbol.trading,
    )


def market_of(coin: str, spot: Symbol, perp: Symbol) -> Market:
    """A pair by its symbol, which is the same on both hosts; the base must be the same coin too."""
    for symbol in (spot, perp):
        if (symbol.base, symbol.quote) != (coin, QUOTE):
            raise ValueError(f"{symbol.name} is {symbol.base}/{symbol.quote}, not {coin}/{QUOTE}")
    return Market(
        coin=coin,
        spot=instrument(spot, Leg.SPOT),
        perp=instrument(perp, Leg.PERP),
        spot_token=coin,
    )


class _AccountAsset(msgspec.Struct):
    asset: str
    walletBalance: str


class _AccountPosition(msgspec.Struct):
    symbol: str
    positionAmt: str
    entryPrice: str
    unrealizedProfit: str
    initialMargin: str
    positionSide: str = "BOTH"


class _Account(msgspec.Struct):
    totalMaintMargin: str
    totalInitialMargin: str
    assets: list[_AccountAsset]
    positions: list[msgspec.Raw]


class _Amount(msgspec.Struct):
    symbol: str
    positionAmt: str


def read_positions(
    body: bytes, markets: Mapping[str, Market], at_ms: int, issued_ms: int
) -> PositionsRead:
    """`accountWithJoinMargin`: wallet and positions of one moment. Flat rows are passed over.

    Cash is the USDT wallet less what the positions cost, so that cash plus size x mark is equity.
    """
    row = decode(body, _Account)
    wallets = [asset for asset in row.assets if asset.asset == QUOTE]
    if len(wallets) != 1:
        raise ValueError(f"{len(wallets)} {QUOTE} wallets, not one")
    coin_of = {market.perp.symbol: coin for coin, market in markets.items()}
    positions: dict[str, Position] = {}
    cost = pnl = ZERO
    for raw in row.positions:
        head = decode(raw, _Amount)
        if not number(head.positionAmt):
            continue
        found = decode(raw, _AccountPosition)
        sz, name = number(found.positionAmt), coin_of.get(found.symbol, found.symbol)
        if found.positionSide != "BOTH" or name in positions:
            raise ValueError(f"{found.symbol}: a position of hedge mode")
        entry = sz * not_negative(found.entryPrice)
        cost += entry
        pnl += number(found.unrealizedProfit)
        margin = not_negative(found.initialMargin)
        positions[name] = Position(sz=sz, entry_ntl=entry, margin_used=margin)
    wallet = number(wallets[0].walletBalance)
    return PositionsRead(
        positions=positions,
        raw_usd=wallet - cost,
        equity=wallet + pnl,
        margin_used=not_negative(row.totalInitialMargin),
        maintenance=not_negative(row.totalMaintMargin),
        at_ms=at_ms,
        issued_ms=issued_ms,
    )


def read_balances(body: bytes, markets: Mapping[str, Market], issued_ms: int) -> BalancesRead:
    """`account` of the spot host; a coin without a row is not held."""
    held = read_spot_balances(body)
    usd = held.get(QUOTE)
    none = Balance(total=ZERO, hold=ZERO)
    return BalancesRead(
        usd=none if usd is None else Balance(total=usd.total, hold=usd.hold),
        coins={
            coin: Balance(total=held[coin].total, hold=held[coin].hold)
            for coin in markets
            if coin in held
        },
        issued_ms=issued_ms,
    )


def read_open(body: bytes, coin: str, leg: Leg, symbol: str) -> tuple[OpenOrder, ...]:
    """`openOrders` of one symbol; `sz` is what remains."""
    rows = read_orders(body)
    if any(row.symbol != symbol for row in rows):
        raise ValueError(f"an order of another symbol than {symbol}")
    return tuple(
        OpenOrder(
            coin=coin,
            leg=leg,
            oid=row.oid,
            cloid=row.client_id,
            side=row.side,
            px=row.px,
            sz=row.sz - row.filled,
        )
        for row in rows
    )


@attrs.frozen(kw_only=True)
class Trade:
    """A row of userTrades; whose order it was is told by number only, so the name is added later.

    fee > 0 is paid. Its sign differs between samples of the documents, so it is taken as a cost.
    """

    oid: str
    at_ms: int
    fill: Fill


class _TradeRow(msgspec.Struct):
    symbol: str
    id: int | str
    orderId: int | str
    side: str
    price: str
    qty: str
    commission: str
    commissionAsset: str
    time: int


def read_trades(body: bytes, coin: str, leg: Leg, symbol: str) -> list[Trade]:
    """`userTrades` of one symbol, ascending."""
    found: list[Trade] = []
    for row in decode(body, list[_TradeRow]):
        if row.symbol != symbol or row.side not in ("BUY", "SELL"):
            raise ValueError(f"a fill of {row.symbol[:20]} {row.side[:8]} among those of {symbol}")
        in_base = leg is Leg.SPOT and row.commissionAsset == coin
        if not in_base and row.commissionAsset != QUOTE:
            raise ValueError(f"{symbol}: fee in {row.commissionAsset[:20]}, not {coin} or {QUOTE}")
        fill = Fill(
            trade_id=f"{leg.value}:{symbol}:{row.id}:{row.orderId}",
            coin=coin,
            leg=leg,
            side=Side.BUY if row.side == "BUY" else Side.SELL,
            px=positive(row.price),
            sz=positive(row.qty),
            fee=abs(number(row.commission)),
            fee_in_base=in_base,
            oid=str(row.orderId),
            cloid=None,
            at_ms=stamp_ms(row.time),
        )
        found.append(Trade(oid=fill.oid, at_ms=fill.at_ms, fill=fill))
    return sorted(found, key=lambda trade: trade.at_ms)


class _Income(msgspec.Struct):
    symbol: str
    incomeType: str
    income: str
    asset: str
    time: int
    tranId: int | str


def read_receipts(
    body: bytes, markets: Mapping[str, Market], rates: Mapping[tuple[str, int], Decimal]
) -> list[FundingReceipt]:
    """Payments among `income`; `usd` > 0 was received. The venue tells neither size nor rate.

    rates: settled rates by coin and hour, as far as they are known.
    """
    coin_of = {market.perp.symbol: coin for coin, market in markets.items()}
    found = []
    for row in decode(body, list[_Income]):
        if row.incomeType != "FUNDING_FEE" or row.symbol not in coin_of:
            continue
        if row.asset != QUOTE:
            raise ValueError(f"{row.symbol[:20]}: funding in {row.asset[:20]}, not {QUOTE}")
        coin, at_ms = coin_of[row.symbol], stamp_ms(row.time)
        found.append(
            FundingReceipt(
                coin=coin,
                at_ms=at_ms,
                usd=number(row.income),
                sz=ZERO,
                rate=rates.get((coin, at_ms // 3_600_000), ZERO),
            )
        )
    return sorted(found, key=lambda receipt: receipt.at_ms)


_TRADING = ("FUNDING_FEE", "COMMISSION", "REALIZED_PNL")


def read_transfers(body: bytes) -> list[Transfer]:
    """`income` that is neither trading nor funding. A TRANSFER is between the own wallets."""
    found = []
    for row in decode(body, list[_Income]):
        if row.incomeType in _TRADING or row.asset != QUOTE:
            continue
        own = row.incomeType == "TRANSFER"
        amount = number(row.income)
        found.append(
            Transfer(
                transfer_id=f"{stamp_ms(row.time)}:{row.tranId}",
                usd=ZERO if own else amount,
                at_ms=row.time,
                kind=row.incomeType[:40],
                moved_usd=amount if own else ZERO,
            )
        )
    return found


class _Rate(msgspec.Struct):
    symbol: str
    fundingTime: int
    fundingRate: str


def read_prints(body: bytes, symbol: str) -> list[FundingPrint]:
    """`fundingRate` of one symbol, ascending."""
    rows = decode(body, list[_Rate])
    if any(row.symbol != symbol for row in rows):
        raise ValueError(f"rates of another symbol than {symbol}")
    prints = [
        FundingPrint(at_ms=stamp_ms(row.fundingTime), rate=number(row.fundingRate)) for row in rows
    ]
    return sorted(prints, key=lambda one: one.at_ms)


class _Commission(msgspec.Struct):
    makerCommissionRate: str
    takerCommissionRate: str


def read_fees(spot: bytes, perp: bytes) -> Fees:
    """`commissionRate` of one symbol on each host."""
    a, b = decode(spot, _Commission), decode(perp, _Commission)
    rates = [
        number(text)
        for text in (
            a.makerCommissionRate,
            a.takerCommissionRate,
            b.makerCommissionRate,
            b.takerCommissionRate,
        )
    ]
    if any(abs(rate) >= ONE / 10 for rate in rates):
        raise ValueError(f"fee rates {rates} are no fractions of notional")
    return Fees(spot_maker=rates[0], spot_taker=rates[1], perp_maker=rates[2], perp_taker=rates[3])


def read_closes(body: bytes, window: int, now_ms: int) -> tuple[Decimal, ...]:
    """`klines`: closes of the last `window` candles that ended before `now_ms`, ascending."""
    rows = decode(body, list[list[int | str]])
    closes: dict[int, Decimal] = {}
    for row in rows:
        opened, closed, px = row[0], row[6], row[4]
        if not isinstance(opened, int) or not isinstance(closed, int) or not isinstance(px, str):
            raise ValueError("a candle of another shape")
        if closed < now_ms:
            closes[stamp_ms(opened)] = positive(px)
    return tuple(closes[opened] for opened in sorted(closes)[-window:])
