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
from .whole import _end_exchange, _env, _folder

RUN_S = 15
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
    """Mean time of a tick, of a bot on the embedded exchange with ops beside it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        _folder(path)
        env = {**_env(), "CARRY_LOCK_DIR": name}
        if dsn is not None:
            env["CARRY_BENCH_DSN"] = dsn
            text = (path / "config.yaml").read_text()
            line = "  #dsn: {env: CARRY_HISTORY_DSN}"
            assert line in text
            (path / "config.yaml").write_text(text.replace(line, "  dsn: {env: CARRY_BENCH_DSN}"))
        carry = [sys.executable, "-m", "carry"]
        null = subprocess.DEVNULL
        bot = subprocess.Popen([*carry, "run"], cwd=path, env=env, stdout=null, stderr=null)
        ops = subprocess.Popen([*carry, "ops"], cwd=path, env=env, stdout=null, stderr=null)
        time.sleep(RUN_S)
        if dsn is not None:
            facts = json.loads((path / "data" / "run" / "history.json").read_text())
            assert facts["rows"] > 0, facts
        stages = json.loads((path / "data" / "run" / "timings.json").read_text())["stages"]
        for process in (bot, ops):
            process.terminate()
        for process in (bot, ops):
            process.wait(60)
        _end_exchange(path)
        return float(stages["tick"]["sum_us"]) / sum(stages["tick"]["counts"]) / 1000


def _catching_up(server: Server) -> dict[str, dict[str, object]]:
    """Ticks of a journal that are copied in a second, pauses left out."""
    from tests.history.journals import eventful

    with tempfile.TemporaryDirectory() as name:
        journal = eventful(Path(name) / "carry.db")
        with server.connect() as db:
            db.execute("CREATE DATABASE bench")
        with server.connect("bench") as db:
            migrate(db, 7)
        os.environ["CARRY_BENCH_DSN"] = server.dsn("bench")
        wiring = HistoryWiring(dsn=SecretRef("env", "CARRY_BENCH_DSN"))
        feed = Feed(str(journal), Path(name), wiring, Redactor())
        feed._gentle = True
        began = time.perf_counter()
        feed.once()
        while feed.progress.lag_ticks:
            feed.once()
        took_s = time.perf_counter() - began
        feed.close()
    speed = feed.progress.seq / took_s
    return {"ticks copied into the history": row(speed, None, "/s", feed.progress.seq)}
