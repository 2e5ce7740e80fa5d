"""systemd: hardened units, notify and watchdog on a socket, an install that is safe to repeat."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.shell.notify import notify

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
# A user's tests need no systemd; `.ci/run` installs it and allows no skip.
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


# --- the units -----------------------------------------------------------------------------------


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_low(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=11", f"./{name}"],
        cwd=UNITS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, said + done.stderr
    assert float(said.split(": ")[1].split()[0]) <= 1.1


@needs_systemd
def test_units_are_clean(tmp_path: Path) -> None:
    """As installed, but for the program's path, which is not on this machine."""
    for path in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        text = path.read_text().replace("/opt/carry/current/.venv/bin/carry", "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(p) for p in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def unit(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_bot_never_gives_up_and_only_it_holds_the_key() -> None:
    bot, ops, note = unit("carry.service"), unit("carry-ops.service"), unit("carry-note.service")
    assert bot["Type"] == ops["Type"] == ["notify"]
    assert bot["Restart"] == ops["Restart"] == ["always"]
    assert bot["StartLimitIntervalSec"] == ["0"]
    assert "RestartPreventExitStatus" not in bot
    assert bot["LoadCredentialEncrypted"] == ["agent_key"]
    for other in (ops, note):
        assert not any("agent_key" in word for word in other["LoadCredentialEncrypted"])
    assert int(bot["WatchdogSec"][0]) >= 3 * 60, "longer than the longest interval and a tick"
    assert int(bot["TimeoutStopSec"][0]) > 20, "longer than the shutdown grace"
    assert unit("carry-note.timer")["Persistent"] == ["yes"]
    for service in (bot, ops, note):
        assert service["DynamicUser"] == ["yes"]
        assert service["StateDirectory"] == ["carry"]
        assert service["User"] == ["carry"], "one user, so that one journal is shared"


# --- notify and watchdog -------------------------------------------------------------------------


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Any]:
    """A fake of systemd's socket; gives a function that reads what has come until a word does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        got: list[str] = []

        def until(word: str, seconds: float = 60.0) -> list[str]:
            end = time.monotonic() + seconds
            while word not in got:
                sock.settimeout(max(0.01, end - time.monotonic()))
                try:
                    got.extend(sock.recv(4096).decode().splitlines())
                except TimeoutError:
                    raise AssertionError(f"no {word} in {got}") from None
            return got

        yield until


def test_notify_speaks_to_a_path_and_to_an_abstract_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    with listening(tmp_path / "s") as until:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        assert notify("READY=1", "STATUS=x")
        assert until("STATUS=x", 5) == ["READY=1", "STATUS=x"]
    assert not notify("READY=1"), "nobody listens any more"
    name = f"carry-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("WATCHDOG=1")
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.e2e
def test_the_bot_is_ready_after_a_tick_and_alive_with_each(tmp_path: Path) -> None:
    """Real processes against a fake socket: bot and ops; a stopped bot no longer feeds."""
    (tmp_path / "config.yaml").write_text(
        "venue: {name: embedded, speed: 60}\nmarkets: [{base: HYPE}]\ninterval_ms: 200\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("STATE_DIRECTORY", "LOGS_DIRECTORY")},
        "PYTHONPATH": str(ROOT),
        "CARRY_LOCK_DIR": str(tmp_path / "locks"),
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(word: str, sock: Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "carry", word],
            cwd=tmp_path,
            env={**environment, "NOTIFY_SOCKET": str(sock)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    try:
        with listening(tmp_path / "bot") as bot_says, listening(tmp_path / "ops") as ops_says:
            bot = start("run", tmp_path / "bot")
            said = bot_says("READY=1")
            assert said.index("WATCHDOG=1") <= said.index("READY=1") + 2
            ticks = sqlite3.connect(tmp_path / "data/carry.db").execute("SELECT seq FROM state")
            assert ticks.fetchone()[0] >= 1, "ready is said after a committed tick"
            start("ops", tmp_path / "ops")
            ops_says("READY=1")
            ops_says("WATCHDOG=1")
            bot.send_signal(signal.SIGTERM)
            bot_says("STOPPING=1")
            assert bot.wait(timeout=60) == 0
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=30)
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((tmp_path / "data/run/exchange.pid").read_text()), signal.SIGTERM)


# --- the install script --------------------------------------------------------------------------

SYSTEMCTL = """\
#!/usr/bin/env bash
# A stand-in: remembers what is enabled and active in files, and logs each call.
echo "$*" >> "$FAKE/calls"
case $1 in
    is-enabled) [ -e "$FAKE/enabled-${@: -1}" ] ;;
    enable)
        shift 2
        for u in "$@"; do touch "$FAKE/enabled-$u" "$FAKE/active-$u"; done
        "$FAKE/tick"
        ;;
    is-active) [ -e "$FAKE/active-${@: -1}" ] ;;
    stop) shift; for u in "$@"; do rm -f "$FAKE/active-$u"; done ;;
    start) shift; for u in "$@"; do touch "$FAKE/active-$u"; done; "$FAKE/tick" ;;
