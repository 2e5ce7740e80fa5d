"""Where a run's files are: the config, the journal, and what lies beside it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import attrs

from carry.core.policy import Policy

from .config_file import MEMORY, load
from .wiring import Wiring

CONFIG = Path("config.yaml")
HISTORY = "history.json"  # what `carry ops` says of its copy of the journal
PAPER = "paper.db"
DEMO = "demo.db"


class MemoryRefused(Exception):
    """A journal that forgets, on a network that does not."""


@attrs.frozen(kw_only=True)
class Places:
    """policy and wiring are None without a config file: commands that only look need none."""

    config: Path
    policy: Policy | None
    wiring: Wiring | None
    journal: str

    @property
    def run_folder(self) -> Path:
        """Process numbers, the embedded exchange's address, the heartbeat of ops."""
        return self.journal_folder / "run"

    @property
    def journal_folder(self) -> Path:
        return Path() if self.journal == MEMORY else Path(self.journal).parent

    @property
    def logs(self) -> Path:
        """Beside `data/` in a checkout, where systemd says in a unit, else beside the journal."""
        if named := os.environ.get("LOGS_DIRECTORY"):
            return Path(named.split(":")[0])
        folder = self.journal_folder
        return folder.parent / "logs" if folder.name == "data" else folder / "logs"

    def age_s(self) -> int | None:
        """Seconds since the journal was last written, by the file; None without one."""
        files = (Path(self.journal), Path(f"{self.journal}-wal"))
        written = [file.stat().st_mtime for file in files if file.exists()]
        return int(time.time() - max(written)) if written else None

    def history(self) -> dict[str, Any] | None:
        """How far `carry ops` has copied the journal, and how old that word is; None without."""
        try:
            facts: dict[str, Any] = json.loads((self.run_folder / HISTORY).read_text())
            facts["age_s"] = int(time.time()) - int(facts.pop("wall_ms")) // 1000
            facts |= {name: int(facts[name]) for name in ("seq", "lag_ticks", "lag_ms")}
            facts["problem"] = str(facts["problem"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return facts

    @property
    def exchange_state(self) -> Path:
        return self.journal_folder / "exchange.json"


def find(
    config: Path | None, state_db: str | None, *, config_needed: bool, paper: bool = False
) -> Places:
    """A config that is named must exist, the default one only if it is needed.

    paper: no account is needed, and the journal is another one beside the bot's unless it is named.

    Raises:
        ConfigError, MemoryRefused.
    """
    path = config if config is not None else CONFIG
    policy: Policy | None = None
    wiring: Wiring | None = None
    if config is not None or config_needed or (state_db is None and path.exists()):
        policy, wiring = load(path, paper=paper)
    named = state_db or (wiring.journal.path if wiring is not None else None)
    if named is None:
        state = os.environ.get("STATE_DIRECTORY")
        folder = Path(state.split(":")[0]) if state else Path("data")
        named = str(folder / "carry.db")
    if paper and state_db is None and named != MEMORY:
        named = str(Path(named).with_name(PAPER))
    if named != MEMORY:
        named = str(Path(named).expanduser().absolute())
    if named == MEMORY and wiring is not None and not wiring.venue.embedded:
        raise MemoryRefused(
            "--state-db: :memory: would forget what is open when the bot ends, and the venue would "
            "not; name a file"
        )
    return Places(config=path, policy=policy, wiring=wiring, journal=named)
