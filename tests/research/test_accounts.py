"""What an interval earned: causes by hand, and every partition adds up to the state's totals."""

import json
import random
import sqlite3
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.cli.main import main
from carry.core import ledger
from carry.core.actions import Posting
from carry.core.num import show, use_exact_context
from carry.core.observations import Context
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import Account, Carry, State
from carry.core.types import FundingReceipt, Leg
from carry.core.venue import Capabilities, FenceKind
from carry.research import accounts, statement
from carry.research.accounts import Books, Mark, Told, Turn
from carry.shell.database import JournalRefused
from carry.shell.journal import Journal

HOUR = accounts.HOUR_MS
DAY = accounts.DAY_MS


# --- journals of whole lives ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["journal", "stormy", "taken"])
def books(request: pytest.FixtureRequest) -> Books:
    return accounts.read(request.getfixturevalue(request.param))


def total(rows: list[dict[str, Any]]) -> dict[str, D]:
    return {name: sum((D(row[name]) for row in rows), D(0)) for name in statement.CAUSES}


def of_state(state: State) -> dict[str, D]:
    pnl = ledger.total(state)
    return {name: getattr(pnl, name) for name in statement.CAUSES}


@pytest.mark.parametrize("by", ["hour", "day", "market", "carry"])
def test_rows_add_up_to_the_state_exactly(books: Books, by: str) -> None:
    rows = statement.rows(books, by, 0, None)
    assert rows
    assert total(rows) == of_state(books.state)
    whole = statement.whole(books, 0, None)
    assert {name: D(whole[name]) for name in statement.CAUSES} == of_state(books.state)
    assert D(whole["residual_usd"]) == books.state.account.residual_usd
    assert D(whole["transfers_usd"]) == books.state.account.transfers_usd
    assert D(whole["outside_usd"]) == books.state.account.outside.cash_usd


def test_any_partition_adds_up(books: Books) -> None:
    """Cut anywhere, however often, also between two lines of one millisecond's neighbours."""
    rng = random.Random(7)
    seen = [line.at_ms for line in books.lines]
    for _ in range(20):
        cuts = sorted({rng.choice(seen) + rng.randrange(-2, 3) for _ in range(rng.randrange(1, 6))})
        parts = accounts.between(books, [0, *cuts, None])
        summed = accounts.Earned()
        for part in parts:
            summed = accounts.plus(summed, part)
        assert summed.pnl == ledger.total(books.state), cuts
        turned = sum(carry.ledger.turnover_usd for carry in books.state.carries.values())
        assert summed.turnover_usd == turned
        for by in ("hour", "carry", "market"):
            cut = statement.rows(books, by, cuts[0], cuts[-1] if len(cuts) > 1 else None)
            (part,) = accounts.between(books, [cuts[0], cuts[-1] if len(cuts) > 1 else None])
            assert total(cut)["net_usd"] == part.pnl.net_usd


def test_what_the_venue_took_is_external(taken: str) -> None:
    found = accounts.read(taken)
    (made,) = statement.statements(found, "month")
    assert made["external"]
    assert all(one["leg"] == "perp" and one["trade"] for one in made["external"])
    assert D(made["external_usd"]) == sum(D(one["usd"]) for one in made["external"]) != 0
    assert found.state.account.residual_usd == 0


def test_equity_is_the_baseline_and_what_is_explained(books: Books) -> None:
    """The last line of a statement is no plug: each term has its own source."""
    state = books.state
    assert state.account.baseline_usd is not None
    explained = state.account.baseline_usd + ledger.explained(state)
    value = ledger.account_value(state)
    assert value is not None
    (made,) = statement.statements(books, "month")
    assert made["equity_before_usd"] == show(state.account.baseline_usd)
    assert made["equity_after_usd"] == show(value)
    assert abs(value - explained) < 1
    fees = {"USD": D(0)}
    for line in books.lines:
        if line.kind == "fill":
            assert line.leg is not None
            token, fee = books.tokens[line.ref, line.coin or "", line.leg.value]
            fees[token] = fees.get(token, D(0)) + fee
    assert {token: D(fee) for token, fee in made["fees_by_token"].items()} == fees
    assert len(fees) > 1, "spot buys pay in the coin"


# --- by hand --------------------------------------------------------------------------------------

CAPABILITIES = Capabilities(
    fence=FenceKind.NONCE, expiry_ms=1, nonce_ahead_ms_max=1, funding_interval_ms=HOUR,
    min_exempt_full_close=True,
)  # fmt: skip


