"""From a config to a running loop, and back to the ground: all that has a beginning and an end."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from carry.base.clock import WallClock
from carry.base.secrets import Redactor, install_hooks
from carry.core import ledger
from carry.core.num import show
from carry.core.policy import Policy
from carry.core.state import State
from carry.core.step import naked
from carry.venues.base import ReadFailed, Venue

from . import ladder
from .commands import overridden
from .config_file import ConfigError, load
from .connecting import (
    Clocks,
    Refused,
    account_of,
    connected,
    key_of,
    lock_name,
    network_of,
    paper_connected,
    refuse_unbuilt,
)
from .journal import Journal
from .lock import only_one
from .logs import EventLog
from .loop import Bot, Manner
from .notify import notify
from .places import Places
from .timings import Timings
from .why import refused_because_foreign
from .wiring import Wiring


@attrs.frozen(kw_only=True)
class Result:
    """How a run ended. `refusal`: why it may not go on, None when it did what was asked."""

    state: State
    refusal: str | None
    stopped: bool
    naked: tuple[str, ...]


def run(places: Places, manner: Manner, *, console: bool = True) -> Result:
    """Run the bot of `places` until it is stopped or done."""
    policy, wiring = places.policy, places.wiring
    assert policy is not None, "places.find(config_needed=True) reads it"
    assert wiring is not None, "places.find(config_needed=True) reads it"
    paper, held_back = manner.paper, _let_in(places, policy, manner)
    account, network = account_of(wiring, paper), network_of(wiring, paper)
    stop = threading.Event()
    redact = Redactor()
    install_hooks(redact)
    log = EventLog(places.logs, redact, console)
    with contextlib.ExitStack() as stack:
        stack.callback(log.close)
        stack.enter_context(only_one(lock_name(places, paper), account))
        if paper:
            venue, clock = paper_connected(places, policy, wiring, stop, log)
        else:
            key = key_of(wiring, account, manner.dry_run, redact)
            venue, clock = connected(places, policy, wiring, account, key, stop, log)
        stack.callback(_closing(venue))
        live = not wiring.venue.embedded and not paper
        if live:  # elsewhere the keys are play money's, made for each other
            introduce(venue, log, dry_run=manner.dry_run)
        journal = Journal.open(
            places.journal, network=network, account=account, keep_days=wiring.journal.keep_days
        )
        stack.callback(journal.close)
        state = journal.load()
        if state is None:
            state = State.initial(policy, venue.capabilities)
            journal.begin(state, clock.journal_id(account))
        else:
            venue.recall([c.market for c in state.carries.values() if c.market is not None])
            if isinstance(clock, WallClock):
                clock.resume(state.now_ms, state.wall_ms)
        effective, said = overridden(policy, journal.given(state.command_id))
        for sentence in said:
            log.say(sentence)
        if held_back is not None:
            log.warn(f"nothing is entered, what is held is kept: {held_back}")
        hung_up = threading.Event()
        stack.enter_context(_signals(stop, hung_up))
        venue.stream.start()
        bot = Bot(
            venue=venue,
            clock=clock,
            journal=journal,
            state=state,
            policy=effective,
            from_file=policy,
            log=log,
            manner=attrs.evolve(manner, live=live, entries=held_back is None),
            stop=stop.is_set,
            ready=all_foreign,
            reload=_reloader(places, log, manner),
            hung_up=hung_up,
            timings=Timings(places.run_folder / "timings.json"),
        )
        journal.started(clock.wall_ms(), effective)
        _begin(log, clock, wiring, account, manner)
        after = bot.run()
        notify("STOPPING=1")
        result = Result(
            state=after,
            refusal=bot.refusal,
            stopped=stop.is_set(),
            naked=tuple(c.coin for c in after.carries.values() if naked(after, c)),
        )
        _summary(log, clock, result, bot)
        return result


def _let_in(places: Places, policy: Policy, manner: Manner) -> str | None:
    """Whether this run may send orders: real money goes by evidence, but a way out never does.

    Returns why it may not enter; None when it may. Raises Refused.
    """
    simulated = manner.dry_run or manner.paper
    assert places.wiring is not None
    refuse_unbuilt(places.wiring, simulated)
    if not ladder.needed(places) or simulated or manner.until_flat_ms is not None:
        return None
    return ladder.let_in(places, policy, manner.unproven)


def introduce(venue: Venue, log: EventLog, *, dry_run: bool) -> None:
    """Ask the venue whose account and key these are, before anything is believed of them.

    An outage does not keep a bot that holds something from starting: then it is asked again before
    the first order. Raises `Refused` for what can never trade.
    """
    try:
        problem = venue.identify().problem
    except ReadFailed as failure:
        log.say(f"the venue did not say whose key this is ({failure}): asked before any order")
        return
    if problem is not None and not dry_run:
        raise Refused(f"{problem}. `carry doctor` looks again")
    if problem is not None:
        log.say(f"{problem}; a dry run goes on without")


def all_foreign(state: State) -> str | None:
    """Why the process may not go on: every market is refused and nothing is owned (P15)."""
    if state.protected_ms is None or state.intents:
        return None
    carries = [c for c in state.carries.values() if c.coin in state.policy.coins]
    if not carries or any(c.spot_sz or c.perp_sz for c in state.carries.values()):
        return None
    reasons = [refused_because_foreign(state, carry) for carry in carries]
    found = [reason for reason in reasons if reason is not None]
    return "; ".join(found) if len(found) == len(carries) else None


# --- parts ---------------------------------------------------------------------------------------


def _closing(venue: Venue) -> Callable[[], None]:
    close = getattr(venue, "close", None)
    return close if callable(close) else venue.stream.stop


@contextlib.contextmanager
def _signals(stop: threading.Event, hung_up: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask for an orderly end; a second Ctrl-C is obeyed at once. SIGHUP asks to
    read the config again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: hung_up.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reloader(places: Places, log: EventLog, manner: Manner) -> Callable[[], Policy]:
    """Reads the config again. Its policy comes into force; the wiring stays until a new start."""

    def reload() -> Policy:
        policy, wiring = load(places.config, paper=manner.paper)
        _still_let_in(places, policy, manner)
        if wiring != places.wiring:
            log.warn(
                f"{places.config}: venue, account, journal, interval_ms and the like are read at "
                "the start only; start again for those. The strategy's keys are in force now"
            )
        return policy

    return reload


def _still_let_in(places: Places, policy: Policy, manner: Manner) -> None:
    """A canary does not become more by a config read again. Raises ConfigError."""
    if not ladder.needed(places) or manner.dry_run or manner.paper:
        return
    before = places.policy
    if before is not None and ladder.asked_for(before) == ladder.asked_for(policy):
        return
    try:
        ladder.check(places, policy, manner.unproven)
    except Refused as refused:
        raise ConfigError(f"{places.config}: {refused}") from None


def _begin(log: EventLog, clock: Clocks, wiring: Wiring, account: str, manner: Manner) -> None:
    fields = {
        "venue": wiring.venue.name,
        "network": network_of(wiring, manner.paper),
        "account": account,
        "dry_run": str(manner.dry_run).lower(),
    }
    log.emit("start", clock.venue_ms() or clock.wall_ms(), None, fields)


def _summary(log: EventLog, clock: Clocks, result: Result, bot: Bot) -> None:
    """What is left behind, for whoever stopped it."""
    state = result.state
    pnl = ledger.total(state)
    fields = {
        "seq": str(bot.journal.seq),
        "intents_open": str(len(state.intents)),
        "naked": ",".join(result.naked),
        "net_usd": show(pnl.net_usd),
        "funding_usd": show(pnl.funding_usd),
        "fees_usd": show(pnl.fees_usd),
        "refusal": result.refusal or "",
    }
    log.emit("shutdown_summary", clock.venue_ms() or clock.wall_ms(), None, fields)
    held = [
        f"{c.coin} spot {show(c.spot_sz)} perp {show(c.perp_sz)}"
        for c in state.carries.values()
        if c.spot_sz or c.perp_sz
    ]
    log.say(
        f"ended after tick {bot.journal.seq}: {', '.join(held) or 'nothing held'}; "
        f"{len(state.intents)} orders open; naked: {', '.join(result.naked) or 'none'}"
    )
