"""Last look at the actions: the limits stated a second way, about what was decided and nothing
else.

What the market can make false is a gate (risk.py), never a check here. A failed check is a mistake
of ours: the loop writes a crash row, drops what adds risk, and goes on in REDUCE.
"""

from collections.abc import Sequence
from decimal import Decimal

from . import risk, sizing
from .actions import Action, Cancel, CancelForeign, Fence, MoveUsd, Place, SetLeverage
from .num import ONE, ZERO
from .risk import Mode
from .state import Kind, State
from .types import AccountMode, Leg, Market, Side

EXPIRY_MS_MAX = 15_000
NONCE_MS_MAX = 60_000


class GuardFailed(AssertionError):
    """An action broke one of our own rules. `action` is what was about to be sent."""

    def __init__(self, rule: str, action: Action) -> None:
        super().__init__(f"{rule}: {action}")
        self.rule, self.action = rule, action


def check(state: State, actions: Sequence[Action]) -> None:
    """Raise `GuardFailed` for the first action that breaks a rule. `state` is the one after the
    tick.
    """
    legs: dict[str, bool] = {}
    nonces: dict[int, bool] = {}
    for action in actions:
        match action:
            case Place():
                key = f"{action.coin}/{action.leg.value}"
                _must(key not in legs, "one order a leg", action)
                legs[key] = True
                _timed(state, action, action.nonce, action.expires_ms)
                _must(action.nonce not in nonces, "a nonce is used once", action)
                nonces[action.nonce] = True
                _place(state, action)
            case Cancel() | CancelForeign() | SetLeverage():
                _timed(state, action, action.nonce, action.expires_ms)
                _must(action.nonce not in nonces, "a nonce is used once", action)
                nonces[action.nonce] = True
            case MoveUsd():
                _timed(state, action, action.nonce, action.expires_ms)
                _must(action.nonce not in nonces, "a nonce is used once", action)
                nonces[action.nonce] = True
                _move(state, action)
            case Fence():
                intent = state.intents.get(str(action.intent))
                _must(intent is not None and intent.nonce == action.nonce, "own nonce", action)


def _must(holds: bool, rule: str, action: Action) -> None:
    if not holds:
        raise GuardFailed(rule, action)


def _timed(state: State, action: Action, nonce: int, expires_ms: int) -> None:
    venue_ms = state.venue_ms
    _must(venue_ms is not None, "the venue's clock is known", action)
    assert venue_ms is not None
    _must(abs(nonce - venue_ms) <= NONCE_MS_MAX, "nonce near the venue's clock", action)
    _must(0 < expires_ms - venue_ms <= EXPIRY_MS_MAX, "a short expiry", action)
    _must(nonce <= state.nonce, "nonce allocated by the core", action)


def _place(state: State, place: Place) -> None:
    carry = state.carries[place.coin]
    market = carry.market
    _must(market is not None, "metadata is known", place)
    assert market is not None
    side = market.instrument(place.leg)
    _must(str(place.intent) in state.intents, "journaled as an intent", place)
    _must(place.sz > 0 and place.sz % side.lot == 0, "size on the lot", place)
    _must(side.rule.valid(place.px), "price on the tick", place)
    buys_perp = place.leg is Leg.PERP and place.side is Side.BUY
    _must(place.reduce_only == buys_perp, "reduce-only for every perp buy, and only there", place)
    spot, perp = state.position(carry, Leg.SPOT), state.position(carry, Leg.PERP)
    whole = buys_perp and place.sz == -perp
    _must(place.sz * place.px >= side.min_notional or whole, "the venue's minimum", place)
    _must(risk.mode(state) is not Mode.HALT, "nothing in HALT", place)
    if buys_perp:
        _must(place.sz <= -perp, "not above the believed short", place)
    elif place.leg is Leg.PERP:
        _must_hedge(state, market, place, spot, perp)
    elif place.side is Side.SELL:
        _must(place.sz <= spot, "not above the owned spot", place)
    else:
        _must(risk.mode(state) is Mode.NORMAL, "risk is added in NORMAL only", place)
        _must(not state.any_unknown, "no risk while an outcome is unknown", place)
        _must(place.sz * place.px <= state.policy.risk.slice_usd, "within a slice", place)
        # The state after the tick holds this order as an intent, so the room counts it.
        _must(sizing.room_usd(state, carry) >= 0, "within the caps", place)


def _move(state: State, move: MoveUsd) -> None:
    """Between own wallets, within the day's limit, one at a time, not in HALT."""
    recent = sum((m.usd for m in state.moves if state.now_ms - m.ms < sizing.DAY_MS), ZERO)
    _must(str(move.intent) in state.intents, "journaled as an intent", move)
    _must(move.usd > ZERO and recent <= state.policy.risk.transfer_usd_per_day, "the day", move)
    _must(state.account.mode is AccountMode.SPLIT, "two wallets", move)
    _must(sum(1 for i in state.intents.values() if i.kind is Kind.MOVE) == 1, "one move", move)
    _must(risk.mode(state) is not Mode.HALT, "nothing in HALT", move)


def _must_hedge(state: State, market: Market, place: Place, spot: Decimal, perp: Decimal) -> None:
    """A perp sale hedges spot that filled, and no more."""
    wanted = max(ZERO, spot) * max(ONE, state.policy.strategy.hedge_ratio)
    _must(place.sz - perp <= wanted, "a short no larger than the filled spot", place)
    _must(market.perp.tradable, "a tradable market", place)
