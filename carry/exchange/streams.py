"""Websocket sessions without a socket: text in, text frames out, cadence by exchange time."""

from typing import TYPE_CHECKING, Any

import msgspec

from .accounts import Order
from .assets import Asset
from .reads import aggregated
from .sessions import Doors, Session, Subscription, key_of_request
from .text import wire_int

if TYPE_CHECKING:
    from .model import Exchange

ESTABLISHED = "Websocket connection established."
SILENCE_MS = 60_000
SUBSCRIPTIONS_MAX = 1_000
PERIOD_MS = {
    "l2Book": 5_000, "activeAssetCtx": 3_000, "allMids": 5_000, "candle": 5_000,
    "clearinghouseState": 5_000, "spotState": 5_000, "allDexsClearinghouseState": 5_000,
    "activeAssetData": 5_000, "webData2": 5_000, "webData3": 5_000, "allDexsAssetCtxs": 5_000,
    "assetCtxs": 5_000, "spotAssetCtxs": 5_000, "fastAssetCtxs": 5_000,
}
FAST_BOOK_MS = 500
SNAPSHOT_FILLS = 100

COIN_TYPES = ("l2Book", "bbo", "trades", "activeAssetCtx", "candle")
USER_TYPES = (
    "orderUpdates", "userEvents", "userFills", "userFundings", "userNonFundingLedgerUpdates",
    "openOrders", "clearinghouseState", "spotState", "activeAssetData", "notification",
    "webData2", "webData3", "userHistoricalOrders", "twapStates", "userTwapHistory",
    "userTwapSliceFills", "allDexsClearinghouseState",
)
WHOLE_TYPES = (
    "allDexsAssetCtxs", "assetCtxs", "spotAssetCtxs", "fastAssetCtxs", "outcomeMetaUpdates",
)
"""Channels about every market, that name neither coin nor user."""

_PUSHED_ON_CHANGE = (
    "openOrders", "clearinghouseState", "spotState", "allDexsClearinghouseState", "twapStates",
)
_GROWING = {
    "userHistoricalOrders": "orderHistory", "userTwapHistory": "history",
    "userTwapSliceFills": "twapSliceFills",
}
"""Channels whose frames have only what is new -> the name of their list."""


