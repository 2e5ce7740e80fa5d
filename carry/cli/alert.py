"""`carry alert test` and `carry alert note`."""

from pathlib import Path

import click

from carry.shell import places

from .where import where


@click.group()
def alert() -> None:
    """Try the ways alerts go, or tell the daily note."""


@alert.command()
@where
def test(config: Path | None, state_db: str | None) -> int:
    """Send one test alert over every route, and ask the monitor; exit 1 if any fails."""
    from carry.ops.main import tell_test
    from carry.ops.web import Client, Unreachable

    found = places.find(config, state_db, config_needed=True)
    assert found.wiring is not None
    failed = False
    for route, problem in tell_test(found):
        click.echo(f"{route.split('_')[0]}: {problem or 'taken'}")
        failed = failed or bool(problem)
    url = found.wiring.alerts.heartbeat_url
    if url is not None:
        try:
            status = Client().ask("GET", url, None, 10.0).status
            problem = "" if 200 <= status < 300 else f"HTTP {status}"
        except Unreachable as failure:
            problem = str(failure)
        click.echo(f"heartbeat: {problem or 'answered'}")
        failed = failed or bool(problem)
    else:
        click.echo(
            "heartbeat: none. Nobody elsewhere would notice if this machine ended: name a monitor "
            "in alerts.heartbeat_url"
        )
    if found.wiring.telegram.token is None and found.wiring.alerts.webhook is None:
        click.echo("Only the log has it: name telegram or alerts.webhook in the config")
    return 1 if failed else 0


@alert.command()
@where
def note(config: Path | None, state_db: str | None) -> None:
    """Tell the daily note now, once a day: what was earned, what was not done, and why."""
    from carry.ops.main import tell_note

    click.echo(tell_note(places.find(config, state_db, config_needed=True)))
