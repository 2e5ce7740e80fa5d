"""What a person of the chat may ask of the bot, by three tiers, through the journal's inbox.

Reading is answered at once. What stops or reduces is written at once, and asked twice it is one
order. What may add risk waits for a code that is good once, for a minute, for that order alone.
"""

import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import attrs

from carry.core.policy import Policy
from carry.core.state import State
from carry.shell.commands import Refused, changed_policy, full_key, setting
from carry.shell.reader import Reader, give
from carry.shell.scalars import shown

CODE_S: Final = 60.0
TRIES_MAX: Final = 3
STOPPING: Final = ("pause", "flatten", "kill")
# Where more is less risk; any other key that may go both ways asks for a code.
MORE_IS_LESS: Final = ("strategy.enter_threshold_apr", "strategy.exit_threshold_apr")


@attrs.frozen
class Ask:
    """An order to write: `what` and `args` as in the inbox, `says` for people."""

    what: str
    args: dict[str, Any]
    says: str


@attrs.define
class Pending:
    ask: Ask
    code: str
    until_s: float
    tries: int = 0


class Orders:
    """The second and third tier. One for all chats; codes live in memory only, so that a new start
    forgets them.
    """

    def __init__(
        self,
        journal: str,
        from_file: Policy,
        accepted: Callable[[int, int, str], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._from_file, self._accepted = journal, from_file, accepted
        self._now_s = now_s
        self._pending: dict[int, Pending] = {}

    def stop(self, reader: Reader, state: State, user: int, what: str) -> str:
        """Pause, flatten, kill: at once, and once."""
        waiting = reader.rows(
            "SELECT id, what, args FROM inbox WHERE id > ? ORDER BY id", state.command_id
        )
        last = [
            (number, asked)
            for number, asked, args in waiting
            if asked == what or (asked == "resume" and _latch_of(args) == what)
        ]
        if last and last[-1][1] == what:
            return f"{what} was accepted already, seq {last[-1][0]}"
        # One that waits to be cleared is as good as cleared.
        if what in state.latches and not last:
            row = reader.rows("SELECT max(id) FROM inbox WHERE what = ?", what)
            return f"{what} is in force already, seq {row[0][0] or '-'}"
        return self._give(user, Ask(what, {}, what))

    def resume(self, state: State, user: int, words: list[str]) -> str:
        latches = list(state.latches)
        if not latches:
            return "Nothing is stopped: no latch is set."
        if not words and len(latches) > 1:
            return f"Several latches are set: {', '.join(latches)}. Name one: /resume {latches[0]}"
        name = words[0] if words else latches[0]
        if name not in state.latches:
            return f"There is no latch {shown(name)}; set are: {', '.join(latches)}"
        return self._code(user, Ask("resume", {"latch": name}, f"clear the latch {name}"))

    def set(self, reader: Reader, state: State, user: int, words: list[str]) -> str:
        if len(words) < 2:
            return "/set KEY VALUE [why], such as /set risk.slice_usd 100 too volatile"
        key, value, why = full_key(state.policy, words[0]), words[1], " ".join(words[2:])
        try:
            policy = changed_policy(state.policy, self._from_file, key, value, only_down=True)
            before, after = setting(state.policy, key), setting(policy, key)
        except Refused as refused:
            return f"Refused: {refused}"
        if policy == state.policy:
            return f"{key} is {after} already."
        args = {"key": key, "value": value, "why": why, "chat": True}
        ask = Ask("set", args, f"set {key} from {before} to {after}")
        standing = self._standing(reader, state, ask)
        if standing is not None:
            return f"{ask.says} was accepted already, seq {standing}"
        return (
            self._code(user, ask) if adds_risk(state.policy, policy, key) else self._give(user, ask)
        )

    def confirm(self, user: int, code: str) -> str:
        """The second step of what may add risk."""
        pending = self._pending.get(user)
        if pending is None:
            return "There is nothing to confirm."
        if self._now_s() > pending.until_s:
            del self._pending[user]
            return "The code is older than a minute; ask again."
        if not hmac.compare_digest(code.encode(), pending.code.encode()):
            pending.tries += 1
            if pending.tries >= TRIES_MAX:
                del self._pending[user]
                return "Wrong code three times; ask again."
            return "Wrong code."
        del self._pending[user]
        return self._give(user, pending.ask)

    # --- parts -----------------------------------------------------------------------------------

    def _code(self, user: int, ask: Ask) -> str:
        code = f"{secrets.randbelow(1_000_000):06d}"
        self._pending[user] = Pending(ask, code, self._now_s() + CODE_S)
        return f"To {ask.says} may add risk. Send /confirm {code} within 60 s."

    def _standing(self, reader: Reader, state: State, ask: Ask) -> int | None:
        """The number of the same order, if it waits in the inbox."""
        rows = reader.rows(
            "SELECT id, args FROM inbox WHERE id > ? AND what = ? ORDER BY id DESC",
            state.command_id,
            ask.what,
        )
        for number, args in rows:
            asked = json.loads(args)
            if all(asked.get(k) == ask.args.get(k) for k in ("key", "value", "latch")):
                return int(number)
        return None

    def _give(self, user: int, ask: Ask) -> str:
        number = give(
            self._journal,
            at_ms=time.time_ns() // 1_000_000,
            who=f"telegram {user}",
            what=ask.what,
            args=json.dumps(ask.args, sort_keys=True),
        )
        self._accepted(number, user, ask.what)
        return f"accepted, seq {number}: {ask.says}"


def _latch_of(args: str) -> Any:
    try:
        return json.loads(args).get("latch") or "pause"
    except (ValueError, AttributeError):
        return None


def adds_risk(before: Policy, after: Policy, key: str) -> bool:
    """Whether a change may make the bot hold more, or longer."""
    section, _, name = key.partition(".")
    was, now = getattr(getattr(before, section), name), getattr(getattr(after, section), name)
    if key in MORE_IS_LESS:
        return bool(now < was)
    for field in attrs.fields(type(getattr(before, section))):
        if field.name == name:
            return not (field.metadata["knob"].settable == "down" and now < was)
    return True
