"""A carry's life in the real processes: bot, exchange, HTTP, websocket, signatures, journal."""

import json
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from carry.base.secrets import address_of
from carry.shell.embedded import play_account, play_agent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def hedged(status: dict[str, Any]) -> bool:
    return status["markets"][0]["phase"] == "HEDGE_OK"


def paid(status: dict[str, Any]) -> bool:
    return hedged(status) and Decimal(status["pnl"]["funding_usd"]) != 0


def agrees(folder: Any, status: dict[str, Any]) -> None:
    """The journal believes what the venue holds, to the last lot."""
    spot, perp = folder.held()
    market = status["markets"][0]
    assert Decimal(market["spot_sz"]) == Decimal(spot)
    assert Decimal(market["perp_sz"]) == Decimal(perp)


def test_enters_hedges_earns_and_stops(folder: Any) -> None:
    """Fresh start to booked funding; every cent explained; SIGTERM ends with 0 and a summary."""
    process = folder.start("run")
    status = folder.wait(paid)
    said = folder.stop(process)
    assert "nobody" not in said
    done = folder.carry("status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status.pop("age_s") < 60
    assert (status.pop("alerts"), status.pop("history")) == ([], None)
    assert status == json.loads(json.dumps(folder.status()))
    assert not status["markets"][0]["naked"]
    assert Decimal(status["pnl"]["residual_usd"]) == 0
    assert status["intents_open"] == []
    agrees(folder, status)
    log = [json.loads(line) for line in (folder.path / "logs/carry.log").read_text().splitlines()]
    events = {row["event"] for row in log}
    wanted = {
        "start",
        "entry",
        "fill",
        "fee",
        "hedged",
        "funding",
        "pnl_update",
        "shutdown_summary",
    }
    assert wanted <= events, wanted - events
    # Booked: a row for each payment, and their sum is the ledger's.
    receipts = folder.query("SELECT usd FROM funding")
    assert sum(Decimal(usd) for (usd,) in receipts) == Decimal(status["pnl"]["funding_usd"])


def test_the_same_carry_resumes_and_flattens(folder: Any) -> None:
    """Stop and start: nothing is traded again. `flatten --now` without a bot ends flat."""
    folder.stop(_after(folder, folder.start("run"), hedged))
    before = folder.held()
    orders = folder.query("SELECT count(*) FROM fills")
    folder.stop(_after(folder, folder.start("run"), _later(folder.status()["seq"] + 20)))
    assert folder.held() == before
    assert folder.query("SELECT count(*) FROM fills") == orders
    done = folder.carry("flatten", "--now")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flat, by a read of the venue" in done.stdout
    spot, perp = folder.held()
    assert Decimal(perp) == 0
    assert Decimal(spot) < Decimal("0.02")  # dust: below the smallest order
    assert "flatten" in folder.status()["latches"]
    # It stays out until it is told by name.
    folder.stop(_after(folder, folder.start("run"), _later(folder.status()["seq"] + 20)))
    assert folder.status()["markets"][0]["phase"] == "IDLE"
    assert folder.carry("resume", "--ack", "flatten").returncode == 0
    done = folder.carry("run", "--once")
    assert done.returncode == 0, done.stderr
    assert folder.status()["latches"] == {}


def test_a_lost_journal_makes_it_foreign(folder: Any) -> None:
    """What no journal explains is shown, not touched, and the run ends with 3; adopt takes it."""
    folder.stop(_after(folder, folder.start("run"), hedged))
    before = folder.held()
    for file in folder.journal.parent.glob("carry.db*"):
        file.unlink()
    done = folder.carry("run")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "are foreign" in done.stderr
    assert "carry adopt HYPE" in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.held() == before
    assert Decimal(folder.status()["markets"][0]["foreign"]["spot_sz"]) == Decimal(before[0])
    size = done.stderr.split("carry adopt HYPE ")[1].split("`")[0]
    assert folder.carry("adopt", "HYPE", size).returncode == 0
    folder.stop(_after(folder, folder.start("run"), hedged))
    agrees(folder, folder.status())
    assert folder.held() == before


@pytest.mark.parametrize("seq", [4, 6, 7, 9, 12])
def test_killed_while_entering(folder: Any, seq: int) -> None:
    """SIGKILL at any moment: the next start settles what was in flight, nothing is bought twice."""
    folder.configure(speed=4)
    process = folder.start("run")
    folder.wait(lambda status: status["seq"] >= seq)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    process = folder.start("run")
    folder.wait(hedged)
    folder.stop(process)
    status = folder.status()
    agrees(folder, status)
    assert Decimal(status["pnl"]["residual_usd"] or 0) == 0
    assert Decimal(status["markets"][0]["spot_sz"]) * Decimal(status["markets"][0]["px"]) < 1050


@pytest.mark.parametrize("seq", [4, 6, 7, 9])
def test_stopped_while_entering(folder: Any, seq: int) -> None:
    """SIGTERM: no new lead order, the hedge of what filled is completed, then it ends with 0."""
    folder.configure(speed=4)
    process = folder.start("run")
    folder.wait(lambda status: status["seq"] >= seq)
    folder.stop(process)
    status = folder.status()
    assert not status["markets"][0]["naked"]
    assert status["intents_open"] == []
    agrees(folder, status)
    summary = (folder.path / "logs/carry.log").read_text().splitlines()[-1]
    assert json.loads(summary)["event"] == "shutdown_summary"
    assert json.loads(summary)["naked"] == ""


def test_on_a_wall_clock(folder: Any) -> None:
    """The live path: a named network, real time, a key of the environment, no lockstep."""
    account, agent = play_account(), address_of(play_agent())
    words = ["exchange", "--clock", "wall", "--port", "0", "--seed", "3"]
    words += ["--fund", f"{account}=10000", "--agent", f"{agent}={account}"]
    exchange = folder.start(*words)
    facts = json.loads(exchange.stdout.readline())
    (folder.path / "config.yaml").write_text(
        "venue: {name: hyperliquid, network: testnet, "
        f"base_url: '{facts['url']}', ws_url: '{facts['ws_url']}'}}\n"
        f"account: {{address: '{account}', agent_key: {{env: A_KEY}}}}\n"
        "markets: [{base: HYPE}]\n"
    )
    process = folder.start("run", A_KEY=play_agent().reveal())
    folder.wait(hedged, timeout_s=60)
    folder.stop(process)
    status = folder.status()
    assert not status["markets"][0]["naked"]
    assert status["intents_open"] == []
    assert folder.carry("replay").returncode == 0
    for file in folder.path.rglob("*"):
        if file.is_file():
            assert play_agent().reveal().encode() not in file.read_bytes(), file
    exchange.send_signal(signal.SIGTERM)
    exchange.communicate(timeout=10)


def test_one_bot_an_account(folder: Any) -> None:
    """A second bot exits 3 and names the process that trades."""
    process = folder.start("run")
    folder.wait(lambda status: status["seq"] >= 2)
    done = folder.carry("run")
    assert done.returncode == 3
    assert f"process {process.pid} trades account" in done.stderr
    folder.stop(process)


def test_pause_and_resume_outlive_a_restart(folder: Any) -> None:
    """P12: a pause given while nothing runs holds; entries begin when it is cleared by its name."""
    assert folder.carry("run", "--once", "--dry-run").returncode == 0
    assert folder.held() == ("0", "0")
    assert folder.carry("pause").returncode == 0
    folder.stop(_after(folder, folder.start("run"), _later(folder.status()["seq"] + 20)))
    assert folder.status()["markets"][0]["phase"] == "IDLE"
    assert folder.held() == ("0", "0")
    assert folder.carry("resume").returncode == 0
    folder.stop(_after(folder, folder.start("run"), hedged))
    audit = folder.query("SELECT doc FROM audit ORDER BY command_id")
    assert [json.loads(doc)["$"] for (doc,) in audit] == ["Pause", "Resume"]


def test_a_setting_outlives_a_restart(folder: Any) -> None:
    """`carry set` is checked at once, holds after a restart, and is given back with `config`."""
    assert folder.carry("run", "--once", "--dry-run").returncode == 0
    refused = folder.carry("set", "slice_usd", "1")
    assert refused.returncode == 2
    assert "risk.slice_usd" in refused.stderr
    assert folder.carry("set", "risk.slice_usd", "100").returncode == 0
    done = folder.carry("run", "--once", "--dry-run")
    assert done.returncode == 0, done.stderr
    done = folder.carry("run", "--once", "--dry-run")
    assert "risk.slice_usd is 100, set by" in done.stdout
    assert folder.carry("set", "risk.slice_usd", "config").returncode == 0
    folder.carry("run", "--once", "--dry-run")
    assert "risk.slice_usd is 100" not in folder.carry("run", "--once", "--dry-run").stdout


def test_ops_beside_the_bot(folder: Any) -> None:
    """The second process writes a heartbeat and a snapshot, and ends on SIGTERM."""
    folder.stop(_after(folder, folder.start("run"), _later(3)))
    ops = folder.start("ops")
    beat = folder.path / "data/run/heartbeat.json"
    end = time.monotonic() + 20
    while not (beat.exists() and json.loads(beat.read_text())["seq"] >= 3):
        assert time.monotonic() < end
        time.sleep(0.05)
    folder.stop(ops)
    snapshot = json.loads((folder.path / "data/run/status.json").read_text())
    assert snapshot["markets"][0]["coin"] == "HYPE"


def _later(seq: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["seq"] >= seq)


def _after(folder: Any, process: Any, holds: Callable[[dict[str, Any]], bool]) -> Any:
    folder.wait(holds)
    return process
