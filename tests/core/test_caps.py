"""Caps bind what is added, at the price of now; a cap that the market breaks is never a crash."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import sizing
from carry.core.actions import Place
from carry.core.observations import BookSeen
from carry.core.policy import Risk
from carry.core.state import Enter, State
from carry.core.step import step
from carry.core.types import Book, Leg, Level, Side
from tests.bench.held import held


def entering_at(factor: str, cap: str) -> tuple[State, tuple[object, ...]]:
    """A held carry sent back to ENTER for twice its size, the price moved by `factor`, one tick."""
    state, quotes, reads = held()
    coin = state.carries["HYPE"]
    policy = attrs.evolve(
        state.policy,
        risk=Risk(
            per_symbol_notional_cap=D(cap), portfolio_notional_cap=D(cap), max_basis_bps=D(5000)
        ),
    )
    phase = Enter(since_ms=state.now_ms, target_sz=coin.spot_sz * 2)
    state = attrs.evolve(state, policy=policy, carries={"HYPE": attrs.evolve(coin, phase=phase)})

    def moved(event: object) -> object:
        assert isinstance(event, BookSeen)
        scale = D(factor)
        sides = [
            tuple(Level((x.px * scale).quantize(D("0.001")), x.sz) for x in side)
            for side in (event.book.bids, event.book.asks)
        ]
        return attrs.evolve(event, book=Book(sides[0], sides[1], event.book.at_ms))

    seen = attrs.evolve(reads, events=tuple(moved(e) for e in quotes.events))
    return step(state, seen)


@pytest.mark.parametrize(
    ("factor", "cap", "bought_usd"),
    [
        ("1", "5000", "250"),  # room for a whole slice
        ("1", "1100", "102"),  # 1,100 - 998 held: what is left of the cap
        ("1.05", "1100", "52"),  # the price rose: 1,100 - 1,048
        ("1.10", "1100", "0"),  # 1,098 held: less than an order
        ("1.20", "1100", "0"),  # held above the cap by price: shown, nothing added, no crash
    ],
)
def test_the_cap_at_the_price_of_now(factor: str, cap: str, bought_usd: str) -> None:
    after, actions = entering_at(factor, cap)

    buys = [a for a in actions if isinstance(a, Place) and a.leg is Leg.SPOT and a.side is Side.BUY]
    usd = sum((a.sz * a.px for a in buys), D(0))

    assert abs(usd - D(bought_usd)) < 1, usd
    if buys:
        assert sizing.room_usd(after, after.carries["HYPE"]) >= 0
