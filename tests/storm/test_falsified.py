"""The harness proves nothing unless it can fail: each invariant's truth is falsified once."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest

from carry.core.actions import Alert, Cancel, Note
from carry.core.num import use_exact_context
from carry.core.observations import Observations
from carry.core.state import Exit, HedgeOk, Idle, Latch, State, Unknown
from carry.core.types import Leg
from carry.exchange.accounts import Nonces
from carry.shell.value_calls import Call
from carry.storm.campaign import case_of
from carry.storm.invariants import Sent, Violation
from carry.storm.phases import Life
from carry.storm.world import World

D = Decimal
SEED = 1


@pytest.fixture
def world() -> World:
    """A bot that holds a carry in BTC and HYPE."""
    use_exact_context()
    world = World(case_of(SEED, 400, "none"))
    world.run(60, world.truth.holds)
    world.run(world.tick + 90, lambda: world.truth.state is not None and at_rest(world.truth.state))
    assert world.truth.holds()
    return world


def at_rest(state: State) -> bool:
    held = all(isinstance(carry.phase, HedgeOk) for carry in state.carries.values())
    return held and not state.intents


def order(world: World, **changes: Any) -> Call:
    """An order for 1 HYPE spot, as the bot would send it now."""
    nonce = changes.pop("nonce", world.truth.nonce_high + 1)
    expires = changes.pop("expires", world.exchange.now + 10_000)
    one = {
        "a": 10_107, "b": True, "p": "10", "s": "1", "r": False, "t": {"limit": {"tif": "Ioc"}},
        "c": "0x" + "1" * 32, **changes,
    }  # fmt: skip
    body = {"action": {"type": "order", "orders": [one]}, "nonce": nonce, "expiresAfter": expires}
    return Call.of("/exchange", msgspec.json.encode(body))


def believed_committed(world: World) -> None:
    world.truth._committed = lambda call, nonce: None


def send(world: World, **changes: Any) -> None:
    believed_committed(world)
    world.truth.on_send(order(world, **changes))


def latched(world: World, mode: str) -> None:
    latch = Latch(mode=mode, why="test", since_ms=0)
    world.truth.state = attrs.evolve(world.bot.state, latches={"test": latch})


def not_committed(world: World) -> None:
    world.truth.on_send(order(world))


def accepted_twice(world: World) -> None:
    call = order(world)
    world.truth.sent[str(call.order["c"])] = Sent("x", 10_107, D(1), 0, 1, landed=1)
    world.truth.landed(call, b'{"response":{"data":{"statuses":[{"filled":{}}]}}}')


def overfilled(world: World) -> None:
    row = world.truth.account.fills[-1]
    world.truth.account.fills.append({**row, "sz": "1000"})
    world.truth.look()


def nonce_again(world: World) -> None:
    send(world, nonce=world.truth.nonce_high)


def nonce_ahead(world: World) -> None:
    send(world, nonce=world.exchange.now + 70_000)


def no_expiry(world: World) -> None:
    send(world, expires=world.exchange.now + 60_000)


def long_perp(world: World) -> None:
    held = world.truth.account.positions[159]
    held.szi = D(1)
    moved(world)


def perp_buy_without_flag(world: World) -> None:
    send(world, a=159, s="1")


def perp_buy_too_large(world: World) -> None:
    send(world, a=159, s="100000", r=True)


def above_the_cap(world: World) -> None:
    send(world, s="100000", p="10")


def short_vanishes(world: World) -> None:
    """Too large to be a slice: nobody said it was taken."""
    world.truth.account.positions[159].szi *= 10
    moved(world)


def moved(world: World) -> None:
    world.truth._looked_ms = 0
    world.truth.look()


def buys_in_reduce(world: World) -> None:
    latched(world, "reduce")
    send(world)


def buys_after_kill(world: World) -> None:
    latched(world, "flatten")
    send(world)


def two_may_land(world: World) -> None:
    send(world)
    world.truth.flying["0x" + "1" * 32] = True
    send(world, c="0x" + "2" * 32)


def flat_is_claimed(world: World) -> None:
    state = world.bot.state
    leaving = {
        coin: attrs.evolve(c, phase=Exit(since_ms=0, why="", forced=True))
        for coin, c in state.carries.items()
    }
    flat = {coin: attrs.evolve(c, phase=Idle()) for coin, c in state.carries.items()}
    world.truth.on_commit(
        attrs.evolve(state, carries=leaving), NOTHING, attrs.evolve(state, carries=flat), ()
    )


NOTHING = Observations(mono_ms=0, wall_ms=0, venue_ms=None)


def change_from_nowhere(world: World) -> None:
    note = Note(event="external", coin="HYPE", fields={"leg": "spot", "change": "-1"})
    world.truth.on_commit(world.bot.state, NOTHING, world.bot.state, (note,))


def wrong_rule(world: World) -> None:
    text = b'{"response":{"data":{"statuses":[{"error":"Price must be divisible by tick size."}]}}}'
    world.truth.landed(order(world), text)


def other_position(world: World) -> None:
    carries = {
        coin: attrs.evolve(c, perp_sz=c.perp_sz + 1) for coin, c in world.bot.state.carries.items()
    }
    world.truth.state = attrs.evolve(world.bot.state, carries=carries)
    world.truth.audit()


def a_cent_missing(world: World) -> None:
    state = world.bot.state
    account = attrs.evolve(state.account, residual_usd=Decimal("0.01"))
    world.truth.state = attrs.evolve(state, account=account)
    world.truth.audit()


def money_from_nowhere(world: World) -> None:
    world.exchange.house.cash += 1
    world.truth.audit()


def halts(world: World) -> None:
    latched(world, "halt")
    world.truth._halted(world.truth.state)


def healed(world: World, ago_ms: int) -> Life:
    life = Life(world)
    life._healed_ms = world.exchange.now - ago_ms
    return life


def stays_naked(world: World) -> None:
    life = healed(world, 100_000)
    world.truth.naked["HYPE"].since_ms = world.exchange.now - 90_000
    life._deadlines(world.exchange.now)


def stays_unknown(world: World) -> None:
    world.pass_ms(100_000)
    life = healed(world, 90_000)
    unknown = {"1": attrs.evolve(an_intent(world), status=Unknown(since_ms=0))}
    world.truth.state = attrs.evolve(world.bot.state, intents=unknown)
    life._deadlines(world.exchange.now)


def an_intent(world: World) -> Any:
    from carry.core.state import Intent, Kind, Sent
    from carry.core.types import Leg, Side, Tif

    return Intent(
        no=1, kind=Kind.ORDER, coin="HYPE", leg=Leg.SPOT, side=Side.BUY, px=D(1), sz=D(1),
        tif=Tif.IOC, reduce_only=False, why="", ref_px=D(1), nonce=1, cloid="0x", expires_ms=0,
        sent_ms=0, at_ms=0, status=Sent(),
    )  # fmt: skip


def never_protected(world: World) -> None:
    life = healed(world, 100_000)
    state = world.bot.state
    world.truth.state = attrs.evolve(state, protected_ms=None, started_ms=state.now_ms - 90_000)
    life._deadlines(world.exchange.now)


def never_flat(world: World) -> None:
    life = healed(world, 0)
    life._killed_ms = world.exchange.now - 200_000
    life._deadlines(world.exchange.now)


def worth_nothing(world: World) -> None:
    send(world, p="1", s="0.5")


def weight_used_up(world: World) -> None:
    world.truth.booted_ms = -100_000
    world.exchange.meters.ip.spend(world.exchange.now, 1_000, "test")
    send(world)


def forgets_what_flies(world: World) -> None:
    cloid, now = "0x" + "1" * 32, world.exchange.now
    world.truth.flying[cloid] = True
    world.truth.sent[cloid] = Sent(cloid=cloid, asset=0, sz=D(1), sent_ms=now, nonce=now)
    world.truth.booted()


def speaks_without_a_fault(world: World) -> None:
    alert = Alert(level="warn", name="x", coin=None, text="x")
    world.truth.on_commit(world.bot.state, NOTHING, world.bot.state, (alert,))


def takes_back_without_a_fault(world: World) -> None:
    cancel = Cancel(
        intent=1, coin="HYPE", leg=Leg.SPOT, cloid="0x", nonce=1, expires_ms=1, why="x"
    )
    world.truth.on_commit(world.bot.state, NOTHING, world.bot.state, (cancel,))


def held_and_naked(world: World) -> None:
    state = world.bot.state
    carries = {c: attrs.evolve(x, phase=HedgeOk(since_ms=0)) for c, x in state.carries.items()}
    held = attrs.evolve(state, carries=carries)
    world.truth.naked["HYPE"].since_ms = world.exchange.now
    world.truth.on_commit(held, NOTHING, held, ())


def liquidated(world: World) -> None:
    world.truth.account.transfers.append({"time": 0, "delta": {"type": "liquidation"}})
    world.pass_ms(1_000)


FALSIFIED: list[tuple[str, Callable[[World], None]]] = [
    ("I01", not_committed), ("I02", accepted_twice), ("I02", overfilled), ("I03", nonce_again),
    ("I04", nonce_ahead), ("I04", no_expiry), ("I05", long_perp), ("I05", perp_buy_without_flag),
    ("I05", perp_buy_too_large), ("I06", above_the_cap), ("I07", short_vanishes),
    ("I08", buys_in_reduce), ("I10", buys_after_kill), ("I09", two_may_land),
    ("I12", flat_is_claimed), ("I13", change_from_nowhere), ("I18", wrong_rule),
    ("I15", other_position), ("I16", a_cent_missing), ("EXCHANGE", money_from_nowhere),
    ("HALT", halts), ("L1", stays_naked), ("L2", stays_unknown), ("L3", never_protected),
    ("L4", never_flat), ("I19", worth_nothing), ("I20", weight_used_up),
    ("I23", forgets_what_flies), ("L7", speaks_without_a_fault), ("L7", held_and_naked),
    ("L7", takes_back_without_a_fault), ("I27", liquidated),
]  # fmt: skip


@pytest.mark.parametrize("name, lie", FALSIFIED, ids=[lie.__name__ for _, lie in FALSIFIED])
def test_it_fires(name: str, lie: Callable[[World], None], world: World) -> None:

    with pytest.raises(Violation) as caught:
        lie(world)
    assert caught.value.name == name, caught.value


def test_what_flies_under_a_burnt_nonce_may_be_forgotten(world: World) -> None:
    """The fence took its nonce: its bytes can only be refused when they arrive."""
    nonce = world.exchange.now
    world.exchange.nonces.setdefault(world.key.address, Nonces()).use(nonce)
    world.truth.sent["0x1"] = Sent(cloid="0x1", asset=0, sz=D(1), sent_ms=nonce, nonce=nonce)
    world.truth.flying["0x1"] = True
    world.truth.booted()
