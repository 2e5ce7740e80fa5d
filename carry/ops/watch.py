"""The second process: says that the bot lives, and passes its alerts on.

It opens the journal read-only and holds no key, so that whatever goes wrong here cannot trade.
Silence is a fault (P13): no committed tick for `alerts.silence_ms_max` is an alert of its own.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

from carry.base.secrets import Redactor, install_hooks
from carry.shell.database import JournalRefused
from carry.shell.logs import EventLog
from carry.shell.places import Places
from carry.shell.reader import Reader
from carry.shell.status import report

LOOK_S: Final = 1.0
ALERTS_MAX: Final = 50  # passed on in one look; the rest follows at the next


class Watch:
    """What ops remembers: which alerts were passed on, and when the bot last committed."""

    def __init__(self, where: Places, log: EventLog) -> None:
        assert where.wiring is not None, "places.find(config_needed=True) reads it"
        self._where, self._log, self._alerts = where, log, where.wiring.alerts
        self._cursor_file = where.run_folder / "ops.json"
        self._seen = _read_cursor(self._cursor_file)
        self._seq, self._seq_at = -1, time.monotonic()
        self._silent_at: float | None = None
        self._beat_at = float("-inf")

    def look(self) -> None:
        """One look at the journal."""
        now = time.monotonic()
        found: dict[str, Any] | None = None
        try:
            reader = Reader(self._where.journal)
            try:
                known = reader.state()
                self._pass_on(reader)
            finally:
                reader.close()
            found = report(*known) if known is not None else None
        except JournalRefused as refused:
            if now - self._beat_at >= self._alerts.heartbeat_ms / 1000:
                self._log.emit("ops_waits", _wall_ms(), None, {"why": str(refused)})
        seq = found["seq"] if found is not None else -1
        if seq != self._seq:
            self._seq, self._seq_at, self._silent_at = seq, now, None
        self._judge_silence(now)
        if now - self._beat_at >= self._alerts.heartbeat_ms / 1000:
            self._beat(now, found)

    def _pass_on(self, reader: Reader) -> None:
        rows = reader.rows(
            "SELECT id, at_ms, level, name, coin, text FROM alerts WHERE id > ? ORDER BY id "
            "LIMIT ?",
            self._seen,
            ALERTS_MAX,
        )
        for number, at_ms, level, name, coin, text in rows:
            self._log.emit("ops_alert", at_ms, coin, {"level": level, "name": name, "text": text})
            self._log.warn(f"{level} {name}: {text}")
            self._seen = number
        if rows:
            _replace(self._cursor_file, {"alerts": self._seen})

    def _judge_silence(self, now: float) -> None:
        silent_ms = int((now - self._seq_at) * 1000)
        if silent_ms <= self._alerts.silence_ms_max:
            return
        if self._silent_at is not None and now - self._silent_at < self._alerts.repeat_ms / 1000:
            return
        self._silent_at = now
        text = (
            f"no tick was committed for {silent_ms // 1000} s: what is held stays as it is at the "
            "venue, and nobody hedges it. See logs/service.out, or start the bot"
        )
        self._log.emit("ops_silence", _wall_ms(), None, {"silent_ms": str(silent_ms), "text": text})
        self._log.warn(f"page silence: {text}")

    def _beat(self, now: float, found: dict[str, Any] | None) -> None:
        self._beat_at = now
        facts = {
            "wall_ms": _wall_ms(),
            "pid": os.getpid(),
            "seq": self._seq,
            "silent_ms": int((now - self._seq_at) * 1000),
        }
        _replace(self._where.run_folder / "heartbeat.json", facts)
        self._log.emit(
            "ops_heartbeat", facts["wall_ms"], None, {k: str(v) for k, v in facts.items()}
        )
        if found is not None:
            _replace(self._where.run_folder / "status.json", found)


def watch(where: Places) -> int:
    """Look every second until SIGTERM or Ctrl-C."""
    redact = Redactor()
    install_hooks(redact)
    where.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = EventLog(where.logs, redact, name="ops.log")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    one = Watch(where, log)
    try:
        while not stop.is_set():
            one.look()
            stop.wait(LOOK_S)
    finally:
        log.close()
    return 0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _read_cursor(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["alerts"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _replace(path: Path, facts: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(facts) + "\n")
    new.chmod(0o600)
    new.replace(path)
