"""Rows of the whole bot against the embedded exchange: hedge after a fill, start, memory."""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from carry.base.secrets import address_of
from carry.shell.embedded import play_account, play_agent

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
from carry.venues.transport import SocketTransport
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


def _serve(path: Path) -> "subprocess.Popen[str]":
    """An exchange without rate budgets, where `carry run` in the folder finds it."""
    account, agent = play_account(), address_of(play_agent())
    words = ["--clock", "lockstep", "--no-limits", "--fund", f"{account}=10000"]
    exchange = subprocess.Popen(
        [sys.executable, "-m", "carry", "exchange", *words, "--agent", f"{agent}={account}"],
        env=_env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert exchange.stdout is not None
    facts = json.loads(exchange.stdout.readline())
    run = path / "data" / "run"
    run.mkdir(parents=True)
    (run / "exchange.json").write_text(json.dumps({**facts, "pid": exchange.pid}))
    return exchange


def start() -> dict[str, dict[str, object]]:
    """A process from nothing to its first reconciled tick and out, beside the SDK's Exchange().

    The SDK signs nothing and reads two lists of markets; ours reads the whole account, prices,
    funding history and books, decides, and writes it down.
    """
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        _folder(path)
        exchange = _serve(path)
        url = json.loads((path / "data" / "run" / "exchange.json").read_text())["url"]
        dry = [sys.executable, "-m", "carry", "run", "--once", "--dry-run"]
        sdk = [sys.executable, "-c", SDK, url]
        peak = 0.0
        for counted in (False, *[True] * 7):
            for command, took in ((dry, ours), (sdk, theirs)):
                began = time.perf_counter()
                process = subprocess.Popen(command, cwd=path, env=_env(), stdout=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                assert status == 0, command
                if counted:
                    took.append((time.perf_counter() - began) * 1e3)
                if command is dry:
                    peak = max(peak, usage.ru_maxrss / 1024)
        exchange.terminate()
        exchange.wait(20)
    return {
        "start, one reconciled dry look, exit / SDK Exchange()": row(
            statistics.median(ours), statistics.median(theirs), "ms", len(ours)
        ),
        "bot process, peak memory": row(peak, None, "MiB", 1),
    }
