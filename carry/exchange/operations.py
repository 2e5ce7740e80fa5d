"""What only the venue's operator can do: stakes, volumes, upgrades, caps, delistings, dust."""

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Exchange

MINUTE_MS = 60_000
SETTLE_MINUTES = 60
DUST_USD = 1


class Operations:
    """No protocol reaches these."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def give_volume(self, address: str, usdc: Decimal) -> None:
        """As if the user had traded that much before this exchange began."""
        self.ex.accounts[address.lower()].volume += usdc
        self.ex.changed = True

    def stake(self, address: str, hype: Decimal) -> None:
        """HYPE the user has staked; it counts for his fees from now on."""
        account = self.ex.accounts[address.lower()]
        account.staked = hype
        account.rates = None
        self.ex.changed = True

    def upgrade(self, post_only_ms: int) -> None:
        """A network upgrade is over: only post-only orders are taken for that long."""
        self.ex.post_only_until_ms = self.ex.now + post_only_ms
        self.ex.changed = True

    def cap_open_interest(self, coin: str, capped: bool = True) -> None:
        """Open interest of a perp reaches its cap, or leaves it."""
        if capped:
            self.ex.oi_capped[coin] = None
        else:
            self.ex.oi_capped.pop(coin, None)
        self.ex.changed = True

    def set_margin_mode(self, coin: str, mode: str) -> None:
        """`strictIsolated`: margin of a position never comes out. `noCross`: isolated only."""
        assert mode in ("strictIsolated", "noCross"), mode
        self.ex.margin_modes[coin] = mode
        self.ex.info.set_margin_mode(self.ex.coins[coin].perp, mode)

    def delist(self, coin: str) -> None:
        """Ends a perp: orders are cancelled, positions settle at the oracle's mean of an hour."""
        asset = self.ex.coins[coin].perp
        at = range(0, SETTLE_MINUTES * MINUTE_MS, MINUTE_MS)
        quotes, now = self.ex.quotes, self.ex.now
        oracle8 = sum(quotes.oracle8(coin, now - back) for back in at) // SETTLE_MINUTES
        px = quotes.on_tick(asset, oracle8)
        self.ex.delisted[asset.asset_id] = None
        self.ex.info.delist(asset)
        self.ex.twaps.end_of(asset)
        for account in self.ex.accounts.values():
            for order in (*account.orders.values(), *account.sleeping()):
                if order.asset is asset:
                    self.ex.matching.cancel(account, order, "delistedCanceled")
            held = int(abs(account.szi(asset.asset_id)).scaleb(asset.sz_decimals))
            if held:
                self.ex.matching.force(
                    account, asset, sz=held, px=px, row={"dir": "Settlement"}
                )
        self.ex.streams.flush()
        self.ex.changed = True

    def sweep_dust(self) -> None:
        """00:00 UTC: token balances below a lot and worth at most a dollar become USDC."""
        for account in self.ex.accounts.values():
            for coin in self.ex.coins.values():
                held = account.spot.get(coin.token.index)
                if held is None or not held.total:
                    continue
                lot = Decimal(1).scaleb(-coin.spot.sz_decimals)
                px = self.ex.token_px(coin.token.index)
                if held.total < lot and held.total * px <= DUST_USD:
                    self.ex.matching.convert_dust(account, coin.spot, held, px)
