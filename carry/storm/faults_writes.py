"""Faults of the write path: F01, F12 to F14, F20 to F26, F28, F30, F32 to F39."""

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from carry.exchange.accounts import Order
from carry.exchange.admission import Refusal
from carry.exchange.direct import Direct
from carry.exchange.text import ZERO
from carry.shell.value_calls import Call
from carry.venues.transport import PostFailed

from .faults import Answer, Condition, Nothing, on_call
from .wire import CALL_MS, timed_out

if TYPE_CHECKING:
    from .world import World

GARBAGE: Final = (
    b"<html><head><title>502 Bad Gateway</title></head></html>", b"", b'{"status":"ok","resp',
    b"null", b'{"status":"ok","response":{"type":"order"}}', b'{"status":"queued","response":"x"}',
)  # fmt: skip
REFUSALS: Final = (
    ("Order would increase open interest while open interest is capped", "openInterestCapRejected"),
    ("Insufficient margin to place order.", "perpMarginRejected"),
    ("Price too far from oracle", "oracleRejected"),
    ("Too many open orders.", "tooManyOpenOrdersRejected"),
    ("Insufficient spot balance", "insufficientSpotBalanceRejected"),
)


def is_write(call: Call) -> bool:
    return call.is_write


def is_order(call: Call) -> bool:
    return call.order is not None


def takes(call: Call) -> bool:
    """Whether an order could execute at once."""
    order = call.order
    return order is not None and order["t"]["limit"]["tif"] != "Alo"


def closes_short(call: Call) -> bool:
    order = call.order
    return order is not None and order["r"] is True


def land(world: "World", call: Call) -> Answer:
    call.landed = True
    return world.land(call)


@on_call("F01", is_write)
def other_signer(world: "World", call: Call, rng: random.Random) -> Answer:
    """The bytes hashed are not the bytes sent: the signature recovers to somebody else."""
    decoded = dict(call.decoded)
    decoded["nonce"] = decoded["nonce"] + 1
    return world.land(Call.of(call.path, msgspec.json.encode(decoded)))


def _starved(world: "World", call: Call, leave: Decimal) -> Answer:
    """Leave only `leave` base units within the order's limit, then let it arrive."""
    order = call.order
    assert order is not None
    ex = world.exchange
    asset = ex.assets[order["a"]]
    book, bids = ex.books[asset.asset_id], not order["b"]
    limit = asset.px_units(Decimal(order["p"]))
    assert limit is not None
    within = sum(
        sz
        for px, sz in book.quotes.ladder(asset, bids=bids, time_ms=ex.now)
        if (px >= limit if bids else px <= limit)
    )
    units = int(leave.scaleb(asset.sz_decimals))
    if within <= units:
        raise Nothing
    book.taken[bids] = (within - units, ex.now)
    return land(world, call)


def _asked(call: Call) -> Decimal:
    assert call.order is not None
    return Decimal(call.order["s"])


def _lot(world: "World", call: Call) -> Decimal:
    assert call.order is not None
    return Decimal(1).scaleb(-world.exchange.assets[call.order["a"]].sz_decimals)


@on_call("F12", takes)
def one_lot(world: "World", call: Call, rng: random.Random) -> Answer:
    """So little fills that the other leg's size rounds to nothing."""
    return _starved(world, call, _lot(world, call))


@on_call("F13", takes)
def one_leg_below_minimum(world: "World", call: Call, rng: random.Random) -> Answer:
    """What fills is worth less than the other leg's $10."""
    assert call.order is not None
    px = Decimal(call.order["p"])
    worth = Decimal(rng.randrange(100, 990)) / 100
    lots = max(1, int(worth / px / _lot(world, call)))
    return _starved(world, call, lots * _lot(world, call))


@on_call("F14", takes)
def small_residue(world: "World", call: Call, rng: random.Random) -> Answer:
    """What does not fill is worth less than $10."""
    assert call.order is not None
    rest = Decimal(rng.randrange(1, 990)) / 100 / Decimal(call.order["p"])
    lots = max(1, int(rest / _lot(world, call)))
    return _starved(world, call, _asked(call) - lots * _lot(world, call))


@on_call("F20", is_write)
def error_but_accepted(world: "World", call: Call, rng: random.Random) -> Answer:
    land(world, call)
    return rng.choice((500, 502, 503, 504)), b"upstream error"


@on_call("F21", is_write)
def lands_later(world: "World", call: Call, rng: random.Random) -> Answer:
    delay = rng.choice((0, 1_000, 4_000, 9_000, 20_000, 60_000)) + rng.randrange(1_000)
    _fly(world, call, delay)
    raise timed_out(world)


def _fly(world: "World", call: Call, delay_ms: int) -> None:
    """The bytes arrive later."""
    cloid = call.order["c"] if call.order is not None else ""

    def arrive() -> None:
        world.truth.note(f"late bytes arrive: {call.kind}")
        world.truth.flying.pop(cloid, None)
        world.land(call)

    world.truth.flying[cloid] = True
    world.after(delay_ms, arrive)


@on_call("F22", lambda call: is_write(call) and call.decoded.get("expiresAfter") is not None)
def at_the_expiry(world: "World", call: Call, rng: random.Random) -> Answer:
    due = call.decoded["expiresAfter"] + rng.choice((-1, 0, 1))
    _fly(world, call, due - world.exchange.now)
    raise timed_out(world)


@on_call("F23", is_order)
def refused_inside_ok(world: "World", call: Call, rng: random.Random) -> Answer:
    text, status = rng.choice(REFUSALS)

    def refuse(account: Any, order: Any) -> None:
        raise Refusal(text, status)

    admission = world.exchange.admission
    # Replacing a method of one exchange is the fault itself.
    admission.admit = refuse  # type: ignore[method-assign]
    try:
        return land(world, call)
    finally:
        del admission.admit


