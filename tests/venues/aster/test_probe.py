"""`carry probe aster` end to end on the local server: sound accounts, and each thing that can be
wrong: one clear line, the right exit code, and no order left."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from eth_account import Account as Key

from carry.cli.main import main
from carry.exchange.aster.server import AsterServer
from tests.exchange.aster_serving import AGENT, API_KEY, API_SECRET, USER, serving

STRANGER = Key.from_key("0x" + "77" * 32)


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


Probe = Callable[..., Done]


@pytest.fixture
def server() -> Iterator[AsterServer]:
    with serving() as made:
        yield made


@pytest.fixture
def probe(
    server: AsterServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Probe:
    """Writes a config and runs the command, in this process."""
    monkeypatch.setenv("CARRY_LOCK_DIR", str(tmp_path / "locks"))
    # The command installs hooks for the whole process; what was there comes back.
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def make(*args: str, key: Any = AGENT, v1: bool = False, **venue: str) -> Done:
        config = write_config(tmp_path, server.url, key=key, v1=v1, **venue)
        with pytest.raises(SystemExit) as ended:
            main(["probe", "aster", *args, "--delay", "0", "--config", str(config)])
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return make


def write_config(
    folder: Path, url: str, *, key: Any = AGENT, v1: bool = False, account: str = "", **venue: str
) -> Path:
    secret(folder / "agent.key", key.key.hex())
    secret(folder / "api.key", API_KEY)
    secret(folder / "api.secret", venue.pop("api_secret", API_SECRET))
    rows = {"name": "aster", "network": "testnet", "base_url": url, **venue}
    account = account or (
        "api_key: {file: api.key}, api_secret: {file: api.secret}"
        if v1
        else "agent_key: {file: agent.key}"
    )
    config = folder / "config.yaml"
    config.write_text(
        f"venue: {{{', '.join(f'{k}: {v}' for k, v in rows.items())}}}\n"
        f"account: {{address: '{USER.address}', {account}}}\n"
        "markets: [{base: BTC}]\n"
    )
    return config


def secret(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def resting(server: AsterServer) -> int:
    return len(server.exchange.accounts[USER.address.lower()].orders)


def placed(server: AsterServer) -> int:
    """Orders that reached the books, whatever became of them."""
    return len(server.exchange.accounts[USER.address.lower()].records)


def clean(server: AsterServer, done: Done) -> None:
    """No order rests, and neither a trace nor a secret was shown."""
    assert resting(server) == 0
    assert "Traceback" not in done.all
    for value in (AGENT.key.hex(), API_SECRET, API_KEY):
        assert value.removeprefix("0x") not in done.all


# --- sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("v1", [False, True])
def test_a_perp(server: AsterServer, probe: Probe, v1: bool) -> None:
    done = probe("perp", "--base", "btc", "--iterations", "2", v1=v1)
    assert done.code == 0, done.all
    assert placed(server) == 4
    assert "BUY" in done.out
    assert "SELL" in done.out
    assert done.out.count("seen among the open orders") == 4
    assert done.out.count("withdrawn (CANCELED)") == 4
    assert "nothing left: none of 4 test orders rests" in done.out.splitlines()[-1]
    clean(server, done)


def test_the_last_read_is_after_the_last_action(server: AsterServer, probe: Probe) -> None:
    """P8: what is said of the end was asked after the last cancel."""
    done = probe("perp", "--base", "BTC")
    assert done.code == 0
    asked = server.api.asked
    last = max(n for n, (method, _) in enumerate(asked) if method in ("POST", "DELETE"))
    after = [path.rpartition("/")[2] for _, path in asked[last + 1 :]]
    assert after == ["openOrders", "positionRisk"]


def test_spot_without_coins_skips_the_sale(server: AsterServer, probe: Probe) -> None:
    done = probe("spot", "--base", "BTC")
    assert done.code == 0, done.all
    assert "SELL skipped: " in done.out
    assert " BTC needed, 0 free" in done.out
    assert placed(server) == 1
    clean(server, done)


def test_spot_with_coins_sells_too(server: AsterServer, probe: Probe) -> None:
    server.exchange.give(USER.address, "ASTER", Decimal(100))
    done = probe("spot", "--base", "ASTER", "--notional", "12", "--offset-ticks", "400")
    assert done.code == 0, done.all
    orders = [r.order for r in server.exchange.accounts[USER.address.lower()].records.values()]
    assert [order.is_buy for order in orders] == [True, False]
    for order in orders:
        worth = order.orig_sz * order.px / order.asset.unit
        assert 12 <= worth < 12.1, "the smallest size worth --notional"
    clean(server, done)


@pytest.mark.parametrize("base", ["SOL", "BNB", "ASTER", "ETH"])
def test_prices_are_on_the_tick_where_precision_is_finer(
    server: AsterServer, probe: Probe, base: str
) -> None:
    done = probe("perp", "--base", base)
    assert done.code == 0, done.all
    assert placed(server) == 2


def test_orders_of_others_are_left_alone(server: AsterServer, probe: Probe) -> None:
    from tests.exchange.test_aster_ccxt import PERP, client

    api = client(server)
    api.load_markets()
    px = api.fetch_bids_asks([PERP])[PERP]["bid"] * 0.9
    other = api.create_order(PERP, "limit", "buy", 0.001, float(api.price_to_precision(PERP, px)))
    done = probe("perp", "--base", "BTC")
    assert done.code == 0, done.all
    assert "(1 open orders of others are untouched)" in done.out
    assert [order["id"] for order in api.fetch_open_orders(PERP)] == [other["id"]]


# --- each thing wrong -----------------------------------------------------------------------------


def test_wrong_key(server: AsterServer, probe: Probe) -> None:
    """The secret of a legacy key does not belong to it."""
    done = probe("perp", "--base", "BTC", v1=True, api_secret="x" * 64)
    assert done.code == 1
    assert "code -1022: Signature for this request is not valid." in done.out.splitlines()[-1]
    assert placed(server) == 0
    clean(server, done)


@pytest.mark.parametrize("code", [-1022, -1000])
def test_wrong_signer(server: AsterServer, probe: Probe, code: int) -> None:
    """An agent that nobody approved. Which code that is, sources disagree."""
    server.exchange.doorman.unknown_agent = code
    done = probe("perp", "--base", "BTC", key=STRANGER)
    assert done.code == 1
    assert f"code {code}: Signature for this request is not valid." in done.out.splitlines()[-1]
    assert placed(server) == 0
    clean(server, done)


@pytest.mark.parametrize("offset_ms", [30_000, -30_000])
def test_skew(server: AsterServer, probe: Probe, offset_ms: int) -> None:
    server.offset_ms = offset_ms
    server.exchange.now += min(offset_ms, 0)
    done = probe("perp", "--base", "BTC")
    assert done.code == 3
    word = "behind" if offset_ms > 0 else "ahead of"
    assert f"ms {word} the venue's, more than 5000 ms: set the machine's clock" in done.out
    assert placed(server) == 0
    clean(server, done)


def test_a_little_skew_is_reckoned_with(server: AsterServer, probe: Probe) -> None:
    server.offset_ms = 3_500
    for v1 in (False, True):
        done = probe("perp", "--base", "BTC", v1=v1)
        assert done.code == 0, done.all
        assert "; set it (NTP)" in done.out


@pytest.mark.parametrize(
    "override, code", [({"perp_tick": "0.01"}, -1111), ({"perp_step": "0.0001"}, -1111)]
)
def test_filter_violation(
    server: AsterServer, probe: Probe, override: dict[str, str], code: int
) -> None:
    """A grid of the config that is not the venue's: it answers, and that is said with a remedy."""
    far = ("--notional", "97.3", "--offset-ticks", "40007")
    done = probe("perp", "--base", "BTC", *far, **override)
    assert done.code == 1, done.all
    (line,) = [line for line in done.out.splitlines() if "REFUSED" in line]
    assert f"code {code}" in line
    assert "override out of the config" in line
    clean(server, done)


