"""Aster's side of a probe: one symbol of one account, spot or perp."""

from collections.abc import Sequence
from decimal import Decimal

import attrs

from carry.core.num import BPS, ZERO, show
from carry.core.types import Book, Leg, Side
from carry.venues.aster import parse
from carry.venues.aster.constants import (
    AGENT_PAGES,
    LATE_RECORD_MS,
    NONCE_WINDOW_MS,
    QUOTE,
    Network,
)
from carry.venues.aster.parse import Order, Symbol
from carry.venues.aster.replies import (
    NEXT_STEP,
    NO_SUCH_ORDER,
    Taken,
    refusal_text,
)
from carry.venues.aster.replies import NotSent as NothingSent
from carry.venues.aster.replies import Refused as SaidNo
from carry.venues.aster.rest import Rest, SignatureMismatch, taken
from carry.venues.base import ReadFailed

from .probe import AWAY_BPS, Draft, NotSent, Outcome, Placed, Refused, Seen, Skipped, Stop, Unknown

SKEW_MS_WARN, SKEW_MS_MAX = 2_000, 5_000
_ABOVE_MINIMUM = Decimal("1.02")
_DAY_MS = 86_400_000
_EXPIRY_DAYS_WARN = 14


@attrs.frozen(kw_only=True)
class Wanted:
    """The options of the command. tick, step: of the config, None for the venue's own."""

    leg: Leg
    base: str
    notional: Decimal | None = None
    offset_ticks: int | None = None
    tick: Decimal | None = None
    step: Decimal | None = None


