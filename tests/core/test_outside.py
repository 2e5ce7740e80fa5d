"""What others hold beside the carry: whose a payment was, and how long that is remembered."""

import attrs
import pytest

from carry.core.reconcile import forgotten
from carry.core.state import Exit, Held, Idle, State
from tests.core.making import D, carry, go, held, with_carry


def paid(state: State) -> object:
    return carry(state).ledger.funding_usd


@pytest.mark.parametrize(
    "added, closed, ours", [("30m", "50m", "half"), ("41m", "42m", "all"), ("30m", "35m", "all")]
)
def test_a_payment_is_shared_by_the_positions_of_its_moment(
    added: str, closed: str, ours: str
) -> None:
    """The world begins 20 minutes past an hour: it pays at 40 minutes, on all that is short."""
    player = held()
    for when, side in ((added, "sell"), (closed, "buy")):
        go(player, int(when[:2]) * 60_000, f"hand {side} perp 7.98 @ 25; mute receipts")
    go(player, 55 * 60_000)
    received = D("7.98") * 25 * D("0.0001")
    assert paid(player.state) == received
    assert sum(r.usd for r in player.world.receipts) == received * (2 if ours == "half" else 1)
    assert player.state.account.residual_usd == 0


def test_adopting_a_short_does_not_claim_what_it_was_paid_before() -> None:
    player = held()
    go(player, 1_800_000, "hand sell perp 5 @ 25; mute receipts")
    go(player, 1_801_000, "truth spot 12.984407; mute receipts")
    go(player, 1_803_000, "mute receipts")
    go(player, 2_500_000, "adopt 5; mute receipts")
    assert carry(player.state).perp_sz == D("-12.98")
    go(player, 2_501_000)
    assert paid(player.state) == D("7.98") * 25 * D("0.0001")


def test_what_no_payment_can_need_any_more_is_forgotten() -> None:
    state = with_carry(held().state, foreign_was=(Held(10, D(1)), Held(20, D(2))))
    for floor, left in ((10, 2), (11, 1), (20, 1), (21, 0)):
        kept = carry(forgotten(attrs.evolve(state, receipts_floor_at_ms=floor))).foreign_was
        assert len(kept) == left


def test_nothing_left_is_called_flat_a_tick_after_it_is_left() -> None:
    """All of a carry is gone, and read as gone: leaving has nothing to sell."""
    player = held()
    player.state = with_carry(player.state, spot_sz=D("0.004"), perp_sz=D(0))
    player.world.pairs["HYPE"].held = D("0.004")
    player.world.pairs["HYPE"].short = player.world.pairs["HYPE"].entry = D(0)
    go(player, 2_000)
    assert isinstance(carry(player.state).phase, Exit)
    go(player, 3_000)
    assert isinstance(carry(player.state).phase, Idle)
