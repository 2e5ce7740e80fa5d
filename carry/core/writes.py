"""From drafts to actions: each write gets a nonce, an expiry and a name, and becomes an intent."""

from decimal import Decimal

import attrs

from . import ledger, risk
from .actions import Action, CancelForeign, Note, Place, SetLeverage
from .intents import cloid_of, put
from .num import ZERO, show
from .state import Carry, Intent, Kind, Sent, State
from .types import Leg, Side, Tif

CLOCK_TRUST_MS = 30_000  # a machine clock further than this from the venue's makes no nonces

Said = tuple[Action, ...]


@attrs.frozen(kw_only=True)
class Draft:
    """An order before it has a nonce and a name."""

    leg: Leg
    side: Side
    sz: Decimal
    px: Decimal
    tif: Tif
    why: str
    adds: bool = False
    maker: bool = False


def next_nonce(state: State) -> int | None:
    """The next nonce of this signer: above the last, by the clock the venue can agree with.

    None when it would be further past the venue's clock than the venue's rules allow.
    """
    assert state.venue_ms is not None
    trusted = abs(state.wall_ms - state.venue_ms) <= CLOCK_TRUST_MS
    nonce = max(state.nonce + 1, state.wall_ms if trusted else state.venue_ms)
    return nonce if nonce <= state.venue_ms + state.capabilities.nonce_ahead_ms_max else None


def next_action(state: State) -> tuple[State, int, int] | None:
    """Allocate (nonce, expiry) of one write."""
    if state.venue_ms is None:
        return None
    nonce = next_nonce(state)
    if nonce is None:
        return None
    expires = state.venue_ms + state.capabilities.expiry_ms
    return attrs.evolve(state, nonce=nonce), nonce, expires


def journaled(state: State, carry: Carry, draft: Draft, kind: Kind) -> tuple[State, Intent] | None:
    """The state with a draft as its newest intent; None when no nonce can be had."""
    allocated = next_action(state)
    if allocated is None:
        return None
    state, nonce, expires_ms = allocated
    assert state.venue_ms is not None
    number = state.intent_no + 1
    intent = Intent(
        no=number,
        kind=kind,
        coin=carry.coin,
        leg=draft.leg,
        side=draft.side,
        px=draft.px,
        sz=draft.sz,
        tif=draft.tif,
        reduce_only=draft.leg is Leg.PERP and draft.side is Side.BUY,
        why=draft.why,
        ref_px=ledger.price(carry, draft.leg) or draft.px,
        nonce=nonce,
        cloid=cloid_of(state.journal_id, number),
        expires_ms=expires_ms,
        sent_ms=state.now_ms,
        at_ms=state.venue_ms,
        status=Sent(),
        maker=draft.maker,
    )
    return attrs.evolve(put(state, intent), intent_no=number), intent


def issue(state: State, carry: Carry, draft: Draft) -> tuple[State, Said]:
    """Journal a draft as an intent and ask for it; nothing when no nonce can be had."""
    made = journaled(state, carry, draft, Kind.ORDER)
    if made is None:
        return state, ()
    state, intent = made
    recent = tuple(ms for ms in state.sent_ms if state.now_ms - ms < risk.MINUTE_MS)
    state = attrs.evolve(state, sent_ms=(*recent, state.now_ms) if draft.adds else recent)
    place = Place(
        intent=intent.no,
        coin=intent.coin,
        leg=intent.leg,
        side=intent.side,
        px=intent.px,
        sz=intent.sz,
        tif=intent.tif,
        reduce_only=intent.reduce_only,
        cloid=intent.cloid,
        nonce=intent.nonce,
        expires_ms=intent.expires_ms,
        why=intent.why,
    )
    if draft.why != "unwind":
        return state, (place,)
    fields = {"sz": show(draft.sz), "px": show(draft.px)}
    return state, (place, Note(event="spot_repair_attempt", coin=carry.coin, fields=fields))


def lever(state: State, carry: Carry) -> tuple[State, Said]:
    """Ask for the policy's leverage and margin type; it is read again before it is believed."""
    nothing = Draft(
        leg=Leg.PERP, side=Side.SELL, sz=ZERO, px=ZERO, tif=Tif.IOC, why="before the first order"
    )
    made = journaled(state, carry, nothing, Kind.LEVERAGE)
    if made is None:
        return state, ()
    state, intent = made
    action = SetLeverage(
        intent=intent.no,
        coin=intent.coin,
        leverage=state.policy.execution.perp_leverage,
        cross=state.policy.execution.perp_cross,
        nonce=intent.nonce,
        expires_ms=intent.expires_ms,
        why=intent.why,
    )
    return state, (action,)


def withdraw_strays(state: State) -> tuple[State, Said]:
    """Cancel what rests under one of our names without an intent: nobody would hedge its fill."""
    actions: list[Action] = []
    if not state.account.strays:
        return state, ()
    for order in state.account.strays:
        allocated = next_action(state)
        if allocated is None:
            break
        state, nonce, expires_ms = allocated
        actions.append(
            CancelForeign(
                coin=order.coin,
                leg=order.leg,
                oid=order.oid,
                nonce=nonce,
                expires_ms=expires_ms,
                why="ours, but no intent holds it",
            )
        )
    return attrs.evolve(state, account=attrs.evolve(state.account, strays=())), tuple(actions)
