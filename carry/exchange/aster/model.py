"""The local Aster as a value: users, wallets, books, funding and its clock. No socket, no thread.

Books, quotes, settlement, margin and liquidation are the exchange's own; symbols, orders, funding
intervals and replies are Aster's. Source: Aster API docs V3 of spot and futures, "Funding rate".
"""

import hashlib
from decimal import Decimal
from typing import Any

from ..accounts import SPLIT, Account
from ..assets import Asset
from ..books import Book
from ..liquidation import Liquidation
from ..margin import Summary, spot_available
from ..market import SeededMarket
from ..noise import key_of, mix
from ..paths import HOUR_MS, MINUTE_MS, Market
from ..quotes import Quotes
from ..settle import FeeTier, House
from ..text import USD8, ZERO, near, units, wire
from .auth import Doorman, Grant
from .faults import Faults
from .orders import Orders
from .symbols import USDT, USDT_TOKEN, Symbol, coins

STEP_MS = 3_000
LIQUIDATION_EVERY_MS = 15_000
CLAMP = Decimal("0.0005")
FEES = FeeTier("0.0", ("0.00035", "0.0001"), ("0.0004", "0.00005"))
"""Taker and maker: an account's reading on perps, the base tier on spot."""

_EIGHT_HOURS_MS = 8 * HOUR_MS


class Silent:
    """Where the exchange underneath tells its streams; nobody listens here yet."""

    def order_update(self, order: Any, status: str) -> None: ...
    def fill(self, address: str, row: Any) -> None: ...
    def trade(self, asset: Asset, row: Any) -> None: ...
    def non_user_cancel(self, order: Any) -> None: ...
    def liquidated(self, address: str, row: Any) -> None: ...
    def ledger(self, address: str, row: Any) -> None: ...


