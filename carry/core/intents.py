"""The life of an intent: outcomes in, the fence, and the verdict. Nothing here trades.

Sent -> Open | Ended | Unknown | settled. Unknown is fenced under its own nonce; once nothing more
can land, the venue's record and two looks at the fills, two seconds of venue time apart, decide it.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from . import observations as seen
from .actions import Action, Alert, Fence, Note, Query
from .num import show
from .state import (
    Carry,
    Ended,
    Idle,
    Intent,
    Kind,
    Latch,
    Open,
    Repair,
    Sent,
    State,
    Unknown,
    Witness,
)
from .types import Fill, Leg, Side, Tif
from .venue import FenceKind

AGREE_AT_MS = 2_000  # two looks must be this far apart, venue time
LATE_AT_MS = 15_000  # past expiry by this much, venue time, nothing can land any more
REPEAT_MS = 1_000  # a fence or a query is repeated after this
UNDECIDED_MS = 60_000  # the venue answered for this long without deciding an intent
GIVE_UP_MS = 300_000  # fills that the venue announced and does not show are not waited for longer
HALT_RETRY_MS = 10_000  # an order of a leg that does not trade is tried again after this
POST_ONLY_MS = 15_000  # after a post-only refusal the next taking order is tried this much later
WRITERS_MAX = (
    2  # nonces of ours that somebody else used, in a row, before another writer is believed
)
MOVE_PAUSE_MS = 60_000  # the next move after one that came to nothing is asked for this much later
LEVERAGE = "leverage"  # the key of its pause, beside those of the legs
SEEN = "seen"  # the verdict on a move that both wallets show
NAMED = ("tick", "lot", "min_notional", "disabled", "leverage", "other")  # refusals said aloud
FILLS_MARGIN_AT_MS = 5_000  # a sweep must reach this far back before the decision

Said = tuple[Action, ...]


def put(state: State, intent: Intent) -> State:
    """The state with one intent replaced."""
    return attrs.evolve(state, intents={**state.intents, str(intent.no): intent})


def set_carry(state: State, carry: Carry) -> State:
    """The state with one market replaced."""
    if state.carries.get(carry.coin) is carry:
        return state
    return attrs.evolve(state, carries={**state.carries, carry.coin: carry})


def latch(state: State, name: str, mode: str, why: str) -> State:
    """Set a latch; one that stands keeps its first reason."""
    if name in state.latches:
        return state
    new = Latch(mode=mode, why=why, since_ms=state.now_ms)
    return attrs.evolve(state, latches={**state.latches, name: new})


def unsaid(state: State, name: str) -> State:
    """What an alert of this name spoke of is over: the next one is news, however soon."""
    if name not in state.said:
        return state
    return attrs.evolve(state, said={n: ms for n, ms in state.said.items() if n != name})


def cloid_of(journal_id: int, number: int) -> str:
    """Our name for an order: the journal's 64 random bits, then the intent's number."""
    return f"0x{journal_id:016x}{number:016x}"


def number_of(state: State, cloid: str | None) -> int | None:
    """The intent number in a cloid of this journal; None when it is not one of ours."""
    if cloid is None or not cloid.startswith(f"0x{state.journal_id:016x}") or len(cloid) != 34:
        return None
    return int(cloid[18:], 16)


def leg_set(mapping: Mapping[str, int], leg: Leg, value: int) -> Mapping[str, int]:
    return {**mapping, leg.value: value}


def settled(
    state: State, intent: Intent, verdict: str, *, asked: bool = True
) -> tuple[State, Said]:
    """Forget an intent whose outcome is certain, and let its leg go.

    An order that filled in part or not at all counts as a miss of its leg: the ladder's next rung.
    Not so when the market was never asked, or the order was only to rest: no reason to pay more.
    """
    rest = {no: i for no, i in state.intents.items() if no != str(intent.no)}
    state = attrs.evolve(state, intents=rest)
    if intent.kind is Kind.MOVE:
        return _move_over(state, intent, verdict)
    carry = state.carries[intent.coin]
    whole = intent.kind is Kind.LEVERAGE or intent.booked_sz >= intent.sz
    missed = asked and not intent.maker
    misses = 0 if whole else carry.misses.get(intent.leg.value, 0) + missed
    carry = attrs.evolve(
        carry,
        resting_ms=0 if whole and intent.leg is Leg.SPOT else carry.resting_ms,
        misses=leg_set(carry.misses, intent.leg, misses),
        touched_ms=leg_set(carry.touched_ms, intent.leg, state.now_ms),
    )
    if intent.kind is Kind.LEVERAGE:
        carry = attrs.evolve(carry, leverage=None)  # whatever came of it, it is read again
    withdrawn = intent.maker and intent.unknown  # it did rest: nothing stands against the next
    if not intent.booked_sz and intent.kind is Kind.ORDER and not withdrawn:
        pause = state.policy.execution.hedge_cooldown_ms
        carry = attrs.evolve(
            carry, retry_ms=leg_set(carry.retry_ms, intent.leg, state.now_ms + pause)
        )
    fields = {
        "intent": str(intent.no),
        "leg": intent.leg.value,
        "side": intent.side.value,
        "sz": show(intent.sz),
        "filled_sz": show(intent.booked_sz),
        "verdict": verdict,
    }
    note = Note(event="intent_settled", coin=intent.coin, fields=fields)
    return set_carry(state, carry), (note,)


def _move_over(state: State, intent: Intent, verdict: str) -> tuple[State, Said]:
    """A move that never happened counts for nothing, and the next one waits a while."""
    if verdict != SEEN:
        left = tuple(m for m in state.moves if m.no != intent.no)
        state = attrs.evolve(state, moves=left, move_retry_ms=state.now_ms + MOVE_PAUSE_MS)
    fields = {"intent": str(intent.no), "usd": show(intent.sz), "verdict": verdict}
    return state, (Note(event="collateral_settled", coin=None, fields=fields),)


def ended(state: State, intent: Intent, filled_sz: Decimal) -> tuple[State, Said]:
    """The order is gone with a known filled size: settle it, or wait for its fills."""
    intent = attrs.evolve(
        intent, filled_sz=max(intent.filled_sz, filled_sz), status=Ended(since_ms=state.now_ms)
    )
    if intent.booked_sz >= intent.filled_sz:
        return settled(state, intent, "filled" if intent.booked_sz else "never")
    return put(state, intent), ()


def doubt_all(state: State) -> State:
    """After a crash every intent that is not over is unknown, whatever was believed of it."""
    intents = {
        no: i
        if isinstance(i.status, Ended)
        else attrs.evolve(i, status=Unknown(since_ms=state.now_ms))
        for no, i in state.intents.items()
    }
    return attrs.evolve(state, intents=intents)


def _closed(
    state: State, intent: Intent, *, record: str | None = None, doubled: bool = False
) -> State:
    """Nothing more can land under this intent's nonce from now on."""
    status = intent.status
    if not isinstance(status, Unknown):
        status = Unknown(since_ms=state.now_ms)
    status = attrs.evolve(
        status,
        closed_at_ms=state.venue_ms if status.closed_at_ms is None else status.closed_at_ms,
        record=record if record is not None else status.record,
        doubled=doubled or status.doubled,
    )
    return put(state, attrs.evolve(intent, status=status))


