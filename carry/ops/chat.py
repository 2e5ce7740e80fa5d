"""The chat: polls for messages, answers those of the allow-list, and follows up what it promised.

The watermark of an update is durable before the update acts, so a crash may lose a command, which
its sender sees because no answer came, but none acts twice.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from carry.core.state import State
from carry.shell import screen
from carry.shell.database import JournalRefused
from carry.shell.loop import is_flat
from carry.shell.places import Places
from carry.shell.reader import Reader
from carry.shell.status import report

from .botapi import POLL_S, ApiFailed, BotApi
from .memory import Memory
from .orders import STOPPING, Orders
from .outbox import BACKOFF_S
from .routes import NotTaken
from .updates import Ignored, Message, read_update

OLD_S: Final = 60  # what was sent before that is not obeyed
# "If there are no new updates for at least a week, then identifier of the next update will be
# chosen randomly instead of sequentially." (Bot API, Update)
WATERMARK_MS_MAX: Final = 6 * 86_400_000
FOLLOW_S: Final = 1.0
SEND_TRIES: Final = 3
SEND_WAIT_S_MAX: Final = 30
KEYBOARD: Final = (
    ("/status", "/why", "/pnl"),
    ("/positions", "/funding", "/audit"),
    ("/pause", "/resume", "/flatten"),
    ("/kill", "/help"),
)
HELP: Final = """\
/status what is held, earned and waited for
/why in one sentence
/pnl by cause    /funding last payments    /positions both legs
/audit who asked what
/pause no new entries    /flatten close all    /kill the same, orders first: at once
/resume [LATCH] clears a stop: asks for a code
/set KEY VALUE [why] caps only down: at once; what may add risk asks for a code
/confirm CODE within 60 s"""


class Chat:
    """The polling side, for one thread. `failures` in a row and the last `failure` are for others
    to say.
    """

    def __init__(
        self,
        where: Places,
        memory: Memory,
        api: BotApi,
        wall_s: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        poll_s: int = POLL_S,
    ) -> None:
        assert where.wiring is not None, "places.find(config_needed=True) reads it"
        assert where.policy is not None, "places.find(config_needed=True) reads it"
        self._where, self._memory, self._api = where, memory, api
        self._wall_s, self._sleep, self._poll_s = wall_s, sleep, poll_s
        self._chats, self._users = where.wiring.telegram.chat_ids, where.wiring.telegram.users
        self.orders = Orders(where.journal, where.policy, self._promise)
        self.failures = 0
        self.failure: NotTaken | None = None

    def once(self) -> float:
        """Wait for updates and act on them; seconds to wait before the next call."""
        try:
            batch = self._api.updates(self._offset(), self._poll_s)
        except ApiFailed as failure:
            self.failures += 1
            kind = {"refused": "telegram_refused", "twice": "telegram_twice"}
            cause = kind.get(failure.kind, "telegram_down")
            self.failure = NotTaken(cause, str(failure), failure.wait_s)
            step = BACKOFF_S[min(self.failures, len(BACKOFF_S)) - 1]
            return max(float(failure.wait_s), step)
        self.failures, self.failure = 0, None
        self._obey(batch.updates, batch.server_s)
        return 0.0

    def _offset(self) -> int:
        return 0 if self._expired() else self._memory.mark("telegram_update") + 1

    def _expired(self) -> bool:
        age_ms = self._wall_s() * 1000 - self._memory.mark("telegram_update_ms")
        return not self._memory.mark("telegram_update") or age_ms > WATERMARK_MS_MAX

    def _obey(self, updates: Sequence[Any], server_s: int | None) -> None:
        """In the order of their numbers, each once; what is old, altered or a stranger's is not."""
        now_s = server_s if server_s is not None else int(self._wall_s())
        read = [read_update(raw, self._chats, self._users) for raw in updates]
        dropped: dict[int, int] = {}
        expired = self._expired()
        for one in sorted(read, key=lambda each: each.update_id):
            if not one.update_id or (
                not expired and one.update_id <= self._memory.mark("telegram_update")
            ):
                self._memory.add("telegram_ignored_repeated" if one.update_id else
                                 "telegram_ignored_unreadable")  # fmt: skip
                continue
            expired = False
            with self._memory.transaction():
                self._memory.set_mark("telegram_update", one.update_id)
                self._memory.set_mark("telegram_update_ms", int(self._wall_s() * 1000))
                if isinstance(one, Ignored):
                    self._memory.add(f"telegram_ignored_{one.why}")
                    if one.why == "stranger":
                        self._memory.add("telegram_strangers")
            if isinstance(one, Ignored):
                continue
            if abs(now_s - one.at_s) > OLD_S:
                self._memory.add("telegram_ignored_old")
                dropped[one.chat] = dropped.get(one.chat, 0) + 1
                continue
            self._memory.add("telegram_commands")
            self.send(one.chat, self.answer(one))
        for chat, count in dropped.items():
            what = "One message was" if count == 1 else f"{count} messages were"
            self.send(chat, f"{what} too old to obey. Send it again if you still mean it.")

    def answer(self, message: Message) -> str:
        """What to say to a command, after doing it."""
        words = message.text.split()
        name, rest = words[0].lower().removeprefix("/"), words[1:]
        if name.isdigit() and not rest:
            name, rest = "confirm", [name]
        if name in ("help", "start"):
            return HELP
        try:
            reader = Reader(self._where.journal)
            try:
                known = reader.state()
                if known is None:
                    return "The bot has not committed a tick yet."
                return self._do(reader, *known, message.user, name, rest)
            finally:
                reader.close()
        except JournalRefused as refused:
            return str(refused)

    def _do(
        self, reader: Reader, seq: int, state: State, user: int, name: str, rest: list[str]
    ) -> str:
        if name in READING:
            found = {
                **report(seq, state),
                "age_s": self._where.age_s(),
                "alerts": reader.last_alerts(3),
            }
            return READING[name](reader, found)
        if name in STOPPING:
            return self.orders.stop(reader, state, user, name)
        if name == "resume":
            return self.orders.resume(state, user, rest)
        if name == "set":
            return self.orders.set(reader, state, user, rest)
        if name == "confirm" and len(rest) == 1:
            return self.orders.confirm(user, rest[0])
        return f"That is no command of mine.\n{HELP}"

    def send(self, chat: int, text: str) -> None:
        """An answer; when the API cannot take it soon, it is lost, and what was done stays done."""
        for _ in range(SEND_TRIES):
            try:
                self._api.send(chat, text, KEYBOARD)
                return
            except ApiFailed as failure:
                if failure.kind not in ("down", "busy") or failure.wait_s > SEND_WAIT_S_MAX:
                    break
                self._sleep(max(1, failure.wait_s))
        self._memory.add("telegram_answers_lost")

    def _promise(self, number: int, chat: int, what: str) -> None:
        with self._memory.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO asked (number, chat, what) VALUES (?,?,?)",
                (number, chat, what),
            )


