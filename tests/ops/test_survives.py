"""Operator commands survive SIGKILL at every boundary of the inbox; a killed bot stays killed.

A child process runs the real loop over a real journal and kills itself at the boundary; then the
parent starts the loop again and looks. Nothing is asked twice.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.base.secrets import Redactor
from carry.core.num import use_exact_context
from carry.core.observations import ModeRead
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.core.types import AccountMode
from carry.shell import loop
from carry.shell.commands import overridden
from carry.shell.config_file import with_setting
from carry.shell.journal import Journal
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, Manner
from carry.shell.reader import give
from carry.venues.hyperliquid.constants import CAPABILITIES

ACCOUNT = "0x" + "a" * 40
POLICY = Policy(markets=(MarketPolicy(base="HYPE"),))
ORDERS = {
    "pause": ("pause", {}),
    "flatten": ("flatten", {}),
    "kill": ("kill", {}),
    "override": ("set", {"key": "risk.slice_usd", "value": "100", "why": "test"}),
}


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def mono_ms(self) -> int:
        return self.now_ms

    wall_ms = venue_ms = mono_ms

    def sync(self, venue: Any) -> None:
        pass

    def wait(self, venue: Any, ms: int) -> bool:
        self.now_ms += ms
        return False


class Venue:
    """Reads tell the account's mode and no more; nothing is ever written."""

    capabilities = CAPABILITIES

    class stream:
        @staticmethod
        def poll(timeout_s: float) -> bool:
            return False

        @staticmethod
        def drain() -> tuple[tuple[Any, ...], tuple[str, ...]]:
            return (), ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in ("rest", "faults"):
            raise AttributeError(name)
        return lambda *args: ModeRead(mode=AccountMode.UNIFIED, word="x", issued_ms=1)


def bot(path: Path, ticks: int, policy: Policy = POLICY, **more: Any) -> Bot:
    use_exact_context()
    journal = Journal.open(str(path / "carry.db"), network="n", account=ACCOUNT)
    state = journal.load()
    if state is None:
        state = State.initial(policy, CAPABILITIES)
        journal.begin(state, 1)
    effective, _ = overridden(policy, journal.given(state.command_id))
    return Bot(
        venue=Venue(),
        clock=Clock(1_000_000 + 10_000 * journal.seq),
        journal=journal,
        state=state,
        policy=effective,
        from_file=policy,
        log=EventLog(path / "logs", Redactor(), console=False),
        manner=Manner(ticks_max=journal.seq + ticks),
        stop=lambda: False,
        **more,
    )


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(boundary: str, one: Bot) -> None:
    """Arrange that this process is killed at the boundary."""
    journal, step, execute = one.journal, loop.step, loop.execute
    inbox, commit = journal.inbox, journal.commit

    def read(after: int) -> Any:
        found = inbox(after)
        if found and boundary == "read, not decided":
            die()
        return found

    def decide(state: Any, observations: Any) -> Any:
        result = step(state, observations)
        if observations.commands and boundary == "decided, not committed":
            die()
        return result

    def write(observations: Any, state: Any, actions: Any) -> None:
        if observations.commands and boundary == "in the commit":
            journal._say = lambda *args: die()
        commit(observations, state, actions)
        if observations.commands and boundary == "committed, not acted":
            die()

    def act(*args: Any, **more: Any) -> Any:
        outcomes = execute(*args, **more)
        if one.state.command_id and boundary == "acted":
            die()
        return outcomes

    journal.inbox, journal.commit = read, write
    loop.step, loop.execute = decide, act


@contextlib.contextmanager
def child() -> Iterator[bool]:
    """True in a forked child, whose end the parent waits for on leaving."""
    pid = os.fork()
    if pid == 0:
        try:
            yield True
        finally:
            os._exit(7)
    yield False
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the child ended with {os.waitstatus_to_exitcode(status)}"
    assert os.WTERMSIG(status) == signal.SIGKILL


BOUNDARIES = (
    "asked, not read",
    "read, not decided",
    "decided, not committed",
    "in the commit",
    "committed, not acted",
    "acted",
)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", ORDERS)
def test_it_survives_a_kill_there(order: str, boundary: str, tmp_path: Path) -> None:
    what, args = ORDERS[order]
    bot(tmp_path, 2).run()
    with child() as here:
        if here:
            one = bot(tmp_path, 5)
            give(one.journal.path, at_ms=1, who="anna", what=what, args=json.dumps(args))
            if boundary == "asked, not read":
                die()
            at(boundary, one)
            one.run()
    for _ in range(3):  # and each start after that
        after = bot(tmp_path, 3)
        state = after.run()
        if order == "override":
            assert state.policy.risk.slice_usd == 100
        else:
            assert order in state.latches
        audit = after.journal._db.execute("SELECT command_id, who FROM audit").fetchall()
        assert audit == [(1, "anna")], "obeyed once, and known who asked"
        after.journal.close()