class Aster:
    """See the module. Only cross margin and one-way positions are simulated.

    bad_agent: the code for a signer nobody approved (see `Doorman`).
    """

    def __init__(
        self,
        seed: int,
        now_ms: int,
        *,
        network: str = "mainnet",
        market: Market | None = None,
        bad_agent: int = -1022,
        limits: bool = True,
    ) -> None:
        self.coins = coins()
        start_ms = now_ms - now_ms % HOUR_MS
        self.market = market or SeededMarket(seed, start_ms, tuple(self.coins), self.coins)
        self.seed = seed
        self.now = now_ms
        self.limits = limits
        perps = [coin.perp for coin in self.coins.values()]
        spots = [coin.spot for coin in self.coins.values()]
        every = [*perps, *spots]
        self.assets: dict[int, Asset] = {asset.asset_id: asset for asset in every}
        self.by_coin: dict[str, Asset] = {asset.coin: asset for asset in every}
        self.symbols: dict[bool, dict[str, Symbol]] = {
            spot: {s.symbol: s for s in found if isinstance(s, Symbol)}
            for spot, found in ((False, perps), (True, spots))
        }
        self.token_names = {USDT_TOKEN: USDT}
        self.token_names |= {coin.token.index: coin.name for coin in self.coins.values()}
        self.quotes = Quotes(self.market, self.coins, seed, STEP_MS)
        self.books = {asset.asset_id: Book(asset, self.quotes) for asset in every}
        self.accounts: dict[str, Account] = {}
        self.hedging: dict[str, None] = {}
        self.isolated: dict[tuple[str, str], None] = {}
        self.transfers: dict[tuple[str, str], int] = {}
        self.income: dict[str, list[dict[str, Any]]] = {}
        self.house = House()
        self.fee_tier = FEES
        self.last_oid = 22_000_000
        self.serial = 0
        self.changed = False
        self.streams = Silent()
        self.doorman = Doorman(network, bad_agent)
        self.faults = Faults()
        self.matching = self.orders = Orders(self)
        # It asks of an exchange only what both have: books, marks, accounts.
        self.liquidation = Liquidation(self)  # type: ignore[arg-type]
        self._paid_hour = now_ms // HOUR_MS
        self._rates: dict[tuple[str, int], Decimal] = {}

    # --- operators and tests --------------------------------------------------------------------

    def open_account(self, user: str, *, spot: Decimal = ZERO, perp: Decimal = ZERO) -> Account:
        """A user with USDT in each wallet."""
        user = user.lower()
        account = self.accounts[user] = Account(user, SPLIT)
        account.spot[USDT_TOKEN].total += spot
        account.perp_cash += perp
        self.house.pay_in(USDT_TOKEN, spot + perp)
        self.doorman.users[user] = user
        return account

    def approve(self, agent: str, user: str, **more: Any) -> None:
        self.doorman.approve(agent, Grant(user, "agent", **more))

    def give(self, user: str, coin: str, amount: Decimal) -> None:
        """A deposit of a coin into the spot wallet."""
        token = self.coins[coin].token.index
        self.accounts[user.lower()].balance(token).total += amount
        self.house.pay_in(token, amount)

    # --- time -----------------------------------------------------------------------------------

    def advance(self, until_ms: int) -> None:
        """Runs every event up to `until_ms`."""
        while True:
            due = self._next_ms()
            if due > until_ms:
                break
            self.now = max(self.now, due)
            self._run_instant()
        self.now = max(self.now, until_ms)

    def _next_ms(self) -> int:
        """Quotes are looked at where orders rest, margin where positions are held."""
        due = (self._paid_hour + 1) * HOUR_MS
        if self._quoted():
            return min(due, self.now - self.now % STEP_MS + STEP_MS)
        if self._exposed():
            every = LIQUIDATION_EVERY_MS
            return min(due, self.now - self.now % every + every)
        return due

    def _quoted(self) -> list[Book]:
        return [book for book in self.books.values() if book.orders[True] or book.orders[False]]

    def _exposed(self) -> list[Account]:
        return [
            account for account in self.accounts.values()
            if any(position.szi for position in account.positions.values())
        ]

    def _run_instant(self) -> None:
        hour = self.now // HOUR_MS
        if hour > self._paid_hour:
            self._paid_hour = hour
            self._pay_funding(hour * HOUR_MS)
        if self.now % STEP_MS == 0:
            for book in self._quoted():
                self.orders.on_step(book)
        if self.now % LIQUIDATION_EVERY_MS == 0:
            for account in self._exposed():
                self.liquidation.check(account)

    # --- funding --------------------------------------------------------------------------------

    def rate(self, symbol: Symbol, paid_ms: int, seen_ms: int | None = None) -> Decimal:
        """The rate charged at `paid_ms`, as far as its interval has gone at `seen_ms`.

        F = (P + clamp(interest - P, +-0.0005)) / (8 / N); P is the mean premium of the interval's
        minutes, of those that are over where the interval is not. > 0 means longs pay shorts.
        """
        seen_ms = paid_ms if seen_ms is None else min(seen_ms, paid_ms)
        key = (symbol.symbol, paid_ms)
        if seen_ms == paid_ms and key in self._rates:
            return self._rates[key]
        begin_ms = paid_ms - symbol.interval_ms
        moments = range(begin_ms, max(seen_ms, begin_ms + MINUTE_MS), MINUTE_MS)
        premium = sum((self._premium(symbol, at_ms) for at_ms in moments), ZERO) / len(moments)
        eight = premium + min(max(symbol.interest - premium, -CLAMP), CLAMP)
        rate = eight * symbol.interval_ms / _EIGHT_HOURS_MS
        rate = near(min(max(rate, -symbol.cap), symbol.cap), USD8)
        if seen_ms == paid_ms:
            self._rates[key] = rate
        return rate

    def _premium(self, symbol: Symbol, at_ms: int) -> Decimal:
        index = self.quotes.oracle8(symbol.base, at_ms)
        return Decimal(self.quotes.mid8(symbol, at_ms) - index) / index

    def next_payment_ms(self, symbol: Symbol) -> int:
        return self.now - self.now % symbol.interval_ms + symbol.interval_ms

    def _pay_funding(self, at_ms: int) -> None:
        for symbol in self.symbols[False].values():
            if at_ms % symbol.interval_ms:
                continue
            for account in self.accounts.values():
                position = account.position(symbol.asset_id)
                if position is None:
                    continue
                usdt = near(-position.szi * self.mark(symbol) * self.rate(symbol, at_ms), USD8)
                account.pay_perp(usdt)
                self.house.funding -= usdt
                position.funding_all -= usdt
                self.earn(account, "FUNDING_FEE", usdt, symbol=symbol.symbol)

    def earn(
        self, account: Account, kind: str, amount: Decimal, *, symbol: str = "", trade: str = ""
    ) -> None:
        """A row of the futures wallet's income."""
        self.serial += 1
        self.income.setdefault(account.address, []).append({
            "symbol": symbol, "incomeType": kind, "income": f"{amount:.8f}", "asset": USDT,
            "info": kind, "time": self.now, "tranId": 9_000_000 + self.serial, "tradeId": trade,
        })

    def booked(self, account: Account, row: dict[str, Any]) -> None:
        """A fill of a perp shows in the income too."""
        if row["coin"].startswith("spot:"):
            return
        more = {"symbol": row["coin"], "trade": str(row["tid"])}
        self.earn(account, "COMMISSION", -Decimal(row["fee"]), **more)
        if Decimal(row["closedPnl"]):
            self.earn(account, "REALIZED_PNL", Decimal(row["closedPnl"]), **more)

    # --- money ----------------------------------------------------------------------------------

    def move(self, account: Account, amount: Decimal, *, to_spot: bool) -> bool:
        """USDT between the wallets; False if it is not there."""
        spot = account.spot[USDT_TOKEN]
        if to_spot:
            if self.summary(account).withdrawable < amount:
                return False
            amount = -amount
        elif self.spot_free(account, USDT_TOKEN) < amount:
            return False
        spot.total -= amount
        account.perp_cash += amount
        self.earn(account, "TRANSFER", amount)
        return True

    # --- what the parts underneath ask ----------------------------------------------------------

    def mark(self, asset: Asset) -> Decimal:
        return units(self.quotes.mark(asset, self.now), asset.px_decimals)

    def index(self, asset: Asset) -> Decimal:
        return units(self.quotes.oracle(asset, self.now), asset.px_decimals)

    def reference_px(self, symbol: Symbol) -> Decimal:
        """What the price band is counted from: mark of perps, index of spot."""
        return self.index(symbol) if symbol.is_spot else self.mark(symbol)

    def summary(self, account: Account) -> Summary:
        return Summary(account, self.assets, self.mark)

    def spot_free(self, account: Account, token: int) -> Decimal:
        return spot_available(account, token, self.summary(account))

    def add_daily(
        self, account: Account, value: Decimal, *, crossed: bool, is_spot: bool
    ) -> None:
        """Volume tiers are not simulated."""

    def new_oid(self) -> int:
        self.last_oid += 1 + mix(key_of(self.seed, "oid", self.last_oid)) % 7
        return self.last_oid

    def new_client_id(self) -> str:
        self.serial += 1
        return f"auto{self.serial}_{mix(key_of(self.seed, 'client', self.serial)) % 10**12}"

    def block_hash(self) -> str:
        return "0x" + hashlib.sha256(f"{self.seed}/{self.now}".encode()).hexdigest()

    def audit(self) -> dict[str, str]:
        """What is not conserved, by name; empty when every unit is accounted for."""
        usdt = self.house.cash + self.house.funding + self.house.fees.get(USDT_TOKEN, ZERO)
        usdt -= self.house.paid_in.get(USDT_TOKEN, ZERO)
        wrong: dict[str, Decimal] = {}
        for account in self.accounts.values():
            usdt += account.perp_cash + account.spot[USDT_TOKEN].total
            usdt -= sum((p.cost for p in account.positions.values()), ZERO)
        wrong[USDT] = usdt
        for coin in self.coins.values():
            token = coin.token.index
            total = self.house.tokens.get(token, ZERO) + self.house.fees.get(token, ZERO)
            total -= self.house.paid_in.get(token, ZERO)
            for account in self.accounts.values():
                total += account.balance(token).total
            wrong[coin.name] = total
        return {name: wire(amount) for name, amount in wrong.items() if amount}
