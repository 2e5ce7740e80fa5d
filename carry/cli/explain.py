"""`carry explain`."""

import json
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context
from carry.shell import places, screen

from . import progress
from .look import as_json
from .where import where


@click.command()
@where
@as_json
@click.option(
    "--at",
    "when",
    metavar="TIME|SEQ",
    help="A tick's number, or a time such as 2026-05-03T14:00Z [default: the newest tick].",
)
@click.option("--no-flips", is_flag=True, help="Without what would have had to differ: faster.")
def explain(
    config: Path | None, state_db: str | None, as_json: bool, when: str | None, no_flips: bool
) -> None:
    """One tick of the past: what was known, each gate, what was asked and what came of it."""
    from carry.research.bundle import opened
    from carry.research.explain import explain as explained

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    with progress.bar("explain") as done, opened(found.journal) as journal:
        report = explained(journal, when, turns=not no_flips, done=done)
    click.echo(json.dumps(report) if as_json else "\n".join(_lines(report)))


def _lines(found: dict[str, Any]) -> list[str]:
    """The report for a person, in the order of the question: what, seen, judged, done, if not."""
    when = "no time yet" if found["at_ms"] is None else screen.date(found["at_ms"])
    lines = [f"tick {found['seq']}  {when}  {found['mode']}  policy {found['policy']}"]
    lines += [found["note"]] if found["note"] else []
    lines += [found["why"], *(f"latch {name}: {why}" for name, why in found["latches"].items())]
    lines += [screen.money(found["pnl"]), "", *found["transcript"], "", "Seen"]
    lines += [f"  {line}" for line in found["observations"]]
    for market in found["markets"]:
        lines += ["", *_market(market)]
    rows = [
        (
            "passes" if g["passes"] else "BLOCKS",
            g["market"] or "account",
            g["name"],
            g["value"],
            g["threshold"],
            g["distance"],
        )
        for g in found["gates"]
    ]
    lines += ["", screen.table(("", "market", "gate", "value", "needs", "distance"), rows)]
    lines += ["", "Asked" if found["actions"] else "Asked for nothing"]
    for action in found["actions"]:
        lines += [f"  {action['text']}", *(f"    {fate}" for fate in action["fate"])]
    lines += ["", *_flips(found["flips"])]
    return lines


def _market(m: dict[str, Any]) -> list[str]:
    lines = [f"{m['coin']} {m['phase']}: spot {m['spot_sz']}, perp {m['perp_sz']}"]
    for leg, book in m["books"].items():
        if book is not None:
            lines.append(
                f"  {leg} {book['bid']}/{book['ask']}, spread {book['spread_bps']} bp, "
                f"{book['age_ms']} ms old"
            )
    if m["context"] is not None:
        c = m["context"]
        lines.append(
            f"  mark {c['mark_px']}, oracle {c['oracle_px']}, funding predicted "
            f"{screen.percent(c['funding_rate'], 6)} %, {c['age_ms']} ms old"
        )
    if m["forecast"] is not None:
        f = m["forecast"]
        lines.append(
            f"  forecast {screen.percent(f['rate'], 6)} % an interval, "
            f"{screen.percent(f['apr'], 2)} % a year, of {f['settled']} settled rates, "
            f"weights halving every {f['halflife_h']} h; at or below 0 for {f['negative_h']} h"
        )
    if m["entry"] is not None:
        e = m["entry"]
        lines.append(
            f"  entering {e['sz']} (${e['notional_usd']}) costs {e['total_bps']} bp: in "
            f"{e['entry_fees_bps']} fees + {e['entry_slippage_bps']} slippage, out "
            f"{e['exit_fees_bps']} + {e['exit_slippage_bps']}"
        )
        if e["expected_net_bps"] is not None:
            even = "never" if e["even_after_h"] is None else f"after {e['even_after_h']} h"
            lines.append(
                f"  income {e['income_bps']} bp over {e['horizon_h']} h, net "
                f"{e['expected_net_bps']} bp, needs {e['buffer_bps']}; even {even}"
            )
    if m["staying"] is not None:
        s = m["staying"]
        lines.append(
            f"  staying: {screen.percent(s['forecast_apr'], 2)} % a year (leaves below "
            f"{screen.percent(s['exit_threshold_apr'], 2)} %) or at or below 0 for "
            f"{s['negative_h']} h (leaves at {s['funding_negative_hours']}), and only if its "
            f"{s['income_bps']} bp over the horizon lose more than the {s['leaving_costs_bps']} bp "
            f"of leaving and coming back; held {s['held_h']} h of at least {s['min_hold_h']}"
        )
    return lines


def _flips(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return ["What would have had to differ: nothing that was tried turns this tick"]
    rows = [(f["what_was_seen"], f["value"], f["flips_at"], f["away"], f["then"]) for f in found]
    head = ("seen", "value", "turns at", "away", "then")
    return ["What would have had to differ, one thing at a time", screen.table(head, rows)]