esac
"""
VENV = """\
#!/usr/bin/env bash
# A stand-in for the environment: the tests' own Python, and a `carry` that a release can break.
mkdir -p "$1/.venv/bin"
ln -sf {python} "$1/.venv/bin/python"
cat > "$1/.venv/bin/carry" << END
#!/usr/bin/env bash
here=\\$(dirname "\\$(dirname "\\$(dirname "\\$(readlink -f "\\$0")")")")
cd "\\$here" && exec env PYTHONPATH="\\$here" {python} -m carry "\\$@"
END
chmod +x "$1/.venv/bin/carry"
"""
TICK = """\
#!/usr/bin/env bash
# The bot, as far as an upgrade looks: the release that is current commits one more tick, or breaks.
current=$CARRY_INSTALL_ROOT/opt/carry/current
[ ! -e "$current/docs/BROKEN" ] || { [ ! -e "$current/docs/MIGRATES" ] || {PYTHON} - << 'END'
import os, sqlite3
db = sqlite3.connect(os.environ["CARRY_INSTALL_ROOT"] + "/var/lib/carry/carry.db")
db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'"); db.commit()
END
exit 0; }
PYTHONPATH={ROOT} {PYTHON} {TESTS}/commit_tick.py "$CARRY_INSTALL_ROOT/var/lib/carry/carry.db"
"""


class Machine:
    """A root of its own with stand-ins for systemctl and the environment; a checkout to change."""

    def __init__(self, path: Path) -> None:
        self.root, self.fake, self.checkout = path / "root", path / "fake", path / "checkout"
        self.fake.mkdir()
        (self.root / "var/lib/carry").mkdir(parents=True)
        here = Path(__file__).parent
        tick = TICK.replace("{PYTHON}", sys.executable).replace("{ROOT}", str(ROOT))
        for name, text in (
            ("systemctl", SYSTEMCTL),
            ("venv", VENV.replace("{python}", sys.executable)),
            ("tick", tick.replace("{TESTS}", str(here))),
        ):
            (self.fake / name).write_text(text)
            (self.fake / name).chmod(0o755)
        names = "carry setup.cfg pyproject.toml requirements.lock docs README.md CHANGELOG.md "
        for name in (names + "config.yaml.example examples systemd .ci").split():
            source = ROOT / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.checkout / name, ignore=ignore)
            else:
                self.checkout.mkdir(exist_ok=True)
                shutil.copy(source, self.checkout / name)

    def install(self, *words: str, health_s: int = 30) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", str(self.checkout / "systemd/install.sh"), *words],
            env={
                **os.environ,
                "FAKE": str(self.fake),
                "CARRY_INSTALL_ROOT": str(self.root),
                "CARRY_SYSTEMCTL": str(self.fake / "systemctl"),
                "CARRY_MAKE_VENV": str(self.fake / "venv"),
                "CARRY_HEALTH_S": str(health_s),
            },
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def tree(self) -> dict[str, tuple[int, float, str]]:
        """Every file below the root with mode, time of change and where a link points."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            info = path.lstat()
            link = os.readlink(path) if path.is_symlink() else ""
            if "carry.db" not in path.name and "__pycache__" not in str(path):
                found[str(path.relative_to(self.root))] = (info.st_mode, info.st_mtime, link)
        return found

    @property
    def current(self) -> str:
        return os.readlink(self.root / "opt/carry/current").rpartition("/")[2]

    def seq(self) -> int:
        path = self.root / "var/lib/carry/carry.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            return int(db.execute("SELECT seq FROM state").fetchone()[0])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_shows_what_it_will_do_and_does_it_once(machine: Machine) -> None:
    shown = machine.install("--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "This will:" in shown.stdout
    assert "carry.service carry-ops.service" in shown.stdout
    assert not (machine.root / "opt").exists(), "a dry run changes nothing"
    assert machine.install("--what").returncode == 2

    done = machine.install("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (machine.root / "etc/systemd/system/carry.service").exists()
    assert "embedded" in (machine.root / "etc/carry/config.yaml").read_text()
    assert (machine.root / "usr/local/bin/carry").stat().st_mode & 0o111
    assert (machine.fake / "enabled-carry-note.timer").exists()
    before, calls = machine.tree(), (machine.fake / "calls").read_text()

    again = machine.install("--yes")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert machine.tree() == before
    assert set((machine.fake / "calls").read_text()[len(calls) :].split("\n")) <= {
        "",
        *(
            f"is-enabled --quiet {u}"
            for u in ("carry.service", "carry-ops.service", "carry-note.timer")
        ),
    }


def test_an_upgrade_that_ticks_stays_and_one_that_does_not_goes_back(machine: Machine) -> None:
    assert machine.install("--yes").returncode == 0
    first, seq = machine.current, machine.seq()
    (machine.checkout / "docs/NEW.md").write_text("a newer release\n")
    done = machine.install("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    second = machine.current
    assert second != first
    assert machine.seq() == seq + 1
    assert "commits ticks" in done.stdout

    (machine.checkout / "docs/BROKEN").write_text("commits nothing\n")
    (machine.checkout / "docs/MIGRATES").write_text("and makes the journal unreadable to others\n")
    config = (machine.root / "etc/carry/config.yaml").read_text()
    done = machine.install("--yes", health_s=3)
    assert done.returncode == 1
    assert "Rolled back" in done.stderr
    assert "The journal is the one from before the upgrade" in done.stderr
    assert machine.current == second
    assert machine.seq() == seq + 2, "the old program goes on with the journal from before"
    assert (machine.root / "etc/carry/config.yaml").read_text() == config


def test_a_config_that_the_release_refuses_switches_nothing(machine: Machine) -> None:
    assert machine.install("--yes").returncode == 0
    first = machine.current
    config = machine.root / "etc/carry/config.yaml"
    config.write_text(config.read_text() + "nonsense: 1\n")
    (machine.checkout / "docs/NEW.md").write_text("a newer release\n")
    done = machine.install("--yes")
    assert done.returncode == 1
    assert "nothing was switched" in done.stderr
    assert machine.current == first