@pytest.mark.parametrize(
    "args, words",
    [
        (("--notional", "2"), "--notional 2 is below the venue's minimum of 5 USDT"),
        (("--offset-ticks", "100000", "--notional", "99999999"), "is outside 0.001 to 1000"),
    ],
)
def test_what_the_venue_would_refuse_is_not_sent(
    server: AsterServer, probe: Probe, args: tuple[str, ...], words: str
) -> None:
    done = probe("perp", "--base", "BTC", *args)
    assert done.code == 2, done.all
    assert words in done.out
    assert placed(server) == 0


@pytest.mark.parametrize("leg, code", [("perp", -2019), ("spot", -2018)])
def test_no_balance(tmp_path: Path, server: AsterServer, probe: Probe, leg: str, code: int) -> None:
    server.exchange.open_account(USER.address)
    done = probe(leg, "--base", "BTC")
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if "REFUSED" in line]
    assert f"code {code}" in line
    assert "wallet" in line
    assert "nothing left" in done.out
    clean(server, done)


def test_html_500_on_signed_spot_reads(server: AsterServer, probe: Probe) -> None:
    server.exchange.faults.add("html_500", "GET", "/api/v3/account", times=99)
    done = probe("spot", "--base", "BTC")
    assert done.code == 1
    line = done.out.splitlines()[-1]
    assert "FAILED before any order was placed" in line
    assert "HTTP 500: an HTML page: signed spot reads of this account fail at the venue" in line
    assert placed(server) == 0
    clean(server, done)


