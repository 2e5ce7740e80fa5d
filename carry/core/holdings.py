"""What is owned and what is foreign: the only writer of positions and of the ledger.

A fill is booked once, by its id. What others did to the account changes foreign holdings first, and
owned ones only as far as it must; a difference nothing explains is believed when a second reply
agrees.
"""

from collections.abc import Iterable
from decimal import Decimal

import attrs

from . import ledger, losses
from .actions import Action, Alert, Note, Posting
from .economics import apr
from .intents import booked, latch, leg_set, number_of, set_carry
from .num import ZERO, show
from .state import Carry, Doubt, Held, Ledger, Outside, State
from .types import Fill, FundingReceipt, Leg

CONFIRM_MS = 1_000  # a second reply this much later must agree before a belief is lowered
LAG_MS = 15_000  # replies this soon after our own last fill may come from a lagging node

Said = tuple[Action, ...]


def book_fill(state: State, fill: Fill, *, complete: bool) -> tuple[State, Said]:
    """Book a fill once. Others' fills are booked from a complete read only."""
    if fill.trade_id in state.seen or fill.at_ms < state.fills_floor_at_ms:
        return state, ()
    carry = state.carries.get(fill.coin)
    if carry is None:
        return state, ()
    number = number_of(state, fill.cloid)
    intent = state.intents.get(str(number)) if number is not None else None
    if intent is None:
        intent = next((i for i in state.of(fill.coin, fill.leg) if i.oid == fill.oid), None)
    ours = number is not None or intent is not None
    if not ours and (not complete or state.account.baseline_usd is None):
        return state, ()
    state = attrs.evolve(
        state,
        seen={**state.seen, fill.trade_id: fill.at_ms},
        account=attrs.evolve(state.account, moved_at_ms=max(state.account.moved_at_ms, fill.at_ms)),
    )
    if not ours:
        return _taken(state, carry, fill)
    said: Said = ()
    if number is not None and number > state.intent_no:
        state, said = journal_old(state, number, f"a fill of order {number} was found", fill.coin)
    ref_px = intent.ref_px if intent is not None else fill.px
    state = set_carry(state, _own_fill(state, carry, fill))
    state, line = post(state, ledger.own_fill(fill, ref_px))
    said += (_fill_note(fill, "own"), _fee_note(fill), *line)
    if intent is not None:
        state, more = booked(state, intent, fill)
        said += more
    return state, said


def _own_fill(state: State, carry: Carry, fill: Fill) -> Carry:
    spot = fill.base_change if fill.leg is Leg.SPOT else ZERO
    perp = fill.base_change if fill.leg is Leg.PERP else ZERO
    return attrs.evolve(
        carry,
        spot_sz=carry.spot_sz + spot,
        perp_sz=carry.perp_sz + perp,
        touched_ms=leg_set(carry.touched_ms, fill.leg, state.now_ms),
    )


def _fill_note(fill: Fill, whose: str) -> Note:
    return Note(
        event="fill",
        coin=fill.coin,
        fields={
            "trade_id": fill.trade_id,
            "whose": whose,
            "leg": fill.leg.value,
            "side": fill.side.value,
            "px": show(fill.px),
            "sz": show(fill.sz),
            "kind": fill.kind,
            "fill_at_ms": str(fill.at_ms),
        },
    )


def _fee_note(fill: Fill) -> Note:
    token = fill.coin if fill.fee_in_base else "USD"
    return Note(
        event="fee",
        coin=fill.coin,
        fields={
            "trade_id": fill.trade_id,
            "leg": fill.leg.value,
            "fee": show(fill.fee),
            "token": token,
            "fee_usd": show(fill.fee_usd),
        },
    )


def split_change(carry: Carry, leg: Leg, change: Decimal) -> tuple[Decimal, Decimal]:
    """How a change nobody here caused divides into (owned, foreign), signed base units.

    What grows is foreign. What shrinks takes foreign first, then owned, and never below nothing.
    """
    foreign, owned = carry.foreign(leg), carry.owned(leg)
    sign = 1 if leg is Leg.SPOT else -1  # the side on which a holding of this leg grows
    if change * sign >= 0:
        return ZERO, change
    from_foreign = min(abs(change), max(ZERO, foreign * sign))
    from_owned = min(abs(change) - from_foreign, max(ZERO, owned * sign))
    owned_part = -sign * from_owned
    return owned_part, change - owned_part


def shift(carry: Carry, leg: Leg, owned: Decimal, foreign: Decimal, at_ms: int = 0) -> Carry:
    """The market with its holdings changed at the venue's `at_ms`; 0: before anything was paid."""
    if foreign and leg is Leg.PERP and at_ms:
        was = Held(at_ms, carry.foreign_perp)
        carry = attrs.evolve(carry, foreign_was=(*carry.foreign_was, was))
    if leg is Leg.SPOT:
        return attrs.evolve(
            carry, spot_sz=carry.spot_sz + owned, foreign_spot=carry.foreign_spot + foreign
        )
    return attrs.evolve(
        carry, perp_sz=carry.perp_sz + owned, foreign_perp=carry.foreign_perp + foreign
    )


