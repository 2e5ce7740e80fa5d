"""One tick of the past, whole: what was known, what every gate said, what was asked, what came of
it, and what would have had to be otherwise.

Everything is computed by the core's own functions on the journaled tick, decided again; nothing is
taken from a log.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from carry.core import economics, ledger, risk
from carry.core import observations as seen
from carry.core.actions import Action, Alert, Place, Query, Write
from carry.core.num import show
from carry.core.observations import Observations
from carry.core.state import PHASE_NAMES, RULES, Carry, HedgeOk, State
from carry.core.step import gates
from carry.core.types import Leg
from carry.shell import status, why
from carry.shell.reader import Reader
from carry.shell.say import render

from . import flips, past
from .past import ACTIONS, Decided

FATE_TICKS: Final = 2_000  # how far ahead the fate of an action is looked for
MS_AN_HOUR: Final = 3_600_000
PLACES: Final = Decimal("1e-10")
Report = dict[str, Any]
Done = Callable[[int, int], None]


def explain(
    path: str, when: str | None = None, *, turns: bool = True, done: Done = lambda now, of: None
) -> Report:
    """The tick that `when` names (see `past.at`). turns: find the flip points, too: seconds.

    done: told how many of how many parts of the search are done. Raises NotThere, Unreadable.
    """
    reader = Reader(path)
    try:
        seq = past.at(reader, when)
        begin = past.start(reader, seq)
        assert begin is not None, "a tick that is kept has a start"
        it = next(one for one in past.decided(reader, begin, seq) if one.tick.seq == seq)
        turned = list(flips.flips(it.before, it.observations, done)) if turns else []
        return _report(reader, it, turned)
    finally:
        reader.close()


def _report(reader: Reader, it: Decided, turned: list[flips.Flip]) -> Report:
    after = it.after
    found = gates(after)
    same = ACTIONS.encode(it.actions) == it.tick.actions
    asked = it.asked(reader.schema)
    return {
        "seq": it.tick.seq,
        "at_ms": it.tick.venue_ms,
        "rules": it.tick.rules,
        "as_it_was": same,
        "policy": after.policy.source,
        "mode": risk.mode(after).value,
        "why": why.of_all(after, found).text,
        "latches": {name: latch.why for name, latch in after.latches.items()},
        "intents_open": len(after.intents),
        "pnl": status.pnl(after),
        "markets": [_market(after, carry) for carry in after.carries.values()],
        "observations": list(_observed(it.observations)),
        "transcript": list(render(it.before, it.observations, it.after, asked)),
        "gates": [
            {**status.gate(gate), "distance": _distance(why.short_of(gate))} for gate in found
        ],
        "actions": [_action(reader, it, action) for action in _asked(asked)],
        "flips": [flips.as_json(flip) for flip in turned],
        "note": None
        if same
        else f"Decided under rules {it.tick.rules}; this program has {RULES} and would ask for "
        "something else. Actions and fates are those of the time, all else is this program's.",
    }


def _distance(short: Decimal | None) -> str | None:
    return None if short is None else show(short)


# --- a market ------------------------------------------------------------------------------------


def _market(state: State, carry: Carry) -> Report:
    """What is held, seen, forecast and reckoned. Costs and nets in bps of one leg's notional."""
    return {
        "coin": carry.coin,
        "phase": PHASE_NAMES[type(carry.phase)],
        "spot_sz": show(carry.spot_sz),
        "perp_sz": show(carry.perp_sz),
        "books": {leg.value: _book(state, carry, leg) for leg in Leg},
        "context": None
        if carry.context is None
        else {
            "mark_px": show(carry.context.mark_px),
            "oracle_px": show(carry.context.oracle_px),
            "funding_rate": show(carry.context.funding_rate),
            "age_ms": state.now_ms - carry.context_ms,
        },
        "forecast": _forecast(state, carry),
        "entry": _entry(state, carry),
        "staying": _staying(state, carry),
        "pnl": status.causes(ledger.pnl(carry)),
    }


def _book(state: State, carry: Carry, leg: Leg) -> Report | None:
    kept = carry.quotes.get(leg.value)
    if kept is None:
        return None
    return {
        "bid": show(kept.book.bid_px),
        "ask": show(kept.book.ask_px),
        "spread_bps": show(kept.book.spread_bps.quantize(Decimal("0.01"))),
        "age_ms": state.now_ms - kept.seen_ms,
    }


def _forecast(state: State, carry: Carry) -> Report | None:
    forecast, hours = carry.forecast, state.capabilities.interval_h
    if forecast is None:
        return None
    return {
        "rate": show(forecast.rate),
        "apr": show(economics.apr(forecast.rate, hours).quantize(PLACES)),
        "settled": forecast.count,
        "negative_h": forecast.negative_h,
        "halflife_h": state.policy.strategy.forecast_halflife_h,
    }


