"""The structured log: one JSON object a line, rotated, redacted. Events: docs/EVENTS.md."""

import json
import logging
import logging.handlers
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from carry.base.secrets import RedactingFilter, Redactor

FILE_BYTES_MAX: Final = 10 * 1024 * 1024
FILES_KEPT: Final = 9
LOGGER: Final = "carry"


class EventLog:
    """Writes events. Values are text, canonical; the redactor sees every line."""

    def __init__(
        self,
        folder: Path | None,
        redact: Redactor,
        console: bool = True,
        name: str = "carry.log",
    ) -> None:
        self._redact, self._console = redact, console
        self._logger = logging.Logger(LOGGER)
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(
                folder / name,
                maxBytes=FILE_BYTES_MAX,
                backupCount=FILES_KEPT,
                encoding="utf-8",
            )
            (folder / name).chmod(0o600)
            handler.setFormatter(logging.Formatter("%(message)s"))
            handler.addFilter(RedactingFilter(redact))
            self._logger.addHandler(handler)

    def emit(
        self, event: str, at_ms: int | None, coin: str | None, fields: Mapping[str, str]
    ) -> None:
        """`at_ms`: the venue's clock when it is known, else the machine's."""
        row: dict[str, object] = {"event": event, "at_ms": at_ms}
        if coin is not None:
            row["coin"] = coin
        self._logger.info("%s", json.dumps({**row, **fields}, ensure_ascii=False))

    def say(self, text: str) -> None:
        """A line for the person at the console, and the same in the log's file."""
        if self._console:
            print(self._redact(text), flush=True)

    def warn(self, text: str) -> None:
        """A line for the person at the console that must not be lost in a pipe."""
        print(self._redact(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        for handler in self._logger.handlers:
            handler.close()
