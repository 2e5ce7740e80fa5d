"""The lines of the ledger in the journal: all of them, once, and their sums are the totals."""

from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.core import ledger
from carry.core.actions import Posting
from carry.core.observations import Context, Observations
from carry.core.state import Account, Carry, Ledger, Outside, State
from carry.core.types import Leg
from carry.shell.journal import Journal

ACCOUNT = "0x" + "a" * 40
HOUR_MS = 3_600_000
CONTEXT = Context(mark_px=D(25), oracle_px=D("24.9"), funding_rate=D("0.0001"))
HELD = Carry(coin="HYPE", spot_sz=D(8), perp_sz=D(-7), context=CONTEXT)
LINE = Posting(
    kind="fill",
    ref="7",
    at_ms=HOUR_MS + 5,
    coin="HYPE",
    leg=Leg.SPOT,
    sz=D("0.9993"),
    px=D("25.01"),
    ref_px=D(25),
    fees_usd=D("1E-7"),
    slippage_usd=D("-0.009993"),
    ref_cost_usd=D("24.9825"),
    turnover_usd=D("25.01"),
)


@pytest.fixture
def open_(tmp_path: Path) -> Callable[[], Journal]:
    return lambda: Journal.open(str(tmp_path / "carry.db"), network="n", account=ACCOUNT)


def rows(journal: Journal, sql: str) -> list[Any]:
    return journal._db.execute(sql).fetchall()


def test_a_line_is_kept_as_it_was_posted(
    open_: Callable[[], Journal], state: State, tick: Observations
) -> None:
    journal = open_()
    journal.begin(state, 1)
    journal.commit(attrs.evolve(tick, venue_ms=HOUR_MS + 9), state, (LINE, LINE))
    names = [field.name for field in attrs.fields(Posting)]
    found = rows(journal, f"SELECT seq, n, {', '.join(names)} FROM postings")
    assert [row[:2] for row in found] == [(1, 0), (1, 1)]
    for row in found:
        kept = dict(zip(names, row[2:], strict=True))
        assert kept.pop("leg") == "spot"
        for name, value in kept.items():
            was = getattr(LINE, name)
            assert value == (format(was, "f") if isinstance(was, D) else was), name


def test_prices_are_kept_each_hour_and_at_each_booking(
    open_: Callable[[], Journal], state: State, tick: Observations
) -> None:
    """An hour's prices are the first seen in it, under the hour; a market without any has none. A
    booking's are under its own time, or under now when it was long ago; a payment needs none."""
    journal = open_()
    journal.begin(state, 1)
    unseen = attrs.evolve(HELD, coin="SOL", context=None)
    state = attrs.evolve(state, carries={"HYPE": HELD, "SOL": unseen})
    for at_ms in (HOUR_MS + 9, HOUR_MS + 1_009, 2 * HOUR_MS + 9, 2 * HOUR_MS + 10):
        later = attrs.evolve(CONTEXT, mark_px=D(at_ms))
        state = attrs.evolve(
            state, carries={**state.carries, "HYPE": attrs.evolve(HELD, context=later)}
        )
        changed = attrs.evolve(LINE, at_ms=HOUR_MS + 700)
        long_ago = attrs.evolve(LINE, at_ms=5)
        paid = attrs.evolve(LINE, kind="funding", at_ms=HOUR_MS + 800, sz=D(0))
        lines = (changed, long_ago, paid) if at_ms == HOUR_MS + 1_009 else ()
        journal.commit(attrs.evolve(tick, venue_ms=at_ms), state, lines)
    journal.commit(attrs.evolve(tick, venue_ms=None), state, ())
    assert rows(journal, "SELECT coin, at_ms, spot_px, oracle_px FROM marks") == [
        ("HYPE", HOUR_MS, str(HOUR_MS + 9), "24.9"),
        ("HYPE", HOUR_MS + 700, str(HOUR_MS + 1_009), "24.9"),
        ("HYPE", HOUR_MS + 1_009, str(HOUR_MS + 1_009), "24.9"),
        ("HYPE", 2 * HOUR_MS, str(2 * HOUR_MS + 9), "24.9"),
    ]
    assert rows(journal, "SELECT count(*) FROM equity") == [(0,)], "its account was never read"


def test_a_journal_that_kept_totals_only_is_brought_forward(
    open_: Callable[[], Journal], state: State
) -> None:
    """One that an older program wrote: the sums of its first lines are what it stands at."""
    journal = open_()
    totals = Ledger(
        funding_usd=D("3.1"), fees_usd=D("0.7"), slippage_usd=D("-0.2"), external_usd=D(1),
        ref_cost_usd=D("24.5"), turnover_usd=D(400),
    )  # fmt: skip
    carry = attrs.evolve(HELD, ledger=totals)
    outside = Outside(ref_cost_usd=D(50), cash_usd=D("-0.3"))
    account = Account(transfers_usd=D(1_000), outside=outside)
    journal.begin(attrs.evolve(state, carries={"HYPE": carry}, account=account), 1)
    for table in ("postings", "marks", "equity"):
        journal._db.execute(f"DROP TABLE {table}")
    journal._db.execute("UPDATE meta SET value = '2' WHERE key = 'layout'")
    journal.close()

    for _ in range(2):  # brought forward once, not at each start
        again = open_()
        found = again.load()
        assert found is not None
        names = [field.name for field in attrs.fields(Ledger)]
        sums = {
            name: sum(D(value) for (value,) in rows(again, f"SELECT {name} FROM postings"))
            for name in (*names, "transfers_usd", "foreign_usd", "outside_usd")
        }
        assert Ledger(**{name: sums[name] for name in names}) == found.carries["HYPE"].ledger
        assert (sums["transfers_usd"], sums["foreign_usd"], sums["outside_usd"]) == (
            1_000, 50, D("-0.3"),
        )  # fmt: skip
        held = {leg: D(sz) for leg, sz in rows(again, "SELECT leg, sz FROM postings") if leg}
        assert held == {"spot": 8, "perp": -7}
        again.close()


def test_the_state_s_totals_are_the_sums_of_lines() -> None:
    twice = ledger.post(ledger.post(Ledger(), LINE), LINE)
    assert twice == Ledger(
        fees_usd=D("2E-7"),
        slippage_usd=D("-0.019986"),
        ref_cost_usd=D("49.965"),
        turnover_usd=D("50.02"),
    )
