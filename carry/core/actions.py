"""What may be asked of the shell. Every action that reaches the venue says why.

Writes (`Place`, `Cancel`, `Fence`, `SetLeverage`, `MoveUsd`) carry the nonce and the expiry that
the core allocated and the journal keeps; the shell adds nothing to them. `expires_ms` is the
venue's clock.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from .num import ZERO
from .types import Leg, Side, Tif


@attrs.frozen(kw_only=True)
class Place:
    """An order. `intent` is its number in the journal, `cloid` its name at the venue (0x + 32
    hex).
    """

    intent: int
    coin: str
    leg: Leg
    side: Side
    px: Decimal
    sz: Decimal
    tif: Tif
    reduce_only: bool
    cloid: str
    nonce: int
    expires_ms: int
    why: str


@attrs.frozen(kw_only=True)
class Cancel:
    """Withdraw an order by its cloid. Safe to repeat, each time with a new nonce."""

    intent: int
    coin: str
    leg: Leg
    cloid: str
    nonce: int
    expires_ms: int
    why: str


@attrs.frozen(kw_only=True)
class CancelForeign:
    """Withdraw an order with one of our cloids for which the journal holds no intent."""

    coin: str
    leg: Leg
    oid: str
    nonce: int
    expires_ms: int
    why: str


@attrs.frozen(kw_only=True)
class SetLeverage:
    """Set a perp's leverage and margin type; read again before it is believed."""

    intent: int
    coin: str
    leverage: int
    cross: bool
    nonce: int
    expires_ms: int
    why: str


@attrs.frozen(kw_only=True)
class MoveUsd:
    """Move `usd` (> 0) between the wallets of a split account: into the perp's, or out of it."""

    intent: int
    usd: Decimal
    to_perp: bool
    nonce: int
    expires_ms: int
    why: str


@attrs.frozen(kw_only=True)
class Fence:
    """Burn the nonce of an intent whose outcome is unknown, with an action that does nothing."""

    intent: int
    nonce: int
    why: str


@attrs.frozen(kw_only=True)
class Query:
    """Ask for the venue's record of an order, by cloid."""

    intent: int
    coin: str
    leg: Leg
    cloid: str
    why: str


@attrs.frozen(kw_only=True)
class Alert:
    """Something an operator must hear. `level`: "info", "warn" or "page"; `name` is the key it is
    coalesced by; `text` is a whole sentence with value, consequence and next step."""

    level: str
    name: str
    coin: str | None
    text: str


@attrs.frozen(kw_only=True)
class Note:
    """A structured event for the log (docs/EVENTS.md). Values are text, canonical."""

    event: str
    coin: str | None
    fields: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Posting:
    """One line of the ledger, for the books: what was booked, why, and by how much it changed each
    total. USD unless said otherwise; the totals of the state are the sums of these, line by line.

    kind: "fill" (ours), "external" (others' trade, or a change nothing explains), "funding",
    "transfer", "adopted", "handed_over", "written_off". ref: the venue's id of it, "" for none.
    at_ms: when it happened, the venue's clock. sz: signed change of what is owned of `leg`, base
    units, net of a fee taken in the coin, at `px` (0: it cost nothing); ref_px: what it is carried
    at. fees_usd > 0 paid; funding_usd > 0 received. outside_*: the part that is not ours, see
    `state.Outside`; foreign_usd is what its holdings were worth when they came.
    """

    kind: str
    ref: str
    at_ms: int
    coin: str | None
    leg: Leg | None = None
    sz: Decimal = ZERO
    px: Decimal = ZERO
    ref_px: Decimal = ZERO
    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    slippage_usd: Decimal = ZERO
    external_usd: Decimal = ZERO
    ref_cost_usd: Decimal = ZERO
    turnover_usd: Decimal = ZERO
    transfers_usd: Decimal = ZERO
    foreign_usd: Decimal = ZERO
    outside_usd: Decimal = ZERO


Write = Place | Cancel | CancelForeign | SetLeverage | MoveUsd | Fence
Action = Write | Query | Alert | Note | Posting
