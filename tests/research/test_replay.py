"""Journals decided again: by the same rules, by others, on a running bot's, and over a corpus."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from carry.cli.main import carry
from carry.core.actions import Action
from carry.core.observations import Observations
from carry.core.policy import Policy
from carry.core.state import RULES, State
from carry.core.step import step
from carry.research import past, replay
from carry.shell.journal import Journal
from carry.shell.reader import Reader

from .making import first_write_of

ROOT = Path(__file__).resolve().parents[2]
Step = Callable[[State, Observations], tuple[State, tuple[Action, ...]]]


def change(path: str, sql: str, *args: Any) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(sql, args)
    db.close()


@pytest.fixture
def copied(journal: str, tmp_path: Path) -> str:
    return str(shutil.copy(journal, tmp_path / "carry.db"))


@pytest.fixture
def older(copied: str) -> str:
    """A journal whose ticks were decided under the rules before these."""
    change(copied, "UPDATE ticks SET rules = ?", RULES - 1)
    return copied


def under(changed: Callable[[Policy], Policy]) -> Step:
    """A `step` of other rules: it decides by another policy than the state's own."""

    def other(state: State, obs: Observations) -> tuple[State, tuple[Action, ...]]:
        after, actions = step(attrs.evolve(state, policy=changed(state.policy)), obs)
        return attrs.evolve(after, policy=state.policy), actions

    return other


def never_enters(policy: Policy) -> Policy:
    strategy = attrs.evolve(policy.strategy, buffer_bps=10_000)
    return attrs.evolve(policy, strategy=strategy)


def count(path: str, what: str = "count(*)") -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute(f"SELECT {what} FROM ticks").fetchone()[0])
    finally:
        db.close()


def test_the_same_rules_leave_no_difference(journal: str, stormy: str) -> None:
    found = replay.replay(stormy)
    assert (found.exit_code, found.ticks, found.changed) == (0, count(stormy), 0)
    assert found.text == f"{count(stormy)} ticks, 0 differences"
    assert found.decisions > 20
    part = replay.replay(journal, 50, 149)
    assert (part.ticks, part.exit_code) == (100, 0)


