"""The dashboards: valid for Grafana, made by the code, and nothing on them that does not exist."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from carry.base.codec import codec
from carry.base.secrets import Redactor
from carry.core.state import State
from carry.core.step import step
from carry.ops.history.dashboards import FOLDER, POSTGRES, PROMETHEUS, dashboard, files
from carry.ops.history.panels import BOARDS, Board, Panel
from carry.ops.history.progress import Progress
from carry.ops.history.queries import ACCOUNTS, COINS
from carry.ops.main import memory_of
from carry.ops.metrics import Collector
from carry.ops.routes import LogRoute
from carry.ops.watch import Watch
from carry.shell import places
from carry.shell.logs import EventLog
from carry.shell.reader import Reader
from carry.shell.status import report
from carry.shell.timings import Timings

from .conftest import Database
from .journals import TICKS
from .test_feed import OBSERVATIONS

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "grafana"
HOUR = 3_600
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
SQL = [pair for pair in PANELS if pair[1].sql]


def named(pair: Any) -> str:
    return f"{pair[0].uid}: {pair[1].title}" if isinstance(pair, tuple) else str(pair)


def expanded(sql: str, *, begin: int, end: int, interval_ms: int, coins: str = "'HYPE'") -> str:
    """The statement as Grafana sends it, by its documentation of macros and variables."""
    values = {
        "$__unixEpochFrom()": str(begin),
        "$__unixEpochTo()": str(end),
        "$__interval_ms": str(interval_ms),
        "$account": "1",
        "${market:sqlstring}": coins,
    }
    for name, value in values.items():
        sql = sql.replace(name, value)
    sql = re.sub(
        r"\$__timeFilter\(([^)]*)\)",
        rf"\1 BETWEEN to_timestamp({begin}) AND to_timestamp({end})",
        sql,
    )
    assert "$" not in sql, sql
    return sql


def asked(database: Database, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with database.server.connect(database.name) as db:
        found = db.execute(sql)
        return [column.name for column in found.description], found.fetchall()


@pytest.fixture(scope="session")
def newest(lived: Path) -> tuple[int, dict[str, Any]]:
    """The second of the last tick, and what status shows of it."""
    reader = Reader(str(lived))
    known = reader.state()
    reader.close()
    assert known is not None
    assert known[1].venue_ms is not None
    return known[1].venue_ms // 1000, report(*known)


# --- files --------------------------------------------------------------------------------------


def test_the_files_are_what_the_description_makes() -> None:
    """`python -m carry.ops.history.dashboards` writes them."""
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == files()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafana_knows_every_field(board: Board) -> None:
    """Read into the types of Grafana's own schema and written again, nothing is lost or changed."""
    pytest.importorskip("grafana_foundation_sdk", reason="Grafana's schema needs Python 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    made = without_queries_of_marks(dashboard(board))
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(made)))
    lost = list(missing(made, again, board.uid))
    assert lost == []


def without_queries_of_marks(made: Any) -> Any:
    """The schema says itself that a mark's target "should be a regular DataQuery that depends on
    the selected dashboard" and lists another; `test_variables_and_marks` runs them."""
    for mark in made["annotations"]["list"]:
        assert mark.pop("target")["rawSql"]
    return made


