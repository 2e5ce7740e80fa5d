"""What a reply means, and nothing else: taken, refused, or unknown. Pure.

A refusal is only what the venue's own list says is one. All else (5xx, HTML, a code that is not
in the list, a body that is no JSON) leaves a write unknown. Source: Aster API docs V3, "Error
codes" and "HTTP return codes": 503 and -1006, -1007 are unknown by the venue's own word.
"""

from collections.abc import Mapping

import attrs
import msgspec


@attrs.frozen
class Taken:
    """The venue did what was asked. `body`: its JSON. `sent_ms`: monotonic, when it was asked."""

    body: bytes
    sent_ms: int = 0


@attrs.frozen
class Refused:
    """The venue said no: its code and text, and `word`, ours for it (core's REFUSALS)."""

    code: int
    text: str
    word: str


@attrs.frozen
class Unknown:
    """Bytes left and nothing decisive came back; `why` names what did. `status`: 0 for none.

    html: the reply was a web page where JSON belongs (seen on signed spot reads).
    """

    why: str
    status: int = 0
    html: bool = False


@attrs.frozen
class NotSent:
    """No byte left."""

    why: str


Answer = Taken | Refused | Unknown | NotSent

UNKNOWN_CODES = (-1000, -1001, -1006, -1007)
NO_SUCH_ORDER = (-2011, -2013)
"""Cancel and query of an order the venue does not have (any more, or yet)."""

WORDS: Mapping[int, str] = {
    -1002: "identity",
    -1003: "budget",
    -1015: "budget",
    -1021: "nonce",
    -1022: "identity",
    -1111: "tick",
    -1121: "other",
    -2010: "other",
    -2011: "other",
    -2013: "other",
    -2014: "identity",
    -2015: "identity",
    -2018: "balance",
    -2019: "margin",
    -2021: "other",
    -2022: "reduce_only",
    -2024: "balance",
    -2025: "other",
    -2027: "margin",
    -2028: "leverage",
    -4001: "price_band",
    -4002: "price_band",
    -4003: "lot",
    -4004: "lot",
    -4005: "lot",
    -4013: "price_band",
    -4014: "tick",
    -4015: "other",
    -4016: "price_band",
    -4023: "lot",
    -4024: "price_band",
    -4028: "leverage",
    -4046: "leverage",
    -4059: "other",
    -4061: "other",
    -4062: "reduce_only",
    -4067: "other",
    -4068: "other",
    -4087: "disabled",
    -4088: "disabled",
    -4114: "other",
    -4115: "other",
    -4116: "other",
    -4131: "price_band",
    -4164: "min_notional",
    -4168: "leverage",
    -4225: "nonce",
    -5021: "no_match",
    -5022: "post_only_crossed",
    -5060: "price_band",
    -5076: "min_notional",
}
"""Code -> our word. -1100 to -1130 (malformed requests) are refusals as well: "other"."""

_MALFORMED = range(-1130, -1099)

NEXT_STEP: Mapping[str, str] = {
    "identity": "check account.address and the agent's key, and that the agent is approved, not "
    "expired, may trade, and that its IP list has this machine",
    "nonce": "the machine's clock, or another program signing for the same account: set the clock "
    "(NTP), then try again",
    "balance": "put funds into the spot wallet, or ask for a smaller --notional",
    "margin": "move USDT into the futures wallet, or ask for a smaller --notional",
    "budget": "wait a minute, then try again",
    "price_band": "ask for fewer --offset-ticks",
    "min_notional": "ask for a larger --notional",
    "tick": "take the tick override out of the config",
    "lot": "take the step override out of the config",
    "disabled": "give the agent the right to trade at the venue's API wallet page",
}


class _Error(msgspec.Struct):
    code: int | str
    msg: str = ""


def read_reply(status: int, body: bytes, sent_ms: int) -> Answer:
    """What a complete reply says."""
    if status in (403, 418, 429):
        limit = "the venue limits this address" if status != 403 else "its firewall refused"
        return Unknown(f"HTTP {status}: {limit}: {shorten(body)}", status)
    error = _error(body)
    if status >= 500:
        if error is not None:
            return Unknown(f"HTTP {status}, code {error[0]}: {error[1]}", status)
        html = body.lstrip()[:1] == b"<"
        what = "an HTML page" if html else shorten(body) or "no text"
        return Unknown(f"HTTP {status}: {what}", status, html)
    if error is not None and error[0] < 0:
        return refusal(*error, status)
    if status == 200 and is_json(body):
        return Taken(body, sent_ms)
    html = body.lstrip()[:1] == b"<"
    return Unknown(f"HTTP {status}: {shorten(body) or 'no text'}", status, html)


def refusal(code: int, text: str, status: int) -> Refused | Unknown:
    """A negative code as the list has it; what it does not have proves nothing."""
    word = WORDS.get(code, "other" if code in _MALFORMED else None)
    if code in UNKNOWN_CODES or word is None:
        return Unknown(f"code {code}: {text}", status)
    return Refused(code, text, word)


def refusal_text(refused: Refused) -> str:
    """A refusal in the venue's own words, with its number."""
    return f"code {refused.code}: {refused.text}"


def is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def _error(body: bytes) -> tuple[int, str] | None:
    """Code and text of an error's body; some codes come as text ("200" of a mass cancel)."""
    try:
        row = msgspec.json.decode(body, type=_Error)
        return int(row.code), " ".join(row.msg[:200].split())
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return None


def shorten(body: bytes) -> str:
    """The start of a reply, on one line, for an operator."""
    return " ".join(body[:120].decode("utf-8", "replace").split())