def test_html_500_that_begins_after_the_order(server: AsterServer, probe: Probe) -> None:
    """The order is withdrawn all the same; that it is gone is said as not proven."""
    server.exchange.faults.add("html_500", "GET", "/api/v3/openOrders", times=0)
    original = server.api.answer

    def answer(request: Any) -> Any:
        if request.method == "POST":
            server.exchange.faults.add("html_500", "GET", "/api/v3/openOrders", times=99)
        return original(request)

    server.api.answer = answer
    done = probe("spot", "--base", "BTC")
    assert done.code == 1
    assert "NOT PROVEN that nothing is left: openOrders: transport: HTTP 500: an HTML page" in (
        done.out.splitlines()[-1]
    )
    assert placed(server) == 1
    clean(server, done)


@pytest.mark.parametrize(
    "kind, words",
    [
        ("html_500_after", "HTTP 500: an HTML page"),
        ("http_503_after", "HTTP 503, code -1000"),
        ("code_1006_after", "code -1006"),
        ("code_1007_after", "code -1007"),
        ("lose_reply", "RemoteDisconnected"),
    ],
)
@pytest.mark.parametrize("leg", ["perp", "spot"])
def test_an_unknown_outcome_that_landed(
    server: AsterServer, probe: Probe, kind: str, words: str, leg: str
) -> None:
    server.exchange.faults.add(kind, "POST", "/order")
    done = probe(leg, "--base", "BTC")
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if "UNKNOWN" in line]
    assert words in line
    assert "asking the venue for carry-" in line
    assert "withdrawn (CANCELED)" in done.out
    assert "nothing left: none of 1 test orders rests" in done.out
    assert placed(server) == 1
    clean(server, done)


@pytest.mark.parametrize("kind", ["lose_reply", "http_503_after", "html_500_after"])
def test_a_cancel_without_an_answer(server: AsterServer, probe: Probe, kind: str) -> None:
    server.exchange.faults.add(kind, "DELETE", "/order")
    done = probe("perp", "--base", "BTC")
    assert done.code == 0, done.all
    assert done.out.count("withdrawn (CANCELED)") == 2
    clean(server, done)


def test_the_venues_trial_symbols_are_refused(server: AsterServer, probe: Probe) -> None:
    done = probe("spot", "--base", "TEST")
    assert done.code == 3
    assert "TESTUSDT is a symbol of the venue's own trials: never traded" in done.out
    assert server.api.asked == []


