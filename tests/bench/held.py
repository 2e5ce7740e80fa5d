"""A state that holds a hedged carry, reached by the real step from made-up observations."""

from decimal import Decimal as D

import attrs

from carry.core import observations as o
from carry.core.actions import Place
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import HedgeOk, State
from carry.core.step import step
from carry.core.types import (
    AccountMode,
    Book,
    Fees,
    Fill,
    FundingPrint,
    Instrument,
    Leg,
    Level,
    Market,
    PriceRule,
    Side,
)
from carry.core.venue import Capabilities, FenceKind

START_MS = 1_767_600_000_000
HOUR_MS = 3_600_000
CAPABILITIES = Capabilities(
    fence=FenceKind.NONCE,
    expiry_ms=10_000,
    nonce_ahead_ms_max=60_000,
    funding_interval_ms=HOUR_MS,
    min_exempt_full_close=True,
)
FEES = Fees(
    spot_maker=D("0.0004"),
    spot_taker=D("0.0007"),
    perp_maker=D("0.00015"),
    perp_taker=D("0.00045"),
)


def _instrument(symbol: str, decimals: int, leverage: int) -> Instrument:
    return Instrument(
        symbol=symbol,
        lot=D("0.01"),
        rule=PriceRule(5, decimals, True),
        min_notional=D(10),
        max_leverage=leverage,
        maintenance_rate=D("0.05") if leverage else D(0),
    )


MARKET = Market(
    coin="HYPE",
    spot=_instrument("@107", 6, 0),
    perp=_instrument("HYPE", 4, 10),
    spot_token="HYPE",
)


class Account:
    """True holdings; each order fills at its limit."""

    def __init__(self) -> None:
        self.usd, self.spot, self.perp, self.entry = D(5000), D(0), D(0), D(0)
        self.fills: list[Fill] = []

    def fill(self, place: Place, at_ms: int) -> Fill:
        bought_spot = place.leg is Leg.SPOT and place.side is Side.BUY
        fee = place.sz * (FEES.spot_taker if bought_spot else place.px * FEES.perp_taker)
        fill = Fill(
            trade_id=str(place.intent), coin="HYPE", leg=place.leg, side=place.side, px=place.px,
            sz=place.sz, fee=fee, fee_in_base=bought_spot, oid=str(place.intent),
            cloid=place.cloid, at_ms=at_ms,
        )  # fmt: skip
        self.fills.append(fill)
        if place.leg is Leg.SPOT:
            self.spot += fill.base_change
            self.usd += fill.cash_change
        else:
            self.perp += fill.base_change
            self.entry += fill.side.sign * fill.px * fill.sz
            self.usd -= fill.fee
        return fill


def _books(ms: int) -> tuple[o.Event, ...]:
    def book(bid: str, ask: str) -> Book:
        steps = [D("0.01") * n for n in range(20)]
        return Book(
            tuple(Level(D(bid) - s, D(50)) for s in steps),
            tuple(Level(D(ask) + s, D(50)) for s in steps),
            ms - 100,
        )

    return (
        o.BookSeen(coin="HYPE", leg=Leg.SPOT, book=book("24.99", "25.01"), seen_ms=ms, full=True),
        o.BookSeen(coin="HYPE", leg=Leg.PERP, book=book("24.995", "25.005"), seen_ms=ms, full=True),
    )


def _reads(account: Account, ms: int) -> tuple[o.Read, ...]:
    last = ms // HOUR_MS * HOUR_MS
    prints = tuple(
        FundingPrint(at_ms=last - HOUR_MS * n + 20, rate=D("0.00003")) for n in range(48, -1, -1)
    )
    held = o.Position(sz=account.perp, entry_ntl=account.entry, margin_used=D(0))
    return (
        o.MarketsRead(markets={"HYPE": MARKET}, broken={}, issued_ms=ms),
        o.ContextsRead(
            contexts={
                "HYPE": o.Context(mark_px=D(25), oracle_px=D(25), funding_rate=D("0.00002"))
            },
            issued_ms=ms,
        ),
        o.ModeRead(mode=AccountMode.UNIFIED, word="unifiedAccount", issued_ms=ms),
        o.FeesRead(fees=FEES, issued_ms=ms),
        o.BudgetRead(actions_left=10_000, issued_ms=ms),
        o.LeverageRead(coin="HYPE", leverage=1, cross=True, issued_ms=ms),
        o.PrintsRead(coin="HYPE", prints=prints, issued_ms=ms),
        o.ClosesRead(
            coin="HYPE",
            interval="15m",
            closes=tuple(D(25) + D(n % 3) / 100 for n in range(96)),
            issued_ms=ms,
        ),
        o.PositionsRead(
            positions={"HYPE": held} if account.perp else {},
            raw_usd=D(0), equity=D(1), margin_used=D(0), maintenance=D(0), at_ms=ms + 20,
            issued_ms=ms + 1,
        ),
        o.BalancesRead(
            usd=o.Balance(total=account.usd, hold=D(0)),
            coins={"HYPE": o.Balance(total=account.spot, hold=D(0))},
            issued_ms=ms + 1,
        ),
        o.OpenOrdersRead(orders=(), issued_ms=ms + 2),
        o.FillsRead(
            fills=tuple(account.fills), since_ms=0, issued_ms=ms + 2, issued_venue_ms=ms + 30
        ),
        o.ReceiptsRead(receipts=(), since_ms=0, issued_ms=ms + 2),
        o.TransfersRead(transfers=(), since_ms=0, issued_ms=ms + 2),
    )  # fmt: skip


def held() -> tuple[State, o.Observations, o.Observations]:
    """A held state, an observation of quotes only, and one with the account's reads."""
    state = State.initial(Policy(markets=(MarketPolicy(base="HYPE"),)), CAPABILITIES)
    account, ms = Account(), START_MS
    outcomes: list[o.Outcome] = []
    events: list[o.Event] = []
    for tick in range(40):
        ms += 2_000
        seen = o.Observations(
            mono_ms=ms + 5,
            wall_ms=ms,
            venue_ms=ms,
            restarted=tick == 0,
            journal_id=77 if tick == 0 else None,
            outcomes=tuple(outcomes),
            events=(*events, *_books(ms)),
            reads=_reads(account, ms),
        )
        state, actions = step(state, seen)
        outcomes, events = [], []
        for place in (a for a in actions if isinstance(a, Place)):
            fill = account.fill(place, ms + 100)
            events.append(o.FillSeen(fill=fill))
            outcomes.append(
                o.Accepted(intent=place.intent, oid=fill.oid, filled_sz=place.sz, resting=False)
            )
    assert isinstance(state.carries["HYPE"].phase, HedgeOk), state.carries["HYPE"].phase
    ms += 2_000
    quotes = o.Observations(mono_ms=ms, wall_ms=ms, venue_ms=ms, events=_books(ms))
    return state, quotes, attrs.evolve(quotes, reads=_reads(account, ms))