def _refused(state: State, intent: Intent, refusal: seen.Refused) -> tuple[State, Said]:
    if refusal.code in ("nonce", "expired"):
        # These bytes were turned away because of when they came, which says nothing of an earlier
        # copy of them: a proxy may have delivered the same request twice.
        return _closed(state, intent, doubled=refusal.code == "nonce"), ()
    said: Said = ()
    what = f"{intent.side.value} {show(intent.sz)} {intent.coin} {intent.leg.value}"
    what += f" at {show(intent.px)}"
    if intent.kind is Kind.MOVE:
        what = f"move ${show(intent.sz)} between the wallets"
    elif intent.kind is Kind.LEVERAGE:
        lever = state.policy.execution.perp_leverage
        what = f"set the leverage of {intent.coin} to {lever}"
    halted = refusal.code == "halted"
    if refusal.code == "post_only_window":
        state = attrs.evolve(state, post_only_until_ms=state.now_ms + POST_ONLY_MS)
    elif refusal.code == "identity":
        state = latch(state, "identity", "reduce", refusal.text)
        said = (
            Alert(
                level="page",
                name="identity",
                coin=intent.coin,
                text=f"The venue does not know our agent key ({refusal.text}): no order gets "
                "through. Approve the agent again, or close by hand; then "
                "`carry resume --ack identity`.",
            ),
        )
    elif intent.kind is not Kind.ORDER or refusal.code in NAMED:
        said = (
            Alert(
                level="warn",
                name=f"refused_{refusal.code}",
                coin=intent.coin,
                text=f"The venue refused to {what}: {refusal.text}. "
                "It is tried again later; if this repeats, report it.",
            ),
        )
    if intent.kind is Kind.MOVE:
        state, more = settled(state, intent, f"refused: {refusal.code}")
        return state, said + more
    carry = state.carries[intent.coin]
    short_of_margin = refusal.code == "margin" and intent.leg is Leg.PERP
    if short_of_margin and intent.side is Side.SELL and intent.kind is Kind.ORDER:
        # The hedge cannot be bought with this account: go straight to unwinding the spot.
        repair = carry.repair if carry.repair is not None else Repair()
        state = set_carry(state, attrs.evolve(carry, repair=attrs.evolve(repair, unwinding=True)))
    state, more = settled(state, intent, f"refused: {refusal.code}", asked=not halted)
    carry = state.carries[intent.coin]
    if halted and intent.kind is Kind.ORDER:
        again_ms = state.now_ms + HALT_RETRY_MS
        carry = attrs.evolve(
            carry,
            halted_ms=leg_set(carry.halted_ms, intent.leg, state.now_ms),
            retry_ms=leg_set(carry.retry_ms, intent.leg, again_ms),
        )
        state = set_carry(state, carry)
    if intent.kind is Kind.LEVERAGE:
        # What the venue will not set now it will not set a second later either.
        until = state.now_ms + state.policy.execution.entry_cooldown_ms
        if isinstance(carry.phase, Idle):
            carry = attrs.evolve(carry, phase=Idle(until_ms=until))
        carry = attrs.evolve(carry, retry_ms={**carry.retry_ms, LEVERAGE: until})
        state = set_carry(state, carry)
    return state, said + more


