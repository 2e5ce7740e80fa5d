"""`carry run` on the local Aster, as a process of its own, over real sockets and the wall clock."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.exchange.aster.server import AsterServer
from tests.exchange.aster_serving import AGENT, USER, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CONFIG = """\
venue: {{name: aster, network: testnet, base_url: '{url}'}}
account: {{address: '{user}', agent_key: {{file: agent.key}}}}
markets: [{{base: BTC}}]
interval_ms: 500
strategy: {{target_usd_notional: 400, horizon_h: 2000, volatility: {{max: 20}}}}
risk: {{slice_usd: 400, max_spread_bps: 40}}
"""


@pytest.fixture
def server() -> Iterator[AsterServer]:
    with serving(spot="2000", perp="2000") as made:
        yield made


@pytest.fixture
def folder(server: AsterServer, tmp_path: Path) -> Path:
    key = tmp_path / "agent.key"
    key.write_text(AGENT.key.hex())
    key.chmod(0o600)
    text = CONFIG.format(url=server.url, user=USER.address)
    (tmp_path / "config.yaml").write_text(text)
    return tmp_path


def carry(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "carry", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={
            **os.environ, "CARRY_LOCK_DIR": str(folder / "locks"),
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        },
    )  # fmt: skip


def status(folder: Path) -> Any:
    asked = carry(folder, "status", "--json")
    out, _ = asked.communicate(timeout=60)
    return json.loads(out) if asked.returncode == 0 else None


def test_the_doctor_and_the_markets_know_this_venue(server: AsterServer, folder: Path) -> None:
    """Read-only; the overview needs no key."""
    sick = carry(folder, "doctor", "--json")
    out, _ = sick.communicate(timeout=120)
    report = json.loads(out)
    assert report["sound"], out
    assert sick.returncode == 0
    told = {one["name"]: one["text"] for one in report["findings"]}
    assert told["venue"] == "aster testnet answers"
    assert "of the 2400 weight a minute" in told["budget"]
    (folder / "agent.key").unlink()
    surveyed = carry(folder, "markets", "--json")
    out, _ = surveyed.communicate(timeout=120)
    rows = {row["coin"]: row for row in json.loads(out[out.index("[{") :])}
    assert float(rows["BTC"]["volume_usd"]["perp"]) > float(rows["BTC"]["volume_usd"]["spot"]) > 0
    assert rows["BTC"]["net"] is not None
    assert {method for method, _ in server.api.asked} == {"GET"}


def test_a_dry_run_looks_and_sends_nothing(server: AsterServer, folder: Path) -> None:
    process = carry(folder, "run", "--once", "--dry-run")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert "Traceback" not in out
    assert {method for method, _ in server.api.asked} == {"GET"}


def test_it_enters_and_ends_in_order(server: AsterServer, folder: Path) -> None:
    process = carry(folder, "run")
    try:
        end_s = time.monotonic() + 150
        found = None
        while time.monotonic() < end_s:
            found = status(folder)
            if found and found["markets"] and found["markets"][0]["phase"] == "HEDGE_OK":
                break
            assert process.poll() is None
            time.sleep(1)
        assert found is not None
        assert found["markets"][0]["phase"] == "HEDGE_OK", found
        account = server.exchange.accounts[USER.address.lower()]
        assert str(account.szi(1)) == found["markets"][0]["perp_sz"]
        assert account.szi(1) < 0
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert AGENT.key.hex() not in out
    assert server.exchange.audit() == {}


def test_a_signer_nobody_approved_is_refused_at_the_start(
    server: AsterServer, folder: Path
) -> None:
    server.exchange.doorman.agents.clear()
    process = carry(folder, "run")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 3, out
    assert "agent_refused: code -1022" in out
    assert "Traceback" not in out


def test_real_money_is_refused(server: AsterServer, folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("testnet", "mainnet"))
    process = carry(folder, "run")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 3, out
    assert server.api.asked == []