def missing(ours: Any, theirs: Any, at: str) -> Iterator[str]:
    """What of ours is not in theirs; theirs may have defaults besides."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                if value is not None:
                    yield f"{at}.{key} is unknown"
            else:
                yield from missing(value, theirs[key], f"{at}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{at}: {len(ours)} and {len(theirs)} of them"
        for n, pair in enumerate(zip(ours, theirs, strict=False)):
            yield from missing(*pair, f"{at}[{n}]")
    elif ours != theirs:
        yield f"{at}: {ours!r} became {theirs!r}"


def test_the_judge_sees_what_grafana_does_not_know() -> None:
    """A check that finds nothing because everything passes would pass for ever."""
    pytest.importorskip("grafana_foundation_sdk", reason="Grafana's schema needs Python 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    made = without_queries_of_marks(dashboard(BOARDS[0]))
    made["panels"][0]["fieldConfig"]["defaults"]["unti"] = "s"
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(made)))
    assert list(missing(made, again, "x")) == ["x.panels[0].fieldConfig.defaults.unti is unknown"]


def test_every_panel_says_what_it_is_and_has_a_unit() -> None:
    for board, panel in PANELS:
        assert panel.about.endswith("."), named((board, panel))
        assert bool(panel.sql) != bool(panel.prom), named((board, panel))
        if panel.kind in ("timeseries", "stat", "candlestick") and panel.unit == "none":
            counts = ("actions", "budgets", "latches", "alerts", "waits")
            assert any(word in panel.title.lower() for word in counts), named((board, panel))
    titles = [(board.uid, panel.title) for board, panel in PANELS]
    assert len(set(titles)) == len(titles)
    for board in BOARDS:
        thresholds = [panel for panel in board.panels if len(panel.steps) > 1]
        assert thresholds, f"{board.uid} has no threshold"


def test_panels_do_not_overlap() -> None:
    for board in BOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard(board)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_what_is_provisioned_fits_together() -> None:
    """Data sources, folders and rules that are named exist; nothing listens beyond this machine."""
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/carry.yml").read_text())
    assert {(s["uid"], s["type"]) for s in sources["datasources"]} == {
        (one["uid"], one["type"]) for one in (POSTGRES, PROMETHEUS)
    }
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/carry.yml").read_text())
    path = providers["providers"][0]["options"]["path"]
    compose = yaml.safe_load((GRAFANA / "docker-compose.yml").read_text())
    services = compose["services"]
    mounted = {}
    for service in services.values():
        assert "ports" not in service
        assert service["network_mode"] == "host"
        for volume in service["volumes"]:
            source, target = volume.split(":")[:2]
            mounted[target] = source
            if source.startswith("."):
                assert (GRAFANA / source).exists(), source
            else:
                assert source in compose["volumes"]
        for secret in service.get("secrets", ()):
            assert secret in compose["secrets"]
    assert mounted[path] == "./dashboards"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / Path(home).name).exists()
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert "listen_addresses=127.0.0.1" in services["timescaledb"]["command"]
    scrape = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())
    assert scrape["rule_files"][0] in mounted
    assert subprocess.run(["bash", "-n", GRAFANA / "reader.sh"], check=False).returncode == 0
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "--no-index", "grafana/secrets/db_password"], cwd=ROOT
    )
    assert ignored.returncode == 0, "a password could be committed"


# --- names that exist ---------------------------------------------------------------------------


def test_rules_and_panels_name_only_metrics_that_are_served(
    tmp_path: Path, lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATE_DIRECTORY", "LOGS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "carry.db").write_bytes(lived.read_bytes())
    (tmp_path / "config.yaml").write_text("venue: {name: embedded}\nmarkets: [{base: HYPE}]\n")
    where = places.find(None, None, config_needed=True)
    timings = Timings(where.run_folder / "timings.json")
    timings.took("gather", 1)
    timings.write()
    log = EventLog(where.logs, Redactor(), console=False, name="ops.log")
    watch = Watch(where, log, memory_of(where), [LogRoute(log)])
    watch.history = type("Copying", (), {"progress": Progress()})()
    watch.add_worker("history", lambda: 1.0)
    watch.memory.add("telegram_ignored_stranger")
    watch.raised("test", "so that an alert lasts")
    watch.look()
    families = list(Collector(watch, where).collect())
    served = {sample.name for family in families for sample in family.samples}
    labels = {label for f in families for s in f.samples for label in s.labels}
    watch.memory.close()
    rules = (ROOT / "prometheus/carry.rules.yml").read_text()
    expressions = [expr for _, panel in PANELS for expr, _ in panel.prom]
    expressions += re.findall(r"^\s+expr: (.*)$", rules, re.M)
    assert len(expressions) > 15
    # Known only while something is going on, which it is not in this journal.
    seldom = {
        "carry_agent_expiry_timestamp_seconds", "carry_expected_net_ratio",
        "carry_protection_seconds", "carry_next_payment_seconds", "carry_residual_usd",
        "carry_actions_left", "carry_liquidation_distance_ratio",
    }  # fmt: skip
    source = (ROOT / "carry/ops/metrics.py").read_text()
    for expression in expressions:
        for name in re.findall(r"\bcarry_\w+", expression):
            assert name in served or (name in seldom and f'"{name}"' in source), name
    for _, panel in PANELS:
        for expression, legend in panel.prom:
            wanted = re.findall(r"\{\{(\w+)\}\}", legend)
            wanted += [w for g in re.findall(r"by \(([^)]*)\)", expression) for w in g.split(", ")]
            assert set(wanted) <= labels, (panel.title, wanted)


@pytest.mark.parametrize("pair", SQL, ids=named)
def test_every_statement_runs_and_names_its_columns(
    copied: Database, newest: tuple[int, Any], pair: tuple[Board, Panel]
) -> None:
    """Over some hours (seconds) and over a year (hours), with one market and with several."""
    _, panel = pair
    end = newest[0]
    for hours, coins in ((4, "'HYPE'"), (8_760, "'BTC', 'HYPE'")):
        if panel.each:
            coins = "'HYPE'"
        sql = expanded(
            panel.sql, begin=end - hours * HOUR, end=end, interval_ms=hours * HOUR, coins=coins
        )
        columns, rows = asked(copied, sql)
        assert rows or panel.title == "Latency, as copied", "the journal has all of it"
        assert len(set(columns)) == len(columns)
        if panel.kind in ("timeseries", "candlestick"):
            assert columns[0] == "time"
            times = [row[0] for row in rows]
            assert times == sorted(times)
        for column, _ in panel.units:
            assert column in columns
        for column, *_ in panel.draws:
            assert any(re.fullmatch(column, name) for name in columns), column


def test_variables_and_marks(copied: Database, newest: tuple[int, Any]) -> None:
    end = newest[0]
    assert asked(copied, ACCOUNTS)[0] == ["__text", "__value"]
    assert asked(copied, COINS.replace("$account", "1"))[1] == [("HYPE",)]
    counts = {}
    for board in BOARDS:
        for name, _, sql in board.marks:
            full = expanded(sql, begin=end - 8 * HOUR, end=end, interval_ms=1000)
            columns, rows = asked(copied, full)
            assert columns == ["time", "text", "tags"]
            counts[name] = len(rows)
    fills, payments = (
        copied.rows(f"SELECT count(*) FROM carry.{table}")[0][0] for table in ("fill", "funding")
    )
    assert (counts["Fills"], counts["Funding"]) == (fills, payments)
    assert counts["Turns"] >= 4


# --- values -------------------------------------------------------------------------------------

Value = Callable[[dict[str, Any]], Any]


def of_pnl(cause: str) -> Value:
    return lambda found: found["pnl"][cause]


def of_market(name: str) -> Value:
    return lambda found: found["markets"][0][name]


CAUSES = ("net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")
# Panel -> column -> where `carry status --json` and `carry pnl --json` have it.
SAME: dict[str, dict[str, Value]] = {
    "PnL by cause now": {cause: of_pnl(cause) for cause in CAUSES},
    "PnL by cause": {cause: of_pnl(cause) for cause in CAUSES},
    "Equity": {"equity_usd": lambda f: f["equity_usd"], "residual_usd": of_pnl("residual_usd")},
    "Net PnL by market": {"net_usd": lambda f: f["markets"][0]["pnl"]["net_usd"]},
    "Who pays whom": {
        name: of_market(name)
        for name in ("phase", "funding_rate", "forecast_rate", "next_payment_usd")
    },
    "Break-even": {
        "funding_usd": lambda f: f["markets"][0]["pnl"]["funding_usd"],
        "cost_usd": lambda f: str(
            Decimal(f["markets"][0]["pnl"]["fees_usd"])
            - Decimal(f["markets"][0]["pnl"]["slippage_usd"])
        ),
        "expected_net_bps": of_market("expected_net_bps"),
    },
    "Funding rate and forecast": {
        name: of_market(name) for name in ("funding_rate", "forecast_rate")
    },
    "Positions": {
        **{n: of_market(n) for n in ("phase", "spot_sz", "perp_sz", "delta_usd", "band_usd")},
        "naked": of_market("naked"),
        "why": of_market("why"),
        "liq_distance": of_market("liquidation_distance"),
        "liq_px": of_market("liquidation_px"),
    },
    "Delta against band": {n: of_market(n) for n in ("delta_usd", "band_usd")},
    "Distance to liquidation": {"liq_distance": of_market("liquidation_distance")},
    "Mode and latches": {
        "mode": lambda f: f["mode"],
        "latches": lambda f: len(f["latches"]),
        "intents_unknown": lambda f: 0,
        "gates_failing": lambda f: sum(1 for g in f["gates"] if not g["passes"]),
    },
    "Budgets": {
        "actions_left": lambda f: f["budget"]["actions_left"],
        "orders_last_minute": lambda f: f["budget"]["orders_last_minute"],
        "intents_open": lambda f: len(f["intents_open"]),
    },
    "Copied up to": {"copied up to": lambda f: f["now_ms"]},
    "Actions left": {"actions_left": lambda f: f["budget"]["actions_left"]},
}


def equal(shown: Any, told: Any) -> bool:
    return shown == (Decimal(told) if isinstance(shown, Decimal) and told is not None else told)


def at_ticks(lived: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A tick while it holds, one while it leaves, and the last: its second, and its status."""
    reader = Reader(str(lived))
    found = reader.checkpoint(0)
    assert found is not None
    state = found[2]
    for tick in reader.ticks(0):
        state, _ = step(state, OBSERVATIONS.decode(tick.observations))
        if tick.seq in (60, 97, TICKS) and tick.venue_ms is not None:
            # As `carry status` reads it: from the journal.
            kept = codec(State).decode(codec(State).encode(state))
            yield tick.venue_ms // 1000, report(tick.seq, kept)
    reader.close()


