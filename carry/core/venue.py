"""What a venue can do, as data: core reads this and names no venue."""

import enum

import attrs


class FenceKind(enum.Enum):
    """How an unknown write is closed.

    NONCE: a `noop` under the same nonce burns it (first one wins). EXPIRY: only the passing of the
    action's expiry proves that it can no longer land.
    """

    NONCE = "nonce"
    EXPIRY = "expiry"


@attrs.frozen(kw_only=True)
class Capabilities:
    """Rules of a venue that the core's logic depends on. Times in ms.

    expiry_ms: how long after the decision an action may still be accepted. nonce_ahead_ms_max: how
    far past the venue's clock a nonce may be allocated. funding_interval_ms: distance of funding
    payments, counted from the epoch. min_exempt_full_close: the minimum notional does not apply to
    an order that closes the whole perp position.
    """

    fence: FenceKind
    expiry_ms: int
    nonce_ahead_ms_max: int
    funding_interval_ms: int
    min_exempt_full_close: bool

    @property
    def interval_h(self) -> int:
        return self.funding_interval_ms // 3_600_000
