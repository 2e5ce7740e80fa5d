"""The real processes: `carry run` against the `carry exchange` it starts, in its own folder."""

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.shell.database import JournalRefused
from carry.shell.embedded import play_account
from carry.shell.reader import Reader
from carry.shell.status import report

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
venue: {{name: embedded, speed: {speed}, seed: {seed}}}
markets: [{{base: HYPE}}]
interval_ms: {interval_ms}
"""


class Folder:
    """A run folder, the commands in it, and the end of every process they started."""

    def __init__(self, path: Path, locks: Path) -> None:
        self.path, self._locks = path, locks
        self._started: list[subprocess.Popen[str]] = []
        self.configure()

    def configure(self, seed: int = 1, interval_ms: int = 1000, speed: int = 0) -> None:
        text = CONFIG.format(seed=seed, interval_ms=interval_ms, speed=speed)
        (self.path / "config.yaml").write_text(text)

    @property
    def journal(self) -> Path:
        return self.path / "data" / "carry.db"

    def _environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("STATE_DIRECTORY",)}
        return {**kept, "CARRY_LOCK_DIR": str(self._locks), "PYTHONPATH": str(ROOT), **more}

    def carry(self, *words: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "carry", *words],
            cwd=self.path,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *words]
            if words[0] == "-c"
            else [sys.executable, "-m", "carry", *words],
            cwd=self.path,
            env=self._environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def status(self) -> dict[str, Any]:
        """What `carry status --json` says, without the time a process takes to start."""
        reader = Reader(str(self.journal))
        try:
            known = reader.state()
        finally:
            reader.close()
        return report(*known) if known is not None else {"seq": -1, "markets": []}

    def wait(
        self, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 60
    ) -> dict[str, Any]:
        """Look until `holds` does; the status then."""
        end = time.monotonic() + timeout_s
        last: dict[str, Any] = {}
        while time.monotonic() < end:
            with contextlib.suppress(JournalRefused):
                last = self.status()
                if last["seq"] > 0 and holds(last):
                    return last
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout_s} s: {json.dumps(last, indent=1)}")

    def stop(self, process: "subprocess.Popen[str]") -> str:
        """SIGTERM, and what the process printed; it must end well."""
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said
        return said

    def exchange(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.path / "data/run/exchange.json").read_text())
        return facts

    def venue(self, kind: str, **more: str) -> Any:
        """Ask the exchange itself, past everything of ours."""
        body = json.dumps({"type": kind, "user": play_account(), **more}).encode()
        request = urllib.request.Request(self.exchange()["url"] + "/info", body)
        request.add_header("Content-Type", "application/json")
        for _ in range(50):  # an exchange that loses replies loses these too
            with (
                contextlib.suppress(http.client.RemoteDisconnected),
                urllib.request.urlopen(request, timeout=10) as reply,
            ):
                return json.load(reply)
        raise AssertionError(f"no reply to {kind}")

    def held(self, coin: str = "HYPE") -> tuple[str, str]:
        """(spot, perp) of a coin by the venue's own word."""
        balances = self.venue("spotClearinghouseState")["balances"]
        positions = self.venue("clearinghouseState")["assetPositions"]
        spot = next((b["total"] for b in balances if b["coin"] == coin), "0")
        perp = next((p["position"]["szi"] for p in positions if p["position"]["coin"] == coin), "0")
        return spot, perp

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.journal)) as db:
            return db.execute(sql).fetchall()

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(int(self.exchange()["pid"]), signal.SIGTERM)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Callable[[str], Folder]]:
    """Makes run folders by name; ends their processes."""
    made: list[Folder] = []

    def make(name: str) -> Folder:
        (tmp_path / name).mkdir()
        made.append(Folder(tmp_path / name, tmp_path / "locks"))
        return made[-1]

    yield make
    for folder in made:
        folder.end()


@pytest.fixture
def folder(folders: Callable[[str], Folder]) -> Folder:
    return folders("run")
