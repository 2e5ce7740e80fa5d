"""One Hyperliquid account as a `Venue`: composition of rest, parsing, signing and stream."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from carry.core.actions import Fence, MoveUsd, Place, Query, SetLeverage, Write
from carry.core.num import ZERO
from carry.core.observations import (
    Accepted,
    AgentRead,
    BalancesRead,
    BookSeen,
    BudgetRead,
    ClosesRead,
    ContextsRead,
    Fault,
    FeesRead,
    FillsRead,
    LeverageRead,
    MarketsRead,
    ModeRead,
    OpenOrdersRead,
    OrderRecord,
    Outcome,
    PositionsRead,
    PrintsRead,
    ReceiptsRead,
    TransfersRead,
)
from carry.core.types import AccountMode, FundingReceipt, Leg, Market, Side
from carry.venues.base import Clock, Identity, ReadFailed
from carry.venues.keys import AgentKey, SignatureMismatch
from carry.venues.transport import SocketTransport, Transport

from . import account as private
from . import parse
from .budget import MINUTE_WEIGHT, Regime, Tier
from .constants import CAPABILITIES, QUOTE_NAME, REST_URLS, WS_URLS, Network
from .feed import Feed
from .identity import Role, judge
from .metadata import NOTHING_KNOWN, Known, Listed, read_markets
from .paging import Pages
from .replies import outcome_of, unsent
from .rest import Answer, OnReply, Posted, Rest
from .signing import Signer
from .transfers import read_transfers
from .wire import WireAction, action_of, send_asset
from .ws import HyperliquidStream, Link, SocketLink

_INTERVALS_MS = {
    "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000,
    "1h": 3_600_000, "2h": 7_200_000, "4h": 14_400_000, "8h": 28_800_000, "12h": 43_200_000,
    "1d": 86_400_000,
}  # fmt: skip


class HyperliquidVenue:
    """Implements `carry.venues.base.Venue`.

    account: address of the master (or sub-account) that is read and traded, never the agent's.
    key: the agent's; None for a venue that only reads (every write is then `NotSent`).
    vault: a sub-account that the agent of its master acts for; told by `identify` otherwise.
    identified: False when roles must be asked for before the first write.
    pinned: ids of spot tokens by coin, where the config names them.
    agent: the key's address, lowercase.
    """

    name = "hyperliquid"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        network: Network,
        account: str,
        coins: Sequence[str],
        key: AgentKey | None,
        clock: Clock,
        transport: Transport,
        link: Link,
        session: str | None = None,
        vault: str | None = None,
        identified: bool = True,
        pinned: Mapping[str, str] = MappingProxyType({}),
        on_reply: OnReply | None = None,
        total_has_pnl: bool = False,
    ) -> None:
        self.network = network.value
        self.account = account.lower()
        self.coins = tuple(coins)
        if key is not None and key.address == self.account:
            raise ValueError(
                f"the agent key belongs to the account {self.account} itself: that is the master "
                "key, which can withdraw; approve an agent and give its key"
            )
        self.rest = Rest(transport, clock, on_reply=on_reply)
        self.stream = HyperliquidStream(link, Feed(self.account), clock, session)
        self._network = network
        self._clock = clock
        self._pages = Pages(self.rest)
        self._pinned = pinned
        self._identified = identified
        self.agent = None if key is None else key.address
        self._signer = None if key is None else Signer(key, network, vault and vault.lower())
        self._known: Known = NOTHING_KNOWN
        self._faults: list[Fault] = []
        self._master: str | None = None
        self._pooled = True  # until the mode was read
        self._total_has_pnl = total_has_pnl
        self.regime = Regime()

    def close(self) -> None:
        """Stop the reader and close the sockets."""
        self.stream.stop()
        self.rest.transport.close()

    def faults(self) -> tuple[Fault, ...]:
        """What only the core may answer (a signature that is not ours), since the last call."""
        faults, self._faults = tuple(self._faults), []
        return faults

    def weight(self) -> tuple[int, int]:
        return self.rest.budget.spent, MINUTE_WEIGHT

    # --- market data --------------------------------------------------------------------

    def markets(self, coins: Sequence[str]) -> MarketsRead:
        """Metadata of `coins`; those of an earlier call that are unreadable now keep theirs."""
        self.coins = tuple(coins)
        perps = self.rest.info("markets", {"type": "meta"}, 20)
        spots = self.rest.info("markets", {"type": "spotMeta"}, 20)
        with parse.reading("markets"):
            read, known = read_markets(
                perps.body, spots.body, coins, self._network, perps.sent_ms, self._pinned
            )
        self._learn(known)
        return read

    def _learn(self, known: Known) -> None:
        self._known = self._known.updated(known)
        self.stream.know(self._known)

    def recall(self, markets: Sequence[Market]) -> None:
        """Metadata as a journal kept it: numbers are stable once listed."""
        listed = {market.coin: Listed.of(market) for market in markets if market.token}
        self._learn(Known({**listed, **self._known.listed}, self._known.usd_id))

    @property
    def known(self) -> Known:
        """The markets that were read."""
        return self._known

    def _listed(self) -> Known:
        """What is known, read first if nothing is."""
        if not self._known.listed and self.coins:
            self.markets(self.coins)
        return self._known

    def contexts(self, coins: Sequence[str]) -> ContextsRead:
        answer = self.rest.info("contexts", {"type": "metaAndAssetCtxs"}, 20)
        with parse.reading("contexts"):
            return parse.read_contexts(answer.body, coins, self._known, answer.sent_ms)

    def book(self, coin: str, leg: Leg) -> BookSeen:
        source = f"book:{coin}:{leg.value}"
        listed = self._listed().listed.get(coin)
        if listed is None:
            raise ReadFailed(source, "unsupported", f"{coin} is not among the readable markets")
        symbol = listed.market.instrument(leg).symbol
        answer = self.rest.info(source, {"type": "l2Book", "coin": symbol}, 2)
        with parse.reading(source):
            seen = parse.read_book(answer.body, self._known, self._clock.mono_ms())
            if seen is None or (seen.coin, seen.leg) != (coin, leg):
                raise ValueError(f"the reply is not the book of {symbol}")
        self._clock.saw_venue(seen.book.at_ms, answer.sent_ms)
        return seen

    def prints(self, coin: str, since_ms: int) -> PrintsRead:
        prints, issued_ms = self._pages.read(
            f"prints:{coin}",
            {"type": "fundingHistory", "coin": coin},
            since_ms,
            lambda body: parse.read_prints(body, coin),
            lambda row: row.at_ms,
        )
        return PrintsRead(coin=coin, prints=tuple(prints), issued_ms=issued_ms)

    def closes(self, coin: str, interval: str, window: int) -> ClosesRead:
        source = f"closes:{coin}"
        if interval not in _INTERVALS_MS:
            known = ", ".join(_INTERVALS_MS)
            raise ReadFailed(source, "unsupported", f"interval {interval!r} is none of {known}")
        now_ms = self._now_ms()
        wanted = {
            "coin": coin,
            "interval": interval,
            "startTime": now_ms - (window + 1) * _INTERVALS_MS[interval],
            "endTime": now_ms,
        }
        weight = 20 + window // 60
        answer = self.rest.info(source, {"type": "candleSnapshot", "req": wanted}, weight)
        with parse.reading(source):
            closes = parse.read_closes(answer.body, window, now_ms)
        return ClosesRead(
            coin=coin, interval=interval, closes=closes, issued_ms=answer.sent_ms
        )

    def _now_ms(self) -> int:
        """The venue's clock, or the machine's until a stamp was read."""
        venue_ms = self._clock.venue_ms()
        return self._clock.wall_ms() if venue_ms is None else venue_ms

    # --- account reads ------------------------------------------------------------------

    def _mine(self, source: str, kind: str, weight: int, **more: object) -> Answer:
        return self.rest.info(source, {"type": kind, "user": self.account, **more}, weight)

    def mode(self) -> ModeRead:
        answer = self._mine("mode", "userAbstraction", 20)
        with parse.reading("mode"):
            mode, word = private.read_mode(answer.body)
        self._pooled = mode is not AccountMode.SPLIT
        return ModeRead(mode=mode, word=word, issued_ms=answer.sent_ms)

    def positions(self) -> PositionsRead:
        answer = self._mine("positions", "clearinghouseState", 2)
        with parse.reading("positions"):
            read = private.read_positions(answer.body, self._listed(), answer.sent_ms)
        self._clock.saw_venue(read.at_ms, answer.sent_ms)
        return read

    def balances(self) -> BalancesRead:
        """`usd` is realised cash, where the venue's total has unrealised PnL in it as well."""
        known, pnl = self._listed(), ZERO
        if self._total_has_pnl and self._pooled:
            held = self.positions().positions.values()
            pnl = sum((p.value - p.entry_ntl for p in held), ZERO)
        answer = self._mine("balances", "spotClearinghouseState", 2)
        with parse.reading("balances"):
            return private.read_balances(answer.body, known, answer.sent_ms, pnl)

    def open_orders(self) -> OpenOrdersRead:
        known = self._listed()
        answer = self._mine("orders", "frontendOpenOrders", 20)
        with parse.reading("orders"):
            orders = private.read_orders(answer.body, known)
        return OpenOrdersRead(orders=orders, issued_ms=answer.sent_ms)

    def fills(self, since_ms: int) -> FillsRead:
        known = self._listed()
        if self._clock.venue_ms() is None:
            self.positions()  # for its stamp: completeness is told in the venue's time
        issued_venue_ms = self._now_ms()
        fills, issued_ms = self._pages.read(
            "fills",
            {"type": "userFillsByTime", "user": self.account, "aggregateByTime": False},
            since_ms,
            lambda body: private.read_fills(body, known),
            lambda fill: fill.trade_id,
        )
        return FillsRead(
            fills=tuple(fills),
            since_ms=since_ms,
            issued_ms=issued_ms,
            issued_venue_ms=issued_venue_ms,
        )

    def receipts(self, since_ms: int) -> ReceiptsRead:
        """Funding payments. Of an account with one balance the venue's documents leave open in
        which history they show, so both are read; each payment counts once.
        """
        known = self._listed()

        def key(row: FundingReceipt) -> tuple[int, str]:
            return (row.at_ms, row.coin)

        receipts, issued_ms = self._pages.read(
            "receipts",
            {"type": "userFunding", "user": self.account},
            since_ms,
            lambda body: private.read_receipts(body, known),
            key,
        )
        found = {key(row): row for row in receipts}
        if self._pooled:
            more, _ = self._pages.read(
                "receipts:ledger",
                {"type": "userNonFundingLedgerUpdates", "user": self.account},
                since_ms,
                lambda body: private.read_receipts(body, known, ledger=True),
                key,
            )
            found = {**{key(row): row for row in more}, **found}
        rows = sorted(found.values(), key=key)
        return ReceiptsRead(receipts=tuple(rows), since_ms=since_ms, issued_ms=issued_ms)

    def transfers(self, since_ms: int) -> TransfersRead:
        transfers, issued_ms = self._pages.read(
            "transfers",
            {"type": "userNonFundingLedgerUpdates", "user": self.account},
            since_ms,
            lambda body: read_transfers(body, self.account),
            lambda row: row.transfer_id,
        )
        return TransfersRead(transfers=tuple(transfers), since_ms=since_ms, issued_ms=issued_ms)

    def fees(self) -> FeesRead:
        answer = self._mine("fees", "userFees", 20)
        with parse.reading("fees"):
            return FeesRead(fees=private.read_fees(answer.body), issued_ms=answer.sent_ms)

    def leverage(self, coin: str) -> LeverageRead:
        source = f"leverage:{coin}"
        answer = self._mine(source, "activeAssetData", 20, coin=coin)
        with parse.reading(source):
            leverage, cross = private.read_leverage(answer.body, coin)
        return LeverageRead(coin=coin, leverage=leverage, cross=cross, issued_ms=answer.sent_ms)

    def budget(self) -> BudgetRead:
        answer = self._mine("budget", "userRateLimit", 20)
        with parse.reading("budget"):
            left = private.read_budget(answer.body)
        read = BudgetRead(actions_left=left, issued_ms=answer.sent_ms)
        self.regime.read(read)
        return read

    def agent_read(self) -> AgentRead:
        """When the key's approval ends, where the venue tells: only of agents with a name."""
        if self.agent is None:
            return AgentRead(valid_until_at_ms=None, issued_ms=self._clock.mono_ms())
        agents, issued_ms = self._agents(self._master or self.account)
        mine = [one.validUntil for one in agents if one.address.lower() == self.agent]
        return AgentRead(valid_until_at_ms=mine[0] if mine else None, issued_ms=issued_ms)

    def identify(self) -> Identity:
        """Read the roles of account and key; a sub-account is traded in its master's name."""
        role = self.role_of(self.account)
        master = role.owner if role.word == "subAccount" else None
        agent_role: Role | None = None
        agents: tuple[private.Agent, ...] = ()
        if self.agent is not None and role.word in ("user", "subAccount"):
            agent_role = self.role_of(self.agent)
            agents, _ = self._agents(master or self.account)
        found = judge(
            network=self._network,
            account=self.account,
            role=role,
            agent=self.agent,
            agent_role=agent_role,
            agents=agents,
            now_ms=self._now_ms(),
        )
        self._master = master
        if self._signer is not None and master is not None:
            self._signer = self._signer.acting_for(self.account)
        self._identified = found.problem is None
        return found

    def role_of(self, address: str) -> Role:
        """What the venue calls an address; it is nobody's secret."""
        answer = self.rest.info("role", {"type": "userRole", "user": address}, 60)
        with parse.reading("role"):
            word, owner = private.read_role(answer.body)
        return Role(word=word, owner=owner)

    def _agents(self, master: str) -> tuple[tuple[private.Agent, ...], int]:
        answer = self.rest.info("agents", {"type": "extraAgents", "user": master}, 20)
        with parse.reading("agents"):
            return private.read_agents(answer.body), answer.sent_ms

    def order(self, query: Query) -> OrderRecord:
        source = f"order:{query.cloid}"
        answer = self._mine(source, "orderStatus", 2, oid=query.cloid)
        with parse.reading(source):
            return private.read_record(answer.body, query.intent, query.cloid, answer.sent_ms)

    # --- writes -------------------------------------------------------------------------

    def write(self, action: Write) -> Outcome:
        """Sign, check, send once, classify. Never raises."""
        try:
            if not self._identified and self._signer is not None:
                self._ask_identity()
            coin = None if isinstance(action, Fence | MoveUsd) else action.coin
            listed = None if coin is None else self._known.listed.get(coin)
            sent = _as_the_venue_counts(action, listed)
            body = self._body(sent, listed)
        except SignatureMismatch as error:
            self._faults.append(Fault(name="signature", text=str(error)))
            return unsent(action, str(error))
        except ReadFailed as error:
            return unsent(action, f"not known yet whether the key may sign: {error}")
        except (ValueError, TypeError, OverflowError, LookupError) as error:
            return unsent(action, f"cannot be written as the venue reads it: {error}")
        why = self.regime.holds(action, self._clock.mono_ms())
        if why is not None:
            return unsent(action, why)
        try:
            posted = self.rest.exchange(body, tier_of(action))
        except Exception as error:  # a fault of ours after bytes may have left is still an unknown
            posted = Posted(True, 0, None, f"{type(error).__name__} while posting")
        outcome = outcome_of(sent, posted)
        if posted.left:
            self.regime.sent(outcome, self._clock.mono_ms())
        if isinstance(outcome, Accepted) and isinstance(action, Place) and listed is not None:
            return attrs.evolve(outcome, filled_sz=listed.coin_sz(action.leg, outcome.filled_sz))
        return outcome

    def _ask_identity(self) -> None:
        """Nothing is signed before the venue told who is who; what is wrong is told the core."""
        problem = self.identify().problem
        if problem is not None:
            if not self._faults:
                self._faults.append(Fault(name="identity", text=problem))
            raise ValueError(problem)

    def _body(self, action: Write, listed: Listed | None) -> bytes:
        if self._signer is None:
            raise ValueError("there is no agent key: this venue only reads")
        if isinstance(action, Fence):
            return self._signer.envelope(action_of(action, 0), action.nonce, None)
        if isinstance(action, MoveUsd):
            return self._signer.envelope(self._move(action), action.nonce, action.expires_ms)
        if listed is None:
            raise ValueError(f"the metadata of {action.coin} has not been read")
        leg = Leg.PERP if isinstance(action, SetLeverage) else action.leg
        wire = action_of(action, listed.market.instrument(leg).asset)
        return self._signer.envelope(wire, action.nonce, action.expires_ms)


    def _move(self, action: MoveUsd) -> WireAction:
        if not self._known.usd_id:
            raise ValueError("the number of the USDC token has not been read")
        return send_asset(
            self.account,
            action.usd,
            to_perp=action.to_perp,
            token=f"{QUOTE_NAME}:{self._known.usd_id}",
            nonce=action.nonce,
        )


