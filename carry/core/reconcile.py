"""The account as a whole: when it is protected, its baseline, its residual, what may be
forgotten.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from . import ledger
from .actions import Action, Alert, Note
from .intents import latch
from .num import ZERO, show
from .state import Carry, Idle, Ledger, State
from .types import Leg

FLOOR_AT_MS = 600_000  # fills may reach a complete read this much late
MOMENT_MS = 15_000  # what explains equity was asked for within this, or it is of two moments
LATCH_MS = 600_000  # a residual past its bound for this long is not late data: it latches
RESIDUAL = "residual"  # the name of that latch
SLOW_FLOOR_AT_MS = 7_200_000  # payments and transfers likewise

Said = tuple[Action, ...]


def pruned(state: State) -> State:
    """Forget the keys below the floors: complete reads have booked everything older."""
    floors: Mapping[str, int] = {
        "funding": state.receipts_floor_at_ms,
        "transfer": state.transfers_floor_at_ms,
    }
    kept = {
        key: at_ms
        for key, at_ms in state.seen.items()
        if at_ms >= floors.get(key.split(":", 1)[0], state.fills_floor_at_ms)
    }
    return attrs.evolve(state, seen=kept)


def forgotten(state: State) -> State:
    """Forget what foreign positions were before any payment that may still be booked."""
    floor = state.receipts_floor_at_ms
    for coin, carry in state.carries.items():
        if carry.foreign_was and carry.foreign_was[0].until_at_ms < floor:
            kept = tuple(was for was in carry.foreign_was if was.until_at_ms >= floor)
            rest = attrs.evolve(carry, foreign_was=kept)
            state = attrs.evolve(state, carries={**state.carries, coin: rest})
    return state


def slow_floor(state: State, floor_at_ms: int, since_ms: int) -> int:
    """The floor of payments or transfers after a read of them from `since_ms` on was booked.

    Only such a read may raise it: what was paid while nobody looked is older than any clock's
    floor, and belongs to the books all the same.
    """
    if since_ms > floor_at_ms:
        return floor_at_ms
    now_at_ms = min(state.account.fills_at_ms, state.wall_ms)
    return max(floor_at_ms, now_at_ms - SLOW_FLOOR_AT_MS)


def holds(state: State, carry: Carry) -> bool:
    return (
        not isinstance(carry.phase, Idle)
        or bool(carry.perp_sz)
        or any(True for _ in state.of(carry.coin))
    )


def in_books(carry: Carry) -> bool:
    """Whether totals or holdings of a market are part of what explains the account."""
    rest = carry.spot_sz or carry.foreign_spot or carry.foreign_perp
    return bool(rest) or carry.ledger != Ledger()


def reconciled(state: State) -> bool:
    """Whether every source that protects positions was read since this process started."""
    account, start = state.account, state.started_ms
    return min(
        account.mode_ms,
        account.positions_ms,
        account.balances_ms,
        account.fills_ms,
        account.orders_ms,
    ) >= start and all(c.market is not None for c in state.carries.values() if holds(state, c))


def reconcile(state: State) -> tuple[State, Said]:
    """Take the baseline once, then measure the residual whenever all sources are of one moment."""
    said: Said = ()
    if state.protected_ms is None and reconciled(state) and not state.any_unknown:
        state = attrs.evolve(state, protected_ms=state.now_ms)
        took = state.now_ms - state.started_ms
        said = (Note(event="protected", coin=None, fields={"took_ms": str(took)}),)
    account = state.account
    if not (account.balances_ms and account.positions_ms and account.fills_ms):
        return state, said
    asked_last = max(account.positions_ms, account.balances_ms)
    asked_first = min(account.positions_ms, account.balances_ms)
    swept_ms = min(account.fills_ms, account.receipts_ms, account.transfers_ms)
    touched = max((ms for c in state.carries.values() for ms in c.touched_ms.values()), default=0)
    still = (
        not state.intents
        and swept_ms >= asked_last
        and max(account.fills_ms, account.receipts_ms, account.transfers_ms) - asked_first
        <= MOMENT_MS
        and asked_first > touched
        and account.positions_at_ms > account.moved_at_ms
        and not any(c.doubts for c in state.carries.values())
    )
    if not still:
        return state, said
    value = ledger.account_value(state)
    if value is None:
        return state, said
    if account.baseline_usd is None:
        now_at_ms = account.positions_at_ms
        state = attrs.evolve(
            state,
            fills_floor_at_ms=now_at_ms,
            receipts_floor_at_ms=now_at_ms,
            transfers_floor_at_ms=now_at_ms,
        )
        outside = attrs.evolve(account.outside, ref_cost_usd=_foreign_value(state))
        account = attrs.evolve(account, outside=outside)
        state = attrs.evolve(state, account=account)
        base = value - ledger.total(state).net_usd
        account = attrs.evolve(account, baseline_usd=base, residual_ms=state.now_ms)
        return attrs.evolve(state, account=account), said
    state, more = _measured(state, value - account.baseline_usd - ledger.explained(state))
    return state, said + more


def _measured(state: State, residual: Decimal) -> tuple[State, Said]:
    """Take a new residual in. The first one, before anything was explained, tells that the baseline
    was wrong, which came of one look. Past the bound for long enough, a residual latches."""
    account = state.account
    assert account.baseline_usd is not None
    first = account.residual_usd is None and not account.transfers_usd
    if residual and first and all(c.ledger == Ledger() for c in state.carries.values()):
        fields = {"was_usd": show(account.baseline_usd), "by_usd": show(residual)}
        account = attrs.evolve(
            account,
            baseline_usd=account.baseline_usd + residual,
            residual_usd=ZERO,
            residual_ms=state.now_ms,
        )
        note = Note(event="baseline_corrected", coin=None, fields=fields)
        return attrs.evolve(state, account=account), (note,)
    beyond = abs(residual) > state.policy.risk.residual_usd_max
    since = account.beyond_ms if account.beyond_ms is not None else state.now_ms
    account = attrs.evolve(
        account,
        residual_usd=residual,
        residual_ms=state.now_ms,
        beyond_ms=since if beyond else None,
    )
    state = attrs.evolve(state, account=account)
    if not beyond or state.now_ms - since < LATCH_MS or RESIDUAL in state.latches:
        return state, ()
    text = (
        f"${show(residual.quantize(Decimal('0.01')))} of equity is explained by nothing for "
        f"{(state.now_ms - since) // 60_000} minutes, more than residual_usd_max "
        f"{show(state.policy.risk.residual_usd_max)}: entries stop. Look for a deposit, a "
        f"withdrawal or a trade by hand; `carry resume --ack {RESIDUAL}` takes it as external."
    )
    state = latch(state, RESIDUAL, "reduce", text)
    return state, (Alert(level="page", name=RESIDUAL, coin=None, text=text),)


def _foreign_value(state: State) -> Decimal:
    value = ZERO
    for carry in state.carries.values():
        for leg in Leg:
            px = ledger.price(carry, leg)
            value += carry.foreign(leg) * px if px is not None else ZERO
    return value
