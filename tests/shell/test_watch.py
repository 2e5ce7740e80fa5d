"""The second process: it passes alerts on once, says when the bot is silent, and cannot trade."""

import json
from pathlib import Path

import pytest

from carry.base.secrets import Redactor
from carry.core.actions import Alert
from carry.core.observations import Observations
from carry.core.state import State
from carry.ops import watch as module
from carry.ops.watch import Watch
from carry.shell import places
from carry.shell.journal import Journal
from carry.shell.logs import EventLog


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> places.Places:
    (tmp_path / "config.yaml").write_text("venue: {name: embedded}\nmarkets: [{base: HYPE}]\n")
    monkeypatch.chdir(tmp_path)
    found = places.find(None, None, config_needed=True)
    found.run_folder.mkdir(parents=True)
    return found


@pytest.fixture
def journal(where: places.Places, state: State) -> Journal:
    journal = Journal.open(where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(state, 1)
    return journal


def events(where: places.Places) -> list[dict[str, str]]:
    lines = (where.logs / "ops.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def begun(where: places.Places) -> Watch:
    return Watch(where, EventLog(where.logs, Redactor(), console=False, name="ops.log"))


def test_alerts_are_passed_on_once_even_after_a_restart(
    where: places.Places, journal: Journal, state: State, tick: Observations
) -> None:
    alert = Alert(level="page", name="naked_HYPE", coin="HYPE", text="HYPE is unhedged.")
    journal.commit(tick, state, (alert,))
    begun(where).look()
    one = begun(where)
    one.look()
    journal.commit(tick, state, (alert,))
    one.look()
    passed = [row for row in events(where) if row["event"] == "ops_alert"]
    assert len(passed) == 2
    assert passed[0]["text"] == "HYPE is unhedged."
    assert passed[0]["coin"] == "HYPE"


def test_silence_is_said_and_repeated_only_later(
    where: places.Places,
    journal: Journal,
    state: State,
    tick: Observations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    one = begun(where)
    for _ in range(10):
        one.look()
        now[0] += 60
    silent = [row for row in events(where) if row["event"] == "ops_silence"]
    assert len(silent) == 1
    assert "nobody hedges it" in silent[0]["text"]
    now[0] += 3_600
    one.look()
    journal.commit(tick, state, ())
    one.look()
    assert len([row for row in events(where) if row["event"] == "ops_silence"]) == 2
    beat = json.loads((where.run_folder / "heartbeat.json").read_text())
    assert beat["seq"] in (0, 1)


def test_it_waits_for_a_bot_that_has_not_started(where: places.Places) -> None:
    begun(where).look()
    assert events(where)[0]["event"] == "ops_waits"
    assert not Path(where.journal).exists()
