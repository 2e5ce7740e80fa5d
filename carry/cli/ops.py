"""`carry ops`."""

from pathlib import Path

import click

from carry.shell import places

from .where import where


@click.command()
@where
def ops(config: Path | None, state_db: str | None) -> int:
    """The second process: alerts, Telegram, metrics, heartbeat; it never holds the key."""
    from carry.ops.main import run

    return run(places.find(config, state_db, config_needed=True))
