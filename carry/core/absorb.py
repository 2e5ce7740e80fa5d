"""Facts in: folds observations into the state. Decides nothing.

Absent is absent (P5): a failed read is not here, and a complete one lowers a belief only when it is
newer than our last own action, plausible, and explained by fills or confirmed by a second reply.
"""

import attrs

from . import moves
from . import observations as seen
from .actions import Action, Alert, Note, Posting
from .commands import obey
from .conditions import heard
from .economics import fold, volatility
from .holdings import book_fill, book_receipts, compare, journal_old, post
from .intents import (
    doubt_all,
    latch,
    number_of,
    order_seen,
    outcome,
    set_carry,
    swept,
)
from .num import ZERO, show
from .policy import INTERVAL_MS
from .reconcile import FLOOR_AT_MS, forgotten, holds, in_books, pruned, reconcile, slow_floor
from .state import Carry, Leverage, Seen, State
from .types import Leg

TICK_MS_MAX = 10_000  # no clock of the strategy runs further than this in one tick

Said = tuple[Action, ...]


def absorb(state: State, obs: seen.Observations) -> tuple[State, Said]:
    """The state with everything this tick saw, and what is worth saying about it."""
    state = _clock(state, obs)
    said: Said = ()
    for fault in obs.faults:
        state, more = _fault(state, fault)
        said += more
    for fact in obs.outcomes:
        state = heard(state, fact)
        state, more = outcome(state, fact)
        said += more
    for event in obs.events:
        state, more = _event(state, event)
        said += more
    for read in obs.reads:
        state, more = _read(state, read)
        said += more
    for command in obs.commands:
        state, more = obey(state, command)
        said += more
    state, more = moves.arrived(state)
    said += more
    state, more = reconcile(state)
    return state, said + more


def _clock(state: State, obs: seen.Observations) -> State:
    policy = obs.policy if obs.policy is not None else state.policy
    carries = {
        coin: carry
        for coin, carry in state.carries.items()
        if coin in policy.coins or holds(state, carry) or in_books(carry)
    }
    for coin in policy.coins:
        carries.setdefault(coin, Carry(coin=coin))
    state = attrs.evolve(
        state,
        policy=policy,
        capabilities=obs.capabilities if obs.capabilities is not None else state.capabilities,
        journal_id=obs.journal_id if obs.journal_id is not None else state.journal_id,
        seq=state.seq + 1,
        answered_ms=obs.mono_ms if obs.reads else state.answered_ms,
        dt_ms=0 if obs.restarted else max(0, min(obs.mono_ms - state.now_ms, TICK_MS_MAX)),
        now_ms=obs.mono_ms,
        wall_ms=obs.wall_ms,
        venue_ms=obs.venue_ms,
        stopping=obs.stopping,
        once=obs.once,
        carries={coin: carries[coin] for coin in sorted(carries)},
    )
    if obs.restarted:
        state = attrs.evolve(
            doubt_all(state), started_ms=obs.mono_ms, protected_ms=None, unanswered=0
        )
    return state


def _fault(state: State, fault: seen.Fault) -> tuple[State, Said]:
    mode = "reduce" if fault.name in ("crash", "policy_check") else "halt"
    state = latch(state, fault.name, mode, fault.text)
    does = "entries stop" if mode == "reduce" else "nothing is traded"
    text = (
        f"{fault.text}: {does} until `carry resume --ack {fault.name}`. "
        "Positions stay as they are at the venue; see `carry positions`."
    )
    return state, (Alert(level="page", name=fault.name, coin=None, text=text),)


# --- the stream -----------------------------------------------------------------------------------


def _event(state: State, event: seen.Event) -> tuple[State, Said]:
    match event:
        case seen.FillSeen():
            return book_fill(state, event.fill, complete=False)
        case seen.OrderSeen():
            return order_seen(state, event)
        case seen.BookSeen():
            return _book(state, event), ()
        case _:
            raise AssertionError(f"event without a handler: {event}")


def _book(state: State, event: seen.BookSeen) -> State:
    carry = state.carries.get(event.coin)
    if carry is None or not ZERO < event.book.bid_px < event.book.ask_px:
        return state  # a free, empty or crossed book prices nothing
    leg = event.leg.value
    new = Seen(event.book, event.seen_ms)
    last = carry.quotes.get(leg)
    # The venue's stamps order what one instrument showed; the newest of the stream or a read wins.
    if last is None or event.book.at_ms >= last.book.at_ms:
        carry = attrs.evolve(carry, quotes={**carry.quotes, leg: new})
    if event.full:
        carry = attrs.evolve(carry, books={**carry.books, leg: new})
    return set_carry(state, carry)


# --- reads ----------------------------------------------------------------------------------------