def line(at_ms: int, leg: Leg, sz: str, px: str, ref: str, **more: Any) -> Posting:
    net, at_px, ref_px = D(sz), D(px), D(ref)
    return Posting(
        kind="fill", ref=f"{at_ms}", at_ms=at_ms, coin="HYPE", leg=leg, sz=net, px=at_px,
        ref_px=ref_px, slippage_usd=net * (ref_px - at_px), ref_cost_usd=net * ref_px,
        fees_usd=D("0.1"), turnover_usd=abs(net) * at_px, **more,
    )  # fmt: skip


@pytest.fixture
def made() -> Books:
    """Spot 10 bought at 20.1 (mid 20), 10 sold short at 19.9, paid at 1 h; half sold in 2 h."""
    use_exact_context()
    paid = Posting(
        kind="funding", ref="", at_ms=HOUR + 50, coin="HYPE", leg=Leg.PERP, funding_usd=D("0.2")
    )
    lines = (
        line(HOUR - 100, Leg.SPOT, "10", "20.1", "20"),
        line(HOUR - 50, Leg.PERP, "-10", "19.9", "20"),
        paid,
        line(2 * HOUR + 7, Leg.SPOT, "-5", "23.9", "24"),
        Posting(kind="transfer", ref="t", at_ms=2 * HOUR + 9, coin=None, transfers_usd=D(100)),
    )
    totals = attrs.evolve(
        Carry(coin="HYPE"), spot_sz=D(5), perp_sz=D(-10),
        context=Context(mark_px=D(26), oracle_px=D(26), funding_rate=D("0.001")),
    )  # fmt: skip
    for each in lines[:4]:
        totals = attrs.evolve(totals, ledger=ledger.post(totals.ledger, each))
    state = attrs.evolve(
        State.initial(Policy(markets=(MarketPolicy(base="HYPE"),)), CAPABILITIES),
        carries={"HYPE": totals}, venue_ms=3 * HOUR + 9,
        account=Account(transfers_usd=D(100), residual_usd=D("0.03")),
    )  # fmt: skip
    marks = tuple(
        Mark(at_ms=at_ms, spot_px=D(spot), perp_px=D(perp), oracle_px=D(oracle))
        for at_ms, spot, perp, oracle in (
            (HOUR, "21", "21.5", "21"),
            (2 * HOUR, "24", "24", "23"),
        )
    )
    return Books(
        path="x", seq=1, state=state, lines=lines, marks={"HYPE": marks},
        receipts=(
            FundingReceipt(coin="HYPE", at_ms=HOUR + 50, usd=D("0.2"), sz=D(-10), rate=D("0.001")),
        ),
        equity=(Told(HOUR, D(1000), D("0.01")), Told(2 * HOUR, D(1003), D("0.04"))),
        turns=(
            Turn(HOUR - 200, "HYPE", "entry", D("0.004")),
            Turn(HOUR + 900, "HYPE", "flat", None),
            Turn(2 * HOUR, "HYPE", "entry", None),
            Turn(2 * HOUR + 1, "HYPE", "entry", None),
        ),
        tokens={("3599900", "HYPE", "spot"): ("HYPE", D("0.005"))},
    )  # fmt: skip


def test_causes_of_each_hour_by_hand(made: Books) -> None:
    first, second, third, fourth = statement.rows(made, "hour", 0, None)
    # 0 h: bought 10 at 20.1, sold 10 at 19.9 against 20: 2 of slippage. Worth 21 and 21.5.
    assert (first["slippage_usd"], first["fees_usd"], first["basis_usd"]) == ("-2", "0.2", "-5")
    # 1 h: paid 0.2; the legs meet again at 24: the basis comes back.
    assert (second["funding_usd"], second["basis_usd"], second["slippage_usd"]) == ("0.2", "5", "0")
    assert second["residual_usd"] == "0.03"
    # 2 h: half of the spot sold at 23.9 against 24. No price since: the next hour's is not known.
    assert (third["slippage_usd"], third["fees_usd"], third["basis_usd"]) == ("-0.5", "0.1", "0")
    assert (third["transfers_usd"], third["residual_usd"]) == ("100", "0")
    # 3 h: both legs at 26, naked by 5 short: 5 x 2 lost.
    assert (fourth["basis_usd"], fourth["residual_usd"]) == ("-10", "-0.01")
    assert first["hour"] == "1970-01-01T00:00:00Z"
    assert statement.whole(made, 0, None)["net_usd"] == "-12.6"


