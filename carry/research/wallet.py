"""What an account holds, fill by fill and payment by payment: the books of a what-if.

It is the venue's side, kept apart from the bot's ledger, which is held against it: the residual of
a what-if is 0.
"""

from decimal import Decimal

import attrs

from carry.core import observations as seen
from carry.core.num import ZERO
from carry.core.types import AccountMode, Fill, FundingReceipt, Leg, Transfer


@attrs.define(kw_only=True)
class Wallet:
    """Holdings by coin and USD by wallet.

    usd: the quote wallet; of a unified account without what positions cost. raw_usd: the perp
    wallet's cash leg (split). entry: signed cost of each position. known: ids that are in it
    already; *_floor_at_ms: nothing older is missing. since_ms: venue time from which it is kept.
    due: payments whose rate is not known yet, by coin and time: size and oracle price.
    """

    mode: AccountMode
    usd: Decimal
    raw_usd: Decimal
    interval_ms: int
    receipts_floor_at_ms: int
    transfers_floor_at_ms: int
    since_ms: int
    coins: dict[str, Decimal]
    perps: dict[str, Decimal]
    entry: dict[str, Decimal]
    oracles: dict[str, Decimal]
    known: dict[str, int]
    at_ms: int
    fills: list[Fill] = attrs.field(factory=list)
    receipts: list[FundingReceipt] = attrs.field(factory=list)
    transfers: list[Transfer] = attrs.field(factory=list)
    due: dict[tuple[str, int], tuple[Decimal, Decimal]] = attrs.field(factory=dict)

    def book(self, fill: Fill) -> None:
        """Change the holdings by a fill, once."""
        if fill.trade_id in self.known:
            return
        self.known[fill.trade_id] = fill.at_ms
        self.fills.append(fill)
        coin, cash = fill.coin, fill.cash_change
        if fill.leg is Leg.SPOT:
            self.coins[coin] = self.coins.get(coin, ZERO) + fill.base_change
            self.usd += cash
            return
        held, change = self.perps.get(coin, ZERO), fill.base_change
        cost = self.entry.get(coin, ZERO)
        if held * change >= 0:
            cost += change * fill.px
        else:
            cost += cost * change / held  # what is closed leaves at its average cost
        self.perps[coin] = held + change
        self.entry[coin] = cost if held + change else ZERO
        if self.mode is AccountMode.SPLIT:
            self.raw_usd += cash
        else:
            self.usd += cash

    def pay(self, now_ms: int) -> None:
        """Note what was held at each payment since the last look; its rate comes later."""
        first = self.at_ms // self.interval_ms + 1
        for number in range(first, now_ms // self.interval_ms + 1):
            for coin, sz in self.perps.items():
                if sz and coin in self.oracles:
                    self.due[coin, number * self.interval_ms] = (sz, self.oracles[coin])

    def settle(self, read: seen.PrintsRead | seen.ReceiptsRead) -> None:
        """Book payments whose rate is told: by what was settled, or by what history was paid."""
        if isinstance(read, seen.PrintsRead):
            for printed in read.prints:
                held = self._due(read.coin, printed.at_ms)
                if held is not None:
                    usd = -held[0] * held[1] * printed.rate
                    self._paid(read.coin, printed.at_ms, usd, held[0], printed.rate)
            return
        for paid in read.receipts:
            key = f"funding:{paid.coin}:{paid.at_ms}"
            held = self._due(paid.coin, paid.at_ms)
            if held is not None and paid.sz:
                # What was paid on another size tells the oracle price, too.
                self._paid(paid.coin, paid.at_ms, paid.usd * held[0] / paid.sz, held[0], paid.rate)
            elif self.receipts_floor_at_ms <= paid.at_ms <= self.since_ms:
                if key not in self.known:  # of before, and not read then
                    self._paid(paid.coin, paid.at_ms, paid.usd, paid.sz, paid.rate)

    def _due(self, coin: str, at_ms: int) -> tuple[Decimal, Decimal] | None:
        """Stamps trail the payment by some ms."""
        boundary = round(Decimal(at_ms) / self.interval_ms) * self.interval_ms
        return self.due.pop((coin, boundary), None)

    def _paid(self, coin: str, at_ms: int, usd: Decimal, sz: Decimal, rate: Decimal) -> None:
        self.known[f"funding:{coin}:{at_ms}"] = at_ms
        if self.mode is AccountMode.SPLIT:
            self.raw_usd += usd
        else:
            self.usd += usd
        self.receipts.append(FundingReceipt(coin=coin, at_ms=at_ms, usd=usd, sz=sz, rate=rate))

    def came(self, read: seen.TransfersRead) -> None:
        """Money that came or went in history came or went here, too; moves between wallets did
        not, unless they were asked for before."""
        for transfer in read.transfers:
            key = f"transfer:{transfer.transfer_id}"
            if key in self.known or not transfer.usd or transfer.at_ms < self.transfers_floor_at_ms:
                continue
            self.known[key] = transfer.at_ms
            self.usd += transfer.usd
            self.transfers.append(transfer)

    def _worth(self, coin: str) -> Decimal:
        return self.perps[coin] * self.oracles.get(coin, ZERO)

    def positions(self, issued_ms: int) -> seen.PositionsRead:
        held = {coin: sz for coin, sz in self.perps.items() if sz}
        value = sum((self._worth(coin) for coin in held), ZERO)
        return seen.PositionsRead(
            positions={
                coin: seen.Position(
                    sz=sz, entry_ntl=self.entry[coin], margin_used=abs(self._worth(coin))
                )
                for coin, sz in held.items()
            },
            raw_usd=self.raw_usd,
            equity=self.raw_usd + value,
            margin_used=abs(value),
            maintenance=ZERO,  # the core's own figure is the larger one
            at_ms=self.at_ms,
            issued_ms=issued_ms,
        )

    def balances(self, issued_ms: int) -> seen.BalancesRead:
        usd = self.usd
        if self.mode is not AccountMode.SPLIT:
            usd += sum(self.entry.values(), ZERO)
        return seen.BalancesRead(
            usd=seen.Balance(total=usd, hold=ZERO),
            coins={c: seen.Balance(total=sz, hold=ZERO) for c, sz in self.coins.items() if sz},
            issued_ms=issued_ms,
        )
