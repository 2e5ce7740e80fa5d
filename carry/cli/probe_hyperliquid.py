"""`carry probe hyperliquid spot|perp`."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context

from .probe import options


@click.command()
@options
def hyperliquid(config: Path | None, state_db: str | None, yes: bool, **asked: Any) -> None:
    """Test orders on Hyperliquid with the account and agent of the config.

    Places a post-only BUY and SELL far from the market, shows them among the open orders, withdraws
    them and proves that none is left. A spot SELL without coins is skipped. No bot of the account
    may run meanwhile.
    """
    from carry.core.types import Leg
    from carry.shell import places, probing
    from carry.shell.probe_hyperliquid import Wanted

    use_exact_context()
    notional: Decimal | None = asked["notional"]
    wanted = Wanted(
        leg=Leg(asked["leg"]),
        base=asked["base"],
        notional=notional,
        offset_ticks=asked["offset_ticks"],
        monitor=asked["monitor_orders"],
    )
    found = places.find(config, state_db, config_needed=True)
    if probing.is_live(found) and not yes:
        probing.ask(found, lambda question: click.confirm(question, abort=True))
    code = probing.hyperliquid(found, wanted, asked["iterations"], asked["delay"], click.echo)
    click.get_current_context().exit(code)
