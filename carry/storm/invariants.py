"""What must be true, judged by the exchange's own truth and by what crossed the wire.

The truth is the exchange's accounts and the storm's own notes of what it did; the bot's beliefs are
read only where an invariant is about them. Names are those of docs/RELIABILITY.md.
"""

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

from carry.core import ledger, risk
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
    SetLeverage,
)
from carry.core.asked import Flatten, Kill, Pause, Resume
from carry.core.num import ZERO
from carry.core.observations import Observations
from carry.core.state import Exit, HedgeOk, Idle, State
from carry.core.types import Leg
from carry.exchange.assets import Asset
from carry.exchange.direct import Answered
from carry.exchange.text import units
from carry.shell.value_calls import Call

from .market import RALLY

if TYPE_CHECKING:
    from .world import World

SLACK: Final = Decimal("1.06")  # prices move while a slice is on its way
CAP_SLACK: Final = Decimal("1.03")
NONCE_MS_MAX: Final = 60_000
EXPIRY_MS_MAX: Final = 15_000
LOOK_MS: Final = 1_000
WEIGHT_MAX: Final = 960  # 80 % of what the venue allows a minute
NOTIONAL_MIN: Final = 10
BROKEN_RULES: Final = ("divisible by tick", "invalid size", "zero size", "minimum value")


class Violation(BaseException):
    """An invariant was broken. `name`: which; `text`: what was seen.

    No `except Exception` of the bot, on whose stack it is raised, may take it for a fault.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


@attrs.define
class Sent:
    """An order on the wire. `landed`: how often the exchange took it."""

    cloid: str
    asset: int
    sz: Decimal
    sent_ms: int
    nonce: int
    landed: int = 0
    filled: Decimal = ZERO


@attrs.define
class Naked:
    """How far and how long one coin's legs were apart. Money in USD, times in ms."""

    worst_usd: Decimal = ZERO
    bound_usd: Decimal = ZERO  # a slice and the band, where `worst_usd` was seen
    since_ms: int | None = None
    longest_ms: int = 0
    excused_usd: Decimal = ZERO  # what an external event took away, until the band is reached again


