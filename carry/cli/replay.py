"""`carry replay`."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from carry.core.num import ZERO, show, use_exact_context
from carry.shell import places, screen

from . import progress
from .look import as_json
from .where import where


@click.command()
@where
@as_json
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "first", type=click.IntRange(min=1), help="First tick to compare.")
@click.option("--to", "last", type=click.IntRange(min=1), help="Last tick to compare.")
@click.option("--diff", is_flag=True, help="Count what differs, under the same rules, too.")
def replay(
    config: Path | None,
    state_db: str | None,
    as_json: bool,
    files: tuple[Path, ...],
    first: int | None,
    last: int | None,
    diff: bool,
) -> int:
    """Decide journaled ticks again and compare; FILES: journals, bundles [default: the bot's].

    Exit 0: nothing differs. 1: something does although the rules are the same, or a row was
    changed. 3: decisions differ, by other rules than the ticks were decided by.

    With a --config whose policy is not the journal's: what that policy would have done on the same
    past, and from which tick on that is a reckoning and no evidence.
    """
    use_exact_context()
    names = [str(file) for file in files]
    if not names:
        names = [places.find(config, state_db, config_needed=False).journal]
    if config is not None:
        others = [_what_if(name, config, first, last) for name in names]
        if any(others):
            told = [found for found in others if found is not None]
            click.echo(json.dumps(told) if as_json else "\n\n".join(map(_beside, told)))
            return 0
    return _again(names, as_json, first, last, diff)


def _again(
    names: list[str], as_json: bool, first: int | None, last: int | None, diff: bool
) -> int:
    from carry.research.bundle import opened
    from carry.research.replay import replay as again
    from carry.research.replay import together
    from carry.research.whatif import what_if

    results, net = [], ZERO
    for name in names:
        with progress.bar(f"replay {Path(name).name}") as done, opened(name) as journal:
            results.append(again(journal, first, last, lenient=diff, done=done))
            if results[-1].changed:
                reckoned = what_if(journal, None, first, last, done=done)
                net += ZERO if reckoned is None else reckoned.net_effect_usd
    result = together(results)
    effect = show(net.quantize(Decimal("0.01")))
    if as_json:
        told = {
            "journals": len(results),
            "ticks": result.ticks,
            "decisions": result.decisions,
            "changed": result.changed,
            "net_effect_usd": effect,
            "said_otherwise": result.said,
            "left_out": result.left_out,
            "rules": list(result.rules),
            "fault": result.fault,
            "shown": list(result.shown),
        }
        click.echo(json.dumps(told))
        return result.exit_code
    click.echo(result.text)
    if result.changed:
        click.echo(f"net effect {effect} usd, reckoned over the recorded books")
    return result.exit_code


def _what_if(
    name: str, config: Path, first: int | None, last: int | None
) -> dict[str, Any] | None:
    """What the config's policy would have done; None when it is the one that was in force."""
    from carry.research import whatif
    from carry.research.bundle import opened
    from carry.shell.config_file import load

    policy, _ = load(config)
    with opened(name) as journal:
        changed = whatif.changes(journal, policy, first)
        if not changed:
            return None
        with progress.bar(f"what if, {Path(name).name}") as done:
            found = whatif.what_if(journal, policy, first, last, done=done)
    if found is None:
        return None
    return {"journal": name, "config": str(config), "changed": changed, **whatif.as_json(found)}


def _beside(found: dict[str, Any]) -> str:
    """Both for a person: what was changed, where history ends, and the figures side by side."""
    lines = [f"{found['journal']}: ticks {found['first']} to {found['last']}, {found['hours']} h"]
    lines += [f"what if {key} were {new} (it was {was})"
              for key, (was, new) in found["changed"].items()]  # fmt: skip
    if found["parted"] is None:
        return "\n".join((*lines, "Nothing else would have been sent: the past as it was."))
    when = "" if found["parted_at_ms"] is None else f" ({screen.date(found['parted_at_ms'])})"
    share = 100 * found["ticks_simulated"] // max(1, found["ticks"])
    lines.append(
        f"HISTORY ENDS at tick {found['parted']}{when}: there it would have sent something else. "
        f"What follows ({found['ticks_simulated']} of {found['ticks']} ticks, {share} %) is "
        "reckoned over the recorded books and is no evidence."
    )
    was, would = found["was"], found["would"]
    rows = []
    for key in was:
        if key != "orders":
            away = Decimal(str(would[key])) - Decimal(str(was[key]))
            rows.append((key.replace("_usd", " $"), was[key], would[key], show(away)))
    for name in sorted({**was["orders"], **would["orders"]}):
        one, other = was["orders"].get(name, 0), would["orders"].get(name, 0)
        rows.append((f"orders: {name}", one, other, other - one))
    lines.append(screen.table(("", "as it was", "would be", "difference"), rows))
    lines.append(
        f"net effect {found['net_effect_usd']} usd; residual of the reckoning "
        f"{found['residual_usd'] or '-'} usd"
    )
    if found["payments_without_a_rate"]:
        lines.append(f"{found['payments_without_a_rate']} payments: no rate in the journal yet")
    if found["settings_not_followed"]:
        lines.append(f"{found['settings_not_followed']} settings of then are not followed")
    if not found["exact"]:
        lines.append("Decided under other rules then: `as it was` is what these would have done.")
    return "\n".join(lines)