def post(state: State, *lines: Posting) -> tuple[State, Said]:
    """The totals with some more lines of the ledger: the only place where they change."""
    account, carries = state.account, dict(state.carries)
    transfers = account.transfers_usd
    foreign, cash = account.outside.ref_cost_usd, account.outside.cash_usd
    totals: dict[str, Ledger] = {}
    for line in lines:
        if line.coin is not None and line.coin in carries:
            before = totals.get(line.coin, carries[line.coin].ledger)
            totals[line.coin] = ledger.post(before, line)
        transfers += line.transfers_usd
        foreign += line.foreign_usd
        cash += line.outside_usd
    for coin, total in totals.items():
        carries[coin] = attrs.evolve(carries[coin], ledger=total)
    outside = Outside(ref_cost_usd=foreign, cash_usd=cash)
    account = attrs.evolve(account, transfers_usd=transfers, outside=outside)
    return attrs.evolve(state, carries=carries, account=account), lines


def _external_alert(state: State, carry: Carry, leg: Leg, owned: Decimal, what: str) -> Said:
    """Name what others did. When it took from the carry, the market's entries are locked."""
    does = "it counts as foreign and is left alone"
    if owned:
        sold = carry.repair is not None and carry.repair.unwinding
        then = "its spot is sold" if sold else "it is hedged again once, else its spot is sold"
        then = f"; {then}" if leg is Leg.PERP else ""
        does = (
            f"the carry lost {show(abs(owned))}{then}; entries of {carry.coin} are locked until "
            f"`carry resume --ack {losses.lock_of(carry.coin)}`"
        )
    return (
        Alert(
            level="page" if owned else "warn",
            name=f"external_{carry.coin}_{leg.value}_{state.seq}",
            coin=carry.coin,
            text=f"{what}: {does}.",
        ),
    )


def _lost(state: State, carry: Carry, leg: Leg, kind: str, what: str) -> tuple[State, Carry]:
    """Others took from a leg of the carry: answer it by policy, and lock the market's entries."""
    if leg is Leg.PERP and losses.sells(state, carry, kind):
        carry = losses.unwound(carry)
        state = set_carry(state, carry)
    return latch(state, losses.lock_of(carry.coin), "entries", what), carry


def _taken(state: State, carry: Carry, fill: Fill) -> tuple[State, Said]:
    """A fill that is not ours: liquidation, deleveraging, a trade by hand.

    The venue sweeps what is left of a coin below one lot once a day: nobody can trade that, so
    nothing follows from it.
    """
    owned, foreign = split_change(carry, fill.leg, fill.base_change)
    ref_px = ledger.price(carry, fill.leg) or fill.px
    carry = shift(carry, fill.leg, owned, foreign, fill.at_ms)
    carry = attrs.evolve(carry, touched_ms=leg_set(carry.touched_ms, fill.leg, state.now_ms))
    state, line = post(set_carry(state, carry), ledger.taken(fill, owned, foreign, ref_px))
    carry = state.carries[fill.coin]
    kind = fill.kind or "a trade by hand"
    what = (
        f"{carry.coin} {fill.leg.value}: {kind}, {fill.side.value} {show(fill.sz)} at "
        f"{show(fill.px)}, was not ours"
    )
    swept = carry.market is not None and fill.sz < carry.market.instrument(fill.leg).lot
    if swept:
        return state, (_fill_note(fill, "external"), *line)
    if owned:
        state, carry = _lost(state, carry, fill.leg, fill.kind, what)
    return state, (
        _fill_note(fill, "external"),
        *line,
        *_external_alert(state, carry, fill.leg, owned, what),
    )


def _foreign_at(carry: Carry, at_ms: int) -> Decimal:
    """Foreign perp size when a payment was made: it may be gone before the payment is read."""
    earlier = (was.sz for was in carry.foreign_was if at_ms < was.until_at_ms)
    return next(earlier, carry.foreign_perp)


def book_receipts(state: State, receipts: Iterable[FundingReceipt]) -> tuple[State, Said]:
    """Payments that were not booked before, all at once: a page of them is one change."""
    known, moved_at_ms = dict(state.seen), state.account.moved_at_ms
    lines: list[Posting] = []
    said: list[Action] = []
    for receipt in receipts:
        key = f"funding:{receipt.coin}:{receipt.at_ms}"
        if key in known or receipt.at_ms < state.receipts_floor_at_ms:
            continue
        known[key] = receipt.at_ms
        moved_at_ms = max(moved_at_ms, receipt.at_ms)
        carry = state.carries.get(receipt.coin)
        foreign = None if carry is None else _foreign_at(carry, receipt.at_ms)
        line = ledger.funding(receipt, foreign)
        lines.append(line)
        if carry is not None:
            said.append(_funding_note(state, receipt, line))
        said.append(line)
    if not lines:
        return state, ()
    account = attrs.evolve(state.account, moved_at_ms=moved_at_ms)
    state, _ = post(attrs.evolve(state, seen=known, account=account), *lines)
    return state, tuple(said)