class Followups:
    """Says what became of accepted orders: in force, or flat by a read of the venue (P8)."""

    def __init__(self, where: Places, memory: Memory, api: BotApi) -> None:
        self._where, self._memory, self._api = where, memory, api

    def once(self) -> float:
        rows = self._memory.rows("SELECT number, chat, what FROM asked ORDER BY number")
        if not rows:
            return FOLLOW_S
        try:
            reader = Reader(self._where.journal)
        except JournalRefused:
            return FOLLOW_S
        try:
            known = reader.state()
            for number, chat, what in rows if known is not None else ():
                assert known is not None
                text = self._became(reader, *known, number, what)
                if text is None:
                    continue
                if text:
                    self._api.send(chat, text)
                with self._memory.transaction() as db:
                    db.execute("DELETE FROM asked WHERE number = ?", (number,))
        except ApiFailed as failure:
            return max(5.0, float(failure.wait_s))
        except JournalRefused:
            pass
        finally:
            reader.close()
        return FOLLOW_S

    def _became(self, reader: Reader, seq: int, state: State, number: int, what: str) -> str | None:
        """What to say; None while it goes on, "" when nothing is left to say."""
        row = reader.rows("SELECT seq, doc FROM audit WHERE command_id = ?", number)
        if not row:
            return None
        tick, doc = row[0]
        if json.loads(doc).get("$") == "Rejected":
            return ""  # the alert says why
        if what not in ("flatten", "kill"):
            return f"seq {number}: {what} is in force since tick {tick}"
        if what not in state.latches:
            return f"seq {number}: {what} was cleared before all was flat"
        if is_flat(state):
            return f"seq {number}: flat, by a read of the venue (tick {seq})"
        return None


