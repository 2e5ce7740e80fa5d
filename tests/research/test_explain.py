"""A tick explained: everything of it, and each flip point proven by the real step."""

import json
import sqlite3
import sys
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from carry.cli.main import main
from carry.core import ledger
from carry.core.state import State
from carry.core.step import step
from carry.core.types import Leg
from carry.research import flips, past
from carry.research.explain import explain
from carry.shell.reader import Reader

from .making import entry_of

HELD = 100  # a tick at which nothing was to be done


def rows(journal: str, sql: str) -> list[Any]:
    db = sqlite3.connect(journal)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def tick(journal: str, seq: int) -> past.Decided:
    reader = Reader(journal)
    try:
        begin = past.start(reader, seq)
        assert begin is not None
        return next(it for it in past.decided(reader, begin, seq) if it.tick.seq == seq)
    finally:
        reader.close()


def test_an_entry_says_what_it_knew_asked_and_became(journal: str) -> None:
    entry = entry_of(journal)
    found = explain(journal, str(entry), turns=False)

    assert found["seq"] == entry
    assert found["as_it_was"]
    btc = next(m for m in found["markets"] if m["coin"] == "HYPE")
    assert btc["phase"] == "ENTER"
    assert D(btc["forecast"]["apr"]) > 0
    assert any(line.startswith("book HYPE spot") for line in found["observations"])
    gate = next(g for g in found["gates"] if g["name"] == "expected_net_bps" and g["market"])
    assert gate["distance"] is not None
    (order,) = (a for a in found["actions"] if "HYPE #" in a["text"])
    assert "buy spot" in order["text"]
    assert any(line.startswith("filled ") for line in order["fate"])
    assert any("accepted" in line for line in order["fate"])


def test_costs_are_the_core_s_and_sum_up(journal: str) -> None:
    """The terms of the tick before the entry: they are those the entry was decided by."""
    entry = explain(journal, str(entry_of(journal) - 1), turns=False)["markets"][0]["entry"]
    parts = ("entry_fees_bps", "entry_slippage_bps", "exit_fees_bps", "exit_slippage_bps")

    assert abs(sum(D(entry[p]) for p in parts) - D(entry["total_bps"])) <= D("0.02")
    net = D(entry["income_bps"]) - D(entry["total_bps"])
    assert abs(net - D(entry["expected_net_bps"])) <= D("0.02")


def test_what_was_refused_says_so(stormy: str) -> None:
    like = '%"$":"Refused"%'
    refused = rows(stormy, f"SELECT min(seq) FROM ticks WHERE observations LIKE '{like}'")[0][0]
    found = explain(stormy, str(refused - 1), turns=False)
    fates = [line for action in found["actions"] for line in action["fate"]]

    assert any("refused: " in line for line in fates)
    assert any(line.startswith("no fill") for line in fates)


def test_a_time_names_the_last_tick_before_it(journal: str) -> None:
    seq, at_ms = rows(journal, f"SELECT seq, venue_ms FROM ticks WHERE seq = {HELD}")[0]
    reader = Reader(journal)
    try:
        when = past.written(at_ms + 999)
        named = past.at(reader, when)
        assert rows(journal, f"SELECT venue_ms FROM ticks WHERE seq = {named}")[0][0] <= (
            past.moment_ms(when)
        )
        assert named in (seq, seq - 1)
        assert past.at(reader, None) == rows(journal, "SELECT max(seq) FROM ticks")[0][0]
        for when, what in (("9999", "not kept"), ("2001-01-01", "no tick is kept"), ("x", "nor a")):
            with pytest.raises(past.NotThere, match=what):
                past.at(reader, when)
    finally:
        reader.close()


# What each knob moved, read out of the state after the step: nothing of how it was put there.
READ: dict[str, Callable[[State, str], D]] = {
    "funding forecast an interval": lambda s, c: s.carries[c].forecast.rate,
    "funding rate predicted": lambda s, c: s.carries[c].context.funding_rate,
    "volatility a year": lambda s, c: s.carries[c].volatility,
    "price, both legs, mark and oracle": lambda s, c: ledger.price(s.carries[c], Leg.PERP),
    "spot book, mid": lambda s, c: s.carries[c].quotes["spot"].book.mid_px,
    "perp book, mid": lambda s, c: s.carries[c].quotes["perp"].book.mid_px,
    "spot ask": lambda s, c: s.carries[c].quotes["spot"].book.ask_px,
    "perp bid": lambda s, c: s.carries[c].quotes["perp"].book.bid_px,
}


@pytest.mark.parametrize("entry", [True, False])
def test_each_flip_point_is_where_the_real_step_turns(journal: str, entry: bool) -> None:
    it = tick(journal, entry_of(journal) if entry else HELD)
    found = list(flips.flips(it.before, it.observations))
    looks: dict[str, Callable[..., Any]] = {"decision": flips.decision, "gates": flips.blocked}

    assert {flip.what for flip in found} >= {"decision"}
    for flip in found:
        knob, look = flip.knob, looks[flip.what]
        nearer = knob.unit if flip.at < knob.value else -knob.unit
        at = knob.put(it.before, it.observations, flip.away)
        short = knob.put(it.before, it.observations, flip.away + nearer)
        real = look((it.before, it.observations))
        assert look(at) != real, knob.name
        assert look(short) == real, knob.name
        if knob.coin is not None:
            read = READ[knob.name.removeprefix(f"{knob.coin} ")]
            assert read(step(*at)[0], knob.coin) == flip.at, knob.name
        else:
            assert step(*at)[0].now_ms - it.after.now_ms == flip.at
    if entry:
        _turns_at_the_threshold(it, found)


def _turns_at_the_threshold(it: past.Decided, found: list[flips.Flip]) -> None:
    """A lowered forecast undoes the entry, at the very gate that then blocks."""
    flip = next(f for f in found if f.away < 0 and "HYPE funding forecast" in f.knob.name)
    after = step(*flip.knob.put(it.before, it.observations, flip.away))[0]
    gate = after.carries["HYPE"].blocked

    assert flip.then.startswith("HYPE IDLE")
    assert gate is not None
    assert gate.gate in ("expected_net_bps", "expected_apr")


def test_the_command(
    journal: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["explain", "--state-db", journal, *words])
        done = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, done.out, done.err

    monkeypatch.setattr(sys, "argv", ["carry"])
    code, out, _ = said("--at", str(HELD + 2))
    assert code == 0
    for word in (f"tick {HELD + 2} ", "BLOCKS", "HEDGE_OK", "forecast", "turns at"):
        assert word in out, word
    code, out, _ = said("--at", str(HELD), "--json", "--no-flips")
    assert (code, json.loads(out)["seq"]) == (0, HELD)
    code, out, err = said("--at", "yesterday")
    assert (code, out) == (2, "")
    assert "2026-05-03T14:00Z" in err
