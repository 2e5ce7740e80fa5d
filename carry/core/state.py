"""What is remembered between ticks: phases, intents, positions, the account, latches.

All times without `at` in their name are the monotonic clock, ms. Positions are signed base units.
Mappings are replaced, never edited; their keys are text so that the journal stays plain JSON.
"""

import enum
from collections.abc import Iterator, Mapping
from decimal import Decimal

import attrs

from .limits import Limits, Moved, Shrink
from .num import ZERO
from .observations import Balance, Context, OpenOrder, Position
from .policy import Policy
from .types import AccountMode, Book, Fees, Leg, Market, Side, Tif
from .types import Condition as Condition
from .venue import Capabilities

SCHEMA = 2  # the shape of State and Observations in the journal
RULES = 4  # the decisions: replay promises 0 differences under the same number

# --- phases ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Idle:
    """Nothing is held but dust. No entry before `until_ms` (a cooldown)."""

    until_ms: int = 0


@attrs.frozen(kw_only=True)
class Enter:
    """Buying spot up to `target_sz` in slices, each hedged. `stalled_ms`: time without progress.
    from_sz: spot that was held before; it stays when the rest comes to nothing."""

    since_ms: int
    target_sz: Decimal
    stalled_ms: int = 0
    from_sz: Decimal = attrs.field(default=ZERO, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class HedgeOk:
    """Held and hedged. `leaving_ms`: since when the reasons to leave hold, None when they do not.
    No discretionary exit before `until_ms` (after one that failed). `shrink`: what goes out."""

    since_ms: int
    leaving_ms: int | None = None
    until_ms: int = 0
    shrink: Shrink | None = attrs.field(default=None, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Exit:
    """Shrinking both legs to nothing. `forced`: never put off (operator, risk, a failed entry)."""

    since_ms: int
    why: str
    forced: bool
    stalled_ms: int = 0


Phase = Idle | Enter | HedgeOk | Exit

# What each phase is called by people and programs.
PHASE_NAMES: Mapping[type, str] = {
    Idle: "IDLE",
    Enter: "ENTER",
    HedgeOk: "HEDGE_OK",
    Exit: "EXIT",
}

# The legal moves. `step` asserts them; the diagram in docs/ARCHITECTURE.md is made from them.
MAY_FOLLOW: Mapping[type, tuple[type, ...]] = {
    Idle: (Idle, Enter, HedgeOk),
    Enter: (Enter, HedgeOk, Exit, Idle),
    HedgeOk: (HedgeOk, Enter, Exit),
    Exit: (Exit, HedgeOk, Idle),
}

# --- intents --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Sent:
    """Journaled, and handed to the shell in the same tick."""


@attrs.frozen(kw_only=True)
class Open:
    """The venue holds it; it may fill. `cancelled_ms`: when a cancel was last asked for."""

    since_ms: int
    cancelled_ms: int | None = None


@attrs.frozen(kw_only=True)
class Ended:
    """Gone at the venue with a known filled size; its leg is held until the fills are booked."""

    since_ms: int


@attrs.frozen(kw_only=True)
class Witness:
    """What one look showed of a closed intent: `filled_sz` by fills, at the venue's `at_ms`."""

    filled_sz: Decimal
    at_ms: int


@attrs.frozen(kw_only=True)
class Unknown:
    """Nobody knows whether it landed. Fenced, then decided by the venue's record and its fills.

    fenced_ms: when the fence was last sent. closed_at_ms: venue time from which nothing more can
    land under its nonce, None while it can. record: the venue's word on it since then, None before.
    doubled: the order itself was refused because its nonce was used. undecided_ms: how long the
    venue answered without deciding it.
    """

    since_ms: int
    fenced_ms: int | None = None
    closed_at_ms: int | None = None
    record: str | None = None
    witness: Witness | None = None
    doubled: bool = False
    undecided_ms: int = 0


Status = Sent | Open | Ended | Unknown


class Kind(enum.Enum):
    """What an intent asks of the venue."""

    ORDER = "order"
    LEVERAGE = "leverage"
    MOVE = "move"  # USDC between own wallets: `sz` USD, BUY into the perp wallet; of no market


@attrs.frozen(kw_only=True)
class Intent:
    """One write of ours, from the decision until its outcome is settled.

    ref_px: mid of its leg when it was decided, against which slippage is measured. booked_sz: sum
    of its booked fills; filled_sz: the most that any source said it filled. at_ms: venue time
    decided. lead: it opens or closes the spot leg (counted against the order rate, never sent while
    stopping). maker: it rests by style, so that its withdrawal is no miss.
    """

    no: int
    kind: Kind
    coin: str
    leg: Leg
    side: Side
    px: Decimal
    sz: Decimal
    tif: Tif
    reduce_only: bool
    why: str
    ref_px: Decimal
    nonce: int
    cloid: str
    expires_ms: int
    sent_ms: int
    at_ms: int
    status: Status
    oid: str | None = None
    booked_sz: Decimal = ZERO
    filled_sz: Decimal = ZERO
    maker: bool = attrs.field(default=False, metadata={"since": 2})

    @property
    def unknown(self) -> bool:
        return isinstance(self.status, Unknown)

    @property
    def closed(self) -> bool:
        """Nothing more of it can land; how much of it did may still be asked."""
        return isinstance(self.status, Unknown) and self.status.closed_at_ms is not None

    @property
    def left_sz(self) -> Decimal:
        """What may still fill, at worst: nothing once it has ended."""
        return ZERO if isinstance(self.status, Ended) else self.sz - self.filled_sz


# --- a market -------------------------------------------------------------------------------------


@attrs.frozen
class Seen:
    """A book and when it was received."""

    book: Book
    seen_ms: int


@attrs.frozen(kw_only=True)
class Forecast:
    """The average of settled funding, weighted to the recent. `rate`: fraction an interval."""

    rate: Decimal
    last_at_ms: int
    count: int
    negative_h: int


@attrs.frozen(kw_only=True)
class Doubt:
    """A venue read differs from what the journal explains by `diff` base units."""

    diff: Decimal
    issued_ms: int


@attrs.frozen
class Held:
    """A foreign perp size until `until_at_ms`, venue clock: what a payment is shared by."""

    until_at_ms: int
    sz: Decimal


@attrs.frozen(kw_only=True)
class Repair:
    """|delta| is beyond the band. `spent_ms` stands still while an intent of the market is
    unknown.
    """

    spent_ms: int = 0
    unwinding: bool = False


@attrs.frozen(kw_only=True)
class Ledger:
    """PnL by cause, USD, since the journal began. All are totals; fees are > 0 paid.

    ref_cost: sum of signed size x reference price of all that was traded or adopted: the basis term
    is the holdings at mark minus this.
    """

    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    slippage_usd: Decimal = ZERO
    external_usd: Decimal = ZERO
    ref_cost_usd: Decimal = ZERO
    turnover_usd: Decimal = ZERO


@attrs.frozen(kw_only=True)
class Leverage:
    """The setting last read, and when it was asked for."""

    value: int
    cross: bool
    issued_ms: int


@attrs.frozen
class Blocked:
    """The gate that an idle market waits for first, and since when."""

    gate: str
    since_ms: int


@attrs.frozen(kw_only=True)
class Carry:
    """One market: what the venue told, what is owned, and what is being done.

    spot_sz, perp_sz: owned, from booked fills. foreign_*: held at the venue but not explained by
    the journal. venue_*: last accepted reads, with `*_ms` when they were issued. touched_ms: last
    change by an own action, by leg; a read issued before it is not evidence. retry_ms: no order of
    that leg before. misses: orders in a row that did not fill, by leg: the rung of the ladder.
    known: legs that were read at least once, so that what came before the journal is told from what
    changed after. failures: entries in a row that came to nothing. foreign_was: what `foreign_perp`
    was before, as far back as payments may still be booked. resting_ms: how long the slice at work
    has rested without a whole order filled (maker style). halted_ms: when an order of a leg was
    last refused because the market does not trade. unaligned: the carry lost something that nothing
    explains, and alignment.mode says to leave it to an operator. grows: the target was raised and
    what that allows was not bought yet.
    """

    coin: str
    phase: Phase = attrs.field(factory=Idle)
    market: Market | None = None
    broken: str | None = None
    books: Mapping[str, Seen] = attrs.field(factory=dict)  # with depth, by leg
    quotes: Mapping[str, Seen] = attrs.field(factory=dict)  # newest best bid and offer, by leg
    context: Context | None = None
    context_ms: int = 0
    forecast: Forecast | None = None
    volatility: Decimal | None = None
    volatility_ms: int = 0
    leverage: Leverage | None = None
    spot_sz: Decimal = ZERO
    perp_sz: Decimal = ZERO
    foreign_spot: Decimal = ZERO
    foreign_perp: Decimal = ZERO
    doubts: Mapping[str, Doubt] = attrs.field(factory=dict)
    touched_ms: Mapping[str, int] = attrs.field(factory=dict)
    retry_ms: Mapping[str, int] = attrs.field(factory=dict)
    misses: Mapping[str, int] = attrs.field(factory=dict)
    known: tuple[str, ...] = ()
    failures: int = 0
    blocked: Blocked | None = attrs.field(default=None, metadata={"since": 2})
    grows: bool = attrs.field(default=False, metadata={"since": 2})
    repair: Repair | None = None
    ledger: Ledger = attrs.field(factory=Ledger)
    foreign_was: tuple[Held, ...] = attrs.field(default=(), metadata={"since": 2})
    resting_ms: int = attrs.field(default=0, metadata={"since": 2})
    condition: Condition = attrs.field(default=Condition.OPEN, metadata={"since": 2})
    halted_ms: Mapping[str, int] = attrs.field(factory=dict, metadata={"since": 2})
    unaligned: bool = attrs.field(default=False, metadata={"since": 2})

    def owned(self, leg: Leg) -> Decimal:
        return self.spot_sz if leg is Leg.SPOT else self.perp_sz

    def foreign(self, leg: Leg) -> Decimal:
        return self.foreign_spot if leg is Leg.SPOT else self.foreign_perp


# --- the account ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Outside:
    """What moved the account and is not ours: foreign coins, positions, trades by hand, USD.

    ref_cost_usd: what the foreign holdings were worth when they came; cash_usd: their fees, funding
    and coins that came from nowhere.
    """

    ref_cost_usd: Decimal = ZERO
    cash_usd: Decimal = ZERO


@attrs.frozen(kw_only=True)
class Account:
    """What the venue tells of the account; None until it was read. `*_ms`: when it was asked.

    residual_ms: when the residual was last measured; beyond_ms: since when it is past its bound.
    """

    mode: AccountMode | None = None
    mode_ms: int = 0
    usd: Balance | None = None
    coins: Mapping[str, Balance] = attrs.field(factory=dict)
    balances_ms: int = 0
    positions: Mapping[str, Position] = attrs.field(factory=dict)
    raw_usd: Decimal = ZERO
    maintenance: Decimal = attrs.field(default=ZERO, metadata={"since": 2})  # the venue's figure
    positions_at_ms: int = 0
    positions_ms: int = 0
    orders_ms: int = 0
    strays: tuple[OpenOrder, ...] = ()  # resting under one of our cloids without an intent
    fills_ms: int = 0
    fills_at_ms: int = 0
    receipts_ms: int = 0
    transfers_ms: int = 0
    fees: Fees | None = None
    actions_left: int | None = None
    agent_until_at_ms: int | None = attrs.field(default=None, metadata={"since": 2})
    outside: Outside = attrs.field(factory=Outside)
    baseline_usd: Decimal | None = None  # value of the account when the journal began to explain it
    residual_usd: Decimal | None = None
    moved_at_ms: int = 0  # venue time of the newest fill, payment or transfer
    transfers_usd: Decimal = ZERO
    residual_ms: int = attrs.field(default=0, metadata={"since": 2})
    beyond_ms: int | None = attrs.field(default=None, metadata={"since": 2})


@attrs.frozen(kw_only=True)
class Latch:
    """A stop that stays until it is cleared by its name. `mode`: what it forces."""

    mode: str  # "reduce" | "flatten" | "halt"
    why: str
    since_ms: int


@attrs.frozen(kw_only=True)
class Gate:
    """One condition for adding risk. Values are text as shown. `fault`: ours or the venue's, not
    the market's.
    """

    name: str
    market: str | None
    value: str
    threshold: str
    passes: bool
    fault: bool = False


@attrs.frozen(kw_only=True)
class State:
    """Everything remembered.

    seen: keys of booked fills, payments and transfers with their venue time, only those newer than
    the floor of their kind: below it a complete read has booked everything, so that the state stays
    small. said: when an alert of a name was last raised; faulty_ms: since when a gate fails by a
    fault. dt_ms: time since the tick before, capped, for clocks that stand still while an intent is
    unknown. replaced_ms: when resting orders were repriced, in the last minute. answered_ms: when a
    read was last answered; unanswered: writes in a row that got no decisive answer, from
    unanswered_since_ms to unanswered_ms.
    """

    policy: Policy
    capabilities: Capabilities
    journal_id: int = 0
    seq: int = 0
    now_ms: int = 0
    dt_ms: int = 0
    wall_ms: int = 0
    venue_ms: int | None = None
    started_ms: int = 0
    protected_ms: int | None = None
    nonce: int = 0
    intent_no: int = 0
    command_id: int = 0
    carries: Mapping[str, Carry] = attrs.field(factory=dict)
    intents: Mapping[str, Intent] = attrs.field(factory=dict)
    account: Account = attrs.field(factory=Account)
    seen: Mapping[str, int] = attrs.field(factory=dict)
    fills_floor_at_ms: int = 0
    receipts_floor_at_ms: int = 0
    transfers_floor_at_ms: int = 0
    latches: Mapping[str, Latch] = attrs.field(factory=dict)
    said: Mapping[str, int] = attrs.field(factory=dict)
    faulty_ms: Mapping[str, int] = attrs.field(factory=dict)
    sent_ms: tuple[int, ...] = ()
    replaced_ms: tuple[int, ...] = attrs.field(default=(), metadata={"since": 2})
    post_only_until_ms: int = 0
    doubled: int = 0
    high_water_usd: Decimal = ZERO
    pnl_note_ms: int = 0
    wants: tuple[str, ...] = ()
    stopping: bool = False
    once: bool = False
    limits: Limits | None = attrs.field(default=None, metadata={"since": 2})
    moves: tuple[Moved, ...] = attrs.field(default=(), metadata={"since": 2})
    move_retry_ms: int = attrs.field(default=0, metadata={"since": 2})  # no move before
    cancelling: str = ""  # "begun" while everything is being withdrawn, "ended" once nothing rests
    condition: Condition = attrs.field(default=Condition.OPEN, metadata={"since": 2})
    answered_ms: int = attrs.field(default=0, metadata={"since": 2})
    unanswered: int = attrs.field(default=0, metadata={"since": 2})
    unanswered_since_ms: int = attrs.field(default=0, metadata={"since": 2})
    unanswered_ms: int = attrs.field(default=0, metadata={"since": 2})

    @classmethod
    def initial(cls, policy: Policy, capabilities: Capabilities) -> "State":
        """The state of a new journal: nothing is known."""
        return cls(
            policy=policy,
            capabilities=capabilities,
            carries={coin: Carry(coin=coin) for coin in policy.coins},
        )

    def of(self, coin: str, leg: Leg | None = None) -> Iterator[Intent]:
        """Open intents of a market, or of one leg of it."""
        for intent in self.intents.values():
            if intent.coin == coin and leg in (None, intent.leg):
                yield intent

    @property
    def any_unknown(self) -> bool:
        return any(i.unknown for i in self.intents.values())

    def position(self, carry: Carry, leg: Leg) -> Decimal:
        """What is owned of a leg, with fills that are known but not booked yet.

        A spot buy's fee is taken out of the coin, so what is not booked counts net of it.
        """
        sz = carry.owned(leg)
        for intent in self.of(carry.coin, leg):
            early = intent.side.sign * (intent.filled_sz - intent.booked_sz)
            if leg is Leg.SPOT and intent.side is Side.BUY and self.account.fees is not None:
                early *= 1 - self.account.fees.spot_taker
            sz += early
        return sz