def test_the_last_value_of_each_panel_is_what_status_says(copied: Database, lived: Path) -> None:
    """Of every panel that shows what status or pnl show, at three times of the run."""
    panels = {panel.title: panel for _, panel in PANELS}
    phases = set()
    for end, found in at_ticks(lived):
        phases.add(found["markets"][0]["phase"])
        for title, columns in SAME.items():
            sql = expanded(panels[title].sql, begin=end - 4 * HOUR, end=end, interval_ms=20_000)
            names, rows = asked(copied, sql)
            last = dict(zip(names, rows[-1], strict=True))
            for column, told in columns.items():
                if column == "copied up to" and found["seq"] < TICKS:
                    continue  # always of the newest tick, whatever time is on the screen
                assert equal(last[column], told(found)), (title, column, found["seq"])
    assert len(phases) >= 2
    others = {panel.title for _, panel in SQL} - set(SAME)
    # These show what is in no status: prices, books and rows of their own, tested above.
    assert others == {
        "Funding payments", "Funding settled against forecast", "Funding received and paid",
        "$market perp", "$market spot", "Basis", "Spread", "Fills", "Gates that do not pass",
        "Notional against cap, by market", "Notional against cap, all markets", "Alerts",
        "Decisions", "Latency, as copied", "Ages of data, as copied",
    }  # fmt: skip


