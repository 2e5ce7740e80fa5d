"""`carry config check` and `carry config show`."""

from pathlib import Path

import click

from carry.shell import places

from .where import where


@click.group()
def config() -> None:
    """Check or show the config."""


@config.command()
@where
def check(config: Path | None, state_db: str | None) -> None:
    """Read the config and say what is wrong with it, if anything."""
    found = places.find(config, state_db, config_needed=True)
    assert found.policy is not None
    assert found.wiring is not None
    where = found.wiring.venue
    network = "" if where.embedded else f" ({where.network})"
    click.echo(
        f"{found.config}: good. {where.name}{network}, {', '.join(found.policy.coins) or '-'}"
    )
    click.echo(f"journal: {found.journal}")


@config.command()
@where
def show(config: Path | None, state_db: str | None) -> None:
    """Every value in force, with what is derived and why. Secrets are references only."""
    import attrs

    from carry.core.policy import SECTIONS, knobs

    found = places.find(config, state_db, config_needed=True)
    assert found.policy is not None
    assert found.wiring is not None
    for section in SECTIONS:
        part = getattr(found.policy, section)
        click.echo(f"{section}:")
        for name, knob, _ in knobs(type(part)):
            value = getattr(part, name)
            shown = f"derived: {knob.why}" if value is None else value
            click.echo(f"  {name}: {shown}")
    for market in found.policy.markets:
        click.echo(f"market {market.base}: reserve_sz {market.reserve_sz}")
    for field in attrs.fields(type(found.wiring)):
        click.echo(f"{field.name}: {getattr(found.wiring, field.name)}")
