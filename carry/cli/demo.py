"""`carry demo`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from .where import where

PACE_S: Final = 0.04  # between two lines that a person reads as they come
PACED_S_MAX: Final = 20.0  # from then on there is no waiting
SEED: Final = 1


@click.command()
@where
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=SEED, help="Which market.")
def demo(config: Path | None, state_db: str | None, seed: int) -> int:
    """A whole eventful week: entry, drift, repair, a funding flip, a rally, an outage, a restart.

    The real step, loop, venue adapter and journal live it over an exchange in the same process;
    the market and the faults are scripted, what is done about them is not. No network is used.
    Its journal is left in demo.db beside the bot's, or where --state-db says.
    """
    from carry.shell import places
    from carry.storm.demo import Demo
    from carry.storm.invariants import Violation

    found = Path(places.find(config, state_db, config_needed=False).journal)
    file = found if state_db else found.with_name(places.DEMO)
    click.echo("~ the script   < seen   = believed   > asked   ! alert   ? waits for")
    week = Demo(seed, _teller())
    try:
        week.live()
    except Violation as broken:
        click.echo(f"a promise was broken ({broken}); `carry demo --seed {seed}` shows it again")
        return 1
    week.save(file)
    shown = file if len(str(file)) < 40 else file.name
    click.echo(f"""
  Its journal is {file}; it can be looked at and decided again:
    carry pnl --state-db {shown}
    carry replay --state-db {shown}
  Next, a bot of your own with play money:
    ./start.sh""")
    return 0


def _teller() -> Callable[[str], None]:
    """Prints a line; to a terminal at a pace that can be read, within bounds."""
    began_s, terminal = time.monotonic(), sys.stdout.isatty()

    def tell(line: str) -> None:
        click.echo(line)
        if terminal and time.monotonic() - began_s < PACED_S_MAX:
            time.sleep(PACE_S)

    return tell