def outcome(state: State, fact: seen.Outcome) -> tuple[State, Said]:
    """Fold the outcome of one of our own actions. One for an intent that is over is ignored."""
    intent = state.intents.get(str(fact.intent))
    if intent is None:
        return state, ()
    match fact:
        case seen.Accepted():
            intent = attrs.evolve(
                intent, oid=fact.oid, filled_sz=max(intent.filled_sz, fact.filled_sz)
            )
            state = attrs.evolve(state, doubled=0)
            if intent.tif is not Tif.ALO:
                state = attrs.evolve(state, post_only_until_ms=0)
            if fact.resting:
                return put(state, attrs.evolve(intent, status=Open(since_ms=state.now_ms))), ()
            return ended(state, intent, fact.filled_sz)
        case seen.Refused():
            return _refused(state, intent, fact)
        case seen.NotSent():
            return settled(state, intent, f"not sent: {fact.why}", asked=False)
        case seen.OutcomeUnknown():
            note = Note(
                event="outcome_unknown",
                coin=intent.coin,
                fields={"intent": str(intent.no), "why": fact.why},
            )
            return put(state, attrs.evolve(intent, status=Unknown(since_ms=state.now_ms))), (note,)
        case seen.Cancelled():
            # Its fills may still be on their way, so how much filled is decided like an unknown.
            return _closed(state, intent), ()
        case seen.CancelUnanswered():
            return state, ()
        case seen.Done():
            if intent.kind is Kind.MOVE:  # done, and believed once both wallets show it
                return put(state, attrs.evolve(intent, status=Ended(since_ms=state.now_ms))), ()
            return settled(state, intent, "done")
        case seen.FenceHeld():
            if intent.filled_sz:
                return _closed(state, intent), ()
            return settled(state, intent, "never")
        case seen.NonceClosed():
            if intent.kind is Kind.LEVERAGE:
                return settled(state, intent, "closed")
            return _closed(state, intent), ()
        case seen.FenceUnanswered():
            return state, ()
        case seen.OrderRecord():
            return _recorded(state, intent, fact)
        case _:
            raise AssertionError(f"outcome without a handler: {fact}")


