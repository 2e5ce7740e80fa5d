"""The ledger held against a second one, in fractions, over random histories of everything.

Own fills with fees in USD and in the coin, rebates, partial closes, deleveraging at a bad price,
trades by hand, coins that vanish, positions that nobody can explain, payments shared with foreign
size, transfers, adoptions, a hand-over at a delisting, prices that jump, news told twice.
"""

import decimal
from decimal import Decimal as D
from fractions import Fraction as F
from typing import Any

import attrs
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from carry.core import asked, delisted, ledger
from carry.core.actions import Action, Posting
from carry.core.commands import obey
from carry.core.holdings import book_fill, book_receipts, compare, post
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import (
    Account,
    Carry,
    Intent,
    Kind,
    Latch,
    Ledger,
    Open,
    Outside,
    Seen,
    State,
)
from carry.core.types import Book, Fill, FundingReceipt, Leg, Level, Side, Tif
from carry.research.lots import lots, unrealised_usd
from tests.core.second_ledger import Second, average, fifo
from tests.scenarios.world import CAPABILITIES, market_of

COIN = "HYPE"
SPREAD = D("0.01")


class Bot:
    """The core's own booking of what happens, and its lines."""

    def __init__(self, spot: D, perp: D, px: D) -> None:
        state = State.initial(Policy(markets=(MarketPolicy(base=COIN),)), CAPABILITIES)
        carry = Carry(coin=COIN, known=("spot", "perp"), foreign_spot=spot, foreign_perp=perp)
        foreign = Outside(ref_cost_usd=(spot + perp) * px)
        account = Account(baseline_usd=D(0), outside=foreign)
        self.state = attrs.evolve(state, carries={COIN: carry}, account=account, venue_ms=1)
        self.lines: list[Posting] = []
        self.no = 0
        self.priced(dict.fromkeys(Leg, px))

    @property
    def carry(self) -> Carry:
        return self.state.carries[COIN]

    def took(self, found: tuple[State, tuple[Action, ...]]) -> None:
        self.state, said = found
        self.lines += [action for action in said if isinstance(action, Posting)]

    def tick(self) -> int:
        self.no += 1
        now = self.state.now_ms + 60_000
        self.state = attrs.evolve(self.state, now_ms=now, wall_ms=now, venue_ms=now)
        return now

    def priced(self, px: dict[Leg, D]) -> None:
        quotes = {
            leg.value: Seen(
                Book((Level(px[leg] - SPREAD, D(1)),), (Level(px[leg] + SPREAD, D(1)),), 1), 1
            )
            for leg in Leg
        }
        self.state = attrs.evolve(
            self.state, carries={COIN: attrs.evolve(self.carry, quotes=quotes)}
        )

    def fill(self, leg: Leg, sz: D, px: D, fee: D, in_base: bool, kind: str = "") -> Fill:
        side = Side.BUY if sz > 0 else Side.SELL
        return Fill(
            trade_id=f"t{self.no}", coin=COIN, leg=leg, side=side, px=px, sz=abs(sz), fee=fee,
            fee_in_base=in_base, oid=f"o{self.no}", cloid=None, at_ms=self.state.now_ms, kind=kind,
        )  # fmt: skip

    def trade(self, leg: Leg, sz: D, px: D, fee: D, in_base: bool, mid: D) -> None:
        fill = self.fill(leg, sz, px, fee, in_base)
        intent = Intent(
            no=self.no, kind=Kind.ORDER, coin=COIN, leg=leg, side=fill.side, px=px, sz=fill.sz * 2,
            tif=Tif.IOC, reduce_only=False, why="", ref_px=mid, nonce=1, cloid="0x", expires_ms=1,
            sent_ms=1, at_ms=1, status=Open(since_ms=1), oid=fill.oid,
        )  # fmt: skip
        self.state = attrs.evolve(self.state, intents={str(self.no): intent})
        self.took(book_fill(self.state, fill, complete=False))
        self.took(book_fill(self.state, fill, complete=True))  # told again by a read
        self.state = attrs.evolve(self.state, intents={})

    def taken(self, leg: Leg, sz: D, px: D, fee: D) -> None:
        fill = self.fill(leg, sz, px, fee, False, "Auto-Deleveraging")
        self.took(book_fill(self.state, fill, complete=False))  # not from the stream
        for _ in range(2):
            self.took(book_fill(self.state, fill, complete=True))

    def seen(self, leg: Leg, held: D) -> None:
        """Two replies of the venue, with the fills between read, that agree."""
        for wait_ms in (20_000, 22_000):
            issued_ms = self.state.now_ms + wait_ms
            account = attrs.evolve(self.state.account, fills_ms=issued_ms)
            self.state = attrs.evolve(self.state, account=account)
            self.took(compare(self.state, COIN, leg, held, issued_ms))

    def paid(self, usd: D, sz: D) -> None:
        at_ms = self.state.now_ms
        receipt = FundingReceipt(coin=COIN, at_ms=at_ms, usd=usd, sz=sz, rate=D("0.0001"))
        for _ in range(2):
            self.took(book_receipts(self.state, (receipt, receipt)))

    def hands_over(self) -> None:
        """The venue delists the spot, and an operator wants out."""
        market = market_of(COIN, {})
        market = attrs.evolve(market, spot=attrs.evolve(market.spot, tradable=False))
        latches = {"flatten": Latch(mode="flatten", why="", since_ms=1)}
        ends = attrs.evolve(self.state, latches=latches)
        self.took(delisted.handed_over(ends, attrs.evolve(self.carry, market=market)))
        self.state = attrs.evolve(
            self.state, latches={}, carries={COIN: attrs.evolve(self.carry, market=None)}
        )


