"""Read-only: whether live trading could start, what would be done now, and what stands in the way.

It looks with the bot's own eyes: the same connection, the same reads, the same `step`, whose
actions are shown and not sent. Each finding is green, yellow (look at it) or red (trading cannot
start), with the next step.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from carry.base.secrets import Redactor, SecretRefused, install_hooks
from carry.core.actions import Action, CancelForeign, Fence, MoveUsd, Place, SetLeverage
from carry.core.policy import Policy
from carry.core.state import Carry, State
from carry.core.step import gates, step
from carry.venues.base import Clock, ReadFailed, Venue

from . import findings as tell
from . import ladder, outlook
from .connecting import Refused, account_of, connected, key_of, refuse_unbuilt
from .database import JournalRefused, NoJournal
from .findings import DAY_MS, RED, Finding
from .gather import Gatherer, Wishes
from .outlook import Pair, mean_rate, pair
from .places import Places
from .reader import Reader

TICKS_MAX: Final = 6
TICK_MS: Final = 300


@attrs.frozen(kw_only=True)
class Report:
    findings: tuple[Finding, ...]
    pairs: tuple[Pair, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether live trading could start."""
        return all(finding.level != RED for finding in self.findings)


def examine(
    venue: Venue,
    clock: Clock,
    policy: Policy,
    *,
    source: str,
    before: Sequence[Finding] = (),
    state: State | None = None,
) -> Report:
    """All findings about one account.

    source: where its address comes from. before: what was found on the way here (the key, the
    build). state: of the journal, None when it is new.
    """
    found = list(before)
    try:
        who = venue.identify()
    except ReadFailed as failure:
        found.append(
            Finding(RED, "venue", f"{venue.name} {venue.network} does not answer: {failure}",
                    "check the network and venue.base_url; then again")
        )  # fmt: skip
        return Report(findings=tuple(found))
    found.append(Finding(tell.GREEN, "venue", f"{venue.name} {venue.network} answers"))
    now_ms = clock.venue_ms() or clock.wall_ms()
    found += [tell.account(who, source), *tell.agent(who, now_ms)]
    seen = look(venue, clock, policy, state)
    state, actions = seen.state, seen.actions
    if seen.fault is not None:
        found.append(Finding(RED, "check", seen.fault, "report it with the journal"))
    dark = [c.coin for c in tell.configured(state) if c.market is None or c.broken]
    gaps = [name for name in seen.gaps if not {*name.split(":")[1:2]}.intersection(dark)]
    if gaps:
        found.append(
            Finding(RED, "reads", f"not answered: {', '.join(gaps)}",
                    "wait a minute (the venue's budget of this address) and look again")
        )  # fmt: skip
    found += [tell.skew(state), tell.mode(state), tell.funds(state), tell.fees(state)]
    found.append(tell.budget(state, venue.weight()))
    rows = [_row(venue, state, carry) for carry in tell.configured(state)]
    for carry, row in zip(tell.configured(state), rows, strict=True):
        found += tell.market(state, carry, row, actions)
    found += tell.blocked(state, found)
    return Report(findings=tuple(found), pairs=tuple(rows))


@attrs.frozen(kw_only=True)
class Look:
    """What some ticks saw: the first writes the bot would make, reads that failed at last, and a
    check of the core's own that failed (None for none).
    """

    state: State
    actions: tuple[Action, ...] = ()
    gaps: tuple[str, ...] = ()
    fault: str | None = None


def look(venue: Venue, clock: Clock, policy: Policy, state: State | None) -> Look:
    """Some ticks of the bot without a journal and without sending."""
    now = state or State.initial(policy, venue.capabilities)
    venue.recall([c.market for c in now.carries.values() if c.market is not None])
    gatherer = Gatherer(venue, clock)
    for tick in range(TICKS_MAX):
        wishes = Wishes(
            restarted=tick == 0,
            policy=policy if tick == 0 else None,
            capabilities=venue.capabilities,
            journal_id=now.journal_id or 1,
        )
        try:
            now, actions = step(now, gatherer.gather(now, (), wishes))
        except AssertionError as error:
            return Look(state=now, fault=f"a check of the bot's own failed: {error}")
        writes = tuple(
            a for a in actions
            if isinstance(a, Place | SetLeverage | MoveUsd | CancelForeign | Fence)
        )  # fmt: skip
        if tick and (writes or _settled(now)):
            return Look(state=_unspent(now, len(writes)), actions=writes, gaps=gatherer.failing)
        clock.wait(venue, TICK_MS)
    return Look(state=now, gaps=gatherer.failing)


