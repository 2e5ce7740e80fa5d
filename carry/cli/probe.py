"""`carry probe VENUE spot|perp`: one module a venue, imported only when it is used.

A venue adds a line to `VENUES` and a click command of its name, with the options of `options`.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

from .main import Lazy
from .where import where

F = TypeVar("F", bound=Callable[..., Any])

# venue -> (module under carry.cli, what it does)
VENUES: dict[str, tuple[str, str]] = {
    "hyperliquid": ("probe_hyperliquid", "With the account and agent of the config."),
    "aster": ("probe_aster", "Aster, by an agent (V3) or a legacy key (V1)."),
}


@click.group(cls=Lazy, table=VENUES)
def probe() -> None:
    """Test orders at a venue, far from the market: placed, seen, withdrawn, and none left behind.

    A live network asks for confirmation first.
    """


def above_zero(text: str) -> Decimal:
    """An option's decimal, exact; a usage error unless it is above zero."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is no number") from None
    if not number.is_finite() or number <= 0:
        raise click.BadParameter(f"{text} is not above zero")
    return number


def options(command: F) -> F:
    """What every venue's probe takes."""
    for option in reversed(
        (
            click.argument("leg", type=click.Choice(["spot", "perp"])),
            click.option("--base", metavar="COIN", required=True, help="The coin, such as HYPE."),
            click.option(
                "--notional",
                type=above_zero,
                metavar="USD",
                help="USD of one test order [default: the venue's minimum and a little]",
            ),
            click.option(
                "--iterations",
                type=click.IntRange(1, 100),
                default=1,
                show_default=True,
                help="How often to place and withdraw.",
            ),
            click.option(
                "--delay",
                type=click.FloatRange(0, 60),
                default=1.0,
                show_default=True,
                help="Seconds between placing and withdrawing.",
            ),
            click.option(
                "--offset-ticks",
                type=click.IntRange(1, 100_000),
                help="Ticks away from the touch [default: 5 % of the price]",
            ),
            click.option(
                "--monitor-orders",
                is_flag=True,
                help="Follow the orders on the stream too, and say what it told.",
            ),
            click.option("--yes", is_flag=True, help="Do not ask before a live network."),
        )
    ):
        command = option(command)
    return where(command)