class AsterBench:
    """Implements `carry.shell.probe.Bench`. agent: address of the agent; None with a V1 key."""

    def __init__(
        self,
        rest: Rest,
        wanted: Wanted,
        network: Network,
        *,
        user: str,
        agent: str | None,
        settle_s: float = (NONCE_WINDOW_MS + LATE_RECORD_MS) / 1_000,
    ) -> None:
        self.settle_s = settle_s
        self.symbol = f"{wanted.base}{QUOTE}"
        self.title = f"aster {wanted.leg.value} {self.symbol} ({network.value})"
        self._rest, self._wanted, self._network = rest, wanted, network
        self._user, self._agent = user, agent
        self._leg = wanted.leg
        self._found: Symbol | None = None
        self._watched: dict[str, str] = {}

    # --- looking --------------------------------------------------------------------------------

    def look(self) -> Sequence[str]:
        if self.symbol.startswith(parse.TEST_PREFIX):
            raise Stop(f"{self.symbol} is a symbol of the venue's own trials: never traded", 3)
        lines = [self._clock(), self._market()]
        if self._agent is not None:
            lines.append(self._rights())
        if self._leg is Leg.PERP:
            self._one_way()
            lines += [self._perp_wallet(), self._position_line()]
        else:
            lines.append(self._spot_wallet())
        return lines

    def _clock(self) -> str:
        self._rest.sync(self._leg)
        skew_ms = self._rest.skew_ms() or 0
        word = "ahead of" if skew_ms > 0 else "behind"
        text = f"clock: {abs(skew_ms)} ms {word} the venue's"
        if abs(skew_ms) > SKEW_MS_MAX:
            raise Stop(
                f"{text}, more than {SKEW_MS_MAX} ms: set the machine's clock (NTP), then try "
                "again",
                3,
            )
        return text + ("; set it (NTP)" if abs(skew_ms) > SKEW_MS_WARN else "")

    def _market(self) -> str:
        wanted = self._wanted
        body = self._rest.public("exchangeInfo", self._leg, "/exchangeInfo", 1).body
        try:
            limit = parse.read_weight_limit(body)
            found = parse.read_symbol(
                body, self._leg, self.symbol, tick=wanted.tick, step=wanted.step
            )
        except parse.UNREADABLE as error:
            raise Stop(str(error), 3) from None
        if found is None:
            where = self._leg.value
            raise Stop(f"{self.symbol} is not listed on {where}: ask for another --base", 2)
        if not found.trading:
            raise Stop(f"{self.symbol} does not trade at the moment", 3)
        if limit is not None:
            self._rest.weight_max[self._leg] = limit
        self._found = found
        f = found.filters
        own = " (of the config)" if wanted.tick or wanted.step else ""
        return (
            f"market: {self.symbol}, tick {show(f.tick)}, step {show(f.step)}{own}, "
            f"minimum {show(f.min_notional)} {QUOTE}"
        )

    def _rights(self) -> str:
        """The agent's rights, where the venue tells them; a refused signature ends the probe."""
        answer = self._rest.signed(Leg.PERP, "GET", "/agent")
        if isinstance(answer, SaidNo):
            if answer.word in ("identity", "nonce"):
                raise Stop(
                    f"the venue refuses our signature ({refusal_text(answer)}): "
                    f"{NEXT_STEP[answer.word]} ({AGENT_PAGES[self._network]})"
                )
            return f"agent {self._agent}: rights are not told ({refusal_text(answer)})"
        if not isinstance(answer, Taken):
            return f"agent {self._agent}: rights are not told ({answer.why})"
        with parse.reading("agent"):
            grants = parse.read_agents(answer.body)
        grant = grants.get((self._agent or "").lower())
        if grant is None:
            return f"agent {self._agent}: not among the {len(grants)} agents that are told"
        may = grant.can_spot if self._leg is Leg.SPOT else grant.can_perp
        if not may:
            raise Stop(
                f"agent {self._agent} may not trade {self._leg.value}: give it that right at "
                f"{AGENT_PAGES[self._network]}",
                3,
            )
        left_days = (grant.expires_ms - self._rest.now_us(self._leg) // 1_000) // _DAY_MS
        ends = f"ends in {left_days} days" if left_days < 36_500 else "has no end"
        warn = "; make a new one soon" if left_days <= _EXPIRY_DAYS_WARN else ""
        warn += "; it can WITHDRAW, make one that cannot" if grant.can_withdraw else ""
        return f"agent {self._agent}: may trade {self._leg.value}, {ends}{warn}"

    def _one_way(self) -> None:
        answer = self._rest.read("positionSide", Leg.PERP, "/positionSide/dual", 30)
        with parse.reading("positionSide"):
            if parse.read_hedge_mode(answer.body):
                raise Stop(
                    "the account is in hedge mode, where every order names LONG or SHORT: switch "
                    "to one-way at the venue's settings, which needs all positions closed",
                    3,
                )

    def _perp_wallet(self) -> str:
        answer = self._rest.read("balance", Leg.PERP, "/balance", 5)
        with parse.reading("balance"):
            held = parse.read_perp_balances(answer.body)
        rows = [f"{show(row.total)} {coin}" for coin, row in held.items()]
        return f"futures wallet: {', '.join(rows) or 'empty'}"

    def _position_line(self) -> str:
        position = self._position()
        return (
            f"position: {show(position.sz)} {self._wanted.base}, {position.leverage}x "
            f"{'cross' if position.cross else 'isolated'}"
        )

    def _position(self) -> parse.PerpPosition:
        params = (("symbol", self.symbol),)
        answer = self._rest.read("positionRisk", Leg.PERP, "/positionRisk", 5, params)
        with parse.reading("positionRisk"):
            rows = [row for row in parse.read_risk(answer.body) if row.symbol == self.symbol]
            if len(rows) != 1 or rows[0].side != "BOTH":
                raise ValueError(f"{len(rows)} positions of {self.symbol}, not one")
        return rows[0]

    def _spot_wallet(self) -> str:
        held = self._coins()
        shown = [
            f"{show(held[coin].total)} {coin}"
            for coin in (QUOTE, self._wanted.base)
            if coin in held
        ]
        return f"spot wallet: {', '.join(shown) or f'no {QUOTE} and no {self._wanted.base}'}"

    def _coins(self) -> dict[str, parse.Held]:
        try:
            answer = self._rest.read("account", Leg.SPOT, "/account", 5)
        except ReadFailed as failed:
            if "HTML" not in failed.text:
                raise
            raise ReadFailed(
                failed.source,
                failed.kind,
                f"{failed.text}: signed spot reads of this account fail at the venue, which others "
                "saw too; nothing could be proven afterwards, so nothing is traded. Report it to "
                "the venue, or use the perp",
            ) from None
        with parse.reading("account"):
            return parse.read_spot_balances(answer.body)

    def holding(self) -> Decimal:
        if self._leg is Leg.PERP:
            return self._position().sz
        held = self._coins().get(self._wanted.base)
        return ZERO if held is None else held.total

    # --- one order ------------------------------------------------------------------------------

    def name(self, run: int, number: int) -> str:
        return f"carry-{run:016x}-{number:x}"

    def draft(self, side: Side, name: str) -> Draft | Skipped:
        """Tick-aligned and away from the touch. A size that the spot wallet does not cover is
        skipped on the selling side; on the buying side the venue is asked, and says so."""
        assert self._found is not None
        filters = self._found.filters
        book = self._book()
        touch = book.bid_px if side is Side.BUY else book.ask_px
        ticks = self._wanted.offset_ticks
        away = touch * AWAY_BPS * BPS if ticks is None else ticks * filters.tick
        px = filters.px_down(touch - away) if side is Side.BUY else filters.px_up(touch + away)
        if px <= 0:
            raise Stop(f"{ticks} ticks below {show(touch)} is no price: fewer --offset-ticks", 2)
        value = self._wanted.notional or filters.min_notional * _ABOVE_MINIMUM
        sz = filters.size_for(value, px)
        if self._wanted.notional is not None and self._wanted.notional < filters.min_notional:
            raise Stop(
                f"--notional {show(self._wanted.notional)} is below the venue's minimum of "
                f"{show(filters.min_notional)} {QUOTE}",
                2,
            )
        fault = filters.fault(side, px, sz, self._reference(book))
        if fault is not None:
            raise Stop(f"{side.value.upper()}: {fault}: change --offset-ticks or --notional", 2)
        if self._leg is Leg.SPOT and side is Side.SELL:
            held = self._coins().get(self._wanted.base)
            free = ZERO if held is None else held.total - held.hold
            if free < sz:
                return Skipped(f"{show(sz)} {self._wanted.base} needed, {show(free)} free")
        return Draft(name=name, side=side, px=px, sz=sz)

    def _book(self) -> Book:
        params = (("symbol", self.symbol), ("limit", "5"))
        answer = self._rest.public("depth", self._leg, "/depth", 2, params)
        with parse.reading("depth"):
            return parse.read_book(answer.body, self._rest.now_us(self._leg) // 1_000)

    def _reference(self, book: Book) -> Decimal:
        """Mark of a perp. Spot's index is not published there: the mid is near enough for a band
        of five times."""
        if self._leg is Leg.SPOT:
            return book.mid_px
        params = (("symbol", self.symbol),)
        answer = self._rest.public("premiumIndex", Leg.PERP, "/premiumIndex", 1, params)
        with parse.reading("premiumIndex"):
            return parse.read_premium(answer.body, self.symbol).mark_px

    def place(self, draft: Draft) -> Outcome:
        params = (
            ("symbol", self.symbol),
            ("side", draft.side.value.upper()),
            ("type", "LIMIT"),
            ("timeInForce", "GTX"),
            ("quantity", show(draft.sz)),
            ("price", show(draft.px)),
            ("newClientOrderId", draft.name),
        )
        try:
            answer = self._rest.signed(self._leg, "POST", "/order", params)
        except SignatureMismatch as error:
            return NotSent(str(error))
        if isinstance(answer, SaidNo):
            return Refused(refusal_text(answer), NEXT_STEP.get(answer.word, ""))
        if isinstance(answer, NothingSent):
            return NotSent(answer.why)
        if not isinstance(answer, Taken):
            return Unknown(answer.why)
        try:
            order = parse.read_order(answer.body)
        except parse.UNREADABLE as error:
            return Unknown(f"the reply cannot be read: {error}")
        if order.client_id != draft.name:
            return Unknown(f"the reply is about {order.client_id[:40]}")
        return Placed(order.oid)

    def seen(self, draft: Draft) -> Seen:
        answer = self._rest.signed(self._leg, "GET", "/order", self._by_name(draft))
        if isinstance(answer, SaidNo) and answer.code in NO_SUCH_ORDER:
            return Seen(state="absent", word="no such order", filled=ZERO)
        body = taken("order", answer).body
        with parse.reading("order"):
            return seen_of(parse.read_order(body))

    def cancel(self, draft: Draft) -> Seen | str:
        try:
            answer = self._rest.signed(self._leg, "DELETE", "/order", self._by_name(draft))
        except SignatureMismatch as error:
            return str(error)
        if isinstance(answer, Taken):
            try:
                return seen_of(parse.read_order(answer.body))
            except parse.UNREADABLE as error:
                return f"the reply to the cancel cannot be read: {error}"
        if isinstance(answer, SaidNo):
            return "" if answer.code in NO_SUCH_ORDER else refusal_text(answer)
        return answer.why

    def _by_name(self, draft: Draft) -> Sequence[tuple[str, str]]:
        return (("symbol", self.symbol), ("origClientOrderId", draft.name))

    def open_names(self) -> frozenset[str]:
        answer = self._rest.read(
            "openOrders", self._leg, "/openOrders", 1, (("symbol", self.symbol),)
        )
        with parse.reading("openOrders"):
            return frozenset(order.client_id for order in parse.read_orders(answer.body))

    def watch(self) -> Sequence[str]:
        return ()


def seen_of(order: Order) -> Seen:
    state = "open" if order.open else "filled" if order.word == "FILLED" else "gone"
    return Seen(state=state, word=order.word, filled=order.filled)