def _terms(costs: economics.Cost) -> Report:
    return {
        "entry_fees_bps": show(economics.bps(costs.entry_fees)),
        "entry_slippage_bps": show(economics.bps(costs.entry_slippage)),
        "exit_fees_bps": show(economics.bps(costs.exit_fees)),
        "exit_slippage_bps": show(economics.bps(costs.exit_slippage)),
        "total_bps": show(economics.bps(costs.total)),
    }


def _entry(state: State, carry: Carry) -> Report | None:
    """What a new carry of the size on offer would cost and earn over the horizon."""
    offer, strategy = risk.offer(state, carry), state.policy.strategy
    costs = risk.round_trip(state, carry, offer.sz) if offer.sz else None
    if costs is None:
        return None
    found = {
        "sz": show(offer.sz),
        "notional_usd": None if offer.notional is None else show(offer.notional),
        **_terms(costs),
        "horizon_h": strategy.horizon_h,
        "buffer_bps": show(strategy.buffer_bps),
        "income_bps": None,
        "expected_net_bps": None,
        "even_after_h": None,
    }
    if carry.forecast is None or offer.expected is None:
        return found
    rate, hours = carry.forecast.rate, state.capabilities.interval_h
    found["income_bps"] = show(economics.bps(economics.income(rate, strategy.horizon_h, hours)))
    found["expected_net_bps"] = show(economics.bps(offer.expected))
    if rate > 0:
        found["even_after_h"] = show((costs.total / rate * hours).quantize(Decimal("0.1")))
    return found


def _staying(state: State, carry: Carry) -> Report | None:
    """The two sides of the question whether to leave, of a carry that is held."""
    phase, strategy = carry.phase, state.policy.strategy
    if not isinstance(phase, HedgeOk) or carry.forecast is None or not carry.spot_sz:
        return None
    costs = risk.round_trip(state, carry, carry.spot_sz)
    rate, hours = carry.forecast.rate, state.capabilities.interval_h
    apr = economics.apr(rate, hours)
    held_ms = state.now_ms - phase.since_ms
    return {
        "forecast_apr": show(apr.quantize(PLACES)),
        "exit_threshold_apr": show(strategy.exit_threshold_apr),
        "negative_h": carry.forecast.negative_h,
        "funding_negative_hours": strategy.funding_negative_hours,
        "income_bps": show(economics.bps(economics.income(rate, strategy.horizon_h, hours))),
        "leaving_costs_bps": None if costs is None else show(economics.bps(costs.total)),
        "staying_loses": None
        if costs is None
        else economics.staying_loses(rate, strategy.horizon_h, hours, costs),
        "held_h": show((Decimal(held_ms) / MS_AN_HOUR).quantize(Decimal("0.01"))),
        "min_hold_h": strategy.min_hold_h,
        "leaving_ms": None if phase.leaving_ms is None else state.now_ms - phase.leaving_ms,
    }


# --- what was seen --------------------------------------------------------------------------------


def _observed(obs: Observations) -> Iterator[str]:
    """Every observation on a line of its own; own orders, fills and commands are in the
    transcript."""
    yield f"cause {obs.cause}" + (", the first tick of a process" if obs.restarted else "")
    for event in obs.events:
        if isinstance(event, seen.BookSeen):
            book = event.book
            depth = f"{len(book.bids)}+{len(book.asks)} levels" if event.full else "touch only"
            yield (
                f"book {event.coin} {event.leg.value} {show(book.bid_px)}/{show(book.ask_px)}, "
                f"{depth}, {obs.mono_ms - event.seen_ms} ms old"
            )
    for read in obs.reads:
        name = type(read).__name__.removesuffix("Read").lower()
        yield f"read {name}: {_read(read)}, asked {obs.mono_ms - read.issued_ms} ms before"
    if obs.gaps:
        yield f"nothing from {', '.join(obs.gaps)}"


def _read(read: seen.Read) -> str:
    match read:
        case seen.ContextsRead():
            return "; ".join(
                f"{coin} mark {show(c.mark_px)} oracle {show(c.oracle_px)} funding "
                f"{show(c.funding_rate)}"
                for coin, c in read.contexts.items()
            )
        case seen.PositionsRead():
            held = ", ".join(f"{coin} {show(p.sz)}" for coin, p in read.positions.items())
            return f"{held or 'flat'}, equity {show(read.equity)} usd"
        case seen.BalancesRead():
            coins = ", ".join(f"{coin} {show(b.total)}" for coin, b in read.coins.items())
            return f"{show(read.usd.total)} usd" + (f", {coins}" if coins else "")
        case seen.PrintsRead():
            last = show(read.prints[-1].rate) if read.prints else "-"
            return f"{read.coin}, {len(read.prints)} settled rates, the last {last}"
        case seen.ClosesRead():
            return f"{read.coin}, {len(read.closes)} closes of {read.interval}"
        case seen.FillsRead():
            return f"{len(read.fills)}"
        case seen.ReceiptsRead():
            return f"{len(read.receipts)}"
        case seen.TransfersRead():
            return f"{len(read.transfers)}"
        case seen.OpenOrdersRead():
            return f"{len(read.orders)} rest"
        case seen.MarketsRead():
            broken = f", broken: {', '.join(read.broken)}" if read.broken else ""
            return f"{', '.join(read.markets) or 'none'}{broken}"
        case seen.LeverageRead():
            return f"{read.coin} {read.leverage} {'cross' if read.cross else 'isolated'}"
        case seen.ModeRead():
            return read.mode.value
        case seen.BudgetRead():
            return f"{read.actions_left} actions left"
        case seen.FeesRead():
            return "own rates"
        case seen.AgentRead():
            return "valid until " + str(read.valid_until_at_ms or "no named end")


