"""Core values to JSON text and back, without loss: what the journal keeps.

Driven by the resolved types of the attrs classes and compiled once per type. What msgspec writes
and reads by itself (numbers, text, `Decimal` as its exact text, enums by value, tuples, plain
classes) is left to it; this module adds what it cannot know: the class tag where a type is a union
of classes. Mapping keys are sorted, so that equal values give equal bytes.

The text is stable: a renamed class or field is another schema, with a function in `MIGRATIONS`.
"""

import enum
import functools
import hashlib
import operator
import types
import typing
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

import attrs
import msgspec

from carry.core.policy import Policy
from carry.core.state import SCHEMA
from carry.core.types import Market
from carry.core.venue import Capabilities

T = TypeVar("T")
Document = dict[str, Any]
Convert = Callable[[Any], Any]

MIGRATIONS: Final[Mapping[int, Callable[[Document], Document]]] = {}
"""From version n to n + 1: a pure function of the parsed document. A version that only added
fields needs none: each says since when it is there, and an older document takes its default."""

STANDING: Final = (Policy, Capabilities, Market)
STANDING_MAX: Final = 64

TAG: Final = "$"

_TO_JSON = msgspec.json.Encoder(order="deterministic")
_FROM_JSON = msgspec.json.Decoder()
_PLAIN = (str, int, bool, type(None))


UNREADABLE: Final = (
    msgspec.MsgspecError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
)


class Undecodable(Exception):
    """A document that does not fit its type: another schema, or a damaged file."""


class Uncodable(TypeError):
    """A type the codec has no rule for: found when the program starts, not when money moves."""


@attrs.frozen
class _Rule:
    """How one type is written and read. None: msgspec's own way needs no help.

    plain: the parsed JSON already is the value, so that reading converts nothing.
    """

    encode: Convert | None
    decode: Convert | None
    plain: bool = False


class Codec(Generic[T]):
    """Encoder and decoder of one type, made by `codec`."""

    def __init__(self, kind: Any) -> None:
        rule = _rule(kind)
        self._encode = rule.encode
        self._decode = rule.decode or (_same if rule.plain else _native(kind))

    def encode(self, value: T) -> bytes:
        return _TO_JSON.encode(self._encode(value) if self._encode else value)

    def decode(self, text: bytes | str, schema: int = SCHEMA) -> T:
        """The value of `text`, migrated when it was written under an older `schema`."""
        try:
            document = _FROM_JSON.decode(text)
            if schema != SCHEMA:
                document = migrate(schema, document)
            return typing.cast(T, self._decode(document))
        except UNREADABLE as error:
            raise Undecodable(f"{type(error).__name__}: {error}") from error


@functools.cache
def codec(kind: Any) -> Codec[Any]:
    """The codec of an attrs class, a union of them, or a tuple or mapping of either."""
    return Codec(kind)


def digest(text: bytes) -> str:
    """SHA-256 of an encoded value, hex."""
    return hashlib.sha256(text).hexdigest()


def migrate(version: int, document: Document) -> Document:
    """`document` of schema `version`, brought to `SCHEMA` by one pure function a version."""
    if version > SCHEMA:
        raise Undecodable(f"schema {version} is newer than this program's {SCHEMA}")
    for n in range(version, SCHEMA):
        if n in MIGRATIONS:
            document = MIGRATIONS[n](document)
    return document


# --- rules by type ------------------------------------------------------------------------------


@functools.cache
def _rule(kind: Any) -> _Rule:
    origin = typing.get_origin(kind)
    if kind in _PLAIN:
        return _Rule(None, None, plain=True)
    if kind is Decimal:
        return _Rule(None, Decimal)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _Rule(None, {member.value: member for member in kind}.__getitem__)
    if isinstance(kind, type) and attrs.has(kind):
        return _class_rule(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_rule(kind)
    if origin is tuple:
        return _tuple_rule(kind)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_rule(kind)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Set):
        return _set_rule(kind)
    raise Uncodable(f"no rule for {kind}")


def _same(value: Any) -> Any:
    return value


def _native(kind: Any) -> Convert:
    return functools.partial(msgspec.convert, type=kind, str_keys=True)


_BEING_MADE: set[type] = set()


