"""From a request as received to a reply: hosts by path, versions, signatures, weights, faults."""

import re
from collections import deque
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from .auth import Request
from .errors import Fault
from .faults import Want, reply_of
from .model import Aster
from .orders import AsterOrder
from .private import Private
from .public import Public

WEIGHT_A_MINUTE = {False: 2_400, True: 6_000}
MINUTE_MS = 60_000
_PATH = re.compile(r"/(fapi|api)/v([1-4])/([A-Za-z0-9/]+)")

V1_NAMES = {
    (2, "balance"): "balance",
    (2, "positionRisk"): "positionRisk",
    (4, "account"): "accountWithJoinMargin",
}
"""Paths of the old futures API that have another number than 1."""

_AFTER = ("lose_reply", "lose_reply_late", "late_record")
_V3_ONLY = ("noop", "agent", "builder")
Reply = tuple[int, bytes, dict[str, str]]


class Api:
    """Answers requests at the time the exchange has reached. None: close without a word."""

    def __init__(self, exchange: Aster) -> None:
        self.ex = exchange
        self.public = Public(exchange)
        self.private = Private(exchange)
        self.asked: list[tuple[str, str]] = []
        """(method, path) of every request, as tests want to see what was called."""
        self._spent: dict[bool, deque[tuple[int, int]]] = {False: deque(), True: deque()}

    def answer(self, request: Request) -> Reply | None:
        self.asked.append((request.method, request.path))
        want = self.ex.faults.take(request.method, request.path)
        if want is not None:
            if want.kind == "lose_request":
                return None
            if not want.kind.endswith("_after") and want.kind not in _AFTER:
                status, body = reply_of(want.kind)
                return status, body, {"Retry-After": "7"} if status == 429 else {}
        before = self.ex.last_oid
        reply = self._answered(request)
        if want is None:
            return reply
        if want.kind in ("late_record", "lose_reply_late"):
            self._hide(want, before)
        if want.kind == "late_record":
            return reply
        if want.kind in ("lose_reply", "lose_reply_late"):
            return None
        return *reply_of(want.kind), {}

    def _hide(self, want: Want, before_oid: int) -> None:
        """What this request placed is seen by queries only after a while."""
        until = self.ex.now + want.ms
        for account in self.ex.accounts.values():
            for record in account.records.values():
                if isinstance(record.order, AsterOrder) and record.order.oid > before_oid:
                    record.order.hidden_until_ms = until
            for row in account.fills:
                if row["oid"] > before_oid:
                    row["hidden_until_ms"] = until

    def _answered(self, request: Request) -> Reply:
        try:
            value, spot, weight = self._route(request)
        except Fault as fault:
            return fault.status, msgspec.json.encode(fault.body()), {}
        used = self._spend(spot, weight)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        if self.ex.limits and used > WEIGHT_A_MINUTE[spot]:
            status, body = reply_of("limit_429")
            return status, body, {**headers, "Retry-After": "10"}
        return 200, msgspec.json.encode(value), headers

    def _spend(self, spot: bool, weight: int) -> int:
        spent = self._spent[spot]
        spent.append((self.ex.now, weight))
        while spent[0][0] <= self.ex.now - MINUTE_MS:
            spent.popleft()
        return sum(each for _, each in spent)

    def _route(self, request: Request) -> tuple[Any, bool, int]:
        found = _PATH.fullmatch(request.path)
        if found is None:
            raise Fault(-1000, "Not found.", 404)
        spot, number, name = found[1] == "api", int(found[2]), found[3]
        version = 3 if number == 3 else 1
        if number in (2, 4):
            name = V1_NAMES.get((number, name), "") if not spot else ""
        elif number == 1 and not spot and name in V1_NAMES.values():
            name = ""
        if version == 1 and name in _V3_ONLY:
            name = ""
        params = {
            **dict(parse_qsl(request.body, keep_blank_values=True)),
            **dict(parse_qsl(request.query, keep_blank_values=True)),
        }
        if request.method == "GET":
            gets = self.public.gets if spot else {**self.public.gets, **self.public.perp_gets}
            if name in gets:
                handler, weight = gets[name]
                return handler(params, spot), spot, weight
        table = self.private.both if spot else {**self.private.both, **self.private.perp}
        if (request.method, name) not in table:
            raise Fault(-1000, "Not found.", 404)
        signed, weight = table[(request.method, name)]
        user = self.ex.doorman.admit(request, version, self.ex.now, spot=spot)
        account = self.ex.accounts.get(user)
        if account is None:
            raise Fault(-2015, "Invalid API-key, IP, or permissions for action.")
        return signed(account, params, spot), spot, weight