def _funding_note(state: State, receipt: FundingReceipt, line: Posting) -> Note:
    fields = {
        "usd": show(receipt.usd),
        "ours_usd": show(line.funding_usd),
        "sz": show(receipt.sz),
        "rate": show(receipt.rate),
        "apr": show(apr(receipt.rate, state.capabilities.interval_h)),
        "paid_at_ms": str(receipt.at_ms),
    }
    return Note(event="funding", coin=receipt.coin, fields=fields)


def journal_old(state: State, number: int, what: str, coin: str) -> tuple[State, Said]:
    """Evidence of an order that this journal never gave. Its number, and with it its name at the
    venue, is never given again: whoever goes on would take the old order for the new one.
    """
    text = (
        f"{what} at the venue, but this journal ends at order {state.intent_no}: it is older than "
        "the venue's evidence, a restored copy perhaps. Nothing is traded; put the newest journal "
        "back, or start a new one and adopt, then `carry resume --ack journal_old`"
    )
    state = attrs.evolve(latch(state, "journal_old", "halt", text), intent_no=number)
    return state, (Alert(level="page", name="journal_old", coin=coin, text=text),)


def compare(state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int) -> tuple[State, Said]:
    """Hold what the venue reports against what is explained; believe a difference only when
    sure.
    """
    carry = state.carries[coin]
    expected = carry.owned(leg) + carry.foreign(leg)
    diff = held - expected
    if leg.value not in carry.known:
        # What is there before the journal explains anything is foreign.
        carry = attrs.evolve(shift(carry, leg, ZERO, diff), known=(*carry.known, leg.value))
        return set_carry(state, carry), ()
    busy = any(True for _ in state.of(coin, leg))
    if busy or issued_ms <= carry.touched_ms.get(leg.value, -1):
        return state, ()
    lot = carry.market.instrument(leg).lot if carry.market is not None else ZERO
    if abs(diff) < lot * state.policy.alignment.min_diff_quanta or not diff:
        doubts = {name: d for name, d in carry.doubts.items() if name != leg.value}
        return set_carry(state, attrs.evolve(carry, doubts=doubts)), ()
    doubt = carry.doubts.get(leg.value)
    if doubt is None or doubt.diff != diff:
        doubts = {**carry.doubts, leg.value: Doubt(diff=diff, issued_ms=issued_ms)}
        return set_carry(state, attrs.evolve(carry, doubts=doubts)), ()
    if issued_ms - doubt.issued_ms < CONFIRM_MS or state.account.fills_ms < doubt.issued_ms:
        return state, ()
    touched = carry.touched_ms.get(leg.value)
    if touched is not None and issued_ms - touched < LAG_MS:
        return state, ()  # two replies of one lagging node agree with each other, too
    if not state.policy.alignment.enabled:
        return state, (_named_only(carry, leg, diff),)
    return _appeared(state, carry, leg, diff)


def _named_only(carry: Carry, leg: Leg, diff: Decimal) -> Alert:
    """A confirmed difference where the policy says that the journal alone is believed."""
    return Alert(
        level="page",
        name=f"unaligned_{carry.coin}_{leg.value}",
        coin=carry.coin,
        text=f"The venue shows {show(diff)} {carry.coin} {leg.value} more than the journal "
        f"explains. alignment.enabled is false, so that is not believed: entries of {carry.coin} "
        "wait, and its end cannot be called flat, until both agree or alignment is enabled.",
    )


def _appeared(state: State, carry: Carry, leg: Leg, diff: Decimal) -> tuple[State, Said]:
    """A confirmed difference that no fill explains."""
    owned, foreign = split_change(carry, leg, diff)
    px = ledger.price(carry, leg) or ZERO
    at_ms = state.venue_ms or state.wall_ms
    carry = shift(carry, leg, owned, foreign, at_ms)
    carry = attrs.evolve(
        carry,
        doubts={name: d for name, d in carry.doubts.items() if name != leg.value},
        touched_ms=leg_set(carry.touched_ms, leg, state.now_ms),
    )
    state = set_carry(state, carry)
    state, line = post(state, ledger.appeared(carry.coin, leg, owned, foreign, px, at_ms))
    carry = state.carries[carry.coin]
    what = f"{carry.coin} {leg.value} changed by {show(diff)} and no fill or transfer explains it"
    if owned:
        state, carry = _lost(state, carry, leg, "", what)
        left = state.policy.alignment.mode == "log"
        state = set_carry(state, attrs.evolve(carry, unaligned=left))
    note = Note(
        event="external",
        coin=carry.coin,
        fields={
            "leg": leg.value,
            "change": show(diff),
            "owned": show(owned),
            "foreign": show(foreign),
        },
    )
    return state, (note, *line, *_external_alert(state, carry, leg, owned, what))
