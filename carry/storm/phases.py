"""The life of a seed: warm-up, faults, heal, the operator's kill, and the audit of every cent."""

import time
import traceback
from decimal import Decimal
from typing import Final

import attrs

from carry.core.num import ZERO, use_exact_context
from carry.shell.loop import is_flat

from .draw import Case
from .invariants import Violation
from .world import Killed, World

HOUR_MS: Final = 3_600_000
HEDGED_MS: Final = 30_000  # L1
KNOWN_MS: Final = 30_000  # L2
PROTECTED_MS: Final = 20_000  # L3
FLAT_MS: Final = 120_000  # L4
FLAT_INTERVAL_MS: Final = 30_000
SETTLE_MS: Final = 1_500_000  # after the kill: time for two reads of the slow histories


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a seed. `broken`: the invariant and what was seen, None when all held.

    effects: SHA-256 of everything the bot sent and said. worst_usd, longest_ms: naked exposure;
    bound_usd: the slice and the band it is held against. payments: funding by the hour, as the
    exchange paid it before the operator's kill, USD; twin: the same of this seed without faults.
    skipped: faults of the plan that exist on bytes only, where the run had none.
    """

    seed: int
    ticks: int
    seconds: float
    broken: tuple[str, str] | None
    hits: dict[str, int]
    open_hits: int
    held_before: bool
    held_after: bool
    payments: dict[int, Decimal]
    worst_usd: Decimal
    bound_usd: Decimal
    longest_ms: int
    restarts: int
    boundaries: int
    effects: str
    faultless: bool
    regime: str
    style: str
    markets: int
    alerts: dict[str, int]
    halted: bool
    twin: dict[int, Decimal] | None = None
    skipped: dict[str, int] = attrs.field(factory=dict)


def live(
    case: Case,
    *,
    disk: bool = False,
    keep: bool = False,
    values: bool = False,
    checkpoints: bool = False,
) -> tuple[Outcome, World]:
    """Run a seed to its end, or to the first violation. values, checkpoints: see `World`."""
    use_exact_context()
    began = time.perf_counter()
    world = World(case, disk=disk, values=values, checkpoints=checkpoints)
    world.keep_history = keep
    life = Life(world)
    broken: tuple[str, str] | None = None
    try:
        life.run()
    except Violation as violation:
        broken = (violation.name, violation.text)
    except (Exception, Killed) as error:
        frames = traceback.format_exception(type(error), error, error.__traceback__)[-4:]
        broken = ("CRASH", f"{type(error).__name__}: {error}\n{''.join(frames)}")
    truth = world.truth
    worst = max(truth.naked.values(), key=lambda naked: naked.worst_usd)
    outcome = Outcome(
        seed=case.seed,
        ticks=world.tick,
        seconds=time.perf_counter() - began,
        broken=broken,
        hits={name: n for name, n in sorted(world.storm.hits.items()) if n > 0},
        open_hits=world.storm.open_hits,
        held_before=life.held_before,
        held_after=life.held_after,
        payments=life.payments,
        worst_usd=worst.worst_usd,
        bound_usd=worst.bound_usd,
        longest_ms=max(n.longest_ms for n in truth.naked.values()),
        restarts=world.restarts,
        boundaries=world.boundaries,
        effects=truth.effects.hexdigest(),
        faultless=not case.strikes,
        regime=case.shape.regime,
        style=case.policy.execution.style,
        markets=len(case.policy.coins),
        alerts=dict(sorted(truth.alerts.items())),
        halted=truth.backup_used,
        skipped=dict(world.storm.skipped),
    )
    return outcome, world


def beside_its_twin(case: Case, *, values: bool = False) -> Outcome:
    """A seed, and what the same bot and market earn without a fault."""
    outcome = live(case, values=values)[0]
    if outcome.faultless or outcome.broken or outcome.halted:
        return outcome
    twin = live(attrs.evolve(case, strikes=()), values=values)[0]
    return attrs.evolve(outcome, twin=twin.payments, broken=twin.broken)


class Life:
    """The phases of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held_before = self.held_after = False
        self.payments: dict[int, Decimal] = {}
        self._orders = list(world.case.orders)
        self._healed_ms: int | None = None
        self._killed_ms: int | None = None
        world.on_tick = self._tick

    def run(self) -> None:
        world, case = self.world, self.world.case
        world.run(case.warm)
        self.held_before = self.held_before or world.truth.holds()
        world.run(case.stormy)
        self._heal()
        world.run(case.ticks)
        for row in world.truth.account.fundings:
            hour = row["time"] // HOUR_MS
            self.payments[hour] = self.payments.get(hour, ZERO) + Decimal(row["usdc"])
        if not self._halts():
            self._kill()

    def _tick(self) -> None:
        """After each commit: the operator's turn, and what must have happened by now."""
        world = self.world
        while self._orders and self._orders[0].tick <= world.tick:
            world.obey(self._orders.pop(0).what)
        if world.tick <= world.case.warm:
            self.held_before = self.held_before or world.truth.holds()
        if self._healed_ms is not None and not self._halts():
            self._deadlines(world.exchange.now)
        state = world.truth.state
        if self._killed_ms is not None and state is not None and is_flat(state):
            # Only the slow histories are waited for now: no need to look every second.
            world.bot.manner = attrs.evolve(world.bot.manner, interval_ms=FLAT_INTERVAL_MS)

    def _halts(self) -> bool:
        state = self.world.truth.state
        return state is not None and any(x.mode == "halt" for x in state.latches.values())

    def _heal(self) -> None:
        world = self.world
        world.storm.heal()
        world.truth.note("healed")
        self._orders.clear()
        self._acknowledge()
        self._healed_ms = world.exchange.now

    def _acknowledge(self) -> None:
        """The operator clears every latch that stands, and opens again what was closed."""
        state = self.world.truth.state
        assert state is not None
        for name, each in state.latches.items():
            if each.mode != "halt":
                self.world.command("resume", latch=name)

    def _deadlines(self, now: int) -> None:
        world, state = self.world, self.world.truth.state
        assert state is not None
        assert self._healed_ms is not None
        # Many restarts in a minute use up the venue's weight; until it answers nobody can know.
        healthy_ms = max(self._healed_ms, world.truth.throttled_ms)
        gone = now - healthy_ms
        self.held_after = self.held_after or world.truth.holds()
        if state.any_unknown and gone > KNOWN_MS:
            stuck = [i for i in state.intents.values() if i.unknown]
            if any(now - world.truth.nonce_high > KNOWN_MS for _ in stuck):
                raise Violation("L2", f"unknown {gone} ms after healing: {stuck[0]}")
        for coin, watch in world.truth.naked.items():
            since = watch.since_ms
            if since is not None and now - max(since, healthy_ms) > HEDGED_MS:
                usd = world.truth.delta_usd(coin)
                raise Violation("L1", f"{coin} is naked by ${usd:.2f}, {gone} ms after healing")
        if state.protected_ms is None and state.now_ms - state.started_ms > PROTECTED_MS:
            if gone > PROTECTED_MS:
                raise Violation("L3", f"not protected {state.now_ms - state.started_ms} ms after")
        if self._killed_ms is not None and now - self._killed_ms > FLAT_MS:
            if not world.truth.is_flat():
                raise Violation("L4", f"not flat {now - self._killed_ms} ms after the kill")

    def _kill(self) -> None:
        """The operator's kill: flat by a venue read, and every cent explained."""
        world, truth = self.world, self.world.truth
        world.command("kill")
        truth.note("operator: kill")
        self._killed_ms = world.exchange.now
        world.run(world.tick + SETTLE_MS // 1_000, self._settled)
        if not self._settled():
            raise Violation("L4", "the kill did not end in a flat and explained account")
        if not truth.is_flat():
            raise Violation("I12", "flat is claimed, and something is held")
        truth.audit()

    def _settled(self) -> bool:
        """Whether the kill is over and equity was measured after its last fill."""
        state = self.world.truth.state
        assert state is not None
        if not is_flat(state):
            return False
        account = state.account
        times = (ms for c in state.carries.values() for ms in c.touched_ms.values())
        touched = max(times, default=0)
        read = min(account.positions_ms, account.balances_ms)
        swept = min(account.fills_ms, account.receipts_ms, account.transfers_ms)
        # The venue itself may trade, as when it sweeps dust at midnight: that must be read, too.
        looked_ms = self.world.exchange.now - (state.now_ms - read)
        traded = any(row["time"] >= looked_ms for row in list(self.world.truth.account.fills)[-4:])
        return read > touched and swept >= read and not state.intents and not traded

