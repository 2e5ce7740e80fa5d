"""The exchange by values as the bot's venue: core reads and outcomes, no text and no signature.

What the byte venue adds besides reading is kept as it is there: the weight of a minute, the rule of
an account without actions, and what is known of the venue's clock. So a bot decides the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from carry.core.actions import (
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Place,
    Query,
    SetLeverage,
    Write,
)
from carry.core.num import ONE, ZERO
from carry.core.observations import (
    AgentRead,
    Balance,
    BalancesRead,
    BookSeen,
    BudgetRead,
    ClosesRead,
    Context,
    ContextsRead,
    Fault,
    FeesRead,
    FillsRead,
    LeverageRead,
    MarketsRead,
    ModeRead,
    OpenOrder,
    OpenOrdersRead,
    OrderRecord,
    Outcome,
    Position,
    PositionsRead,
    PrintsRead,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.types import AccountMode, Leg, Market
from carry.exchange.assets import USDC_TOKEN
from carry.exchange.direct import Direct
from carry.venues.base import Clock, Identity, ReadFailed
from carry.venues.hyperliquid.account import mode_of, status_of
from carry.venues.hyperliquid.budget import Budget, Regime, Tier, of_read
from carry.venues.hyperliquid.constants import CAPABILITIES, QUOTE_NAME, Network
from carry.venues.hyperliquid.metadata import NOTHING_KNOWN, Known, Listed
from carry.venues.hyperliquid.replies import unsent
from carry.venues.hyperliquid.rest import shorten
from carry.venues.hyperliquid.transfers import read_transfers
from carry.venues.hyperliquid.venue import tier_of
from carry.venues.hyperliquid.wire import action_of, send_asset
from carry.venues.transport import PostFailed

from .value_calls import Call, Passage, outcome_by_value
from .value_stream import ValueFeed, ValueLink, ValueStream

_T = TypeVar("_T")
OTHER_MONEY = "userNonFundingLedgerUpdates"
_UNREADABLE = (LookupError, ValueError, ArithmeticError)


class Unmetered(Budget):
    """Nobody counts the weight of what is read out of one's own process."""

    def take(self, weight: int, tier: Tier, now_ms: int) -> bool:
        return True


