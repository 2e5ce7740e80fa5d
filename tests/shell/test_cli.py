"""The commands from outside: exit codes, one line for an operator's mistake, help as documented."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carry.cli.main import COMMANDS
from carry.core.state import State
from carry.shell.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "0x" + "ab" * 20
EMBEDDED = "venue: {name: embedded}\nmarkets: [{base: HYPE}]\n"
LIVE = (
    "venue: {{name: hyperliquid, network: {network}, base_url: 'http://127.0.0.1:9'}}\n"
    "account: {{address: '{account}'{key}}}\n"
    "markets: [{{base: HYPE}}]\n"
)


def carry(
    folder: Path, *words: str, optimise: bool = False, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *(["-O"] if optimise else []), "-m", "carry", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def live(folder: Path, network: str = "testnet", key: str = "") -> None:
    text = LIVE.format(network=network, account=ACCOUNT, key=key)
    (folder / "config.yaml").write_text(text)


def test_help_lists_every_command_with_its_purpose(tmp_path: Path) -> None:
    done = carry(tmp_path, "--help")
    assert done.returncode == 0
    listed = re.findall(r"^  ([a-z]+)  +\S", done.stdout.split("Commands:")[1], re.M)
    assert listed == list(COMMANDS)
    for name, (_, purpose) in COMMANDS.items():
        assert purpose[:40] in done.stdout, name


def test_the_docs_name_the_commands_that_exist() -> None:
    """Both ways: nothing documented is missing, nothing there is undocumented."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    named = set(re.findall(r"`(?:\.venv/bin/)?carry ([a-z]+)", text))
    assert named <= set(COMMANDS)
    missing = {name for name in COMMANDS if not re.search(rf"carry {name}\b", text)}
    assert not missing


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("exchange", "storm")])
def test_every_command_has_help(tmp_path: Path, name: str) -> None:
    done = carry(tmp_path, name, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    groups = ("alert", "config", "db", "probe", "key", "data")
    if name not in (*groups, "backtest", "sweep", "yardstick"):
        # Groups: their commands have them; and what reads recordings has no journal.
        assert "--config" in done.stdout
        assert "--state-db" in done.stdout


def test_help_is_quick(tmp_path: Path) -> None:
    """0.1 s on a quiet machine; what is heavy must not be imported for it at all."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        carry(tmp_path, "--help")
        took.append(time.perf_counter() - began)
    assert min(took) < 1
    code = "import sys, carry.cli.main; print([m for m in sys.modules if m.startswith('carry.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.replace("'", '"')) == ["carry.cli", "carry.cli.main"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stauts"], 2, "did you mean status?"),
        (["run", "--no-such-flag"], 2, "No such option"),
        (["run"], 2, "config.yaml: there is no such file; copy config.yaml.example"),
        (["run", "--interval-ms", "5"], 2, "100<=x<=60000"),
        (["status"], 1, "there is no journal. Start the bot with `carry run`"),
        (["pause"], 1, "nobody would read the command"),
        (["flatten"], 1, "nobody would read the command"),
        (["replay"], 1, "there is no journal"),
        (["adopt", "HYPE", "-1"], 2, ""),
        (["adopt", "HYPE", "much"], 2, "'much' is no number"),
        (["config", "check", "--config", "nothing.yaml"], 2, "nothing.yaml: there is no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_operator_s_mistake_is_one_line(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    done = carry(tmp_path, *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_real_money_is_refused_until_it_is_earned(tmp_path: Path) -> None:
    live(tmp_path, "mainnet", ", agent_key: {env: A_KEY}")
    done = carry(tmp_path, "run", A_KEY="11" * 32)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "proven: nothing. Missing: demo: `carry demo` makes it; dry run: " in line
    wrong = carry(tmp_path, "run", "--unproven", "yes", A_KEY="11" * 32)
    assert (wrong.returncode, "takes these words and no others" in wrong.stderr) == (3, True)


def test_real_money_on_aster_is_refused(tmp_path: Path) -> None:
    live(tmp_path, "mainnet", ", agent_key: {env: A_KEY}")
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("name: hyperliquid", "name: aster"))
    done = carry(tmp_path, "run", A_KEY="11" * 32)
    assert (done.returncode, "real money on aster is refused" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["run", "--state-db", ":memory:"], "", ":memory: would forget what is open"),
        (["run"], "", "account.agent_key is missing"),
        (["run"], ", agent_key: {env: NOT_SET}", "NOT_SET is not set"),
        (["run"], ", agent_key: {file: open.key}", "chmod 600"),
    ],
)
def test_refused_for_safety(tmp_path: Path, words: list[str], key: str, said: str) -> None:
    live(tmp_path, key=key)
    (tmp_path / "open.key").write_text("11" * 32)
    (tmp_path / "open.key").chmod(0o644)
    done = carry(tmp_path, *words)
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "1111" not in done.stderr


def test_the_account_s_own_key_is_refused(tmp_path: Path) -> None:
    live(tmp_path, key=", agent_key: {env: A_KEY}")
    text = (tmp_path / "config.yaml").read_text()
    # The address of the private key 1, which everybody knows.
    (tmp_path / "config.yaml").write_text(
        text.replace(ACCOUNT, "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf")
    )
    done = carry(tmp_path, "run", A_KEY="0" * 63 + "1")
    assert done.returncode == 3
    assert "which can withdraw everything" in done.stderr


def test_guards_are_asserts_so_o_is_refused(tmp_path: Path) -> None:
    assert carry(tmp_path, "--help", optimise=True).returncode == 3


def test_an_unreachable_venue_is_looked_at_and_left(tmp_path: Path) -> None:
    """A dry look needs no key; what could not be read blocks, and nothing is guessed."""
    live(tmp_path)
    done = carry(tmp_path, "run", "--once", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "nothing from" in done.stdout
    assert "BLOCKS  account reconciled: no" in done.stdout
    status = json.loads(carry(tmp_path, "status", "--json").stdout)
    assert status["markets"][0]["phase"] == "IDLE"


def test_commands_go_to_the_journal_that_is_named(tmp_path: Path, state: State) -> None:
    path = tmp_path / "elsewhere" / "a.db"
    journal = Journal.open(str(path), network="embedded", account=ACCOUNT)
    journal.begin(state, 1)
    assert carry(tmp_path, "pause", "--state-db", str(path)).returncode == 0
    assert carry(tmp_path, "resume", "--ack", "drawdown", "--state-db", str(path)).returncode == 0
    assert [(o.what, o.args) for o in journal.inbox(0)] == [
        ("pause", "{}"),
        ("resume", '{"latch": "drawdown"}'),
    ]
    (tmp_path / "STATE").mkdir()
    Journal.open(str(tmp_path / "STATE/carry.db"), network="x", account=ACCOUNT).begin(state, 1)
    done = carry(tmp_path, "status", "--json", STATE_DIRECTORY=str(tmp_path / "STATE"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seq"] == 0


def test_status_has_the_promised_shape(tmp_path: Path, state: State) -> None:
    path = str(tmp_path / "a.db")
    Journal.open(path, network="embedded", account=ACCOUNT).begin(state, 1)
    found = json.loads(carry(tmp_path, "status", "--json", "--state-db", path).stdout)
    assert {"mode", "now_ms", "seq", "markets", "pnl", "gates", "intents_open", "latches"} <= set(
        found
    )
    market = found["markets"][0]
    names = "coin phase spot_sz perp_sz delta_usd funding_rate expected_net_bps why naked foreign"
    assert set(names.split()) <= set(market)
    causes = "net_usd funding_usd fees_usd basis_usd slippage_usd external_usd residual_usd"
    assert set(causes.split()) <= set(found["pnl"])
    assert {"name", "market", "value", "threshold", "passes"} <= set(found["gates"][0])
    for command in ("why", "pnl", "positions"):
        done = carry(tmp_path, command, "--state-db", path)
        assert done.returncode == 0, done.stderr
        assert "HYPE" in done.stdout
        assert carry(tmp_path, command, "--json", "--state-db", path).returncode == 0


def test_config_show_gives_every_key_and_its_reason(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(EMBEDDED)
    done = carry(tmp_path, "config", "show")
    assert done.returncode == 0, done.stderr
    assert "delta_band_usd: left out  # derived: unhedged notional" in done.stdout
    assert "  slice_usd: 250  # default" in done.stdout
    assert "  name: embedded  # line 1" in done.stdout
    assert carry(tmp_path, "config", "check").stdout.startswith("config.yaml: good. embedded, HYPE")