def _class_rule(cls: type) -> _Rule:
    if cls in _BEING_MADE:  # A class that contains itself: its rule is looked up when it is used.
        return _Rule(lambda value: _both(cls)[0](value), lambda doc: _both(cls)[1](doc))
    _BEING_MADE.add(cls)
    try:
        fields = [(f.alias or f.name, f.name, f.type) for f in _fields(cls)]
        rules = [(alias, name, _rule(kind)) for alias, name, kind in fields]
    finally:
        _BEING_MADE.discard(cls)
    encoders = [(name, rule.encode) for _, name, rule in rules if rule.encode]
    if not encoders and all(alias == name for alias, name, _ in fields):
        found = _Rule(None, _native(cls))
    else:
        found = _Rule(_class_encoder(fields, encoders), _class_decoder(cls, fields, rules))
    return attrs.evolve(found, encode=_once(found.encode)) if cls in STANDING else found


def _once(encode: Convert | None) -> Convert:
    """Write a value once, and its bytes from then on: a policy is the same tick after tick."""
    written: dict[int, tuple[Any, msgspec.Raw]] = {}

    def raw(value: Any) -> msgspec.Raw:
        kept = written.get(id(value))  # The value is kept with its bytes: its id is nobody else's.
        if kept is None:
            if len(written) >= STANDING_MAX:
                written.clear()
            text = _TO_JSON.encode(encode(value) if encode else value)
            kept = written[id(value)] = value, msgspec.Raw(text)
        return kept[1]

    return raw


def _fields(cls: type) -> list[Any]:
    attrs.resolve_types(cls)
    return [field for field in attrs.fields(cls) if field.init]


def _class_encoder(fields: list[Any], encoders: list[tuple[str, Convert]]) -> Convert:
    names = [name for _, name, _ in fields]
    if len(names) == 1:
        only, convert_only = encoders[0]
        return lambda value: {only: convert_only(getattr(value, only))}
    values_of = operator.attrgetter(*names)

    def encode(value: Any) -> Document:
        document = dict(zip(names, values_of(value), strict=True))
        for name, convert in encoders:
            document[name] = convert(document[name])
        return document

    return encode


def _class_decoder(cls: type, fields: list[Any], rules: list[tuple[str, str, _Rule]]) -> Convert:
    kinds = {name: kind for _, name, kind in fields}
    decoders = [
        (name, rule.decode or _native(kinds[name])) for _, name, rule in rules if not rule.plain
    ]
    aliases = [(alias, name) for alias, name, _ in rules if alias != name]
    names = {name for _, name, _ in fields}
    added = {field.name for field in _fields(cls) if field.metadata.get("since", 1) > 1}

    def decode(document: Document) -> Any:
        keys = document.keys()
        if keys != names and (keys - names or names - keys - added):
            # A default would otherwise stand in for what was never written.
            raise Undecodable(f"{cls.__name__} with the keys {', '.join(sorted(document))}")
        for name, convert in decoders:
            if name in document:
                document[name] = convert(document[name])
        for alias, name in aliases:
            document[alias] = document.pop(name)
        return cls(**document)

    return decode


def _both(cls: type) -> tuple[Convert, Convert]:
    rule = _rule(cls)
    return rule.encode or _same, rule.decode or _native(cls)


def _union_rule(kind: Any) -> _Rule:
    members = typing.get_args(kind)
    rest = [m for m in members if m is not type(None)]
    if len(rest) == 1:
        return _optional_rule(rest[0], kind)
    if not all(isinstance(m, type) and attrs.has(m) for m in rest):
        if all(m in _PLAIN for m in rest):
            return _Rule(None, None, plain=True)
        raise Uncodable(f"{kind}: a union of more than classes cannot be told apart in JSON")
    encoders: dict[type, Convert | None] = {}
    decoders: dict[str, Convert] = {}
    for cls in rest:
        rule = _rule(cls)
        encoders[cls] = _tagged(cls, rule)
        if cls.__name__ in decoders:
            raise Uncodable(f"{kind}: two classes are named {cls.__name__}")
        decoders[cls.__name__] = rule.decode or _native(cls)
    optional = len(rest) != len(members)

    def encode(value: Any) -> Any:
        if value is None and optional:
            return None
        convert = encoders.get(type(value))
        if convert is None:
            raise Uncodable(f"{type(value).__name__} is none of {kind}")
        return convert(value)

    def decode(document: Any) -> Any:
        if document is None and optional:
            return None
        return decoders[document.pop(TAG)](document)

    return _Rule(encode, decode)