# --- what was asked, and what became of it --------------------------------------------------------


def _asked(actions: tuple[Action, ...]) -> list[Action]:
    return [action for action in actions if isinstance(action, Write | Query | Alert)]


def _action(reader: Reader, it: Decided, action: Action) -> Report:
    name = type(action).__name__
    if isinstance(action, Alert):
        return {"action": name, "text": f"{action.level} {action.name}: {action.text}", "fate": []}
    transcript = render(it.before, it.observations, it.after, (action,))
    text = next(line[4:] for line in transcript if line.startswith("  > "))
    intent = getattr(action, "intent", None)
    fate = [] if intent is None else list(_fate(reader, it, intent, action))
    return {"action": name, "text": text, "fate": fate}


def _fate(reader: Reader, it: Decided, intent: int, action: Action) -> Iterator[str]:
    """What later ticks say of an intent, each with the time since this tick."""
    began_ms, said, settled = it.observations.mono_ms, False, False
    word = f'"intent":{intent}'
    for tick in reader.ticks(it.tick.seq, it.tick.seq + FATE_TICKS):
        text = tick.observations.decode()
        if word not in text:
            continue
        obs: Observations = past.OBSERVATIONS.decode(text, reader.schema)
        for outcome in obs.outcomes:
            if outcome.intent == intent:
                said = True
                yield f"+{obs.mono_ms - began_ms} ms (tick {tick.seq}) {_outcome(outcome)}"
                settled = isinstance(
                    outcome, seen.Refused | seen.Done | seen.Cancelled | seen.NotSent
                ) or (isinstance(outcome, seen.Accepted) and not outcome.resting)
        if settled:
            break
    if isinstance(action, Place):
        yield from _fills(reader, it, action)
    elif not said and not isinstance(action, Query):
        yield "no later tick that is kept says what became of it"


def _outcome(outcome: seen.Outcome) -> str:
    match outcome:
        case seen.Accepted():
            rest = "the rest in the book" if outcome.resting else "then gone"
            return f"accepted, {show(outcome.filled_sz)} filled at once, {rest}"
        case seen.Refused():
            return f"refused: {outcome.code} ({outcome.text})"
        case seen.NotSent() | seen.OutcomeUnknown():
            word = "not sent" if isinstance(outcome, seen.NotSent) else "outcome unknown"
            return f"{word}: {outcome.why}"
        case seen.OrderRecord():
            return f"the venue's record: {outcome.status} ({outcome.word})"
        case seen.Cancelled():
            return "withdrawn" + (", was gone already" if outcome.gone else "")
        case seen.FenceHeld():
            return "fenced: it can never land"
        case seen.NonceClosed():
            return "its nonce was used: nothing more can land"
        case seen.Done():
            return "done"
        case seen.CancelUnanswered() | seen.FenceUnanswered():
            return f"not answered: {outcome.why}"


def _fills(reader: Reader, it: Decided, action: Place) -> Iterator[str]:
    rows = reader.rows(
        "SELECT at_ms, px, sz, fee_usd FROM fills WHERE cloid = ? ORDER BY at_ms, trade_id",
        action.cloid,
    )
    filled = sum((Decimal(row[2]) for row in rows), Decimal(0))
    if not rows:
        yield f"no fill: 0 of {show(action.sz)}"
        return
    paid = sum((Decimal(px) * Decimal(sz) for _, px, sz, _ in rows), Decimal(0))
    fees = sum((Decimal(row[3]) for row in rows), Decimal(0))
    mean = (paid / filled).quantize(Decimal("1e-6"))
    yield (
        f"filled {show(filled)} of {show(action.sz)} in {len(rows)}, at {show(mean)} on average, "
        f"fees {show(fees.quantize(Decimal('1e-6')))} usd"
    )
    if it.tick.venue_ms is not None:
        yield f"first fill {rows[0][0] - it.tick.venue_ms} ms of venue time after"
