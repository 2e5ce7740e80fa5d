"""The language is strict: what it does not understand it refuses, by file and row."""

from pathlib import Path

import pytest

from carry.core import state
from carry.core.actions import Alert

from . import language
from .audit import gates, missed_by, moves, rungs
from .runner import Wrong, run

HEAD = "name: a test\nwhy: to fail\n"
TABLE = """ticks: |
  t   spot          perp          funding  events  =>  phase  actions
  0s  25.00/25.002  25.00/25.002  1bp      -       =>  enter  buy spot 7.99 @ 25.004 ioc
  1s  .             .             .        fills   =>  enter  sell perp 7.98 @ 24.998 ioc
"""


def play(tmp_path: Path, text: str) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(text, encoding="utf-8")
    run(language.load(path))


def test_the_story_itself_holds(tmp_path: Path) -> None:
    play(tmp_path, HEAD + TABLE)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("  events  =>", "  =>", "story.yaml:4: columns are"),
        ("events", "event", "story.yaml:4: unknown column 'event'"),
        ("fills   =>", "=>", "story.yaml:6: 7 columns instead of 8"),
        ("fills ", "fill-all ", "story.yaml:6: unknown event 'fill-all'"),
        ("fills ", "part perp 1 ", "story.yaml:6: no order of perp was sent in the row above"),
        ("fills ", "part spot ", "story.yaml:6: 'part spot': missing a required argument"),
        ("fills ", "part spot 9 ", "story.yaml:6: 9 of 7.99 left cannot fill"),
        ("fills ", "refuse spot tired ", "story.yaml:6: unknown refusal 'tired'"),
        ("fills ", "held ", "story.yaml:6: no Fence was asked for in the row above"),
        ("fills ", "cancelled spot ", "story.yaml:6: no cancel of spot was asked for"),
        ("fills ", "rest up ", "story.yaml:6: 'up' is not a leg"),
        ("fills ", "seen perp filled ", "story.yaml:6: no order of perp was ever sent"),
        ("fills ", "- ", "story.yaml:6: no outcome is told of buy spot 7.99 @ 25.004 ioc"),
        ("fills ", "set-key risk.nothing 1 ", "story.yaml:6: unknown policy key 'risk.nothing'"),
        ("enter  sell", "enters  sell", "story.yaml:6: unknown phase 'enters'"),
        ("enter  sell", "-  sell", "story.yaml:6: a phase for each of"),
        ("sell perp", "dump perp", "story.yaml:6: unknown action 'dump perp 7.98 @ 24.998 ioc'"),
        ("  1s", "  0s", "story.yaml:6: 0s is not after the row above"),
        ("  1s", "  soon", "story.yaml:6: 'soon' is not a time"),
        ("=>  enter  sell", "->  enter  sell", "story.yaml:6: '->' where => belongs"),
        ("25.00/25.002  1bp", "25  1bp", "story.yaml:5: '25' is not bid/ask"),
        ("0s  25.00/25.002", "0s  .", "story.yaml:5: `.` with no row above"),
        ("why: to fail\n", "", "story.yaml: 'why' is missing in the head"),
        ("why:", "moral: x\nwhy:", "story.yaml: unknown key 'moral' in the head"),
        ("ticks: |\n", "start: later\nticks: |\n", "story.yaml: start is fresh or held"),
        ("ticks: |\n", "config: {risk.slice_usd: '1'}\nticks: |\n", "no slice could be traded"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = HEAD + TABLE
    assert old in text
    at = text.rindex(old) if old != "25.00/25.002  1bp" else text.index(old)
    with pytest.raises(language.Malformed) as found:
        play(tmp_path, text[:at] + new + text[at + len(old) :])
    assert said in str(found.value)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("enter  sell", "exit  sell", "story.yaml:6: phases {'HYPE': 'enter'}, the row says"),
        ("perp 7.98", "perp 7.97", "story.yaml:6: asked ('sell perp 7.98 @ 24.998 ioc',)"),
        ("fills ", "fills; lost 1 ", "story.yaml:7: a residual of -1 is not explained"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = HEAD + TABLE + "  2s  .  .  .  fills  =>  enter  -\n  3s  .  .  .  -  =>  hedge_ok  -\n"
    at = text.index(old)
    text = text[:at] + new + text[at + len(old) :]
    if "lost" in new:
        # Seen once all is still: two ticks after the last fill.
        text = text.replace(": a test", ": lost")
        said = said.replace(":7:", ":8:")
    with pytest.raises(Wrong) as found:
        play(tmp_path, text)
    assert said in str(found.value)


@pytest.mark.parametrize(
    "text, ms",
    [("0s", 0), ("1500ms", 1_500), ("1.5s", 1_500), ("1h30m", 5_400_000), ("2d", 172_800_000)],
)
def test_times(text: str, ms: int) -> None:
    assert language.duration(text, "") == ms


@pytest.mark.parametrize("text, rate", [("1bp", "0.0001"), ("-2%", "-0.02"), ("0.5", "0.5")])
def test_rates(text: str, rate: str) -> None:
    assert language.rate(text) == language.D(rate)


def test_every_story_says_why_and_has_its_golden() -> None:
    names: dict[str, str] = {}
    for path in language.files():
        scenario = language.load(path)
        assert scenario.why
        assert scenario.name not in names, f"{path.name} and {names[scenario.name]}"
        names[scenario.name] = path.name
    goldens = {path.stem for path in language.HERE.glob("*.golden")}
    assert goldens == {path.stem for path in language.files()}


def test_the_audit_sees_every_kind_of_rule() -> None:
    assert len(list(gates())) > 30
    legal = sum(len(after) - 1 for after in state.MAY_FOLLOW.values())
    assert len(list(moves())) == legal
    assert len(list(rungs())) >= 10


@pytest.mark.parametrize("what", ["gate cooldown_ms", "move Exit HedgeOk"])
def test_the_audit_names_the_row(what: str) -> None:
    assert missed_by(what) is not None
    assert missed_by("gate of no name") is None


def test_alerts_have_levels_people_know() -> None:
    levels = {
        action.level
        for path in language.files()[::4]
        for tick in run(language.load(path), careful=False)
        for action in tick.actions
        if isinstance(action, Alert)
    }
    assert levels <= {"info", "warn", "page"}
