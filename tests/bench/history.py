"""Rows of the history: a tick while `carry ops` copies, and how fast it catches up."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from carry.base.secrets import Redactor
from carry.ops.history.feed import Feed
from carry.ops.history.migrations import migrate
from carry.shell.wiring import HistoryWiring, SecretRef
from tests.history.postgres import Server, folder_of_programs

from .timing import row
from .whole import ROOT, _end_exchange, _env

START_S = 12  # processes that start are no steady state
RUN_S = 20
ROUNDS = 3


def history() -> dict[str, dict[str, object]]:
    """A tick of the bot with ops copying every tick, beside one with ops and no history."""
    programs = folder_of_programs()
    if programs is None:
        print("no PostgreSQL server is installed: no rows of the history", file=sys.stderr)
        return {}
    server = Server(programs)
    try:
        ours: list[float] = []
        theirs: list[float] = []
        for n in range(ROUNDS):
            database = f"bench{n}"
            with server.connect() as db:
                db.execute(f"CREATE DATABASE {database}")
            with server.connect(database) as db:
                migrate(db, 7)
            theirs.append(_tick_ms(None))
            ours.append(_tick_ms(server.dsn(database)))
        found = row(statistics.median(ours), statistics.median(theirs), "ms", ROUNDS)
        return {"tick, ops copies the history / ops without": found, **_catching_up(server)}
    finally:
        server.close()


def _tick_ms(dsn: str | None) -> float:
    """Mean time of a tick, of a bot that looks once a second, with ops beside it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        path = Path(name)
        text = (ROOT / "config.yaml.example").read_text()
        env = {**_env(), "CARRY_LOCK_DIR": name}
        if dsn is not None:
            env["CARRY_BENCH_DSN"] = dsn
            line = "  #dsn: {env: CARRY_HISTORY_DSN}"
            assert line in text
            text = text.replace(line, "  dsn: {env: CARRY_BENCH_DSN}")
        (path / "config.yaml").write_text(text)
        null = subprocess.DEVNULL
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "carry", word], cwd=path, env=env, stdout=null, stderr=null
            )
            for word in ("run", "ops")
        ]
        try:
            time.sleep(START_S)
            count, sum_us = _ticks(path)
            time.sleep(RUN_S)
            if dsn is not None:
                facts = json.loads((path / "data" / "run" / "history.json").read_text())
                assert facts["rows"] > 0, facts
            more, more_us = _ticks(path)
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)
            _end_exchange(path)
        return (more_us - sum_us) / (more - count) / 1000


def _ticks(path: Path) -> tuple[int, int]:
    """How many ticks there were, and their time."""
    facts = json.loads((path / "data" / "run" / "timings.json").read_text())["stages"]["tick"]
    return sum(facts["counts"]), int(facts["sum_us"])


def _catching_up(server: Server) -> dict[str, dict[str, object]]:
    """Ticks of a journal that are copied in a second of our processor, the server's left out."""
    from tests.history.journals import eventful

    with tempfile.TemporaryDirectory() as name:
        journal = eventful(Path(name) / "carry.db")
        with server.connect() as db:
            db.execute("CREATE DATABASE bench")
        with server.connect("bench") as db:
            migrate(db, 7)
        os.environ["CARRY_BENCH_DSN"] = server.dsn("bench")
        wiring = HistoryWiring(dsn=SecretRef("env", "CARRY_BENCH_DSN"))
        feed = Feed(str(journal), Path(name), wiring, Redactor(), ticks_max=20)
        feed._gentle = True
        feed.once()  # connects, and loads what is loaded once
        first, began = feed.progress.seq, time.process_time()
        while feed.progress.lag_ticks:
            feed.once()
        took_s = time.process_time() - began
        feed.close()
    count = feed.progress.seq - first
    return {"ticks copied, of a processor's second": row(count / took_s, None, "/s", count)}
