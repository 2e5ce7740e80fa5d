"""`carry doctor`."""

import json
import re
from pathlib import Path

import click

from carry.core.num import use_exact_context

from .where import where


@click.command()
@where
@click.option("--address", metavar="A", help="Look at this account [default: the config's]")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(
    config: Path | None, state_db: str | None, address: str | None, as_json: bool
) -> int:
    """Whether live trading could start, what would be done now, and what blocks it. Read-only.

    Exits 0 only if live trading could start.
    """
    from carry.shell import doctor as look
    from carry.shell import places

    use_exact_context()
    if address is not None and not re.fullmatch(r"0x[0-9a-fA-F]{40}", address):
        raise click.BadParameter(f"{address[:50]} is no account: 0x and 40 hex digits")
    report = look.consult(places.find(config, state_db, config_needed=True), address)
    if as_json:
        click.echo(json.dumps(look.as_json(report)))
    else:
        for line in look.lines(report, lambda level, text: click.style(text, fg=level)):
            click.echo(line)
    return 0 if report.sound else 1
