"""Plays a scenario against `step`, holds every tick to what must always be true, renders goldens.

For each tick: the input is not mutated, the same call twice gives the same result, state,
observations and actions survive the journal's codec, and the ledger explains every cent.
"""

import copy
import inspect
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs

from carry.base.codec import codec
from carry.core import asked as orders
from carry.core import observations as seen
from carry.core.actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Note,
    Place,
    Posting,
    Query,
    SetLeverage,
)
from carry.core.num import show, use_exact_context
from carry.core.observations import Observations
from carry.core.policy import MarketPolicy, Policy
from carry.core.relations import contradictions
from carry.core.state import Enter, Exit, HedgeOk, Idle, State
from carry.core.step import step
from carry.core.types import AccountMode, Leg, Side
from carry.shell.commands import setting
from carry.shell.say import render

from .language import D, Malformed, Row, Scenario, duration, rate
from .world import CAPABILITIES, EPOCH_MS, JOURNAL, MONO_MS, Pair, Working, World

WORDS = {Idle: "idle", Enter: "enter", HedgeOk: "hedge_ok", Exit: "exit"}
STATE, SEEN, ACTIONS = codec(State), codec(Observations), codec(tuple[Action, ...])
PROLOGUE_TICKS = 20

# What every scenario trades unless its head says otherwise: one slice, so that tables stay short.
# The strategy's figures are fixed too: tuning a default is no change of how the bot moves.
BASE = {
    "strategy.target_usd_notional": "200",
    "strategy.enter_threshold_apr": "0.02",
    "strategy.horizon_h": "336",
    "strategy.forecast_halflife_h": "72",
    "strategy.min_hold_h": "24",
    "strategy.switch_edge_bps": "20",
}


class Wrong(AssertionError):
    """A tick that did not do what its row says."""


@attrs.frozen
class Tick:
    before: State
    observations: Observations
    after: State
    actions: tuple[Action, ...]


# --- policy from the head -------------------------------------------------------------------------


def policy_of(scenario: Scenario) -> Policy:
    markets = tuple(
        MarketPolicy(base=coin, reserve_sz=D(facts.get("reserve", "0")))
        for coin, facts in scenario.markets.items()
        if facts.get("configured", "yes") == "yes"
    )
    policy = Policy(markets=markets)
    for key, text in {**BASE, **scenario.config}.items():
        policy = changed(policy, key, text, scenario.path.name)
    wrong = contradictions(policy)
    if wrong:
        raise Malformed(f"{scenario.path.name}: {wrong}")
    return policy


def changed(policy: Policy, key: str, text: str, where: str) -> Policy:
    """The policy with one dotted key set; the old value's type says how the text is read."""
    section, _, name = key.partition(".")
    if name.startswith("volatility."):
        wild = attrs.evolve(policy.strategy.volatility, **{name[11:]: rate(text)})
        return attrs.evolve(policy, strategy=attrs.evolve(policy.strategy, volatility=wild))
    try:
        old = getattr(getattr(policy, section), name)
    except AttributeError:
        raise Malformed(f"{where}: unknown policy key {key!r}") from None
    value: Any = text
    if isinstance(old, bool):
        value = text == "true"
    elif isinstance(old, int) or name.endswith("_ms_max"):
        value = int(text)
    elif isinstance(old, Decimal) or old is None:
        value = rate(text)
    part = attrs.evolve(getattr(policy, section), **{name: value})
    return attrs.evolve(policy, **{section: part})


# --- one tick's events ----------------------------------------------------------------------------


