"""Another policy over the same past: evidence as long as history answers, then a reckoning."""

import json
import shutil
from decimal import Decimal as D
from pathlib import Path

import attrs
import pytest

from carry.cli.main import main
from carry.core.actions import Place
from carry.core.observations import (
    Accepted,
    BookSeen,
    Event,
    FillSeen,
    Observations,
    OpenOrdersRead,
    Refused,
)
from carry.core.policy import Policy
from carry.core.types import Leg, Level, Tif
from carry.research import past, whatif
from carry.research.simulated import Simulated
from carry.shell.reader import Reader

from .making import entry_of, first_write_of


def policy_of(journal: str) -> Policy:
    reader = Reader(journal)
    begin = past.start(reader)
    reader.close()
    assert begin is not None
    return begin.state.policy


def result(journal: str, policy: Policy | None, **more: int) -> whatif.WhatIf:
    found = whatif.what_if(journal, policy, **more)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def real(journal: str) -> whatif.WhatIf:
    """What did happen, beside itself."""
    return result(journal, policy_of(journal))


def test_the_same_policy_never_leaves_history(real: whatif.WhatIf) -> None:
    found = real
    assert (found.parted, found.after_parting, found.net_effect_usd) == (None, 0, 0)
    assert found.was.orders == found.would.orders
    assert found.was.fills == found.would.fills > 0
    assert found.was_pnl.fees_usd > 0
    assert found.was_pnl.funding_usd != 0


def test_the_reckoning_of_what_did_happen_is_what_happened(
    journal: str, real: whatif.WhatIf
) -> None:
    """The same policy, simulated from before the entry: entered, paid, left, to a tenth of a cent.

    Without faults the venue fills as the books say; the payment is history's, by size.
    """
    found = result(journal, None, part_at=3)

    assert found.parted == 3
    assert found.would.orders == real.was.orders
    assert found.would.fills == real.was.fills
    assert abs(found.net_effect_usd) < D("0.001")
    assert found.residual_usd is not None
    assert abs(found.residual_usd) < D("1e-12")
    assert found.would_pnl.funding_usd != 0
    assert abs(found.would_pnl.funding_usd - real.was_pnl.funding_usd) < D("0.000001")
    assert found.unpaid == 0


@pytest.mark.parametrize("part_at", [40])
def test_under_faults_it_stays_near_and_its_books_balance(stormy: str, part_at: int) -> None:
    """From the middle, with orders open: what was sent before is answered as it was."""
    found = result(stormy, None, part_at=part_at)

    assert found.residual_usd is not None
    assert abs(found.residual_usd) < D("1e-12")
    assert found.would.fills > 10
    assert abs(found.net_effect_usd) < found.was_turnover_usd * D("0.002")


def test_a_policy_that_stays_out_pays_nothing(journal: str) -> None:
    policy = policy_of(journal)
    strategy = attrs.evolve(policy.strategy, buffer_bps=10_000)
    found = result(journal, attrs.evolve(policy, strategy=strategy))

    assert found.parted == first_write_of(journal)
    assert found.after_parting == found.ticks - found.parted
    assert (found.would.orders, found.would.fills) == ({}, 0)
    assert found.would_pnl.net_usd == 0
    assert found.net_effect_usd == -found.was_pnl.net_usd
    assert found.residual_usd is not None
    assert abs(found.residual_usd) < D("1e-12")


def test_half_the_size_pays_about_half(journal: str) -> None:
    policy = policy_of(journal)
    target = policy.strategy.target_usd_notional
    strategy = attrs.evolve(policy.strategy, target_usd_notional=target / 2)
    found = result(journal, attrs.evolve(policy, strategy=strategy))

    assert found.parted is not None
    assert found.parted > entry_of(
        journal
    )  # its first slices are the same: until then that is evidence
    assert abs(found.would_turnover_usd / found.was_turnover_usd - D("0.5")) < D("0.05")
    assert abs(found.would_pnl.fees_usd / found.was_pnl.fees_usd - D("0.5")) < D("0.05")
    assert found.residual_usd is not None
    assert abs(found.residual_usd) < D("1e-12")


@pytest.fixture
def entry(journal: str) -> past.Decided:
    """The tick of the entry: flat before it, its first order asked for."""
    reader = Reader(journal)
    begin = past.start(reader)
    assert begin is not None
    it = next(it for it in past.decided(reader, begin) if it.tick.seq == entry_of(journal))
    reader.close()
    return it


