"""Metrics: named as Prometheus wants, moving as the run does, on this machine only."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from carry.core.actions import Alert
from carry.core.observations import Observations
from carry.core.state import State
from carry.ops.history.progress import Progress
from carry.ops.main import memory_of
from carry.ops.metrics import serve
from carry.ops.routes import LogRoute
from carry.ops.watch import Watch
from carry.shell import places
from carry.shell.journal import Journal
from carry.shell.timings import Timings

from .conftest import ops_log

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "prometheus"
# A user's tests need no Prometheus; `.ci/run` installs it and allows no skip.
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


class Copying:
    """What copies the journal into a database, as far as the metrics look."""

    progress = Progress()


class Served:
    def __init__(self, where: places.Places, port: int) -> None:
        self.watch = Watch(where, ops_log(where), memory_of(where), [LogRoute(ops_log(where))])
        server = serve(self.watch, where)
        assert server is not None
        self.server, self.port = server, port

    def get(self, path: str = "/metrics", host: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {} if host is None else {"Host": host}
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def value(self, series: str) -> float:
        for line in self.get()[1].splitlines():
            if line.startswith(series + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no {series} in {self.get()[1]}")


def free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def served(place: Callable[..., places.Places], state: State) -> Iterator[Served]:
    port = free_port()
    where = place(f"telemetry: {{port: {port}}}\n")
    made = Served(where, port)
    made.where = where
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.watch.memory.close()


@pytest.fixture
def journal(served: Any, state: State) -> Journal:
    journal = Journal.open(served.where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(state, 1)
    return journal


def test_a_scrape_moves_as_the_run_does(
    served: Any, journal: Journal, state: State, tick: Observations
) -> None:
    assert served.value("carry_ops_up") == 1.0
    journal.commit(tick, state, ())
    served.watch.look()
    assert served.value("carry_ticks_total") == 1.0
    assert served.value('carry_mode{mode="NORMAL"}') == 1.0
    assert served.value('carry_phase{coin="HYPE",phase="HEDGE_OK"}') == 1.0
    assert served.value('carry_perp_size{coin="HYPE"}') == -7.98
    naked = attrs.evolve(
        state,
        carries={
            "HYPE": attrs.evolve(state.carries["HYPE"], perp_sz=state.carries["HYPE"].perp_sz / 2)
        },
    )
    alert = Alert(level="page", name="naked_HYPE", coin="HYPE", text="x")
    journal.commit(tick, naked, (alert,))
    served.watch.look()
    assert served.value("carry_ticks_total") == 2.0
    assert served.value('carry_naked{coin="HYPE"}') == 1.0
    assert served.value('carry_alerts_total{level="page"}') == 1.0
    timings = Timings(served.where.run_folder / "timings.json")
    timings.took("tick", 3_000_000)
    timings.took("order", 700_000_000)
    timings.write()
    assert served.value('carry_tick_duration_seconds_bucket{le="0.005"}') == 1.0
    assert served.value("carry_order_duration_seconds_sum") == 0.7


def test_it_answers_this_machine_only(served: Any) -> None:
    assert served.server.server_address[0] == "127.0.0.1"
    assert served.get(host="evil.example")[0] == 403
    assert served.get(host="localhost:9")[0] == 200
    assert served.get("/status")[0] == 404


def test_a_port_that_is_taken_is_an_alert(served: Any, place: Callable[..., places.Places]) -> None:
    watch = Watch(
        served.where, ops_log(served.where), served.watch.memory, [LogRoute(ops_log(served.where))]
    )
    assert serve(watch, served.where) is None
    assert "bad_metrics_port" in str(served.watch.memory.lasting())


def test_what_is_absent_is_left_out(served: Any) -> None:
    text = served.get()[1]
    assert "carry_ops_up 1.0" in text
    assert "carry_equity_usd" not in text


@needs_promtool
def test_promtool_finds_nothing_in_the_metrics(
    served: Any, journal: Journal, state: State, tick: Observations
) -> None:
    journal.commit(tick, state, (Alert(level="warn", name="resume", coin=None, text="x"),))
    Timings(served.where.run_folder / "timings.json").write()
    served.watch.look()
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=served.get()[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_promtool
def test_each_rule_fires_and_clears() -> None:
    for words in (["check", "rules", "carry.rules.yml"], ["test", "rules", "carry.rules.test.yml"]):
        done = subprocess.run(
            ["promtool", *words],
            cwd=RULES,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_is_without_a_test() -> None:
    rules = yaml.safe_load((RULES / "carry.rules.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((RULES / "carry.rules.test.yml").read_text())["tests"]
    fires = {c["alertname"] for t in tests for c in t["alert_rule_test"] if c["exp_alerts"]}
    clears = {c["alertname"] for t in tests for c in t["alert_rule_test"] if not c["exp_alerts"]}
    assert fires == clears == {rule["alert"] for rule in rules}


def test_rules_ask_for_metrics_that_exist(
    served: Any, journal: Journal, state: State, tick: Observations
) -> None:
    import re

    account = attrs.evolve(state.account, agent_until_at_ms=10**13)
    state = attrs.evolve(state, account=account)
    journal.commit(tick, state, ())
    Timings(served.where.run_folder / "timings.json").write()
    served.watch.memory.add("telegram_ignored_stranger")
    served.watch.add_worker("chat", lambda: 1.0)
    served.watch.history = Copying()
    served.watch.look()
    text = served.get()[1]
    rules = yaml.safe_load((RULES / "carry.rules.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        for name in re.findall(r"\bcarry_\w+", rule["expr"]):
            assert re.search(rf"^{name}[{{ ]", text, re.M), name


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_real_processes_are_scraped(tmp_path: Path) -> None:
    """`carry run` and `carry ops` on play money: ticks, stages and orders count up."""
    port = free_port()
    (tmp_path / "config.yaml").write_text(
        "venue: {name: embedded, speed: 0}\nmarkets: [{base: HYPE}]\n"
        f"telemetry: {{port: {port}}}\n"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("STATE_DIRECTORY", "LOGS_DIRECTORY")},
        "PYTHONPATH": str(ROOT),
        "CARRY_LOCK_DIR": str(tmp_path / "locks"),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "carry", word],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for word in ("run", "ops")
    ]

    def scrape() -> dict[str, float]:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        except OSError:
            return {}
        rows = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    try:
        end = time.monotonic() + 120
        first: dict[str, float] = {}
        while time.monotonic() < end and "carry_order_duration_seconds_count" not in first:
            time.sleep(0.5)
            first = scrape()
            if first.get("carry_order_duration_seconds_count", 0) == 0:
                first.pop("carry_order_duration_seconds_count", None)
        assert first, "nothing was served"
        while (
            time.monotonic() < end and scrape()["carry_ticks_total"] <= first["carry_ticks_total"]
        ):
            time.sleep(0.5)
        later = scrape()
        assert later["carry_ticks_total"] > first["carry_ticks_total"]
        stage = 'carry_stage_duration_seconds_count{stage="commit"}'
        assert later[stage] >= first[stage] > 0
        assert later["carry_tick_age_seconds"] < 60
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=60)
        facts = tmp_path / "data/run/exchange.json"
        if facts.exists():
            os.kill(int(json.loads(facts.read_text())["pid"]), 15)