def _read(state: State, read: seen.Read) -> tuple[State, Said]:
    account = state.account
    match read:
        case seen.MarketsRead():
            return _markets(state, read), ()
        case seen.ContextsRead():
            for coin, context in read.contexts.items():
                carry = state.carries.get(coin)
                if carry is not None and min(context.mark_px, context.oracle_px) > 0:
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
        case seen.AgentRead():
            account = attrs.evolve(account, agent_until_at_ms=read.valid_until_at_ms)
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
            state, more = journal_old(state, number, f"order {number} rests", order.coin)
            said += more
            strays += (order,)
        elif str(number) not in state.intents:
            strays += (order,)
    account = attrs.evolve(state.account, orders_ms=read.issued_ms, strays=strays)
    return attrs.evolve(state, account=account), said


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
    account = state.account
    said: Said = ()
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
        # faults answer "nothing". A liquidation leaves fills behind, and those are believed. One
        # asked for before our own last fill only lags.
        lags = read.issued_ms <= max(c.touched_ms.get("perp", -1) for c in state.carries.values())
        return state, () if lags else (_implausible(state, "positions"),)
    account = attrs.evolve(
        last,
        positions=read.positions,
        raw_usd=read.raw_usd,
        maintenance=read.maintenance,
        positions_at_ms=read.at_ms,
        positions_ms=read.issued_ms,
    )
    state = attrs.evolve(state, account=account)
    said: Said = ()
    for coin in state.carries:
        held = read.positions[coin].sz if coin in read.positions else ZERO
        state, more = compare(state, coin, Leg.PERP, held, read.issued_ms)
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
    for coin, carry in state.carries.items():
        if coin not in read.coins and carry.broken is not None:
            continue  # without its metadata a token cannot be told: left out, not gone
        held = read.coins[coin].total if coin in read.coins else ZERO
        state, more = compare(state, coin, Leg.SPOT, held, read.issued_ms)
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


def _fills(state: State, read: seen.FillsRead) -> tuple[State, Said]:
    said: Said = ()
    for fill in read.fills:
        state, more = book_fill(state, fill, complete=True)
        said += more
    state, more = swept(state, read)
    account = attrs.evolve(state.account, fills_ms=read.issued_ms, fills_at_ms=read.issued_venue_ms)
    floor = state.fills_floor_at_ms
    if read.since_ms <= floor:
        # Never past an open order: its verdict needs a look that reaches back to it.
        # Nor past the machine's date: a venue's stamp from the future would hide all fills to come.
        now_at_ms = min(read.issued_venue_ms, state.wall_ms)
        oldest = min((i.at_ms for i in state.intents.values()), default=now_at_ms)
        floor = max(floor, min(now_at_ms - FLOOR_AT_MS, oldest))
    state = attrs.evolve(state, account=account, fills_floor_at_ms=floor)
    return pruned(state), said + more


def _receipts(state: State, read: seen.ReceiptsRead) -> tuple[State, Said]:
    said: Said = ()
    if state.account.baseline_usd is not None:
        state, said = book_receipts(state, read.receipts)
    account = attrs.evolve(state.account, receipts_ms=read.issued_ms)
    floor = slow_floor(state, state.receipts_floor_at_ms, read.since_ms)
    state = attrs.evolve(state, account=account, receipts_floor_at_ms=floor)
    return forgotten(state), said


def _transfers(state: State, read: seen.TransfersRead) -> tuple[State, Said]:
    known = dict(state.seen)
    said: Said = ()
    for transfer in read.transfers if state.account.baseline_usd is not None else ():
        key = f"transfer:{transfer.transfer_id}"
        if key in known or transfer.at_ms < state.transfers_floor_at_ms:
            continue
        known[key] = transfer.at_ms
        line = Posting(
            kind="transfer",
            ref=transfer.transfer_id,
            at_ms=transfer.at_ms,
            coin=None,
            transfers_usd=transfer.usd,
        )
        state, posted = post(state, line)
        moved_at_ms = max(state.account.moved_at_ms, transfer.at_ms)
        state = attrs.evolve(
            state, account=attrs.evolve(state.account, moved_at_ms=moved_at_ms)
        )
        fields = {
            "usd": show(transfer.usd),
            "moved_usd": show(transfer.moved_usd),
            "kind": transfer.kind,
            "moved_at_ms": str(transfer.at_ms),
        }
        said += (Note(event="transfer", coin=None, fields=fields), *posted)
    account = attrs.evolve(state.account, transfers_ms=read.issued_ms)
    floor = slow_floor(state, state.transfers_floor_at_ms, read.since_ms)
    state = attrs.evolve(state, account=account, seen=known, transfers_floor_at_ms=floor)
    state, more = moves.recorded(state, read)
    return state, said + more
