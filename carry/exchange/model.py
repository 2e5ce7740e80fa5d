"""The exchange: pure and deterministic. Bytes in, bytes out; time is an argument, never a clock.

`advance` runs everything that happens up to a time, in order; `http` and the sessions of `streams`
answer at the time reached. A run is a function of the seed, the market and the calls made.
"""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from .accounts import PORTFOLIO, SPLIT, Account, Agent, Nonces
from .actions import BATCHES, Actions
from .admission import Admission
from .answers import Malformed
from .assets import USDC_TOKEN, USDC_TOKEN_ID, Asset, Coin, all_coins
from .books import Book
from .channels import Channels
from .fees import Fees
from .funding import Funding
from .info import BAD_BODY, BadRequest, Info
from .liquidation import Liquidation
from .margin import Summary, spot_available
from .matching import Matching
from .meters import Meters
from .operations import Operations
from .paths import HOUR_MS, Market
from .quotes import Quotes
from .sessions import Session
from .settle import House
from .streams import Streams
from .switches import choose
from .text import USD6, ZERO, near, units, wire
from .triggers import Triggers
from .twap import Twaps

STEP_MS = 3_000
"""The quotes' grid: the venue's oracle and mark move about every 3 s."""

LIQUIDATION_EVERY_MS = 15_000
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