def test_a_killed_bot_stays_killed_until_it_is_told_by_name(tmp_path: Path) -> None:
    bot(tmp_path, 2).run()
    path = str(tmp_path / "carry.db")
    give(path, at_ms=1, who="anna", what="kill", args="{}")
    for _ in range(4):
        with child() as here:
            if here:
                one = bot(tmp_path, 50)
                at("acted", one)
                one.run()
        assert "kill" in bot(tmp_path, 1).run().latches
    give(path, at_ms=1, who="anna", what="resume", args='{"latch": "pause"}')
    assert "kill" in bot(tmp_path, 3).run().latches, "another latch's name clears nothing"
    give(path, at_ms=1, who="anna", what="resume", args='{"latch": "kill"}')
    assert bot(tmp_path, 3).run().latches == {}
    assert bot(tmp_path, 3).run().latches == {}


def test_what_was_refused_does_not_come_into_force_by_a_restart(tmp_path: Path) -> None:
    """The chat may only lower a cap; a restart must not obey what was refused then."""
    bot(tmp_path, 2).run()
    path = str(tmp_path / "carry.db")
    raised = {"key": "risk.slice_usd", "value": "300", "chat": True}
    give(path, at_ms=1, who="telegram 1", what="set", args=json.dumps(raised))
    state = bot(tmp_path, 3).run()
    assert state.policy.risk.slice_usd == 250
    again = bot(tmp_path, 3)
    assert again.run().policy.risk.slice_usd == 250
    alerts = again.journal._db.execute("SELECT name, text FROM alerts").fetchall()
    assert [name for name, _ in alerts] == ["command_refused_1"]
    assert "can only be lowered" in alerts[0][1]


# --- reload --------------------------------------------------------------------------------------


def test_a_reload_is_an_observation_and_keeps_overrides(tmp_path: Path) -> None:
    import threading

    bot(tmp_path, 2).run()
    path = str(tmp_path / "carry.db")
    give(path, at_ms=1, who="anna", what="set", args='{"key":"risk.slice_usd","value":"100"}')
    hung_up = threading.Event()
    hung_up.set()
    newer = with_setting(POLICY, "strategy.enter_threshold_apr", "0.05")
    newer = with_setting(newer, "risk.max_drawdown_usd", "70")
    one = bot(tmp_path, 4, reload=lambda: newer, hung_up=hung_up)
    state = one.run()
    assert str(state.policy.strategy.enter_threshold_apr) == "0.05"
    assert (state.policy.risk.max_drawdown_usd, state.policy.risk.slice_usd) == (70, 100)
    rows = one.journal._db.execute("SELECT who, doc FROM audit ORDER BY command_id").fetchall()
    assert [who for who, _ in rows] == ["anna", "SIGHUP"]
    assert json.loads(rows[1][1])["key"] == "config"


def test_a_config_that_is_refused_changes_nothing_and_is_said(tmp_path: Path) -> None:
    import threading

    from carry.shell.config_file import ConfigError

    def broken() -> Policy:
        raise ConfigError("config.yaml:3: risk.slice_usd: lots is not a number")

    hung_up = threading.Event()
    hung_up.set()
    one = bot(tmp_path, 4, reload=broken, hung_up=hung_up)
    assert one.run().policy == POLICY
    alerts = one.journal._db.execute("SELECT text FROM alerts").fetchall()
    assert any("reload by SIGHUP was not obeyed: config.yaml:3" in text for (text,) in alerts)


def test_starts_are_in_the_journal_with_their_version(tmp_path: Path) -> None:
    one = bot(tmp_path, 1)
    one.journal.started(5, POLICY)
    row = one.journal._db.execute("SELECT wall_ms, version FROM starts").fetchone()
    assert row[0] == 5
    assert "policy defaults" in row[1]


def test_config_show_says_where_each_value_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from carry.cli.main import main

    bot(tmp_path, 2).run()
    path = str(tmp_path / "carry.db")
    for args in (
        {"key": "risk.slice_usd", "value": "100"},
        {"key": "slice_usd", "value": "90", "why": "thin"},
        {"key": "risk.max_drawdown_usd", "value": "50"},
        {"key": "risk.max_drawdown_usd", "value": "config"},
        {"key": "risk.per_symbol_notional_cap", "value": "99999999999"},
    ):
        give(path, at_ms=1, who="anna", what="set", args=json.dumps(args))
    bot(tmp_path, 3).run()
    (tmp_path / "config.yaml").write_text(
        "venue: {name: embedded}\nmarkets: [{base: HYPE}]\nrisk:\n  max_spread_bps: 12\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["config", "show", "--config", "config.yaml", "--state-db", path])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "  slice_usd: 90  # set by anna on " in said
    assert "seq 2; `carry set risk.slice_usd config` undoes" in said
    assert "  max_drawdown_usd: 100  # default" in said
    assert "  per_symbol_notional_cap: 2000  # default" in said, "what was refused is not in force"
    assert "  max_spread_bps: 12  # line 4" in said
    assert "market HYPE  # line 2" in said
    assert "    interval: 15m  # default" in said
