"""What a probe needs around it: the config's venue, its lock, and a person's consent."""

import contextlib
import sys
import threading
from collections.abc import Callable

from carry.base.secrets import Redactor, install_hooks
from carry.venues.base import Clock
from carry.venues.hyperliquid.venue import HyperliquidVenue

from .connecting import Refused, account_of, connected, key_of, lock_name
from .lock import only_one
from .places import Places
from .probe import Plan, run
from .probe_hyperliquid import HyperliquidBench, Wanted


def is_live(places: Places) -> bool:
    """Whether orders would reach a real venue."""
    assert places.wiring is not None
    return not places.wiring.venue.embedded


def ask(places: Places, confirm: Callable[[str], object]) -> None:
    """A live network asks a person; without one it is refused. `confirm` ends the program on no."""
    assert places.wiring is not None
    if not sys.stdin.isatty():
        raise Refused("a probe places real orders: confirm it at a terminal, or give --yes")
    venue = places.wiring.venue
    confirm(f"Place and withdraw test orders on {venue.name} {venue.network}?")


def hyperliquid(
    places: Places, wanted: Wanted, iterations: int, delay_s: float, say: Callable[[str], object]
) -> int:
    """Probe the config's Hyperliquid account (or the embedded exchange's). Returns the exit code.
    """
    wiring, policy = places.wiring, places.policy
    assert wiring is not None
    assert policy is not None
    if wiring.venue.name == "aster":
        raise Refused("the config's venue is aster: `carry probe aster`, or another --config")
    account = account_of(wiring)
    redact = Redactor()
    install_hooks(redact)
    with contextlib.ExitStack() as stack:
        # One source of nonces for an agent: a bot beside it would collide.
        stack.enter_context(only_one(lock_name(places), account))
        key = key_of(wiring, account, False, redact)
        venue, clock = connected(places, policy, wiring, account, key, threading.Event(), None)
        assert isinstance(venue, HyperliquidVenue)
        stack.callback(venue.close)
        bench = HyperliquidBench(venue, clock, wanted)
        say(f"probe of {bench.title}, account {account}")
        return run(bench, plan(venue, clock, iterations, delay_s, wanted.monitor, redact, say))


def plan(
    venue: HyperliquidVenue,
    clock: Clock,
    iterations: int,
    delay_s: float,
    follow: bool,
    redact: Callable[[str], str],
    say: Callable[[str], object],
) -> Plan:
    """A probe's plan in the time of the venue, which in lockstep passes only while it is waited."""

    def now_s() -> float:
        return clock.mono_ms() / 1_000

    def wait(seconds: float) -> None:
        end_s = now_s() + seconds
        while (left_s := end_s - now_s()) > 0:  # an own order's news ends a wait early
            clock.wait(venue, max(1, int(left_s * 1_000)))

    return Plan(
        iterations=iterations,
        delay_s=delay_s,
        follow=follow,
        say=lambda text: say(redact(text)),
        wait=wait,
        now_s=now_s,
    )
