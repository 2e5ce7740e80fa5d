"""What is asked to be read at the next tick, and in which order."""

import attrs
import pytest

from carry.core.state import State
from carry.core.wants import wants

from .making import D, carry, go, held, play, with_carry


def test_everything_is_wanted_at_first_and_what_protects_comes_first() -> None:
    assert wants(play().state) == (
        "mode",
        "markets",
        "positions",
        "balances",
        "orders",
        "fills",
        "receipts",
        "transfers",
        "fees",
        "budget",
        "prints:HYPE",
        "closes:HYPE",
        "leverage:HYPE",
        "book:HYPE:spot",
        "book:HYPE:perp",
    )


def test_a_held_carry_wants_little() -> None:
    assert wants(held().state) == ()


@pytest.mark.parametrize("later_ms, due", [(299_966, False), (299_967, True)])
def test_all_sources_are_read_together_every_five_minutes(later_ms: int, due: bool) -> None:
    """Receipts and transfers were asked for 33 and 32 ms before their tick (world.reads)."""
    state = held().state
    state = attrs.evolve(state, now_ms=state.now_ms + later_ms)
    moment = ("mode", "positions", "balances", "orders", "fills", "receipts", "transfers")
    assert (wants(state)[:7] == moment) is due


def test_until_the_baseline_is_taken_it_hurries() -> None:
    state = held().state
    account = attrs.evolve(state.account, baseline_usd=None)
    state = attrs.evolve(state, account=account, now_ms=state.now_ms + 5_000)
    assert "receipts" in wants(state)


def test_an_own_fill_wants_positions_and_touches_that_are_not_old() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "fills")
    assert wants(player.state) == ("positions", "balances"), "both touches were just streamed"
    later = attrs.evolve(player.state, now_ms=player.state.now_ms + 1_891)
    assert wants(later)[2:] == ("book:HYPE:spot", "book:HYPE:perp")


def test_depth_is_read_though_touches_stream() -> None:
    """A market being worked needs depth, too; touches alone do not carry it."""
    player = play()
    go(player, 0)
    state = player.state
    state = attrs.evolve(state, now_ms=state.now_ms + 4_891)
    fresh = {leg: attrs.evolve(s, seen_ms=state.now_ms) for leg, s in carry(state).quotes.items()}
    state = with_carry(state, quotes=fresh)
    assert "book:HYPE:perp" in wants(state)
    assert "book:HYPE:perp" not in wants(attrs.evolve(state, now_ms=state.now_ms - 1))


def test_a_moment_that_was_answered_in_part_is_not_repeated_each_tick() -> None:
    """A history that cannot be read must not have the others read with it every second."""
    player = play()
    go(player, 0, "mute transfers")
    state = player.state
    read_ms = state.account.fills_ms
    assert "transfers" not in wants(attrs.evolve(state, now_ms=read_ms + 19_999))
    assert "transfers" in wants(attrs.evolve(state, now_ms=read_ms + 20_000))


def test_fills_that_the_stream_brings_are_not_asked_for() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "ack spot 7.99")
    state = player.state
    asked = attrs.evolve(state, account=attrs.evolve(state.account, fills_ms=0))
    assert "fills" not in wants(attrs.evolve(asked, now_ms=state.now_ms + 1_899))
    assert "fills" in wants(attrs.evolve(asked, now_ms=state.now_ms + 1_900))


def test_an_unknown_or_ended_order_wants_fills() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "unknown spot")
    later = attrs.evolve(player.state, now_ms=player.state.now_ms + 2_000)
    assert "fills" in wants(later)


def test_fills_are_not_read_twice_within_two_seconds() -> None:
    """Each such read is 20 of the minute's weight: without a pause they starve the books."""
    player = play()
    go(player, 0)
    go(player, 1_000, "unknown spot")
    read_ms = player.state.account.fills_ms
    assert "fills" not in wants(attrs.evolve(player.state, now_ms=read_ms + 1_899))
    assert "fills" in wants(attrs.evolve(player.state, now_ms=read_ms + 1_900))


def test_a_doubt_wants_what_could_explain_it() -> None:
    player = held()
    go(player, 1_000, "truth perp -5")
    later = attrs.evolve(player.state, now_ms=player.state.now_ms + 2_000)
    assert wants(later) == ("positions", "balances", "fills")


def test_broken_metadata_is_not_asked_for_again_at_once() -> None:
    state = with_carry(play().state, broken="szDecimals is missing")
    assert "markets" not in wants(state)


def test_a_market_that_is_no_longer_configured_wants_no_history() -> None:
    state: State = play().state
    policy = attrs.evolve(state.policy, markets=())
    found = wants(attrs.evolve(state, policy=policy))
    assert not [name for name in found if name.startswith(("prints", "closes", "leverage"))]


def test_an_old_book_of_an_idle_market_is_read_again() -> None:
    player = play()
    go(player, 0, "pause")
    state = player.state
    assert wants(state) == ()
    old = attrs.evolve(state, now_ms=state.now_ms + 7_491)  # half of 15 s, received 10 ms before
    assert wants(old) == ("book:HYPE:spot", "book:HYPE:perp")
    assert carry(old).books


def test_a_fill_that_only_the_balance_shows_is_looked_for() -> None:
    """A resting order filled and the stream lost it: the account holds more than is booked."""
    player = play(config={"execution.style": "maker"})
    go(player, 0)
    go(player, 1_000, "rest spot; mute fills")
    go(player, 4_000, "happens spot 4; mute fills")
    assert "fills" not in wants(player.state), "they were asked for a moment ago"
    go(player, 6_000, "mute fills")
    assert "fills" in wants(player.state)


def test_a_close_that_only_the_position_shows_is_looked_for() -> None:
    player = held(config={"execution.hedge_cooldown_ms": "0"})
    go(player, 1_000, "flatten")
    go(player, 2_000, "fills")
    go(player, 3_000, "refuse perp post_only_window; mute fills")
    go(player, 4_000, "rest perp; mute fills")
    assert "fills" not in wants(player.state)
    go(player, 6_000, "mute fills")
    assert "fills" not in wants(player.state), "nothing shows that it filled"
    tick = go(player, 7_000, "happens perp 4; mute fills")
    assert "fills" in wants(tick.after)


def test_near_liquidation_marks_and_wallets_are_read_oftener() -> None:
    state = held().state
    later = attrs.evolve(state, now_ms=state.now_ms + 5_001)
    assert wants(later, D("0.29")) == ("positions", "balances", "contexts")
    assert wants(later, D("0.31")) == (), "far from it, the poll plan is enough"


def test_a_book_that_left_the_mark_asks_for_a_newer_one() -> None:
    player = held()
    go(player, 1_000, "mute contexts", spot="25.2/25.202", perp="25.2/25.202")
    later = attrs.evolve(player.state, now_ms=player.state.now_ms + 3_001)
    assert wants(later, D("0.9")) == ("contexts",)
    assert wants(with_carry(later, quotes={}), D("0.9")) == (), "without a quote nobody knows"
