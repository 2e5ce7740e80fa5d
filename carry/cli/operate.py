"""Commands that change something: each is a row of the journal's inbox, read at the next tick."""

import getpass
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from carry.core.num import use_exact_context
from carry.shell import places
from carry.shell.commands import changed_policy, size
from carry.shell.reader import Reader, give

from .where import where

NOW_MS_MAX = 180_000  # `--now` without a bot: by the venue's clock


sure = click.option("--yes", is_flag=True, help="Do not ask again.")


def _really(question: str, yes: bool) -> None:
    """What adds risk asks a person again; a script knows what it does."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True)


def _ask(what: str, config: Path | None, state_db: str | None, **args: Any) -> places.Places:
    found = places.find(config, state_db, config_needed=False)
    give(
        found.journal,
        at_ms=time.time_ns() // 1_000_000,
        who=getpass.getuser(),
        what=what,
        args=json.dumps(args, sort_keys=True),
    )
    return found


@click.command()
@where
def pause(config: Path | None, state_db: str | None) -> None:
    """Stop entries; what is held stays hedged. `carry resume` undoes it."""
    _ask("pause", config, state_db)
    click.echo("paused from the next tick on; `carry resume` goes on")


@click.command()
@where
@click.option("--ack", metavar="LATCH", default="pause", show_default=True, help="Which latch.")
@sure
def resume(config: Path | None, state_db: str | None, ack: str, yes: bool) -> None:
    """Clear a latch by its name. `carry status` names those that are set."""
    _really(f"Clear the latch {ack}? What it stopped may begin again", yes)
    _ask("resume", config, state_db, latch=ack)
    click.echo(f"the latch {ack} is cleared at the next tick; `carry status` shows what remains")


@click.command()
@where
@click.option("--now", is_flag=True, help="Close here and now when no bot runs, then end.")
def flatten(config: Path | None, state_db: str | None, now: bool) -> int:
    """Close everything, then stay out until `carry resume --ack flatten`."""
    return _close("flatten", config, state_db, now)


@click.command()
@where
@click.option("--now", is_flag=True, help="Close here and now when no bot runs, then end.")
def kill(config: Path | None, state_db: str | None, now: bool) -> int:
    """Withdraw all orders, close everything, stay out until `carry resume --ack kill`."""
    return _close("kill", config, state_db, now)


def _close(what: str, config: Path | None, state_db: str | None, now: bool) -> int:
    found = _ask(what, config, state_db)
    if not now:
        click.echo(
            f"{what} asked: it begins at the next tick; watch it with `carry status --watch`"
        )
        return 0
    from carry.shell import bot
    from carry.shell.lock import Locked
    from carry.shell.loop import Manner, is_flat

    use_exact_context()
    full = places.find(config, state_db, config_needed=True)
    assert full.wiring is not None
    manner = Manner(interval_ms=full.wiring.interval_ms, until_flat_ms=NOW_MS_MAX)
    try:
        state = bot.run(full, manner).state
    except Locked as held:
        click.echo(f"the running bot (pid {held.pid}) closes everything; waiting for it")
        return _wait_flat(found.journal)
    click.echo(
        "flat, by a read of the venue" if is_flat(state) else "NOT flat; see `carry positions`"
    )
    return 0 if is_flat(state) else 1


def _wait_flat(journal: str) -> int:
    from carry.shell.loop import is_flat

    end = time.monotonic() + NOW_MS_MAX / 1000
    while time.monotonic() < end:
        reader = Reader(journal)
        try:
            found = reader.state()
        finally:
            reader.close()
        if found is not None and is_flat(found[1]):
            click.echo("flat, by a read of the venue")
            return 0
        time.sleep(0.5)
    click.echo("NOT flat yet; see `carry positions` and `carry why`")
    return 1


@click.command()
@where
@click.argument("coin")
@click.argument("sz", metavar="SIZE")
@sure
def adopt(config: Path | None, state_db: str | None, coin: str, sz: str, yes: bool) -> None:
    """Take SIZE units of foreign COIN, and as much of its foreign short, into the carry."""
    size(sz)
    _really(f"Adopt {sz} {coin}? The bot hedges it, and sells it when the carry ends", yes)
    _ask("adopt", config, state_db, coin=coin, sz=sz)
    click.echo(f"{sz} {coin} is adopted at the next tick (or start) of the bot")


@click.command("set")
@where
@click.argument("key")
@click.argument("value")
@click.option("--why", default="", help="For the audit.")
@sure
def set_(
    config: Path | None, state_db: str | None, key: str, value: str, why: str, yes: bool
) -> None:
    """Change KEY (such as risk.slice_usd) to VALUE while the bot runs; `config` gives it back."""
    found = places.find(config, state_db, config_needed=False)
    reader = Reader(found.journal)
    try:
        known = reader.state()
    finally:
        reader.close()
    if known is not None:
        policy = known[1].policy
        changed_policy(policy, found.policy or policy, key, value)
    _really(f"Set {key} to {value}?", yes)
    _ask("set", config, state_db, key=key, value=value, why=why)
    click.echo(f"{key} is {value} from the next tick on, and after a restart; it is in the audit")