def test_gates_that_do_not_pass_are_those_of_status(
    copied: Database, newest: tuple[int, dict[str, Any]]
) -> None:
    end, found = newest
    [sql] = [panel.sql for _, panel in PANELS if panel.title == "Gates that do not pass"]
    names, rows = asked(copied, expanded(sql, begin=end - HOUR, end=end, interval_ms=1000))
    at = [names.index(name) for name in ("coin", "name")]
    assert {tuple(row[n] for n in at) for row in rows} == {
        (gate["market"] or "", gate["name"]) for gate in found["gates"] if not gate["passes"]
    }


def test_funding_received_and_paid_is_the_sum_of_receipts(
    copied: Database, newest: tuple[int, dict[str, Any]]
) -> None:
    """And equals what `carry pnl` calls funding, since all of it was the bot's own."""
    end, found = newest
    [sql] = [panel.sql for _, panel in PANELS if panel.title == "Funding received and paid"]
    names, [row] = asked(copied, expanded(sql, begin=end - 8 * HOUR, end=end, interval_ms=1000))
    shown = dict(zip(names, row, strict=True))
    assert shown["net_usd"].quantize(Decimal("1e-6")) == Decimal(found["pnl"]["funding_usd"])
    assert shown["net_usd"] == (shown["received_usd"] or 0) - (shown["paid_usd"] or 0)


def test_the_lines_of_the_ledger_add_up_to_pnl(
    copied: Database, newest: tuple[int, dict[str, Any]]
) -> None:
    """Each cause that has lines, over all of carry.posting, is what `carry pnl` says."""
    causes = ("funding_usd", "fees_usd", "slippage_usd", "external_usd")
    sums = ", ".join(f"sum({cause})" for cause in causes)
    [row] = copied.rows(f"SELECT {sums} FROM carry.posting")
    told = [Decimal(newest[1]["pnl"][cause]) for cause in causes]
    assert [value.quantize(Decimal("1e-6")) for value in row] == told
