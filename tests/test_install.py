""".ci/venv.sh, the one place that installs, with a stand-in for Python that notes what is asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PYTHON = """#!/usr/bin/env bash
case "$*" in
    *'version_info[:3]'*) echo 3.11.9 ;;
    *'sys.executable'*) echo "$0" ;;
    '-m venv '*) echo "$*" >> "$CALLS"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    '-m pip '*) echo "$*" >> "$CALLS"; exit "${PIP_EXIT:-0}" ;;
esac
"""


class Checkout:
    """A folder with the script, a lock, and the stand-in for Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "venv.sh", root / ".ci")
        for name in ("setup.cfg", "pyproject.toml", "requirements.lock"):
            (root / name).write_text(f"{name}\n")
        self.python = root / "python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)

    def install(self, **env: str) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and what Python was asked for."""
        calls = self.root / "calls"
        calls.write_text("")
        done = subprocess.run(
            ["bash", str(self.root / ".ci" / "venv.sh"), ".venv", "requirements.lock"],
            cwd=self.root,
            env={**os.environ, "CALLS": str(calls), "PYTHON": str(self.python), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout, calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"
    root.mkdir()
    return Checkout(root)


def test_installs_by_hash_then_itself_without_fetching(checkout: Checkout) -> None:
    code, said, calls = checkout.install()

    assert code == 0, said
    assert "Installing requirements.lock" in said
    venv, packages, itself = calls
    assert venv.startswith("-m venv --clear ")
    assert "--require-hashes --requirement" in packages
    assert "--no-deps --no-build-isolation --editable" in itself


def test_an_installed_lock_is_silent_and_asks_nothing(checkout: Checkout) -> None:
    checkout.install()

    assert checkout.install() == (0, "", [])


@pytest.mark.parametrize("changed", ["requirements.lock", "setup.cfg", "pyproject.toml"])
def test_a_change_installs_again_into_the_same_environment(
    checkout: Checkout, changed: str
) -> None:
    checkout.install()
    (checkout.root / changed).write_text("changed\n")
    code, _, calls = checkout.install()

    assert code == 0
    assert len(calls) == 2, "no new environment, both installs"
    assert checkout.install()[2] == []


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout, tmp_path: Path) -> None:
    """Scripts in an environment name its folder."""
    checkout.install()
    moved = tmp_path / "moved"
    checkout.root.rename(moved)
    checkout.root, checkout.python = moved, moved / "python"
    code, _, calls = checkout.install()

    assert code == 0
    assert calls[0].startswith("-m venv --clear ")


def test_a_failed_install_says_why_and_is_tried_again(checkout: Checkout) -> None:
    code, said, _ = checkout.install(PIP_EXIT="1")

    assert code == 1
    assert "The network is needed for this step" in said
    assert not (checkout.root / ".venv" / ".stamp").exists()
    assert checkout.install()[0] == 0
    assert checkout.install()[2] == []


def test_no_fitting_python_says_what_to_do(checkout: Checkout) -> None:
    code, said, _ = checkout.install(PYTHON="no-such-python")

    assert code == 1
    assert said.startswith("No Python 3.10 to 3.13 with venv was found")
    assert "PYTHON=/path/to/python3" in said
