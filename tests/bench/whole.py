"""Rows of the whole bot against the embedded exchange: hedge after a fill, start, memory."""

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .timing import row

ROOT = Path(__file__).parents[2]
SDK = """
import sys
from eth_account import Account
from hyperliquid.exchange import Exchange
Exchange(Account.create(), sys.argv[1], account_address="0x" + "1" * 40)
"""
WATCH = """
import json, sys, time
from carry.venues.hyperliquid.transport import SocketTransport
posts, post = [], SocketTransport.post
def timed(self, path, body, deadline_s):
    began = time.perf_counter()
    reply = post(self, path, body, deadline_s)
    if path == "/exchange":
        asset = json.loads(body)["action"].get("orders", [{}])[0].get("a", -1)
        posts.append((asset, began, time.perf_counter()))
    return reply
SocketTransport.post = timed
from carry.cli.main import main
try:
    main(["run", "--interval-ms", "1000"])
finally:
    with open("posts.json", "w") as out:
        json.dump(posts, out)
"""


def _folder(path: Path) -> None:
    text = (ROOT / "config.yaml.example").read_text()
    (path / "config.yaml").write_text(text.replace("speed: 60", "speed: 0"))


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _end_exchange(path: Path) -> None:
    pid = path / "data" / "run" / "exchange.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), 15)


def hedge() -> dict[str, dict[str, object]]:
    """From the reply that tells of a spot fill to the first byte of its hedge, inside the bot."""
    waits: list[float] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name)
            _folder(path)
            bot = subprocess.Popen(
                [sys.executable, "-c", WATCH], cwd=path, env=_env(), stdout=subprocess.DEVNULL
            )
            time.sleep(12)
            bot.terminate()
            bot.wait(60)
            _end_exchange(path)
            posts = json.loads((path / "posts.json").read_text())
            for (spot, _, done), (perp, began, _) in itertools.pairwise(posts):
                if spot >= 10_000 and 0 <= perp < 10_000:
                    waits.append((began - done) * 1e6)
    return {
        "spot fill on the wire to hedge on the wire": row(
            statistics.median(waits), None, "us", len(waits)
        )
    }


def start() -> dict[str, dict[str, object]]:
    """A whole process from nothing to its first tick and out, beside the SDK's Exchange()."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        _folder(path)
        command = [sys.executable, "-m", "carry", "run", "--once", "--dry-run"]
        quiet = {"cwd": path, "env": _env(), "stdout": subprocess.DEVNULL}
        subprocess.run(command, check=True, **quiet)  # type: ignore[call-overload]
        url = json.loads((path / "data" / "run" / "exchange.json").read_text())["url"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run(command, check=True, **quiet)  # type: ignore[call-overload]
            ours.append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", SDK, url], check=True, **quiet)  # type: ignore[call-overload]
            theirs.append((time.perf_counter() - began) * 1e3)
        peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
        _end_exchange(path)
    return {
        "start, one dry tick, exit / SDK Exchange()": row(
            statistics.median(ours), statistics.median(theirs), "ms", len(ours)
        ),
        "largest process, peak memory": row(peak, None, "MiB", 1),
    }
