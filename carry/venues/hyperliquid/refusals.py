"""The venue's sentences as our codes (`core.observations.REFUSALS`), matched by their beginning.

Live texts end in ` asset=N`, which the documentation does not show; some begin with `L1 error: `.
A sentence that is not here is not a refusal: the outcome is unknown, and the fence decides.
Sources: hyperliquid-docs error-responses; recorded replies; tables of public connectors.
"""

from collections.abc import Sequence

ORDER_GONE = "Order was never placed, already canceled, or filled"
DUPLICATE_NONCE = "Invalid nonce: duplicate nonce"
NONCE_TOO_LOW = "Invalid nonce: nonce too low"

_BEGINNINGS: Sequence[tuple[str, str]] = (
    ("Order could not immediately match against any resting orders", "no_match"),
    ("No liquidity available for market order", "no_match"),
    ("Post only order would have immediately matched", "post_only_crossed"),
    ("Only post-only orders allowed immediately after", "post_only_window"),
    ("Reduce only order would increase position", "reduce_only"),
    ("Order must have minimum value of", "min_notional"),
    ("Insufficient margin to place order", "margin"),
    ("Order would cause position to exceed margin tier limit", "margin"),
    ("Insufficient spot balance", "balance"),
    ("Order has insufficient spot balance", "balance"),
    ("Insufficient balance for", "balance"),
    ("Price must be divisible by tick size", "tick"),
    ("Order has invalid price", "tick"),
    ("Order has invalid size", "lot"),
    ("Order has zero size", "lot"),
    ("Order price too far from oracle", "price_band"),
    ("Price too far from oracle", "price_band"),
    ("Order price cannot be more than", "price_band"),
    ("Order would increase open interest", "oi_cap"),
    ("Order price more aggressive than oracle while at open interest cap", "oi_cap"),
    ("Order price is more aggressive than oracle while at open interest cap", "oi_cap"),
    ("Order has price more aggressive than oracle while at open interest cap", "oi_cap"),
    ("Too many cumulative requests sent", "budget"),
    ("Action already expired", "expired"),
    (NONCE_TOO_LOW, "nonce"),
    # Not a refusal of the order: our bytes leave once, so a proxy may have delivered them twice and
    # the first copy may have executed, or another program signs with our key. The core decides it
    # from the records, and counts the second.
    (DUPLICATE_NONCE, "nonce"),
    ("User or API Wallet ", "identity"),
    ("Must deposit before performing actions", "identity"),
    ("Unable to recover signer", "identity"),
    ("User has pending agent removal", "identity"),
    ("Invalid leverage value", "leverage"),
    ("Cannot switch leverage type with open position", "leverage"),
    ("Isolated position does not have sufficient margin available to decrease", "leverage"),
    ("Position does not use isolated margin", "leverage"),
    ("Trading is halted", "halted"),
    ("Action disabled when unified account is active", "disabled"),
    ("Unified account only supports", "disabled"),
    ("Abstraction transition not allowed", "disabled"),
    ("Invalid TP/SL price", "other"),
    ("Orders are empty", "other"),
    ("Invalid spot", "other"),
    ("Reduce-only is invalid for spot trading", "other"),
    ("Signed action over weight limit", "other"),
    ("Invalid order: cloid already used", "other"),
    ("Builder fee has not been approved", "other"),
    ("Invalid send", "other"),
    ("Agent can only send asset to", "other"),
    ("Cannot modify canceled or filled order", "other"),
    ("Error placing new order during modify", "other"),
    ("Unexpected number of trigger orders", "other"),
    ("Invalid TWAP duration", "other"),
    ("TWAP was never placed", "other"),
    ("Cannot set scheduled cancel time", "other"),
    ("Extra agent already used", "identity"),
    ("Too many extra agents", "identity"),
    ("Agent valid_until already expired", "identity"),
)


def plain(text: str) -> str:
    """The sentence without the prefix that some routes put before it."""
    return text.strip().removeprefix("L1 error: ")


def code_of(text: str) -> str | None:
    """Our code of a refusal; None when the sentence is not a known one."""
    sentence = plain(text)
    for beginning, code in _BEGINNINGS:
        if sentence.startswith(beginning):
            return code
    return None


def closes_nonce(text: str) -> bool:
    """Whether a refused fence proves that nothing more can land under its nonce."""
    return plain(text).startswith((DUPLICATE_NONCE, NONCE_TOO_LOW))


def says_gone(text: str) -> bool:
    """Whether a refused cancel says that there is nothing left to cancel."""
    return plain(text).startswith(ORDER_GONE)