class Streams:
    """All sessions of an exchange, and what waits to be told at the end of the instant."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self.sessions: list[Session] = []
        self._orders: dict[str, list[dict[str, Any]]] = {}
        self._fills: dict[str, list[dict[str, Any]]] = {}
        self._fundings: dict[str, list[dict[str, Any]]] = {}
        self._ledger: dict[str, list[dict[str, Any]]] = {}
        self._trades: dict[int, list[dict[str, Any]]] = {}
        self._touched: dict[int, Asset] = {}
        self._changed_users: dict[str, None] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._doors = Doors()
        switches = exchange.switches
        self.users_max = int(switches["ws_users"])
        self._alive_by_anything = switches["ws_alive_by"] == "anything"
        self._later: dict[str, Any] = {}
        if switches["is_snapshot_later"] == "false":
            self._later = {"isSnapshot": False}
        self._recent_trades = switches["trades_on_subscribe"] == "recent"
        self._spot_flags = {"isPortfolioMargin", "ignorePortfolioMargin"}
        self._spot_flags.discard(switches["spot_state_flag"])

    # Sessions.

    def connect(self, name: str) -> Session:
        """A new session; past the limits of one IP it is closed at once."""
        return self.join(Session(name, self.ex.now))

    def join(self, session: Session) -> Session:
        if not self._doors.opens(self.ex.now, len(self.sessions)) and self.ex.limits:
            session.closed = True
            return session
        self.sessions.append(session)
        session.send(ESTABLISHED)
        return session

    def disconnect(self, session: Session) -> None:
        session.closed = True
        if session in self.sessions:
            self.sessions.remove(session)

    def find(self, name: str) -> Session | None:
        """The newest session of that name."""
        for session in reversed(self.sessions):
            if session.name == name:
                return session
        return None

    def receive(self, session: Session, text: str) -> None:
        """One text frame from a client. Bad ones are answered on the error channel."""
        if not self._doors.hears(self.ex.now) and self.ex.limits:
            self.disconnect(session)
            return
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._error(session, f"Error parsing JSON into valid websocket request: {text}")
            return
        method = message.get("method")
        if method == "ping":
            session.heard_ms = self.ex.now
            self._frame(session, "pong", None)
        elif method in ("subscribe", "unsubscribe"):
            request = message.get("subscription")
            if isinstance(request, dict) and isinstance(request.get("type"), str):
                getattr(self, f"_{method}")(session, request)
            else:
                self._error(session, f"Invalid subscription {_text(request)}")
        elif method == "post":
            self._post(session, message)
        else:
            self._error(session, f"Error parsing JSON into valid websocket request: {text}")

    def _subscribe(self, session: Session, request: dict[str, Any]) -> None:
        made = self._read(request)
        key = key_of_request(request)
        if made is None:
            self._error(session, f"Invalid subscription {_text(request)}")
            return
        if key in session.subscriptions:
            self._error(session, f"Already subscribed: {_text(request)}")
            return
        if made.user is not None and len(self._users() | {made.user}) > self.users_max:
            self._error(session, f"Cannot track more than {self.users_max} total users.")
            return
        if sum(len(other.subscriptions) for other in self.sessions) >= SUBSCRIPTIONS_MAX:
            self._error(
                session, f"Cannot track more than {SUBSCRIPTIONS_MAX} total subscriptions."
            )
            return
        session.subscriptions[key] = made
        self._raw(
            session,
            {
                "channel": "subscriptionResponse",
                "data": {"method": "subscribe", "subscription": request},
            },
        )
        if made.period_ms is not None:
            made.due_ms = self.ex.now + made.period_ms
        self._snapshot(session, made)

    def _unsubscribe(self, session: Session, request: dict[str, Any]) -> None:
        key = key_of_request(request)
        if session.subscriptions.pop(key, None) is None:
            self._error(session, f"Already unsubscribed: {_text(request)}")
            return
        self._raw(
            session,
            {
                "channel": "subscriptionResponse",
                "data": {"method": "unsubscribe", "subscription": request},
            },
        )

    def _read(self, request: dict[str, Any]) -> Subscription | None:
        kind = request["type"]
        asset: Asset | None = None
        user: str | None = None
        if kind in COIN_TYPES or kind == "activeAssetData":
            asset = self.ex.by_coin.get(str(request.get("coin")))
            if asset is None or asset.base not in self.ex.coins:
                return None
            if kind == "activeAssetData" and asset.is_spot:
                return None
        elif kind != "allMids" and kind not in USER_TYPES and kind not in WHOLE_TYPES:
            return None
        if request.get("dex") or (kind == "spotState" and self._spot_flags & set(request)):
            return None
        if kind == "webData2" and self.ex.switches["web_data_2"] == "gone":
            return None
        if kind in USER_TYPES:
            user = str(request.get("user", "")).lower()
            if not self.ex.is_address(user):
                return None
        if kind == "candle" and str(request.get("interval")) not in self.ex.info.intervals:
            return None
        if kind == "l2Book" and asset is not None:
            try:
                self.ex.info.book(asset, request)
            except (TypeError, ValueError):
                return None
        period = PERIOD_MS.get(kind)
        if kind == "l2Book" and request.get("fast") is True:
            period = FAST_BOOK_MS
        return Subscription(request, asset, user, period)

    def _users(self) -> set[str]:
        return {
            sub.user
            for session in self.sessions
            for sub in session.subscriptions.values()
            if sub.user is not None
        }

    def _post(self, session: Session, message: dict[str, Any]) -> None:
        request, number = message.get("request"), message.get("id")
        if not isinstance(request, dict) or not isinstance(number, int):
            self._error(session, f"Error parsing JSON into valid websocket request: {message}")
            return
        payload = request.get("payload")
        body = msgspec.json.encode(payload)
        kind = request.get("type")
        if kind == "info":
            status, answer = self.ex.http("/info", body)
        elif kind == "action":
            status, answer = self.ex.http("/exchange", body)
        else:
            status, answer = 422, b"unknown post type"
        if status != 200:
            response: dict[str, Any] = {
                "type": "error", "payload": f"{status} {answer.decode(errors='replace')}"
            }
        else:
            data: Any = msgspec.Raw(answer)
            if kind == "info" and isinstance(payload, dict):
                data = {"type": payload.get("type"), "data": data}
            response = {"type": kind, "payload": data}
        self._raw(session, {"channel": "post", "data": {"id": number, "response": response}})

    # Facts of this instant.

    def order_update(self, order: Order, status: str) -> None:
        self._changed_users[order.address] = None
        self.touch(order.asset)
        if not self.sessions:
            return
        asset = order.asset
        row: dict[str, Any] = {
            "coin": asset.coin, "side": "B" if order.is_buy else "A",
            "limitPx": wire_int(order.px, asset.px_decimals),
            "sz": wire_int(order.sz, asset.sz_decimals), "oid": order.oid,
            "timestamp": order.time_ms, "origSz": wire_int(order.orig_sz, asset.sz_decimals),
        }
        if order.cloid is not None:
            row["cloid"] = order.cloid
        if order.reduce_only:
            row["reduceOnly"] = True
        self._orders.setdefault(order.address, []).append(
            {"order": row, "status": status, "statusTimestamp": self.ex.now}
        )

    def non_user_cancel(self, order: Order) -> None:
        """The venue, not the user, took an order out."""
        if self.sessions:
            event = {"nonUserCancel": [{"coin": order.asset.coin, "oid": order.oid}]}
            self._events.setdefault(order.address, []).append(event)

    def liquidated(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._events.setdefault(address, []).append({"liquidation": row})

    def twap(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._events.setdefault(address, []).append({"twapHistory": [row]})

    def twap_slice(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._events.setdefault(address, []).append({"twapSliceFills": [row]})

    def fill(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._fills.setdefault(address, []).append(row)

    def funding(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._fundings.setdefault(address, []).append(row)

    def ledger(self, address: str, row: dict[str, Any]) -> None:
        self._changed_users[address] = None
        if self.sessions:
            self._ledger.setdefault(address, []).append(row)

    def trade(self, asset: Asset, row: dict[str, Any]) -> None:
        """One line of the public tape, by a user or by strangers."""
        if row["users"][0] != row["users"][1]:
            self.ex.info.remember_trade(asset, row)
        self.touch(asset)
        if self.sessions:
            self._trades.setdefault(asset.asset_id, []).append(row)

    def touch(self, asset: Asset) -> None:
        """The book may have changed at its best."""
        self._touched[asset.asset_id] = asset

    # Telling.

    def watched_coins(self) -> list[str]:
        """Base names whose quotes somebody hears step by step."""
        watched: dict[str, None] = {}
        for session in self.sessions:
            for sub in session.subscriptions.values():
                if sub.asset is not None and sub.kind in ("bbo", "trades"):
                    watched[sub.asset.base] = None
        return list(watched)

    def hears_trades(self, asset: Asset) -> bool:
        """Whether a session hears this asset's tape."""
        return any(
            sub.kind == "trades" and sub.asset is asset
            for session in self.sessions
            for sub in session.subscriptions.values()
        )

    def next_ms(self) -> int | None:
        """The next instant at which a session is due a frame or is closed for silence."""
        due: int | None = None
        for session in self.sessions:
            silent = session.heard_ms + SILENCE_MS
            if due is None or silent < due:
                due = silent
            for sub in session.subscriptions.values():
                if sub.due_ms is not None and sub.due_ms < due:
                    due = sub.due_ms
        return due

    def on_time(self) -> None:
        """Sends what is due now; closes sessions the server had nothing to tell for 60 s."""
        now = self.ex.now
        for session in list(self.sessions):
            for sub in session.subscriptions.values():
                if sub.due_ms is not None and sub.due_ms <= now:
                    assert sub.period_ms is not None, sub.kind
                    sub.due_ms = now + sub.period_ms
                    self._periodic(session, sub)
            if now - session.heard_ms >= SILENCE_MS:
                self.disconnect(session)

    def flush(self) -> None:
        """Ends the instant: tells every session what happened, in the order it subscribed."""
        if self._touched or self._changed_users:
            for session in self.sessions:
                for sub in session.subscriptions.values():
                    self._tell(session, sub)
        for store in (self._orders, self._fills, self._fundings, self._ledger, self._events):
            store.clear()
        self._trades.clear()
        self._touched.clear()
        self._changed_users.clear()

    def _tell(self, session: Session, sub: Subscription) -> None:
        if sub.asset is not None and sub.user is None:
            if sub.asset.asset_id in self._touched:
                if sub.kind == "bbo":
                    self._tell_bbo(session, sub, sub.asset)
                elif sub.kind == "trades" and sub.asset.asset_id in self._trades:
                    self._frame(session, "trades", self._trades[sub.asset.asset_id])
            return
        user = sub.user
        if user is None or user not in self._changed_users:
            return
        if sub.kind == "orderUpdates" and user in self._orders:
            self._frame(session, "orderUpdates", self._orders[user])
            session.woke = True
        elif sub.kind == "userEvents":
            self._tell_events(session, user)
        elif sub.kind == "userFills" and user in self._fills:
            fills = self._fills[user]
            if sub.request.get("aggregateByTime") is True:
                fills = aggregated(fills)
            self._frame(session, "userFills", {"user": user, "fills": fills, **self._later})
            session.woke = True
        elif sub.kind == "userFundings" and user in self._fundings:
            paid = {"user": user, "fundings": self._fundings[user], **self._later}
            self._frame(session, "userFundings", paid)
        elif sub.kind == "userNonFundingLedgerUpdates" and user in self._ledger:
            rows = self._ledger[user]
            moved = {"user": user, "nonFundingLedgerUpdates": rows, **self._later}
            self._frame(session, sub.kind, moved)
        elif sub.kind in _PUSHED_ON_CHANGE:
            self._frame(session, sub.kind, self.ex.channels.user_state(sub.kind, user))
        elif sub.kind in _GROWING:
            rows = self.ex.channels.history(sub.kind, user, self.ex.now)
            if rows:
                data = {"user": user, _GROWING[sub.kind]: rows, **self._later}
                self._frame(session, sub.kind, data)

    def _tell_events(self, session: Session, user: str) -> None:
        if user in self._fills:
            self._frame(session, "user", {"fills": self._fills[user]})
            session.woke = True
        for event in self._events.get(user, ()):
            self._frame(session, "user", event)
            session.woke = True
        for funding in self._fundings.get(user, ()):
            self._frame(session, "user", {"funding": funding})
            session.woke = True

    def _tell_bbo(self, session: Session, sub: Subscription, asset: Asset) -> None:
        bbo = session.quote(self.ex.info, asset)
        if bbo == sub.last:
            return
        sub.last = bbo
        self._frame(session, "bbo", {"coin": asset.coin, "time": self.ex.now, "bbo": bbo})

    def _snapshot(self, session: Session, sub: Subscription) -> None:
        """What a new subscription hears at once. orderUpdates and userEvents have no snapshot."""
        user = sub.user
        account = self.ex.accounts.get(user) if user is not None else None
        if sub.kind == "userFills":
            fills = list(account.fills)[-SNAPSHOT_FILLS:] if account else []
            if sub.request.get("aggregateByTime") is True:
                fills = aggregated(fills)
            fills.reverse()
            self._frame(session, "userFills", {"isSnapshot": True, "user": user, "fills": fills})
        elif sub.kind == "userFundings":
            rows = account.fundings[-SNAPSHOT_FILLS:] if account else []
            flat = [{k: v for k, v in row.items() if k != "hash"} for row in rows]
            data = {"isSnapshot": True, "user": user, "fundings": flat}
            self._frame(session, "userFundings", data)
        elif sub.kind == "userNonFundingLedgerUpdates":
            moves = account.transfers[-SNAPSHOT_FILLS:] if account else []
            data = {"isSnapshot": True, "user": user, "nonFundingLedgerUpdates": moves}
            self._frame(session, sub.kind, data)
        elif sub.kind in _PUSHED_ON_CHANGE and user is not None:
            self._frame(session, sub.kind, self.ex.channels.user_state(sub.kind, user))
        elif sub.kind in _GROWING and user is not None:
            rows = self.ex.channels.history(sub.kind, user, None)
            data = {"isSnapshot": True, "user": user, _GROWING[sub.kind]: rows}
            self._frame(session, sub.kind, data)
        elif sub.kind == "bbo" and sub.asset is not None:
            self._tell_bbo(session, sub, sub.asset)
        elif sub.kind == "trades" and sub.asset is not None:
            if self._recent_trades:
                self._frame(session, "trades", self.ex.info.recent_trades(sub.asset))
        elif sub.period_ms is not None:
            self._periodic(session, sub)

    def _periodic(self, session: Session, sub: Subscription) -> None:
        info, asset = self.ex.info, sub.asset
        if sub.kind == "allMids":
            self._frame(session, "allMids", {"mids": info.mids()})
            return
        if sub.kind in WHOLE_TYPES:
            whole, sub.last = self.ex.channels.everything(sub.kind, sub.last)
            self._frame(session, sub.kind, whole)
            return
        if asset is None and sub.user is not None:
            self._frame(session, sub.kind, self.ex.channels.user_state(sub.kind, sub.user))
            return
        assert asset is not None, sub.kind
        if sub.kind == "l2Book":
            self._frame(session, "l2Book", info.book(asset, sub.request))
        elif sub.kind == "activeAssetCtx":
            ctx = info.spot_ctx(asset) if asset.is_spot else info.perp_ctx(asset)
            channel = "activeSpotAssetCtx" if asset.is_spot else "activeAssetCtx"
            self._frame(session, channel, {"coin": asset.coin, "ctx": ctx})
        elif sub.kind == "candle":
            now = self.ex.now
            rows = info.candles(asset, sub.request["interval"], now, now)
            if rows:
                self._frame(session, "candle", rows[-1])
        elif sub.kind == "activeAssetData" and sub.user is not None:
            self._frame(session, "activeAssetData", info.active_asset_data(sub.user, asset))

    def _error(self, session: Session, text: str) -> None:
        self._frame(session, "error", text)

    def _frame(self, session: Session, channel: str, data: object) -> None:
        """A frame of data or a pong: these, and no acknowledgements, keep a session alive."""
        session.heard_ms = self.ex.now
        message = {"channel": channel} if channel == "pong" else {"channel": channel, "data": data}
        self._raw(session, message)

    def _raw(self, session: Session, message: dict[str, Any]) -> None:
        if self._alive_by_anything:
            session.heard_ms = self.ex.now
        session.say(message)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
