"""Commands that read the books: what was earned, by cause, for any interval. They change nothing,
and need no bot.
"""

import json
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context
from carry.shell import places, screen

from . import progress
from .look import as_json
from .where import where

Report = dict[str, Any]
CAUSES = ("net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")
PLACES = 4
since_until = (
    click.option("--from", "since", metavar="TIME", help="From this UTC date or time on."),
    click.option("--to", "until", metavar="TIME", help="Up to, and without, this UTC time."),
)


@click.command()
@where
@click.option("--by", type=click.Choice(["hour", "day", "carry", "market"]), help="Cut up by.")
@click.option(
    "--statement", type=click.Choice(["day", "month"]), help="A statement of each day or month."
)
@since_until[0]
@since_until[1]
@as_json
def pnl(
    config: Path | None,
    state_db: str | None,
    by: str | None,
    statement: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Profit and loss by cause, of any interval, every cent explained.

    net = funding - fees + basis + slippage + external. The rows of --by add up to the whole, which
    for all time is what `carry status` shows. TIME: 2026-05-03 or 2026-05-03T14:00Z.
    """
    if by and statement:
        raise click.UsageError("--by and --statement are two tables: give one of them")
    from carry.research import accounts
    from carry.research import statement as told

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    books = accounts.read(found.journal)
    from_ms, to_ms = told.span(books, since, until)
    if statement:
        made = told.statements(books, statement, from_ms, to_ms)
        click.echo(json.dumps(made) if as_json else "\n\n".join(_statement(one) for one in made))
        return
    whole = told.whole(books, from_ms, to_ms)
    rows = told.rows(books, by or "market", from_ms, to_ms)
    if as_json:
        click.echo(json.dumps({**whole, **({"by": by, "rows": rows} if by else {})}))
        return
    label = by or "market"
    lines = [(*_label(label, row), *_figures(row)) for row in rows]
    head = ("began", "flat", "coin") if label == "carry" else (label,)
    blank = ("",) * (len(head) - 1)
    lines.append(("all", *blank, *_figures(whole)))
    click.echo(screen.table((*head, *(c.removesuffix("_usd") for c in CAUSES)), lines))
    residual = screen.cut(whole["residual_usd"], PLACES)
    click.echo(
        f"residual (unexplained) {'unknown' if residual is None else residual} usd, transfers "
        f"{screen.cut(whole['transfers_usd'], 2)} usd; {screen.date(whole['from_ms'])} to "
        f"{screen.date(whole['to_ms'])}"
    )


def _label(label: str, row: Report) -> tuple[Any, ...]:
    if label == "carry":
        began, flat = row["began_ms"], row["flat_ms"]
        return (
            "-" if began is None else screen.date(began)[:16],
            "held" if flat is None else screen.date(flat)[:16],
            row["coin"],
        )
    if label == "market":
        return (row["coin"],)
    text = str(row[label])
    return (text[:10] if label == "day" else text[:16].replace("T", " "),)


def _figures(row: Report) -> tuple[str | None, ...]:
    return tuple(screen.cut(row[name], PLACES) for name in CAUSES)


def _statement(found: Report) -> str:
    """One period as a page that a person reads from top to bottom."""
    first, last = (screen.date(found[name])[:10] for name in ("from_ms", "to_ms"))
    still = ", still running" if found["open"] else ""
    paid = found["payments"]
    rows: list[tuple[Any, ...]] = [
        ("equity before", _usd(found["equity_before_usd"]), ""),
        ("transfers", _usd(found["transfers_usd"]), f"{len(found['transfers'])} in and out"),
        ("funding", _usd(found["funding_usd"]), _payments(paid)),
        ("fees", _usd(found["fees_usd"], minus=True), _fees(found)),
        ("basis", _usd(found["basis_usd"]), "what is held, by its price"),
        ("spread and slippage", _usd(found["slippage_usd"]), "fills against the mid"),
        ("external", _usd(found["external_usd"]), _external(found)),
        ("net", _usd(found["net_usd"]), "of funding down to external"),
        ("residual", _usd(found["residual_usd"]), "what nothing explains"),
        ("equity after", _usd(found["equity_after_usd"]), _held(found)),
    ]
    return f"{first} to {last} UTC{still}\n" + screen.table(("", "usd", ""), rows)


def _usd(text: str | None, minus: bool = False) -> str:
    if text is None:
        return "unknown"
    shown = screen.cut(text, PLACES) or ""
    if not minus or shown == "0":
        return shown
    return shown[1:] if shown.startswith("-") else f"-{shown}"


def _payments(paid: Report) -> str:
    expected = screen.cut(paid["expected_usd"], PLACES)
    text = f"{paid['paid']} payments, expected {expected} by rate, size and oracle price"
    if paid["missing"]:
        first = paid["missing"][0]
        text += (
            f"; {len(paid['missing'])} MISSING, first {first['coin']} "
            f"{screen.date(first['at_ms'])[:16]}"
        )
    return text


def _fees(found: Report) -> str:
    parts = [f"{show} {token}" for token, show in found["fees_by_token"].items()]
    turnover = screen.cut(found["turnover_usd"], 2)
    return f"{found['fills']} fills of {turnover} usd: {', '.join(parts) or 'none'}"


def _external(found: Report) -> str:
    named = [f"{e['coin']} {e['leg']} {e['sz']}" for e in found["external"]]
    return ", ".join(named) or "nobody else traded what is held"


def _held(found: Report) -> str:
    held = [
        f"{h['coin']} spot {h['spot_sz']} perp {h['perp_sz']}"
        for h in found["held"]
        if (h["spot_sz"], h["perp_sz"]) != ("0", "0")
    ]
    return f"holding {', '.join(held)}" if held else "holding nothing"


@click.command()
@where
@click.option("--format", "form", type=click.Choice(["csv"]), default="csv", show_default=True)
@click.option("--year", type=click.IntRange(2020, 2200), help="One year, UTC [default: all].")
@click.option(
    "--lots",
    type=click.Choice(["fifo", "average"]),
    default="fifo",
    show_default=True,
    help="Which part of what is held is sold first.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="[default: stdout]"
)
def export(
    config: Path | None,
    state_db: str | None,
    form: str,
    year: int | None,
    lots: str,
    output: Path | None,
) -> None:
    """The books as double entries: fills, fees, funding, lots, transfers.

    Each transaction sums to zero, and income less expenses is the net of `carry pnl`. Accounts and
    signs are explained in docs/ACCOUNTS.md.
    """
    from carry.research import accounts
    from carry.research import export as entries
    from carry.research import statement as told

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    books = accounts.read(found.journal)
    since, until = (f"{year}-01-01", f"{year + 1}-01-01") if year else (None, None)
    made = entries.rows(books, *told.span(books, since, until), lots)
    text = entries.as_csv(made)
    if output is None:
        click.echo(text, nl=False)
        return
    output.write_text(text, encoding="utf-8")
    net = screen.cut(str(entries.net_usd(made)), PLACES)
    click.echo(f"{output}: {len(made)} rows, net {net} usd, as `carry pnl` says")


@click.command()
@where
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
)
def report(config: Path | None, state_db: str | None, output: Path) -> None:
    """One page with charts of what was earned, held, paid and risked; opens without a network.

    Needs the extra `report`.
    """
    from carry.research import accounts
    from carry.research import report as charts

    use_exact_context()
    found = places.find(config, state_db, config_needed=False)
    with progress.bar("report") as done:
        text = charts.make(accounts.read(found.journal), done)
    charts.write(output, text)
    click.echo(f"{output}: {len(text) // 1_000_000} MB, open it in a browser")
