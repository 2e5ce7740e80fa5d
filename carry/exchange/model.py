"""The exchange: pure and deterministic. Bytes in, bytes out; time is an argument, never a clock.

`advance` runs everything that happens up to a time, in order; `http` and the sessions of `streams`
answer at the time reached. A run is a function of the seed, the market and the calls made.
"""

import hashlib
import re
from collections import deque
from decimal import Decimal

import msgspec

from .accounts import SPLIT, Account, Agent, Nonces
from .actions import Actions
from .answers import Malformed
from .assets import USDC_TOKEN, Asset, all_coins
from .books import Book
from .funding import Funding
from .info import BAD_BODY, BadRequest, Info
from .liquidation import Liquidation
from .margin import Summary, spot_available
from .matching import Matching
from .paths import HOUR_MS, Market
from .quotes import Quotes
from .settle import TIERS, House
from .streams import Session, Streams
from .text import ZERO, units, wire

STEP_MS = 3_000
"""The quotes' grid: the venue's oracle and mark move about every 3 s."""

LIQUIDATION_EVERY_MS = 15_000
IP_WEIGHT_A_MINUTE = 1_200
MINUTE_MS = 60_000
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


class IpBudget:
    """Weight spent in the last minute; the whole loopback is one address."""

    def __init__(self) -> None:
        self._spent: deque[tuple[int, int]] = deque()
        self._total = 0

    def allows(self, now: int) -> bool:
        while self._spent and self._spent[0][0] <= now - MINUTE_MS:
            self._total -= self._spent.popleft()[1]
        return self._total < IP_WEIGHT_A_MINUTE

    def spend(self, now: int, weight: int) -> None:
        self._spent.append((now, weight))
        self._total += weight


