"""What people see: `status` for each phase and mode at 80 columns, and one sentence of why."""

import itertools
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.core import risk
from carry.core.state import (
    Carry,
    Enter,
    Exit,
    Forecast,
    Idle,
    Intent,
    Kind,
    Latch,
    Open,
    Repair,
    State,
    Unknown,
)
from carry.core.step import gates
from carry.core.types import Leg, Side, Tif
from carry.shell import screen, why
from carry.shell.status import report
from tests.core.making import carry, go, held, play, with_carry

GOLDEN = Path(__file__).parent / "golden"
D = Decimal
MODES = {
    "NORMAL": {},
    "REDUCE": {
        "drawdown": Latch(mode="reduce", why="Net PnL fell $120 from its high.", since_ms=0)
    },
    "HALT": {"journal_old": Latch(mode="halt", why="order 9 rests at the venue", since_ms=0)},
}
ALERTS = [
    {
        "at_ms": 1_767_608_000_000,
        "level": "page",
        "name": "drawdown",
        "coin": None,
        "text": "Net PnL fell $120 from its high, more than max_drawdown_usd 100: entries stop "
        "until `carry resume --ack drawdown`. What is held stays hedged.",
    }
]


def intent(state: State, **changes: Any) -> Intent:
    made = Intent(
        no=7,
        kind=Kind.ORDER,
        coin="HYPE",
        leg=Leg.PERP,
        side=Side.SELL,
        px=D("24.99"),
        sz=D(4),
        tif=Tif.GTC,
        reduce_only=False,
        why="hedge",
        ref_px=D(25),
        nonce=1,
        cloid="0x1",
        expires_ms=1,
        sent_ms=1,
        at_ms=1,
        status=Open(since_ms=1),
    )
    return attrs.evolve(made, **changes)


def phases() -> dict[str, State]:
    """A state of each phase, by the same play that the core's tests use."""
    idle = play(config={"strategy.enter_threshold_apr": "1.5"})
    for n in range(1, 5):
        go(idle, n * 1_000)
    hedged = held()
    go(hedged, 1_000)
    state = hedged.state
    half = attrs.evolve(
        carry(state),
        phase=Enter(since_ms=1, target_sz=D(40)),
        perp_sz=D(-4),
        repair=Repair(spent_ms=700),
    )
    entering = attrs.evolve(state, carries={"HYPE": half}, intents={"7": intent(state)})
    exiting = with_carry(state, phase=Exit(since_ms=1, why="forecast", forced=False))
    return {"IDLE": idle.state, "ENTER": entering, "HEDGE_OK": state, "EXIT": exiting}


CASES = list(itertools.product(("IDLE", "ENTER", "HEDGE_OK", "EXIT"), MODES))


@pytest.mark.parametrize(("phase", "mode"), CASES, ids=[f"{p}-{m}" for p, m in CASES])
def test_status_of_each_phase_and_mode(
    phase: str, mode: str, request: pytest.FixtureRequest
) -> None:
    state = attrs.evolve(phases()[phase], latches=MODES[mode])
    state = attrs.evolve(
        state, account=attrs.evolve(state.account, agent_until_at_ms=1_775_000_000_000)
    )
    found = {**report(1234, state), "age_s": 3, "alerts": ALERTS if mode == "REDUCE" else []}
    assert (found["markets"][0]["phase"], found["mode"]) == (phase, mode)
    text = screen.status(found) + "\n"
    assert max(len(line) for line in text.splitlines()) <= 80
    path = GOLDEN / f"status_{phase}_{mode}.txt"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "pytest tests/ops --update-golden, read it, commit it"


# --- why -----------------------------------------------------------------------------------------


def often(usual: Any, *seldom: Any) -> list[Any]:
    """Choices of which the first comes nine times in ten."""
    return [usual] * 9 * max(1, len(seldom)) + list(seldom)


def jumbled(draw: random.Random, state: State) -> State:
    """A state whose gates differ in many ways at once."""

    def number(*choices: str) -> Decimal:
        return D(draw.choice(choices))

    one: Carry = carry(state)
    forecast = Forecast(
        rate=number("-0.0001", "0.00001", "0.0001", "0.00125"),
        last_at_ms=(state.venue_ms or 0) - draw.choice(often(0, 10_000_000)),
        count=draw.choice(often(400, 5, 24)),
        negative_h=0,
    )
    one = attrs.evolve(
        one,
        phase=Idle(until_ms=draw.choice([0, 0, state.now_ms + 60_000])),
        spot_sz=D(0),
        perp_sz=D(draw.choice(often("0", "-3"))),
        foreign_spot=D(draw.choice(often("0", "9"))),
        forecast=draw.choice(often(forecast, None)),
        volatility=draw.choice(often(D("0.4"), D("9.75"), D("3"), None)),
        volatility_ms=state.now_ms,
        broken=draw.choice(often(None, "not listed by the venue")),
        context_ms=state.now_ms - draw.choice(often(1_000, 400_000)),
        blocked=None,
    )
    latches = draw.choice(often({}, MODES["REDUCE"], {**MODES["REDUCE"], **MODES["HALT"]}))
    account = attrs.evolve(
        state.account,
        actions_left=draw.choice(often(10_000, 3, None)),
        residual_usd=draw.choice(often(D(0), None, D("-7.25"))),
        positions_ms=state.now_ms - draw.choice(often(0, 90_000)),
        agent_until_at_ms=draw.choice(often(None, (state.venue_ms or 0) + 3_600_000)),
    )
    intents = {}
    if draw.random() < 0.1:
        stuck = intent(state, status=Unknown(since_ms=1), leg=Leg.SPOT, side=Side.BUY)
        intents = {"7": stuck}
    return attrs.evolve(
        state,
        carries={"HYPE": one},
        latches=latches,
        account=account,
        intents=intents,
        wall_ms=state.wall_ms + draw.choice(often(0, 9_000)),
        faulty_ms={},
        stopping=draw.random() < 0.05,
    )


