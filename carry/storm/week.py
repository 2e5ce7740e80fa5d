"""The week of the demo: what the market, the exchange and the owner do, and when.

A script of causes over time. What comes of them is the bot's doing: nothing here asks it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from carry.core.num import floor_to, show
from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy
from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS, KNOTS, MINUTE_MS, HourPath, Print
from carry.shell.value_calls import Call

from .draw import Case, Strike
from .faults import Answer, Condition
from .faults_market import adl
from .market import HISTORY_HOURS, Shape
from .wire import CALL_MS, timed_out

if TYPE_CHECKING:
    from .demo import Demo

E9: Final = 1_000_000_000
BP: Final = 100_000  # one basis point in 1e-9
E4: Final = 10_000
HOURS: Final = 7 * 24
LULL_MS: Final = 2 * HOUR_MS  # what is passed at once while nothing happens
CARRIED: Final = "HYPE"
COINS: Final = ("BTC", CARRIED, "PURR")
SETTLE_H: Final = 3  # what the owner closes at the end is read back and explained in this time

# Premium of the perp over the oracle in basis points, from an hour of the week on. At or above 6
# the shorts are paid more than the baseline, below -4 they pay.
PREMIUM_BP: Final = {
    "BTC": ((-HISTORY_HOURS * 100, -9),),
    "PURR": ((-HISTORY_HOURS * 100, 12),),
    CARRIED: ((-HISTORY_HOURS * 100, 15), (52, -14), (60, 15), (154, -75)),
}
RALLY_H: Final = (80, 86)
RALLY_E4: Final = 13_000
CALM: Final = 4  # of what the seed's price moves, one part in so many: the script moves the rest
OUTAGE_MS: Final = 40 * MINUTE_MS


def case_of(seed: int) -> Case:
    """The demo's world: a thousand dollars, three markets, a size that a rally can endanger."""
    policy = Policy(
        strategy=Strategy(target_usd_notional=Decimal(650), forecast_halflife_h=24),
        execution=Execution(perp_leverage=3),
        risk=Risk(),
        markets=tuple(MarketPolicy(base=coin) for coin in COINS),
        source="demo",
    )
    # The strike is never armed by its tick: it says that this case is not free of faults.
    never = Strike(no=0, fault="F36", tick=1 << 40, key=0)
    return Case(
        seed=seed, ticks=1 << 40, interval_ms=5_000, mode="unified", funds_usd=Decimal(1_000),
        policy=policy, shape=Shape(regime="calm", begin_min=0, bp=0, minutes=0),
        strikes=(never,), orders=(),
    )  # fmt: skip


