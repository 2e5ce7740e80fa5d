"""The demo's week: the story is the journal's, every number of it, and every cent is explained."""

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from carry.base.codec import digest
from carry.core.num import ZERO
from carry.core.observations import FenceHeld, NonceClosed, OutcomeUnknown
from carry.core.policy import Policy
from carry.core.state import State
from carry.core.step import step
from carry.shell import ladder, screen
from carry.shell.journal import ACTIONS, OBSERVATIONS, STATE
from carry.shell.places import DEMO, Places
from carry.shell.reader import Reader
from carry.shell.wiring import AccountWiring, VenueWiring, Wiring
from carry.storm import demo as told
from carry.storm.demo import Demo, came_to, day, picture, scene
from carry.storm.week import CARRIED, COINS, cues

GOLDEN = Path(__file__).parent / "demo.golden"
OTHERS = int(os.environ.get("CARRY_DEMO_SEEDS", "1"))
"""How many other seeds are lived: each takes some eight seconds."""


@attrs.frozen
class Week:
    """What was printed, the demo itself, and its journal as a file."""

    text: str
    demo: Demo
    journal: Path


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    """`carry demo` on a machine that has no network at all."""
    from carry.cli.demo import demo as command

    journal = tmp_path_factory.mktemp("demo") / "demo.db"
    made: list[Demo] = []

    class Kept(Demo):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    def no_network(*args: Any, **more: Any) -> None:
        raise OSError("this machine has no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(told, "Demo", Kept)
        patch.setattr(socket.socket, "connect", no_network)
        patch.setattr(socket, "getaddrinfo", no_network)
        result = CliRunner().invoke(command, ["--state-db", str(journal)])
    assert result.exit_code == 0, result.output
    yield Week(result.output.replace(str(journal), "demo.db"), made[0], journal)
    made[0].close()


@pytest.mark.timeout(240)
def test_the_story_is_the_one_that_was_read(week: Week, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(week.text, encoding="utf-8")
    assert week.text == GOLDEN.read_text(encoding="utf-8")
    assert max(map(len, week.text.splitlines())) <= screen.WIDTH


@attrs.frozen
class Moment:
    """A tick, decided again from the journal."""

    before: State
    observations: Any
    after: State
    actions: Any


@pytest.fixture(scope="module")
def moments(week: Week) -> dict[int, Moment]:
    reader = Reader(str(week.journal))
    found = reader.checkpoint(0)
    assert found is not None
    state, made = found[2], {}
    for tick in reader.ticks(0):
        observations = OBSERVATIONS.decode(tick.observations)
        after, actions = step(state, observations)
        assert ACTIONS.encode(actions) == tick.actions
        assert digest(STATE.encode(after)) == tick.digest, f"tick {tick.seq}"
        made[tick.seq] = Moment(state, observations, after, actions)
        state = after
    reader.close()
    return made


@pytest.mark.timeout(240)
def test_every_number_told_is_in_the_journal(week: Week, moments: dict[int, Moment]) -> None:
    """The same lines come from the file alone; what the script says has no number in it."""
    began_ms, checked = week.demo.began_ms, 0
    script = {part for cue in cues() for part in (cue.title, f"  ~ {cue.says}")}
    assert not [text for text in script if re.search(r"\d", text)]
    whens = {f"{day(cue.at_ms)}  {cue.title}" for cue in cues()}
    reader = Reader(str(week.journal))
    for seq, text in week.demo.said:
        if not re.search(r"\d", text) or text in whens:
            continue
        m = moments[seq]
        lines = {
            *scene(m.before, m.observations, m.after, m.actions, began_ms),
            *(line for one in m.actions for line in alone(m, one, began_ms)),
            *picture(m.after, "markets"),
            *picture(m.after, "carry"),
        }
        if seq == max(moments):
            lines |= set(came_to(m.after, reader._db))
        assert text in lines, f"tick {seq}: {text}"
        checked += 1
    reader.close()
    assert checked > 100


def alone(m: Moment, action: Any, began_ms: int) -> tuple[str, ...]:
    """A tick with one of its actions only: how an alert stands when others are left out."""
    return scene(m.before, m.observations, m.after, (action,), began_ms)


def test_the_week_has_all_that_was_promised(week: Week, moments: dict[int, Moment]) -> None:
    """By the journal: each event really happened to the bot, and was answered by it."""
    reader = Reader(str(week.journal))
    ticks = list(moments.values())
    outcomes = [o for m in ticks for o in m.observations.outcomes]
    assert sum(isinstance(o, OutcomeUnknown) for o in outcomes) == 2, "replies were lost"
    assert any(isinstance(o, FenceHeld) for o in outcomes), "an order that never landed was fenced"
    assert sum(isinstance(o, NonceClosed) for o in outcomes) == 2, "landed, and resolved by it"
    assert sum(m.observations.restarted for m in ticks) == 2, "a restart"
    last = ticks[-1].after
    for coin in COINS:
        traded = last.carries[coin].ledger.turnover_usd > 0
        assert traded == (coin == CARRIED), f"{coin} was to be refused"
    kinds = {row[0] for row in reader.rows("SELECT DISTINCT kind FROM fills")}
    assert {"Auto-Deleveraging", "Close Short"} <= kinds
    assert any("shrink" in str(getattr(a, "why", "")) for m in ticks for a in m.actions)
    paid = [usd for (usd,) in reader.rows("SELECT usd FROM funding ORDER BY at_ms")]
    signs = "".join("-" if usd.startswith("-") else "+" for usd in paid)
    assert re.fullmatch(r"\++-{6,}\++-+", signs), "one flip is ridden out, another is not"
    assert any(m.after.condition.value != "open" for m in ticks), "an outage"
    reader.close()


def test_it_ends_flat_and_explained(week: Week) -> None:
    ends(week.demo)


def test_it_is_the_evidence_of_the_first_rung(week: Week) -> None:
    """Under the name and in the place where the ladder looks for it."""
    folder = week.journal.parent
    venue = VenueWiring(name="hyperliquid", network="mainnet")
    wiring = Wiring(venue=venue, account=AccountWiring(address="0x" + "a" * 40))
    places = Places(
        config=folder / "config.yaml", policy=None, wiring=wiring, journal=str(folder / "carry.db")
    )
    assert week.journal.name == DEMO
    assert ladder.earned(ladder.rungs(places, Policy())) == ("demo",)


def ends(demo: Demo) -> None:
    state = demo.bot.state
    assert state.account.residual_usd == ZERO
    assert not state.intents
    demo.truth.audit()
    assert demo.truth.is_flat()
    assert any(json.loads(row[0])["$"] == "Flatten" for row in _audit(demo))


def _audit(demo: Demo) -> list[tuple[str]]:
    return demo.db.cursor().execute("SELECT doc FROM audit").fetchall()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(2, 2 + OTHERS))
def test_another_market_ends_explained_too(seed: int) -> None:
    demo = Demo(seed)
    demo.live()
    ends(demo)
    demo.close()
