"""Nouns of the trade: instruments, quotes, books, funding, fills.

Sizes are base units of the perp's coin, > 0 long and < 0 short; order sizes are positive with a
`Side`. Prices are quote (USD) per base. Times ending in `at_ms` are the venue's clock, epoch
milliseconds.
"""

import enum
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import attrs

from .num import ONE, ZERO


class Leg(enum.Enum):
    """One side of a carry: `SPOT` leads (long), `PERP` hedges (short)."""

    SPOT = "spot"
    PERP = "perp"


class Side(enum.Enum):
    """Direction of an order or a fill, seen from us."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class Tif(enum.Enum):
    """Time in force: post-only, immediate-or-cancel, good-till-cancelled."""

    ALO = "alo"
    IOC = "ioc"
    GTC = "gtc"


class Condition(enum.Enum):
    """How the venue stands, or one market of it. Risk is added in OPEN only; leaving adapts.

    Of the venue: POST_ONLY after an upgrade (what would take liquidity is refused), READ_ONLY
    (reads are answered, writes are not), SILENT (nothing is). Of a market: HALTED (orders of a leg
    are refused because it does not trade), DELISTED (its metadata say so), UNLISTED (it is not in
    the metadata, or cannot be read there).
    """

    OPEN = "open"
    POST_ONLY = "post-only"
    READ_ONLY = "read-only"
    SILENT = "silent"
    HALTED = "halted"
    DELISTED = "delisted"
    UNLISTED = "unlisted"


class AccountMode(enum.Enum):
    """How the venue pools an account's money."""

    SPLIT = "split"
    UNIFIED = "unified"
    PORTFOLIO = "portfolio"
    UNKNOWN = "unknown"


@attrs.frozen
class PriceRule:
    """Which prices an instrument takes: at most `figures` significant ones and `decimals` decimals.

    `integers`: any whole price is valid, however many digits it has.
    """

    figures: int
    decimals: int
    integers: bool

    def tick_at(self, px: Decimal) -> Decimal:
        """The distance between valid prices around `px` (> 0)."""
        exponent = max(px.adjusted() - self.figures + 1, -self.decimals)
        if self.integers:
            exponent = min(0, exponent)
        return ONE.scaleb(exponent)

    def down(self, px: Decimal) -> Decimal:
        """The highest valid price not above `px`: one exact quantize, never two."""
        return px.quantize(self.tick_at(px), ROUND_FLOOR)

    def up(self, px: Decimal) -> Decimal:
        """The lowest valid price not below `px`."""
        return px.quantize(self.tick_at(px), ROUND_CEILING)

    def valid(self, px: Decimal) -> bool:
        return px > 0 and self.down(px) == px