class Exchange:
    """One venue with its market, books and users. See the module.

    limits: whether budgets (address, IP) are enforced. unified_total_has_pnl: whether the USDC
    `total` of a unified account includes unrealised PnL; sources disagree, the default is no.
    """

    def __init__(
        self,
        market: Market,
        *,
        seed: int,
        network: str = "testnet",
        limits: bool = True,
        step_ms: int = STEP_MS,
        fee_tier: int = 0,
        unified_total_has_pnl: bool = False,
    ) -> None:
        known = all_coins()
        self.market = market
        self.seed = seed
        self.network = network
        self.limits = limits
        self.unified_total_has_pnl = unified_total_has_pnl
        self.fee_tier = TIERS[fee_tier]
        self.now = market.start_ms
        self.coins = {name: known[name] for name in market.coins}
        every = [asset for coin in known.values() for asset in (coin.perp, coin.spot)]
        self.assets: dict[int, Asset] = {asset.asset_id: asset for asset in every}
        self.by_coin: dict[str, Asset] = {asset.coin: asset for asset in every}
        self.token_names = {USDC_TOKEN: "USDC"}
        self.wei_decimals = {USDC_TOKEN: 8}
        for coin in known.values():
            self.token_names[coin.token.index] = coin.token.name
            self.wei_decimals[coin.token.index] = coin.token.wei_decimals
        self.quotes = Quotes(market, self.coins, seed, step_ms)
        self.books = {
            asset.asset_id: Book(asset, self.quotes)
            for asset in every
            if asset.base in self.coins
        }
        self.accounts: dict[str, Account] = {}
        self.agents: dict[str, Agent] = {}
        self.spent_agents: list[str] = []
        self.nonces: dict[str, Nonces] = {}
        self.scheduled: dict[str, int] = {}
        self.house = House()
        self.post_only_until_ms = 0
        self.last_oid = 40_000_000_000
        self.blocks = 0
        self.changed = False
        self.budget = IpBudget()
        self.funding = Funding(self)
        self.info = Info(self)
        self.streams = Streams(self)
        self.matching = Matching(self)
        self.liquidation = Liquidation(self)
        self.actions = Actions(self)
        self.paid_hour = self.now // HOUR_MS

    # Operators and tests.

    def set_start(self, now_ms: int) -> None:
        """Begins at `now_ms` instead of the market's start; only before anything happened."""
        assert now_ms >= self.market.start_ms, now_ms
        self.now = now_ms
        self.paid_hour = now_ms // HOUR_MS

    def open_account(self, address: str, *, mode: str = SPLIT, usdc: Decimal = ZERO) -> Account:
        """A funded user: split puts half into each wallet, unified everything into one."""
        address = address.lower()
        assert self.is_address(address), address
        account = self.accounts.get(address)
        if account is None:
            account = self.accounts[address] = Account(address, mode)
        perp = ZERO if account.unified else (usdc / 2).quantize(Decimal("0.000001"))
        account.perp_cash += perp
        account.spot[USDC_TOKEN].total += usdc - perp
        self.house.pay_in(USDC_TOKEN, usdc)
        if usdc:
            row = {
                "time": self.now, "hash": self.block_hash(),
                "delta": {"type": "deposit", "usdc": wire(usdc)},
            }
            account.transfers.append(row)
        self.changed = True
        return account

    def approve(self, agent: str, master: str, name: str = "") -> None:
        """Registers an API wallet without a signature."""
        agent = agent.lower()
        self.agents[agent] = Agent(agent, master.lower(), name)
        self.changed = True

    def give_token(self, address: str, token: int, amount: Decimal) -> None:
        """A deposit of a spot token from outside."""
        self.accounts[address.lower()].balance(token).total += amount
        self.house.pay_in(token, amount)
        self.changed = True

    def force_adl(self, address: str, coin: str, fraction: Decimal, px: Decimal) -> Decimal:
        """Auto-deleverages `fraction` of a user's position at `px`; returns the size closed."""
        size = self.liquidation.adl(
            self.accounts[address.lower()], self.coins[coin].perp, fraction, px
        )
        self.streams.flush()
        return size

    def audit(self) -> dict[str, Decimal]:
        """What is not conserved, by name; empty when every unit is accounted for.

        USDC: users' cash minus what their positions cost, the house, fees and the funding pool add
        up to what was paid in. Tokens and position sizes likewise.
        """
        usdc = self.house.cash + self.house.funding + self.house.fees.get(USDC_TOKEN, ZERO)
        tokens: dict[int, Decimal] = {
            token: self.house.tokens.get(token, ZERO) + self.house.fees.get(token, ZERO)
            for token in self.token_names
            if token != USDC_TOKEN
        }
        sizes = dict(self.house.szi)
        for account in self.accounts.values():
            usdc += account.perp_cash
            for token, balance in account.spot.items():
                if token == USDC_TOKEN:
                    usdc += balance.total
                else:
                    tokens[token] += balance.total
            for asset_id, position in account.positions.items():
                usdc -= position.cost
                sizes[asset_id] = sizes.get(asset_id, ZERO) + position.szi
        wrong = {"USDC": usdc - self.house.paid_in.get(USDC_TOKEN, ZERO)}
        for token, total in tokens.items():
            wrong[self.token_names[token]] = total - self.house.paid_in.get(token, ZERO)
        for asset_id, size in sizes.items():
            wrong[f"szi {self.assets[asset_id].coin}"] = size
        return {name: amount for name, amount in wrong.items() if amount}

    # Protocol.

    def http(self, path: str, body: bytes) -> tuple[int, bytes]:
        """One POST at the time reached; everything it caused is queued to sessions on return."""
        if path not in ("/info", "/exchange"):
            return 404, b""
        if self.limits and not self.budget.allows(self.now):
            return 429, b"null"
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return 422, BAD_BODY
        if path == "/info":
            try:
                answer, weight = self.info.answer(decoded)
            except BadRequest:
                return 422, BAD_BODY
            self.budget.spend(self.now, weight)
            return 200, answer
        self.blocks += 1
        try:
            reply = self.actions.answer(decoded)
        except Malformed:
            return 422, BAD_BODY
        finally:
            self.streams.flush()
        self.budget.spend(self.now, 1 + _batch(decoded) // 40)
        return 200, msgspec.json.encode(reply)

    def connect(self, name: str = "") -> Session:
        """A new websocket session; its first frame is queued."""
        return self.streams.connect(name)

    def receive(self, session: Session, text: str) -> None:
        self.streams.receive(session, text)
        self.streams.flush()

    # Time.

    def advance(self, until_ms: int, *, waking: Session | None = None) -> None:
        """Runs every event up to `until_ms`.

        waking: stop at the end of the instant at which this session hears of an own order or fill.
        """
        if waking is not None:
            waking.woke = False
        while True:
            due = self._next_ms()
            if due > until_ms:
                break
            self.now = max(self.now, due)
            self._run_instant()
            if waking is not None and waking.woke:
                return
        self.now = max(self.now, until_ms)

    def _next_ms(self) -> int:
        due = self.funding.next_stamp(self.paid_hour + 1)
        spoken = self.streams.next_ms()
        if spoken is not None and spoken < due:
            due = spoken
        if self.scheduled:
            due = min(due, *self.scheduled.values())
        step = self.quotes.step_ms
        if self._watched():
            due = min(due, self.now - self.now % step + step)
        return due

    def _watched(self) -> bool:
        """Whether anybody would notice the quotes move."""
        return bool(self._watched_coins())

    def _watched_coins(self) -> list[str]:
        watched = dict.fromkeys(self.streams.watched_coins())
        for book in self.books.values():
            if book.orders[True] or book.orders[False]:
                watched[book.asset.base] = None
        for account in self.accounts.values():
            for asset_id, position in account.positions.items():
                if position.szi:
                    watched[self.assets[asset_id].base] = None
        return list(watched)

    def _run_instant(self) -> None:
        """Everything due at `now`: funding, quotes and their fills, liquidations, streams."""
        now = self.now
        self.blocks += 1
        if now >= self.funding.next_stamp(self.paid_hour + 1):
            self.paid_hour += 1
            self.funding.pay(self.paid_hour)
        if now % self.quotes.step_ms == 0:
            for name in self._watched_coins():
                coin = self.coins[name]
                for asset in (coin.perp, coin.spot):
                    self._step(asset)
            if now % LIQUIDATION_EVERY_MS == 0:
                for account in self.accounts.values():
                    if account.positions:
                        self.liquidation.check(account)
        for address, due in list(self.scheduled.items()):
            if due <= now:
                del self.scheduled[address]
                account = self.accounts[address]
                for order in list(account.orders.values()):
                    self.matching.cancel(account, order, "scheduledCancel")
        self.streams.on_time()
        self.streams.flush()

    def _step(self, asset: Asset) -> None:
        book = self.books[asset.asset_id]
        self.streams.touch(asset)
        if book.orders[True] or book.orders[False]:
            self.matching.on_step(book)
        if self.streams.hears_trades(asset):
            row = self.info.strangers_trade(asset, self.now)
            if row is not None:
                self.streams.trade(asset, row)

    # What the parts of an exchange ask of it.

    def mark(self, asset: Asset) -> Decimal:
        """Mark price in USDC; 0 for a perp nobody trades here."""
        if asset.base not in self.coins:
            return ZERO
        return units(self.quotes.mark(asset, self.now), asset.px_decimals)

    def reference(self, asset: Asset) -> Decimal:
        """What an order's price is held against: the mid of spot, the oracle of perps."""
        if asset.base not in self.coins:
            return units(1, 0)
        if asset.is_spot:
            px = self.quotes.on_tick(asset, self.quotes.mid8(asset, self.now))
        else:
            px = self.quotes.oracle(asset, self.now)
        return units(px, asset.px_decimals)

    def summary(self, account: Account) -> Summary:
        return Summary(account, self.assets, self.mark)

    def spot_free(self, account: Account, token: int) -> Decimal:
        return spot_available(account, token, self.summary(account))

    def equity(self, account: Account) -> Decimal:
        """Everything the account owns in USDC, spot at its mid."""
        summary = self.summary(account)
        value = account.perp_cash + account.spot[USDC_TOKEN].total + summary.pnl
        for coin in self.coins.values():
            held = account.spot.get(coin.token.index)
            if held is not None and held.total:
                px = self.quotes.on_tick(coin.spot, self.quotes.mid8(coin.spot, self.now))
                value += held.total * units(px, coin.spot.px_decimals)
        return value

    def account_for(self, address: str) -> Account:
        """The account of that address, opened empty if it is new."""
        account = self.accounts.get(address)
        if account is None:
            account = self.accounts[address] = Account(address, SPLIT)
        return account

    def add_daily(self, account: Account, value: Decimal, *, crossed: bool) -> None:
        """Books volume to the UTC day, as (taken, made)."""
        date = _utc_date(self.now)
        cross, add = account.daily_volume.get(date, (ZERO, ZERO))
        taken = (cross + value, add) if crossed else (cross, add + value)
        account.daily_volume[date] = taken

    def new_oid(self) -> int:
        self.last_oid += 1
        return self.last_oid

    def block_hash(self) -> str:
        """The transaction hash of this instant."""
        return "0x" + hashlib.sha256(f"{self.seed}/{self.blocks}".encode()).hexdigest()

    @staticmethod
    def is_address(text: str) -> bool:
        return _ADDRESS.fullmatch(text) is not None


def _batch(body: object) -> int:
    action = body.get("action") if isinstance(body, dict) else None
    if not isinstance(action, dict):
        return 1
    for key in ("orders", "cancels", "modifies"):
        if isinstance(action.get(key), list):
            return len(action[key])
    return 1


def _utc_date(time_ms: int) -> str:
    """YYYY-MM-DD of a time, without a time zone database (days to civil, H. Hinnant)."""
    days = time_ms // 86_400_000 + 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{day:02d}"