def test_an_entry_that_follows_another_is_the_same_carry(made: Books) -> None:
    one, two = statement.rows(made, "carry", 0, None)
    assert (one["began_ms"], one["flat_ms"], one["expected_net"]) == (
        HOUR - 200, HOUR + 900, "0.004",
    )  # fmt: skip
    assert (two["began_ms"], two["flat_ms"]) == (2 * HOUR, None)
    assert one["net_usd"] == "-2"
    # Of an interval only what lies in it, and only carries that touch it.
    (late,) = statement.rows(made, "carry", 2 * HOUR + 5, 3 * HOUR)
    assert late["began_ms"] == 2 * HOUR
    assert late["slippage_usd"] == "-0.5"


def test_lines_of_a_coin_that_was_never_entered_are_of_a_row_of_their_own(made: Books) -> None:
    (row,) = statement.rows(attrs.evolve(made, turns=()), "carry", 0, None)
    assert (row["began_ms"], row["net_usd"]) == (None, "-12.6")


def test_payments_are_matched_with_what_was_held(made: Books) -> None:
    """-(-10) x 21 x 0.001 was to be paid for 1 h; nothing came for 2 h, over which it was held."""
    found = accounts.payments(made, 0, 3 * HOUR)
    assert (found.paid, found.usd, found.expected_usd) == (1, D("0.2"), D("0.210"))
    assert found.missing == (("HYPE", 2 * HOUR),)
    unpriced = attrs.evolve(made, marks={})
    assert accounts.payments(unpriced, 0, 3 * HOUR).unpriced == 1
    assert accounts.payments(made, 2 * HOUR + 1, 3 * HOUR).missing == ()


def test_a_statement_of_a_day_and_of_a_month(made: Books) -> None:
    assert list(statement.periods(made, "day", 0, None)) == [(0, DAY)]
    assert list(statement.periods(made, "month", 0, None)) == [(0, 31 * DAY)]
    assert list(statement.periods(made, "day", 0, 0)) == []
    feb = attrs.evolve(made, state=attrs.evolve(made.state, venue_ms=32 * DAY))
    assert list(statement.periods(feb, "month", 0, None))[1] == (31 * DAY, 59 * DAY)
    (found,) = statement.statements(made, "day")
    assert (found["open"], found["fills"]) == (True, 3)
    assert found["fees_by_token"] == {"HYPE": "0.005", "USD": "0.2"}
    assert found["held"] == [{"coin": "HYPE", "spot_sz": "5", "perp_sz": "-10"}]
    assert found["transfers"] == [{"at_ms": 2 * HOUR + 9, "usd": "100"}]
    closed = statement.statement(made, 0, 2 * HOUR, accounts.Earned())
    assert (closed["open"], closed["equity_after_usd"]) == (False, "1003")
    assert closed["held"] == [{"coin": "HYPE", "spot_sz": "10", "perp_sz": "-10"}]


# --- the command ----------------------------------------------------------------------------------


def test_the_command_shows_what_the_books_say(
    journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*args: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["pnl", "--state-db", journal, *args])
        assert ended.value.code == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    books = accounts.read(journal)
    found = json.loads(told("--by", "hour", "--json"))
    assert {name: D(found[name]) for name in statement.CAUSES} == of_state(books.state)
    assert total(found["rows"]) == of_state(books.state)
    page = told("--statement", "month")
    assert "spread and slippage" in page
    assert "MISSING" not in page
    assert told("--by", "carry").splitlines()[-2].startswith("all ")
    wrong = told("--from", "yesterday", code=2)
    assert "2026-05-03T14:00Z" in wrong
    assert len(wrong.splitlines()) == 1
    assert "give one of them" in told("--by", "day", "--statement", "day", code=2)


def test_it_reads_while_a_bot_writes(journal: str, tmp_path: Path) -> None:
    """A tick that is being committed is not waited for, and not half seen."""
    path = tmp_path / "carry.db"
    path.write_bytes(Path(journal).read_bytes())
    db = sqlite3.connect(path)
    facts = dict(db.execute("SELECT key, value FROM meta").fetchall())
    db.close()
    bot = Journal.open(str(path), network=facts["network"], account=facts["account"])
    before = accounts.read(str(path))
    bot._db.execute("BEGIN IMMEDIATE")
    bot._db.execute("UPDATE postings SET funding_usd = '7'")
    during = accounts.read(str(path))
    assert during.lines == before.lines
    bot._db.execute("COMMIT")
    assert accounts.read(str(path)).lines != before.lines
    bot.close()


def test_a_journal_without_lines_says_what_to_do(journal: str, tmp_path: Path) -> None:
    path = tmp_path / "carry.db"
    path.write_bytes(Path(journal).read_bytes())
    db = sqlite3.connect(path)
    db.execute("DROP TABLE postings")
    db.close()
    with pytest.raises(JournalRefused, match="start the bot once"):
        accounts.read(str(path))