def test_hedge_mode_is_refused(server: AsterServer, probe: Probe) -> None:
    server.exchange.hedging[USER.address.lower()] = None
    done = probe("perp", "--base", "BTC")
    assert done.code == 3
    assert "hedge mode" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    "rights, words",
    [({"can_perp": False}, "may not trade perp"), ({"expires_ms": 1}, "code -2015")],
)
def test_an_agent_without_the_right(
    server: AsterServer, probe: Probe, rights: dict[str, Any], words: str
) -> None:
    server.exchange.approve(AGENT.address, USER.address, **rights)
    done = probe("perp", "--base", "BTC")
    assert done.code in (1, 3)
    assert words in done.out.splitlines()[-1]
    assert placed(server) == 0


def test_the_accounts_own_key_is_refused(server: AsterServer, probe: Probe) -> None:
    done = probe("perp", "--base", "BTC", key=USER)
    assert done.code == 3
    assert "make an agent" in done.err
    assert server.api.asked == []


@pytest.mark.parametrize(
    "account, words",
    [
        (f"agent_key: '0x{AGENT.key.hex()}'", "stands in this file: write where it is"),
        ("api_key: {file: api.key}", "account.api_secret: is missing"),
        (
            "agent_key: {file: agent.key}, api_key: {file: a}, api_secret: {file: b}",
            "stands beside agent_key",
        ),
        ("agent_key: {env: CARRY_NOT_SET_ANYWHERE}", "CARRY_NOT_SET_ANYWHERE is not set"),
    ],
)
def test_credentials_only_by_reference(
    server: AsterServer, probe: Probe, account: str, words: str
) -> None:
    done = probe("perp", "--base", "BTC", account=account)
    assert done.code in (2, 3)
    assert words in done.err
    assert AGENT.key.hex() not in done.all
    assert server.api.asked == []


def test_a_live_network_asks_first(
    server: AsterServer, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer nothing is sent; --yes is the answer of a script."""
    server.exchange.doorman.chain_id = 1666
    for answer in ("", "n\n", "\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        done = probe("perp", "--base", "BTC", network="mainnet")
        assert done.code == 1
        assert "REAL MONEY" in done.all
        assert server.api.asked == []
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert probe("perp", "--base", "BTC", network="mainnet").code == 0
    assert probe("perp", "--base", "BTC", "--yes", network="mainnet").code == 0


def test_addresses_of_the_other_network_are_refused(probe: Probe) -> None:
    done = probe("perp", "--base", "BTC", spot_base_url="https://sapi.asterdex.com")
    assert done.code == 2
    assert "is the mainnet, but network is testnet" in done.err


def test_interrupted_it_withdraws_first(server: AsterServer, tmp_path: Path) -> None:
    """Ctrl-C while an order rests: a process of its own, ended by its number."""
    config = write_config(tmp_path, server.url)
    process = subprocess.Popen(
        [sys.executable, "-m", "carry", "probe", "aster", "perp", "--base", "BTC", "--delay", "50",
         "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CARRY_LOCK_DIR": str(tmp_path / "locks"), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "seen among the open orders" in line:
            assert resting(server) == 1
            process.send_signal(2)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (said, out, err)
    assert "withdrawn (CANCELED)" in out
    assert "nothing left" in out
    assert "Traceback" not in err
    assert resting(server) == 0


def test_the_server_as_a_process_of_its_own(tmp_path: Path) -> None:
    """`python -m carry.exchange.aster` and the command, nothing shared but the socket."""
    process = subprocess.Popen(
        [sys.executable, "-m", "carry.exchange.aster", "--fund", f"{USER.address}=500,500",
         "--agent", f"{AGENT.address}={USER.address}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        config = write_config(tmp_path, url)
        done = subprocess.run(
            [sys.executable, "-m", "carry", "probe", "aster", "spot", "--base", "ETH",
             "--delay", "0", "--config", str(config)],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "CARRY_LOCK_DIR": str(tmp_path / "locks")}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        assert "nothing left" in done.stdout
    finally:
        process.terminate()
        assert process.wait(20) == 0
        if process.stdout is not None:
            process.stdout.close()


def test_orders_are_followed_when_asked_for(server: AsterServer, probe: Probe) -> None:
    done = probe("perp", "--base", "BTC", "--monitor-orders")
    assert done.code == 0, done.all
    assert done.out.count(": NEW, 0 filled") == 2
    clean(server, done)
