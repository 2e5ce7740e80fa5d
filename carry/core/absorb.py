"""Facts in: folds observations into the state. Decides nothing; the only writer of positions.

Absent is absent (P5): a failed read is not here, and a complete one lowers a belief only when it is
newer than our last own action, plausible, and explained by fills or confirmed by a second reply.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from . import ledger
from . import observations as seen
from .actions import Action, Alert, Note
from .economics import apr, fold, volatility
from .intents import (
    booked,
    doubt_all,
    latch,
    leg_set,
    number_of,
    order_seen,
    outcome,
    set_carry,
    swept,
)
from .num import ZERO, show
from .policy import INTERVAL_MS
from .state import Carry, Doubt, Enter, HedgeOk, Idle, Leverage, Seen, State
from .types import Fill, FundingReceipt, Leg

TICK_MS_MAX = 10_000  # no clock of the strategy runs further than this in one tick
CONFIRM_MS = 1_000  # a second reply this much later must agree before a belief is lowered
FLOOR_AT_MS = 600_000  # fills may reach a complete read this much late
SLOW_FLOOR_AT_MS = 7_200_000  # payments and transfers likewise

Said = tuple[Action, ...]


def absorb(state: State, obs: seen.Observations) -> tuple[State, Said]:
    """The state with everything this tick saw, and what is worth saying about it."""
    state = _clock(state, obs)
    said: Said = ()
    for fault in obs.faults:
        state, more = _fault(state, fault)
        said += more
    for fact in obs.outcomes:
        state, more = outcome(state, fact)
        said += more
    for event in obs.events:
        state, more = _event(state, event)
        said += more
    for read in obs.reads:
        state, more = _read(state, read)
        said += more
    for command in obs.commands:
        state, more = _command(state, command)
        said += more
    state, more = _reconcile(state)
    return state, said + more


def _clock(state: State, obs: seen.Observations) -> State:
    policy = obs.policy if obs.policy is not None else state.policy
    carries = {
        coin: carry
        for coin, carry in state.carries.items()
        if coin in policy.coins or _holds(state, carry)
    }
    for coin in policy.coins:
        carries.setdefault(coin, Carry(coin=coin))
    state = attrs.evolve(
        state,
        policy=policy,
        capabilities=obs.capabilities if obs.capabilities is not None else state.capabilities,
        journal_id=obs.journal_id if obs.journal_id is not None else state.journal_id,
        seq=state.seq + 1,
        dt_ms=0 if obs.restarted else max(0, min(obs.mono_ms - state.now_ms, TICK_MS_MAX)),
        now_ms=obs.mono_ms,
        wall_ms=obs.wall_ms,
        venue_ms=obs.venue_ms,
        stopping=obs.stopping,
        once=obs.once,
        carries={coin: carries[coin] for coin in sorted(carries)},
    )
    if obs.restarted:
        state = attrs.evolve(doubt_all(state), started_ms=obs.mono_ms, protected_ms=None)
    return state


def _holds(state: State, carry: Carry) -> bool:
    return (
        not isinstance(carry.phase, Idle)
        or bool(carry.perp_sz)
        or any(True for _ in state.of(carry.coin))
    )


def _fault(state: State, fault: seen.Fault) -> tuple[State, Said]:
    mode = "reduce" if fault.name == "crash" else "halt"
    state = latch(state, fault.name, mode, fault.text)
    does = "entries stop" if mode == "reduce" else "nothing is traded"
    text = (
        f"{fault.text}: {does} until `carry resume --ack {fault.name}`. "
        "Positions stay as they are at the venue; see `carry positions`."
    )
    return state, (Alert(level="page", name=fault.name, coin=None, text=text),)


# --- the stream ------------------------------------------------------------------------------------


def _event(state: State, event: seen.Event) -> tuple[State, Said]:
    match event:
        case seen.FillSeen():
            return _fill(state, event.fill, complete=False)
        case seen.OrderSeen():
            return order_seen(state, event)
        case seen.BookSeen():
            return _book(state, event), ()
        case _:
            raise AssertionError(f"event without a handler: {event}")


def _book(state: State, event: seen.BookSeen) -> State:
    carry = state.carries.get(event.coin)
    if carry is None:
        return state
    leg = event.leg.value
    new = Seen(event.book, event.seen_ms)
    last = carry.quotes.get(leg)
    # The venue's stamps order what one instrument showed; the newest of the stream or a read wins.
    if last is None or event.book.at_ms >= last.book.at_ms:
        carry = attrs.evolve(carry, quotes={**carry.quotes, leg: new})
    if event.full:
        carry = attrs.evolve(carry, books={**carry.books, leg: new})
    return set_carry(state, carry)


# --- fills, payments, transfers --------------------------------------------------------------------


def _fill(state: State, fill: Fill, *, complete: bool) -> tuple[State, Said]:
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
        account=attrs.evolve(
            state.account, moved_at_ms=max(state.account.moved_at_ms, fill.at_ms)
        ),
    )
    if not ours:
        return _taken(state, carry, fill)
    said: Said = ()
    if number is not None and number > state.intent_no:
        state, said = _journal_old(state, f"a fill of order {number} was found", fill.coin)
    ref_px = intent.ref_px if intent is not None else fill.px
    state = set_carry(state, _own_fill(state, carry, fill, ref_px))
    said += (_fill_note(fill, "own"), _fee_note(fill))
    if intent is not None:
        state, more = booked(state, intent, fill)
        said += more
    return state, said


def _own_fill(state: State, carry: Carry, fill: Fill, ref_px: Decimal) -> Carry:
    spot = fill.base_change if fill.leg is Leg.SPOT else ZERO
    perp = fill.base_change if fill.leg is Leg.PERP else ZERO
    return attrs.evolve(
        carry,
        spot_sz=carry.spot_sz + spot,
        perp_sz=carry.perp_sz + perp,
        ledger=ledger.own_fill(carry.ledger, fill, ref_px),
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
            "at_ms": str(fill.at_ms),
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


def _shift(carry: Carry, leg: Leg, owned: Decimal, foreign: Decimal) -> Carry:
    if leg is Leg.SPOT:
        return attrs.evolve(
            carry, spot_sz=carry.spot_sz + owned, foreign_spot=carry.foreign_spot + foreign
        )
    return attrs.evolve(
        carry, perp_sz=carry.perp_sz + owned, foreign_perp=carry.foreign_perp + foreign
    )


def _outside(state: State, cost: Decimal, cash: Decimal) -> State:
    outside = state.account.outside
    outside = attrs.evolve(
        outside,
        ref_cost_usd=outside.ref_cost_usd + cost,
        cash_usd=outside.cash_usd + cash,
    )
    return attrs.evolve(state, account=attrs.evolve(state.account, outside=outside))


def _external_alert(state: State, carry: Carry, leg: Leg, owned: Decimal, what: str) -> Said:
    """Name what others did. When it took from the carry, the market's entries are locked."""
    does = (
        f"the carry lost {show(abs(owned))}; entries of {carry.coin} are locked until "
        f"`carry resume --ack external_{carry.coin}`"
        if owned
        else "it counts as foreign and is left alone"
    )
    return (
        Alert(
            level="page" if owned else "warn",
            name=f"external_{carry.coin}_{leg.value}_{state.seq}",
            coin=carry.coin,
            text=f"{what}: {does}.",
        ),
    )