class Scripted:
    """The seeded market's prices with the week's premiums and its rally laid over them."""

    prints_funding = False

    def __init__(self, under: SeededMarket) -> None:
        self._under = under
        self.name, self.coins = under.name, under.coins
        self.start_ms, self.first_hour = under.start_ms, under.first_hour
        self._start_hour = self.start_ms // HOUR_MS
        self._made: dict[tuple[str, int], HourPath] = {}
        self._base = {coin: under.path(coin, self._start_hour).oracle[0] for coin in self.coins}

    def path(self, coin: str, hour: int) -> HourPath:
        at = max(hour - self._start_hour, -HISTORY_HOURS)
        made = self._made.get((coin, at))
        if made is None:
            made = self._made[(coin, at)] = self._make(coin, at)
        return made

    def _make(self, coin: str, at: int) -> HourPath:
        plain = self._under.path(coin, self._start_hour + at)
        level = premium_bp(coin, at) * BP
        factors = [rise_e4(coin, at * 60 + n) for n in range(KNOTS)]
        base = self._base[coin]
        calm = [base + (px - base) // CALM for px in plain.oracle]
        oracle = [px * f // E4 for px, f in zip(calm, factors, strict=True)]
        # The pair's own basis, as the seed has it.
        spot = [
            px * own // under
            for px, own, under in zip(oracle, plain.spot, plain.oracle, strict=True)
        ]
        if at == -HISTORY_HOURS:  # stands for all that came before: it must not move
            oracle, spot = [oracle[0]] * KNOTS, [spot[0]] * KNOTS
        return HourPath(oracle, [px + px * level // E9 for px in oracle], spot)

    def printed(self, coin: str, hour: int) -> Print | None:
        return None


def premium_bp(coin: str, hour: int) -> int:
    """The premium in the hour of the week (before it: < 0)."""
    return next(bp for begins, bp in reversed(PREMIUM_BP[coin]) if hour >= begins)


def rise_e4(coin: str, minute: int) -> int:
    """What the rally makes of the price, in 1e-4, at a minute of the week."""
    first, last = (hour * 60 for hour in RALLY_H)
    if coin != CARRIED or minute <= first:
        return E4
    return E4 + (RALLY_E4 - E4) * min(minute - first, last - first) // (last - first)


def thin_out(exchange: Exchange) -> None:
    """PURR's spot is quoted so wide that no funding pays for it."""
    exchange.coins["PURR"].spot.half_spread_e9 = (20 * BP, 24 * BP)


@attrs.frozen(kw_only=True)
class Cue:
    """Something that happens `at_ms` after the start, told in the words of `says`.

    looks: what of the state the next tick shows: "markets" (what each waits for) or "carry".
    """

    at_ms: int
    title: str = ""
    says: str = ""
    looks: str = ""
    does: Callable[["Demo"], None] = lambda demo: None


def _hour(hour: int, minute: int = 0) -> int:
    return hour * HOUR_MS + minute * MINUTE_MS


def cues() -> tuple[Cue, ...]:
    """The week in order."""
    return (
        Cue(
            at_ms=0, title="A new account looks at three markets", looks="markets",
            says="The reply to the second hedge will be lost on its way back, and for some "
            "seconds the venue tells no history.",
            does=lambda demo: lose_reply(demo, nth=2),
        ),
        Cue(at_ms=_hour(24), title="A quiet day of funding", looks="carry"),
        Cue(
            at_ms=_hour(28), title="Drift",
            says="The owner buys back a part of the short by hand, on the venue's own page.",
            does=lambda demo: by_hand(demo),
        ),
        Cue(
            at_ms=_hour(28, 20), says="The owner has read the alert.",
            does=lambda demo: demo.command("resume", latch=f"external_{CARRIED}"),
        ),
        Cue(
            at_ms=_hour(40), title="The short is taken",
            says="The exchange deleverages a part of the short; the first order that would "
            "mend it is lost before it arrives.",
            does=lambda demo: taken(demo),
        ),
        Cue(
            at_ms=_hour(40, 20), says="The owner has read the alert.",
            does=lambda demo: demo.command("resume", latch=f"external_{CARRIED}"),
        ),
        Cue(
            at_ms=_hour(52, 10), title="Funding turns", looks="carry",
            says="For some hours the shorts pay the longs.",
        ),
        Cue(at_ms=_hour(58), says="Still paying.", looks="carry"),
        Cue(at_ms=_hour(62), says="The shorts are paid again.", looks="carry"),
        Cue(
            at_ms=_hour(80), title="A rally", looks="carry",
            says="The price climbs for hours; the short loses what the spot gains, and only "
            "the short can be liquidated.",
            does=lambda demo: demo.look_each(15 * MINUTE_MS),
        ),
        Cue(
            at_ms=_hour(87), says="The price holds.", looks="carry",
            does=lambda demo: demo.look_each(LULL_MS),
        ),
        Cue(
            at_ms=_hour(104), title="The venue goes dark",
            says="No answer to anything, and the stream is cut.", does=lambda demo: dark(demo),
        ),
        Cue(at_ms=_hour(105), says="The venue is back.", looks="carry"),
        Cue(
            at_ms=_hour(154, 10), title="Funding turns for good", looks="carry",
            says="The shorts pay many times what they earned. When the bot leaves, its process "
            "will be killed with an order on the wire.",
            does=lambda demo: kill_at_sale(demo),
        ),
        Cue(
            at_ms=_hour(HOURS - SETTLE_H), title="The end of the week",
            says="The owner closes what is still open.",
            does=lambda demo: demo.command("flatten"),
        ),
    )  # fmt: skip


# --- faults ---------------------------------------------------------------------------------------


def by_hand(demo: "Demo") -> None:
    """The account's owner buys back a thirtieth of the short, with the owner's own signature."""
    asset = demo.exchange.coins[CARRIED].perp
    short = -demo.exchange.accounts[demo.account].szi(asset.asset_id)
    lot = Decimal(1).scaleb(-asset.sz_decimals)
    _, ask = demo.exchange.quotes.touch(asset, demo.exchange.now)
    limit = Decimal(ask + 5 * asset.tick(ask)).scaleb(-asset.px_decimals)
    order = {
        "a": asset.asset_id, "b": True, "p": show(limit), "s": show(floor_to(short / 30, lot)),
        "r": True, "t": {"limit": {"tif": "Ioc"}},
    }  # fmt: skip
    action = {"type": "order", "orders": [order], "grouping": "na"}
    demo.truth.external(CARRIED)
    demo.truth.held_coins[CARRIED] = True
    answer = demo.direct(demo.account).act(demo.account, action, demo.exchange.now, None)
    assert answer.filled or not short, answer
    demo.link.pump()


def _once(demo: "Demo", fits: Callable[[Call], bool], carry: Callable[[Call], Answer]) -> None:
    """Let `carry` answer the first call that fits."""
    done: list[Call] = []

    def answer(call: Call) -> Answer | None:
        if done or not fits(call):
            return None
        done.append(call)
        return carry(call)

    demo.storm.hold(Condition("F36", 1 << 60, carry=answer))


def _sells(demo: "Demo", call: Call, spot: bool) -> bool:
    order = call.order
    return (
        order is not None
        and not order["b"]
        and demo.exchange.assets[order["a"]].is_spot is spot
    )


def lose_reply(demo: "Demo", nth: int) -> None:
    """The nth sale of the perp is executed, and nobody hears of it in time."""
    seen: list[Call] = []

    def fits(call: Call) -> bool:
        seen.extend([call] if _sells(demo, call, spot=False) else [])
        return len(seen) == nth

    def carry(call: Call) -> Answer:
        demo.link.faults.frozen = ("orderUpdates", demo.exchange.now + 2 * CALL_MS)
        demo.link.faults.drop_fills = 1
        demo.land(call)
        until_ms = demo.exchange.now + 2 * CALL_MS
        demo.storm.hold(Condition("F50", until_ms, carry=untold))
        raise timed_out(demo)

    def untold(call: Call) -> Answer | None:
        return (503, b"down") if call.kind == "userFillsByTime" else None

    _once(demo, fits, carry)


def taken(demo: "Demo") -> None:
    """A fifth of the short goes by auto-deleveraging; the next order never arrives."""

    def carry(call: Call) -> Answer:
        raise timed_out(demo)

    _once(demo, lambda call: _sells(demo, call, spot=False), carry)
    adl(demo, demo.rng["market"], Decimal("0.2"))


def dark(demo: "Demo") -> None:
    """Every request fails and no connection is taken."""
    until_ms = demo.exchange.now + OUTAGE_MS
    demo.link.faults.refuse_ms = until_ms
    demo.link.drop()
    demo.storm.hold(Condition("F50", until_ms, carry=lambda call: (503, b"down")))


def kill_at_sale(demo: "Demo") -> None:
    """The process dies after the bytes of the second sale of spot have arrived."""
    seen: list[Call] = []

    def fits(call: Call) -> bool:
        seen.extend([call] if _sells(demo, call, spot=True) else [])
        return len(seen) == 2

    def carry(call: Call) -> Answer:
        answer = demo.land(call)
        demo.crash_at = demo.boundaries + 1
        demo.after(0, demo.tell_of_death)
        return answer

    _once(demo, fits, carry)