def test_a_changed_decision_under_the_same_rules_is_a_fault(
    journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first difference, in transcript form: what was asked with -, what would be with +."""
    monkeypatch.setattr(past, "step", under(never_enters))
    found = replay.replay(journal)

    assert found.exit_code == 1
    assert found.text.startswith(f"tick {first_write_of(journal)}: other actions\n")
    assert any(line.startswith("-   > HYPE leverage") for line in found.text.splitlines())
    assert not any(line.startswith("+   > HYPE leverage") for line in found.text.splitlines())


def test_other_rules_give_a_decision_diff(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replay.replay(older)
    assert (found.exit_code, found.changed, found.left_out) == (0, 0, 0)
    assert found.decisions >= 5
    assert f"decided under rules {RULES - 1}, now {RULES}" in found.text

    monkeypatch.setattr(past, "step", under(never_enters))
    found = replay.replay(older)
    assert (found.exit_code, found.changed) == (3, 1)
    # Begun then, not begun now: what was seen from there on followed from what was done.
    assert found.left_out == count(older) - first_write_of(older)
    assert found.shown[0].startswith(f"tick {first_write_of(older)}: another decision\n- tick ")
    assert f"decisions changed: 1 of {found.decisions}" in found.text


def test_after_a_changed_decision_it_begins_anew_at_the_next_checkpoint(
    older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(older)
    begin = past.start(reader)
    assert begin is not None
    it = next(it for it in past.decided(reader, begin) if it.tick.seq == 50)
    text = past.STATE.encode(it.after).decode()
    reader.close()
    change(older, "INSERT INTO checkpoints VALUES (50, NULL, ?, ?)", it.tick.chain, text)

    monkeypatch.setattr(past, "step", under(never_enters))
    begins = first_write_of(older)
    found = replay.replay(older, None, 150)
    assert (found.changed, found.left_out) == (1, 50 - begins)
    assert found.ticks == begins + 150 - 50


def test_other_words_are_no_other_decision(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(state: State, obs: Observations) -> tuple[State, tuple[Action, ...]]:
        after, actions = step(state, obs)
        return after, replay.writes(actions)

    monkeypatch.setattr(past, "step", silent)
    found = replay.replay(older)
    assert (found.exit_code, found.changed) == (0, 0)
    assert found.said > 5
    assert "would only have said something else" in found.text


@pytest.mark.parametrize("column", ["observations", "digest", "chain"])
def test_a_changed_row_is_a_fault_under_any_rules(older: str, column: str) -> None:
    db = sqlite3.connect(older)
    text = db.execute(f"SELECT {column} FROM ticks WHERE seq = 100").fetchone()[0]
    at = max(n for n, c in enumerate(text) if c.isdigit())
    db.close()
    other = text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]
    change(older, f"UPDATE ticks SET {column} = ? WHERE seq = 100", other)

    found = replay.replay(older)
    assert (found.exit_code, found.ticks) == (1, 99)
    assert found.text.startswith("tick 100: ")


def test_missing_rows_are_told(copied: str) -> None:
    change(copied, "DELETE FROM ticks WHERE seq BETWEEN 100 AND 120")
    with pytest.raises(past.NotThere, match="ticks 100 to 120 are gone"):
        replay.replay(copied)


def test_new_rules_begin_at_a_checkpoint(older: str) -> None:
    """A program of other rules that takes a journal on marks where its own decisions begin."""
    change(older, "UPDATE meta SET value = ? WHERE key = 'rules'", str(RULES - 1))
    reader = Reader(older)
    network, account = reader.meta("network"), reader.meta("account")
    reader.close()
    assert network is not None
    assert account is not None
    Journal.open(older, network=network, account=account).close()

    reader = Reader(older)
    found = reader.checkpoint(1 << 62)
    last = reader.state()
    reader.close()
    assert found is not None
    assert last is not None
    assert (found[0], found[2]) == last


def test_a_running_bot_is_not_held_up(journal: str, tmp_path: Path) -> None:
    """While ticks are committed, replay finds 0 differences in what is there, again and again."""
    source = Reader(journal)
    begin = past.start(source)
    assert begin is not None
    ticks = [(it.observations, it.after, it.actions) for it in past.decided(source, begin)]
    source.close()
    path = str(tmp_path / "live.db")
    failed: list[BaseException] = []
    ready = threading.Event()

    def write() -> None:
        try:
            live = Journal.open(path, network="storm", account="0x0", checkpoint_ticks=100)
            live.begin(begin.state, begin.state.journal_id)
            for number, tick in enumerate(ticks):
                live.commit(*tick)
                if number == 20:
                    ready.set()
            live.close()
        except BaseException as error:
            failed.append(error)
            ready.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert ready.wait(60)
        counts = []
        while writer.is_alive() and len(counts) < 5:
            found = replay.replay(path)
            assert found.exit_code == 0, found.text
            counts.append(found.ticks)
    finally:
        writer.join(60)
    assert not failed
    assert counts
    assert counts == sorted(counts)
    assert replay.replay(path).ticks == len(ticks)


def test_no_read_stays_open_between_batches(copied: str) -> None:
    """The bot's log of changes can be folded in whole while somebody replays."""
    change(copied, "PRAGMA journal_mode = WAL")
    writer = sqlite3.connect(copied, isolation_level=None)
    writer.execute("UPDATE meta SET value = value WHERE key = 'rules'")
    reader = Reader(copied)
    begin = past.start(reader)
    assert begin is not None
    for it in past.decided(reader, begin):
        if it.tick.seq == 10:
            busy, *_ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert busy == 0
            break
    reader.close()
    writer.close()


def test_the_command_adds_up_several_journals(journal: str, older: str) -> None:
    done = CliRunner().invoke(carry, ["replay", journal, older, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["journals"] == 2
    assert found["ticks"] == count(journal) + count(older)
    assert (found["changed"], found["rules"]) == (0, [RULES - 1, RULES])


@pytest.mark.timeout(240)
def test_a_decision_diff_against_another_revision(tmp_path: Path) -> None:
    """The whole way in a repository of its own: one commit, then one that enters later."""
    clone = tmp_path / "repository"
    shutil.copytree(ROOT / "carry", clone / "carry", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(ROOT / ".ci", clone / ".ci")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": ""}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )

    run("git", "init", "-q")
    run("git", "config", "user.email", "test@example.com")
    run("git", "config", "user.name", "test")
    run("git", "add", "-A")
    assert run("git", "commit", "-qm", "base").returncode == 0
    diff = ("bash", ".ci/decision-diff.sh", "HEAD", "1", "100")
    done = run(*diff)
    assert (done.returncode, done.stdout.splitlines()[-1][-13:]) == (0, "0 differences")

    gate = clone / "carry/core/risk.py"
    text = gate.read_text()
    changed = text.replace("net_bps, strategy.buffer_bps)", "net_bps, strategy.buffer_bps + 9_999)")
    assert changed != text
    gate.write_text(changed)
    done = run(*diff)
    assert done.returncode == 3, done.stderr
    assert "decisions changed: " in done.stdout
    assert "net effect " in done.stdout
    assert run("git", "worktree", "list").stdout.count("\n") == 1
