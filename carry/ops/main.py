"""`carry ops`: the watch, its threads, and the lock that lets one of it deliver alerts."""

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Iterator

from carry.base.secrets import Redactor, SecretRefused, install_hooks
from carry.core.num import use_exact_context
from carry.shell.logs import EventLog
from carry.shell.places import HISTORY, Places
from carry.shell.reader import Reader

from .chat import Chat, Followups
from .memory import Memory
from .outbox import Delivery
from .routes import LogRoute, NotTaken, Route, routes_of, telegram_of
from .watch import Watch, wall_ms, write_note


class OpsRuns(Exception):
    """A second `carry ops` of the same folder: each alert would be told twice."""


def memory_of(where: Places) -> Memory:
    """The file of ops beside the journal."""
    return Memory(where.journal_folder / "ops.db")


@contextlib.contextmanager
def only_one(where: Places) -> Iterator[bool]:
    """True inside when no other ops of this folder delivers; the lock ends with the process."""
    where.run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(where.run_folder / "ops.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(file)


def run(where: Places) -> int:
    """Look every second until SIGTERM or Ctrl-C."""
    use_exact_context()
    redact = Redactor()
    install_hooks(redact)
    with only_one(where) as alone:
        if not alone:
            raise OpsRuns(
                f"carry ops runs already for {where.journal}: every alert would be told twice"
            )
        return _run(where, redact)


def _run(where: Places, redact: Redactor) -> int:
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    log = EventLog(where.logs, redact, name="ops.log")
    stop = threading.Event()
    memory = memory_of(where)
    watch = Watch(where, log, memory, usable_routes(where, log, redact), stop, redact)
    with contextlib.suppress(SecretRefused):  # said by usable_routes
        api, follow = telegram_of(where.wiring, redact), telegram_of(where.wiring, redact)
        if api is not None and follow is not None:
            chat = Chat(where, memory, api, sleep=stop.wait)
            watch.more_ways.append(chat)
            watch.add_worker("chat", chat.once)
            watch.add_worker("followups", Followups(where, memory, follow).once)
    if where.wiring.history.dsn is None:
        (where.run_folder / HISTORY).unlink(missing_ok=True)  # of a time when there was one
    else:
        from .history.feed import Feed

        feed = Feed(where.journal, where.run_folder, where.wiring.history, redact, watch.venue_ms)
        watch.history = feed
        watch.more_ways.append(feed)
        watch.add_worker("history", feed.once)
    if where.wiring.telemetry.port:
        from .metrics import serve

        serve(watch, where)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        watch.run()
    finally:
        memory.close()
        log.close()
    return 0


def usable_routes(where: Places, log: EventLog, redact: Redactor) -> list[Route]:
    """All routes; without one secret the others still work, and the log says which is missing."""
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    try:
        return routes_of(where.wiring, log, redact)
    except SecretRefused as refused:
        log.warn(f"page ops: {refused}. Until then alerts go to the log only")
        return [LogRoute(log)]


def tell_test(where: Places) -> list[tuple[str, str]]:
    """One test alert over every route, now: (route, "" or what went wrong)."""
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    use_exact_context()
    redact = Redactor()
    log = EventLog(where.logs, redact, console=False, name="ops.log")
    routes = routes_of(where.wiring, log, redact)
    memory = memory_of(where)
    now_ms = wall_ms()
    memory.end("test", 0)
    number = memory.raised(
        cause="test",
        market="",
        level="note",
        name="test",
        text="This is a test: alerts of carry reach you here.",
        at_ms=None,
        now_ms=now_ms,
    )
    found: list[tuple[str, str]] = []
    try:
        for route in routes:
            mine = [e for e in memory.due(route.name, "note", now_ms, 0) if e.id == number]
            try:
                route.tell(mine)
            except NotTaken as refusal:
                found.append((route.name, str(refusal)))
                continue
            memory.told(route.name, mine, now_ms)
            found.append((route.name, ""))
        memory.end("test", 0)
    finally:
        memory.close()
        log.close()
    return found


def tell_note(where: Places) -> str:
    """The daily note, for a timer: queued once a day, and delivered here when no ops runs."""
    assert where.wiring is not None, "places.find(config_needed=True) reads it"
    use_exact_context()
    redact = Redactor()
    install_hooks(redact)
    log = EventLog(where.logs, redact, console=False, name="ops.log")
    memory = memory_of(where)
    try:
        reader = Reader(where.journal)
        try:
            known = reader.state()
            if known is None:
                return "nothing was committed yet, so there is nothing to tell"
            new = write_note(memory, reader, *known, wall_ms())
        finally:
            reader.close()
        with only_one(where) as alone:
            if not alone:
                return "queued; carry ops delivers it" if new else "told already today"
            for route in usable_routes(where, log, redact):
                delivery = Delivery(memory, route, where.wiring.alerts.repeat_ms)
                while delivery.once(wall_ms()) == 0.0:
                    pass
                if delivery.failure is not None:
                    raise NotTaken(delivery.failure.cause, f"{route.name}: {delivery.failure}")
        return "told" if new else "told already today"
    finally:
        memory.close()
        log.close()