def _recorded(state: State, intent: Intent, fact: seen.OrderRecord) -> tuple[State, Said]:
    status = intent.status
    if not isinstance(status, Unknown):
        return state, ()
    intent = attrs.evolve(intent, oid=fact.oid or intent.oid)
    if fact.status == "open":
        return put(state, attrs.evolve(intent, status=Open(since_ms=state.now_ms))), ()
    if fact.status == "filled" and not intent.reduce_only:
        return ended(state, intent, intent.sz)
    if fact.status in ("filled", "gone"):
        # Of a reduce-only order only the fills say how much: the venue shrinks it to the position.
        return _closed(state, intent, record="gone"), ()
    if status.closed_at_ms is None:
        return state, ()  # not there yet proves nothing while it can still land
    return put(state, attrs.evolve(intent, status=attrs.evolve(status, record="unknown"))), ()


def order_seen(state: State, fact: seen.OrderSeen) -> tuple[State, Said]:
    """A stream message about one of our orders: a hint that may end it, never one that frees it."""
    number = number_of(state, fact.cloid)
    intent = state.intents.get(str(number)) if number is not None else None
    if intent is None or isinstance(intent.status, Ended):
        return state, ()
    intent = attrs.evolve(intent, oid=fact.oid)
    if fact.status == "filled" and not intent.reduce_only:
        return ended(state, intent, intent.sz)
    if fact.status in ("filled", "gone"):
        return _closed(state, intent, record="gone"), ()
    return put(state, intent), ()


def booked(state: State, intent: Intent, fill: Fill) -> tuple[State, Said]:
    """A fill of this intent was booked: it landed; when whole it is over."""
    done = intent.booked_sz + fill.sz
    intent = attrs.evolve(
        intent, oid=fill.oid, booked_sz=done, filled_sz=max(intent.filled_sz, done)
    )
    if done >= intent.sz or (isinstance(intent.status, Ended) and done >= intent.filled_sz):
        return settled(state, intent, "filled")
    if isinstance(intent.status, Unknown):
        return _closed(state, intent), ()
    return put(state, intent), ()


def swept(state: State, read: seen.FillsRead) -> tuple[State, Said]:
    """A complete look at the fills is a witness for every closed intent whose record is known."""
    said: Said = ()
    for intent in tuple(state.intents.values()):
        status = intent.status
        if not isinstance(status, Unknown) or status.closed_at_ms is None or status.record is None:
            continue
        if read.issued_venue_ms < status.closed_at_ms:
            continue
        if read.since_ms > intent.at_ms - FILLS_MARGIN_AT_MS:
            continue
        if state.carries[intent.coin].broken is not None:
            continue  # fills of a coin whose metadata cannot be decoded may have been left out
        last = status.witness
        if last is None or last.filled_sz != intent.booked_sz:
            now = Witness(filled_sz=intent.booked_sz, at_ms=read.issued_venue_ms)
            state = put(state, attrs.evolve(intent, status=attrs.evolve(status, witness=now)))
        elif intent.booked_sz < intent.filled_sz and status.undecided_ms < GIVE_UP_MS:
            continue  # the venue said that more filled: two looks that lag agree with each other
        elif read.issued_venue_ms - last.at_ms >= AGREE_AT_MS:
            state, more = settled(state, intent, "filled" if intent.booked_sz else "never")
            said += more
            if status.doubled and not intent.booked_sz:
                state = attrs.evolve(state, doubled=state.doubled + 1)
    if state.doubled >= WRITERS_MAX and "other_writer" not in state.latches:
        text = (
            "Nonces of this agent key were used by somebody else: two programs must not share it. "
            "Nothing is traded; stop the other one, then `carry resume --ack other_writer`."
        )
        state = latch(state, "other_writer", "halt", text)
        said += (Alert(level="page", name="other_writer", coin=None, text=text),)
    return state, said