def _as_the_venue_counts(action: Write, listed: Listed | None) -> Write:
    """An order in units of its token, where the market is in many of them."""
    if not isinstance(action, Place) or listed is None or not listed.shift:
        return action
    return attrs.evolve(
        action,
        px=listed.venue_px(action.leg, action.px),
        sz=listed.venue_sz(action.leg, action.sz),
    )


def tier_of(action: Write) -> Tier:
    """What reduces, hedges or clears up is never held back by what reads and adds."""
    adds = isinstance(action, SetLeverage) or (
        isinstance(action, Place) and action.leg is Leg.SPOT and action.side is Side.BUY
    )
    return Tier.WRITE if adds else Tier.URGENT


def connect(
    *,
    network: Network,
    account: str,
    coins: Sequence[str],
    key: AgentKey | None,
    clock: Clock,
    base_url: str | None = None,
    ws_url: str | None = None,
    session: str | None = None,
    identified: bool = False,
    pinned: Mapping[str, str] = MappingProxyType({}),
    on_reply: OnReply | None = None,
    total_has_pnl: bool = False,
) -> HyperliquidVenue:
    """A venue over real sockets. URLs default by `network`, never the other way round.

    session: name of the websocket in a lockstep run (`?session=` is added), None on a wall clock.
    total_has_pnl: whether the USDC total of a unified account counts unrealised PnL.
    """
    return HyperliquidVenue(
        network=network,
        account=account,
        coins=coins,
        key=key,
        clock=clock,
        transport=SocketTransport(base_url or REST_URLS[network]),
        link=SocketLink(ws_url or WS_URLS[network], clock, session=session),
        session=session,
        identified=identified,
        pinned=pinned,
        on_reply=on_reply,
        total_has_pnl=total_has_pnl,
    )
