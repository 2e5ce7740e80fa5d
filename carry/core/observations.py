"""What may be seen. Absent means "not observed", never zero.

Reads carry `issued_ms`: the monotonic clock when the request left. A read that failed is not here;
its source is named in `Observations.gaps`.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from .asked import Command
from .num import ZERO
from .policy import Policy
from .types import (
    AccountMode,
    Book,
    Fees,
    Fill,
    FundingPrint,
    FundingReceipt,
    Leg,
    Market,
    Side,
    Transfer,
)
from .venue import Capabilities

# --- outcomes of our own actions, in the order they were executed ---------------------------------


@attrs.frozen(kw_only=True)
class Accepted:
    """The venue took an order. `filled_sz`: executed at once; `resting`: the rest stays in the
    book.

    When not `resting` the order is gone: nothing more than `filled_sz` will fill.
    """

    intent: int
    oid: str
    filled_sz: Decimal
    resting: bool


@attrs.frozen(kw_only=True)
class Refused:
    """The venue answered no to an action. `code` is one of ours (see `REFUSALS`), `text` the
    venue's.
    """

    intent: int
    code: str
    text: str


@attrs.frozen(kw_only=True)
class NotSent:
    """No byte of an action left: local refusal, no connection, no budget, a dry run."""

    intent: int
    why: str


@attrs.frozen(kw_only=True)
class OutcomeUnknown:
    """Bytes of an action may have left, and no recognised answer came back."""

    intent: int
    why: str


@attrs.frozen(kw_only=True)
class Cancelled:
    """Answer to a cancel. `gone`: the venue says the order was already filled, cancelled or never
    placed.
    """

    intent: int
    gone: bool


@attrs.frozen(kw_only=True)
class CancelUnanswered:
    """A cancel that was refused for another reason, not sent, or not answered: it is repeated."""

    intent: int
    why: str


@attrs.frozen(kw_only=True)
class Done:
    """A write other than an order (leverage, a move between wallets) was carried out."""

    intent: int


@attrs.frozen(kw_only=True)
class FenceHeld:
    """The fence was accepted: the intent's own bytes can never land."""

    intent: int


@attrs.frozen(kw_only=True)
class NonceClosed:
    """The fence was refused as duplicate or too low: nothing more can land under that nonce."""

    intent: int


@attrs.frozen(kw_only=True)
class FenceUnanswered:
    """The fence got no decisive answer (unknown, no budget, not sent): it is repeated."""

    intent: int
    why: str


@attrs.frozen(kw_only=True)
class OrderRecord:
    """The venue's record of an order, by cloid. `status`: "open", "filled", "gone" or "unknown".

    "filled": the whole size executed. "gone": ended otherwise; fills say how much executed.
    "unknown": the venue has no such record (never placed, or evicted). `word`: the venue's own.
    """

    intent: int
    status: str
    oid: str | None
    word: str
    issued_ms: int


Outcome = (
    Accepted
    | Refused
    | NotSent
    | OutcomeUnknown
    | Cancelled
    | CancelUnanswered
    | Done
    | FenceHeld
    | NonceClosed
    | FenceUnanswered
    | OrderRecord
)

# The codes of `Refused`. What the venue's texts map to; anything else is "other".
REFUSALS = (
    "no_match",  # an IOC met nothing
    "post_only_crossed",  # a post-only order would have matched
    "post_only_window",  # the venue takes only post-only orders, after an upgrade
    "reduce_only",  # a reduce-only order would increase the position: it is already gone
    "min_notional",
    "margin",
    "balance",
    "tick",
    "lot",
    "price_band",  # too far from the reference price
    "oi_cap",
    "budget",  # the address's action budget
    "expired",  # the action reached the venue after its expiry
    "nonce",  # duplicate or too low
    "identity",  # unknown agent, or a signature recovered to another address
    "leverage",
    "disabled",  # not in this account mode
    "halted",  # the market does not trade
    "other",
)

# --- the stream: hints that may start a hedge, a repair or a cancel at once -----------------------


@attrs.frozen(kw_only=True)
class FillSeen:
    """A fill from the stream or a sweep; idempotent by its trade id."""

    fill: Fill


@attrs.frozen(kw_only=True)
class OrderSeen:
    """An order's state from the stream: `status` as in `OrderRecord` but never "unknown"."""

    cloid: str
    oid: str
    status: str
    word: str


@attrs.frozen(kw_only=True)
class BookSeen:
    """A book or best quote from the stream or a read; `seen_ms` is the monotonic receive time.

    full: True when it has depth (a read), False for a best bid and offer only.
    """

    coin: str
    leg: Leg
    book: Book
    seen_ms: int
    full: bool


Event = FillSeen | OrderSeen | BookSeen

# --- complete reads -------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class MarketsRead:
    """Metadata of the configured markets that could be decoded; others are named in `broken`."""

    markets: Mapping[str, Market]
    broken: Mapping[str, str]
    issued_ms: int


@attrs.frozen(kw_only=True)
class Context:
    """A market's numbers. `funding_rate`: predicted for the current interval, a fraction of
    notional.
    """

    mark_px: Decimal
    oracle_px: Decimal
    funding_rate: Decimal


@attrs.frozen(kw_only=True)
class ContextsRead:
    contexts: Mapping[str, Context]
    issued_ms: int


