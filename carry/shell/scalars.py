"""One value of the config: its text, read exactly as its `Knob` says, or refused with a sentence.

YAML's own reading of a value is never used: it turns `no` into false, `12:30` into 750, `0012` into
10 and `1e-4` into text, all in silence. The text in the file is what counts.
"""

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from carry.core.num import show
from carry.core.policy import Knob

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?")
PERCENT = re.compile(r"(?P<number>\S+?) ?%")
WHOLE = ("ms", "h", "count")
DECIMAL = ("rate", "usd", "ratio", "bps")
UNIT = {
    "rate": "a fraction, or with %",
    "usd": "USD",
    "ratio": "a number",
    "bps": "bps",
    "ms": "ms",
    "h": "hours",
    "count": "a whole number",
    "ids": "whole numbers",
    "choice": "a word",
    "interval": "a candle length",
    "bool": "true or false",
    "url": "an address",
    "address": "0x and 40 hex digits",
    "token": "0x and 32 hex digits",
    "path": "a file or folder",
    "text": "text",
    "secret": "a reference",
}
RATE_BARE_MAX = 2  # a bare rate from here on is more likely a percentage than a factor

# A private key, a chat bot's token, a mnemonic, and a password inside an address.
_SECRETS = (
    re.compile(r"(0x)?[0-9a-fA-F]{64}"),
    re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}"),
    re.compile(r"([a-z]{3,8} +){11,23}[a-z]{3,8}"),
    re.compile(r"[a-z0-9+]+://[^/\s]*:[^/\s]+@.*"),
)
_YES_NO = ("yes", "no", "on", "off", "true", "false", "y", "n")
_NOTHING = ("", "~", "null")


class Unreadable(Exception):
    """Why a value is refused: a clause that follows the key, and never shows a secret."""


def looks_secret(text: str) -> bool:
    return any(pattern.fullmatch(text.strip()) for pattern in _SECRETS)


def shown(text: str) -> str:
    """`text` fit for one line of an error: short, printable, never a secret."""
    if looks_secret(text):
        return f"a value of {len(text)} characters (not shown: it looks like a secret)"
    if len(text) > 40:
        return repr(text[:40]) + "..."
    return text if text and text.isprintable() and text == text.strip() else repr(text)


def limits(knob: Knob) -> str:
    """Its bounds in words, "" if it has none."""
    if knob.choices:
        return f"one of {', '.join(knob.choices)}" if len(knob.choices) > 1 else knob.choices[0]
    if knob.lo is None and knob.hi is None:
        return ""
    unit = f" {UNIT[knob.kind]}" if knob.kind in ("usd", "ms", "h", "bps") else ""
    return f"{written(knob, knob.lo)} to {written(knob, knob.hi)}{unit}"


def written(knob: Knob, value: Any) -> str:
    """A value as it is written in the file: rates with %, numbers without an exponent."""
    if value is None:
        return "left out"
    if isinstance(value, tuple):
        return f"[{', '.join(str(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if knob.kind == "rate":
        return show(Decimal(value).scaleb(2)) + "%"
    if isinstance(value, Decimal):
        return show(value)
    return str(value)


def read(knob: Knob, text: str, quoted: bool = False) -> Any:
    """The value of `text`. quoted: it stands in quotes, so it is text and no number.

    Raises:
        Unreadable: wrong type, or out of bounds.
    """
    if not quoted and text.lower() in _NOTHING:
        raise Unreadable("has no value; give one, or take the line out")
    if knob.kind in WHOLE:
        return _in_bounds(knob, _whole(knob, text, quoted), text)
    if knob.kind == "ids":
        return (_in_bounds(knob, _whole(knob, text, quoted), text),)
    if knob.kind == "rate":
        return _in_bounds(knob, _rate(text, quoted), text)
    if knob.kind in DECIMAL:
        return _in_bounds(knob, _number(knob, text, quoted), text)
    if knob.kind == "bool":
        if quoted or text not in ("true", "false"):
            raise Unreadable(f"{shown(text)} is not true or false; write one of these two words")
        return text == "true"
    if knob.choices:
        for choice in knob.choices:
            if text.lower() == choice:
                return choice
        raise Unreadable(f"{shown(text)} is not one of: {', '.join(knob.choices)}")
    return _special(knob, text)


