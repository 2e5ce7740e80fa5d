"""`carry config check` and `carry config show`."""

import json
from pathlib import Path
from typing import Any

import click

from carry.core.policy import Policy
from carry.shell import places

from . import progress
from .look import as_json
from .where import where


@click.group()
def config() -> None:
    """Check or show the config."""


@config.command()
@where
@as_json
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Recorded funding and prices: predict by running these settings over them.",
)
@click.option(
    "--days", type=click.IntRange(min=30), default=90, help="How many, to the recording's end [90]."
)
def check(
    config: Path | None, state_db: str | None, as_json: bool, data: Path | None, days: int
) -> None:
    """Read the config and say what is wrong with it, if anything; with --data what to expect."""
    found = places.find(config, state_db, config_needed=True)
    assert found.policy is not None
    assert found.wiring is not None
    where = found.wiring.venue
    network = "" if where.embedded else f" ({where.network})"
    told: dict[str, Any] = {
        "config": str(found.config),
        "venue": where.name,
        "network": where.network,
        "markets": list(found.policy.coins),
        "journal": found.journal,
    }
    if not as_json:
        click.echo(
            f"{found.config}: good. {where.name}{network}, {', '.join(found.policy.coins) or '-'}"
        )
        click.echo(f"journal: {found.journal}")
        if data is None:
            click.echo("What to expect of it: `carry config check --data DIR` with recordings")
    if data is not None:
        predicted, lines = _predict(data, found.policy, days)
        told["prediction"] = predicted
        if not as_json:
            click.echo("\n".join(lines))
    if as_json:
        click.echo(json.dumps(told))


def _predict(data: Path, policy: Policy, days: int) -> tuple[dict[str, Any], list[str]]:
    from carry.core.num import use_exact_context
    from carry.research import predict

    use_exact_context()
    with progress.bar("predict") as done:
        it = predict.predict(data, policy, days, done=done)
    return predict.as_json(it), predict.told(it)


@config.command()
@where
def show(config: Path | None, state_db: str | None) -> None:
    """Every value in force and where it comes from. Secrets are references only."""
    from carry.core.num import use_exact_context
    from carry.shell.config_docs import keys
    from carry.shell.config_file import POLICY_FIELDS, WIRING_FIELDS, lines_of
    from carry.shell.scalars import written

    use_exact_context()
    found = places.find(config, state_db, config_needed=True)
    assert found.policy is not None
    assert found.wiring is not None
    lines, set_ = lines_of(found.config), _set_at_run_time(found)
    click.echo(f"# {found.config}, journal {found.journal}")
    for name, field in (*POLICY_FIELDS.items(), *WIRING_FIELDS.items()):
        part = getattr(found.policy if name in POLICY_FIELDS else found.wiring, name)
        if "knob" in field.metadata:
            rows = [(name, field.metadata["knob"], part)]
        else:
            click.echo(f"{name}:")
            rows = [(full, knob, _value(part, full)) for full, knob, _ in keys(name, field.type)]
        for full, knob, value in rows:
            indent = "  " * full.count(".")
            if full in set_:
                value, source = set_[full]
                shown = str(value)
            elif value in (None, ()):
                shown, source = "left out", f"derived: {knob.why}"
            else:
                shown = str(value) if knob.kind == "secret" else written(knob, value)
                source = f"line {lines[full]}" if full in lines else "default"
            click.echo(f"{indent}{full.rpartition('.')[2]}: {shown}  # {source}")
    for market in found.policy.markets:
        more = f", reserve_sz {market.reserve_sz}" if market.reserve_sz else ""
        click.echo(f"market {market.base}{more}  # line {lines['markets']}")


def _value(part: Any, full: str) -> Any:
    """A key of a section, nested ones by their dots."""
    for name in full.split(".")[1:]:
        part = getattr(part, name)
    return part


def _set_at_run_time(found: places.Places) -> dict[str, tuple[str, str]]:
    """Keys that an operator set and did not give back: value, and who, when, and its number."""
    import json

    from carry.shell.commands import BACK, full_key
    from carry.shell.reader import Reader
    from carry.shell.screen import date

    assert found.policy is not None
    if not Path(found.journal).is_file():
        return {}
    reader = Reader(found.journal)
    try:
        rows = reader.settings()
    finally:
        reader.close()
    last: dict[str, tuple[str, str]] = {}
    for number, at_ms, who, args in rows:
        asked = json.loads(args)
        key = full_key(found.policy, asked["key"])
        last.pop(key, None)
        if asked["value"] != BACK:
            source = f"set by {who} on {date(at_ms)}, seq {number}; `carry set {key} {BACK}` undoes"
            last[key] = (asked["value"], source)
    return last