class Play:
    """One scenario in progress: the truth, the state, and what the last tick asked for."""

    def __init__(
        self, scenario: Scenario, *, careful: bool = True, started_ms: int = -1_000
    ) -> None:
        use_exact_context()
        self.scenario, self.careful = scenario, careful
        self.world = World.of(scenario.account, scenario.markets)
        self.coins = tuple(scenario.markets)
        self.policy = policy_of(scenario)
        self.state = State.initial(self.policy, CAPABILITIES)
        self.pending: list[Action] = []
        self.t_ms = 0
        self.command_id = 0
        self.stopping = self.once = False
        self.ticks: list[Tick] = []
        self._restarted = False
        started = started_ms if scenario.start == "fresh" else -1_000 * (PROLOGUE_TICKS + 1)
        start = Row(line=0, t_ms=started, cells={}, events=(("restart",),), phases={}, actions=())
        self._tick(start)
        self._prologue()

    def _prologue(self) -> None:
        """`start: held`: enter in the plainest way, before the table, until all is hedged."""
        if self.scenario.start == "fresh":
            self.ticks.clear()
            return
        if self.scenario.start != "held":
            raise Malformed(f"{self.scenario.path.name}: start is fresh or held")
        first = self.scenario.rows[0]
        cells = {at: "1bp" if at[1] == "funding" else cell for at, cell in first.cells.items()}
        for n in range(PROLOGUE_TICKS):
            t_ms = (n - PROLOGUE_TICKS) * 1_000
            row = attrs.evolve(first, t_ms=t_ms, cells=cells, events=(("fills",),))
            self._tick(row)
            held = all(isinstance(c.phase, HedgeOk) for c in self.state.carries.values())
            if held and not self.state.intents:
                self.ticks.clear()
                return
        raise Malformed(f"{self.scenario.path.name}: the prologue did not end in a held carry")

    def row(self, row: Row) -> Tick:
        return self._tick(row)

    def _tick(self, row: Row) -> Tick:
        world = self.world
        was = copy.deepcopy({c: (p.spot, p.perp) for c, p in world.pairs.items()})
        world.advance(EPOCH_MS + row.t_ms)
        now_ms = MONO_MS + row.t_ms
        words = _Events(self, row, now_ms, was)
        for event in row.events:
            words.take(event)
        self._quote(row)
        for coin, px in words.oracles.items():
            world.pairs[coin].oracle = px
        open_ = [_ask(a, False) for a in self.pending if _needs(a)]
        if open_:
            where = self.scenario.where(row)
            raise Malformed(f"{where}: no outcome is told of {', '.join(open_)}")
        observations = words.observations()
        before = self.state
        after, actions = self._step(row, before, observations)
        self.pending = [a for a in actions if not isinstance(a, Alert | Note | Posting)]
        self.pending = [a for a in self.pending if not isinstance(a, CancelForeign)]
        for action in actions:
            if isinstance(action, Place):
                world.orders[action.intent] = Working(action, action.sz)
            if isinstance(action, CancelForeign):
                world.others = [o for o in world.others if o.oid != action.oid]
        self.state = after
        tick = Tick(before, observations, after, actions)
        self.ticks.append(tick)
        world.snapshot = (world.positions(0), world.balances(0))
        return tick

    def _quote(self, row: Row) -> None:
        for (coin, what), cell in row.cells.items():
            pair = self.world.pairs[coin]
            if what == "funding":
                pair.funding = rate(cell) if cell is not None else pair.funding
                continue
            quote = _quote(self.scenario.where(row), cell)
            setattr(pair, what, quote)
            if what == "perp" and quote is not None:
                pair.mark = pair.oracle = (quote[0] + quote[1]) / 2

    def _step(
        self, row: Row, before: State, observations: Observations
    ) -> tuple[State, tuple[Action, ...]]:
        where = self.scenario.where(row)
        if not self.careful:
            return step(before, observations)
        texts = STATE.encode(before), SEEN.encode(observations)
        copies = copy.deepcopy((before, observations))
        after, actions = step(before, observations)
        _must((before, observations) == copies, where, "step changed its input")
        _must(
            (STATE.encode(before), SEEN.encode(observations)) == texts,
            where,
            "step changed what its input encodes to",
        )
        again = step(STATE.decode(texts[0]), SEEN.decode(texts[1]))
        _must(again == (after, actions), where, "from the journal, the tick decides otherwise")
        kept = STATE.encode(after), ACTIONS.encode(actions)
        _must((STATE.encode(again[0]), ACTIONS.encode(again[1])) == kept, where, "other bytes")
        _must(STATE.decode(kept[0]) == after, where, "the journal changes the state")
        _must(ACTIONS.decode(kept[1]) == actions, where, "the journal changes the actions")
        residual = after.account.residual_usd
        if residual and not self.scenario.residual:
            raise Wrong(f"{where}: a residual of {show(residual)} is not explained")
        return STATE.decode(kept[0]), actions


