"""What another policy would have done on the same past, and from where on that is a reckoning.

The journal's observations go through `step` under the other policy. As long as it sends the same to
the venue, history answers, and that is evidence. From the first tick on at which it sends something
else the venue would have answered otherwise, so the account is simulated over the recorded books
(`simulated`); the market is still the recorded one.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.core import ledger
from carry.core.actions import Action, Note, Place
from carry.core.asked import Command, SetPolicy
from carry.core.num import ZERO, show
from carry.core.observations import Observations
from carry.core.policy import Policy
from carry.core.state import RULES, State
from carry.core.step import step
from carry.shell.reader import Reader
from carry.shell.status import causes

from . import past
from .replay import writes
from .simulated import BETWEEN_MAX, Simulated

EVENTS: Final = ("entry", "exit", "flat")


@attrs.define
class Tally:
    """What one of the two did. orders: by leg and reason. fills: own ones."""

    orders: Counter[str] = attrs.field(factory=Counter)
    events: Counter[str] = attrs.field(factory=Counter)
    fills: int = 0
    held_ms: int = 0

    def add(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Place):
                self.orders[f"{action.leg.value} {action.why}"] += 1
            elif isinstance(action, Note) and action.event in EVENTS:
                self.events[action.event] += 1
            elif isinstance(action, Note) and action.event == "fill":
                self.fills += action.fields["whose"] == "own"


@attrs.frozen(kw_only=True)
class WhatIf:
    """Both, over the same ticks. first, last, ticks: what was replayed; decisions: of them, ticks
    at which history sent something.

    parted: the first tick that sends something else, None when none does; parted_at_ms: its venue
    time. residual_usd: what the reckoning's own books do not explain: 0. unpaid: payments of the
    reckoning whose rate is not in the journal. dropped: settings that were changed while it ran.
    exact: whether `was` is the journal's own state, not one decided again by other rules.
    """

    first: int
    last: int
    ticks: int
    hours: Decimal
    parted: int | None
    parted_at_ms: int | None
    after_parting: int
    was: Tally
    would: Tally
    was_pnl: ledger.Pnl
    would_pnl: ledger.Pnl
    was_turnover_usd: Decimal
    would_turnover_usd: Decimal
    residual_usd: Decimal | None
    unpaid: int
    dropped: int
    exact: bool

    @property
    def net_effect_usd(self) -> Decimal:
        return self.would_pnl.net_usd - self.was_pnl.net_usd


def what_if(
    path: str,
    policy: Policy | None,
    first: int | None = None,
    last: int | None = None,
    *,
    part_at: int | None = None,
    done: Callable[[int, int], None] = lambda ticks, of: None,
) -> WhatIf | None:
    """Replay under `policy` (None: what was in force then). None for a journal without ticks.

    part_at: simulate from this tick on even if nothing differs: shows how good the reckoning is.
    Raises NotThere, Unreadable.
    """
    reader = Reader(path)
    try:
        begin, kept = past.start(reader, first), past.span(reader)
        if begin is None or kept is None:
            return None
        world = _World(reader, policy, begin.state, part_at)
        upto = kept[1] if last is None else min(last, kept[1])
        for it in past.decided(reader, begin, upto):
            world.tick(it)
            done(it.tick.seq - begin.seq, upto - begin.seq)
        return world.result(upto)
    finally:
        reader.close()


@attrs.define
class _World:
    """What was and what would be, side by side."""

    reader: Reader
    policy: Policy | None
    begin: State
    part_at: int | None
    was: Tally = attrs.field(factory=Tally)
    would: Tally = attrs.field(factory=Tally)
    simulated: Simulated | None = None
    parted: tuple[int, int | None] | None = None
    ticks: int = 0
    after_parting: int = 0
    dropped: int = 0
    exact: bool = True
    first: int = 0
    other: State = attrs.field(init=False)
    real: State = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.other = self.real = self.begin

    def tick(self, it: past.Decided) -> None:
        self.first = self.first or it.tick.seq
        self.exact = self.exact and it.tick.rules == RULES
        self.ticks += 1
        asked = it.asked(self.reader.schema)
        self.was.add(asked)
        self.was.held_ms += _held_ms(self.real, it.after)
        self.real = it.after
        obs = self._otherwise(it.observations)
        if self.simulated is None:
            self._beside(it, obs, asked)
            return
        self.after_parting += 1
        for _ in range(BETWEEN_MAX):
            extra = self.simulated.between(obs, self.other)
            if extra is None:
                break
            self._alone(extra)
        self._alone(obs)

    def _beside(self, it: past.Decided, obs: Observations, asked: tuple[Action, ...]) -> None:
        """As long as the same is sent, history answers."""
        before = self.other
        self._take(*step(before, obs))
        forced = self.part_at is not None and it.tick.seq >= self.part_at
        if writes(self._actions) == writes(asked) and not forced:
            return
        account = self.other.account
        if account.usd is None or account.fees is None:
            return  # before balances are read nothing but leverage can have been asked for
        self.parted = (it.tick.seq, it.tick.venue_ms)
        self.simulated = Simulated.fork(self.other, before.intent_no)
        self.simulated.obey(self._actions)

    _actions: tuple[Action, ...] = ()

    def _alone(self, obs: Observations) -> None:
        assert self.simulated is not None
        self._take(*step(self.other, self.simulated.tell(obs, self.other.wants)))
        self.simulated.obey(self._actions)

    def _take(self, after: State, actions: tuple[Action, ...]) -> None:
        self.would.held_ms += _held_ms(self.other, after)
        self.would.add(actions)
        self.other, self._actions = after, actions

    def _otherwise(self, obs: Observations) -> Observations:
        """The tick with the other policy in force: from the first on, whatever was set since."""
        policy = self.policy
        if policy is None:
            return obs
        commands: list[Command] = []
        for command in obs.commands:
            if isinstance(command, SetPolicy):
                self.dropped += 1
                command = attrs.evolve(command, policy=policy)
            commands.append(command)
        if self.ticks == 1 or obs.policy is not None:
            obs = attrs.evolve(obs, policy=policy)
        return attrs.evolve(obs, commands=tuple(commands))

    def result(self, last: int) -> WhatIf:
        start = ledger.total(self.begin)
        newest = self.reader.state()
        real = self.real
        if newest is not None and newest[0] == last:
            real, self.exact = newest[1], True
        ms = (real.venue_ms or 0) - (self.begin.venue_ms or real.started_ms)
        if self.begin.venue_ms is None:
            ms = real.now_ms - real.started_ms
        return WhatIf(
            first=self.first,
            last=last,
            ticks=self.ticks,
            hours=(Decimal(ms) / 3_600_000).quantize(Decimal("0.01")),
            parted=None if self.parted is None else self.parted[0],
            parted_at_ms=None if self.parted is None else self.parted[1],
            after_parting=self.after_parting,
            was=self.was,
            would=self.would,
            was_pnl=_minus(ledger.total(real), start),
            would_pnl=_minus(ledger.total(self.other), start),
            was_turnover_usd=_turnover(real) - _turnover(self.begin),
            would_turnover_usd=_turnover(self.other) - _turnover(self.begin),
            residual_usd=self.other.account.residual_usd,
            unpaid=0 if self.simulated is None else len(self.simulated.due),
            dropped=self.dropped,
            exact=self.exact,
        )


def _held_ms(before: State, after: State) -> int:
    """Market time in position between two ticks, summed over the markets."""
    held = sum(1 for carry in before.carries.values() if carry.perp_sz)
    return held * max(0, after.now_ms - before.now_ms) if before.now_ms else 0


def _minus(one: ledger.Pnl, other: ledger.Pnl) -> ledger.Pnl:
    names = [field.name for field in attrs.fields(ledger.Pnl)]
    return ledger.Pnl(**{name: getattr(one, name) - getattr(other, name) for name in names})


def _turnover(state: State) -> Decimal:
    return sum((carry.ledger.turnover_usd for carry in state.carries.values()), ZERO)


def changes(path: str, policy: Policy, first: int | None = None) -> dict[str, tuple[str, str]]:
    """How `policy` differs from what the journal began and ended with; empty when it does not."""
    reader = Reader(path)
    try:
        begin, newest = past.start(reader, first), reader.state()
    finally:
        reader.close()
    found: dict[str, tuple[str, str]] = {}
    if begin is not None:
        found.update(changed_keys(begin.state.policy, policy))
    if newest is not None:
        found.update(changed_keys(newest[1].policy, policy))
    return found


def changed_keys(was: Policy, new: Policy) -> dict[str, tuple[str, str]]:
    """What differs between two policies: key -> (as it was, as it would be)."""
    found: dict[str, tuple[str, str]] = {}

    def walk(one: Any, other: Any, name: str) -> None:
        if attrs.has(type(one)) and type(one) is type(other):
            for field in attrs.fields(type(one)):
                walk(
                    getattr(one, field.name),
                    getattr(other, field.name),
                    f"{name}.{field.name}".lstrip("."),
                )
        elif one != other and name != "source":
            found[name] = (_said(one), _said(other))

    walk(was, new, "")
    return found


def _said(value: Any) -> str:
    if isinstance(value, Decimal):
        return show(value)
    if isinstance(value, tuple):
        return ", ".join(getattr(each, "base", str(each)) for each in value)
    return str(value)


def as_json(found: WhatIf) -> dict[str, Any]:
    """Numbers as decimal strings."""

    def of(tally: Tally, pnl: ledger.Pnl, turnover: Decimal) -> dict[str, Any]:
        return {
            "orders": dict(sorted(tally.orders.items())),
            "entries": tally.events["entry"],
            "exits": tally.events["exit"],
            "fills": tally.fills,
            "held_h": show((Decimal(tally.held_ms) / 3_600_000).quantize(Decimal("0.01"))),
            "turnover_usd": show(turnover.quantize(Decimal("0.01"))),
            **causes(pnl),
        }

    return {
        "first": found.first,
        "last": found.last,
        "ticks": found.ticks,
        "hours": show(found.hours),
        "parted": found.parted,
        "parted_at_ms": found.parted_at_ms,
        "ticks_simulated": found.after_parting,
        "was": of(found.was, found.was_pnl, found.was_turnover_usd),
        "would": of(found.would, found.would_pnl, found.would_turnover_usd),
        "net_effect_usd": show(found.net_effect_usd.quantize(Decimal("0.000001"))),
        "residual_usd": None
        if found.residual_usd is None
        else show(found.residual_usd.quantize(Decimal("0.000001"))),
        "payments_without_a_rate": found.unpaid,
        "settings_not_followed": found.dropped,
        "exact": found.exact,
    }