# --- histories ------------------------------------------------------------------------------------

sizes = st.decimals("0.001", "900", places=5)
prices = st.decimals("0.5", "90000", places=4)
money = st.decimals("-5000", "5000", places=6)
shares = st.sampled_from([D("0.1"), D("0.25"), D("0.5"), D(1), D("1.5")])
rates = st.sampled_from([D("0.0007"), D("0.00045"), D(0), D("-0.00002")])

events = st.one_of(
    st.tuples(st.just("buy spot"), sizes, prices, rates, st.booleans()),
    st.tuples(st.just("sell spot"), shares, prices, rates, st.just(False)),
    st.tuples(st.just("sell perp"), sizes, prices, rates, st.just(False)),
    st.tuples(st.just("buy perp"), shares, prices, rates, st.just(False)),
    st.tuples(st.just("others"), st.sampled_from(Leg), shares, prices, st.booleans()),
    st.tuples(st.just("vanish"), st.sampled_from(Leg), shares, st.booleans()),
    st.tuples(st.just("paid"), money),
    st.tuples(st.just("transfer"), money),
    st.tuples(st.just("adopt"), sizes),
    st.tuples(st.just("hand over")),
    st.tuples(st.just("price"), prices, prices),
)


def cut(sz: D) -> D:
    return sz.quantize(D("0.00001"))


def happen(bot: Bot, twin: Second, event: tuple[Any, ...]) -> None:
    """The same thing to both; what is impossible at a venue does not happen."""
    now, word = bot.tick(), event[0]
    mids = {leg: ledger.price(bot.carry, leg) or D(0) for leg in Leg}
    match word:
        case "buy spot" | "sell spot" | "buy perp" | "sell perp":
            _, sz, px, rate, in_base = event
            side, name = word.split()
            leg = Leg(name)
            if word in ("sell spot", "buy perp"):
                sz = cut(min(D(1), sz) * abs(bot.carry.owned(leg)))
            sz = sz if side == "buy" else -sz
            fee = cut(abs(sz) * rate) if in_base else cut(abs(sz) * px * rate)
            if sz:
                bot.trade(leg, sz, px, fee, in_base, mids[leg])
                twin.trade(name, F(sz), F(px), F(fee), in_base, F(mids[leg]))
        case "others" | "vanish":
            leg, share = event[1:3]
            held = bot.carry.owned(leg) + bot.carry.foreign(leg)
            sz = cut(abs(held) * share) * (1 if event[-1] else -1)
            if leg is Leg.SPOT:
                sz = max(sz, -held)
            if sz and word == "others":
                fee = cut(abs(sz) * event[3] * D("0.0003"))
                bot.taken(leg, sz, event[3], fee)
                twin.theirs_traded(leg.value, F(sz), F(event[3]), F(fee))
            elif sz:
                bot.seen(leg, held + sz)
                twin.vanished(leg.value, F(sz))
        case "paid":
            sz = bot.carry.perp_sz + bot.carry.foreign_perp
            if sz:
                bot.paid(event[1], sz)
                ours = F(bot.carry.perp_sz) / F(sz)
                twin.paid(F(event[1]), max(F(0), ours))
        case "transfer":
            line = Posting(kind="transfer", ref="", at_ms=now, coin=None, transfers_usd=event[1])
            bot.took(post(bot.state, line))
            twin.transferred(F(event[1]))
        case "adopt":
            spot, perp = bot.carry.spot_sz, bot.carry.perp_sz
            adopt = asked.Adopt(command_id=bot.no, by="me", coin=COIN, sz=event[1])
            bot.took(obey(bot.state, adopt))
            twin.adopted("spot", F(bot.carry.spot_sz - spot))
            twin.adopted("perp", F(bot.carry.perp_sz - perp))
        case "hand over":
            spot = bot.carry.spot_sz
            bot.hands_over()
            twin.adopted("spot", F(bot.carry.spot_sz - spot))
        case _:
            bot.priced({Leg.SPOT: event[1], Leg.PERP: event[2]})
            twin.px = {"spot": F(event[1]), "perp": F(event[2])}


