"""What an account pays: its tier, its staking and referral discounts, assessed once a UTC day.

Tier by 14-day volume, perps + 2 x spot, of a master with its sub-accounts. Source: docs "Fees".
"""

from decimal import Decimal
from typing import TYPE_CHECKING

from .accounts import Account, Rates
from .settle import TIERS, FeeTier
from .text import ZERO

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
TIER_DAYS = 14
REFERRAL = Decimal("0.04")
REFERRAL_VOLUME = Decimal(25_000_000)
STAKING = (
    (Decimal(10), "0.0001", Decimal("0.05")), (Decimal(100), "0.001", Decimal("0.1")),
    (Decimal(1_000), "0.01", Decimal("0.15")), (Decimal(10_000), "0.1", Decimal("0.2")),
    (Decimal(100_000), "1.0", Decimal("0.3")), (Decimal(500_000), "5.0", Decimal("0.4")),
)
"""(HYPE staked above, that in bps of the maximum supply, discount on both sides)."""


class Fees:
    """`floor`: nobody pays more than this tier."""

    def __init__(self, exchange: "Exchange", floor: int) -> None:
        self.ex = exchange
        self._floor = floor

    def _family(self, account: Account) -> list[Account]:
        head = self.ex.accounts.get(account.master, account)
        return [head, *self.ex.sub_accounts(head)]

    def weighted_volume(self, account: Account) -> Decimal:
        """Of the 14 UTC days before this one."""
        today = self.ex.now // DAY_MS
        return sum(
            (
                volume
                for member in self._family(account)
                for day, volume in member.weighted.items()
                if today - TIER_DAYS <= day < today
            ),
            ZERO,
        )

    def tier(self, account: Account) -> FeeTier:
        volume = self.weighted_volume(account)
        reached = max(i for i, tier in enumerate(TIERS) if volume >= tier.cutoff)
        return TIERS[max(reached, self._floor)]

    def staking_discount(self, account: Account) -> tuple[str, Decimal]:
        """(bps of the maximum supply of the step reached, discount)."""
        head = self.ex.accounts.get(account.master, account)
        found = ("0.0", ZERO)
        for above, bps, discount in STAKING:
            if head.staked > above:
                found = (bps, discount)
        return found

    def referral_discount(self, account: Account) -> Decimal:
        head = self.ex.accounts.get(account.master, account)
        return REFERRAL if head.referrer and head.volume < REFERRAL_VOLUME else ZERO

    def shown(self, account: Account) -> Rates:
        """What userFees answers: tier and staking discount, without the referral's."""
        tier = self.tier(account)
        keep = 1 - self.staking_discount(account)[1]
        return Rates(
            self.ex.now // DAY_MS, tier.perp_cross * keep, tier.perp_add * keep,
            tier.spot_cross * keep, tier.spot_add * keep,
        )

    def rate(self, account: Account, *, is_spot: bool, crossed: bool) -> Decimal:
        """What a fill is charged, as a fraction of its value."""
        rates = account.rates
        if rates is None or rates.day != self.ex.now // DAY_MS:
            rates = self.shown(account)
            keep = 1 - self.referral_discount(account)
            if keep != 1:
                rates = Rates(
                    rates.day, rates.perp_cross * keep, rates.perp_add * keep,
                    rates.spot_cross * keep, rates.spot_add * keep,
                )
            account.rates = rates
        if is_spot:
            return rates.spot_cross if crossed else rates.spot_add
        return rates.perp_cross if crossed else rates.perp_add

    def add_volume(self, account: Account, value: Decimal, *, is_spot: bool) -> None:
        day = self.ex.now // DAY_MS
        weighted = account.weighted
        weighted[day] = weighted.get(day, ZERO) + (2 * value if is_spot else value)
        if len(weighted) > TIER_DAYS + 1:
            del weighted[min(weighted)]