def _taken(state: State, carry: Carry, fill: Fill) -> tuple[State, Said]:
    """A fill that is not ours: liquidation, deleveraging, a trade by hand."""
    owned, foreign = split_change(carry, fill.leg, fill.base_change)
    ref_px = ledger.price(carry, fill.leg) or fill.px
    fee = fill.fee_usd
    own_fee = fee if owned else ZERO
    carry = _shift(carry, fill.leg, owned, foreign)
    carry = attrs.evolve(
        carry,
        ledger=ledger.taken(carry.ledger, owned, ref_px, fill.px, own_fee),
        touched_ms=leg_set(carry.touched_ms, fill.leg, state.now_ms),
    )
    state = _outside(set_carry(state, carry), foreign * fill.px, own_fee - fee)
    kind = fill.kind or "a trade by hand"
    what = (
        f"{carry.coin} {fill.leg.value}: {kind}, {fill.side.value} {show(fill.sz)} at "
        f"{show(fill.px)}, was not ours"
    )
    if owned:
        state = latch(state, f"external_{carry.coin}", "entries", what)
    return state, (
        _fill_note(fill, "external"),
        *_external_alert(state, carry, fill.leg, owned, what),
    )


def _receipt(state: State, receipt: FundingReceipt) -> tuple[State, Said]:
    key = f"funding:{receipt.coin}:{receipt.at_ms}"
    if key in state.seen or receipt.at_ms < state.receipts_floor_at_ms:
        return state, ()
    state = attrs.evolve(
        state,
        seen={**state.seen, key: receipt.at_ms},
        account=attrs.evolve(
            state.account, moved_at_ms=max(state.account.moved_at_ms, receipt.at_ms)
        ),
    )
    carry = state.carries.get(receipt.coin)
    if carry is None:
        return _outside(state, ZERO, receipt.usd), ()
    ours = ledger.funding_share(receipt, carry.perp_sz)
    book = attrs.evolve(carry.ledger, funding_usd=carry.ledger.funding_usd + ours)
    state = set_carry(state, attrs.evolve(carry, ledger=book))
    note = Note(
        event="funding",
        coin=receipt.coin,
        fields={
            "usd": show(receipt.usd),
            "ours_usd": show(ours),
            "sz": show(receipt.sz),
            "rate": show(receipt.rate),
            "apr": show(apr(receipt.rate, state.capabilities.interval_h)),
            "at_ms": str(receipt.at_ms),
        },
    )
    return _outside(state, ZERO, receipt.usd - ours), (note,)


