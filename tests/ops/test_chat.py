"""The chat against a local Bot API: every command by its tier, and every way to be no command."""

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.base.secrets import Redactor
from carry.core.observations import Observations
from carry.core.state import Idle, Latch
from carry.ops import orders as orders_module
from carry.ops.chat import Followups
from carry.ops.updates import Ignored, Message, read_update
from carry.shell.reader import give

from .conftest import World
from .telegram_server import ANNA, TOKEN, BotServer

EVE = 666


def code_of(answer: str) -> str:
    return answer.split("/confirm ")[1].split()[0]


# --- reading: at once ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/status", "If this machine vanishes now: HYPE stays hedged"),
        ("/why", "Holding HYPE: hedged"),
        ("/pnl", "net $"),
        ("/funding", "in all $"),
        ("/positions", "HYPE HEDGE_OK: spot 7.984407, perp -7.98"),
        ("/audit", "nothing was asked yet"),
        ("/help", "/confirm CODE"),
        ("/start", "/confirm CODE"),
        ("/nonsense", "no command of mine"),
        ("hello", "no command of mine"),
        ("/STATUS", "HEDGE_OK"),
    ],
)
def test_reading_is_answered_at_once(world: World, command: str, said: str) -> None:
    assert said in world.ask(command)
    assert world.inbox() == []
    keyboard = world.server.bodies[-1]["reply_markup"]["keyboard"]
    assert {"text": "/pause"} in [button for row in keyboard for button in row]
    assert "parse_mode" not in world.server.bodies[-1], "text of the venue must not be markup"


# --- what stops or reduces: at once, and once ----------------------------------------------------


@pytest.mark.parametrize("command", ["pause", "flatten", "kill"])
def test_stopping_acts_at_once_and_twice_is_once(world: World, command: str) -> None:
    assert world.ask(f"/{command}") == f"accepted, seq 1: {command}"
    assert world.ask(f"/{command}") == f"{command} was accepted already, seq 1"
    assert world.inbox() == [(f"telegram {ANNA}", command, "{}")]
    world.bot()
    assert command in world.state.latches
    assert world.ask(f"/{command}") == f"{command} is in force already, seq 1"
    assert len(world.inbox()) == 1


def test_a_stop_after_a_resume_that_waits_is_a_new_order(world: World) -> None:
    world.ask("/pause")
    world.bot()
    assert world.ask(f"/confirm {code_of(world.ask('/resume'))}").startswith("accepted, seq 2")
    assert world.ask("/pause") == "accepted, seq 3: pause"
    world.bot()
    assert "pause" in world.state.latches


def test_flat_is_said_only_after_a_read_of_the_venue(world: World, tick: Observations) -> None:
    follow = Followups(world.where, world.memory, world.chat._api)
    world.ask("/flatten")
    follow.once()
    assert "flat," not in world.server.said()
    world.bot()
    follow.once()
    assert "flat," not in world.server.said(), "it is closing, and nothing was read yet"
    flat = {
        coin: attrs.evolve(carry, phase=Idle(), perp_sz=carry.perp_sz * 0)
        for coin, carry in world.state.carries.items()
    }
    world.journal.commit(tick, attrs.evolve(world.state, intents={}, carries=flat), ())
    follow.once()
    assert "seq 1: flat, by a read of the venue" in world.server.said()
    before = len(world.server.sent)
    follow.once()
    assert len(world.server.sent) == before


# --- what may add risk: a code, once, within a minute --------------------------------------------


@pytest.fixture
def paused(world: World) -> World:
    world.ask("/pause")
    world.bot()
    return world


def test_resume_needs_its_code(paused: World) -> None:
    answer = paused.ask("/resume")
    assert "may add risk" in answer
    assert len(paused.inbox()) == 1
    code = code_of(answer)
    assert paused.ask(f"/confirm {code}") == "accepted, seq 2: clear the latch pause"
    assert json.loads(paused.inbox()[1][2]) == {"latch": "pause"}
    assert paused.ask(f"/confirm {code}") == "There is nothing to confirm."
    assert len(paused.inbox()) == 2
    paused.bot()
    assert paused.state.latches == {}
    follow = Followups(paused.where, paused.memory, paused.chat._api)
    follow.once()
    assert "seq 2: resume is in force since tick" in paused.server.said()


def test_a_bare_code_is_a_confirmation(paused: World) -> None:
    assert paused.ask(code_of(paused.ask("/resume"))).startswith("accepted, seq 2")


def test_a_code_is_good_for_a_minute(paused: World) -> None:
    now = [1000.0]
    paused.chat.orders._now_s = lambda: now[0]
    code = code_of(paused.ask("/resume"))
    now[0] += 60.0
    assert paused.ask(f"/confirm {code}").startswith("accepted")
    code = code_of(paused.ask("/resume"))
    now[0] += 60.1
    assert "older than a minute" in paused.ask(f"/confirm {code}")
    assert paused.ask(f"/confirm {code}") == "There is nothing to confirm."
    assert len(paused.inbox()) == 2


