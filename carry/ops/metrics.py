"""Prometheus metrics: all of `carry status`, how long ticks and orders take, and ops itself.

Served on 127.0.0.1 by code, not by a default: what needs no login must not leave the machine. Names
follow prometheus.io/docs/practices/naming: base units, `_total` for what only grows.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from carry.shell.places import Places
from carry.shell.status import report
from carry.shell.version import program

from .history.progress import Progress
from .watch import Watch

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
PHASES: Final = ("IDLE", "ENTER", "HEDGE_OK", "EXIT")
MODES: Final = ("NORMAL", "REDUCE", "HALT")
LATCH_MODES: Final = ("entries", "reduce", "flatten", "halt")
CAUSES: Final = ("net", "funding", "fees", "basis", "slippage", "external")
# metric, field of a market in the report, divisor to the base unit, what it is
MARKET: Final = (
    ("carry_spot_size", "spot_sz", 1, "Spot that is owned, base units."),
    ("carry_perp_size", "perp_sz", 1, "Perp that is owned, base units; short is below zero."),
    ("carry_delta_usd", "delta_usd", 1, "Spot plus perp at the mid, USD: what is not hedged."),
    ("carry_delta_band_usd", "band_usd", 1, "Delta that is left alone, USD."),
    ("carry_price_usd", "px", 1, "Mid of the perp, USD."),
    ("carry_funding_rate_ratio", "funding_rate", 1, "Predicted funding, fraction an interval."),
    ("carry_forecast_rate_ratio", "forecast_rate", 1, "Forecast funding, fraction an interval."),
    ("carry_next_payment_usd", "next_payment_usd", 1, "The next payment as predicted, USD."),
    ("carry_expected_net_ratio", "expected_net_bps", 10_000, "Expected net carry of an entry."),
    (
        "carry_liquidation_distance_ratio",
        "liquidation_distance",
        1,
        "Rise of the price to liquidation, a fraction.",
    ),
)


def number(text: str | int | None) -> float | None:
    """For the wire format, which knows floats only; None for what is no number."""
    try:
        return None if text is None else float(Decimal(text))
    except ArithmeticError:
        return None


def gauge(name: str, about: str, value: float | None) -> Iterator[Metric]:
    """One that has no labels; absent is left out, never zero."""
    if value is not None:
        yield GaugeMetricFamily(name, about, value=value)


class Collector:
    """Reads the newest state for each scrape, so that what is shown is as old as the bot's tick."""

    def __init__(self, watch: Watch, where: Places) -> None:
        self._watch, self._where = watch, where

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "carry_ops_up", "1 while carry ops answers.", value=1 if not self._watch.problem else 0
        )
        build = GaugeMetricFamily("carry_build_info", "The program.", labels=["version"])
        build.add_metric([program()], 1)
        yield build
        yield from self._ops()
        yield from self._timings()
        latest = self._watch.latest
        if latest is None:
            return
        found = report(*latest)
        yield from self._account(found)
        yield from _markets(found)
        yield from _gates(found)

    def _ops(self) -> Iterator[Metric]:
        memory, watch = self._watch.memory, self._watch
        yield from gauge(
            "carry_tick_age_seconds",
            "Time since a new tick of the bot was seen.",
            watch.silent_s(),
        )
        alerts = CounterMetricFamily("carry_alerts", "Alerts of the bot.", labels=["level"])
        for level, count in memory.marks("alerts_").items():
            alerts.add_metric([level], count)
        yield alerts
        lasting = GaugeMetricFamily(
            "carry_alert_lasting", "1 for each alert that lasts.", labels=["cause", "market"]
        )
        for _, cause, market, _ in memory.lasting():
            lasting.add_metric([cause, market], 1)
        yield lasting
        told: dict[str, int] = {}
        for route, count in memory.marks("delivered_").items():
            kind = route.split("_")[0]
            told[kind] = told.get(kind, 0) + count
        taken = CounterMetricFamily(
            "carry_ops_alerts_delivered", "Alerts that a route took.", labels=["route"]
        )
        for route, count in told.items():
            taken.add_metric([route], count)
        yield taken
        ages = GaugeMetricFamily(
            "carry_ops_worker_age_seconds", "Time since a thread last moved.", labels=["worker"]
        )
        for worker in watch.workers:
            ages.add_metric([worker.name], worker.age_s())
        yield ages
        ignored = CounterMetricFamily(
            "carry_ops_telegram_ignored", "Messages that were not obeyed.", labels=["reason"]
        )
        for why, count in memory.marks("telegram_ignored_").items():
            ignored.add_metric([why], count)
        yield ignored
        if watch.history is not None:
            yield from _history(watch.history.progress)
        commands = memory.mark("telegram_commands")
        yield CounterMetricFamily("carry_ops_telegram_commands", "Commands answered.", commands)
        beats = memory.mark("heartbeats")
        yield CounterMetricFamily("carry_ops_heartbeats", "Times the monitor answered.", beats)

    def _timings(self) -> Iterator[Metric]:
        try:
            facts = json.loads((self._where.run_folder / "timings.json").read_text())
            bounds, stages = facts["bounds_ms"], facts["stages"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        parts = HistogramMetricFamily(
            "carry_stage_duration_seconds", "Time of the parts of a tick.", labels=["stage"]
        )
        for stage, found in stages.items():
            buckets, total = _buckets(bounds, found["counts"]), found["sum_us"] / 1_000_000
            if stage in ("tick", "order"):
                about = {"tick": "Time of whole ticks.", "order": "Time until an order's answer."}
                whole = HistogramMetricFamily(f"carry_{stage}_duration_seconds", about[stage])
                whole.add_metric([], buckets, total)
                yield whole
            else:
                parts.add_metric([stage], buckets, total)
        yield parts

    def _account(self, found: dict[str, Any]) -> Iterator[Metric]:
        mode = GaugeMetricFamily("carry_mode", "1 for the mode in force.", labels=["mode"])
        for name in MODES:
            mode.add_metric([name], 1 if name == found["mode"] else 0)
        yield mode
        reason = GaugeMetricFamily(
            "carry_waits_for", "1 for what it waits for: fault, market, ...", labels=["kind"]
        )
        for kind in ("held", "busy", "market", "pause", "stopped", "fault"):
            reason.add_metric([kind], 1 if kind == found["why"]["kind"] else 0)
        yield reason
        yield CounterMetricFamily("carry_ticks", "Committed ticks.", found["seq"])
        yield from gauge("carry_equity_usd", "Worth of the account.", number(found["equity_usd"]))
        residual = number(found["pnl"]["residual_usd"])
        yield from gauge("carry_residual_usd", "Change that nothing explains.", residual)
        budget = found["budget"]
        left = number(budget["actions_left"])
        yield from gauge("carry_actions_left", "Actions the venue still takes.", left)
        sent = float(budget["orders_last_minute"])
        yield from gauge("carry_orders_last_minute", "Orders that added, last minute.", sent)
        ends = found["agent_until_ms"]
        at_s = None if ends is None else ends / 1000
        yield from gauge("carry_agent_expiry_timestamp_seconds", "When the key ends.", at_s)
        paid = found["to_payment_ms"]
        until = None if paid is None else paid / 1000
        yield from gauge("carry_next_payment_seconds", "Time to the next payment.", until)
        took = found["protected_ms"]
        protected = None if took is None else took / 1000
        yield from gauge("carry_protection_seconds", "From start to protected.", protected)
        yield from gauge("carry_intents_open", "Orders not settled.", len(found["intents_open"]))
        unknown = sum(1 for i in found["intents_open"] if i["status"] == "unknown")
        yield from gauge("carry_intents_unknown", "Orders nobody knows of.", unknown)
        ages = GaugeMetricFamily(
            "carry_data_age_seconds", "Age of a source at the last tick.", labels=["source"]
        )
        for source, ms in found["ages_ms"].items():
            ages.add_metric([source], ms / 1000)
        yield ages
        latch = GaugeMetricFamily("carry_latched", "Latches by what they force.", labels=["mode"])
        for kind in LATCH_MODES:
            set_ = [one for one in found["latches"].values() if one["mode"] == kind]
            latch.add_metric([kind], len(set_))
        yield latch
        pnl = GaugeMetricFamily("carry_pnl_usd", "PnL of all markets.", labels=["cause"])
        for cause in CAUSES:
            pnl.add_metric([cause], number(found["pnl"][f"{cause}_usd"]) or 0.0)
        yield pnl


def _history(found: Progress) -> Iterator[Metric]:
    up = 0.0 if found.problem else 1.0
    yield from gauge("carry_history_up", "1 while the history database takes rows.", up)
    yield from gauge("carry_history_lag_ticks", "Ticks that are not copied.", found.lag_ticks)
    lag_s = found.lag_ms / 1000
    yield from gauge("carry_history_lag_seconds", "Age of the oldest of them.", lag_s)
    yield CounterMetricFamily("carry_history_rows", "Rows written.", found.rows)
    yield CounterMetricFamily("carry_history_blind_ticks", "Ticks without a state.", found.blind)


def _buckets(bounds: list[int], counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative, as the format wants them."""
    total, found = 0, []
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        found.append((str(bound / 1000), float(total)))
    return [*found, ("+Inf", float(sum(counts)))]


def _markets(found: dict[str, Any]) -> Iterator[Metric]:
    for name, field, divisor, about in MARKET:
        family = GaugeMetricFamily(name, about, labels=["coin"])
        for market in found["markets"]:
            value = number(market[field])
            if value is not None:
                family.add_metric([market["coin"]], value / divisor)
        yield family
    phases = GaugeMetricFamily("carry_phase", "1 for the phase.", labels=["coin", "phase"])
    naked = GaugeMetricFamily("carry_naked", "1 while a leg is not hedged.", labels=["coin"])
    pnl = GaugeMetricFamily("carry_market_pnl_usd", "PnL of a market.", labels=["coin", "cause"])
    for market in found["markets"]:
        for phase in PHASES:
            phases.add_metric([market["coin"], phase], 1 if phase == market["phase"] else 0)
        naked.add_metric([market["coin"]], 1 if market["naked"] else 0)
        for cause in CAUSES:
            pnl.add_metric([market["coin"], cause], number(market["pnl"][f"{cause}_usd"]) or 0.0)
    yield from (phases, naked, pnl)


def _gates(found: dict[str, Any]) -> Iterator[Metric]:
    passes = GaugeMetricFamily(
        "carry_gate_passes", "1 while a gate of an entry passes.", labels=["coin", "gate", "kind"]
    )
    value = GaugeMetricFamily("carry_gate_value", "What a gate saw.", labels=["coin", "gate"])
    limit = GaugeMetricFamily("carry_gate_limit", "What a gate needs.", labels=["coin", "gate"])
    for gate in found["gates"]:
        coin = gate["market"] or ""
        passes.add_metric([coin, gate["name"], gate["kind"]], 1 if gate["passes"] else 0)
        seen, needs = number(gate["value"]), number(gate["threshold"].split()[-1])
        if seen is not None and needs is not None:
            value.add_metric([coin, gate["name"]], seen)
            limit.add_metric([coin, gate["name"]], needs)
    yield from (passes, value, limit)


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET /metrics for whoever asks this machine by its own name."""

    registry: CollectorRegistry
    server_version = "carry"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        # A page in a browser here may reach this port under a name of its own (DNS rebinding).
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in HOSTS:
            self.send_error(403)
            return
        if self.path.split("?")[0] != "/metrics":
            self.send_error(404)
            return
        body = generate_latest(self.registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""


def serve(watch: Watch, where: Places) -> http.server.ThreadingHTTPServer | None:
    """Answer scrapes in threads of their own; a port that is taken is an alert, not an end."""
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(watch, where))
    handler = type("Handler", (_Handler,), {"registry": registry})
    port = where.wiring.telemetry.port
    try:
        server = http.server.ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        text = f"port {port} for metrics: {error.strerror}. Name another in telemetry.port"
        watch.raised("bad_metrics_port", text, "warn")
        return None
    server.daemon_threads = True
    watch.ended("bad_metrics_port")
    threading.Thread(target=server.serve_forever, name="ops-metrics", daemon=True).start()
    return server