@on_call("F24", is_order)
def wrong_count(world: "World", call: Call, rng: random.Random) -> Answer:
    """More or fewer statuses than orders, or one error for all of them."""
    status, body = land(world, call)
    decoded = msgspec.json.decode(body)
    if decoded.get("status") != "ok":
        raise PostFailed(True, "reset")
    items = decoded["response"]["data"]["statuses"]
    decoded["response"]["data"]["statuses"] = rng.choice(([], [*items, *items], ["waitingForFill"]))
    return status, msgspec.json.encode(decoded)


@on_call("F25", takes)
def rests_then_fills(world: "World", call: Call, rng: random.Random) -> Answer:
    """The venue says `resting` although the order crosses; it fills some seconds later."""
    matching = world.exchange.matching

    def later(account: Any, order: Order) -> tuple[int, Decimal]:
        order.tif = "Gtc"
        return 0, ZERO

    # As above: this exchange matches late.
    matching._match = later  # type: ignore[method-assign]
    try:
        return land(world, call)
    finally:
        del matching._match


@on_call("F26", is_order)
def fill_before_ack(world: "World", call: Call, rng: random.Random) -> Answer:
    answer = land(world, call)
    world.pass_ms(rng.randrange(1_000, CALL_MS - 500))
    return answer


LAGGING: Final = ("clearinghouseState", "spotClearinghouseState", "userFillsByTime", "orderStatus")


def _as_of_now(world: "World", kind: str) -> Answer:
    if not world.values:
        query = msgspec.json.encode({"type": kind, "user": world.account})
        return world.exchange.http("/info", query)
    direct = Direct(world.exchange, world.account, free=True)
    return 200, direct.perps() if kind == "clearinghouseState" else direct.balances()


@on_call("F28", is_order)
def reads_lag(world: "World", call: Call, rng: random.Random) -> Answer:
    """The order filled; account reads are served by a node that has not heard of it yet."""
    lag_ms = rng.randrange(500, 10_000)
    cloid = call.order["c"] if call.order is not None else None
    ex = world.exchange
    old = {kind: _as_of_now(world, kind) for kind in LAGGING[:2]}
    until = ex.now + lag_ms
    began = ex.now

    def after(read: Call, answer: Answer) -> Answer:
        if read.kind in old:
            return old[read.kind]
        if read.kind == "userFillsByTime" and answer[0] == 200:
            if read.do is not None:
                return 200, [fill for fill in answer[1] if fill.at_ms < began]
            rows = [r for r in msgspec.json.decode(answer[1]) if r["time"] < began]
            return 200, msgspec.json.encode(rows)
        if read.kind == "orderStatus" and read.decoded.get("oid") == cloid:
            return 200, b'{"status":"unknownOid"}' if read.do is None else None
        return answer

    world.storm.hold(Condition("F28", until, after=after))
    if rng.random() < 0.5:
        world.link.faults.slow_until_ms, world.link.faults.slow_ms = until, lag_ms
    return land(world, call)


@on_call("F30", lambda call: call.kind == "cancelByCloid")
def cancel_races_fill(world: "World", call: Call, rng: random.Random) -> Answer:
    """The order fills, whole or in part, just before its cancel arrives; the fill is told late."""
    ex = world.exchange
    item = call.decoded["action"]["cancels"][0]
    account = ex.accounts[world.account]
    for order in list(account.orders.values()):
        if order.cloid == item["cloid"]:
            sz = order.sz if rng.random() < 0.5 else max(1, order.sz // 2)
            ex.matching._give(ex.books[order.asset.asset_id], order, sz)
            ex.streams.flush()
            if rng.random() < 0.5:
                world.link.faults.drop_fills += 1
            return land(world, call)
    raise Nothing


@on_call("F32", is_write)
def unreadable(world: "World", call: Call, rng: random.Random) -> Answer:
    if rng.random() < 0.8:
        land(world, call)
    return 200, rng.choice(GARBAGE)


@on_call("F33", is_write)
def delivered_twice(world: "World", call: Call, rng: random.Random) -> Answer:
    first = land(world, call)
    second = world.land(call)
    return second if rng.random() < 0.7 else first


@on_call("F34", lambda call: True)
def too_many(world: "World", call: Call, rng: random.Random) -> Answer:
    if rng.random() < 0.5:
        land(world, call)
    return 429, b"null"


@on_call("F35", is_write)
def unprocessable(world: "World", call: Call, rng: random.Random) -> Answer:
    if rng.random() < 0.5:
        land(world, call)
    return 422, b"Failed to deserialize the JSON body into the target type"


@on_call("F36", lambda call: True)
def reset(world: "World", call: Call, rng: random.Random) -> Answer:
    if rng.random() < 0.5:
        land(world, call)
        raise PostFailed(True, "ConnectionResetError while the reply was read")
    raise PostFailed(rng.random() < 0.7, "ConnectionResetError while the request was sent")


@on_call("F37", takes)
def partly(world: "World", call: Call, rng: random.Random) -> Answer:
    lot, asked = _lot(world, call), _asked(call)
    lots = int(asked / lot)
    leave = rng.choice((1, lots - 1, rng.randrange(1, max(2, lots))))
    return _starved(world, call, max(1, leave) * lot)


@on_call("F38", takes)
def no_match(world: "World", call: Call, rng: random.Random) -> Answer:
    return _starved(world, call, ZERO)


@on_call("F39", closes_short)
def short_is_smaller(world: "World", call: Call, rng: random.Random) -> Answer:
    """The short is gone, or smaller, when the order that closes it arrives."""
    from .faults_market import adl

    adl(world, rng, rng.choice((Decimal(1), Decimal("0.5"))))
    return land(world, call)
