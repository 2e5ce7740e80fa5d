"""What follows when the venue holds something else than the journal explains; and the residual."""

import attrs
import pytest

from carry.core import reconcile
from carry.core.actions import Alert, Note, Place
from carry.core.num import ZERO
from carry.core.state import HedgeOk, Ledger
from carry.shell.why import of_market
from tests.core.making import D, carry, go, held, play, with_carry
from tests.scenarios.runner import Play

LOG = {"alignment.mode": "log"}


def lost(mode: str) -> tuple[Play, list[Place]]:
    """All of the short's hedge is withdrawn in the middle of a carry; a minute goes by."""
    player = held(config={"alignment.mode": mode})
    go(player, 20_000, "truth spot 2")
    sent = []
    for t_ms in (22_000, 23_000, 60_000):
        for action in go(player, t_ms, "fills").actions:
            sent += [action] if isinstance(action, Place) else []
    assert "external_HYPE" in player.state.latches
    return player, sent


def test_force_repairs_the_hedge_and_log_does_not() -> None:
    _, forced = lost("force")
    assert [(p.side.value, p.leg.value, p.sz) for p in forced] == [("buy", "perp", D("5.98"))]
    player, logged = lost("log")
    assert not logged
    said = of_market(player.state, carry(player.state), ()).text
    assert "left alone until `carry resume --ack external_HYPE`" in said


def test_an_entry_that_lost_something_is_kept_and_left_alone() -> None:
    player = play(config={**LOG, "risk.slice_usd": "100"})
    go(player, 0)
    go(player, 1_000, "fills")
    go(player, 2_000, "fills")
    state = with_carry(player.state, unaligned=True)
    player.state = state
    player.pending.clear()
    player.state = attrs.evolve(player.state, intents={})
    tick = go(player, 3_000)
    assert isinstance(carry(player.state).phase, HedgeOk)
    assert not any(isinstance(a, Place) for a in tick.actions)


def test_an_acknowledgement_of_another_market_changes_nothing_here() -> None:
    player = held(config=LOG)
    player.state = with_carry(player.state, unaligned=True)
    go(player, 1_000, "pause")
    go(player, 2_000, "resume pause")
    assert carry(player.state).unaligned


# --- the residual ---------------------------------------------------------------------------------


def test_reads_of_different_moments_measure_nothing() -> None:
    player = held()
    was_ms = player.state.account.residual_ms
    for n in range(1, 5):
        go(player, n * 10_000, "mute fills receipts transfers; lost 5" if n == 1 else "mute fills")
    assert player.state.account.residual_usd == ZERO
    assert player.state.account.residual_ms == was_ms
    state = player.state
    spread = attrs.evolve(
        state.account, transfers_ms=state.account.positions_ms + reconcile.MOMENT_MS + 1
    )
    kept, _ = reconcile.reconcile(attrs.evolve(state, account=spread))
    assert kept.account.residual_ms == was_ms
    go(player, 60_000)
    assert player.state.account.residual_usd == -5


def test_a_second_look_corrects_a_baseline_that_nothing_was_explained_from() -> None:
    player = play(config={"strategy.enter_threshold_apr": "1.9"})
    player.world.usd -= 100
    go(player, 0)
    player.world.usd += 100
    tick = go(player, 1_000)
    (note,) = (a for a in tick.actions if isinstance(a, Note) and a.event == "baseline_corrected")
    assert note.fields == {"was_usd": "900", "by_usd": "100"}
    assert player.state.account.residual_usd == 0
    player.world.usd += 100
    go(player, 2_000)
    assert player.state.account.residual_usd == 100, "the third look is no correction"


@pytest.mark.parametrize("what", ["ledger", "transfers"])
def test_a_baseline_that_something_was_explained_from_stands(what: str) -> None:
    player = play(config={"strategy.enter_threshold_apr": "1.9"})
    go(player, 0)
    if what == "ledger":
        player.state = with_carry(player.state, ledger=Ledger(fees_usd=D(1)))
    go(player, 1_000, "lost 3; transfer 5" if what == "transfers" else "lost 3")
    if what == "transfers":  # one of this very tick is of no moment yet
        go(player, 2_000)
    assert player.state.account.residual_usd in (-2, -3)


def test_a_residual_that_heals_begins_its_ten_minutes_anew() -> None:
    player = held()
    go(player, 1_000, "lost 2")
    go(player, 500_000)
    player.world.usd += 2
    go(player, 501_000)
    assert player.state.account.beyond_ms is None
    go(player, 502_000, "lost 2")
    go(player, 1_101_000)
    assert "residual" not in player.state.latches
    tick = go(player, 1_102_000)
    assert player.state.latches["residual"].mode == "reduce"
    (alert,) = (a for a in tick.actions if isinstance(a, Alert) and a.name == "residual")
    assert "$-2 of equity is explained by nothing for 10 minutes" in alert.text
    go(player, 1_103_000, "resume residual")
    assert not player.state.latches
    assert player.state.account.residual_usd == 0
