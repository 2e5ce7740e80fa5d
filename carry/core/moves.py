"""USDC between the two wallets of a split account: asked for, counted, believed when seen.

A move is an intent of no market, nonce-fenced like an order, in two steps: sent, then seen in both
wallets. It brings or takes nothing, so equity is explained without it (P9). Legs stay free while
one is open: what reduces is never kept waiting by it.
"""

from collections.abc import Iterator
from decimal import ROUND_FLOOR, Decimal

import attrs

from . import observations as seen
from . import sizing
from .actions import Action, MoveUsd, Note
from .intents import AGREE_AT_MS, SEEN, cloid_of, put, settled
from .limits import Moved
from .num import ONE, ZERO, show
from .state import Ended, Intent, Kind, Sent, State, Unknown, Witness
from .types import Leg, Side, Tif
from .writes import next_action

CENT = Decimal("0.01")
UNRECORDED_MS = 15_000  # without a record of it, wallets read this long after it show it

Said = tuple[Action, ...]


def open_moves(state: State) -> Iterator[Intent]:
    """Moves whose end is not seen yet."""
    return (i for i in state.intents.values() if i.kind is Kind.MOVE)


def ready(state: State) -> bool:
    """Whether a move may be asked for now."""
    return (
        sizing.movable_usd(state) > 0
        and state.now_ms >= state.move_retry_ms
        and not any(True for _ in open_moves(state))
    )


def ask(state: State, usd: Decimal, why: str) -> tuple[State, Said]:
    """Ask for a move of `usd` (> 0 into the perp wallet), cut to what is left of the day and to the
    cent; nothing when no nonce can be had.
    """
    sz = min(abs(usd), sizing.movable_usd(state)).quantize(CENT, ROUND_FLOOR)
    allocated = next_action(state)
    if not sz or allocated is None:
        return state, ()
    state, nonce, expires_ms = allocated
    assert state.venue_ms is not None
    number = state.intent_no + 1
    intent = Intent(
        no=number,
        kind=Kind.MOVE,
        coin="",
        leg=Leg.PERP,
        side=Side.BUY if usd > 0 else Side.SELL,
        px=ONE,
        sz=sz,
        tif=Tif.IOC,
        reduce_only=False,
        why=why,
        ref_px=ONE,
        nonce=nonce,
        cloid=cloid_of(state.journal_id, number),
        expires_ms=expires_ms,
        sent_ms=state.now_ms,
        at_ms=state.venue_ms,
        status=Sent(),
    )
    recent = tuple(m for m in state.moves if state.now_ms - m.ms < sizing.DAY_MS)
    state = attrs.evolve(
        put(state, intent),
        intent_no=number,
        moves=(*recent, Moved(no=number, ms=state.now_ms, usd=sz)),
    )
    action = MoveUsd(
        intent=number,
        usd=sz,
        to_perp=usd > 0,
        nonce=nonce,
        expires_ms=expires_ms,
        why=why,
    )
    wallet = "perp" if usd > 0 else "spot"
    fields = {"intent": str(number), "usd": show(sz), "to": wallet, "why": why}
    return state, (action, Note(event="collateral_moved", coin=None, fields=fields))


def recorded(state: State, read: seen.TransfersRead) -> tuple[State, Said]:
    """What the venue's record of transfers says of open moves: it is there, or it never will be.

    Absent proves nothing while it can still land; then two looks, two seconds of venue time apart.
    """
    said: Said = ()
    for intent in tuple(open_moves(state)):
        row = next((t for t in read.transfers if t.nonce == intent.nonce), None)
        status = intent.status
        if row is not None:
            if not isinstance(status, Ended):
                status = Ended(since_ms=state.now_ms)
            state = put(state, attrs.evolve(intent, oid=row.transfer_id, status=status))
            continue
        if not isinstance(status, Unknown) or status.closed_at_ms is None or state.venue_ms is None:
            continue
        asked_at_ms = state.venue_ms - (state.now_ms - read.issued_ms)
        if asked_at_ms < status.closed_at_ms:
            continue
        if status.witness is None:
            witness = Witness(filled_sz=ZERO, at_ms=asked_at_ms)
            state = put(state, attrs.evolve(intent, status=attrs.evolve(status, witness=witness)))
        elif asked_at_ms - status.witness.at_ms >= AGREE_AT_MS:
            state, more = settled(state, intent, "never")
            said += more
    return state, said


def arrived(state: State) -> tuple[State, Said]:
    """Moves that were carried out and that both wallets were read after are over."""
    said: Said = ()
    asked = min(state.account.positions_ms, state.account.balances_ms)
    for intent in tuple(open_moves(state)):
        status = intent.status
        if not isinstance(status, Ended) or asked <= status.since_ms:
            continue
        if intent.oid is None and asked - status.since_ms < UNRECORDED_MS:
            continue
        state, more = settled(state, intent, SEEN)
        said += more
    return state, said