def agree(bot: Bot, twin: Second) -> None:
    """Every figure; all but our share of a payment, which is cut, to the last digit."""
    carry, pnl = bot.carry, ledger.pnl(bot.carry)
    assert F(carry.spot_sz) == twin.ours("spot")
    assert F(carry.perp_sz) == twin.ours("perp")
    assert (F(carry.foreign_spot), F(carry.foreign_perp)) == (
        twin.theirs["spot"], twin.theirs["perp"],
    )  # fmt: skip
    assert F(pnl.fees_usd) == sum(twin.fees, F(0))
    assert F(pnl.slippage_usd) == twin.slippage()
    assert F(pnl.external_usd) == sum(twin.gifts, F(0))
    assert F(pnl.basis_usd) == twin.basis()
    assert abs(F(pnl.funding_usd) - sum(twin.funding, F(0))) <= len(twin.funding) * F(1, 10**12)
    assert F(bot.state.account.transfers_usd) == sum(twin.transfers, F(0))
    # No cent without a name: what the account is worth changed by what is explained.
    assert F(ledger.explained(bot.state)) == twin.worth() - twin.worth_at_start


def lines_agree(bot: Bot, twin: Second) -> None:
    """The lines sum up to the totals, and their lots are the second ledger's; what lots gained and
    hold is basis, slippage and external without its fees."""
    again = Ledger()
    for line in bot.lines:
        again = ledger.post(again, line)
    assert again == bot.carry.ledger
    pnl, gained = ledger.pnl(bot.carry), F(0)
    for leg in Leg:
        moves = [(m.sz, m.px) for m in twin.movements if m.leg == leg.value]
        first = lots(bot.lines, COIN, leg, "fifo")
        assert sum((F(one.gain_usd) for one in first.closed), F(0)) == fifo(moves)
        assert sum((F(lot.sz) for lot in first.open), F(0)) == twin.ours(leg.value)
        pooled = lots(bot.lines, COIN, leg, "average")
        sz, cost, gains = average(moves)
        assert len(pooled.open) <= 1
        assert sum((F(lot.sz) for lot in pooled.open), F(0)) == sz
        close = F(1, 10**9)
        assert abs(sum((F(lot.cost_usd) for lot in pooled.open), F(0)) - cost) < close
        assert abs(sum((F(one.gain_usd) for one in pooled.closed), F(0)) - gains) < close
        for found in (first, pooled):
            whole = sum((F(one.gain_usd) for one in found.closed), F(0))
            whole += F(unrealised_usd(found.open, ledger.price(bot.carry, leg) or D(0)))
            assert whole == sum((m.sz * (twin.px[m.leg] - m.px) for m in twin.movements
                                 if m.leg == leg.value), F(0))  # fmt: skip
        gained += whole
    fees = sum(twin.gifts, F(0)) - given(twin)
    assert F(pnl.basis_usd + pnl.slippage_usd + pnl.external_usd) - fees == gained


def given(twin: Second) -> F:
    """What others' doings gained us by price alone, without the fees they cost."""
    ours = {id(m) for m in twin.trades}
    return sum((m.sz * (m.mid - m.px) for m in twin.movements if id(m) not in ours), F(0))


@settings(max_examples=150, deadline=None)
@over(
    st.decimals("0", "50", places=3), st.decimals("-50", "0", places=3), prices,
    st.lists(events, max_size=25),
)  # fmt: skip
def test_two_ledgers_agree_on_any_history(
    spot: D, perp: D, px: D, history: list[tuple[Any, ...]]
) -> None:
    with decimal.localcontext() as context:
        context.prec = 60  # a history's prices are wilder than a market's: no sum may be cut
        bot = Bot(spot, perp, px)
        twin = Second(F(1000), F(spot), F(perp), {"spot": F(px), "perp": F(px)})
        for event in history:
            happen(bot, twin, event)
            agree(bot, twin)
        lines_agree(bot, twin)
