"""`carry run`."""

import sys
from pathlib import Path

import click

from carry.core.num import use_exact_context
from carry.shell import bot, places
from carry.shell.connecting import Refused
from carry.shell.loop import Manner
from carry.shell.status import report
from carry.shell.would import would

from .where import where


@click.command()
@where
@click.option("--once", is_flag=True, help="Look once, finish what is open, and end.")
@click.option("--dry-run", is_flag=True, help="Decide everything and send nothing.")
@click.option("--paper", is_flag=True, help="The live market, a simulated account; no key.")
@click.option(
    "--unproven", metavar="WORDS", help="Mainnet before its evidence: the words of OPERATIONS.md."
)
@click.option("--interval-ms", type=click.IntRange(100, 60_000), help="Longest time between looks.")
def run(
    config: Path | None,
    state_db: str | None,
    once: bool,
    dry_run: bool,
    paper: bool,
    unproven: str | None,
    interval_ms: int | None,
) -> int:
    """The bot: look, decide, write down, act, until it is stopped.

    With `venue: embedded` it connects to the exchange of its run folder, and starts one if none
    runs. On a live network --once never starts an entry. --paper trades a simulated account on the
    config's market, with a journal (paper.db) and an account (paper.json) of its own.
    """
    use_exact_context()
    if paper and dry_run:
        raise click.UsageError("--paper sends nothing to a venue by itself; leave --dry-run out")
    where = places.find(config, state_db, config_needed=True, paper=paper)
    assert where.wiring is not None
    manner = Manner(
        interval_ms=interval_ms or where.wiring.interval_ms,
        min_tick_ms=where.wiring.min_tick_ms,
        once=once,
        dry_run=dry_run,
        paper=paper,
        unproven=unproven,
    )
    # In the background nobody reads the console: the log file has the same, and rotates.
    result = bot.run(where, manner, console=once or sys.stdout.isatty())
    if once:
        for one in report(0, result.state)["gates"]:
            click.echo(shown(one))
        if dry_run:
            for sentence in would(result.state):
                click.echo(sentence)
        _left(result)
    if result.refusal is not None:
        raise Refused(result.refusal)
    return 0


def shown(one: dict[str, object]) -> str:
    """A gate on one line."""
    mark = "passes" if one["passes"] else "BLOCKS"
    return (
        f"  {mark}  {one['market'] or 'account'} {one['name']}: {one['value']} ({one['threshold']})"
    )


def _left(result: bot.Result) -> None:
    """Say what a single look leaves for somebody to finish."""
    for intent in result.state.intents.values():
        click.echo(
            f"left open: {intent.coin} order #{intent.no} ({intent.why}); run again to settle it"
        )
    for coin in result.naked:
        click.echo(f"left naked: {coin}; run again, or close it with `carry flatten --now`")
