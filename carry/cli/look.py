"""Commands that only look: the journal's last state, for people or as JSON."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context
from carry.shell import places, screen
from carry.shell.database import JournalRefused, NoJournal
from carry.shell.reader import Reader
from carry.shell.status import report

from .where import where

ALERTS_SHOWN = 3
as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


def _report(config: Path | None, state_db: str | None) -> dict[str, Any]:
    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    reader = Reader(found.journal)
    try:
        known = reader.state()
        alerts = reader.last_alerts(ALERTS_SHOWN)
    finally:
        reader.close()
    if known is None:
        raise NoJournal(f"{found.journal}: no tick was committed yet; the bot is starting")
    more = {"age_s": found.age_s(), "alerts": alerts, "history": found.history()}
    return {**report(*known), **more}


@click.command()
@where
@as_json
@click.option("--watch", is_flag=True, help="A live screen, until Ctrl-C.")
def status(config: Path | None, state_db: str | None, as_json: bool, watch: bool) -> None:
    """What is held, earned and waited for."""
    if watch and not as_json:
        _watch(config, state_db)
        return
    while True:
        found = _report(config, state_db)
        click.echo(json.dumps(found) if as_json else screen.status(found))
        if not watch:
            return
        time.sleep(1)


def _watch(config: Path | None, state_db: str | None) -> None:
    """The status once a second on one screen; it outlives a bot that is down or just starting."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            try:
                text = screen.status(_report(config, state_db))
            except JournalRefused as refused:
                text = str(refused)
            shown = Text(text, overflow="fold")
            for word, style in WORDS.items():
                shown.highlight_words([word], style=style)
            live.update(shown, refresh=True)
            time.sleep(1)


WORDS = {
    "FAULT": "bold red",
    "STOPPED": "bold yellow",
    "HALT": "bold red",
    "NAKED": "bold red",
    "REDUCE": "bold yellow",
    "NORMAL": "bold green",
    "HEDGE_OK": "green",
}


@click.command()
@where
@as_json
@click.option("--all", "every", is_flag=True, help="Each market and each gate with its value.")
def why(config: Path | None, state_db: str | None, as_json: bool, every: bool) -> None:
    """In one sentence what it waits for: the gate that blocks, its value and how far it is."""
    found = _report(config, state_db)
    if as_json:
        wanted = {m["coin"]: m["why"] for m in found["markets"]}
        click.echo(json.dumps({"sentence": found["why"], "why": wanted, "gates": found["gates"]}))
        return
    click.echo(found["why"]["text"])
    age = found["age_s"]
    if age is not None and age > STALE_S:
        click.echo(f"(this picture is {screen.lasting(age * 1000)} old: the bot is down or stuck)")
    if not every:
        return
    for market in found["markets"]:
        click.echo(f"{market['coin']} {market['phase']}: {market['why']}")
    rows: list[tuple[Any, ...]] = []
    for g in found["gates"]:
        mark = "passes" if g["passes"] else "BLOCKS"
        rows.append((mark, g["market"] or "account", g["name"], g["value"], g["threshold"]))
    click.echo(screen.table(("", "market", "gate", "value", "needs"), rows))


STALE_S = 120


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
    click.echo(screen.table(head, rows))


@click.command()
@where
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=40, help="How many at first.")
@click.option("--json", "as_json", is_flag=True, help="The lines as they are in the file.")
def logs(
    config: Path | None, state_db: str | None, follow: bool, lines: int, as_json: bool
) -> None:
    """The bot's log, its newest lines last."""
    found = places.find(config, state_db, config_needed=False)
    path = found.logs / "carry.log"
    if not path.exists():
        raise NoJournal(f"{path}: there is no log yet. Start the bot with `carry run`")
    for line in _tail(path, lines, follow):
        if text := line if as_json else _told(line):
            click.echo(text)


def _tail(path: Path, count: int, follow: bool) -> Iterator[str]:
    """The last lines of a file, then what is added, across the file's rotation."""
    file = path.open(encoding="utf-8", errors="replace")
    for line in file.read().splitlines()[-count:] if count else []:
        yield line
    file.seek(0, 2)
    while follow:
        line = file.readline()
        if line:
            yield line.rstrip("\n")
        elif path.exists() and path.stat().st_ino != _inode(file):
            file.close()
            file = path.open(encoding="utf-8", errors="replace")
        else:
            time.sleep(0.3)
    file.close()


def _inode(file: Any) -> int:
    import os

    return os.fstat(file.fileno()).st_ino


def _told(line: str) -> str:
    """An event on one line; a tick as it was shown at the console."""
    try:
        row = json.loads(line)
        at_ms, event = row.pop("at_ms"), row.pop("event")
    except (ValueError, KeyError, AttributeError):
        return line
    when = "-" if at_ms is None else screen.date(at_ms)[11:19]
    if event == "tick":
        return f"{when} {row.get('lines', '')}"
    return f"{when} {event}  " + "  ".join(f"{key} {value}" for key, value in row.items())
