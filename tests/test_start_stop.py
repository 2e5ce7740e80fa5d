"""start.sh and stop.sh, run for real in a checkout whose `carry` is a stand-in of thirty lines.

What the real commands do is tested where they live; here only the scripts are judged: what they
start, refuse, wait for, say and end.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

STAND_IN = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time
root = pathlib.Path(__file__).resolve().parents[2]
plan = json.loads((root / "plan.json").read_text())
with open(root / "calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
command = sys.argv[1]
seq = root / "data" / "seq"
if command == "config":
    if plan.get("config"):
        print("config.yaml:3: delta_bnad_usd is not a key")
    elif plan.get("journal"):
        print("journal: " + plan["journal"])
    sys.exit(plan.get("config", 0))
if command == "status":
    if not seq.exists():
        sys.exit(1)
    print(json.dumps({{"seq": int(seq.read_text()), "markets": plan.get("markets", [])}}))
elif command == "positions":
    print("HYPE  spot 10  perp -10")
else:
    signal.signal(signal.SIGTERM, lambda *_: None if plan.get("deaf") == command else sys.exit(0))
    if command == "run":
        if "crash" in plan:
            print("the reason it crashed", file=sys.stderr)
            sys.exit(plan["crash"])
        if plan.get("exchange"):
            argv = [sys.executable, "-m", "carry", "exchange"]
            child = subprocess.Popen(argv, start_new_session=True)
            journal = pathlib.Path(plan.get("journal", "data/carry.db"))
            (journal.parent / "run/exchange.pid").write_text(str(child.pid))
        if not plan.get("silent"):
            seq.write_text(str(int(seq.read_text()) + 1 if seq.exists() else 1))
    while True:
        time.sleep(0.05)
"""


class Checkout:
    """A folder with the real scripts and a stand-in for the installed program."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("start.sh", "stop.sh", "config.yaml.example"):
            shutil.copy(ROOT / name, root / name)
        (root / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "processes.sh", root / ".ci")
        (root / ".ci" / "venv.sh").write_text('echo "$@" >> installs\n')
        (root / ".venv" / "bin").mkdir(parents=True)
        (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        carry = root / ".venv" / "bin" / "carry"
        carry.write_text(STAND_IN.format(python=sys.executable))
        carry.chmod(0o755)
        # `python -m carry exchange` finds this one, since processes start in the checkout.
        (root / "carry.py").write_text("import runpy; runpy.run_path('.venv/bin/carry')\n")
        self.plan()

    def plan(self, **plan: object) -> None:
        (self.root / "plan.json").write_text(json.dumps(plan))

    def run(self, script: str, *flags: str, cwd: Path | None = None, **env: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        done = subprocess.run(
            [script if "/" in script else str(self.root / script), *flags],
            cwd=cwd or self.root,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    def pid(self, name: str) -> int | None:
        """The pid that the pid file names, if that process lives."""
        file = self.root / "data" / "run" / f"{name}.pid"
        if not file.exists():
            return None
        pid = int(file.read_text())
        return pid if alive(pid) else None

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    root = tmp_path / "a checkout"  # with a space, as a user's may have
    root.mkdir()
    made = Checkout(root)
    yield made
    made.plan()
    for name in ("bot", "ops", "exchange"):
        if pid := made.pid(name):
            os.kill(pid, signal.SIGKILL)


def test_starts_all_says_what_runs_and_stops_all(checkout: Checkout) -> None:
    checkout.plan(exchange=True)
    code, said = checkout.run("start.sh", "--interval-ms", "500")

    assert code == 0, said
    pids = [checkout.pid(name) for name in ("bot", "ops", "exchange")]
    assert all(pids), said
    assert all(f"pid {pid}" in said for pid in pids)
    assert "play money" in said
    assert "not a reboot" in said
    assert "systemd/" in said
    assert ".venv/bin/carry status --watch" in said
    assert "run --interval-ms 500" in checkout.calls()
    assert (checkout.root / "config.yaml").read_text() == (
        checkout.root / "config.yaml.example"
    ).read_text()
    assert (checkout.root / "installs").read_text() == ".venv requirements.lock\n"

    code, said = checkout.run("stop.sh")

    assert code == 0, said
    assert "HYPE  spot 10  perp -10" in said
    assert "Stopped: bot ops exchange." in said
    assert not any(alive(pid) for pid in pids if pid)
    assert not list((checkout.root / "data" / "run").glob("*.pid"))


def test_second_start_is_refused_and_changes_nothing(checkout: Checkout) -> None:
    assert checkout.run("start.sh")[0] == 0
    first = checkout.pid("bot"), checkout.pid("ops")
    code, said = checkout.run("start.sh")

    assert code == 3
    assert f"The bot runs already (pid {first[0]})" in said
    assert (checkout.pid("bot"), checkout.pid("ops")) == first


def test_stale_pid_files_are_not_believed(checkout: Checkout) -> None:
    """A number of a dead process, of another program, and no number at all."""
    run = checkout.root / "data" / "run"
    run.mkdir(parents=True)
    (run / "bot.pid").write_text(str(os.getpid()))  # alive, but not the bot
    (run / "ops.pid").write_text("4194304999")
    (run / "exchange.pid").write_text("")

    assert checkout.run("stop.sh") == (0, "Nothing runs.\n")
    (run / "bot.pid").write_text(str(os.getpid()))
    assert checkout.run("start.sh")[0] == 0
    assert alive(os.getpid())


def test_works_from_any_folder_and_through_a_symlink(checkout: Checkout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "go").symlink_to(checkout.root / "start.sh")
    code, said = checkout.run(str(elsewhere / "go"), "--config", "my.yaml", cwd=elsewhere)

    assert code == 0, said
    assert f"run --config {elsewhere}/my.yaml" in checkout.calls()
    assert f"ops --config {elsewhere}/my.yaml" in checkout.calls()
    assert f"{checkout.root}/stop.sh" in said
    assert f"carry status --watch --config {elsewhere}/my.yaml" in said
    assert not (checkout.root / "config.yaml").exists(), "a config was named: none is made"
    assert checkout.run("stop.sh", cwd=elsewhere)[0] == 0
    assert f"positions --config {elsewhere}/my.yaml" in checkout.calls()


def test_bad_config_stops_before_anything_runs(checkout: Checkout) -> None:
    checkout.plan(config=2)
    code, said = checkout.run("start.sh")

    assert code == 2
    assert "delta_bnad_usd is not a key" in said
    assert not [call for call in checkout.calls() if call.startswith(("run", "ops"))]


@pytest.mark.parametrize("crash", [1, 3])
def test_crash_at_start_shows_the_reason_and_leaves_nothing(checkout: Checkout, crash: int) -> None:
    checkout.plan(crash=crash)
    code, said = checkout.run("start.sh")

    assert code == crash
    assert "the reason it crashed" in said
    assert checkout.pid("ops") is None
    assert checkout.run("stop.sh") == (0, "Nothing runs.\n")


def test_resumes_and_waits_for_a_new_tick_not_an_old_one(checkout: Checkout) -> None:
    """A journal of yesterday holds ticks: none of them says that today's bot lives."""
    assert checkout.run("start.sh")[0] == 0
    assert checkout.run("stop.sh")[0] == 0
    checkout.plan(silent=True)
    code, said = checkout.run("start.sh", CARRY_START_WAIT="1")

    assert code == 1
    assert "No tick was committed within 1 s" in said
    assert checkout.pid("bot"), "it may still come: left running"
    assert checkout.run("stop.sh")[0] == 0


