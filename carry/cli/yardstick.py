"""`carry yardstick`."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="DIR",
              help="A folder of recordings: funding_<coin>[_8h].csv[.gz].")
@click.option("--coins", help='Markets joined by "," [default: all of the folder].')
@click.option("--from", "since", metavar="DATE", help="First decision [default: first print].")
@click.option("--to", "until", metavar="DATE", help="End [default: the last print].")
@click.option("--cost", "costs_bps", multiple=True, type=click.FloatRange(0, 1000), metavar="BPS",
              help="A round trip without the spread; may be repeated [default: 11 17 23 28].")
@click.option("--spread", "spreads", multiple=True, metavar="COIN=BPS",
              help="A market's spread; may be repeated [default: measured ones, else 5].")
@click.option("--subsets", is_flag=True, help="Every subset of the markets, not each and all.")
@click.option("--walk-forward", is_flag=True,
              help="Choose the figures at each year's start, and judge them on the year.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Judge the strategy of this config [default: the shipped one].")
@click.option("--positions", type=click.Path(path_type=Path), metavar="FILE",
              help="Write what the bot would hold at the first cost: time,coin,weight.")
@click.option("--score", "scored", type=click.Path(path_type=Path), metavar="FILE",
              help="Score these positions instead of the bot.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def yardstick(
    data: Path,
    coins: str | None,
    since: str | None,
    until: str | None,
    costs_bps: tuple[float, ...],
    spreads: tuple[str, ...],
    subsets: bool,
    walk_forward: bool,
    config: Path | None,
    positions: Path | None,
    scored: Path | None,
    as_json: bool,
) -> int:
    """How much of the funding that hindsight could have had the bot's rule captures.

    Hour by hour, one unit, one market at most: a decision knows the prints so far and is paid the
    next. It judges forecast, cost, horizon, edge and minimum hold, not fills.
    """
    from carry.exchange.recorded import BadRecording, parse_date
    from carry.research import yardstick_report as reports
    from carry.research.choosing import NoNumpy
    from carry.research.positions import BadPositions
    from carry.research.yardstick import read_panel

    use_exact_context()
    hours = [None if at is None else at // 3_600_000 for at in map(parse_date, (since, until))]
    try:
        panel = read_panel(data, tuple(coins.split(",")) if coins else (), hours[0], hours[1])
        asked = reports.Asked(
            costs_bps=costs_bps or (11.0, 17.0, 23.0, 28.0),
            spreads=_spreads(spreads),
            strategy=_strategy(config),
            subsets=subsets,
        )
        if scored is not None:
            return _scored(panel, asked, scored, as_json)
        if positions is not None:
            _write(panel, asked, positions)
        with click.progressbar(length=1000, label="yardstick", file=sys.stderr) as bar:

            def told(done: int, of: int) -> None:
                bar.update(1000 * done // max(1, of) - bar.pos)

            if walk_forward:
                at = costs_bps or (17.0, 23.0)
                rows = reports.walk_forward(panel, at, told)
                made: Any = rows
                text = reports.walk_text(rows, at)
            else:
                made = reports.report(panel, asked, told)
                text = reports.text(made)
    except (BadRecording, BadPositions, NoNumpy, ValueError) as error:
        raise click.UsageError(str(error)) from None
    click.echo(json.dumps(made, indent=2) if as_json else text)
    return 0


def _spreads(words: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for word in words:
        coin, _, bps = word.partition("=")
        try:
            found[coin] = float(bps)
        except ValueError:
            raise click.UsageError(f"--spread {word}: write COIN=BPS, such as BTC=1.5") from None
    return found


def _strategy(config: Path | None) -> Any:
    from carry.core.policy import Strategy
    from carry.shell.config_file import load

    return Strategy() if config is None else load(config)[0].strategy


def _write(panel: Any, asked: Any, path: Path) -> None:
    from carry.research.holding import bot
    from carry.research.positions import write_positions
    from carry.research.yardstick import Costs

    rows = bot(panel, Costs(asked.costs_bps[0], asked.spreads), asked.strategy)
    count = write_positions(path, rows)
    click.echo(f"{path}: {count} rows at {asked.costs_bps[0]:g} bps", err=True)


def _scored(panel: Any, asked: Any, path: Path, as_json: bool) -> int:
    from carry.research.positions import read_positions
    from carry.research.yardstick import Costs, score
    from carry.research.yardstick_report import as_json as plain
    from carry.research.yardstick_report import percent
    from carry.shell.screen import table

    rows = read_positions(path)
    found = [(c, score(panel, Costs(c, asked.spreads), rows)) for c in asked.costs_bps]
    if as_json:
        click.echo(json.dumps([{"cost_bps": c, **plain(s)} for c, s in found], indent=2))
        return 0
    click.echo(table(
        ("bps", "optimum", "net", "capture", "round trips", "time in"),
        [(f"{c:g}", percent(s.optimum), percent(s.net), percent(s.capture), f"{s.trips:g}",
          percent(s.hours_in / s.hours)) for c, s in found],
    ))
    most = max(s.weight_max for _, s in found)
    if most > 1.0001:
        click.echo(f"Up to {most:.4f} of the unit was held at once: the optimum holds 1.")
    return 0
