"""`carry key new` and `carry key import`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .where import where

F = TypeVar("F", bound=Callable[..., Any])
KEYSTORE = Path("agent.keystore.json")


@click.group()
def key() -> None:
    """The agent's key: made or taken over, and kept encrypted."""


def kept(command: F) -> F:
    """Where a key is put, and against what it is checked."""
    for option in (
        click.option(
            "--offline", is_flag=True, help="Do not ask the venue whether it is a master's key."
        ),
        click.option(
            "--credential",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write a systemd credential for this machine instead.",
        ),
        click.option(
            "--keystore",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Write an encrypted key file (Web3 v3) [default: {KEYSTORE}]",
        ),
    ):
        command = option(command)
    return where(command)


@key.command()
@kept
def new(
    config: Path | None,
    state_db: str | None,
    keystore: Path | None,
    credential: Path | None,
    offline: bool,
) -> None:
    """Make a key, keep it encrypted, and print the address to approve."""
    from carry.shell import keys

    _keep(keys.made(), config, state_db, keystore, credential, offline=True)


@key.command("import")
@kept
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that only you can read [default: asked for, not shown]",
)
def import_(
    config: Path | None,
    state_db: str | None,
    keystore: Path | None,
    credential: Path | None,
    offline: bool,
    source: Path | None,
) -> None:
    """Take over an agent's key. The key of an account, which can withdraw, is refused."""
    from carry.shell import keys

    _keep(keys.taken(source), config, state_db, keystore, credential, offline)


def _keep(
    secret: Any,
    config: Path | None,
    state_db: str | None,
    keystore: Path | None,
    credential: Path | None,
    offline: bool,
) -> None:
    from carry.shell import keys, places
    from carry.shell.connecting import role_asker

    if keystore is not None and credential is not None:
        raise click.UsageError("--keystore and --credential are two places: name one")
    wiring = places.find(config, state_db, config_needed=False).wiring
    account = None if wiring is None else wiring.account.address
    asker = None if offline or wiring is None else role_asker(wiring)
    address = keys.check(secret, account, asker)
    if credential is not None:
        keys.to_credential(secret, credential)
        reference, path = f"{{credential: {keys.CREDENTIAL}}}", credential
    else:
        path = keystore or KEYSTORE
        keys.to_keystore(secret, path)
        reference = f"{{keystore: {path}}}"
    click.echo(f"written: {path}")
    network = None if wiring is None else wiring.venue.network
    for line in keys.next_steps(address, reference, network):
        click.echo(line)
