"""The scripted truth behind a scenario: prices, money, orders and fills at a tiny venue.

It supplies, by default on every tick, all complete reads, consistent with what the events said
happened. Events mute, falsify or delay what is told; they never make the bot's own arithmetic.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs

from carry.core import observations as seen
from carry.core.actions import Place
from carry.core.num import ZERO
from carry.core.types import (
    AccountMode,
    Book,
    Fees,
    Fill,
    FundingPrint,
    FundingReceipt,
    Instrument,
    Leg,
    Level,
    Market,
    PriceRule,
    Side,
    Transfer,
)
from carry.core.venue import Capabilities, FenceKind

from .language import D, rate

OLD_H = 20_000
HOUR = 3_600_000
EPOCH_MS = 1_767_607_200_000 + 20 * 60_000  # 20 minutes past an hour of the venue
MONO_MS = 10_000_000
JOURNAL = 0xC0FFEE
DEEP = D(1_000_000)

CAPABILITIES = Capabilities(
    fence=FenceKind.NONCE,
    expiry_ms=10_000,
    nonce_ahead_ms_max=60_000,
    funding_interval_ms=HOUR,
    min_exempt_full_close=True,
)
FEES = Fees(
    spot_maker=D("0.0004"),
    spot_taker=D("0.0007"),
    perp_maker=D("0.00015"),
    perp_taker=D("0.00045"),
)


def market_of(coin: str, facts: Mapping[str, Any]) -> Market:
    lot = D(facts.get("lot", "0.01"))
    tradable = facts.get("tradable", "yes") == "yes"

    def side(symbol: str, decimals: int, **more: Any) -> Instrument:
        rule = PriceRule(figures=5, decimals=decimals, integers=True)
        least = D(facts.get("min", "10"))
        return Instrument(symbol=symbol, lot=lot, rule=rule, min_notional=least, **more)

    return Market(
        coin=coin,
        spot=side(f"{coin}/USDC", 6),
        perp=attrs.evolve(
            side(coin, 4, max_leverage=10, maintenance_rate=D("0.05"), tradable=tradable),
            lot=D(facts.get("perp_lot", lot)),
        ),
        spot_token=coin,
    )


@attrs.define
class Pair:
    """What is true of one market: quotes (None: the venue shows none), holdings, orders."""

    market: Market
    spot: tuple[Decimal, Decimal] | None = None
    perp: tuple[Decimal, Decimal] | None = None
    mark: Decimal = ZERO
    oracle: Decimal = ZERO
    funding: Decimal = ZERO
    held: Decimal = ZERO
    short: Decimal = ZERO  # signed perp size
    entry: Decimal = ZERO  # signed cost of it
    leverage: int = 1
    cross: bool = True
    prints: list[FundingPrint] = attrs.field(factory=list)
    paused: str | None = None  # metadata that cannot be decoded, and why
    book_depth: dict[Leg, Decimal] = attrs.field(factory=dict)
    swing: Decimal = ZERO  # every other close is higher by this fraction

    def touch(self, leg: Leg, side: Side) -> Decimal:
        quote = self.spot if leg is Leg.SPOT else self.perp
        assert quote is not None, "a fill at the touch needs a quote"
        return quote[1] if side is Side.BUY else quote[0]


@attrs.define
class Working:
    """An order as the venue knows it. `rested`: it was in the book, so that its fills are a
    maker's, whoever tells of them when."""

    place: Place
    left: Decimal
    resting: bool = False
    rested: bool = False