def _must(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise Wrong(f"{where}: {what}")


def _needs(action: Action) -> bool:
    return isinstance(action, Place | Cancel | Fence | SetLeverage | MoveUsd | Query)


def _quote(where: str, cell: str | None) -> tuple[Decimal, Decimal] | None:
    if cell is None:
        return None
    bid, slash, ask = cell.partition("/")
    if not slash:
        raise Malformed(f"{where}: {cell!r} is not bid/ask")
    return D(bid), D(ask)


class _Events:
    """What the words of one row make of the world and of what is told of it."""

    def __init__(self, play: Play, row: Row, now_ms: int, was: Any) -> None:
        self.play, self.row, self.now_ms, self.was = play, row, now_ms, was
        self.world = play.world
        self.outcomes: list[seen.Outcome] = []
        self.events: list[seen.Event] = []
        self.commands: list[orders.Command] = []
        self.faults: list[seen.Fault] = []
        self.gaps: list[str] = []
        self.muted: list[str] = []
        self.empty: list[str] = []
        self.lagging: list[str] = []
        self.skew_ms = 0
        self.restarted = False
        self.policy: Policy | None = None
        self.oracles: dict[str, Decimal] = {}
        self.agent_until: int | None = None

    @property
    def where(self) -> str:
        return self.play.scenario.where(self.row)

    def take(self, words: tuple[str, ...]) -> None:
        name = words[0].replace("-", "_").replace("?", "_unanswered")
        method = getattr(self, f"on_{name}", None)
        if method is None:
            raise Malformed(f"{self.where}: unknown event {' '.join(words)!r}")
        try:
            inspect.signature(method).bind(*words[1:])
        except TypeError as error:
            raise Malformed(f"{self.where}: {' '.join(words)!r}: {error}") from error
        method(*words[1:])

    # --- who is meant -----------------------------------------------------------------------------

    def _leg(self, text: str) -> tuple[str, Leg]:
        coin, dot, leg = text.rpartition(".")
        coin = coin if dot else self.play.coins[0]
        if leg not in ("spot", "perp") or coin not in self.world.pairs:
            raise Malformed(f"{self.where}: {text!r} is not a leg")
        return coin, Leg(leg)

    def _coin(self, text: str | None) -> str:
        return text or self.play.coins[0]

    def _placed(self, text: str) -> Place:
        """The order of the last tick on that leg, whose outcome this row tells."""
        coin, leg = self._leg(text)
        for action in self.play.pending:
            if isinstance(action, Place) and (action.coin, action.leg) == (coin, leg):
                self.play.pending.remove(action)
                return action
        raise Malformed(f"{self.where}: no order of {text} was sent in the row above")

    def _working(self, text: str) -> Working:
        """The newest order of a leg that may still fill at the venue."""
        coin, leg = self._leg(text)
        for working in reversed(self.world.orders.values()):
            if (working.place.coin, working.place.leg) == (coin, leg):
                return working
        raise Malformed(f"{self.where}: no order of {text} was ever sent")

    def _write(self, kind: type, number: str | None = None) -> Any:
        for action in self.play.pending:
            if isinstance(action, kind) and number in (None, str(action.intent)):
                self.play.pending.remove(action)
                return action
        raise Malformed(f"{self.where}: no {kind.__name__} was asked for in the row above")

    def _asked(self, what: str) -> Any:
        """The write of the last tick that is meant: of a leg, or of none."""
        kinds = {"leverage": SetLeverage, "move": MoveUsd}
        return self._write(kinds[what]) if what in kinds else self._placed(what)

    def _touch(self, place: Place) -> Decimal:
        """The price the order met: that of the row above, when it was sent."""
        quote = self.was[place.coin][0 if place.leg is Leg.SPOT else 1]
        if quote is None:
            return place.px
        px = quote[1] if place.side is Side.BUY else quote[0]
        worse = px > place.px if place.side is Side.BUY else px < place.px
        return place.px if worse else px

    def _execute(self, working: Working, sz: Decimal, px: Decimal | None = None) -> Any:
        place = working.place
        if not 0 < sz <= working.left:
            raise Malformed(f"{self.where}: {show(sz)} of {show(working.left)} left cannot fill")
        working.left -= sz
        rested = working.rested
        at_px = place.px if rested else self._touch(place)
        return self.world.fill(place, sz, at_px if px is None else px, rested)

    def _tell(self, fill: Any) -> None:
        self.world.fills.append(fill)
        self.events.append(seen.FillSeen(fill=fill))

    def _accepted(self, place: Place, filled: Decimal, resting: bool = False) -> None:
        working = self.world.orders[place.intent]
        working.resting = resting
        working.rested = working.rested or resting
        self.outcomes.append(
            seen.Accepted(
                intent=place.intent, oid=f"o{place.intent}", filled_sz=filled, resting=resting
            )
        )

    # --- outcomes of orders -----------------------------------------------------------------------

    def on_fills(self) -> None:
        """Every order of the last tick fills whole at its touch; leverage is set."""
        for action in tuple(self.play.pending):
            if isinstance(action, Place):
                self.play.pending.remove(action)
                fill = self._execute(self.world.orders[action.intent], action.sz)
                self._accepted(action, action.sz)
                self._tell(fill)
            elif isinstance(action, SetLeverage):
                self.on_set()
            elif isinstance(action, MoveUsd):
                self.on_moved()

    def on_part(self, leg: str, sz: str) -> None:
        """Accepted, filled in part, and the rest is gone."""
        place = self._placed(leg)
        fill = self._execute(self.world.orders[place.intent], D(sz))
        self._accepted(place, D(sz))
        self.world.orders[place.intent].left = D(0)
        self._tell(fill)

    def on_ack(self, leg: str, sz: str) -> None:
        """Accepted and filled, but the fill itself is told later (`fill`)."""
        place = self._placed(leg)
        working = self.world.orders[place.intent]
        working.left = D(sz)
        fill = self._execute(working, D(sz))
        self._accepted(place, D(sz))
        self.world.hidden.append(fill)

    def on_rest(self, leg: str, sz: str = "0") -> None:
        """Accepted; what did not fill at once stays in the book."""
        place = self._placed(leg)
        if D(sz):
            self._tell(self._execute(self.world.orders[place.intent], D(sz)))
        self._accepted(place, D(sz), resting=True)

    def on_fill(self, leg: str, sz: str, at: str = "@", px: str | None = None) -> None:
        """A fill arrives on the stream: one that was hidden, or a new one of an order at work."""
        coin, side = self._leg(leg)
        for hidden in self.world.hidden:
            if (hidden.coin, hidden.leg, hidden.sz) == (coin, side, D(sz)):
                self.world.hidden.remove(hidden)
                self._tell(hidden)
                return
        self._tell(self._execute(self._working(leg), D(sz), None if px is None else D(px)))

    def on_again(self, leg: str) -> None:
        """The stream repeats the last fill of a leg."""
        coin, side = self._leg(leg)
        last = [f for f in self.world.fills if (f.coin, f.leg) == (coin, side)][-1]
        self.events.append(seen.FillSeen(fill=last))

    def on_lands(self, leg: str, sz: str) -> None:
        """It fills without an answer and without the stream: only sweeps tell."""
        self.world.fills.append(self._execute(self._working(leg), D(sz)))

    def on_happens(self, leg: str, sz: str) -> None:
        """It fills, and nobody tells: not even sweeps, until `fill`."""
        self.world.hidden.append(self._execute(self._working(leg), D(sz)))

    def on_refuse(self, leg: str, code: str) -> None:
        action = self._asked(leg)
        if code not in seen.REFUSALS:
            raise Malformed(f"{self.where}: unknown refusal {code!r}")
        text = f"the venue's words for {code}"
        self.outcomes.append(seen.Refused(intent=action.intent, code=code, text=text))

    def on_notsent(self, leg: str) -> None:
        action = self._asked(leg)
        self.outcomes.append(seen.NotSent(intent=action.intent, why="no connection"))

    def on_unknown(self, leg: str) -> None:
        action = self._asked(leg)
        self.outcomes.append(seen.OutcomeUnknown(intent=action.intent, why="timeout"))

    def on_set(self) -> None:
        action = self._write(SetLeverage)
        pair = self.world.pairs[action.coin]
        pair.leverage, pair.cross = action.leverage, action.cross
        self.outcomes.append(seen.Done(intent=action.intent))

    def on_moved(self) -> None:
        """USDC changed wallets, and the venue's record of transfers has it."""
        action = self._write(MoveUsd)
        self.world.move(action.usd, action.to_perp, action.nonce)
        self.outcomes.append(seen.Done(intent=action.intent))

    def on_moved_unrecorded(self) -> None:
        """It changed wallets, and no record says so."""
        action = self._write(MoveUsd)
        self.world.move(action.usd, action.to_perp, None)
        self.outcomes.append(seen.Done(intent=action.intent))

    def on_moves_unanswered(self) -> None:
        """It changes wallets and is recorded; only the answer was lost."""
        action = self._write(MoveUsd)
        self.world.move(action.usd, action.to_perp, action.nonce)
        self.outcomes.append(seen.OutcomeUnknown(intent=action.intent, why="timeout"))

    # --- the fence, records, cancels --------------------------------------------------------------

    def on_held(self, number: str | None = None) -> None:
        action = self._write(Fence, number)
        self.outcomes.append(seen.FenceHeld(intent=action.intent))

    def on_closed(self, number: str | None = None) -> None:
        action = self._write(Fence, number)
        self.outcomes.append(seen.NonceClosed(intent=action.intent))

    def on_fence_unanswered(self, number: str | None = None) -> None:
        action = self._write(Fence, number)
        self.outcomes.append(seen.FenceUnanswered(intent=action.intent, why="no answer"))

    def on_record(self, status: str, number: str | None = None) -> None:
        action = self._write(Query, number)
        self.outcomes.append(
            seen.OrderRecord(
                intent=action.intent,
                status=status,
                oid=None if status == "unknown" else f"o{action.intent}",
                word=f"word for {status}",
                issued_ms=self.now_ms - 50,
            )
        )

    def on_record_unanswered(self, number: str | None = None) -> None:
        self._write(Query, number)

    def _withdrawn(self, leg: str) -> Cancel:
        coin, side = self._leg(leg)
        for action in self.play.pending:
            if isinstance(action, Cancel) and (action.coin, action.leg) == (coin, side):
                self.play.pending.remove(action)
                return action
        raise Malformed(f"{self.where}: no cancel of {leg} was asked for in the row above")

    def on_cancelled(self, leg: str) -> None:
        action = self._withdrawn(leg)
        self.world.orders[action.intent].resting = False
        self.outcomes.append(seen.Cancelled(intent=action.intent, gone=False))

    def on_cancel_gone(self, leg: str) -> None:
        action = self._withdrawn(leg)
        self.world.orders[action.intent].resting = False
        self.outcomes.append(seen.Cancelled(intent=action.intent, gone=True))

    def on_cancel_unanswered(self, leg: str) -> None:
        action = self._withdrawn(leg)
        self.outcomes.append(seen.CancelUnanswered(intent=action.intent, why="no answer"))

    def on_seen(self, leg: str, status: str) -> None:
        """The stream tells the state of the leg's newest order."""
        working = self._working(leg)
        if status != "open":
            working.resting = False
        self.events.append(
            seen.OrderSeen(
                cloid=working.place.cloid,
                oid=f"o{working.place.intent}",
                status=status,
                word=f"word for {status}",
            )
        )

    # --- the account ------------------------------------------------------------------------------

    def on_leverage(self, value: str, margin: str = "cross", coin: str | None = None) -> None:
        pair = self.world.pairs[self._coin(coin)]
        pair.leverage, pair.cross = int(value), margin == "cross"

    def on_truth(self, leg: str, sz: str) -> None:
        """Somebody changed a holding without a fill: a withdrawal, a deposit, a lost record (of a
        trade at the mark, where it is the perp's)."""
        coin, side = self._leg(leg)
        pair = self.world.pairs[coin]
        if side is Leg.SPOT:
            pair.held = D(sz)
        else:
            change = D(sz) - pair.short
            self.world.move_perp(pair, change, pair.mark)
            self.world.cash(side, -change * pair.mark)  # who traded it paid, or was paid

    def on_adl(self, sz: str, at: str, px: str, coin: str | None = None) -> None:
        """The venue buys back part of the short; the stream and sweeps tell it."""
        self._close_short(self._coin(coin), sz, px, "Auto-Deleveraging")

    def on_hand(self, side: str, leg: str, sz: str, at: str, px: str) -> None:
        """Somebody trades on the account by hand."""
        coin, which = self._leg(leg)
        self._tell(self.world.happen(coin=coin, leg=which, side=Side(side), px=D(px), sz=D(sz)))

    def on_pay(self, usd: str, coin: str | None = None) -> None:
        self.world.pay(self._coin(coin), D(usd), self.world.venue_ms - 1)

    def on_transfer(self, usd: str) -> None:
        self.world.transfer(D(usd))

    def on_lost(self, usd: str) -> None:
        """USD leaves and no record says why."""
        self.world.usd -= D(usd)

    def on_mode(self, word: str) -> None:
        self.world.mode = AccountMode(word)

    def on_actions(self, left: str) -> None:
        self.world.actions_left = int(left)

    def on_agent(self, left: str) -> None:
        """The venue names the end of the agent key's validity."""
        self.agent_until = self.world.venue_ms + duration(left, self.where)

    def on_depth(self, leg: str, sz: str) -> None:
        coin, side = self._leg(leg)
        self.world.pairs[coin].book_depth[side] = D(sz)

    def on_delist(self, coin: str | None = None, leg: str = "perp") -> None:
        pair = self.world.pairs[self._coin(coin)]
        halted = attrs.evolve(pair.market.instrument(Leg(leg)), tradable=False)
        pair.market = attrs.evolve(pair.market, **{leg: halted})

    def on_settle(self, at: str, px: str, coin: str | None = None) -> None:
        """The venue closes the whole short of a market it delisted, at its own price."""
        self._close_short(self._coin(coin), None, px, "Settlement")

    def on_liquidate(self, sz: str, at: str, px: str, coin: str | None = None) -> None:
        self._close_short(self._coin(coin), sz, px, "Liquidated Cross Short")

    def _close_short(self, coin: str, sz: str | None, px: str, kind: str) -> None:
        held = -self.world.pairs[coin].short
        size = held if sz is None else D(sz)
        self._tell(
            self.world.happen(
                coin=coin, leg=Leg.PERP, side=Side.BUY, px=D(px), sz=size, kind=kind
            )
        )

    def on_broken(self, coin: str | None = None) -> None:
        self.world.pairs[self._coin(coin)].paused = "szDecimals is missing"

    def on_oracle(self, px: str, coin: str | None = None) -> None:
        self.oracles[self._coin(coin)] = D(px)

    def on_print(self, text: str, coin: str | None = None) -> None:
        """The newest settled rate is what the venue says it is, instead of the predicted one."""
        prints = self.world.pairs[self._coin(coin)].prints
        prints[-1] = attrs.evolve(prints[-1], rate=rate(text))

    # --- what is told, and how --------------------------------------------------------------------

    def on_mute(self, *names: str) -> None:
        self.muted += names

    def on_empty(self, name: str) -> None:
        self.empty.append(name)

    def on_lag(self, name: str) -> None:
        """A read answers what was true a tick ago."""
        self.lagging.append(name)

    def on_gap(self, name: str) -> None:
        self.gaps.append(name)

    def on_skew(self, ms: str) -> None:
        self.skew_ms = int(ms)

    def on_restart(self) -> None:
        """A new process: outcomes of what was asked last are lost; its first tick reads nothing."""
        self.restarted = True
        self.play.pending.clear()

    def on_drop(self, coin: str) -> None:
        """The config no longer has a market."""
        left = tuple(m for m in self.play.state.policy.markets if m.base != coin)
        self.policy = attrs.evolve(self.play.state.policy, markets=left)

    def on_stop(self) -> None:
        self.play.stopping = True

    def on_once(self) -> None:
        self.play.once = True

    def on_stray(self, number: str) -> None:
        """An order of ours by its name, for which the journal has no intent."""
        self._resting(f"0x{JOURNAL:016x}{int(number):016x}", f"stray{number}")

    def on_foreign_order(self) -> None:
        self._resting(None, "by-hand")

    def _resting(self, cloid: str | None, oid: str) -> None:
        self.world.others.append(
            seen.OpenOrder(
                coin=self.play.coins[0],
                leg=Leg.SPOT,
                oid=oid,
                cloid=cloid,
                side=Side.BUY,
                px=D("20"),
                sz=D("1"),
            )
        )

    def on_fault(self, name: str) -> None:
        self.faults.append(seen.Fault(name=name, text=f"the shell's words for {name}"))

    # --- the operator -----------------------------------------------------------------------------

    def _command(self, kind: Any, **more: Any) -> None:
        self.play.command_id += 1
        self.commands.append(kind(command_id=self.play.command_id, by="anna", **more))

    def on_pause(self) -> None:
        self._command(orders.Pause)

    def on_resume(self, latch: str = "pause") -> None:
        self._command(orders.Resume, latch=latch)

    def on_flatten(self) -> None:
        self._command(orders.Flatten)

    def on_kill(self) -> None:
        self._command(orders.Kill)

    def on_adopt(self, sz: str, coin: str | None = None) -> None:
        self._command(orders.Adopt, coin=self._coin(coin), sz=D(sz))

    def on_set_key(self, key: str, value: str) -> None:
        last = [c.policy for c in self.commands if isinstance(c, orders.SetPolicy)]
        policy = changed([self.play.state.policy, *last][-1], key, value, self.where)
        was = last[-1] if last else self.play.state.policy
        before, after = setting(was, key), setting(policy, key)
        self._command(orders.SetPolicy, key=key, policy=policy, before=before, after=after, why="")

    def on_set_refused(self, key: str, *why: str) -> None:
        """The shell turned a command down before it reached the policy."""
        self._command(orders.Rejected, what=f"set {key}", why=" ".join(why))

    def on_command_again(self) -> None:
        """The inbox delivers the last command once more."""
        self.play.command_id -= 1
        self._command(orders.Kill)

    # --- all together -----------------------------------------------------------------------------

    def observations(self) -> Observations:
        state, world, silent = self.play.state, self.world, self.restarted
        wanted = state.policy.strategy.volatility
        since_ms = max(0, (state.fills_floor_at_ms or world.venue_ms) - 300_000)
        known = self.policy if self.policy is not None else state.policy
        coins = tuple(dict.fromkeys((*known.coins, *state.carries)))
        reads = [
            self._told(name, read)
            for name, read in world.reads(
                self.now_ms, coins, since_ms, wanted.interval, wanted.window
            )
            if name not in self.muted and "all" not in self.muted and not silent
        ]
        if self.agent_until is not None:
            reads.append(seen.AgentRead(valid_until_at_ms=self.agent_until, issued_ms=self.now_ms))
        if not silent and "books" not in self.muted and "all" not in self.muted:
            for book in world.books(self.now_ms):
                if f"{book.coin}.{book.leg.value}" not in self.muted:
                    if book.leg.value not in self.muted:
                        self.events.append(book)
        return Observations(
            mono_ms=self.now_ms,
            wall_ms=world.venue_ms + self.skew_ms,
            venue_ms=world.venue_ms if "clock" not in self.muted else None,
            restarted=self.restarted,
            stopping=self.play.stopping,
            once=self.play.once,
            policy=self.policy,
            capabilities=CAPABILITIES if self.restarted else None,
            journal_id=JOURNAL if self.restarted else None,
            outcomes=tuple(self.outcomes),
            events=tuple(self.events),
            reads=tuple(reads),
            commands=tuple(self.commands),
            faults=tuple(self.faults),
            gaps=tuple(self.gaps),
        )

    def _told(self, name: str, read: seen.Read) -> seen.Read:
        if name in self.empty and isinstance(read, seen.PositionsRead):
            zero = D(0)
            return attrs.evolve(
                read, positions={}, raw_usd=zero, equity=zero, margin_used=zero, maintenance=zero
            )
        if name in self.empty and isinstance(read, seen.BalancesRead):
            return attrs.evolve(read, coins={}, usd=seen.Balance(total=D(0), hold=D(0)))
        if name in self.lagging and self.world.snapshot is not None:
            old: Any = self.world.snapshot[0 if name == "positions" else 1]
            return attrs.evolve(old, issued_ms=read.issued_ms)
        return read


# --- what is compared -----------------------------------------------------------------------------


def phases(play: Play) -> dict[str, str]:
    return {
        coin: WORDS[type(play.state.carries[coin].phase)] if coin in play.state.carries else "gone"
        for coin in play.coins
    }


def asked(play: Play, tick: Tick) -> tuple[str, ...]:
    """The actions of a tick in the words of the table."""
    many = len(play.coins) > 1
    return tuple(_ask(a, many) for a in tick.actions if not isinstance(a, Note | Posting))


def _ask(action: Action, many: bool) -> str:
    coin = f"{action.coin} " if many and hasattr(action, "coin") and action.coin else ""
    match action:
        case Place():
            text = (
                f"{coin}{action.side.value} {action.leg.value} {show(action.sz)} @ "
                f"{show(action.px)} {action.tif.value}"
            )
            return text + (" r" if action.reduce_only else "")
        case Cancel():
            return f"{coin}cancel {action.intent}"
        case CancelForeign():
            return f"{coin}withdraw {action.oid}"
        case SetLeverage():
            return f"{coin}leverage {action.leverage}"
        case MoveUsd():
            return f"move {show(action.usd)} {'in' if action.to_perp else 'out'}"
        case Fence():
            return f"fence {action.intent}"
        case Query():
            return f"{coin}query {action.intent}"
        case Alert():
            return f"alert {action.name}"
        case _:
            raise AssertionError(action)


def run(scenario: Scenario, *, careful: bool = True) -> list[Tick]:
    """Play all rows; raise `Wrong` at the first that did not do what it says."""
    play = Play(scenario, careful=careful)
    for row in scenario.rows:
        tick = play.row(row)
        where = scenario.where(row)
        if phases(play) != row.phases:
            raise Wrong(f"{where}: phases {phases(play)}, the row says {dict(row.phases)}")
        if asked(play, tick) != row.actions:
            raise Wrong(f"{where}: asked {asked(play, tick)}, the row says {row.actions}")
    return play.ticks


def transcript(scenario: Scenario, ticks: list[Tick]) -> str:
    lines = [f"# {scenario.name}", *(f"# {line}" for line in scenario.why.splitlines())]
    for tick in ticks:
        lines += render(tick.before, tick.observations, tick.after, tick.actions)
        lines += _notes(tick)
    return "\n".join(lines) + "\n"


def _notes(tick: Tick) -> Iterator[str]:
    for action in tick.actions:
        if isinstance(action, Note):
            values = "  ".join(f"{key} {value}" for key, value in action.fields.items())
            coin = f"{action.coin} " if action.coin else ""
            yield f"  * {coin}{action.event}  {values}"
    if tick.after.latches.keys() != tick.before.latches.keys():
        yield f"  * latches: {', '.join(tick.after.latches) or 'none'}"


__all__ = ["Pair", "Play", "Tick", "Wrong", "asked", "duration", "phases", "run", "transcript"]