def test_naked_leg_is_named_and_is_not_success(checkout: Checkout) -> None:
    markets = [
        {"coin": "HYPE", "delta_usd": "-212.5", "naked": True},
        {"coin": "BTC", "delta_usd": "0.3", "naked": False},
    ]
    assert checkout.run("start.sh")[0] == 0
    checkout.plan(markets=markets)
    code, said = checkout.run("stop.sh")

    assert code == 1
    assert "NAKED, not hedged: HYPE by -212.5 USD" in said
    assert "BTC" not in said
    assert "flatten --now" in said
    assert checkout.pid("ops") is None


def test_unreadable_state_is_not_called_hedged(checkout: Checkout) -> None:
    assert checkout.run("start.sh")[0] == 0
    (checkout.root / "data" / "seq").unlink()
    code, said = checkout.run("stop.sh")

    assert code == 1
    assert "could not be read" in said


def test_bot_that_does_not_end_is_killed_and_said(checkout: Checkout) -> None:
    checkout.plan(deaf="run")
    assert checkout.run("start.sh")[0] == 0
    pid = checkout.pid("bot")
    assert pid is not None
    code, said = checkout.run("stop.sh", CARRY_STOP_WAIT="1")

    assert code == 1
    assert "was killed" in said
    time.sleep(0.1)
    assert not alive(pid)


def test_stop_ends_what_a_dead_bot_left(checkout: Checkout) -> None:
    checkout.plan(exchange=True)
    assert checkout.run("start.sh")[0] == 0
    pid = checkout.pid("bot")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    code, said = checkout.run("stop.sh")

    assert code == 0, said
    assert "The bot had ended by itself" in said
    assert "HYPE  spot 10  perp -10" in said
    assert said.endswith("Stopped: ops exchange.\n")


def test_exchange_is_found_beside_a_journal_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    """The config may put the journal anywhere; the bot's exchange notes its pid beside it."""
    (tmp_path / "state" / "run").mkdir(parents=True)
    checkout.plan(exchange=True, journal=str(tmp_path / "state" / "carry.db"))
    code, said = checkout.run("start.sh")

    assert code == 0, said
    pid = int((tmp_path / "state" / "run" / "exchange.pid").read_text())
    assert f"exchange  pid {pid}" in said
    assert checkout.run("stop.sh")[1].endswith("Stopped: bot ops exchange.\n")
    assert not alive(pid)


def test_a_journal_in_memory_is_refused(checkout: Checkout) -> None:
    code, said = checkout.run("start.sh", "--state-db", ":memory:")

    assert code == 2
    assert "in the foreground" in said


def test_stop_where_nothing_ever_ran(checkout: Checkout) -> None:
    assert checkout.run("stop.sh") == (0, "Nothing runs.\n")