def _special(knob: Knob, text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise Unreadable(f"{shown(text)} is not {UNIT[knob.kind]}")
    if knob.kind == "address":
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
            raise Unreadable(f"{shown(text)} is not an account: 0x and 40 hex digits")
        return text.lower()
    if knob.kind == "token":
        if not re.fullmatch(r"0x[0-9a-fA-F]{32}", text):
            raise Unreadable(f"{shown(text)} is not a token id: 0x and 32 hex digits")
        return text.lower()
    if knob.kind == "url":
        parts = urlsplit(text)
        plain = parts.scheme in ("http", "ws") and parts.hostname in (
            "127.0.0.1",
            "localhost",
            "::1",
        )
        if not parts.hostname or not (plain or parts.scheme in ("https", "wss")):
            raise Unreadable(
                f"{shown(text)} must begin with https:// or wss://; without encryption only this "
                "machine's own 127.0.0.1 is allowed"
            )
        return text.rstrip("/")
    return text


def _whole(knob: Knob, text: str, quoted: bool) -> int:
    number = _number(knob, text, quoted)
    if number != number.to_integral_value() or "." in text:
        unit = "" if knob.kind in ("count", "ids") else f" of {UNIT[knob.kind]}"
        raise Unreadable(f"{text} is not a whole number{unit}")
    return int(number)


def _rate(text: str, quoted: bool) -> Decimal:
    percent = PERCENT.fullmatch(text)
    if percent:
        number = percent["number"]
        if not NUMBER.fullmatch(number):
            raise Unreadable(f"{shown(text)} is not a percentage; write it like 2% or 0.5%")
        return _plain(Decimal(number).scaleb(-2))
    number_plain = _number(None, text, quoted)
    if abs(number_plain) >= RATE_BARE_MAX:
        raise Unreadable(
            f"{text} can be read as {text} % (then write {text}%) or as the fraction {text}, "
            f"which is {show(number_plain * 100)} % (then write {show(number_plain * 100)}%)"
        )
    return number_plain


def _number(knob: Knob | None, text: str, quoted: bool) -> Decimal:
    if NUMBER.fullmatch(text):
        if quoted:
            raise Unreadable(f'"{text}" is text because of its quotes; write {text}')
        return _plain(Decimal(text))
    raise Unreadable(f"{shown(text)} {_what_else(knob, text)}")


def _plain(number: Decimal) -> Decimal:
    """One form of each value: 10%, 0.1 and 0.10 must not make three different journals."""
    return Decimal(show(number))


def _what_else(knob: Knob | None, text: str) -> str:
    """What `text` is instead of a number, and what to write."""
    if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]{1,2}", text):
        return f"has an exponent, which YAML reads as text; write {show(Decimal(text))}"
    if re.fullmatch(r"-?0[0-9]+(\.[0-9]+)?", text):
        return f"begins with 0, which YAML reads as octal; write {show(Decimal(text))}"
    if re.fullmatch(r"[-+]?0[xob][0-9a-fA-F]+", text):
        return "is not a decimal number"
    if re.fullmatch(r"[0-9]+(:[0-9]+)+", text):
        return "is a time of day, which YAML reads in base 60; write one number"
    if text.lower() in _YES_NO:
        return "is a yes or no, not a number"
    if text.lower().lstrip("+-") in (".inf", ".nan", "inf", "nan", "infinity"):
        return "is not a finite number"
    bare = re.sub(r"(?<=[0-9])[_,' ](?=[0-9])", "", text).lstrip("+")
    if bare != text and NUMBER.fullmatch(bare):
        return f"has separators or a plus sign; write {bare}"
    with_unit = re.fullmatch(r"\$? ?(-?[0-9][0-9.]*) ?([A-Za-z$%]+)?", text)
    if with_unit and knob is not None and NUMBER.fullmatch(with_unit[1]):
        return f"has a unit; this key is always in {UNIT[knob.kind]}: write the number alone"
    return "is not a number"


def _in_bounds(knob: Knob, value: Any, text: str) -> Any:
    for bound, broken, word in (
        (knob.lo, knob.lo is not None and value < knob.lo, "below"),
        (knob.hi, knob.hi is not None and value > knob.hi, "above"),
    ):
        if broken:
            raise Unreadable(
                f"{text} is {word} {written(knob, bound)}; allowed is {limits(knob)} ({knob.why})"
            )
    return value