# --- reads -----------------------------------------------------------------------------------------


def _read(state: State, read: seen.Read) -> tuple[State, Said]:
    account = state.account
    match read:
        case seen.MarketsRead():
            return _markets(state, read), ()
        case seen.ContextsRead():
            for coin, context in read.contexts.items():
                carry = state.carries.get(coin)
                if carry is not None:
                    carry = attrs.evolve(carry, context=context, context_ms=read.issued_ms)
                    state = set_carry(state, carry)
            return state, ()
        case seen.PrintsRead():
            return _prints(state, read), ()
        case seen.ClosesRead():
            return _closes(state, read), ()
        case seen.LeverageRead():
            carry = state.carries.get(read.coin)
            if carry is None:
                return state, ()
            setting = Leverage(value=read.leverage, cross=read.cross, issued_ms=read.issued_ms)
            return set_carry(state, attrs.evolve(carry, leverage=setting)), ()
        case seen.PositionsRead():
            return _positions(state, read)
        case seen.BalancesRead():
            return _balances(state, read)
        case seen.OpenOrdersRead():
            return _orders(state, read)
        case seen.FillsRead():
            return _fills(state, read)
        case seen.ReceiptsRead():
            return _receipts(state, read)
        case seen.TransfersRead():
            return _transfers(state, read)
        case seen.FeesRead():
            account = attrs.evolve(account, fees=read.fees)
        case seen.ModeRead():
            return _mode(state, read)
        case seen.BudgetRead():
            account = attrs.evolve(account, actions_left=read.actions_left)
        case _:
            raise AssertionError(f"read without a handler: {read}")
    return attrs.evolve(state, account=account), ()


def _orders(state: State, read: seen.OpenOrdersRead) -> tuple[State, Said]:
    """Ours without an intent are strays, to be withdrawn; others' are left alone and named."""
    strays: tuple[seen.OpenOrder, ...] = ()
    said: Said = ()
    for order in read.orders:
        number = number_of(state, order.cloid)
        if number is None:
            text = (
                f"An order that is not ours rests on {order.coin} {order.leg.value}: "
                f"{order.side.value} {show(order.sz)} at {show(order.px)}. It is left alone."
            )
            name = f"order_{order.oid}"
            said += (Alert(level="warn", name=name, coin=order.coin, text=text),)
        elif number > state.intent_no:
            state, more = _journal_old(state, f"order {number} rests", order.coin)
            said += more
        elif str(number) not in state.intents:
            strays += (order,)
    account = attrs.evolve(state.account, orders_ms=read.issued_ms, strays=strays)
    return attrs.evolve(state, account=account), said


def _journal_old(state: State, what: str, coin: str) -> tuple[State, Said]:
    text = (
        f"{what} at the venue, but this journal ends at order {state.intent_no}: it is older than "
        "the venue's evidence, a restored copy perhaps. Nothing is traded; put the newest journal "
        "back, or start a new one and adopt, then `carry resume --ack journal_old`"
    )
    state = latch(state, "journal_old", "halt", text)
    return state, (Alert(level="page", name="journal_old", coin=coin, text=text),)


