"""The last look before a write is signed: pure, apart from the core, from what the venue told.

It does not read the core's state: it folds the same observations into a few facts of its own and
holds each action against the operator's limits, so that a mistake in what decides does not become
an order. What reduces is bounded in kind and price only, never by caps or rates of entries.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.core.actions import Cancel, CancelForeign, Fence, MoveUsd, Place, SetLeverage, Write
from carry.core.num import BPS, ONE, ZERO, show
from carry.core.observations import (
    Accepted,
    BalancesRead,
    BookSeen,
    ContextsRead,
    MarketsRead,
    NotSent,
    Observations,
    Outcome,
    PositionsRead,
    Refused,
)
from carry.core.policy import Policy
from carry.core.state import State
from carry.core.types import Leg, Side

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
WRITES_PER_MIN_MAX: Final = 1_200
EXPIRY_MS_MAX: Final = 60_000
SLACK: Final = Decimal("1.1")  # prices move between the core's own check of a cap and this one
BAND_MORE: Final = Decimal("0.05")  # beyond what a widened order may pay
LEAVES: Final = (Cancel, CancelForeign, Fence)


@attrs.frozen(kw_only=True)
class Limits:
    """What an operator allows. leg_usd, slice_usd, move_usd (a day): USD. band: a fraction."""

    coins: tuple[str, ...]
    leg_usd: Decimal
    slice_usd: Decimal
    move_usd: Decimal
    orders_per_min: int
    leverage: int
    band: Decimal


def limits_of(policy: Policy) -> Limits:
    """The limits of the policy in force; a reload or a `carry set` gives others."""
    return Limits(
        coins=policy.coins,
        leg_usd=policy.risk.per_symbol_notional_cap,
        slice_usd=policy.risk.slice_usd,
        move_usd=policy.risk.transfer_usd_per_day,
        orders_per_min=policy.risk.max_orders_per_min,
        leverage=policy.execution.perp_leverage,
        band=policy.execution.hedge_repair_bps_max * BPS + BAND_MORE,
    )


@attrs.frozen(kw_only=True)
class Sent:
    """One write that was let through. sz: base units, or USD of a move; `ms` monotonic.

    An order counts whole until the venue's own answer says how much of it is left to count.
    """

    ms: int
    key: str  # "HYPE/spot/buy", "move", or "" for what adds nothing
    sz: Decimal
    intent: int = 0


@attrs.frozen(kw_only=True)
class Facts:
    """What was seen and sent. Keys are "COIN/leg".

    own: holdings that the journal explained at the start, signed; others: what the first read
    showed beyond them, which is the account holder's. held_ms: when holdings were last asked for.
    """

    own: Mapping[str, Decimal]
    others: Mapping[str, Decimal] = attrs.field(factory=dict)
    held: Mapping[str, Decimal] = attrs.field(factory=dict)
    held_ms: Mapping[str, int] = attrs.field(factory=dict)
    prices: Mapping[str, tuple[Decimal, Decimal]] = attrs.field(factory=dict)
    marks: Mapping[str, tuple[Decimal, Decimal]] = attrs.field(factory=dict)
    listed: tuple[str, ...] = ()
    venue_ms: int | None = None
    nonce: int = 0
    sent: tuple[Sent, ...] = ()


def facts_of(state: State) -> Facts:
    """The facts at the start of a process: what the journal explains, and its last nonce."""
    own: dict[str, Decimal] = {}
    for coin, carry in state.carries.items():
        own[_key(coin, Leg.SPOT)], own[_key(coin, Leg.PERP)] = carry.spot_sz, carry.perp_sz
    listed = tuple(coin for coin, carry in state.carries.items() if carry.market is not None)
    return Facts(own=own, nonce=state.nonce, listed=listed)


def fold(facts: Facts, seen: Observations) -> Facts:
    """The facts with what a tick observed."""
    prices, marks = dict(facts.prices), dict(facts.marks)
    held, held_ms, others = dict(facts.held), dict(facts.held_ms), dict(facts.others)
    listed = facts.listed
    for event in seen.events:
        if isinstance(event, BookSeen) and ZERO < event.book.bid_px <= event.book.ask_px:
            prices[_key(event.coin, event.leg)] = (event.book.bid_px, event.book.ask_px)

    def read(coin: str, leg: Leg, sz: Decimal, issued_ms: int) -> None:
        key = _key(coin, leg)
        others.setdefault(key, sz - facts.own.get(key, ZERO))
        held[key], held_ms[key] = sz, issued_ms

    for one in seen.reads:
        match one:
            case MarketsRead():
                listed = tuple(dict.fromkeys((*listed, *one.markets)))
            case ContextsRead():
                marks.update({c: (x.mark_px, x.oracle_px) for c, x in one.contexts.items()})
            case PositionsRead():
                for coin in listed:
                    sz = one.positions[coin].sz if coin in one.positions else ZERO
                    read(coin, Leg.PERP, sz, one.issued_ms)
            case BalancesRead():
                for coin in listed:
                    sz = one.coins[coin].total if coin in one.coins else ZERO
                    read(coin, Leg.SPOT, sz, one.issued_ms)
            case _:
                pass
    answered = {one.intent: filled for one in seen.outcomes if (filled := _final(one)) is not None}
    sent = (
        attrs.evolve(one, sz=min(one.sz, answered[one.intent])) if one.intent in answered else one
        for one in facts.sent
    )
    return attrs.evolve(
        facts,
        prices=prices,
        marks=marks,
        held=held,
        held_ms=held_ms,
        others=others,
        listed=listed,
        venue_ms=seen.venue_ms,
        sent=tuple(s for s in sent if seen.mono_ms - s.ms < (DAY_MS if s.key == "move" else
                   MINUTE_MS) or s.ms >= held_ms.get(_leg_of(s.key), 0)),
    )  # fmt: skip


def _final(outcome: Outcome) -> Decimal | None:
    """What an order filled, once its answer says that nothing more will; None while that is open.
    """
    match outcome:
        case Accepted(resting=False, filled_sz=filled):
            return filled
        case Refused() | NotSent():
            return ZERO
    return None


def refused(facts: Facts, limits: Limits, action: Write, now_ms: int) -> str:
    """Why an action must not be signed, with value and bound; "" when it may."""
    if not isinstance(action, Place | Cancel | CancelForeign | SetLeverage | MoveUsd | Fence):
        return f"{type(action).__name__} is no action that this bot takes"
    if isinstance(action, Fence):
        return ""  # does nothing, under a nonce that was used before
    coin: Any = getattr(action, "coin", None)
    if coin is not None and coin not in limits.coins and coin not in facts.listed:
        return f"{coin} is not among the markets {', '.join(limits.coins) or '-'}"
    return (
        _timing(facts, action, now_ms)
        or (_place(facts, limits, action, now_ms) if isinstance(action, Place) else "")
        or (_leverage(limits, action) if isinstance(action, SetLeverage) else "")
        or (_move(facts, limits, action, now_ms) if isinstance(action, MoveUsd) else "")
    )


def passed(facts: Facts, action: Write, now_ms: int) -> Facts:
    """The facts after an action was let through."""
    if isinstance(action, Fence):
        return facts
    key, sz, intent = "", ZERO, 0
    if isinstance(action, Place):
        intent = action.intent
        key, sz = f"{_key(action.coin, action.leg)}/{action.side.value}", action.sz
    elif isinstance(action, MoveUsd):
        key, sz = "move", action.usd
    return attrs.evolve(
        facts,
        nonce=max(facts.nonce, action.nonce),
        sent=(*facts.sent, Sent(ms=now_ms, key=key, sz=sz, intent=intent)),
    )


# --- rules ----------------------------------------------------------------------------------------


def _key(coin: str, leg: Leg) -> str:
    return f"{coin}/{leg.value}"


def _leg_of(key: str) -> str:
    return key.rpartition("/")[0]


def _timing(facts: Facts, action: Any, now_ms: int) -> str:
    """Nonces rise and are used once, an action expires soon, and a minute takes only so many."""
    if action.nonce <= facts.nonce:
        return f"nonce {action.nonce} is not above {facts.nonce}, which was used already"
    if facts.venue_ms is None:
        return "the venue's clock is not known"
    left_ms = action.expires_ms - facts.venue_ms
    if not 0 < left_ms <= EXPIRY_MS_MAX:
        return f"it expires in {left_ms} ms, allowed is up to {EXPIRY_MS_MAX}"
    count = sum(1 for one in facts.sent if now_ms - one.ms < MINUTE_MS)
    if count >= WRITES_PER_MIN_MAX and not isinstance(action, LEAVES):
        return f"{count} writes in the last minute, allowed are {WRITES_PER_MIN_MAX}"
    return ""


def _place(facts: Facts, limits: Limits, place: Place, now_ms: int) -> str:
    buys = place.side is Side.BUY
    if place.leg is Leg.PERP and buys and not place.reduce_only:
        return "a perp buy that is not reduce-only could turn the account long"
    if not (place.sz.is_finite() and place.px.is_finite() and place.sz > 0 and place.px > 0):
        return f"{place.sz} at {place.px} is no order"
    refusal = _band(facts, limits, place)
    adds = (place.leg is Leg.SPOT) == buys
    if refusal or not adds:
        return refusal
    if place.coin not in limits.coins:
        return f"{place.coin} is not configured: it may only be closed"
    return _bought(facts, limits, place, now_ms) if buys else _shorted(facts, limits, place)


def _band(facts: Facts, limits: Limits, place: Place) -> str:
    """No price that gives money away, against any price the venue showed of the leg or the coin."""
    known = (*facts.prices.get(_key(place.coin, place.leg), ()), *facts.marks.get(place.coin, ()))
    if not known:
        return f"no price of {place.coin} was seen"
    worst = max(known) * (ONE + limits.band)
    if place.side is Side.BUY and place.px > worst:
        return f"a buy at {show(place.px)} is above {show(worst)}, the price band"
    least = min(known) * (ONE - limits.band)
    if place.side is Side.SELL and place.px < least:
        return f"a sale at {show(place.px)} is below {show(least)}, the price band"
    return ""


def _leg(facts: Facts, coin: str, leg: Leg, side: Side, *, all_of_it: bool = False) -> Decimal:
    """Signed holding by the last read, with all that was sent on `side` since as if it filled."""
    key = _key(coin, leg)
    since = facts.held_ms.get(key, 0)
    word = f"{key}/{side.value}"
    going = sum((s.sz for s in facts.sent if s.key == word and s.ms >= since), ZERO)
    held = facts.held.get(key, ZERO) - (ZERO if all_of_it else facts.others.get(key, ZERO))
    return held + side.sign * going


def _bought(facts: Facts, limits: Limits, place: Place, now_ms: int) -> str:
    usd = place.sz * place.px
    if usd > limits.slice_usd * SLACK:
        return f"${show(usd)} is more than a slice, ${show(limits.slice_usd)}"
    after = (_leg(facts, place.coin, Leg.SPOT, Side.BUY) + place.sz) * place.px
    if after > limits.leg_usd * SLACK:
        return f"the spot leg would be ${show(after)}, its cap is ${show(limits.leg_usd)}"
    word = f"{_key(place.coin, Leg.SPOT)}".partition("/")[2]
    adds = sum(
        1 for s in facts.sent if s.key.endswith(f"/{word}/buy") and now_ms - s.ms < MINUTE_MS
    )
    if adds >= limits.orders_per_min:
        return f"{adds} orders that add in the last minute, allowed are {limits.orders_per_min}"
    return ""


def _shorted(facts: Facts, limits: Limits, place: Place) -> str:
    """A short within its cap, or one that hedges spot which the venue shows or is being bought."""
    short = place.sz - _leg(facts, place.coin, Leg.PERP, Side.SELL)
    if short * place.px <= limits.leg_usd * SLACK:
        return ""
    spot = _leg(facts, place.coin, Leg.SPOT, Side.BUY, all_of_it=True)
    if short <= spot * SLACK:
        return ""
    return (
        f"the short would be {show(short)} {place.coin}, ${show(short * place.px)}: above its cap "
        f"${show(limits.leg_usd)} and more than the spot {show(spot)}"
    )


def _leverage(limits: Limits, action: SetLeverage) -> str:
    if not action.cross:
        return "isolated margin is not what this bot trades on"
    if not 1 <= action.leverage <= limits.leverage:
        return f"leverage {action.leverage} is above {limits.leverage}"
    return ""


def _move(facts: Facts, limits: Limits, action: MoveUsd, now_ms: int) -> str:
    if not action.usd.is_finite() or action.usd <= 0:
        return f"{action.usd} is nothing to move"
    day = sum((s.sz for s in facts.sent if s.key == "move" and now_ms - s.ms < DAY_MS), ZERO)
    if day + action.usd > limits.move_usd:
        return f"${show(day + action.usd)} in a day is more than ${show(limits.move_usd)}"
    return ""