def _tagged(cls: type, rule: _Rule) -> Convert:
    if rule.encode is None:
        names = [field.name for field in _fields(cls)]
        if not names:
            return lambda value: {TAG: cls.__name__}
        if len(names) == 1:
            only = names[0]
            return lambda value: {TAG: cls.__name__, only: getattr(value, only)}
        keys = [TAG, *names]
        values_of = operator.attrgetter("__class__.__name__", *names)
        return lambda value: dict(zip(keys, values_of(value), strict=True))
    encode = rule.encode
    return lambda value: {TAG: cls.__name__, **encode(value)}


def _optional_rule(kind: Any, union: Any) -> _Rule:
    rule = _rule(kind)
    if rule.plain:
        return rule
    encode, decode = rule.encode, rule.decode or _native(kind)
    return _Rule(
        None if encode is None else lambda v: None if v is None else encode(v),
        lambda v: None if v is None else decode(v),
    )


def _tuple_rule(kind: Any) -> _Rule:
    args = typing.get_args(kind)
    if len(args) == 2 and args[1] is Ellipsis:
        rule = _rule(args[0])
        if rule.encode is None:
            return _Rule(None, tuple if rule.plain else _native(kind))
        encode, decode = rule.encode, rule.decode or _native(args[0])
        return _Rule(lambda v: [encode(x) for x in v], lambda v: tuple([decode(x) for x in v]))
    rules = [_rule(arg) for arg in args]
    if not any(rule.encode for rule in rules):
        return _Rule(None, _native(kind))
    encoders = [rule.encode or _same for rule in rules]
    decoders = [
        rule.decode or (_same if rule.plain else _native(arg))
        for rule, arg in zip(rules, args, strict=True)
    ]
    return _Rule(
        lambda v: [f(x) for f, x in zip(encoders, v, strict=True)],
        lambda v: tuple([f(x) for f, x in zip(decoders, v, strict=True)]),
    )


def _mapping_rule(kind: Any) -> _Rule:
    key, value = typing.get_args(kind)
    rule = _rule(value)
    if not _is_text_key(key):
        return _pairs_rule(key, value)
    encode = rule.encode
    decode = rule.decode or (_same if rule.plain else _native(value))
    if encode is None:
        # Mypy reads a subscript as a type to check; here it is a value made at run time.
        return _Rule(None, _native(dict[key, value]))  # type: ignore[valid-type]
    read_key = _key_reader(key)
    return _Rule(
        lambda v: {k: encode(x) for k, x in v.items()},
        lambda v: {read_key(k): decode(x) for k, x in v.items()},
    )


def _is_text_key(key: Any) -> bool:
    if key in (str, int):
        return True
    return (
        isinstance(key, type)
        and issubclass(key, enum.Enum)
        and all(isinstance(member.value, str) for member in key)
    )


def _key_reader(key: Any) -> Convert:
    if key is str:
        return _same
    if key is int:
        return int
    return _rule(key).decode or _same


def _pairs_rule(key: Any, value: Any) -> _Rule:
    """A mapping whose keys are no text: a list of pairs, sorted by the key's own text."""
    pair = _tuple_rule(tuple[key, value])
    encode = pair.encode or list
    decode = pair.decode or _same

    def write(mapping: Mapping[Any, Any]) -> list[Any]:
        pairs = (encode(item) for item in mapping.items())
        return sorted(pairs, key=lambda p: _TO_JSON.encode(p[0]))

    return _Rule(write, lambda v: dict([decode(item) for item in v]))


def _set_rule(kind: Any) -> _Rule:
    (member,) = typing.get_args(kind)
    rule = _rule(member)
    encode, decode = rule.encode or _same, rule.decode or (_same if rule.plain else _native(member))
    return _Rule(
        lambda v: sorted((encode(x) for x in v), key=_TO_JSON.encode),
        lambda v: frozenset([decode(x) for x in v]),
    )
