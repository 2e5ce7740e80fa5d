"""Which reads are needed at the next tick, beyond what the shell's poll plan brings anyway.

Names: "mode", "markets", "positions", "balances", "orders", "fills", "receipts", "transfers",
"fees", "budget", and with a coin "prints:C", "leverage:C", "closes:C", "book:C:spot",
"book:C:perp". They are read in this order, so that what explains a position is asked for after the
position.
"""

from decimal import Decimal

from .num import ONE, ZERO
from .reconcile import reconciled
from .state import (
    Carry,
    Ended,
    Enter,
    Exit,
    Idle,
    Intent,
    Kind,
    Open,
    Seen,
    Sent,
    State,
    Unknown,
)
from .types import Leg

RECONCILE_MS = 300_000  # at least this often all sources are read together, for the residual
FILLS_MS = 1_900  # an order's fills are looked for this often: two looks 2 s apart decide it
NEVER_MS = 2**62  # the age of what was never seen
H_MS = 3_600_000  # the poll plan reads contexts by itself long before
MOVED = Decimal("0.005")  # a book this far from the mark asks for a newer one
MOVED_MS = 3_000  # and no oftener than the venue makes them
DANGER_MS = 5_000  # how often marks and wallets are read when liquidation is near
HURRY_MS = 5_000  # and this often until positions are protected and the baseline is taken
MOMENT_MS = 10_000  # the longest that the reads of one tick may take
AGAIN_MS = 20_000  # but what was answered in part is asked for again only this much later
BOOK_MS = 1_900  # a touch older than this is read again where a market is being worked
DEPTH_MS = 4_900  # and depth older than this: a stream of touches says nothing of it


def wants(state: State, near: Decimal | None = None) -> tuple[str, ...]:
    """The reads wanted now, each once. near: how far all shorts may rise before liquidation."""
    account = state.account
    found: dict[str, bool] = {}
    if _due(state):
        for name in ("mode", "positions", "balances", "orders", "fills", "receipts", "transfers"):
            found[name] = True
    for name, missing in (("fees", account.fees), ("budget", account.actions_left)):
        if missing is None:
            found[name] = True
    for carry in state.carries.values():
        for name in _of_market(state, carry):
            found[name] = True
    if near is not None:
        found.update(dict.fromkeys(_of_danger(state, near), True))
    waits = any(_waits(state, i) for i in state.intents.values())
    unseen = any(_filled_unseen(state, carry) for carry in state.carries.values())
    period = FILLS_MS if waits else HURRY_MS
    if (waits or unseen) and state.now_ms - account.fills_ms >= period:
        found["fills"] = True
    if any(i.kind is Kind.MOVE and not isinstance(i.status, Sent) for i in state.intents.values()):
        found |= {"positions": True, "balances": True}
        if state.now_ms - account.transfers_ms >= FILLS_MS:
            found["transfers"] = True
    order = ("mode", "markets", "positions", "balances", "orders", "fills", "receipts", "transfers")
    first = [name for name in order if name in found]
    return (*first, *(name for name in found if name not in order))


def _waits(state: State, intent: Intent) -> bool:
    """Whether the fills of an order are to be looked for: its outcome is not known, or it has ended
    and the stream, which tells its own fills at once, has not told them."""
    status = intent.status
    late = isinstance(status, Ended) and state.now_ms - status.since_ms >= FILLS_MS
    return late or isinstance(status, Unknown)


def _of_danger(state: State, near: Decimal) -> tuple[str, ...]:
    """What says how near liquidation is, oftener when it is near or the price has moved."""
    account = state.account
    close = near < state.policy.risk.liq_distance_warn
    marked = min((c.context_ms for c in state.carries.values() if c.perp_sz), default=0)
    moved = any(_moved(c) for c in state.carries.values() if c.perp_sz)
    names: list[str] = []
    if state.now_ms - marked >= (DANGER_MS if close else MOVED_MS if moved else H_MS):
        names.append("contexts")
    if close and state.now_ms - min(account.positions_ms, account.balances_ms) >= DANGER_MS:
        names += ["positions", "balances"]
    return tuple(names)


def _moved(carry: Carry) -> bool:
    """Whether the perp's book left the mark that liquidation is judged by."""
    quote = carry.quotes.get(Leg.PERP.value)
    if quote is None or carry.context is None:
        return False
    return abs(quote.book.mid_px / carry.context.mark_px - ONE) > MOVED


def _due(state: State) -> bool:
    """The residual's slowest source is due: then all are read, in one tick and in order.

    Repeated each tick for one that fails, the weight of the others would starve every book.
    """
    account = state.account
    known = account.baseline_usd is not None and reconciled(state)
    period = RECONCILE_MS if known else HURRY_MS
    slowest = min(account.receipts_ms, account.transfers_ms)
    answered = max(account.mode_ms, account.orders_ms, account.fills_ms)
    in_part = answered - slowest > MOMENT_MS
    if in_part and state.now_ms - answered < AGAIN_MS:
        return False
    return state.now_ms - slowest >= period


def _filled_unseen(state: State, carry: Carry) -> bool:
    """Whether an order rests while the account holds something else than is booked: the stream may
    have lost its fill, and nobody hedges what nobody told."""
    account = state.account
    for intent in state.of(carry.coin):
        if not isinstance(intent.status, Open):
            continue
        if intent.leg is Leg.SPOT:
            asked, balance = account.balances_ms, account.coins.get(carry.coin)
            held = balance.total if balance is not None else ZERO
        else:
            asked, position = account.positions_ms, account.positions.get(carry.coin)
            held = position.sz if position is not None else ZERO
        newer = asked > carry.touched_ms.get(intent.leg.value, -1)
        if newer and held != carry.owned(intent.leg) + carry.foreign(intent.leg):
            return True
    return False


def _of_market(state: State, carry: Carry) -> tuple[str, ...]:
    names: list[str] = []
    if carry.market is None and carry.broken is None:
        names.append("markets")
    if carry.coin in state.policy.coins:
        if carry.forecast is None:
            names.append(f"prints:{carry.coin}")
        if carry.volatility is None:
            names.append(f"closes:{carry.coin}")
        if carry.leverage is None:
            names.append(f"leverage:{carry.coin}")
    touched = max(carry.touched_ms.values(), default=-1)
    asked = min(state.account.positions_ms, state.account.balances_ms)
    if asked <= touched or carry.doubts:
        names += ["positions", "balances"]
    if carry.doubts and state.now_ms - state.account.fills_ms >= FILLS_MS:
        names.append("fills")  # what explains a difference comes before it is believed
    at_work = isinstance(carry.phase, Enter | Exit) or carry.repair is not None
    half = state.policy.risk.quote_age_ms_max // 2
    for leg in Leg:
        depth = _age_ms(state, carry.books.get(leg.value))
        touch = min(depth, _age_ms(state, carry.quotes.get(leg.value)))
        stale = touch > min(BOOK_MS, half) or depth > min(DEPTH_MS, half)
        if (at_work and stale) or (depth > half and isinstance(carry.phase, Idle)):
            names.append(f"book:{carry.coin}:{leg.value}")
    return tuple(names)


def _age_ms(state: State, seen: Seen | None) -> int:
    return NEVER_MS if seen is None else state.now_ms - seen.seen_ms
