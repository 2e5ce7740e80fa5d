"""--config and --state-db, the same for every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def where(command: F) -> F:
    """Give a command the options that say where things are."""
    command = click.option(
        "--state-db",
        metavar="FILE",
        help="The journal [default: as the config says, else $STATE_DIRECTORY, else data/carry.db]",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The config [default: config.yaml]",
    )(command)