def waiting() -> Any:
    """A market that was read as a whole and is not entered: the threshold is out of reach."""
    player = play(config={"strategy.enter_threshold_apr": "1.5"})
    for n in range(1, 6):
        go(player, n * 1_000)
    return player


def test_numbers_of_why_are_the_gate_vector_s_for_a_thousand_states() -> None:
    draw = random.Random(62)
    player = waiting()
    kinds: dict[str, int] = {}
    named: dict[str, int] = {}
    for _ in range(1_000):
        state = jumbled(draw, player.state)
        found = gates(state)
        reason = why.of_all(state, found)
        kinds[reason.kind] = kinds.get(reason.kind, 0) + 1
        if reason.gate is None:
            continue
        gate = reason.gate
        named[gate.name] = named.get(gate.name, 0) + 1
        assert gate in found
        assert not gate.passes
        assert f"{gate.name} is {gate.value}, needs {gate.threshold}" in reason.text
        short = why.short_of(gate)
        if short is not None:
            value, limit = D(gate.value), D(gate.threshold.split()[-1])
            shown = re.search(r"\(([\d.]+) (over|short)\)", reason.text)
            assert shown is not None
            assert D(shown[1]) == abs(value - limit)
            assert (shown[2] == "over") == (value > limit)
        # A fault is named before anything the market does.
        if any(g.fault and not g.passes for g in found if g.market in (None, "HYPE")):
            assert gate.fault
        looks = {"fault": "FAULT: ", "stopped": "STOPPED: ", "market": "waits for the market"}
        for kind, look in looks.items():
            assert (look in reason.text) == (reason.kind == kind), reason.text
    assert len(named) >= 10, named
    assert {"fault", "stopped", "market"} <= set(kinds), kinds


def test_each_gate_has_a_sentence_and_a_class() -> None:
    """The whole vector of an empty state and of a full one: no gate is without its class."""
    player = waiting()
    empty = play().state
    classes: dict[str, str] = {}
    for state in (empty, player.state):
        for gate in gates(state):
            blocked = attrs.evolve(gate, passes=False)
            reason = why.of_gate(state, blocked, "HYPE")
            classes.setdefault(gate.name, reason.kind)
            assert gate.name in reason.text
            assert len(reason.text.splitlines()) == 1
    # Each name once, with the class it has when its value is known.
    names = "spot_spread_bps perp_spread_bps spot_basis_bps perp_basis_bps to_payment_ms"
    more = "volatility size_usd expected_net_bps expected_apr money_free slice_usd transfer_usd"
    market = {*names.split(), *more.split(), "liq_distance"}
    known = {gate.name: why.kind_of(gate) for gate in gates(player.state) if gate.value != "absent"}
    assert {name for name, kind in known.items() if kind == "market"} == market
    assert known["latch"] == known["lock"] == "stopped"
    own = {name for name, kind in known.items() if kind == "pause"}
    assert own == {"process", "once", "cooldown_ms", "orders_last_minute", "leverage"}
    rest = set(known) - market - own - {"latch", "lock"}
    assert all(known[name] == "fault" for name in rest), rest
    assert set(classes) == set(known) | (set(classes) - set(known))


def test_the_best_market_is_named_and_since_when() -> None:
    player = play(config={"strategy.enter_threshold_apr": "1.5"})
    for n in range(1, 9):
        go(player, n * 1_000)
    text = why.of_all(player.state, gates(player.state)).text
    assert text.startswith("Nothing is held. HYPE waits for the market: expected_apr is ")
    assert re.search(r"needs >= 1.5 \(0\.\d+ short\), for \d+ s$", text)
    assert risk.offer(player.state, carry(player.state)).expected is not None


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 d")],
)
def test_durations(ms: int, said: str) -> None:
    assert why.lasting(ms) == said


def test_if_the_machine_vanishes() -> None:
    player = held()
    go(player, 1_000)
    text = report(1, player.state)["vanish"]
    assert text.startswith("HYPE stays hedged and funding goes on until the price rises 377.2 % to")
    assert text.endswith("no order rests at the venue")
    resting = attrs.evolve(player.state, intents={"7": intent(player.state)})
    assert "#7 sell HYPE perp may still fill" in report(1, resting)["vanish"]
    naked = with_carry(player.state, perp_sz=D(0))
    assert "HYPE stays unhedged by $199" in report(1, naked)["vanish"]
