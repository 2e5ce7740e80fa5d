"""The journal's text: every class of the core, there and back, without loss."""

import enum
import inspect
import json
import time
import typing
from collections.abc import Mapping
from decimal import Decimal
from types import ModuleType
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carry.base import codec as text
from carry.base.codec import SCHEMA, Uncodable, Undecodable, codec
from carry.core import actions, observations, policy, state, types, venue

MODULES: tuple[ModuleType, ...] = (types, venue, policy, observations, actions, state)
# A knob is a note for people beside a policy's field; it is never in a journal.
CLASSES = [
    cls
    for module in MODULES
    for _, cls in inspect.getmembers(module, inspect.isclass)
    if attrs.has(cls) and cls.__module__ == module.__name__ and cls is not policy.Knob
]

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=None) | st.sampled_from(
    [Decimal("1E-7"), Decimal("2.0"), Decimal("2.00"), Decimal("-0.0"), Decimal("1E+3")]
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the core."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Decimal:
        return decimals
    if kind is int:
        return st.integers(min_value=-(2**63), max_value=2**64 - 1)
    if kind is str:
        return st.text(max_size=8)
    if kind is bool:
        return st.booleans()
    if kind is type(None):
        return st.none()
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and attrs.has(kind):
        attrs.resolve_types(kind)
        return st.builds(kind, **{f.name: values(f.type) for f in attrs.fields(kind)})
    if origin is tuple and args[1:] == (Ellipsis,):
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(arg) for arg in args))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(values(args[0]), values(args[1]), max_size=2)
    return st.one_of(*(values(arg) for arg in args))


def exactly(value: Any) -> str:
    """The value to the last digit: 2.0 and 2.00 are equal numbers and different values."""
    return repr(value)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_class_there_and_back(cls: type, data: Any) -> None:
    value = data.draw(values(cls))
    encoded = codec(cls).encode(value)
    again = codec(cls).decode(encoded)
    assert again == value
    assert _sorted(again) == _sorted(value)
    assert codec(cls).encode(again) == encoded


def _sorted(value: Any) -> str:
    """Like `exactly`, whatever order a mapping was built in."""
    if attrs.has(type(value)):
        return (
            f"{type(value).__name__}({[_sorted(v) for v in attrs.astuple(value, recurse=False)]})"
        )
    if isinstance(value, Mapping):
        return str(sorted((exactly(k), _sorted(v)) for k, v in value.items()))
    if isinstance(value, tuple):
        return str([_sorted(v) for v in value])
    return exactly(value)


def test_equal_mappings_give_equal_bytes() -> None:
    """The order in which a mapping was filled is not part of its value."""
    one = codec(dict[str, Decimal]).encode({"b": Decimal(1), "a": Decimal(2)})
    other = codec(dict[str, Decimal]).encode({"a": Decimal(2), "b": Decimal(1)})
    assert one == other == b'{"a":"2","b":"1"}'


def test_unions_are_told_apart_by_their_tag() -> None:
    asked: tuple[actions.Action, ...] = (
        actions.Fence(intent=1, nonce=2, why="unknown"),
        actions.Note(event="fee", coin=None, fields={"fee": "0.1"}),
    )
    kind = codec(tuple[actions.Action, ...])
    document = json.loads(kind.encode(asked))
    assert [row["$"] for row in document] == ["Fence", "Note"]
    assert kind.decode(kind.encode(asked)) == asked


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b'[{"$":"Fence","intent":1}]', "a field is missing"),
        (b'[{"$":"Nothing"}]', "a class that is not there"),
        (b'[{"intent":1}]', "no tag"),
        (b'[{"$":"Fence","intent":"x","nonce":2,"why":""}]', "another type"),
        (b"{", "no JSON"),
        (b'"Fence"', "no list"),
    ],
)
def test_what_does_not_fit_is_refused(broken: bytes, why: str) -> None:
    with pytest.raises(Undecodable):
        codec(tuple[actions.Action, ...]).decode(broken)


def test_a_type_without_a_rule_is_found_at_the_start() -> None:
    with pytest.raises(Uncodable, match="no rule"):
        codec(complex)
    with pytest.raises(Uncodable, match="told apart"):
        codec(Decimal | str)


def test_a_newer_schema_is_refused_and_an_older_one_migrated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Undecodable, match="newer"):
        codec(types.Level).decode(b'{"px":"1","sz":"2"}', SCHEMA + 1)
    with pytest.raises(Undecodable, match="missing required field"):
        codec(types.Level).decode(b'{"px":"1","size":"2"}', SCHEMA - 1)

    def renamed(document: text.Document) -> text.Document:
        return {"px": document["px"], "sz": document["size"]}

    monkeypatch.setattr(text, "MIGRATIONS", {SCHEMA - 1: renamed})
    old = codec(types.Level).decode(b'{"px":"1","size":"2"}', SCHEMA - 1)
    assert old == types.Level(Decimal(1), Decimal(2))


def test_a_state_of_a_hundred_objects_is_fast() -> None:
    """Well under a millisecond here; the bound is wide, so that a busy machine does not fail it."""
    levels = tuple(types.Level(Decimal(100) + n, Decimal("1.5")) for n in range(10))
    seen = state.Seen(types.Book(levels, levels, 1), 1)
    carries = {
        coin: state.Carry(coin=coin, books={"spot": seen, "perp": seen})
        for coin in ("BTC", "ETH", "HYPE")
    }
    whole = state.State(
        policy=policy.Policy(),
        capabilities=venue.Capabilities(
            fence=venue.FenceKind.NONCE,
            expiry_ms=1,
            nonce_ahead_ms_max=1,
            funding_interval_ms=1,
            min_exempt_full_close=True,
        ),
        carries=carries,
    )
    kind = codec(state.State)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert kind.decode(kind.encode(whole)) == whole
        took.append(time.perf_counter() - began)
    assert min(took) < 0.01