def pursue(state: State, answered: bool) -> tuple[State, tuple[Action, ...]]:
    """Ask on: fence what can still land, query what is closed, name what stays undecided.

    answered: the venue answered a read this tick; only such time counts as undecided.
    """
    actions: list[Action] = []
    for intent in tuple(state.intents.values()):
        status = intent.status
        if isinstance(status, Ended) and state.now_ms - status.since_ms > UNDECIDED_MS:
            actions.append(_undecided(state, intent))
            if intent.kind is Kind.MOVE:
                continue  # the next look at both wallets ends it
            if answered and state.now_ms - status.since_ms > GIVE_UP_MS:
                # There must be a way out: from here the fills alone say what it did, and a holding
                # that they do not explain is found by the comparison with the venue's.
                status = Unknown(
                    since_ms=status.since_ms,
                    closed_at_ms=state.venue_ms,
                    record="gone",
                    undecided_ms=GIVE_UP_MS,
                )
        if isinstance(status, Sent):
            status = Unknown(since_ms=state.now_ms)  # no outcome came: nobody knows
        if not isinstance(status, Unknown):
            continue
        if answered:
            status = attrs.evolve(status, undecided_ms=status.undecided_ms + state.dt_ms)
        if status.undecided_ms > UNDECIDED_MS:
            actions.append(_undecided(state, intent))
        if status.closed_at_ms is None and state.venue_ms is not None:
            if state.venue_ms > intent.expires_ms + LATE_AT_MS:
                status = attrs.evolve(status, closed_at_ms=state.venue_ms)
        due = status.fenced_ms is None or state.now_ms - status.fenced_ms >= REPEAT_MS
        if due and status.closed_at_ms is not None and intent.kind is Kind.LEVERAGE:
            state, said = settled(state, attrs.evolve(intent, status=status), "expired")
            actions += said
            continue
        if due:
            status = attrs.evolve(status, fenced_ms=state.now_ms)
            if status.closed_at_ms is not None and intent.kind is Kind.ORDER:
                actions.append(
                    Query(
                        intent=intent.no,
                        coin=intent.coin,
                        leg=intent.leg,
                        cloid=intent.cloid,
                        why="closed, undecided",
                    )
                )
            elif status.closed_at_ms is None and state.capabilities.fence is FenceKind.NONCE:
                actions.append(Fence(intent=intent.no, nonce=intent.nonce, why="outcome unknown"))
        state = put(state, attrs.evolve(intent, status=status))
    return state, tuple(actions)


def _undecided(state: State, intent: Intent) -> Alert:
    if intent.kind is Kind.MOVE:
        return Alert(
            level="page",
            name=f"undecided_{intent.no}",
            coin=None,
            text=f"Nobody knows for over a minute whether ${show(intent.sz)} moved between the "
            "account's wallets: nothing is added and nothing more is moved until both wallets are "
            "read. Compare them at the venue if this goes on.",
        )
    return Alert(
        level="page",
        name=f"undecided_{intent.no}",
        coin=intent.coin,
        text=f"Order {intent.no} ({intent.side.value} {show(intent.sz)} {intent.coin} "
        f"{intent.leg.value}) has been undecided for over a minute although the venue answers: "
        "that leg waits, and nothing is added while an outcome is unknown. Look for it at the "
        f"venue by its cloid {intent.cloid}.",
    )