class Exchange:
    """One venue with its market, books and users. See the module.

    limits: whether budgets (address, IP) are enforced; `meters` counts them in any case.
    fee_tier: nobody pays more than this tier. switches: open questions answered otherwise than by
    default (see `switches`). known: every coin there is; left out, `all_coins`. quotes: what the
    maker quotes, where no market draws it.
    calm_until_ms: until then somebody else vouches that no order fills and no position is
    liquidated, so quotes are not looked at step by step (a year of hours is mostly that).
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
        switches: Mapping[str, str] | None = None,
        known: Mapping[str, Coin] | None = None,
        quotes: Quotes | None = None,
    ) -> None:
        known = all_coins() if known is None else known
        self.market = market
        self.seed = seed
        self.network = network
        self.limits = limits
        self.switches = choose(switches or {})
        self.now = market.start_ms
        self.coins = {name: known[name] for name in market.coins}
        every = [asset for coin in known.values() for asset in (coin.perp, coin.spot)]
        self.assets: dict[int, Asset] = {asset.asset_id: asset for asset in every}
        self.by_coin: dict[str, Asset] = {asset.coin: asset for asset in every}
        self.token_names = {USDC_TOKEN: "USDC"}
        self.token_ids = {USDC_TOKEN: USDC_TOKEN_ID}
        self.wei_decimals = {USDC_TOKEN: 8}
        for coin in known.values():
            self.token_names[coin.token.index] = coin.token.name
            self.token_ids[coin.token.index] = coin.token.token_id
            self.wei_decimals[coin.token.index] = coin.token.wei_decimals
            if self.switches["base_fee_decimals"] == "8":
                coin.spot.fee_decimals = 8
        self.quotes = quotes or Quotes(market, self.coins, seed, step_ms)
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
        self.calm_until_ms = 0
        self.meters = Meters()
        self.removals: dict[str, int] = {}
        self.delisted: dict[int, None] = {}
        self.oi_capped: dict[str, None] = {}
        self.margin_modes: dict[str, str] = {}
        self.fees = Fees(self, fee_tier)
        self.funding = Funding(self)
        self.info = Info(self)
        self.channels = Channels(self)
        self.streams = Streams(self)
        self.admission = Admission(self)
        self.matching = Matching(self)
        self.triggers = Triggers(self)
        self.twaps = Twaps(self)
        self.operations = Operations(self)
        self.liquidation = Liquidation(self)
        self.actions = Actions(self)
        self.paid_hour = self.now // HOUR_MS

    # Operators and tests.

    def set_start(self, now_ms: int) -> None:
        """Begins at `now_ms` instead of the market's start; only before anything happened."""
        assert now_ms >= self.market.start_ms, now_ms
        self.now = now_ms
        self.paid_hour = now_ms // HOUR_MS

    def open_account(
        self, address: str, *, mode: str = SPLIT, usdc: Decimal = ZERO,
        wallet: str | None = None,
    ) -> Account:
        """A funded user: split puts half into each wallet or all into `wallet`, unified has one."""
        address = address.lower()
        assert self.is_address(address), address
        account = self.accounts.get(address)
        if account is None:
            account = self.new_account(address, mode)
        perp = (usdc / 2).quantize(Decimal("0.000001"))
        if account.unified or wallet == "spot":
            perp = ZERO
        elif wallet == "perp":
            perp = usdc
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

    def force_adl(
        self, address: str, coin: str, fraction: Decimal, px: Decimal
    ) -> Decimal:
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
            usdc += account.perp_cash + account.vault_usd
            for token, balance in account.spot.items():
                if token == USDC_TOKEN:
                    usdc += balance.total
                else:
                    tokens[token] += balance.total
            for asset_id, position in account.positions.items():
                usdc += position.posted - position.cost
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
        if self.limits and not self.meters.allows(self.now):
            return 429, b"null" if self.switches["body_of_429"] == "null" else b""
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return 422, BAD_BODY
        if path == "/info":
            try:
                answer, weight = self.info.answer(decoded)
            except BadRequest as bad:
                return (422, BAD_BODY) if bad.status == 422 else (bad.status, b"null")
            self.meters.ip.spend(self.now, weight, decoded["type"])
            return 200, answer
        self.blocks += 1
        try:
            reply = self.actions.answer(decoded)
        except Malformed:
            return 422, BAD_BODY
        finally:
            self.streams.flush()
        kind = decoded["action"]["type"]
        self.meters.ip.spend(self.now, 1 + _batch(decoded["action"]) // 40, kind)
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
        if self.twaps.running:
            due = min(due, self.twaps.next_ms())
        step = self.quotes.step_ms
        if self.now >= self.calm_until_ms and self._watched():
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
        for asset_id in self.triggers.waiting:
            watched[self.assets[asset_id].base] = None
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
            if self.paid_hour % 24 == 0:
                self.operations.sweep_dust()
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
                self.actions.trading.fire(self.accounts[address])
        if self.twaps.running:
            self.twaps.run()
        self.streams.on_time()
        self.streams.flush()

    def _step(self, asset: Asset) -> None:
        book = self.books[asset.asset_id]
        self.streams.touch(asset)
        if book.orders[True] or book.orders[False]:
            self.matching.on_step(book)
        if asset.asset_id in self.triggers.waiting:
            self.triggers.check(asset)
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
        summary = Summary(account, self.assets, self.mark)
        if account.mode == PORTFOLIO:
            summary.collateral = self.collateral(account)
            summary.value += summary.collateral
        return summary

    def spot_free(self, account: Account, token: int) -> Decimal:
        return spot_available(account, token, self.summary(account))

    def equity(self, account: Account) -> Decimal:
        """Everything the account owns in USDC, spot at its mid."""
        summary = self.summary(account)
        value = account.perp_cash + account.spot[USDC_TOKEN].total + summary.pnl
        value += summary.alone_value + account.vault_usd
        for coin in self.coins.values():
            held = account.spot.get(coin.token.index)
            if held is not None and held.total:
                value += held.total * self.token_px(coin.token.index)
        return value

    def token_px(self, token: int) -> Decimal:
        """Mid of a token in USDC; 0 for one nobody trades here."""
        if token == USDC_TOKEN:
            return Decimal(1)
        for coin in self.coins.values():
            if coin.token.index == token:
                px = self.quotes.on_tick(coin.spot, self.quotes.mid8(coin.spot, self.now))
                return units(px, coin.spot.px_decimals)
        return ZERO

    def sub_accounts(self, account: Account) -> list[Account]:
        return [a for a in self.accounts.values() if a.master == account.address]

    def account_for(self, address: str) -> Account:
        """The account of that address, opened empty if it is new."""
        account = self.accounts.get(address)
        if account is None:
            account = self.new_account(address, self.switches["new_account_mode"])
        return account

    def new_account(self, address: str, mode: str) -> Account:
        """Opens an empty account."""
        account = self.accounts[address] = Account(address, mode)
        account.records_kept = int(self.switches["records_kept"])
        kept = int(self.switches["fills_kept"])
        if kept != account.fills.maxlen:
            account.fills = type(account.fills)(account.fills, maxlen=kept)
        return account

    def collateral(self, account: Account) -> Decimal:
        """What a portfolio account's tokens are good for: balance x price x loan to value."""
        ltv = self.loan_to_value()
        total = ZERO
        for token, balance in account.spot.items():
            share = ltv.get(self.token_names[token])
            if share is not None and balance.total > 0:
                total += balance.total * self.token_px(token) * share
        return near(total, USD6)

    def loan_to_value(self) -> dict[str, Decimal]:
        """By token name, what portfolio margin lends on."""
        return {"HYPE": Decimal(self.switches["hype_ltv"]), "UBTC": Decimal("0.5")}

    def add_daily(
        self, account: Account, value: Decimal, *, crossed: bool, is_spot: bool
    ) -> None:
        """Books volume to the UTC day, as (taken, made), and to what decides the fee tier."""
        self.fees.add_volume(account, value, is_spot=is_spot)
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


def _batch(action: dict[str, Any]) -> int:
    """How many orders or cancels an action carries."""
    items = action.get(BATCHES.get(str(action.get("type")), ""))
    return len(items) if isinstance(items, list) else 1


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
