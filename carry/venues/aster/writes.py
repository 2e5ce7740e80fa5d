"""Writes of one account: signed, sent once, answered as outcomes of core."""

from collections.abc import Mapping
from typing import Final

from carry.core.actions import (
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Place,
    SetLeverage,
    Write,
)
from carry.core.num import show
from carry.core.observations import (
    Cancelled,
    CancelUnanswered,
    Fault,
    FenceUnanswered,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.types import Leg, Market, Tif
from carry.venues.base import Clock, ReadFailed

from . import outcomes, parse
from .constants import QUOTE
from .replies import NO_SUCH_ORDER, Answer, Taken, refusal_text
from .replies import Refused as SaidNo
from .rest import Rest, SignatureMismatch
from .signing import Params

_SENT_KEPT = 1_000
_TIFS: Final[Mapping[Tif, str]] = {Tif.ALO: "GTX", Tif.IOC: "IOC", Tif.GTC: "GTC"}


class Writer:
    """markets, names: shared with who reads; names is oid -> client id, which fills do not tell.

    faults: signatures that were not ours, until somebody takes them. sent_ms: monotonic, when the
    order of a client id last left; of those that this process sent.
    """

    def __init__(
        self, rest: Rest, clock: Clock, markets: Mapping[str, Market], names: dict[str, str]
    ) -> None:
        self.faults: list[Fault] = []
        self.sent_ms: dict[str, int] = {}
        self._rest, self._clock = rest, clock
        self._markets, self._names = markets, names

    def record(self, leg: Leg, symbol: str, cloid: str) -> parse.Order | None:
        """An order by client id; None when the venue has none such. Raises `ReadFailed`."""
        params = (("symbol", symbol), ("origClientOrderId", cloid))
        try:
            answer = self._rest.read(f"order:{cloid}", leg, "/order", 1, params)
        except ReadFailed as failed:
            if any(f"code {code}:" in failed.text for code in NO_SUCH_ORDER):
                return None
            raise
        with parse.reading(f"order:{cloid}"):
            order = parse.read_order(answer.body)
            if order.client_id != cloid:
                raise ValueError(f"the record is of {order.client_id[:40]}, not {cloid}")
        self._names[order.oid] = order.client_id
        return order

    def write(self, action: Write) -> Outcome:
        """Sign, check, send once, classify. Never raises."""
        if isinstance(action, Fence):
            why = "nothing burns a nonce here for certain: time and the records decide"
            return FenceUnanswered(intent=action.intent, why=why)
        try:
            return self._write(action)
        except SignatureMismatch as error:
            self.faults.append(Fault(name="signature", text=str(error)))
            return outcomes.unsent(action, str(error))
        except LookupError as error:
            return outcomes.unsent(action, f"the metadata of {error} has not been read")

    def _write(self, action: Place | Cancel | CancelForeign | SetLeverage | MoveUsd) -> Outcome:
        match action:
            case Place():
                return self._place(action)
            case Cancel() | CancelForeign():
                return self._cancel(action)
            case SetLeverage():
                return self._set_leverage(action)
            case MoveUsd():
                return self._move(action)

    def _send(self, leg: Leg, method: str, name: str, params: Params, nonce: int | None) -> Answer:
        """A write of the journal's goes out under the journal's nonce, in microseconds."""
        nonce_us = None if nonce is None else nonce * 1_000
        return self._rest.signed(leg, method, name, params, nonce_us=nonce_us)

    def _remember(self, cloid: str) -> None:
        self.sent_ms[cloid] = self._clock.mono_ms()
        while len(self.sent_ms) > _SENT_KEPT:
            del self.sent_ms[next(iter(self.sent_ms))]

    def _place(self, place: Place) -> Outcome:
        symbol = self._markets[place.coin].instrument(place.leg).symbol
        params = [
            ("symbol", symbol),
            ("side", place.side.value.upper()),
            ("type", "LIMIT"),
            ("timeInForce", _TIFS[place.tif]),
            ("quantity", show(place.sz)),
            ("price", show(place.px)),
            ("newClientOrderId", place.cloid),
        ]
        if place.leg is Leg.PERP and place.reduce_only:
            params.append(("reduceOnly", "true"))
        self._remember(place.cloid)
        answer = self._send(place.leg, "POST", "/order", params, place.nonce)
        outcome = outcomes.of_answer(place, answer)
        if outcome is not None:
            return outcome
        assert isinstance(answer, Taken)
        try:
            order = parse.read_order(answer.body)
        except parse.UNREADABLE as error:
            return OutcomeUnknown(intent=place.intent, why=f"unknown shape: {error}")
        if order.client_id != place.cloid:
            return OutcomeUnknown(
                intent=place.intent, why=f"the reply is of {order.client_id[:40]}"
            )
        self._names[order.oid] = order.client_id
        # The acknowledgement comes before the matching: what executed is in the record.
        try:
            record = self.record(place.leg, symbol, place.cloid)
        except ReadFailed:
            record = None
        if record is None:
            return outcomes.at_rest(place, order.oid)
        return outcomes.of_order(place, record)

    def _cancel(self, action: Cancel | CancelForeign) -> Outcome:
        symbol = self._markets[action.coin].instrument(action.leg).symbol
        intent = outcomes.intent_of(action)
        which = (
            ("origClientOrderId", action.cloid)
            if isinstance(action, Cancel)
            else ("orderId", action.oid)
        )
        params = (("symbol", symbol), which)
        answer = self._send(action.leg, "DELETE", "/order", params, action.nonce)
        if isinstance(answer, Taken):
            return Cancelled(intent=intent, gone=False)
        if not isinstance(answer, SaidNo):
            return CancelUnanswered(intent=intent, why=answer.why)
        if answer.code not in NO_SUCH_ORDER or isinstance(action, CancelForeign):
            return CancelUnanswered(intent=intent, why=refusal_text(answer)[:200])
        # A record that lags makes an order that rests look like none: only its own end is believed.
        try:
            order = self.record(action.leg, symbol, action.cloid)
        except ReadFailed as failed:
            return CancelUnanswered(intent=intent, why=str(failed)[:200])
        if order is not None and not order.open:
            return Cancelled(intent=intent, gone=True)
        return CancelUnanswered(intent=intent, why="the venue does not know the order (yet)")

    def _set_leverage(self, action: SetLeverage) -> Outcome:
        symbol = self._markets[action.coin].perp.symbol
        kind = "CROSSED" if action.cross else "ISOLATED"
        first = self._send(
            Leg.PERP, "POST", "/marginType", (("symbol", symbol), ("marginType", kind)), None
        )
        unchanged = isinstance(first, SaidNo) and first.code == -4046
        if not unchanged:
            outcome = outcomes.of_answer(action, first)
            if outcome is not None:
                return outcome
        params = (("symbol", symbol), ("leverage", str(action.leverage)))
        answer = self._send(Leg.PERP, "POST", "/leverage", params, action.nonce)
        return outcomes.of_answer(action, answer) or outcomes.done(action)

    def _move(self, action: MoveUsd) -> Outcome:
        """Between the wallets, under a name of its own: sent again it would be refused."""
        params = (
            ("asset", QUOTE),
            ("amount", show(action.usd)),
            ("clientTranId", f"carry{action.nonce}"),
            ("kindType", "SPOT_FUTURE" if action.to_perp else "FUTURE_SPOT"),
        )
        answer = self._send(Leg.PERP, "POST", "/asset/wallet/transfer", params, action.nonce)
        outcome = outcomes.of_answer(action, answer)
        if isinstance(outcome, Refused) and outcome.text.startswith("code -4115:"):
            return outcomes.done(action)
        return outcome or outcomes.done(action)
