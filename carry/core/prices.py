"""What prices may be used: those of books and quotes that are young enough, and no jokes."""

from .num import BPS, ONE
from .state import Carry, State
from .types import Book, Leg


def fresh_book(state: State, carry: Carry, leg: Leg) -> Book | None:
    """The book with depth of a leg, if young enough to price with."""
    seen = carry.books.get(leg.value)
    if seen is None or state.now_ms - seen.seen_ms > state.policy.risk.quote_age_ms_max:
        return None
    return seen.book


def fresh_quote(state: State, carry: Carry, leg: Leg) -> Book | None:
    """The newest best bid and offer of a leg, if young enough to price with."""
    seen = carry.quotes.get(leg.value)
    if seen is None or state.now_ms - seen.seen_ms > state.policy.risk.quote_age_ms_max:
        return None
    return seen.book


def near_oracle(state: State, carry: Carry) -> bool:
    """Whether no touch is further than `max_basis_bps` from the oracle; what is not seen is not."""
    if carry.context is None:
        return True
    oracle, limit = carry.context.oracle_px, state.policy.risk.max_basis_bps * BPS
    quotes = (fresh_quote(state, carry, leg) for leg in Leg)
    touches = (px for quote in quotes if quote is not None for px in (quote.bid_px, quote.ask_px))
    return all(abs(px / oracle - ONE) <= limit for px in touches)