def test_guessing_ends_after_three_tries(paused: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module.secrets, "randbelow", lambda n: 42)
    code = code_of(paused.ask("/resume"))
    assert code == "000042"
    assert paused.ask("/confirm 1") == "Wrong code."
    assert paused.ask("/confirm ééé") == "Wrong code."
    assert "three times" in paused.ask("/confirm 3")
    assert paused.ask(f"/confirm {code}") == "There is nothing to confirm."
    assert len(paused.inbox()) == 1


def test_a_code_dies_with_the_process_and_with_the_next_request(paused: World) -> None:
    code = code_of(paused.ask("/resume"))
    other = code_of(paused.ask("/set enter_threshold_apr 1%"))
    if code != other:
        assert paused.ask(f"/confirm {code}") == "Wrong code."
    paused.restart()
    assert paused.ask(f"/confirm {other}") == "There is nothing to confirm."
    assert len(paused.inbox()) == 1


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("", "no latch is set"),
        ("drawdown", "no latch is set"),
    ],
)
def test_nothing_to_resume(world: World, words: str, answer: str) -> None:
    assert answer in world.ask(f"/resume {words}")


def test_one_of_several_latches_must_be_named(paused: World) -> None:
    latch = Latch(mode="reduce", why="fell", since_ms=0)
    paused.state = attrs.evolve(paused.state, latches={**paused.state.latches, "drawdown": latch})
    paused.bot()
    assert "Name one" in paused.ask("/resume")
    assert "There is no latch kill" in paused.ask("/resume kill")
    assert "/confirm" in paused.ask("/resume drawdown")


# --- /set ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "tier"),
    [
        ("risk.slice_usd 100", "at once"),
        ("slice_usd 100 too wild today", "at once"),
        ("risk.per_symbol_notional_cap 1500", "at once"),
        ("risk.max_drawdown_usd 50", "at once"),
        ("target_usd_notional 150", "at once"),
        ("enter_threshold_apr 5%", "at once"),
        ("enter_threshold_apr 1%", "code"),
        ("exit_threshold_apr 1%", "at once"),
        ("exit_threshold_apr -1%", "code"),
        ("risk.slice_usd 300", "can only be lowered"),
        ("target_usd_notional 100000", "can only be lowered"),
        ("risk.slice_usd 5", "below 20"),
        ("risk.slice_usd lots", "is not a number"),
        ("risk.slice_usd", "/set KEY VALUE"),
        ("no_such_key 1", "no such key"),
        ("no_such_key config", "no such key"),
        ("hedge_ratio 1", "cannot be changed while the bot runs"),
        ("enter_threshold_apr 0%", "exit_threshold_apr"),  # contradicts the exit threshold
        ("risk.slice_usd 250", "already"),
    ],
)
def test_set_by_its_tier(world: World, words: str, tier: str) -> None:
    answer = world.ask(f"/set {words}")
    if tier == "at once":
        assert answer.startswith("accepted, seq 1"), answer
        assert len(world.inbox()) == 1
    elif tier == "code":
        assert "may add risk" in answer, answer
        assert world.inbox() == []
        assert world.ask(f"/confirm {code_of(answer)}").startswith("accepted, seq 1")
    else:
        assert tier in answer, answer
        assert world.inbox() == []


def test_set_is_audited_and_in_force(world: World) -> None:
    world.ask("/set risk.slice_usd 100 thin books")
    world.bot()
    assert world.state.policy.risk.slice_usd == 100
    said = world.ask("/audit")
    assert f"telegram {ANNA}: set risk.slice_usd 250 -> 100 (thin books)" in said
    row = world.journal._db.execute("SELECT doc, version FROM audit").fetchone()
    doc = json.loads(row[0])
    assert (doc["before"], doc["after"], doc["why"]) == ("250", "100", "thin books")
    assert "policy" in row[1]
    follow = Followups(world.where, world.memory, world.chat._api)
    follow.once()
    assert "seq 1: set is in force since tick" in world.server.said()


# --- what is no command --------------------------------------------------------------------------


def strangers(server: BotServer) -> list[Any]:
    date = server.now_s
    good = {"id": ANNA, "is_bot": False}
    private = {"id": ANNA, "type": "private"}
    message = {"message_id": 1, "from": good, "chat": private, "date": date, "text": "/pause"}

    def of(**changes: Any) -> dict[str, Any]:
        return {**message, **changes}

    return [
        of(**{"from": {"id": EVE, "is_bot": False}}),
        of(chat={"id": EVE, "type": "private"}),
        of(**{"from": {"id": EVE, "is_bot": False}, "chat": {"id": EVE, "type": "private"}}),
        of(chat={"id": ANNA, "type": "group"}),
        of(chat={"id": -100, "type": "supergroup"}),
        of(chat={"id": ANNA}),
        of(**{"from": {"id": ANNA, "is_bot": True}}),
        of(**{"from": {"id": ANNA}}),
        of(**{"from": {"id": str(ANNA), "is_bot": False}}),
        of(**{"from": {"id": True, "is_bot": False}}),
        of(**{"from": None}),
        of(chat=None),
    ]


