"""The configurations of a sweep: every combination of the values named, or so many drawn.

Values are written as in the config and checked by the same rules; a combination that the config
would be refused for is left out and counted.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.core.policy import SECTIONS, Knob, Policy, knobs
from carry.core.relations import contradictions
from carry.shell.scalars import Unreadable, read, written

STEPS: Final = 1_000  # a drawn value is one of so many between its bounds
WHOLE: Final = ("ms", "h", "count")
Settings = tuple[tuple[str, str], ...]


class BadSpace(Exception):
    """What is to be varied cannot be. Names the key, the value and what would do."""


@attrs.frozen(kw_only=True)
class Axis:
    """A key with what it may be: `values` as written, or any between `low` and `high`."""

    key: str
    knob: Knob
    values: tuple[str, ...] = ()
    low: Any = None
    high: Any = None

    @property
    def drawn(self) -> bool:
        return self.low is not None

    @property
    def ordered(self) -> bool:
        """Whether its values have a first and a last."""
        return self.knob.kind in (*WHOLE, "rate", "usd", "ratio", "bps")


@attrs.frozen(kw_only=True)
class Config:
    """One configuration: its number (0 is the policy as it is), what it sets, and the policy."""

    number: int
    settings: Settings
    policy: Policy


def axis(text: str) -> Axis:
    """Read KEY=A,B,C or KEY=LOW..HIGH. Raises BadSpace."""
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not values.strip():
        raise BadSpace(f"{text!r}: write KEY=A,B,C or KEY=LOW..HIGH")
    full, knob = _knob(key)
    low, dots, high = values.partition("..")
    try:
        if dots:
            bounds = read(knob, low.strip()), read(knob, high.strip())
            if not isinstance(bounds[0], int | Decimal) or not bounds[0] < bounds[1]:
                raise BadSpace(f"{full}: {values} is no range of numbers, the lower one first")
            return Axis(key=full, knob=knob, low=bounds[0], high=bounds[1])
        names = [value.strip() for value in values.split(",")]
        return Axis(
            key=full, knob=knob, values=tuple(written(knob, read(knob, name)) for name in names)
        )
    except Unreadable as error:
        raise BadSpace(f"{full}: {error}") from None


def _knob(key: str) -> tuple[str, Knob]:
    default = Policy()
    known = {
        f"{section}.{name}": knob
        for section in SECTIONS
        for name, knob, _ in knobs(type(getattr(default, section)))
    }
    full = key if key in known else next((k for k in known if k.endswith(f".{key}")), None)
    if full is None:
        import difflib

        near = difflib.get_close_matches(key, [*known, *(k.split(".")[1] for k in known)], n=1)
        raise BadSpace(f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else ""))
    return full, known[full]


def configs(
    base: Policy, axes: Sequence[Axis], draws: int | None, seed: int
) -> tuple[list[Config], int]:
    """The policy as it is and every other configuration, and how many contradict themselves.

    draws: so many drawn at random (each once), else the whole grid. Raises BadSpace.
    """
    if draws is None and any(each.drawn for each in axes):
        name = next(each.key for each in axes if each.drawn)
        raise BadSpace(f"{name}: a range has no end of values; add --random N, or name them")
    found = [Config(number=0, settings=(), policy=base)]
    dropped = 0
    for settings in _drawn(axes, draws, seed) if draws is not None else _grid(axes):
        policy = applied(base, axes, settings)
        if contradictions(policy):
            dropped += 1
        else:
            found.append(Config(number=len(found), settings=settings, policy=policy))
    return found, dropped


def applied(base: Policy, axes: Sequence[Axis], settings: Settings) -> Policy:
    by_key = {each.key: each.knob for each in axes}
    for key, text in settings:
        section, _, name = key.partition(".")
        part = attrs.evolve(getattr(base, section), **{name: read(by_key[key], text)})
        base = attrs.evolve(base, **{section: part})
    return base


def _grid(axes: Sequence[Axis]) -> Iterator[Settings]:
    for combination in itertools.product(*(each.values for each in axes)):
        yield tuple(zip((each.key for each in axes), combination, strict=True))


def _drawn(axes: Sequence[Axis], draws: int, seed: int) -> Iterator[Settings]:
    """`draws` different ones; fewer when there are not so many."""
    stream, seen = random.Random(f"sweep {seed}"), set[Settings]()
    for _ in range(draws * 20):
        if len(seen) == draws:
            return
        settings = tuple((each.key, _value(each, stream)) for each in axes)
        if settings not in seen:
            seen.add(settings)
            yield settings


def _value(each: Axis, stream: random.Random) -> str:
    if not each.drawn:
        return stream.choice(each.values)
    if each.knob.kind in WHOLE:
        return written(each.knob, stream.randint(each.low, each.high))
    step = (each.high - each.low) * stream.randint(0, STEPS) / STEPS
    return written(each.knob, (each.low + step).quantize(Decimal("1e-8")).normalize())
