"""Double entries: each transaction sums to zero, income and expenses to what `carry pnl` says."""

import csv
import io
from collections import defaultdict
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.cli.main import main
from carry.core import ledger
from carry.core.actions import Posting
from carry.core.types import Leg
from carry.research import accounts, export
from carry.research.accounts import Books
from carry.research.export import Row
from tests.research.test_accounts import made as made  # a small history by hand

HOUR = accounts.HOUR_MS


@pytest.fixture(params=["journal", "stormy", "taken", "made"])
def books(request: pytest.FixtureRequest) -> Books:
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Books) else accounts.read(found)


def by(rows: list[Row], name: str) -> dict[Any, D]:
    sums: dict[Any, D] = defaultdict(D)
    for row in rows:
        sums[getattr(row, name)] += row.usd
    return sums


@pytest.mark.parametrize("method", ["fifo", "average"])
def test_every_transaction_sums_to_zero_and_all_of_them_to_the_pnl(
    books: Books, method: str
) -> None:
    rows = export.rows(books, 0, None, method)
    assert len(rows) > 10
    assert set(by(rows, "transaction").values()) == {D(0)}
    pnl = ledger.total(books.state)
    totals = by(rows, "account")
    assert export.net_usd(rows) == pnl.net_usd
    assert -totals["income:funding"] == pnl.funding_usd
    assert totals["expenses:fees"] == pnl.fees_usd
    traded = -totals["income:gains"] - totals["income:unrealised"] - totals["expenses:external"]
    assert traded == pnl.basis_usd + pnl.slippage_usd + pnl.external_usd
    assert -totals["equity:transfers"] == books.state.account.transfers_usd


@pytest.mark.parametrize("method", ["fifo", "average"])
def test_intervals_add_up_to_the_whole(books: Books, method: str) -> None:
    """What is not closed at the end of a year is valued there, and taken back in the next."""
    first, end = books.first_ms, books.end_ms
    cuts = [0, first + (end - first) // 3, first + (end - first) // 2, None]
    parts = list(pairwise(cuts))
    for from_ms, to_ms in parts:
        assert from_ms is not None
        rows = export.rows(books, from_ms, to_ms, method)
        (earned,) = accounts.between(books, [from_ms, to_ms])
        assert export.net_usd(rows) == earned.pnl.net_usd
        assert set(by(rows, "transaction").values()) <= {D(0)}
    late = export.rows(books, end + HOUR, None, method)
    assert export.net_usd(late) == 0


def test_what_is_held_and_the_cash_by_hand(made: Books) -> None:
    """10 bought at 20.1 and 5 sold at 23.9; 10 short from 19.9; 0.3 of fees, 0.2 paid, 100 came."""
    rows = export.rows(made, 0, None, "fifo")
    held = [row for row in rows if row.kind != "valuation"]
    totals = by(held, "account")
    assert totals["assets:usd"] == -201 + D("119.5") - D("0.3") + D("0.2") + 100
    assert totals["assets:spot:HYPE"] == D("100.5")
    assert totals["assets:perp:HYPE"] == -199
    assert totals["assets:perp:HYPE:entry"] == 199
    assert totals["income:gains"] == -19  # 5 x (23.9 - 20.1)
    sold = [row for row in held if row.account == "assets:spot:HYPE" and row.usd < 0]
    assert [(row.amount, row.usd, row.opened_ms) for row in sold] == [
        (D(-5), D("-100.5"), HOUR - 100)
    ]
    fee = next(row for row in held if row.account == "expenses:fees")
    assert (fee.amount, fee.unit, fee.usd) == (D("0.005"), "HYPE", D("0.1"))


def test_what_came_or_went_without_a_trade(made: Books) -> None:
    """Adopted, handed over, deleveraged with a fee, withdrawn, brought forward: still the pnl."""
    perp, spot = {"coin": "HYPE", "leg": Leg.PERP}, {"coin": "HYPE", "leg": Leg.SPOT}
    more = [
        Posting(
            kind="opening", ref="", at_ms=1, **spot, sz=D(2), px=D(18), ref_px=D(18),
            ref_cost_usd=D(30), fees_usd=D(3), funding_usd=D(7), slippage_usd=D(-1),
            external_usd=D(2),
        ),
        ledger.moved("adopted", "HYPE", Leg.SPOT, D(3), D(22), HOUR + 60, known=True),
        Posting(
            kind="external", ref="t9", at_ms=HOUR + 61, **perp, sz=D(4), px=D(40), ref_px=D(22),
            external_usd=D(4) * (22 - 40) - D("0.5"), ref_cost_usd=D(88),
        ),
        ledger.appeared("HYPE", Leg.SPOT, D(-1), D(0), D(22), HOUR + 62),
        ledger.moved("handed_over", "HYPE", Leg.SPOT, D(-2), D(23), HOUR + 63, known=True),
    ]  # fmt: skip
    lines = tuple(sorted((*made.lines, *more), key=lambda line: line.at_ms))
    carry = made.state.carries["HYPE"]
    for line in more:
        carry = attrs.evolve(carry, ledger=ledger.post(carry.ledger, line))
    carry = attrs.evolve(carry, spot_sz=D(7), perp_sz=D(-6))
    books = attrs.evolve(made, lines=lines, state=attrs.evolve(made.state, carries={"HYPE": carry}))
    for method in ("fifo", "average"):
        rows = export.rows(books, 0, None, method)
        totals = by(rows, "account")
        assert set(by(rows, "transaction").values()) == {D(0)}
        assert export.net_usd(rows) == ledger.total(books.state).net_usd
        assert totals["expenses:external"] == D("0.5")
        assert totals["equity:adopted"] == -66 + 46
    assert accounts.between(books, [0, None])[0].pnl == ledger.total(books.state)


def test_the_command_writes_what_a_program_can_sum(
    journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*args: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["export", "--state-db", journal, "--format", "csv", *args])
        assert ended.value.code == 0
        return capsys.readouterr().out

    net = ledger.total(accounts.read(journal).state).net_usd
    for args in ((), ("--year", "2026"), ("--year", "2026", "--lots", "average")):
        rows = list(csv.DictReader(io.StringIO(told(*args))))
        assert sum(D(row["usd"]) for row in rows) == 0
        earned = [row for row in rows if row["account"].startswith(("income", "expenses"))]
        assert -sum(D(row["usd"]) for row in earned) == net
    assert list(csv.DictReader(io.StringIO(told("--year", "2025")))) == []
    path = tmp_path / "books.csv"
    assert "as `carry pnl` says" in told("-o", str(path))
    assert path.read_text() == told()