@attrs.frozen(kw_only=True)
class Position:
    """A perp position as the venue tells it. `sz` signed. `entry_ntl`: signed cost of `sz`, USD.

    value: signed worth at the mark when it was read, USD. rate: maintenance margin, a fraction of
    it. Both 0 where the venue does not tell.
    """

    sz: Decimal
    entry_ntl: Decimal
    margin_used: Decimal
    value: Decimal = attrs.field(default=ZERO, metadata={"since": 2})
    rate: Decimal = attrs.field(default=ZERO, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class PositionsRead:
    """The perp account, complete: a coin that is absent is flat (the venue omits closed positions).

    raw_usd: cash leg of the perp account (split), USD. equity and margin_used: as the venue tells
    them (split only). maintenance: maintenance margin in use, USD.
    """

    positions: Mapping[str, Position]
    raw_usd: Decimal
    equity: Decimal
    margin_used: Decimal
    maintenance: Decimal
    at_ms: int
    issued_ms: int


@attrs.frozen(kw_only=True)
class Balance:
    """A spot balance in base units (USD for the quote coin): `total` includes `hold`."""

    total: Decimal
    hold: Decimal


@attrs.frozen(kw_only=True)
class BalancesRead:
    """All spot balances, complete, by the market's coin; `usd` is the quote coin's balance."""

    usd: Balance
    coins: Mapping[str, Balance]
    issued_ms: int


@attrs.frozen(kw_only=True)
class OpenOrder:
    coin: str
    leg: Leg
    oid: str
    cloid: str | None
    side: Side
    px: Decimal
    sz: Decimal


@attrs.frozen(kw_only=True)
class OpenOrdersRead:
    """All orders resting on the account in the configured markets."""

    orders: tuple[OpenOrder, ...]
    issued_ms: int


@attrs.frozen(kw_only=True)
class FillsRead:
    """Fills of the account from `since_ms` (venue clock, inclusive) on, complete to the read."""

    fills: tuple[Fill, ...]
    since_ms: int
    issued_ms: int
    issued_venue_ms: int


@attrs.frozen(kw_only=True)
class ReceiptsRead:
    """Funding payments of the account from `since_ms` on, complete to the read."""

    receipts: tuple[FundingReceipt, ...]
    since_ms: int
    issued_ms: int


@attrs.frozen(kw_only=True)
class TransfersRead:
    transfers: tuple[Transfer, ...]
    since_ms: int
    issued_ms: int


@attrs.frozen(kw_only=True)
class PrintsRead:
    """Settled funding rates of a coin, ascending."""

    coin: str
    prints: tuple[FundingPrint, ...]
    issued_ms: int


@attrs.frozen(kw_only=True)
class ClosesRead:
    """Closing prices of the perp's finished candles, ascending; the forming candle is not among
    them.
    """

    coin: str
    interval: str
    closes: tuple[Decimal, ...]
    issued_ms: int


@attrs.frozen(kw_only=True)
class FeesRead:
    fees: Fees
    issued_ms: int


@attrs.frozen(kw_only=True)
class ModeRead:
    mode: AccountMode
    word: str
    issued_ms: int


@attrs.frozen(kw_only=True)
class LeverageRead:
    """The leverage setting of a coin, in force even when flat."""

    coin: str
    leverage: int
    cross: bool
    issued_ms: int


@attrs.frozen(kw_only=True)
class BudgetRead:
    """Actions the address may still send, over its lifetime."""

    actions_left: int
    issued_ms: int


@attrs.frozen(kw_only=True)
class AgentRead:
    """Until when the key may sign, venue clock ms; None when the venue names no end."""

    valid_until_at_ms: int | None
    issued_ms: int


Read = (
    MarketsRead
    | ContextsRead
    | PositionsRead
    | BalancesRead
    | OpenOrdersRead
    | FillsRead
    | ReceiptsRead
    | TransfersRead
    | PrintsRead
    | ClosesRead
    | FeesRead
    | ModeRead
    | LeverageRead
    | BudgetRead
    | AgentRead
)

# --- faults the shell found that only the core may answer -----------------------------------------


@attrs.frozen(kw_only=True)
class Fault:
    """`name`: "crash" (a guard failed) and "policy_check" (an order was refused before it was
    signed), which reduce; "signature", "journal", "identity", "overrun", which halt.
    """

    name: str
    text: str


@attrs.frozen(kw_only=True)
class Observations:
    """Everything one tick sees.

    mono_ms: monotonic clock, for ages and durations. wall_ms: the machine's clock, for nonces.
    venue_ms: the venue's clock (last stamp read + monotonic since), for expiry and funding; None
    until a first stamp was read. cause: "interval" or "urgent". restarted: first tick of a process.
    gaps: sources that failed or dropped messages. stopping: the operator asked the process to end.
    """

    mono_ms: int
    wall_ms: int
    venue_ms: int | None
    cause: str = "interval"
    restarted: bool = False
    stopping: bool = False
    once: bool = False
    policy: Policy | None = None
    capabilities: Capabilities | None = None
    journal_id: int | None = None
    outcomes: tuple[Outcome, ...] = ()
    events: tuple[Event, ...] = ()
    reads: tuple[Read, ...] = ()
    commands: tuple[Command, ...] = ()
    faults: tuple[Fault, ...] = ()
    gaps: tuple[str, ...] = ()
