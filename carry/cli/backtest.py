"""`carry backtest`."""

import json
from pathlib import Path

import attrs
import click

from carry.core.num import use_exact_context

DEFAULTS = "defaults, the best market at a time"


@click.command()
@click.option(
    "--data", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path),
    help="Recorded funding and prices (docs/BACKTEST.md says how files are named).",
)  # fmt: skip
@click.option("--coins", metavar="A,B", help="Markets [default: the config's, else all in DIR]")
@click.option("--from", "since", metavar="DATE", help="First hour, UTC [default: the first].")
@click.option("--to", "until", metavar="DATE", help="End, UTC, itself left out [default: the last]")
@click.option(
    "--config", metavar="FILE", type=click.Path(path_type=Path),
    help="The policy [default: every key's default, and room for one market at a time]",
)  # fmt: skip
@click.option("--capital", type=click.FloatRange(min=50), metavar="USD",
              help="Money in the account [default: what the policy's size needs]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--html", "page", metavar="FILE", type=click.Path(path_type=Path),
    help="Write a page with charts (the extra `report`).",
)  # fmt: skip
@click.option(
    "--positions", metavar="FILE", type=click.Path(path_type=Path),
    help="Write the decided weights as CSV: time,coin,weight.",
)  # fmt: skip
def backtest(
    folder: Path,
    coins: str | None,
    since: str | None,
    until: str | None,
    config: Path | None,
    capital: float | None,
    as_json: bool,
    page: Path | None,
    positions: Path | None,
) -> int:
    """The bot itself over recorded funding and prices: what it would have earned, and why."""
    from decimal import Decimal

    from carry.core.policy import Policy
    from carry.exchange.recorded import parse_date
    from carry.research import backtest_html, backtest_text
    from carry.research.backtest import backtest as run
    from carry.research.backtest import one_at_a_time
    from carry.research.report_page import plotly
    from carry.shell.config_file import load

    from .progress import bar

    if page is not None:
        plotly("offline")  # what is missing is said before the work, not after it
    use_exact_context()
    policy = one_at_a_time(Policy()) if config is None else load(config)[0]
    names = tuple(name for name in (coins or "").split(",") if name) or policy.coins
    with bar("backtest") as told:
        found = run(
            folder,
            names,
            attrs.evolve(policy, source=DEFAULTS if config is None else str(config)),
            since_ms=parse_date(since),
            until_ms=parse_date(until),
            capital_usd=None if capital is None else Decimal(str(capital)),
            progress=told,
        )
    if page is not None:
        _write(page, backtest_html.make(found))
    if positions is not None:
        _write(positions, backtest_text.weights_csv(found))
    click.echo(
        json.dumps(backtest_text.as_json(found), indent=2)
        if as_json
        else backtest_text.table(found)
    )
    return 1 if found.residual_usd or found.bot.crashes else 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}; name another file") from None
