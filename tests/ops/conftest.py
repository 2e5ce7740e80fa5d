"""A folder with a journal, a bot's state in it, and a Bot API of our own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carry.base.secrets import Redactor, Secret
from carry.core.num import use_exact_context
from carry.core.observations import Observations
from carry.core.state import State
from carry.ops.botapi import BotApi
from carry.ops.chat import Chat
from carry.ops.main import memory_of
from carry.ops.memory import Memory
from carry.shell import places
from carry.shell.journal import Journal
from carry.shell.logs import EventLog
from tests.core.making import held

from .telegram_server import ANNA, TOKEN, BotServer

CONFIG = "venue: {name: embedded}\nmarkets: [{base: HYPE}]\n"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRY_LOCK_DIR", str(tmp_path / "locks"))
    for name in ("STATE_DIRECTORY", "LOGS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    use_exact_context()


@pytest.fixture
def tick(state: State) -> Observations:
    """A tick that saw nothing, a second after the state."""
    assert state.venue_ms is not None
    now_ms, wall_ms = state.now_ms + 1_000, state.wall_ms + 1_000
    return Observations(mono_ms=now_ms, wall_ms=wall_ms, venue_ms=state.venue_ms + 1_000)


@pytest.fixture
def state() -> State:
    """A hedged carry in HYPE."""
    return held().state


@pytest.fixture
def server() -> Iterator[BotServer]:
    with BotServer().running() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., places.Places]:
    """Places of a config with more lines in it."""

    def make(more: str = "") -> places.Places:
        (tmp_path / "config.yaml").write_text(CONFIG + more)
        found = places.find(None, None, config_needed=True)
        found.run_folder.mkdir(parents=True, exist_ok=True)
        return found

    return make


@pytest.fixture
def where(place: Callable[..., places.Places]) -> places.Places:
    return place()


@pytest.fixture
def journal(where: places.Places, state: State) -> Journal:
    journal = Journal.open(where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(state, 1)
    return journal


def ops_log(where: places.Places) -> EventLog:
    return EventLog(where.logs, Redactor(), console=False, name="ops.log")


class World:
    """The chat, its server and the bot's journal; `bot` obeys what waits in the inbox."""

    def __init__(self, where: places.Places, journal: Journal, state: State, server: BotServer):
        self.where, self.journal, self.state, self.server = where, journal, state, server
        self.memory: Memory = memory_of(where)
        self.chat = self.make()

    def make(self) -> Chat:
        api = BotApi(self.server.url, Secret(TOKEN))
        return Chat(
            self.where,
            self.memory,
            api,
            wall_s=lambda: float(self.server.now_s),
            sleep=lambda seconds: None,
            poll_s=0,
        )

    def restart(self) -> None:
        """Ops ends and starts: what is in memory only is gone."""
        self.memory.close()
        self.memory = memory_of(self.where)
        self.chat = self.make()

    def ask(self, text: str, **more: Any) -> str:
        """Write a message, let the chat poll once; what it said to that."""
        before = len(self.server.sent)
        self.server.write(text, **more)
        self.chat.once()
        return "\n".join(text for _, text in self.server.sent[before:])

    def inbox(self) -> list[tuple[str, str, str]]:
        return [(o.who, o.what, o.args) for o in self.journal.inbox(0)]

    def bot(self) -> State:
        """One tick of the bot that obeys the inbox."""
        from carry.core.step import step
        from carry.shell.commands import to_command

        orders = self.journal.inbox(self.state.command_id)
        commands = tuple(to_command(o, self.state.policy, self.state.policy) for o in orders)
        obs = Observations(
            mono_ms=self.state.now_ms + 1_000,
            wall_ms=self.state.wall_ms + 1_000,
            venue_ms=(self.state.venue_ms or 0) + 1_000,
            commands=commands,
        )
        self.state, actions = step(self.state, obs)
        self.journal.commit(obs, self.state, actions)
        return self.state


@pytest.fixture
def world(
    place: Callable[..., places.Places], state: State, server: BotServer, tmp_path: Path
) -> Iterator[World]:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    where = place(
        f"telegram: {{token: {{file: token}}, chat_ids: [{ANNA}], api_url: '{server.url}'}}\n"
    )
    journal = Journal.open(where.journal, network="embedded", account="0x" + "a" * 40)
    journal.begin(state, 1)
    made = World(where, journal, state, server)
    yield made
    made.memory.close()
