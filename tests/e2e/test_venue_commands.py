"""Commands that ask a venue, as a user runs them: real processes against a server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from carry.venues.keys import AgentKey
from tests.exchange.serving import Served, serve

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "0x" + "ab" * 20
SECRET = "0x" + "07" * 32
AGENT = AgentKey(SECRET).address


@pytest.fixture(scope="module")
def venue() -> Iterator[Served]:
    with serve(
        "--clock", "wall", "--coins", "HYPE", "--mode", "unified", "--fund", f"{ACCOUNT}=10000",
        "--agent", f"{AGENT}={ACCOUNT}", "--no-limits",
    ) as served:  # fmt: skip
        yield served


@pytest.fixture
def folder(tmp_path: Path, venue: Served) -> Path:
    (tmp_path / "agent.key").write_text(SECRET)
    (tmp_path / "agent.key").chmod(0o600)
    configure(tmp_path, venue.url, venue.ws_url)
    return tmp_path


def configure(folder: Path, url: str, ws_url: str, account: str = ACCOUNT) -> None:
    (folder / "config.yaml").write_text(
        f"venue: {{name: hyperliquid, network: testnet, base_url: '{url}', ws_url: '{ws_url}'}}\n"
        f"account: {{address: '{account}', agent_key: {{file: agent.key}}}}\n"
        "markets: [{base: HYPE}]\n"
    )


def carry(folder: Path, *words: str, timeout_s: int = 60) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "carry", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CARRY_LOCK_DIR": str(folder / "locks")},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_doctor_and_markets(folder: Path) -> None:
    done = carry(folder, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "live trading could start" in done.stdout
    assert "account.address of the config" in done.stdout
    assert SECRET[2:] not in done.stdout + done.stderr
    other = carry(folder, "doctor", "--address", "0x" + "cd" * 20)
    assert (other.returncode, "wrong network or address" in other.stdout) == (1, True)
    report = json.loads(carry(folder, "doctor", "--json").stdout)
    assert report["sound"] is True
    rows = json.loads(carry(folder, "markets", "--json").stdout)
    assert [row["coin"] for row in rows if row["net"] is not None] == ["HYPE"]


def test_markets_without_a_config(tmp_path: Path, venue: Served) -> None:
    done = carry(tmp_path, "markets", "--base-url", venue.url)
    assert done.returncode == 0, done.stderr
    assert "HYPE" in done.stdout
    assert "round trip bp" in done.stdout


@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_probe(folder: Path, venue: Served, leg: str) -> None:
    refused = carry(folder, "probe", "hyperliquid", leg, "--base", "HYPE")
    assert (refused.returncode, "--yes" in refused.stderr) == (3, True)
    words = ("probe", "hyperliquid", leg, "--base", "HYPE", "--delay", "0.2", "--yes")
    done = carry(folder, *words, "--monitor-orders")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("nothing left")
    assert "stream: order" in done.stdout
    assert venue.post("/info", {"type": "openOrders", "user": ACCOUNT}) == []
    bad = carry(folder, *words, "--notional", "5")
    assert bad.returncode == 2
    assert "--notional 5 is below the venue's minimum of $10" in bad.stdout


def test_a_start_with_the_wrong_address_is_refused_by_name(folder: Path, venue: Served) -> None:
    configure(folder, venue.url, venue.ws_url, account="0x" + "cd" * 20)
    done = carry(folder, "run", "--once")
    assert done.returncode == 3
    assert "wrong network or address: testnet knows no account 0xcdcd" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_start_without_consent_of_the_account_is_refused(folder: Path, venue: Served) -> None:
    (folder / "agent.key").write_text("0x" + "08" * 32)
    done = carry(folder, "run", "--once")
    assert (done.returncode, "agent not approved: " in done.stderr) == (3, True)
    (folder / "agent.key").chmod(0o644)
    sick = carry(folder, "doctor")
    assert (sick.returncode, "chmod 600" in sick.stdout) == (1, True)


def test_the_other_network_s_address_is_refused(folder: Path) -> None:
    configure(folder, "https://api.hyperliquid.xyz", "wss://api.hyperliquid.xyz/ws")
    done = carry(folder, "run", "--once")
    assert done.returncode == 2
    assert "is the mainnet, but network is testnet" in done.stderr