def order_of(it: past.Decided) -> Place:
    return next(a for a in it.asked() if isinstance(a, Place) and a.leg is Leg.SPOT)


def test_what_is_eaten_of_a_book_is_gone_until_the_next(entry: past.Decided) -> None:
    world, place = Simulated.fork(entry.after, 0), order_of(entry)
    book = world.books[place.coin, Leg.SPOT]
    deep = attrs.evolve(place, sz=book.asks[0].sz, px=book.asks[0].px)
    world.obey([deep, deep])
    first, second = world.tell(later(entry, 1), ()).outcomes

    assert isinstance(first, Accepted)
    assert first.filled_sz == book.asks[0].sz
    assert isinstance(second, Refused)
    assert second.code == "no_match"
    again = BookSeen(coin=place.coin, leg=Leg.SPOT, book=book, seen_ms=0, full=True)
    world.obey([deep])
    (third,) = world.tell(later(entry, 2, again), ()).outcomes
    assert isinstance(third, Accepted)


def later(it: past.Decided, seconds: int, *events: Event) -> Observations:
    """A tick so long after that sees only this."""
    ms = it.observations.mono_ms + seconds * 1_000
    gone = ms - it.observations.mono_ms
    at_ms = it.observations.venue_ms
    assert at_ms is not None
    return Observations(mono_ms=ms, wall_ms=at_ms + gone, venue_ms=at_ms + gone, events=events)


def test_what_rests_fills_whole_at_its_price_once_the_market_comes(entry: past.Decided) -> None:
    world, place = Simulated.fork(entry.after, 0), order_of(entry)
    book = world.books[place.coin, Leg.SPOT]
    rests = attrs.evolve(place, tif=Tif.ALO, px=book.bid_px)
    world.obey([rests])
    told = world.tell(later(entry, 1), ("balances", "orders"))
    (accepted,) = told.outcomes
    assert isinstance(accepted, Accepted)
    assert (accepted.filled_sz, accepted.resting) == (0, True)
    orders = next(read for read in told.reads if isinstance(read, OpenOrdersRead))
    assert [order.sz for order in orders.orders] == [rests.sz]

    low = attrs.evolve(book, asks=(Level(rests.px, D(1)),), bids=(Level(rests.px - 1, D(1)),))
    seen = BookSeen(coin=place.coin, leg=Leg.SPOT, book=low, seen_ms=0, full=True)
    told = world.tell(later(entry, 2, seen), ("orders",))
    (fill,) = (e.fill for e in told.events if isinstance(e, FillSeen))
    assert (fill.px, fill.sz) == (rests.px, rests.sz)
    assert fill.fee == rests.sz * world.fees.spot_maker
    assert world.coins[place.coin] >= rests.sz - fill.fee
    crosses = attrs.evolve(rests, intent=99, px=low.ask_px + 1)
    world.obey([crosses])
    (refused,) = world.tell(later(entry, 3), ()).outcomes
    assert isinstance(refused, Refused)
    assert refused.code == "post_only_crossed"


CONFIG = """
venue: {name: embedded}
markets: [{base: HYPE}]
strategy: {target_usd_notional: 120}
"""


def test_the_command_marks_where_history_ends(
    journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "new.yaml"
    config.write_text(CONFIG)

    def said(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["replay", journal, "--config", str(config), *words])
        return ended.value.code, capsys.readouterr().out

    code, text = said()
    assert code == 0
    assert "what if strategy.target_usd_notional were 120 (it was" in text
    assert f"HISTORY ENDS at tick {entry_of(journal)} (" in text
    assert "is no evidence" in text
    code, text = said("--to", "20", "--json")
    (found,) = json.loads(text)
    assert (found["parted"], found["last"]) == (entry_of(journal), 20)
    assert found["ticks_simulated"] == 20 - entry_of(journal)


def test_a_journal_s_own_config_replays(journal: str, tmp_path: Path) -> None:
    """A config whose policy was in force from first to last names no other past."""
    path = str(shutil.copy(journal, tmp_path / "carry.db"))
    assert whatif.changes(path, policy_of(path)) == {}
    other = attrs.evolve(policy_of(path), source="elsewhere")
    assert whatif.changes(path, other) == {}