def _unspent(state: State, writes: int) -> State:
    """The core counts down what it sends; nothing was sent."""
    left = state.account.actions_left
    if left is None:
        return state
    return attrs.evolve(state, account=attrs.evolve(state.account, actions_left=left + writes))


def _settled(state: State) -> bool:
    """Whether another look would show nothing new."""
    failing = {gate.name for gate in gates(state) if not gate.passes and gate.value == "absent"}
    return not failing and state.account.baseline_usd is not None


def _row(venue: Venue, state: State, carry: Carry) -> Pair:
    mean = None
    if carry.market is not None:
        now_ms = state.venue_ms or state.wall_ms
        try:
            prints = venue.prints(carry.coin, now_ms - 7 * DAY_MS).prints
            mean = mean_rate((row.rate for row in prints), venue.capabilities.interval_h)
        except ReadFailed:
            pass
    return pair(state, carry, state.account.fees, mean=mean)


def consult(places: Places, address: str | None) -> Report:
    """Examine the config's account, or another `address` on the same venue."""
    wiring, policy = places.wiring, places.policy
    assert wiring is not None
    assert policy is not None
    own = account_of(wiring)
    account, source = own, "account.address of the config"
    if wiring.venue.embedded:
        source = "the play account of the embedded exchange"
    if address is not None and address.lower() != own:
        account, source = address.lower(), "--address"
        wiring = attrs.evolve(wiring, account=attrs.evolve(wiring.account, address=account))
    before: list[Finding] = []
    redact = Redactor()
    install_hooks(redact)
    try:
        refuse_unbuilt(wiring, dry_run=False)
    except Refused as refused:
        before.append(Finding(RED, "build", str(refused), "use its testnet"))
    if ladder.needed(places):
        before.append(_evidence(places, policy))
    key = None
    try:
        key = key_of(wiring, account, False, redact)
    except (SecretRefused, Refused) as refused:
        before.append(Finding(RED, "key", redact(str(refused)), "`carry key new` makes one"))
    with contextlib.ExitStack() as stack:
        try:
            venue, clock = connected(
                places, policy, wiring, account, key, threading.Event(), None
            )
        except Refused as refused:
            wrong = Finding(RED, "venue", str(refused), "make the config agree with itself")
            return Report(findings=(*before, wrong))
        stack.callback(getattr(venue, "close", venue.stream.stop))
        return examine(
            venue,
            clock,
            policy,
            source=source,
            before=before,
            state=_remembered(places) if account == own else None,
        )


def _evidence(places: Places, policy: Policy) -> Finding:
    """How far up the ladder the journals reach, and whether that is far enough for this config."""
    text = "; ".join(ladder.told(ladder.rungs(places, policy)))
    wanted = ladder.asked_for(policy)
    try:
        ladder.check(places, policy)
    except Refused:
        step = "docs/OPERATIONS.md has the rungs"
        return Finding(RED, "evidence", f"this config asks for {wanted}; {text}", step)
    return Finding(tell.GREEN, "evidence", f"enough for {wanted}; {text}")


def _remembered(places: Places) -> State | None:
    """What the journal last knew; None without one."""
    try:
        reader = Reader(places.journal)
    except (NoJournal, JournalRefused):
        return None
    try:
        found = reader.state()
    finally:
        reader.close()
    return None if found is None else found[1]


def lines(report: Report, paint: Callable[[str, str], str]) -> list[str]:
    """For a person: one line a finding, its next step below. `paint`: colours a level's word."""
    width = max(len(finding.name) for finding in report.findings)
    shown: list[str] = []
    for finding in report.findings:
        word = paint(finding.level, f"{finding.level:<6}")
        shown.append(f"{word}  {finding.name:<{width}}  {finding.text}")
        if finding.step:
            shown.append(f"{'':<6}  {'':<{width}}  next: {finding.step}")
    shown.append("live trading could start" if report.sound else "live trading cannot start")
    return shown


def as_json(report: Report) -> dict[str, Any]:
    return {
        "sound": report.sound,
        "findings": [attrs.asdict(finding) for finding in report.findings],
        "markets": [outlook.as_json(one) for one in report.pairs],
    }