class DirectVenue:
    """Implements `carry.venues.base.Venue` over `carry.exchange.direct`.

    signer: the agent's address. direct: the exchange for an address; passage: see `Passage`.
    """

    name = "hyperliquid"
    network = Network.TESTNET.value
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        account: str,
        signer: str,
        coins: Sequence[str],
        clock: Clock,
        direct: Callable[[str], Direct],
        passage: Passage,
        link: ValueLink,
    ) -> None:
        self.account = account.lower()
        self.agent = signer
        self.coins = tuple(coins)
        self.stream = ValueStream(link, ValueFeed(self.account), clock)
        self.budget_used = Budget()
        self.regime = Regime()
        self._clock, self._direct, self._passage = clock, direct, passage
        self._known: Known = NOTHING_KNOWN
        self._pooled = True  # until the mode was read

    def weight(self) -> None:
        """Nothing is counted between two ends of one process."""

    def faults(self) -> tuple[Fault, ...]:
        """None: nothing is signed, so no signature can be somebody else's."""
        return ()

    # --- reads --------------------------------------------------------------------------

    def _read(
        self, source: str, kind: str, weight: int, look: Callable[[Direct], _T], **more: object
    ) -> tuple[_T, int]:
        """What `look` finds, and when it was asked. Raises ReadFailed."""
        sent_ms = self._clock.mono_ms()
        tier = of_read(source, weight)
        if not self.budget_used.take(weight, tier, sent_ms):
            raise ReadFailed(source, "budget", "the weight of the last minute is used up")
        call = Call(
            path="/info",
            body=b"",
            decoded={"type": kind, "user": self.account, **more},
            kind=kind,
            do=lambda address: look(self._direct(address)),
        )
        try:
            status, found = self._passage(call)
        except PostFailed as failed:
            raise ReadFailed(source, "transport", failed.text) from None
        except _UNREADABLE as error:
            raise ReadFailed(source, "unreadable", str(error)[:200]) from None
        if status == 200:
            return found, sent_ms
        if status == 429:
            self.budget_used.refused(self._clock.mono_ms())
            raise ReadFailed(source, "budget", "HTTP 429: the venue counts more than our own use")
        kind = "unsupported" if status == 422 else "transport"
        raise ReadFailed(source, kind, f"HTTP {status}: {shorten(found)}")

    def _history(
        self, source: str, kind: str, since_ms: int, look: Callable[[Direct], list[_T]]
    ) -> tuple[tuple[_T, ...], int]:
        rows, sent_ms = self._read(source, kind, 20, look, startTime=since_ms)
        self.budget_used.charge(len(rows) // 20, self._clock.mono_ms())
        return tuple(rows), sent_ms

    def markets(self, coins: Sequence[str]) -> MarketsRead:
        """Two requests, as at the venue: perps and pairs."""
        self.coins = tuple(coins)
        perps, sent_ms = self._read("markets", "meta", 20, lambda d: d.perp_listings(coins))
        pairs, _ = self._read("markets", "spotMeta", 20, lambda d: d.spot_listings(coins))
        markets = {
            coin: Market(
                coin=coin, spot=pairs[coin][0], perp=perps[coin], spot_token=pairs[coin][1],
                token=pairs[coin][2],
            )
            for coin in coins
            if coin in perps and coin in pairs
        }  # fmt: skip
        broken = {coin: f"{coin}: 0 perps have that name" for coin in coins if coin not in markets}
        self.recall(list(markets.values()))
        return MarketsRead(markets=markets, broken=broken, issued_ms=sent_ms)

    def recall(self, markets: Sequence[Market]) -> None:
        listed = {market.coin: Listed(market=market) for market in markets}
        self._known = Known({**self._known.listed, **listed})
        self.stream.know(self._known)

    def _listed(self) -> Mapping[str, Listed]:
        """What is known, read first if nothing is."""
        if not self._known.listed and self.coins:
            self.markets(self.coins)
        return self._known.listed

    def contexts(self, coins: Sequence[str]) -> ContextsRead:
        found, sent_ms = self._read("contexts", "metaAndAssetCtxs", 20, lambda d: d.contexts(coins))
        contexts = {
            coin: Context(
                mark_px=rates.mark_px, oracle_px=rates.oracle_px, funding_rate=rates.funding_rate
            )
            for coin, rates in found.items()
        }
        return ContextsRead(contexts=contexts, issued_ms=sent_ms)

    def book(self, coin: str, leg: Leg) -> BookSeen:
        source = f"book:{coin}:{leg.value}"
        if coin not in self._listed():
            raise ReadFailed(source, "unsupported", f"{coin} is not among the readable markets")
        book, sent_ms = self._read(source, "l2Book", 2, lambda d: d.book(coin, leg), coin=coin)
        if book is None:
            raise ReadFailed(source, "unreadable", "a side of the book is empty")
        self._clock.saw_venue(book.at_ms, sent_ms)
        seen_ms = self._clock.mono_ms()
        return BookSeen(coin=coin, leg=leg, book=book, seen_ms=seen_ms, full=True)

    def prints(self, coin: str, since_ms: int) -> PrintsRead:
        found, sent_ms = self._history(
            f"prints:{coin}", "fundingHistory", since_ms, lambda d: d.prints(coin, since_ms)
        )
        return PrintsRead(coin=coin, prints=found, issued_ms=sent_ms)

    def closes(self, coin: str, interval: str, window: int) -> ClosesRead:
        now_ms = self._now_ms()
        found, sent_ms = self._read(
            f"closes:{coin}", "candleSnapshot", 20 + window // 60,
            lambda d: d.closes(coin, interval, window, now_ms),
        )  # fmt: skip
        return ClosesRead(coin=coin, interval=interval, closes=tuple(found), issued_ms=sent_ms)

    def _now_ms(self) -> int:
        venue_ms = self._clock.venue_ms()
        return self._clock.wall_ms() if venue_ms is None else venue_ms

    def mode(self) -> ModeRead:
        word, sent_ms = self._read("mode", "userAbstraction", 20, lambda d: d.mode())
        mode = mode_of(word)
        self._pooled = mode is not AccountMode.SPLIT
        return ModeRead(mode=mode, word=word, issued_ms=sent_ms)

    def positions(self) -> PositionsRead:
        perps, sent_ms = self._read("positions", "clearinghouseState", 2, lambda d: d.perps())
        self._listed()
        self._clock.saw_venue(perps.at_ms, sent_ms)
        positions = {
            coin: Position(
                sz=held.szi,
                entry_ntl=held.cost,
                margin_used=held.margin_used,
                value=held.value,
                rate=ONE / (2 * held.max_leverage),
            )
            for coin, held in perps.positions.items()
        }
        return PositionsRead(
            positions=positions,
            raw_usd=perps.raw,
            equity=perps.value,
            margin_used=perps.used,
            maintenance=perps.maintenance,
            at_ms=perps.at_ms,
            issued_ms=sent_ms,
        )

    def balances(self) -> BalancesRead:
        listed = self._listed()
        found, sent_ms = self._read(
            "balances", "spotClearinghouseState", 2, lambda d: d.balances()
        )
        usd, hold = found.get(USDC_TOKEN, (ZERO, ZERO))
        coins = {}
        for coin, one in listed.items():
            if one.market.token in found:
                total, held = found[one.market.token]
                coins[coin] = Balance(total=total, hold=held)
        return BalancesRead(usd=Balance(total=usd, hold=hold), coins=coins, issued_ms=sent_ms)

    def open_orders(self) -> OpenOrdersRead:
        listed = self._listed()
        found, sent_ms = self._read("orders", "frontendOpenOrders", 20, lambda d: d.open_orders())
        orders = tuple(
            OpenOrder(
                coin=order.coin,
                leg=order.leg,
                oid=str(order.oid),
                cloid=order.cloid,
                side=order.side,
                px=order.px,
                sz=order.sz,
            )
            for order in found
            if order.coin in listed
        )
        return OpenOrdersRead(orders=orders, issued_ms=sent_ms)

    def fills(self, since_ms: int) -> FillsRead:
        listed = self._listed()
        if self._clock.venue_ms() is None:
            self.positions()  # for its stamp: completeness is told in the venue's time
        issued_venue_ms = self._now_ms()
        found, sent_ms = self._history(
            "fills", "userFillsByTime", since_ms, lambda d: d.fills(since_ms)
        )
        return FillsRead(
            fills=tuple(fill for fill in found if fill.coin in listed),
            since_ms=since_ms,
            issued_ms=sent_ms,
            issued_venue_ms=issued_venue_ms,
        )

    def receipts(self, since_ms: int) -> ReceiptsRead:
        """Of an account with one balance from both histories, each payment once."""
        listed = self._listed()
        rows, sent_ms = self._ledger("receipts", "userFunding", since_ms)
        payments = self._direct(self.account).payments(rows)
        found = {(row.at_ms, row.coin): row for row in payments}
        if self._pooled:
            more, _ = self._ledger("receipts", OTHER_MONEY, since_ms)
            payments = self._direct(self.account).payments(more)
            found = {**{(row.at_ms, row.coin): row for row in payments}, **found}
        mine = tuple(found[key] for key in sorted(found) if found[key].coin in listed)
        return ReceiptsRead(receipts=mine, since_ms=since_ms, issued_ms=sent_ms)

    def transfers(self, since_ms: int) -> TransfersRead:
        rows, sent_ms = self._ledger("transfers", OTHER_MONEY, since_ms)
        # Many kinds, each with its own parts, and seldom read: the adapter's own reading of them.
        page = read_transfers(msgspec.json.encode(rows), self.account)
        return TransfersRead(
            transfers=tuple(page.items), since_ms=since_ms, issued_ms=sent_ms
        )

    def _ledger(
        self, source: str, kind: str, since_ms: int
    ) -> tuple[tuple[Mapping[str, Any], ...], int]:
        return self._history(source, kind, since_ms, lambda d: d.ledger(kind, since_ms))

    def fees(self) -> FeesRead:
        fees, sent_ms = self._read("fees", "userFees", 20, lambda d: d.fees())
        return FeesRead(fees=fees, issued_ms=sent_ms)

    def leverage(self, coin: str) -> LeverageRead:
        (leverage, cross), sent_ms = self._read(
            f"leverage:{coin}", "activeAssetData", 20, lambda d: d.leverage(coin), coin=coin
        )
        return LeverageRead(coin=coin, leverage=leverage, cross=cross, issued_ms=sent_ms)

    def budget(self) -> BudgetRead:
        left, sent_ms = self._read("budget", "userRateLimit", 20, lambda d: d.actions_left())
        read = BudgetRead(actions_left=left, issued_ms=sent_ms)
        self.regime.read(read)
        return read

    def agent_read(self) -> AgentRead:
        until_ms, sent_ms = self._read("agents", "extraAgents", 20, self._until)
        return AgentRead(valid_until_at_ms=until_ms, issued_ms=sent_ms)

    def _until(self, direct: Direct) -> int | None:
        return direct.valid_until_ms(self.agent)

    def identify(self) -> Identity:
        """Nothing is asked: there is no key that could belong to somebody else."""
        return Identity(
            account=self.account,
            role="user",
            master=None,
            agent=self.agent,
            agent_name=None,
            valid_until_at_ms=None,
            problem=None,
        )

    def order(self, query: Query) -> OrderRecord:
        found, sent_ms = self._read(
            f"order:{query.cloid}", "orderStatus", 2, lambda d: d.order(query.cloid),
            oid=query.cloid,
        )  # fmt: skip
        oid, word = (None, "unknownOid") if found is None else (str(found[0]), found[1])
        return OrderRecord(
            intent=query.intent,
            status="unknown" if found is None else status_of(word),
            oid=oid,
            word=word,
            issued_ms=sent_ms,
        )

    # --- writes -------------------------------------------------------------------------

    def write(self, action: Write) -> Outcome:
        """Send once, classify. Never raises."""
        try:
            call = self._call(action)
        except (ValueError, LookupError) as error:
            return unsent(action, f"cannot be written as the venue reads it: {error}")
        now_ms = self._clock.mono_ms()
        why = self.regime.holds(action, now_ms)
        if why is not None:
            return unsent(action, why)
        if not self.budget_used.take(1, tier_of(action), now_ms):
            return unsent(action, "local budget: the weight of the last minute is used up")
        try:
            status, answer = self._passage(call)
        except PostFailed as failed:
            if not failed.left:
                return unsent(action, failed.text)
            status, answer = 0, failed.text
        if status == 429:
            self.budget_used.refused(self._clock.mono_ms())
        outcome = outcome_by_value(action, status, answer)
        self.regime.sent(outcome, self._clock.mono_ms())
        return outcome

    def _call(self, action: Write) -> Call:
        """The action with what the wire would show of it. Raises as that would."""
        if isinstance(action, MoveUsd):
            shown = send_asset(
                self.account, action.usd, to_perp=action.to_perp, token=QUOTE_NAME,
                nonce=action.nonce,
            )  # fmt: skip
        else:
            shown = action_of(action, self._number(action))
        expires_ms = None if isinstance(action, Fence) else action.expires_ms
        return Call(
            path="/exchange",
            body=b"",
            decoded={"action": shown, "nonce": action.nonce, "expiresAfter": expires_ms},
            kind=shown["type"],
            do=lambda address: self._direct(address).act(
                self.agent, {**shown}, action.nonce, expires_ms
            ),
        )

    def _number(self, action: Place | Cancel | CancelForeign | SetLeverage | Fence) -> int:
        if isinstance(action, Fence):
            return 0
        listed = self._known.listed.get(action.coin)
        if listed is None:
            raise ValueError(f"the metadata of {action.coin} has not been read")
        leg = Leg.PERP if isinstance(action, SetLeverage) else action.leg
        return listed.market.instrument(leg).asset