@attrs.define(slots=False)
class World:
    pairs: dict[str, Pair]
    mode: AccountMode = AccountMode.UNIFIED
    usd: Decimal = ZERO  # quote wallet; in unified mode less the cost of positions
    perp_usd: Decimal = ZERO  # cash leg of the perp wallet (split)
    venue_ms: int = EPOCH_MS
    fills: list[Fill] = attrs.field(factory=list)
    hidden: list[Fill] = attrs.field(factory=list)  # happened, told by nobody yet
    receipts: list[FundingReceipt] = attrs.field(factory=list)
    transfers: list[Transfer] = attrs.field(factory=list)
    orders: dict[int, Working] = attrs.field(factory=dict)
    others: list[seen.OpenOrder] = attrs.field(factory=list)
    actions_left: int = 10_000
    pending: list[Any] = attrs.field(factory=list)
    snapshot: tuple[Any, Any] | None = None  # positions and balances as they were a tick ago

    # --- what happens -------------------------------------------------------------------------

    def advance(self, venue_ms: int) -> None:
        """Let time pass: each hour settles its rate and pays the shorts."""
        hour = (self.venue_ms // HOUR + 1) * HOUR
        while hour <= venue_ms:
            for coin, pair in self.pairs.items():
                pair.prints.append(FundingPrint(at_ms=hour, rate=pair.funding))
                if pair.short and pair.funding:
                    self.pay(coin, -pair.short * pair.oracle * pair.funding, hour)
            hour += HOUR
        self.venue_ms = venue_ms

    def pay(self, coin: str, usd: Decimal, at_ms: int) -> None:
        pair = self.pairs[coin]
        receipt = FundingReceipt(coin=coin, at_ms=at_ms, usd=usd, sz=pair.short, rate=pair.funding)
        self.receipts.append(receipt)
        self.cash(Leg.PERP, usd)

    def transfer(self, usd: Decimal) -> None:
        name = f"transfer-{len(self.transfers)}"
        new = Transfer(transfer_id=name, usd=usd, at_ms=self.venue_ms - 1, kind="deposit")
        self.transfers.append(new)
        self.usd += usd

    def move(self, usd: Decimal, to_perp: bool, nonce: int | None) -> None:
        """USD between the two wallets of a split account."""
        sign = 1 if to_perp else -1
        self.usd -= sign * usd
        self.perp_usd += sign * usd
        if nonce is not None:
            name = f"transfer-{len(self.transfers)}"
            row = Transfer(
                transfer_id=name,
                usd=ZERO,
                at_ms=self.venue_ms - 1,
                kind="send",
                moved_usd=sign * usd,
                nonce=nonce,
            )
            self.transfers.append(row)

    def cash(self, leg: Leg, usd: Decimal) -> None:
        if leg is Leg.PERP and self.mode is AccountMode.SPLIT:
            self.perp_usd += usd
        else:
            self.usd += usd

    def fill(self, place: Place, sz: Decimal, px: Decimal, rested: bool) -> Fill:
        """Execute `sz` of an order at `px`; who is told of it is the caller's business."""
        fees = FEES.maker(place.leg) if rested else FEES.taker(place.leg)
        in_base = place.leg is Leg.SPOT and place.side is Side.BUY
        return self.happen(
            coin=place.coin,
            leg=place.leg,
            side=place.side,
            px=px,
            sz=sz,
            fee=sz * fees if in_base else sz * px * fees,
            in_base=in_base,
            oid=f"o{place.intent}",
            cloid=place.cloid,
        )

    def happen(
        self,
        *,
        coin: str,
        leg: Leg,
        side: Side,
        px: Decimal,
        sz: Decimal,
        fee: Decimal = ZERO,
        in_base: bool = False,
        oid: str = "hand",
        cloid: str | None = None,
        kind: str = "",
    ) -> Fill:
        fill = Fill(
            trade_id=f"t{len(self.fills) + len(self.hidden) + 1}",
            coin=coin,
            leg=leg,
            side=side,
            px=px,
            sz=sz,
            fee=fee,
            fee_in_base=in_base,
            oid=oid,
            cloid=cloid,
            at_ms=self.venue_ms - 1,
            kind=kind,
        )
        self.cash(leg, fill.cash_change)
        pair = self.pairs[coin]
        if leg is Leg.SPOT:
            pair.held += fill.base_change
        else:
            self.move_perp(pair, fill.base_change, px)
        return fill

    def move_perp(self, pair: Pair, change: Decimal, px: Decimal) -> None:
        """Average cost: what grows enters at `px`, what shrinks leaves at the average."""
        old, new = pair.short, pair.short + change
        if old * change >= 0:
            pair.entry += change * px
        elif old * new >= 0:
            pair.entry = (pair.entry * new / old).quantize(D("1e-8"))
        else:
            pair.entry = new * px
        pair.short = new

    # --- what is told -------------------------------------------------------------------------

    def reads(
        self, now_ms: int, coins: tuple[str, ...], since_ms: int, interval: str, window: int
    ) -> Iterator[tuple[str, seen.Read]]:
        """All complete reads, each under the name that `mute` takes."""
        ask = iter(range(now_ms - 40, now_ms))
        pairs = {c: self.pairs[c] for c in coins if c in self.pairs}
        yield "mode", seen.ModeRead(mode=self.mode, word=self.mode.value, issued_ms=next(ask))
        yield (
            "markets",
            seen.MarketsRead(
                markets={c: p.market for c, p in pairs.items() if p.paused is None},
                broken={c: p.paused for c, p in pairs.items() if p.paused is not None},
                issued_ms=next(ask),
            ),
        )
        contexts = {
            c: seen.Context(mark_px=p.mark, oracle_px=p.oracle, funding_rate=p.funding)
            for c, p in pairs.items()
        }
        yield "contexts", seen.ContextsRead(contexts=contexts, issued_ms=next(ask))
        yield "positions", self.positions(next(ask))
        yield "balances", self.balances(next(ask))
        yield "orders", seen.OpenOrdersRead(orders=self._open(), issued_ms=next(ask))
        yield (
            "fills",
            seen.FillsRead(
                fills=tuple(f for f in self.fills if f.at_ms >= since_ms),
                since_ms=since_ms,
                issued_ms=next(ask),
                issued_venue_ms=self.venue_ms,
            ),
        )
        yield (
            "receipts",
            seen.ReceiptsRead(receipts=tuple(self.receipts), since_ms=0, issued_ms=next(ask)),
        )
        yield (
            "transfers",
            seen.TransfersRead(transfers=tuple(self.transfers), since_ms=0, issued_ms=next(ask)),
        )
        for coin, pair in pairs.items():
            prints = tuple(pair.prints)
            yield "prints", seen.PrintsRead(coin=coin, prints=prints, issued_ms=next(ask))
            closes = tuple(pair.mark * (1 + n % 2 * pair.swing) for n in range(window))
            yield (
                "closes",
                seen.ClosesRead(coin=coin, interval=interval, closes=closes, issued_ms=next(ask)),
            )
            yield (
                "leverage",
                seen.LeverageRead(
                    coin=coin, leverage=pair.leverage, cross=pair.cross, issued_ms=next(ask)
                ),
            )
        yield "fees", seen.FeesRead(fees=FEES, issued_ms=next(ask))
        yield "budget", seen.BudgetRead(actions_left=self.actions_left, issued_ms=next(ask))

    def positions(self, issued_ms: int) -> seen.PositionsRead:
        found = {
            coin: seen.Position(
                sz=pair.short,
                entry_ntl=pair.entry,
                margin_used=abs(pair.short) * pair.mark / pair.leverage,
            )
            for coin, pair in self.pairs.items()
            if pair.short
        }
        value = sum((p.short * p.mark for p in self.pairs.values()), ZERO)
        return seen.PositionsRead(
            positions=found,
            raw_usd=self.perp_usd,
            equity=self.perp_usd + value,
            margin_used=sum((p.margin_used for p in found.values()), ZERO),
            maintenance=abs(value) / 20,
            at_ms=self.venue_ms,
            issued_ms=issued_ms,
        )

    def balances(self, issued_ms: int) -> seen.BalancesRead:
        entry = sum((p.entry for p in self.pairs.values()), ZERO)
        usd = self.usd + (entry if self.mode is not AccountMode.SPLIT else ZERO)
        return seen.BalancesRead(
            usd=seen.Balance(total=usd, hold=ZERO),
            coins={
                coin: seen.Balance(total=pair.held, hold=self._hold(coin))
                for coin, pair in self.pairs.items()
                if pair.held
            },
            issued_ms=issued_ms,
        )

    def _hold(self, coin: str) -> Decimal:
        """Coins that a resting sale keeps."""
        return sum(
            (
                w.left
                for w in self.orders.values()
                if w.resting
                and (w.place.coin, w.place.leg, w.place.side) == (coin, Leg.SPOT, Side.SELL)
            ),
            ZERO,
        )

    def _open(self) -> tuple[seen.OpenOrder, ...]:
        ours = (
            seen.OpenOrder(
                coin=w.place.coin,
                leg=w.place.leg,
                oid=f"o{w.place.intent}",
                cloid=w.place.cloid,
                side=w.place.side,
                px=w.place.px,
                sz=w.left,
            )
            for w in self.orders.values()
            if w.resting and w.left
        )
        return (*ours, *self.others)

    def books(self, now_ms: int, full: bool = True) -> Iterator[seen.BookSeen]:
        for coin, pair in self.pairs.items():
            for leg, quote in ((Leg.SPOT, pair.spot), (Leg.PERP, pair.perp)):
                if quote is None:
                    continue
                depth = pair.book_depth.get(leg, DEEP)
                book = Book(
                    (Level(quote[0], depth),), (Level(quote[1], depth),), self.venue_ms - 10
                )
                yield seen.BookSeen(coin=coin, leg=leg, book=book, seen_ms=now_ms - 10, full=full)

    # --- how a head makes one -----------------------------------------------------------------

    @classmethod
    def of(cls, account: Mapping[str, Any], markets: Mapping[str, Mapping[str, Any]]) -> "World":
        pairs = {coin: Pair(market=market_of(coin, facts)) for coin, facts in markets.items()}
        world = cls(pairs=pairs, mode=AccountMode(account.get("mode", "unified")))
        world.usd = D(account.get("usd", "1000"))
        world.perp_usd = D(account.get("perp_usd", "0"))
        world.actions_left = int(account.get("actions", "10000"))
        for coin, facts in markets.items():
            pair = pairs[coin]
            pair.leverage = int(facts.get("leverage", "1"))
            pair.cross = facts.get("margin", "cross") == "cross"
            pair.swing = rate(facts.get("swing", "0"))
            pair.held = D(facts.get("held", "0"))
            pair.short = -D(facts.get("short", "0"))
            pair.entry = pair.short * D(facts.get("short_px", "25"))
            # The shorts' cost is money the account once received: it is worth what it says.
            world.cash(Leg.PERP, -pair.entry)
            settled = rate(facts.get("prints", "1bp"))
            first = EPOCH_MS // HOUR * HOUR
            hours = range(int(facts.get("print_hours", "48")))
            pair.prints = [FundingPrint(at_ms=first - h * HOUR, rate=settled) for h in hours][::-1]
            if "print_hours" not in facts:
                # The market is old: its forecast is what it pays, with nothing of a beginning left.
                old = FundingPrint(at_ms=first - OLD_H * HOUR, rate=settled)
                pair.prints.insert(0, old)
        return world
