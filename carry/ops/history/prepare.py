"""`carry db migrate`: the tables at the config's address, told in sentences."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from carry.base.secrets import Redactor, install_hooks, resolve
from carry.shell.places import Places
from carry.shell.reader import Reader

from . import upkeep
from .database import account_of, connect, driver
from .migrations import Done, HistoryRefused, migrate

if TYPE_CHECKING:
    import psycopg


class HistoryDown(Exception):
    """The database cannot be reached, or did not take a migration."""


def prepare(where: Places, again: bool = False) -> Done:
    """Migrate. again: forget how far the journal of this config was copied.

    Raises:
        HistoryRefused: what an operator must put right. HistoryDown: what may pass.
    """
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    dsn = where.wiring.history.dsn
    if dsn is None:
        raise HistoryRefused(
            f"{where.config}: history.dsn is not set, so there is no database to migrate. Name "
            "one, as in `history: {dsn: {env: CARRY_HISTORY_DSN}}`"
        )
    redact = Redactor()
    install_hooks(redact)
    postgres = driver()
    try:
        connection = connect(resolve(dsn.kind, dsn.name), redact)
        with connection:
            done = migrate(connection, where.wiring.history.keep_days)
            if again:
                done = attrs.evolve(done, said=(*done.said, _again(where, connection)))
            return done
    except (postgres.Error, OSError) as error:
        text = redact(str(error).strip() or type(error).__name__).splitlines()[0]
        raise HistoryDown(
            f"the history database: {text}. What was done is kept; run `carry db migrate` again"
        ) from None


def _again(where: Places, connection: "psycopg.Connection[Any]") -> str:
    if not Path(where.journal).is_file():
        return "there is no journal yet, so nothing will be copied again"
    reader = Reader(where.journal)
    try:
        network, address = reader.meta("network") or "", reader.meta("account") or ""
        journal = reader.meta("journal_id") or ""
    finally:
        reader.close()
    account = account_of(connection, network, address)
    upkeep.rewind(connection, account, journal)
    return f"{where.journal} will be copied once more, from its first tick"