@attrs.frozen(kw_only=True)
class Instrument:
    """One tradable side of a coin at the venue.

    asset: its number in the venue's orders, 0 where orders go by `symbol`: carried for the adapter,
    so that a market can be left after a restart during which its metadata cannot be read.
    lot: smallest step of a size, base units. min_notional: USD at the limit price, below which the
    venue refuses an order unless it closes the whole perp position. max_leverage: perps only, 0 for
    spot. maintenance_rate: maintenance margin as a fraction of notional at the first tier; 0 for
    spot. tradable: False when the venue delisted or halted it.
    """

    symbol: str
    lot: Decimal
    rule: PriceRule
    min_notional: Decimal
    max_leverage: int = 0
    maintenance_rate: Decimal = ZERO
    tradable: bool = True
    asset: int = attrs.field(default=0, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Market:
    """A coin's pair of instruments. `coin` is the base of the config; `spot_token` its spot
    balance, `token` that one's number at the venue (0 where balances go by name).
    """

    coin: str
    spot: Instrument
    perp: Instrument
    spot_token: str
    token: int = attrs.field(default=0, metadata={"since": 2})

    def instrument(self, leg: Leg) -> Instrument:
        return self.spot if leg is Leg.SPOT else self.perp

    @property
    def lot(self) -> Decimal:
        """The coarser lot of the two legs: sizes on it can be hedged exactly."""
        return max(self.spot.lot, self.perp.lot)

    @property
    def min_notional(self) -> Decimal:
        return max(self.spot.min_notional, self.perp.min_notional)


@attrs.frozen
class Level:
    """One price of a book with all that rests at it: `sz` in base units."""

    px: Decimal
    sz: Decimal


@attrs.frozen
class Book:
    """Best levels first, both sides non-empty and not crossed. `at_ms`: the venue's stamp."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    at_ms: int

    @property
    def bid_px(self) -> Decimal:
        return self.bids[0].px

    @property
    def ask_px(self) -> Decimal:
        return self.asks[0].px

    @property
    def mid_px(self) -> Decimal:
        return (self.bid_px + self.ask_px) / 2

    @property
    def spread_bps(self) -> Decimal:
        return (self.ask_px - self.bid_px) / self.mid_px * 10_000

    def touch(self, side: Side) -> Decimal:
        """The price an aggressive order of `side` meets first."""
        return self.ask_px if side is Side.BUY else self.bid_px

    def levels(self, side: Side) -> tuple[Level, ...]:
        """What an aggressive order of `side` would eat, best first."""
        return self.asks if side is Side.BUY else self.bids


@attrs.frozen(kw_only=True)
class Fill:
    """One execution on our account. `fee` > 0 paid, in `fee_token`; `trade_id` identifies it.

    fee_in_base: True when the fee was taken out of the coin bought (spot buys), else it is in USD.
    kind: the venue's own word for it, carried by name ("Open Short", "Auto-Deleveraging", ...).
    """

    trade_id: str
    coin: str
    leg: Leg
    side: Side
    px: Decimal
    sz: Decimal
    fee: Decimal
    fee_in_base: bool
    oid: str
    cloid: str | None
    at_ms: int
    kind: str = ""

    @property
    def base_change(self) -> Decimal:
        """Signed change of the base holding: net of a fee taken in the coin."""
        gross = self.side.sign * self.sz
        return gross - self.fee if self.fee_in_base else gross

    @property
    def cash_change(self) -> Decimal:
        """Signed change of USD: what was paid or received, net of a fee in USD."""
        gross = -self.side.sign * self.px * self.sz
        return gross if self.fee_in_base else gross - self.fee

    @property
    def fee_usd(self) -> Decimal:
        """The fee in USD, a base fee valued at the fill's own price."""
        return self.fee * self.px if self.fee_in_base else self.fee


@attrs.frozen(kw_only=True)
class FundingPrint:
    """One settled funding rate: fraction of notional an interval; > 0 means longs pay shorts."""

    at_ms: int
    rate: Decimal


@attrs.frozen(kw_only=True)
class FundingReceipt:
    """A payment booked by the venue: `usd` > 0 received. `sz`: signed perp size it was paid on."""

    coin: str
    at_ms: int
    usd: Decimal
    sz: Decimal
    rate: Decimal


@attrs.frozen(kw_only=True)
class Transfer:
    """Money that came or went other than by trading: `usd` > 0 in. `transfer_id` identifies it.

    moved_usd: what went from the spot to the perp wallet of the same account (< 0: back), which is
    no coming or going. nonce: of the action that did it, where the venue tells.
    """

    transfer_id: str
    usd: Decimal
    at_ms: int
    kind: str
    moved_usd: Decimal = attrs.field(default=ZERO, metadata={"since": 2})
    nonce: int | None = attrs.field(default=None, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Fees:
    """Our own rates, as fractions of notional (0.0007 = 7 bps); negative is a rebate."""

    spot_maker: Decimal
    spot_taker: Decimal
    perp_maker: Decimal
    perp_taker: Decimal

    def taker(self, leg: Leg) -> Decimal:
        return self.spot_taker if leg is Leg.SPOT else self.perp_taker

    def maker(self, leg: Leg) -> Decimal:
        return self.spot_maker if leg is Leg.SPOT else self.perp_maker
