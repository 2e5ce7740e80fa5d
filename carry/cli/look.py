"""Commands that only look: the journal's last state, for people or as JSON."""

import json
import time
from pathlib import Path
from typing import Any

import click

from carry.shell import places
from carry.shell.database import NoJournal
from carry.shell.reader import Reader
from carry.shell.status import report

from .where import where

as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


def _report(config: Path | None, state_db: str | None) -> dict[str, Any]:
    found = places.find(config, state_db, config_needed=False)
    reader = Reader(found.journal)
    try:
        known = reader.state()
    finally:
        reader.close()
    if known is None:
        raise NoJournal(f"{found.journal}: no tick was committed yet; the bot is starting")
    return {**report(*known), "age_s": found.age_s()}


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Columns as wide as they need to be; plain text, so that it pastes anywhere."""
    cells = [head, *[tuple("-" if c is None else str(c) for c in row) for row in rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    return "\n".join(lines)


def _status_text(found: dict[str, Any]) -> str:
    markets = [
        (
            m["coin"],
            m["phase"] + (" NAKED" if m["naked"] else ""),
            m["spot_sz"],
            m["perp_sz"],
            m["delta_usd"],
            m["funding_rate"],
            m["expected_net_bps"],
            m["why"],
        )
        for m in found["markets"]
    ]
    head = ("coin", "phase", "spot", "perp", "delta $", "funding", "net bps", "why")
    pnl = found["pnl"]
    lines = [
        f"{found['mode']}  tick {found['seq']}  {_date(found['now_ms'])}  "
        f"written {found['age_s']} s ago",
        table(head, markets),
        f"net ${pnl['net_usd']}: funding {pnl['funding_usd']} - fees {pnl['fees_usd']} "
        f"+ basis {pnl['basis_usd']} + slippage {pnl['slippage_usd']} + external "
        f"{pnl['external_usd']}; residual {pnl['residual_usd']}",
    ]
    for name, latch in found["latches"].items():
        lines.append(f"latch {name} ({latch['mode']}): {latch['why']}")
    lines += [
        f"order #{i['no']} {i['coin']} {i['side']} {i['leg']} {i['sz']} @ {i['px']}: {i['status']}"
        for i in found["intents_open"]
    ]
    return "\n".join(lines)


def _date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms // 1000))


@click.command()
@where
@as_json
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
def status(config: Path | None, state_db: str | None, as_json: bool, watch: bool) -> None:
    """What is held, earned and waited for."""
    while True:
        found = _report(config, state_db)
        text = json.dumps(found) if as_json else _status_text(found)
        if watch and not as_json:
            click.clear()
        click.echo(text)
        if not watch:
            return
        time.sleep(1)


@click.command()
@where
@as_json
def why(config: Path | None, state_db: str | None, as_json: bool) -> None:
    """Which gate blocks an entry, its value and its threshold."""
    found = _report(config, state_db)
    if as_json:
        wanted = {m["coin"]: m["why"] for m in found["markets"]}
        click.echo(json.dumps({"why": wanted, "gates": found["gates"]}))
        return
    for market in found["markets"]:
        click.echo(f"{market['coin']} {market['phase']}: {market['why']}")
    rows: list[tuple[Any, ...]] = []
    for g in found["gates"]:
        mark = "passes" if g["passes"] else "BLOCKS"
        rows.append((mark, g["market"] or "account", g["name"], g["value"], g["threshold"]))
    click.echo(table(("", "market", "gate", "value", "needs"), rows))


@click.command()
@where
@as_json
def pnl(config: Path | None, state_db: str | None, as_json: bool) -> None:
    """Profit and loss by cause."""
    found = _report(config, state_db)
    if as_json:
        click.echo(json.dumps(found["pnl"]))
        return
    causes = ("net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")
    rows = [(m["coin"], *(m["pnl"][c] for c in causes)) for m in found["markets"]]
    rows.append(("all", *(found["pnl"][c] for c in causes)))
    click.echo(table(("coin", *(c.removesuffix("_usd") for c in causes)), rows))
    click.echo(f"residual (unexplained) {found['pnl']['residual_usd']} usd")


@click.command()
@where
@as_json
def positions(config: Path | None, state_db: str | None, as_json: bool) -> None:
    """Both legs of each market, and what is foreign."""
    found = _report(config, state_db)
    if as_json:
        click.echo(json.dumps(found["markets"]))
        return
    rows = [
        (
            m["coin"],
            m["spot_sz"],
            m["perp_sz"],
            m["delta_usd"],
            "NAKED" if m["naked"] else "hedged",
            m["foreign"]["spot_sz"],
            m["foreign"]["perp_sz"],
            m["reserved_sz"],
        )
        for m in found["markets"]
    ]
    head = ("coin", "spot", "perp", "delta $", "", "foreign spot", "foreign perp", "reserved")
    click.echo(table(head, rows))
