"""Replies with one part changed, 10,000 of them: a used part shows, an unused one does not.

Whether a part is used is found out, not told: all its changes must be noticed, or none. Noticed is
another value or an unreadable reply; any other exception fails. The replies are made up in recorded
shapes; those that were recorded are changed in test_recorded.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from carry.venues.base import ReadFailed
from carry.venues.hyperliquid import parse
from tests.venues.hyperliquid.support import encoded
from tests.venues.hyperliquid.test_fuzz import READS

COUNT = 10_000
UNREADABLE = "unreadable"
Read = Callable[[bytes], Any]
Path = tuple[Any, ...]

# Parts that matter in some of their values only, with why.
CHOOSY = {
    "maxLeverage": "the lower one of the universe and of its table's first tier counts",
    "marginTableId": "a table that is not listed is a flat tier of the universe's own leverage",
    "szDecimals": "the quote token's: its row must be readable, its decimals are not used",
    "t": "orders the candles",
    "T": "tells whether a candle has ended",
    "coin": "of a balance: the token's number tells whose it is, the name is checked of USDC",
    "feeToken": "a perp's fee is USD whatever it is called; of a transfer only USDC counts",
    "destination": "our own transfer out goes to anybody else",
}


def spots(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every leaf of a JSON value."""
    if isinstance(value, dict):
        for key in value:
            yield from spots(value[key], (*path, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from spots(item, (*path, n))
    else:
        yield path


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def changed(value: Any, path: Path, new: Any) -> bytes:
    """The reply with another leaf at `path`."""
    made = copy.deepcopy(value)
    at(made, path[:-1])[path[-1]] = new
    return encoded(made)


def others(value: Any, rng: random.Random) -> Any:
    """A leaf that means something else than `value`, or nothing at all."""
    junk = rng.choice(["NaN", "Infinity", "1e400", "１", "", "0x", [], {}, [[]], 1.5, -1])
    if isinstance(value, bool):
        return rng.choice([not value, junk])
    if isinstance(value, int):
        return rng.choice([value + 1, value + 977, str(value), junk])
        try:
            return rng.choice([f"{float(value) + 1.25}", f"-{value}x", junk])
        except ValueError:
            return rng.choice([value + "x", value[1:] + "_", junk])
    return junk


def outcome(read: Read, body: bytes) -> Any:
    try:
        with parse.reading("x"):
            return read(body)
    except ReadFailed as failed:
        assert failed.kind == UNREADABLE
        return UNREADABLE


@pytest.mark.parametrize(
    "number", [n for n, (value, _) in enumerate(READS) if isinstance(value, dict | list)]
)
def test_a_used_part_shows_and_an_unused_one_does_not(number: int) -> None:
    value, read = READS[number]
    value = json.loads(json.dumps(value))
    rng = random.Random(number)
    whole = outcome(read, encoded(value))
    assert whole != UNREADABLE
    places = list(spots(value))
    noticed: dict[Path, set[bool]] = {path: set() for path in places}
    for _ in range(COUNT // len(READS)):
        path = rng.choice(places)
        new = others(at(value, path), rng)
        if new != at(value, path) or type(new) is not type(at(value, path)):
            noticed[path].add(outcome(read, changed(value, path, new)) != whole)
    choosy = {
        path for path, seen in noticed.items()
        if len(seen) == 2 and path[-1] not in CHOOSY
    }  # fmt: skip
    assert not choosy, sorted(choosy, key=str)
    assert any(True in seen for seen in noticed.values())
