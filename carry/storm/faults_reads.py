"""Faults of reads and streams: F15, F27, F40 to F44, F50, F51, F60, F61, F63, F67."""

import random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from carry.core.observations import Observations
from carry.exchange.direct import Perps
from carry.shell.value_calls import Call
from carry.venues.transport import PostFailed

from .faults import Answer, Condition, Shows, on_call, on_time

if TYPE_CHECKING:
    from .world import World

NOBODY: Final = "0x" + "0" * 39 + "1"
PRIVATE: Final = (
    "clearinghouseState", "spotClearinghouseState", "frontendOpenOrders", "userFillsByTime",
    "userFunding",
)  # fmt: skip
HISTORIES: Final = ("userFillsByTime", "userFunding")
PAGE_ROWS: Final = 500


# --- the stream -----------------------------------------------------------------------------------


@on_time("F27")
def fills_never_pushed(world: "World", rng: random.Random) -> None:
    world.link.faults.drop_fills = rng.randrange(1, 5)


@on_time("F40")
def dies_silently(world: "World", rng: random.Random) -> None:
    world.link.faults.dead_ms = world.exchange.now + rng.randrange(5_000, 120_000)


@on_time("F41")
def channel_frozen(world: "World", rng: random.Random) -> None:
    channel = rng.choice(("orderUpdates", "userFills", "userFills", "bbo"))
    until = world.exchange.now + rng.randrange(10_000, 300_000)
    world.link.faults.frozen = (channel, until)


@on_time("F44")
def replayed(world: "World", rng: random.Random) -> None:
    if rng.random() < 0.5:
        world.link.faults.twice = rng.randrange(1, 8)
    else:
        world.link.faults.shuffle = rng.randrange(2, 5)


def missed(observations: Observations) -> bool:
    """Whether a tick knows that the stream was cut."""
    return any(source.startswith("stream:") for source in observations.gaps)


@on_time("F42")
def refused(world: "World", rng: random.Random) -> Shows:
    world.link.faults.refuse_ms = world.exchange.now + rng.randrange(5_000, 90_000)
    world.link.drop()
    return missed


@on_time("F43")
def gap(world: "World", rng: random.Random) -> Shows:
    world.link.drop()
    return missed


# --- the venue ------------------------------------------------------------------------------------


@on_time("F50")
def down(world: "World", rng: random.Random) -> None:
    """No API: all of it, only reads, only writes, or one endpoint."""
    what = rng.choice(("all", "/info", "/exchange", rng.choice(PRIVATE)))
    if rng.random() < 0.9:
        ms = rng.randrange(1_000, 60_000)
    else:
        ms = rng.randrange(60_000, 900_000)
    status = rng.choice((0, 502, 503))

    def carry(call: Call) -> Answer | None:
        if what not in ("all", call.path, call.kind):
            return None
        if status:
            return status, b"down"
        raise PostFailed(False, "connection refused")

    world.storm.hold(Condition("F50", world.exchange.now + ms, carry=carry))


@on_time("F51")
def upgrade(world: "World", rng: random.Random) -> None:
    """Sockets drop, everything is down for some seconds, then only post-only orders are taken."""
    now = world.exchange.now
    dark = rng.randrange(1_000, 20_000)
    world.link.faults.refuse_ms = now + dark
    world.link.drop()

    def carry(call: Call) -> Answer | None:
        return 503, b"upgrade"

    world.storm.hold(Condition("F51", now + dark, carry=carry))
    world.exchange.post_only_until_ms = now + dark + rng.randrange(60_000, 600_000)


# --- reads ----------------------------------------------------------------------------------------


def _of_nobody(world: "World", call: Call) -> Answer:
    """What the venue answers to the same question about an address that never traded."""
    if call.do is not None:
        return world.answer(call, NOBODY)
    query = {**call.decoded, "user": NOBODY}
    return world.exchange.http("/info", msgspec.json.encode(query))


@on_time("F60")
def empty_but_valid(world: "World", rng: random.Random) -> None:
    until = world.exchange.now + rng.choice((1, rng.randrange(1_000, 40_000)))
    kinds = rng.choice((PRIVATE, (rng.choice(PRIVATE),), PRIVATE[:2]))

    def after(call: Call, answer: Answer) -> Answer:
        return _of_nobody(world, call) if call.kind in kinds else answer

    world.storm.hold(Condition("F60", until, after=after))


@on_time("F61")
def mode_flips(world: "World", rng: random.Random) -> None:
    """The mode reads as another one; in some flips the perp account reads as nothing too."""
    until = world.exchange.now + rng.randrange(3_000, 60_000)
    word = msgspec.json.encode(
        rng.choice(("portfolioMargin", "unifiedAccount", "default", "dexAbstraction"))
    )
    zeros = rng.random() < 0.5

    def after(call: Call, answer: Answer) -> Answer:
        if call.kind == "userAbstraction":
            return 200, word if call.do is None else msgspec.json.decode(word)
        if zeros and call.kind == "clearinghouseState":
            return _of_nobody(world, call)
        return answer

    world.storm.hold(Condition("F61", until, after=after))


@on_time("F63")
def list_truncated(world: "World", rng: random.Random) -> None:
    """Positions are left out of an otherwise complete reply."""
    until = world.exchange.now + rng.randrange(500, 3_000)

    def after(call: Call, answer: Answer) -> Answer:
        if call.kind != "clearinghouseState" or answer[0] != 200:
            return answer
        if isinstance(answer[1], Perps):
            left = dict(list(answer[1].positions.items())[1:])
            return 200, answer[1]._replace(positions=left)
        decoded = msgspec.json.decode(answer[1])
        decoded["assetPositions"] = decoded["assetPositions"][1:]
        return 200, msgspec.json.encode(decoded)

    world.storm.hold(Condition("F63", until, after=after))


@on_call("F67", lambda call: call.kind in HISTORIES)
def full_page(world: "World", call: Call, rng: random.Random) -> Answer:
    """A page that is full, with rows twice, and rows from before the asked time."""
    status, body = world.land(call)
    rows: list[Any] = msgspec.json.decode(body)
    if status != 200 or not rows:
        return status, body
    padded = [rows[n % len(rows)] for n in range(PAGE_ROWS)] if len(rows) < PAGE_ROWS else rows
    many = sorted(padded, key=lambda row: int(row["time"]))
    if rows[0]["time"] == rows[-1]["time"]:
        many = [row for row in rows for _ in (1, 2)]  # one instant cannot fill a page
    return status, msgspec.json.encode(many)
