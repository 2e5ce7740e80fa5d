"""What must be true of the tree itself: locks, ignored files, nothing of any one machine."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock")

Pins = dict[str, frozenset[str]]


def pins(lock: str) -> Pins:
    """`name==version ; marker` -> its hashes."""
    found: dict[str, set[str]] = {}
    current = ""
    for line in (ROOT / lock).read_text().splitlines():
        text = line.strip().removesuffix("\\").strip()
        if line.startswith(" "):
            assert text.startswith("--hash=sha256:"), f"{lock}: {line}"
            found[current].add(text)
        elif text and not text.startswith("#"):
            current = text
            found[current] = set()
    return {pin: frozenset(hashes) for pin, hashes in found.items()}


def names(lock: str) -> set[str]:
    return {normal(pin.split("==")[0]) for pin in pins(lock)}


def normal(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(option: str, section: str = "options") -> set[str]:
    """Names that setup.cfg asks for."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = (line.split("#")[0].strip() for line in setup[section][option].splitlines())
    return {normal(re.split(r"[\s<>=\[;]", line)[0]) for line in lines if line}


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(lock: str) -> None:
    locked = pins(lock)

    assert locked
    for pin, hashes in locked.items():
        assert re.match(r"[a-z0-9-]+==[^ ;*]+( ; .+)?$", pin), pin
        assert hashes, f"{pin} has no hash: an install with it could not be checked"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert "://" not in text
    assert " @ " not in text


def test_users_run_the_versions_that_were_tested() -> None:
    """Same pin, same marker, same hashes: one resolution, cut in two.

    What the test set needs everywhere has no marker there; users may need it less often.
    """
    run_time, tested = pins("requirements.lock"), pins("requirements-test.lock")

    found = {pin: tested.get(pin, tested.get(pin.partition(" ; ")[0])) for pin in run_time}
    assert found == run_time


def test_locks_hold_what_setup_cfg_asks_for() -> None:
    run_time = required("install_requires")
    extra = required("test", "options.extras_require")

    assert run_time <= names("requirements.lock")
    assert run_time | extra <= names("requirements-test.lock")
    assert not extra & names("requirements.lock"), "a judge at run time"
    assert "setuptools" in names("requirements.lock"), "it builds the project, without isolation"


@pytest.mark.parametrize(
    "path",
    [
        "config.yaml",
        "data/carry.db",
        "data/carry.db-wal",
        "data/carry.db-shm",
        "data/run/bot.pid",
        "data/run/ops.pid",
        "data/run/exchange.pid",
        "data/run/where",
        "data/run/start.lock",
        "data/exchange.state",
        "logs/service.out",
        "logs/carry.log",
        "logs/carry.log.1",
        ".venv/bin/carry",
        ".venv/.stamp",
        ".venv.lock",
        ".venv-test/bin/python",
        "carry.egg-info/PKG-INFO",
        "build/bench.json",
        "agent.key",
        "keystore.json",
        "history.dsn",
        ".env",
    ],
)
def test_nothing_of_a_users_can_be_committed(path: str) -> None:
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT)

    assert asked.returncode == 0, f"{path} is not ignored"


@pytest.mark.parametrize(
    "path", ["config.yaml.example", "requirements.lock", "examples/small-trial.yaml"]
)
def test_what_belongs_to_the_project_is_not_ignored(path: str) -> None:
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT)

    assert asked.returncode == 1


# Written in pieces, so that this file does not hold what it looks for.
FOREIGN = {
    "a home folder": r"(?<![\w.~-])/(" + "|".join(["root", r"home/\w+", r"Users/\w+"]) + ")/",
    "a workplace folder": r"(?<![\w.-])/(" + "|".join(["work", "farm", "opt/pypi"]) + ")[/-]",
    "a package index": "|".join(
        ["index" + "-url", "find" + "-links", r"pypi\." + "org", "python" + "hosted"]
    ),
    "a local package": "file:" + "//",
}


def test_no_file_names_a_machine_or_a_package_index() -> None:
    found = [
        f"{name}:{number}: {kind}: {line.strip()[:100]}"
        for name in tracked()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        for kind, pattern in FOREIGN.items()
        if re.search(pattern, line)
    ]

    assert found == []


def test_scripts_are_executable_and_parse() -> None:
    for name in (
        "start.sh",
        "stop.sh",
        ".ci/run",
        ".ci/venv.sh",
        ".ci/lock.sh",
        ".ci/processes.sh",
    ):
        assert subprocess.run(["bash", "-n", name], cwd=ROOT).returncode == 0, name
    for name in ("start.sh", "stop.sh"):
        assert (ROOT / name).stat().st_mode & 0o100, f"{name} is not executable"