def altered(server: BotServer) -> list[Any]:
    date = server.now_s
    good = {"id": ANNA, "is_bot": False}
    base = {
        "message_id": 1,
        "from": good,
        "chat": {"id": ANNA, "type": "private"},
        "date": date,
        "text": "/pause",
    }
    return [
        {**base, "forward_origin": {"type": "user"}},
        {**base, "forward_from": good},
        {**base, "forward_sender_name": "x"},
        {**base, "forward_date": date},
        {**base, "edit_date": date},
        {**base, "via_bot": {"id": 5, "is_bot": True}},
        {**base, "sender_chat": {"id": -1}},
        {**base, "text": None},
        {**base, "text": ""},
        {**base, "text": "/pause" + "x" * 400},
        {**base, "text": ["/pause"]},
        {**base, "date": "now"},
        {k: v for k, v in base.items() if k != "date"},
    ]


def test_nothing_acts_for_a_stranger_or_an_altered_message(world: World) -> None:
    server = world.server
    count = 0
    for message in strangers(server):
        count += 1
        server.updates.append({"update_id": 1000 + count, "message": message})
    for message in altered(server):
        count += 1
        server.updates.append({"update_id": 1000 + count, "message": message})
    good = server.write("/pause")["message"]
    server.updates.pop()
    for update in (
        {"update_id": 2000, "edited_message": good},
        {"update_id": 2001, "channel_post": good},
        {"update_id": 2002, "callback_query": {"from": good["from"], "data": "/pause"}},
        {"update_id": 2003, "message": good, "edited_message": good},
        {"update_id": 2004},
        {"update_id": "2005", "message": good},
        {"update_id": True, "message": good},
        {"update_id": -5, "message": good},
        {"message": good},
        [],
        "text",
        None,
        7,
    ):
        server.updates.append(update)
    world.chat.once()
    assert world.inbox() == []
    assert server.sent == [], "strangers are not answered"
    assert world.memory.mark("telegram_strangers") == len(strangers(server))
    server._next = 3000
    assert world.ask("/pause").startswith("accepted"), "and the chat goes on"


def test_what_is_old_is_dropped_and_said(world: World) -> None:
    server = world.server
    server.write("/flatten", date=server.now_s - 61)
    server.write("/kill", date=server.now_s - 3_600)
    server.write("/pause", date=server.now_s + 61)
    world.chat.once()
    assert world.inbox() == []
    assert server.sent == [
        (ANNA, "3 messages were too old to obey. Send it again if you still mean it.")
    ]
    assert world.ask("/flatten", date=server.now_s - 59).startswith("accepted")


def test_replayed_duplicated_and_reordered_updates_act_once(world: World) -> None:
    """An API that forgets confirmations and repeats itself: each number acts once, in order."""
    server = world.server
    server.keep = True
    server.write("/pause")
    second = server.write("/set risk.slice_usd 100")
    third = server.write("/set risk.slice_usd 90")
    server.updates = [third, second, *server.updates, second]
    for _ in range(5):
        world.chat.once()
    world.restart()
    for _ in range(5):
        world.chat.once()
    asked = [(what, json.loads(args).get("value")) for _, what, args in world.inbox()]
    assert asked == [("pause", None), ("set", "100"), ("set", "90")]