def _markets(state: State, read: seen.MarketsRead) -> State:
    """Last good metadata is kept: a row that broke today must not stop an exit."""
    for coin, carry in state.carries.items():
        if coin in read.markets:
            carry = attrs.evolve(carry, market=read.markets[coin], broken=None)
        else:
            carry = attrs.evolve(carry, broken=read.broken.get(coin, "not listed by the venue"))
        state = set_carry(state, carry)
    return state


def _prints(state: State, read: seen.PrintsRead) -> State:
    carry = state.carries.get(read.coin)
    if carry is None:
        return state
    forecast = fold(
        carry.forecast,
        read.prints,
        halflife_h=state.policy.strategy.forecast_halflife_h,
        interval_ms=state.capabilities.funding_interval_ms,
        rate_max=state.policy.risk.max_funding_rate,
    )
    return set_carry(state, attrs.evolve(carry, forecast=forecast))


def _closes(state: State, read: seen.ClosesRead) -> State:
    carry = state.carries.get(read.coin)
    if carry is None:
        return state
    wanted = state.policy.strategy.volatility
    measured = None
    if read.interval == wanted.interval and len(read.closes) >= wanted.window:
        measured = volatility(read.closes[-wanted.window :], INTERVAL_MS[wanted.interval])
    carry = attrs.evolve(carry, volatility=measured, volatility_ms=read.issued_ms)
    return set_carry(state, carry)


def _mode(state: State, read: seen.ModeRead) -> tuple[State, Said]:
    account, said = state.account, ()
    if account.mode is not None and account.mode is not read.mode:
        said = (
            Alert(
                level="page",
                name="account_mode",
                coin=None,
                text=f"The account's mode changed from {account.mode.value} to {read.mode.value} "
                f"({read.word}): entries wait until balances and positions are read again.",
            ),
        )
        account = attrs.evolve(account, positions_ms=0, balances_ms=0)
    account = attrs.evolve(account, mode=read.mode, mode_ms=read.issued_ms)
    return attrs.evolve(state, account=account), said


def _positions(state: State, read: seen.PositionsRead) -> tuple[State, Said]:
    last = state.account
    believed = any(c.perp_sz for c in state.carries.values())
    penniless = not read.positions and not read.raw_usd and not read.equity
    if believed and penniless and last.positions_ms:
        # The shape of a wrong address, a wrong mode, or a read that lost its body: five different
        # faults answer "nothing". A liquidation leaves fills behind, and those are believed.
        return state, (_implausible(state, "positions"),)
    account = attrs.evolve(
        last,
        positions=read.positions,
        raw_usd=read.raw_usd,
        positions_at_ms=read.at_ms,
        positions_ms=read.issued_ms,
    )
    state = attrs.evolve(state, account=account)
    said: Said = ()
    for coin in state.carries:
        held = read.positions[coin].sz if coin in read.positions else ZERO
        state, more = _compare(state, coin, Leg.PERP, held, read.issued_ms)
        said += more
    return state, said


def _balances(state: State, read: seen.BalancesRead) -> tuple[State, Said]:
    believed = any(c.spot_sz for c in state.carries.values())
    if believed and not read.coins and not read.usd.total and state.account.balances_ms:
        return state, (_implausible(state, "balances"),)
    account = attrs.evolve(
        state.account, usd=read.usd, coins=read.coins, balances_ms=read.issued_ms
    )
    state = attrs.evolve(state, account=account)
    said: Said = ()
    for coin in state.carries:
        held = read.coins[coin].total if coin in read.coins else ZERO
        state, more = _compare(state, coin, Leg.SPOT, held, read.issued_ms)
        said += more
    return state, said


def _implausible(state: State, source: str) -> Alert:
    return Alert(
        level="page",
        name=f"implausible_{source}",
        coin=None,
        text=f"The venue answered an empty account for {source} although a carry is held: not "
        "believed. Check the account address and its mode if this goes on.",
    )


def _compare(
    state: State, coin: str, leg: Leg, held: Decimal, issued_ms: int
) -> tuple[State, Said]:
    """Hold what the venue reports against what is explained; believe a difference only when sure."""
    carry = state.carries[coin]
    expected = carry.owned(leg) + carry.foreign(leg)
    diff = held - expected
    if leg.value not in carry.known:
        # What is there before the journal explains anything is foreign.
        carry = attrs.evolve(_shift(carry, leg, ZERO, diff), known=(*carry.known, leg.value))
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
    return _appeared(state, carry, leg, diff)


