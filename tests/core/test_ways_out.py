"""Nothing may hold a leg for ever, and a market that was never asked is no reason to pay more."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import asked
from carry.core import observations as o
from carry.core.actions import Alert, Cancel, Place
from carry.core.risk import account_gates
from carry.core.state import Ended, Enter, Intent, Kind, Open, State
from carry.core.step import step
from carry.core.types import Leg, Side, Tif
from tests.bench.held import held


def announced(state: State, since_ms: int) -> State:
    """A sale of 2 spot that the venue called filled, whose fill it does not show."""
    intent = Intent(
        no=90, kind=Kind.ORDER, coin="HYPE", leg=Leg.SPOT, side=Side.SELL, px=D(25), sz=D(2),
        tif=Tif.IOC, reduce_only=False, why="exit", ref_px=D(25), nonce=5, cloid="0x" + "0" * 32,
        expires_ms=since_ms, sent_ms=since_ms, at_ms=since_ms, status=Ended(since_ms=since_ms),
        filled_sz=D(2),
    )  # fmt: skip
    return attrs.evolve(state, intents={"90": intent}, intent_no=90)


def test_fills_that_never_come_free_the_leg_in_the_end() -> None:
    """After a minute it is said; after five the fills alone decide, and two looks settle it."""
    state, quotes, _ = held()
    start = quotes.mono_ms
    state = announced(state, start)
    said: list[str] = []
    for second in range(0, 312, 3):
        ms = start + 1_000 * second
        sweep = o.FillsRead(fills=(), since_ms=0, issued_ms=ms, issued_venue_ms=ms)
        obs = attrs.evolve(quotes, mono_ms=ms, wall_ms=ms, venue_ms=ms, reads=(sweep,))
        state, actions = step(state, obs)
        said += [a.name for a in actions if isinstance(a, Alert) and "undecided_90" in a.name]
        if "90" not in state.intents:
            break

    assert 300 <= second < 310
    assert {"undecided_90"} == set(said)


def test_an_outage_is_not_an_answer() -> None:
    """Without any reply from the venue nothing is given up."""
    state, quotes, _ = held()
    start = quotes.mono_ms
    state = announced(state, start)
    for second in range(0, 900, 3):
        ms = start + 1_000 * second
        state, _ = step(state, attrs.evolve(quotes, mono_ms=ms, wall_ms=ms, venue_ms=ms))

    assert isinstance(state.intents["90"].status, Ended)


def test_what_was_not_sent_climbs_no_ladder() -> None:
    """Three lost connections must not make the next order pay a per cent more."""
    state, quotes, reads = held()
    carry = state.carries["HYPE"]
    phase = Enter(since_ms=state.now_ms, target_sz=carry.spot_sz * 2)
    state = attrs.evolve(state, carries={"HYPE": attrs.evolve(carry, phase=phase)})
    outcomes: tuple[o.Outcome, ...] = ()
    sent = 0
    for tick in range(12):
        ms = quotes.mono_ms + 1_000 * tick
        events = tuple(attrs.evolve(e, seen_ms=ms) for e in quotes.events)
        obs = attrs.evolve(
            reads, mono_ms=ms, wall_ms=ms, venue_ms=ms, outcomes=outcomes, events=events
        )
        state, actions = step(state, obs)
        outcomes = tuple(
            o.NotSent(intent=a.intent, why="no connection") for a in actions if isinstance(a, Place)
        )
        sent += len(outcomes)

    assert sent >= 3
    assert {0} == set(state.carries["HYPE"].misses.values())


def test_a_residual_can_be_written_off() -> None:
    """A deposit of an unknown kind: entries wait, until an operator says that it is external."""
    state, quotes, reads = held()
    richer = tuple(
        attrs.evolve(r, usd=o.Balance(total=r.usd.total + 7, hold=r.usd.hold))
        if isinstance(r, o.BalancesRead)
        else r
        for r in reads.reads
    )
    state, _ = step(state, attrs.evolve(reads, reads=richer))
    assert D(7) == state.account.residual_usd
    assert not next(g for g in account_gates(state) if g.name == "residual_usd").passes

    command = asked.Resume(command_id=9, by="test", latch="residual")
    state, _ = step(state, attrs.evolve(quotes, mono_ms=quotes.mono_ms + 1, commands=(command,)))
    later = quotes.mono_ms + 2_000
    moved = tuple(attrs.evolve(r, issued_ms=later) for r in richer)
    state, _ = step(state, attrs.evolve(reads, mono_ms=later, commands=(), reads=moved))

    assert D(0) == state.account.residual_usd
    assert D(7) == state.account.outside.cash_usd


@pytest.mark.parametrize(
    ("command", "withdrawn"),
    [(asked.Kill(command_id=1, by="test"), [90]), (asked.Flatten(command_id=1, by="test"), [])],
)
def test_a_kill_withdraws_what_rests(command: o.Command, withdrawn: list[int]) -> None:
    """A resting sale is cancelled by a kill at once; a flatten leaves it to its own interval."""
    state, quotes, _ = held()
    state = announced(state, quotes.mono_ms)
    resting = attrs.evolve(
        state.intents["90"], status=Open(since_ms=quotes.mono_ms), filled_sz=D(0)
    )
    state = attrs.evolve(state, intents={"90": resting})
    ms = quotes.mono_ms + 100

    _, actions = step(state, attrs.evolve(quotes, mono_ms=ms, commands=(command,)))

    assert withdrawn == [a.intent for a in actions if isinstance(a, Cancel)]