# --- reading --------------------------------------------------------------------------------------


def _pnl(reader: Reader, found: dict[str, Any]) -> str:
    lines = [f"{m['coin']}: {screen.money(m['pnl'])}" for m in found["markets"]]
    lines.append(f"all: {screen.money(found['pnl'])}")
    lines.append(f"unexplained {found['pnl']['residual_usd'] or 'unknown'}")
    return "\n".join(lines)


def _funding(reader: Reader, found: dict[str, Any]) -> str:
    rows = reader.rows("SELECT coin, at_ms, usd, rate FROM funding ORDER BY at_ms DESC LIMIT 8")
    lines = [
        f"{screen.date(at_ms)[5:16]} {coin} ${screen.cut(usd, 4)} at {screen.percent(rate, 5)} %"
        for coin, at_ms, usd, rate in rows
    ]
    for m in found["markets"]:
        if m["next_payment_usd"] is not None and m["perp_sz"] != "0":
            lines.append(f"next: {m['coin']} ${screen.cut(m['next_payment_usd'], 4)}")
    total = screen.cut(found["pnl"]["funding_usd"], 2)
    return "\n".join([*(lines or ["no payment yet"]), f"in all ${total}"])


def _positions(reader: Reader, found: dict[str, Any]) -> str:
    return "\n".join(
        f"{m['coin']} {m['phase']}: spot {m['spot_sz']}, perp {m['perp_sz']}, delta "
        f"${m['delta_usd'] or '?'}{' NAKED' if m['naked'] else ''}; foreign spot "
        f"{m['foreign']['spot_sz']}, perp {m['foreign']['perp_sz']}"
        for m in found["markets"]
    )


def _audit(reader: Reader, found: dict[str, Any]) -> str:
    return "\n".join(audit_lines(reader, 8)) or "nothing was asked yet"


def audit_lines(reader: Reader, count: int) -> list[str]:
    """Who asked what, when, from what to what, and why; the newest first."""
    rows = reader.rows(
        "SELECT command_id, at_ms, who, doc FROM audit ORDER BY command_id DESC LIMIT ?", count
    )
    lines = []
    for number, at_ms, who, text in rows:
        doc = json.loads(text)
        kind = str(doc.get("$", "?")).lower()
        about = kind
        if kind == "setpolicy":
            about = f"set {doc['key']} {doc.get('before')} -> {doc.get('after')}"
        elif kind == "resume":
            about = f"resume {doc['latch']}"
        elif kind == "adopt":
            about = f"adopt {doc['coin']} {doc['sz']}"
        elif kind == "rejected":
            about = f"{doc['what']}, refused: {doc['why']}"
        because = f" ({doc['why']})" if kind == "setpolicy" and doc.get("why") else ""
        when = "-" if at_ms is None else screen.date(at_ms)[5:16]
        lines.append(f"#{number} {when} {who}: {about}{because}")
    return lines


READING: Final[Mapping[str, Callable[[Reader, dict[str, Any]], str]]] = {
    "status": lambda reader, found: screen.status(found),
    "why": lambda reader, found: str(found["why"]["text"]),
    "pnl": _pnl,
    "funding": _funding,
    "positions": _positions,
    "audit": _audit,
}