def _appeared(state: State, carry: Carry, leg: Leg, diff: Decimal) -> tuple[State, Said]:
    """A confirmed difference that no fill explains."""
    owned, foreign = split_change(carry, leg, diff)
    px = ledger.price(carry, leg) or ZERO
    carry = _shift(carry, leg, owned, foreign)
    carry = attrs.evolve(
        carry,
        ledger=ledger.appeared(carry.ledger, owned, px),
        doubts={name: d for name, d in carry.doubts.items() if name != leg.value},
        touched_ms=leg_set(carry.touched_ms, leg, state.now_ms),
    )
    state = _outside(set_carry(state, carry), foreign * px, foreign * px)
    what = f"{carry.coin} {leg.value} changed by {show(diff)} and no fill or transfer explains it"
    if owned:
        state = latch(state, f"external_{carry.coin}", "entries", what)
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
    return state, (note, *_external_alert(state, carry, leg, owned, what))


def _fills(state: State, read: seen.FillsRead) -> tuple[State, Said]:
    said: Said = ()
    for fill in read.fills:
        state, more = _fill(state, fill, complete=True)
        said += more
    state, more = swept(state, read)
    account = attrs.evolve(
        state.account, fills_ms=read.issued_ms, fills_at_ms=read.issued_venue_ms
    )
    floor = state.fills_floor_at_ms
    if read.since_ms <= floor:
        floor = max(floor, read.issued_venue_ms - FLOOR_AT_MS)
    state = attrs.evolve(state, account=account, fills_floor_at_ms=floor)
    return _pruned(state), said + more


def _receipts(state: State, read: seen.ReceiptsRead) -> tuple[State, Said]:
    said: Said = ()
    if state.account.baseline_usd is not None:
        for receipt in read.receipts:
            state, more = _receipt(state, receipt)
            said += more
    account = attrs.evolve(state.account, receipts_ms=read.issued_ms)
    return attrs.evolve(state, account=account), said


def _transfers(state: State, read: seen.TransfersRead) -> tuple[State, Said]:
    account, said, known = state.account, (), dict(state.seen)
    for transfer in read.transfers if account.baseline_usd is not None else ():
        key = f"transfer:{transfer.transfer_id}"
        if key in known or transfer.at_ms < state.transfers_floor_at_ms:
            continue
        known[key] = transfer.at_ms
        account = attrs.evolve(
            account,
            transfers_usd=account.transfers_usd + transfer.usd,
            moved_at_ms=max(account.moved_at_ms, transfer.at_ms),
        )
        fields = {"usd": show(transfer.usd), "kind": transfer.kind, "at_ms": str(transfer.at_ms)}
        said += (Note(event="transfer", coin=None, fields=fields),)
    account = attrs.evolve(account, transfers_ms=read.issued_ms)
    return attrs.evolve(state, account=account, seen=known), said


def _pruned(state: State) -> State:
    """Forget the keys below the floors, and raise the slow floors with time."""
    now_at_ms = state.account.fills_at_ms
    slow = now_at_ms - SLOW_FLOOR_AT_MS
    floors: Mapping[str, int] = {
        "funding": max(state.receipts_floor_at_ms, slow),
        "transfer": max(state.transfers_floor_at_ms, slow),
    }
    kept = {
        key: at_ms
        for key, at_ms in state.seen.items()
        if at_ms >= floors.get(key.split(":", 1)[0], state.fills_floor_at_ms)
    }
    return attrs.evolve(
        state,
        seen=kept,
        receipts_floor_at_ms=floors["funding"],
        transfers_floor_at_ms=floors["transfer"],
    )


# --- the account as a whole ------------------------------------------------------------------------


def reconciled(state: State) -> bool:
    """Whether every source that protects positions was read since this process started."""
    account, start = state.account, state.started_ms
    return min(
        account.mode_ms,
        account.positions_ms,
        account.balances_ms,
        account.fills_ms,
        account.orders_ms,
    ) >= start and all(c.market is not None for c in state.carries.values() if _holds(state, c))


