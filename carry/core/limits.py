"""What sizes were last judged by, what shrinks, and what was moved between wallets today."""

from decimal import Decimal

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of a size as the policy had them when sizes were last judged by them, USD."""

    target: Decimal
    market: Decimal
    portfolio: Decimal


@attrs.frozen(kw_only=True)
class Moved:
    """A move between wallets that counts against the day: intent, when it was asked for, USD."""

    no: int
    ms: int
    usd: Decimal


@attrs.frozen(kw_only=True)
class Shrink:
    """Both legs go down to `to_sz` base units of spot, slice by slice. `why`: "liquidation",
    "hard_cap", "target" or "leverage"."""

    to_sz: Decimal
    why: str
