"""`carry db migrate`."""

import json
from pathlib import Path

import click

from carry.shell import places

from .where import where


@click.group()
def db() -> None:
    """The history database: make or upgrade its tables."""


@db.command()
@where
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--again", is_flag=True, help="Let `carry ops` copy the whole journal once more.")
def migrate(config: Path | None, state_db: str | None, as_json: bool, again: bool) -> None:
    """Make the tables at history.dsn, or bring them up to this version. Can be run again."""
    from carry.ops.history.prepare import prepare

    done = prepare(places.find(config, state_db, config_needed=True), again)
    if as_json:
        facts = {"kind": done.kind, "before": done.before, "after": done.after}
        click.echo(json.dumps({**facts, "said": list(done.said)}))
        return
    for sentence in done.said:
        click.echo(sentence)
    if done.before == done.after:
        click.echo(f"{done.kind}: version {done.after}, nothing to do")
    else:
        click.echo(f"{done.kind}: from version {done.before} to {done.after}")