class Truth:
    """Watches one world. Raises Violation at the event that breaks an invariant."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.account = world.exchange.accounts[world.account]
        self.sent: dict[str, Sent] = {}
        self.flying: dict[str, bool] = {}  # orders whose bytes are on their way, by cloid
        self.nonce_high = 0
        self.naked = {coin: Naked() for coin in world.case.policy.coins}
        self.written_off_usd = ZERO  # by the operator, who took it as external
        self.gone: dict[str, Decimal] = dict.fromkeys(world.case.policy.coins, ZERO)
        self.taken: dict[str, bool] = {}
        self.notes: list[str] = []
        self.alerts: dict[str, int] = {}
        self.effects = hashlib.sha256()
        self.state: State | None = None
        self.booted_ms = 0
        self.shut: dict[str, bool] = {}  # what the operator closed, and did not open again
        self.held_coins: dict[str, bool] = {}
        self.backup_used = False
        self.throttled_ms = 0  # when the exchange itself last refused for weight
        self.cancels = 0
        self._fills = self._transfers = 0
        self._looked_ms = 0
        self._coins = tuple((name, world.exchange.coins[name]) for name in world.case.policy.coins)

    def note(self, text: str) -> None:
        self.notes.append(f"{self.world.exchange.now} tick {self.world.tick}: {text}")
        del self.notes[:-200]

    def booted(self) -> None:
        """A process begins, on a journal that a crash may have left."""
        self.note("the process started")
        self.state = self.world.bot.state
        self.booted_ms = self.world.exchange.now
        check = self.world.db.cursor().execute("PRAGMA quick_check").fetchone()
        if check[0] != "ok":
            raise Violation("I23", f"the journal is damaged: {check[0]}")
        known = {intent.cloid: True for intent in self.state.intents.values()}
        for sent in self.sent.values():
            forgotten = sent.cloid not in known and not self.backup_used
            if forgotten and self._may_land(sent, self.booted_ms):
                text = f"{sent.cloid} may still land, and the journal has forgotten it"
                raise Violation("I23", text)

    def rolled_back(self) -> None:
        self.note("the journal is an old copy now")
        self.backup_used = True
        self.shut.clear()

    def external(self, coin: str) -> None:
        """Others are about to change a position: the naked cap waits until the band is back."""
        self.taken[coin] = True
        self.note(f"external event on {coin}")

    def withdrawn(self, coin: str, amount: Decimal) -> None:
        self.gone[coin] += amount

    # --- what is true -------------------------------------------------------------------

    def spot(self, coin: str) -> Decimal:
        held = self.account.spot.get(self.world.exchange.coins[coin].token.index)
        return held.total if held is not None else ZERO

    def perp(self, coin: str) -> Decimal:
        return self.account.szi(self.world.exchange.coins[coin].perp.asset_id)

    def mark(self, coin: str) -> Decimal:
        asset: Asset = self.world.exchange.coins[coin].perp
        mid = self.world.exchange.quotes.mid8(asset, self.world.exchange.now)
        return units(mid, 8)

    def band_usd(self, coin: str, px: Decimal) -> Decimal:
        """The band as the policy names it, from the exchange's lots and its $10."""
        policy, pair = self.world.case.policy, self.world.exchange.coins[coin]
        named = policy.strategy.delta_band_usd
        wanted = named if named is not None else policy.strategy.target_usd_notional / 50
        lots = sum(Decimal(1).scaleb(-a.sz_decimals) for a in (pair.spot, pair.perp))
        return max(wanted, 10 + lots * px)

    def delta_usd(self, coin: str) -> Decimal:
        ratio = self.world.case.policy.strategy.hedge_ratio
        return (self.spot(coin) * ratio + self.perp(coin)) * self.mark(coin)

    def is_flat(self) -> bool:
        """No short, and no spot that an order could sell."""
        return all(
            not self.perp(coin) and self.spot(coin) * self.mark(coin) < Decimal("10.5")
            for coin, _ in self._coins
        )

    def holds(self) -> bool:
        """A carry: both legs, in some market."""
        least = self.world.case.policy.strategy.min_exposure_usd
        return any(
            self.perp(c) < 0 and self.spot(c) * self.mark(c) >= least for c, _ in self._coins
        )

    # --- after every event --------------------------------------------------------------

    def look(self) -> None:
        """Positions and exposure, whenever fills came or a second has passed."""
        now, fills = self.world.exchange.now, len(self.account.fills)
        if fills == self._fills and now - self._looked_ms < LOOK_MS:
            return
        self._liquidations()
        if fills != self._fills:
            self._new_fills(fills)
        self._looked_ms = now
        for coin, _ in self._coins:
            spot, perp = self.spot(coin), self.perp(coin)
            if perp > 0:
                raise Violation("I05", f"{coin}: the perp is long {perp}")
            if spot < 0:
                raise Violation("I05", f"{coin}: spot is {spot}")
            if spot or perp or self.naked[coin].since_ms is not None:
                self._exposure(coin, spot, perp)

    def _liquidations(self) -> None:
        """Without a fault, and with depth to shrink in time, nobody is ever liquidated."""
        rows = list(self.account.transfers)[self._transfers :]
        self._transfers += len(rows)
        calm = not self.world.case.strikes or self.world.tick <= self.world.case.warm
        for row in rows:
            if row["delta"]["type"] == "liquidation" and calm:
                if self.world.case.shape.regime != "thin":
                    raise Violation("I27", f"liquidated although depth allowed to shrink: {row}")

    def _exposure(self, coin: str, spot: Decimal, perp: Decimal) -> None:
        now, px, watch = self.world.exchange.now, self.mark(coin), self.naked[coin]
        ratio = self.world.case.policy.strategy.hedge_ratio
        naked = abs(spot * ratio + perp) * px
        band = self.band_usd(coin, px)
        limit = (self.world.case.policy.risk.slice_usd + band) * SLACK
        if self.taken.pop(coin, False):
            watch.excused_usd = naked + limit
        if naked <= band * SLACK:
            if watch.since_ms is not None:
                watch.longest_ms = max(watch.longest_ms, now - watch.since_ms)
            watch.since_ms, watch.excused_usd = None, ZERO
            return
        if watch.since_ms is None:
            watch.since_ms = now
        if watch.excused_usd:
            # After an event from outside: it may shrink, and swing by a slice at most.
            if naked > watch.excused_usd * SLACK:
                raise Violation("I07", f"{coin}: ${naked:.2f} naked, grown after an outside event")
            return
        if naked > watch.worst_usd:
            watch.worst_usd, watch.bound_usd = naked, limit / SLACK
        if naked > limit:
            raise Violation(
                "I07", f"{coin}: ${naked:.2f} naked (spot {spot}, perp {perp}), limit ${limit:.2f}"
            )

    def _new_fills(self, count: int) -> None:
        for row in [self.account.fills[n] for n in range(self._fills, count)]:
            order = self.sent.get(row.get("cloid", ""))
            if order is None:
                continue
            order.filled += Decimal(row["sz"])
            if order.filled > order.sz:
                raise Violation("I02", f"{order.cloid}: {order.filled} filled of {order.sz}")
        self._fills = count

    # --- the wire -----------------------------------------------------------------------

    def on_send(self, call: Call) -> None:
        """The bot hands bytes to the network."""
        nonce, now = call.decoded["nonce"], self.world.exchange.now
        expires, kind = call.decoded.get("expiresAfter"), call.kind
        self.effects.update(call.body or repr(call.decoded).encode())
        self._committed(call, nonce)
        if kind == "noop":
            if not self._has_action(nonce):
                raise Violation("I03", f"a fence under nonce {nonce}, which no action has")
        else:
            if nonce <= self.nonce_high:
                raise Violation("I03", f"nonce {nonce} is not above {self.nonce_high}")
            self.nonce_high = nonce
            paused = "F106" in self.world.storm.hits or "F26" in self.world.storm.hits
            if abs(nonce - now) > NONCE_MS_MAX and not paused:
                raise Violation("I04", f"nonce {nonce} at venue time {now}")
            if expires is None or expires - now > EXPIRY_MS_MAX:
                raise Violation("I04", f"{kind} expires at {expires}, now {now}")
        if kind.startswith("cancel"):
            self.cancels += 1
        used = self.world.exchange.meters.ip.last_minute(now)
        if used > WEIGHT_MAX and now - self.booted_ms > 60_000:
            raise Violation("I20", f"{used} of weight used within a minute")
        if call.order is not None:
            self._order_sent(call.order, nonce, now)

    def _committed(self, call: Call, nonce: int) -> None:
        if self.world.db.in_transaction:
            raise Violation("I01", "bytes leave while a transaction is open")
        row = self.world.db.cursor().execute(
            "SELECT actions FROM ticks ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        cloid = call.order["c"] if call.order is not None else ""
        if row is None or str(nonce) not in row[0] or cloid not in row[0]:
            raise Violation("I01", f"{call.kind} {nonce} was sent before it was committed")

    def _has_action(self, nonce: int) -> bool:
        """Whether an earlier tick of the journal asked for something under this nonce."""
        found = self.world.db.cursor().execute(
            "SELECT count(*) FROM ticks WHERE instr(actions, ?)", (str(nonce),)
        ).fetchone()
        return bool(found[0] > 1)

    def _order_sent(self, order: Mapping[str, Any], nonce: int, now: int) -> None:
        ex, state = self.world.exchange, self.state
        assert state is not None
        asset = ex.assets[order["a"]]
        buys, sz, px = order["b"], Decimal(order["s"]), Decimal(order["p"])
        cloid = order["c"]
        believed = -state.position(state.carries[asset.base], Leg.PERP)
        whole = not asset.is_spot and buys and sz == believed
        if sz * px < NOTIONAL_MIN and not whole:
            raise Violation("I19", f"an order worth ${sz * px} is sent: {order}")
        if not asset.is_spot and buys:
            if order["r"] is not True:
                raise Violation("I05", f"a perp buy without reduce-only: {order}")
            if sz > believed:
                raise Violation("I05", f"a perp buy of {sz} over a believed short of {believed}")
        if asset.is_spot and buys:
            self._adds(asset.base, sz, px, state)
        if cloid in self.sent and not self.backup_used:
            raise Violation("I02", f"{cloid} is used twice")
        for other in self.sent.values():
            if other.asset == asset.asset_id and self._may_land(other, now):
                raise Violation("I09", f"{cloid} is sent while {other.cloid} may still land")
        self.sent[cloid] = Sent(
            cloid=cloid, asset=asset.asset_id, sz=sz, sent_ms=now, nonce=nonce
        )

    def _may_land(self, order: Sent, now: int) -> bool:
        """Whether bytes of it are on their way, neither expired nor their nonce burnt."""
        if order.cloid not in self.flying or now - order.sent_ms > EXPIRY_MS_MAX:
            return False
        used = self.world.exchange.nonces.get(self.world.key.address)
        return used is None or order.nonce not in used.used

    def _adds(self, coin: str, sz: Decimal, px: Decimal, state: State) -> None:
        """A spot buy: what adds risk."""
        policy = state.policy
        mode = risk.mode(state)
        if mode is not risk.Mode.NORMAL:
            name = "I10" if risk.flattening(state) or mode is risk.Mode.HALT else "I08"
            raise Violation(name, f"a spot buy in {mode.value} ({', '.join(state.latches)})")
        if self.shut:
            raise Violation("I10", f"a spot buy after {', '.join(self.shut)} was obeyed")
        held = (self.spot(coin) + sz) * px
        if held > policy.risk.per_symbol_notional_cap * CAP_SLACK:
            raise Violation("I06", f"{coin}: spot would be worth ${held:.2f}")
        every = held + sum(
            self.spot(c) * self.mark(c) for c, _ in self._coins if c != coin
        )
        if every > policy.risk.portfolio_notional_cap * CAP_SLACK:
            raise Violation("I06", f"all spot would be worth ${every:.2f}")

    def landed(self, call: Call, answer: bytes | Answered) -> None:
        """A write was processed by the exchange; `answer` is its own."""
        order = call.order
        if order is not None:
            if isinstance(answer, Answered):
                took, text, by_order = answer.oid is not None, answer.error or "", True
            else:
                text = answer.decode("utf-8", "replace")
                took, by_order = '"filled"' in text or '"resting"' in text, '"statuses"' in text
            known = self.sent.get(order["c"])
            if took and known is not None:
                known.landed += 1
                if known.landed > 1:
                    raise Violation("I02", f"{order['c']} was accepted {known.landed} times")
            broken = [rule for rule in BROKEN_RULES if rule in text]
            if broken and by_order:
                raise Violation("I18", f"refused by a rule the bot knows: {text[:200]} {order}")
            live: dict[int, int] = {}
            for resting in self.account.orders.values():
                live[resting.asset.asset_id] = live.get(resting.asset.asset_id, 0) + 1
            if any(count > 1 for count in live.values()):
                raise Violation("I09", "two orders of one leg rest at the venue")
        self.look()

    # --- ticks --------------------------------------------------------------------------

    def on_commit(
        self, before: State, observations: Observations, after: State, actions: Sequence[Action]
    ) -> None:
        self.state = after
        for command in observations.commands:
            if isinstance(command, Flatten | Kill | Pause):
                self.shut[type(command).__name__.lower()] = True
            elif isinstance(command, Resume):
                self.shut.pop(command.latch, None)
        for action in actions:
            if isinstance(action, Place | Cancel | CancelForeign | SetLeverage | MoveUsd | Fence):
                self.effects.update(repr(action).encode())
            elif isinstance(action, Alert):
                self.effects.update(action.text.encode())
                self.alerts[action.name] = self.alerts.get(action.name, 0) + 1
            elif action.__class__ is Note:
                self._noted(action)
            elif isinstance(action, Posting) and action.kind == "written_off":
                self.written_off_usd += action.outside_usd
        if not self.world.case.strikes:
            self._quiet(before, after, actions)
        self._halted(after)
        self._flat_claimed(before, after)

    def _quiet(self, before: State, after: State, actions: Sequence[Action]) -> None:
        """Without faults: nothing to be told, nothing taken back, and no leg without the other."""
        for action in actions:
            if isinstance(action, Alert) and not self._expected(action):
                raise Violation("L7", f"an alert without a fault: {action.name}: {action.text}")
            takes = after.policy.execution.style == "taker" and after.policy.execution.tif == "ioc"
            if isinstance(action, Cancel) and takes:
                raise Violation("L7", f"a cancel without a fault: {action}")
        for coin, watch in self.naked.items():
            carry, was = after.carries.get(coin), before.carries.get(coin)
            rests = carry is not None and not any(True for _ in after.of(coin))
            held = was is not None and isinstance(was.phase, HedgeOk)
            if rests and held and watch.since_ms is not None:
                raise Violation("L7", f"{coin} is held and naked by ${self.delta_usd(coin):.2f}")

    def _expected(self, alert: Alert) -> bool:
        """A rally is told, though nothing is wrong."""
        told = alert.name.startswith(("liquidation_", "above_cap_", "drawdown"))
        return told and self.world.case.shape.regime == RALLY

    def _noted(self, note: Note) -> None:
        if note.event == "external":
            raise Violation(
                "I13", f"a change nobody made is believed: {note.coin} {dict(note.fields)}"
            )
        if note.event == "fill" and note.fields["whose"] == "external":
            if note.coin not in self.held_coins and not note.fields["kind"].startswith(
                ("Auto", "Liquid", "Spot Dust")
            ):
                raise Violation("I15", f"an own fill is called somebody else's: {note.fields}")

    def _halted(self, after: State) -> None:
        if risk.mode(after) is not risk.Mode.HALT:
            return
        names = [name for name, each in after.latches.items() if each.mode == "halt"]
        if self.backup_used and names == ["journal_old"]:
            return
        raise Violation("HALT", f"{names}: {[after.latches[n].why for n in names]}")

    def _flat_claimed(self, before: State, after: State) -> None:
        for coin, carry in after.carries.items():
            was = before.carries.get(coin)
            if was is None or not isinstance(was.phase, Exit) or not isinstance(carry.phase, Idle):
                continue
            if self.perp(coin) or self.spot(coin) * self.mark(coin) >= Decimal("10.6"):
                raise Violation(
                    "I12", f"{coin} is called flat: spot {self.spot(coin)} perp {self.perp(coin)}"
                )

    # --- audits -------------------------------------------------------------------------

    def audit(self) -> None:
        """At rest, with everything read: beliefs equal the truth, and every cent is explained."""
        state = self.state
        assert state is not None
        wrong = self.world.exchange.audit()
        if wrong:
            raise Violation("EXCHANGE", f"not conserved: {wrong}")
        if self.backup_used:
            return
        for coin, carry in state.carries.items():
            spot = carry.spot_sz + carry.foreign_spot - self.gone[coin]
            perp = carry.perp_sz + carry.foreign_perp
            if (spot, perp) != (self.spot(coin), self.perp(coin)):
                raise Violation(
                    "I15",
                    f"{coin}: believed spot {spot} perp {perp}, "
                    f"true spot {self.spot(coin)} perp {self.perp(coin)}",
                )
        residual = state.account.residual_usd
        if residual is None:
            raise Violation("I16", "equity was never explained")
        residual += self.written_off_usd
        for coin, amount in self.gone.items():
            px = ledger.price(state.carries[coin], Leg.SPOT)
            residual += amount * px if px is not None else ZERO
        if abs(residual) > Decimal("1e-9"):
            raise Violation("I16", f"${residual} of equity is unexplained")