def _reconcile(state: State) -> tuple[State, Said]:
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
    touched = max(
        (ms for c in state.carries.values() for ms in c.touched_ms.values()), default=0
    )
    still = (
        not state.intents
        and swept_ms >= asked_last
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
        account = attrs.evolve(account, baseline_usd=value - ledger.total(state).net_usd)
        return attrs.evolve(state, account=account), said
    residual = value - account.baseline_usd - ledger.explained(state)
    account = attrs.evolve(account, residual_usd=residual)
    return attrs.evolve(state, account=account), said


def _foreign_value(state: State) -> Decimal:
    value = ZERO
    for carry in state.carries.values():
        for leg in Leg:
            px = ledger.price(carry, leg)
            value += carry.foreign(leg) * px if px is not None else ZERO
    return value


# --- the operator ----------------------------------------------------------------------------------


def _command(state: State, command: seen.Command) -> tuple[State, Said]:
    if command.command_id <= state.command_id:
        return state, ()  # seen before: delivered twice, or replayed after a restart
    state = attrs.evolve(state, command_id=command.command_id)
    name = type(command).__name__.lower()
    said: Said = (
        Note(
            event="command",
            coin=None,
            fields={"id": str(command.command_id), "what": name, "by": command.by},
        ),
    )
    match command:
        case seen.Pause():
            return latch(state, "pause", "reduce", f"paused by {command.by}"), said
        case seen.Flatten():
            return latch(state, "flatten", "flatten", f"flatten asked by {command.by}"), said
        case seen.Kill():
            return latch(state, "kill", "flatten", f"kill asked by {command.by}"), said
        case seen.Resume():
            return _resume(state, command, said)
        case seen.Adopt():
            return _adopt(state, command, said)
        case seen.SetPolicy():
            return attrs.evolve(state, policy=command.policy), said
        case _:
            raise AssertionError(f"command without a handler: {command}")


def _resume(state: State, command: seen.Resume, said: Said) -> tuple[State, Said]:
    if command.latch not in state.latches:
        names = ", ".join(state.latches) or "none"
        text = f"There is no latch {command.latch!r} to clear; set now: {names}."
        return state, (*said, Alert(level="warn", name="resume", coin=None, text=text))
    left = {name: each for name, each in state.latches.items() if name != command.latch}
    state = attrs.evolve(state, latches=left)
    if command.latch == "drawdown":
        state = attrs.evolve(state, high_water_usd=ledger.total(state).net_usd)
    if command.latch == "other_writer":
        state = attrs.evolve(state, doubled=0)
    return state, said


def _adopt(state: State, command: seen.Adopt, said: Said) -> tuple[State, Said]:
    """Foreign coins, and as much of a foreign short, become ours at today's prices."""
    carry = state.carries.get(command.coin)
    spot_px = perp_px = None
    if carry is not None:
        spot_px, perp_px = ledger.price(carry, Leg.SPOT), ledger.price(carry, Leg.PERP)
    if carry is None or spot_px is None or perp_px is None:
        text = f"{command.coin} cannot be adopted: it is not a market of the config with a price."
        return state, (*said, Alert(level="warn", name="adopt", coin=command.coin, text=text))
    free = carry.foreign_spot - state.policy.reserve_of(carry.coin)
    spot = max(ZERO, min(command.sz, free))
    perp = -min(command.sz, max(ZERO, -carry.foreign_perp))
    if not spot and not perp:
        text = (
            f"Nothing of {command.coin} to adopt: foreign spot {show(carry.foreign_spot)} of which "
            f"reserved {show(state.policy.reserve_of(carry.coin))}, "
            f"foreign short {show(carry.foreign_perp)}."
        )
        return state, (*said, Alert(level="warn", name="adopt", coin=command.coin, text=text))
    carry = _shift(_shift(carry, Leg.SPOT, spot, -spot), Leg.PERP, perp, -perp)
    book = ledger.moved(ledger.moved(carry.ledger, spot, spot_px), perp, perp_px)
    phase = carry.phase
    if isinstance(phase, Idle | Enter):
        phase = HedgeOk(since_ms=state.now_ms)
    state = set_carry(state, attrs.evolve(carry, ledger=book, phase=phase))
    cost = spot * spot_px + perp * perp_px
    note = Note(
        event="adopted",
        coin=carry.coin,
        fields={"spot_sz": show(spot), "perp_sz": show(perp)},
    )
    if state.account.baseline_usd is not None:
        state = _outside(state, -cost, ZERO)
    return state, (*said, note)
