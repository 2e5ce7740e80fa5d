"""Whatever arrives, well signed or not, is answered: nothing a client sends may stop the venue."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import HYPE, User, make_exchange

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["25", "0", "-1", "1e5", "99999999999999999999.9999999999", "HYPE", "Ioc"]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_ORDER = {"a": HYPE, "b": True, "p": "20", "s": "5", "r": False, "t": {"limit": {"tif": "Ioc"}}}
_STOP = {
    "a": HYPE, "b": False, "p": "15", "s": "5", "r": True,
    "t": {"trigger": {"isMarket": True, "triggerPx": "15", "tpsl": "sl"}},
}
_ACTIONS: list[dict[str, Any]] = [
    {"type": "order", "orders": [_ORDER], "grouping": "na"},
    {"type": "cancel", "cancels": [{"a": HYPE, "o": 1}]},
    {"type": "cancelByCloid", "cancels": [{"asset": HYPE, "cloid": "0x" + "0" * 32}]},
    {"type": "batchModify", "modifies": [{"oid": 1, "order": _ORDER}]},
    {"type": "updateLeverage", "asset": HYPE, "isCross": True, "leverage": 3},
    {"type": "scheduleCancel", "time": 5},
    {"type": "order", "orders": [_ORDER, _STOP, _STOP], "grouping": "normalTpsl"},
    {"type": "order", "orders": [_STOP], "grouping": "positionTpsl"},
    {"type": "order", "orders": [_ORDER], "grouping": "na",
     "builder": {"b": "0x" + "1" * 40, "f": 0}},
    {"type": "modify", "oid": 1, "order": _ORDER, "a": True},
    {"type": "twapOrder", "twap": {"a": HYPE, "b": True, "s": "50", "r": False, "m": 9, "t": True}},
    {"type": "twapCancel", "a": HYPE, "t": 1},
    {"type": "updateIsolatedMargin", "asset": HYPE, "isBuy": True, "ntli": 1},
    {"type": "topUpIsolatedOnlyMargin", "asset": HYPE, "leverage": "2"},
    {"type": "createSubAccount", "name": "a"},
    {"type": "subAccountTransfer", "subAccountUser": "0x", "isDeposit": True, "usd": 1},
    {"type": "subAccountSpotTransfer", "subAccountUser": "0x", "isDeposit": True, "token": "USDC",
     "amount": "1"},
    {"type": "vaultTransfer", "vaultAddress": "0xdfc24b077bc1425ad1dea75bcb6f8158e10df303",
     "isDeposit": True, "usd": 1_000_000},
    {"type": "reserveRequestWeight", "weight": 1},
    {"type": "setReferrer", "code": "A"},
    {"type": "noop"},
    {"type": "agentSetAbstraction", "abstraction": "u"},
    {"type": "agentSendAsset", "destination": "0x", "sourceDex": "", "destinationDex": "spot",
     "token": "USDC", "amount": "1", "fromSubAccount": "", "nonce": 1},
]
_READS = [
    "meta", "l2Book", "candleSnapshot", "fundingHistory", "clearinghouseState", "orderStatus",
    "userFillsByTime", "userFunding", "activeAssetData", "recentTrades", "openOrders",
    "frontendOpenOrders", "historicalOrders", "twapHistory", "userTwapSliceFillsByTime",
    "maxBuilderFee", "marginTable", "tokenDetails", "borrowLendReserveState", "webData2",
    "subAccounts", "userNonFundingLedgerUpdates", "preTransferCheck", "spotClearinghouseState",
]
_KEYS = st.sampled_from(
    [
        "coin", "user", "startTime", "endTime", "req", "oid", "nSigFigs", "mantissa", "dex", "id",
        "token", "tokenId", "builder", "aggregateByTime",
    ]
)
_FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck)
)

EXCHANGE = make_exchange(limits=False)
USER = User(EXCHANGE, 31, "100000")


def _replace(value: Any, path: list[int], new: Any) -> Any:
    """`value` with the part that `path` leads to replaced."""
    if not path or not isinstance(value, (dict, list)) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[path[0] % len(keys)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = _replace(value[key], path[1:], new)
    return copy


@_FUZZ
@given(st.sampled_from(_ACTIONS), st.lists(st.integers(0, 9), min_size=1, max_size=4), _VALUES)
def test_mutated_actions_well_signed(action: dict[str, Any], path: list[int], new: Any) -> None:
    mutated = _replace(action, path, new)
    try:
        reply = USER.send(mutated)
    except OverflowError:  # The SDK cannot sign it.
        return
    assert isinstance(reply, tuple) or reply["status"] in ("ok", "err"), reply
    assert EXCHANGE.audit() == {}


@_FUZZ
@given(st.sampled_from(_READS), st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_mutated_reads(kind: str, query: dict[str, Any]) -> None:
    body = json.dumps({"user": USER.address, "coin": "HYPE", **query, "type": kind}).encode()
    assert EXCHANGE.http("/info", body)[0] in (200, 422)


@_FUZZ
@given(st.sampled_from(["l2Book", "bbo", "candle", "activeAssetData", "userFills", "allMids", "x",
                        "webData3", "twapStates", "spotState", "userHistoricalOrders",
                        "fastAssetCtxs"]),
       st.dictionaries(st.sampled_from(["coin", "user", "interval", "nSigFigs", "fast"]), _VALUES),
       st.sampled_from(["subscribe", "unsubscribe", "post", "ping"]))
def test_mutated_subscriptions(kind: str, more: dict[str, Any], method: str) -> None:
    session = EXCHANGE.connect()
    subscription = {"user": USER.address, "coin": "HYPE", "interval": "1m", **more, "type": kind}
    message = {"method": method, "subscription": subscription, "id": 1, "request": more}
    EXCHANGE.receive(session, json.dumps(message))
    EXCHANGE.advance(EXCHANGE.now + 6_000)
    assert session.sent >= 2
    EXCHANGE.streams.disconnect(session)


@_FUZZ
@given(st.binary(max_size=40), st.sampled_from(["/info", "/exchange"]))
def test_bytes(body: bytes, path: str) -> None:
    assert EXCHANGE.http(path, body)[0] in (200, 422)


def test_deep_nesting() -> None:
    for path in ("/info", "/exchange"):
        assert EXCHANGE.http(path, b"[" * 100_000)[0] == 422