def test_the_watermark_is_durable_before_the_command_acts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash inside the command loses it; the next process does not act on it."""
    world.server.keep = True
    world.server.write("/pause")

    def crash(message: Message) -> str:
        raise MemoryError("the process ends here")

    monkeypatch.setattr(world.chat, "answer", crash)
    with pytest.raises(MemoryError):
        world.chat.once()
    world.restart()
    world.chat.once()
    assert world.inbox() == []
    assert world.server.sent == []


def test_after_a_week_of_silence_numbers_may_begin_anew(world: World) -> None:
    """The API then draws the next number at random: it may be below the last."""
    world.ask("/pause")
    world.server.now_s += 7 * 86_400
    world.server._next = 5
    world.server.updates.clear()
    assert world.ask("/flatten").startswith("accepted, seq 2")
    world.server.keep = True
    world.chat.once()
    assert len(world.inbox()) == 2


# --- an API that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reply", "cause", "wait_s"),
    [
        (429, {"ok": False, "parameters": {"retry_after": 17}}, "telegram_down", 17),
        (429, {"ok": False, "parameters": {"retry_after": "x"}}, "telegram_down", 1),
        (409, {"ok": False, "description": "Conflict: terminated"}, "telegram_twice", 1),
        (401, {"ok": False, "description": "Unauthorized"}, "telegram_refused", 1),
        (502, b"<html>Bad Gateway</html>", "telegram_down", 1),
        (200, b"", "telegram_down", 1),
        (200, {"ok": True, "result": {"a": 1}}, "telegram_down", 1),
        (200, {"ok": False}, "telegram_down", 1),
        (302, b"", "telegram_down", 1),
        (0, b"", "telegram_down", 1),
    ],
)
def test_outages_are_waited_out(
    world: World, status: int, reply: Any, cause: str, wait_s: float
) -> None:
    world.server.answers["getUpdates"] = [(status, reply)]
    world.server.write("/pause")
    assert world.chat.once() >= wait_s
    if not (status == 200 and isinstance(reply, dict) and reply.get("ok") is False):
        assert world.chat.failure is not None
        assert world.chat.failure.cause == cause
    assert world.inbox() == []
    assert world.chat.once() == 0.0
    assert world.chat.failure is None
    assert len(world.inbox()) == 1


def test_an_answer_that_is_not_taken_undoes_nothing(world: World) -> None:
    busy = (429, {"ok": False, "parameters": {"retry_after": 2}})
    world.server.answers["sendMessage"] = [busy, (500, b"")]
    assert world.ask("/pause").startswith("accepted, seq 1")
    world.server.answers["sendMessage"] = [(403, {"ok": False})]
    assert world.ask("/status") == ""
    world.server.answers["sendMessage"] = [(500, b"")] * 3
    assert world.ask("/kill") == ""
    assert [what for _, what, _ in world.inbox()] == ["pause", "kill"]
    assert world.memory.mark("telegram_answers_lost") == 2


def test_a_dead_server_is_a_failure_without_its_address(world: World) -> None:
    world.server.http.shutdown()
    world.server.http.server_close()
    world.chat.once()
    assert world.chat.failure is not None
    assert TOKEN not in str(world.chat.failure)
    assert "127.0.0.1" not in str(world.chat.failure)


def test_a_refused_token_is_never_shown(world: World, tmp_path: Path) -> None:
    world.server.token = "another"
    for _ in range(3):
        world.chat.once()
    assert world.chat.failures == 3
    assert world.chat.failure is not None
    assert TOKEN not in repr(world.chat.failure) + str(world.chat.failure)


# --- whatever comes ------------------------------------------------------------------------------


def test_any_json_is_a_message_or_ignored() -> None:
    """Drawn from the keys and values that matter, so that many draws come close to a message."""
    draw = random.Random(6)
    keys = ["update_id", "message", "from", "chat", "id", "type", "text", "date", "is_bot", "x"]

    def value(depth: int) -> Any:
        plain = [None, True, False, 0, 7, ANNA, -1, "private", "/pause", "", 1.5]
        if depth == 0 or draw.random() < 0.3:
            return draw.choice(plain)
        if draw.random() < 0.1:
            return [value(depth - 1)]
        return {key: value(depth - 1) for key in draw.sample(keys, draw.randint(0, 8))}

    kinds = {Message: 0, Ignored: 0}
    for _ in range(20_000):
        raw = {"update_id": 5, "message": value(3)} if draw.random() < 0.7 else value(4)
        found = read_update(raw, (ANNA,), (ANNA,))
        kinds[type(found)] += 1
        assert not isinstance(found, Message) or found.user == ANNA
    assert kinds[Ignored] > 10_000


def test_two_people_have_codes_of_their_own(
    world: World, place: Callable[..., Any], server: BotServer
) -> None:
    world.where = place(
        f"telegram: {{token: {{file: token}}, chat_ids: [{ANNA}, 7], api_url: '{server.url}'}}\n"
    )
    world.restart()
    world.ask("/pause")
    world.bot()
    code = code_of(world.ask("/resume"))
    assert world.ask(f"/confirm {code}", who=7) == "There is nothing to confirm."
    assert world.ask(f"/confirm {code}").startswith("accepted")


def test_orders_of_two_threads_are_both_kept(world: World) -> None:
    """The chat and a terminal write at once; the bot commits meanwhile."""

    def type_(n: int) -> None:
        for _ in range(20):
            give(world.where.journal, at_ms=1, who=f"t{n}", what="pause", args="{}")

    threads = [threading.Thread(target=type_, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    world.ask("/kill")
    for thread in threads:
        thread.join()
    assert len(world.inbox()) == 61


def test_the_redactor_knows_a_token() -> None:
    assert TOKEN not in Redactor()(f"https://api.telegram.org/bot{TOKEN}/getUpdates failed")
