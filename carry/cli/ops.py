"""`carry ops`."""

from pathlib import Path

import click

from carry.shell import places

from .where import where


@click.command()
@where
def ops(config: Path | None, state_db: str | None) -> int:
    """The second process: heartbeat, alerts to the log, a snapshot; it never holds the key."""
    from carry.ops.watch import watch

    return watch(places.find(config, state_db, config_needed=True))
