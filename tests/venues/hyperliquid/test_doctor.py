"""`carry doctor`: ten accounts with one thing wrong, all pairs of those, and a sound one."""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from carry.core import economics
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.core.types import Leg
from carry.exchange.accounts import UNIFIED
from carry.shell import doctor, markets, outlook
from carry.shell.findings import GREEN, RED, YELLOW
from carry.venues.hyperliquid.overview import HyperliquidOverview
from carry.venues.keys import AgentKey
from carry.venues.transport import Reply
from tests.venues.hyperliquid.direct import ACCOUNT, AGENT, Desk

POLICY = Policy(markets=(MarketPolicy(base="HYPE"),))
STRANGER = AgentKey(b"\x09" * 32)
DAY_MS = 86_400_000


@attrs.frozen(kw_only=True)
class Wrong:
    """One thing that is wrong: how the desk is made, what is done to it, and the finding's name.

    hides: faults whose findings cannot be seen beside this one.
    """

    finding: str
    made: Mapping[str, Any] = attrs.field(factory=dict)
    done: Callable[[Desk], object] = lambda desk: None
    coins: tuple[str, ...] = ("HYPE",)
    hides: tuple[str, ...] = ()


def answering(kind: str, value: Any) -> Callable[[Desk], None]:
    """The venue answers a read with `value`."""

    def done(desk: Desk) -> None:
        before = desk.transport.mangle

        def mangle(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
            if json.loads(body).get("type") == kind:
                return 200, {}, json.dumps(value).encode()
            return before(path, body, send)

        desk.transport.mangle = mangle

    return done


def used_up(desk: Desk) -> None:
    if ACCOUNT in desk.exchange.accounts:
        desk.exchange.accounts[ACCOUNT].requests_used = 9_000


def ending(desk: Desk) -> None:
    for agent in desk.exchange.agents.values():
        agent.valid_until_ms = desk.exchange.now + DAY_MS


def given(desk: Desk) -> None:
    if ACCOUNT in desk.exchange.accounts:
        desk.exchange.give_token(ACCOUNT, 150, D(50))


def no_agent(desk: Desk) -> None:
    desk.exchange.agents.clear()


OF_THE_AGENT = ("master key", "not approved", "expiring")
WRONG: Mapping[str, Wrong] = {
    "agent as account": Wrong(
        finding="agent used as account",
        made={"account": AGENT.address, "key": STRANGER},
        hides=(*OF_THE_AGENT, "no account", "budget", "foreign"),
    ),
    "master key": Wrong(
        finding="master key used as agent",
        done=lambda desk: desk.exchange.open_account(AGENT.address, mode=UNIFIED, usdc=D(1)),
        hides=("agent as account", "not approved", "expiring"),
    ),
    "not approved": Wrong(
        finding="agent not approved", done=no_agent, hides=("expiring", "agent as account")
    ),
    "expiring": Wrong(finding="agent expires", done=ending),
    "no account": Wrong(
        finding="wrong network or address",
        made={"usdc": None},
        hides=(*OF_THE_AGENT, "agent as account", "budget", "foreign"),
    ),
    "mode": Wrong(
        finding="mode", done=answering("userAbstraction", "portfolioMargin"),
        hides=("no money", "foreign"),
    ),
    "no money": Wrong(finding="no funds", made={"usdc": D(3)}, hides=("no account",)),
    "skew": Wrong(finding="clock", made={"skew_ms": 9_000}),
    "budget": Wrong(finding="budget", done=used_up),
    "unlisted": Wrong(finding="NONE", coins=("HYPE", "NONE")),
}  # fmt: skip


# An agent with an account of its own, or that nobody approved, is no agent any more.
UNDONE = (("agent as account", "master key"), ("agent as account", "not approved"))


def examined(*wrongs: Wrong, policy: Policy | None = None) -> doctor.Report:
    made: dict[str, Any] = {"mode": UNIFIED}
    coins = ("HYPE",)
    for wrong in wrongs:
        made.update(wrong.made)
        coins = tuple(sorted({*coins, *wrong.coins}))
    desk = Desk(**made)
    for wrong in wrongs:
        wrong.done(desk)
    policy = policy or Policy(markets=tuple(MarketPolicy(base=coin) for coin in coins))
    before = desk.transport.posts
    report = doctor.examine(desk.venue, desk.clock, policy, source="the test")
    assert desk.transport.posts == before  # read-only
    return report


def reds(report: doctor.Report) -> set[str]:
    return {finding.name for finding in report.findings if finding.level == RED}


def test_a_sound_account() -> None:
    report = examined()
    assert report.sound, reds(report)
    assert {finding.level for finding in report.findings} == {GREEN}
    text = "\n".join(doctor.lines(report, lambda level, word: word))
    for told in (
        f"{ACCOUNT} is read and traded (the test): the master account",
        f"{AGENT.address} may sign for it as 'bot', without an end",
        "unified: one USDC balance",
        "equity $10000",
        "spot 0.07 % taking, 0.04 % resting; perp 0.045 % and 0.015 %",
        "10000 actions are left",
        "spot #10107 (@107) lot 0.01, spread",
        "perp #159 (HYPE) lot 0.01",
        "within 10 bp",
        "bp taker",
        "days",
        "now: set leverage 1 of HYPE",
        "live trading could start",
    ):
        assert told in text
    assert json.loads(json.dumps(doctor.as_json(report)))["sound"] is True


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_wrong(name: str) -> None:
    """Its own finding is red with a next step, and no other is but what follows from it."""
    report = examined(WRONG[name])
    (found,) = [f for f in report.findings if f.name == WRONG[name].finding]
    assert (found.level, bool(found.step)) == (RED, True)
    assert not report.sound
    empty = ("agent as account", "no account", "mode")
    follows = {"no funds", "funds"} if name in empty else set()
    assert reds(report) - follows == {WRONG[name].finding}


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations(WRONG, 2)), ids=lambda name: name
)
def test_two_things_wrong(one: str, other: str) -> None:
    """Neither hides the other, except where one makes the other unaskable."""
    report = examined(WRONG[one], WRONG[other])
    found = reds(report)
    assert not report.sound
    if (one, other) in UNDONE:
        return
    assert WRONG[one].finding in found or one in WRONG[other].hides
    assert WRONG[other].finding in found or other in WRONG[one].hides
    assert {WRONG[one].finding, WRONG[other].finding} & found


# --- what stops nobody, and what is nobody's fault -----------------------------------------------


def test_usdc_in_the_wrong_wallet_is_yellow() -> None:
    def all_in_perps(desk: Desk) -> None:
        account = desk.exchange.accounts[ACCOUNT]
        account.perp_cash += account.balance(0).total
        account.balance(0).total = D(0)

    report = examined(Wrong(finding="funds", made={"mode": "split"}, done=all_in_perps))
    (found,) = [f for f in report.findings if f.name == "funds"]
    assert (found.level, report.sound) == (YELLOW, True)
    assert "wrong wallet" in found.text


def test_an_agent_without_a_name_is_yellow() -> None:
    def unnamed(desk: Desk) -> None:
        for agent in desk.exchange.agents.values():
            agent.name = ""

    report = examined(Wrong(finding="agent", done=unnamed))
    (found,) = [f for f in report.findings if f.name == "agent"]
    assert (found.level, report.sound) == (YELLOW, True)


def test_a_market_that_does_not_pay_is_no_fault() -> None:
    strategy = attrs.evolve(POLICY.strategy, enter_threshold_apr=D("1.5"))
    report = examined(policy=attrs.evolve(POLICY, strategy=strategy))
    assert report.sound
    assert any("waits for the market: expected_apr is" in f.text for f in report.findings)


def test_foreign_coins_are_red() -> None:
    report = examined(Wrong(finding="HYPE", done=given))
    assert not report.sound
    assert any("are foreign" in finding.text for finding in report.findings)


def test_a_venue_that_is_down_is_one_line() -> None:
    def down(desk: Desk) -> None:
        desk.transport.mangle = lambda path, body, send: (503, {}, b"<html>")

    report = examined(Wrong(finding="venue", done=down))
    (finding,) = report.findings
    assert (finding.level, "HTTP 503" in finding.text) == (RED, True)


def test_a_read_that_fails_is_named_once() -> None:
    def html(desk: Desk) -> None:
        before = desk.transport.mangle

        def mangle(path: str, body: bytes, send: Callable[[], Reply]) -> Reply:
            if json.loads(body).get("type") == "userFees":
                return 500, {}, b"<html>"
            return before(path, body, send)

        desk.transport.mangle = mangle

    report = examined(Wrong(finding="reads", done=html))
    assert reds(report) == {"reads", "fees"}
    assert any(finding.text == "not answered: fees" for finding in report.findings)


def test_a_delisted_market_is_red() -> None:
    def delisted(desk: Desk) -> None:
        meta = json.loads(desk.exchange.http("/info", b'{"type":"meta"}')[1])
        meta["universe"][159]["isDelisted"] = True
        answering("meta", meta)(desk)

    assert "HYPE" in reds(examined(Wrong(finding="HYPE", done=delisted)))


# --- the numbers are the core's ------------------------------------------------------------------


def test_what_a_pair_shows_is_what_the_core_computes() -> None:
    desk = Desk(mode=UNIFIED)
    desk.venue.identify()
    state = doctor.look(desk.venue, desk.clock, POLICY, None).state
    carry, fees = state.carries["HYPE"], state.account.fees
    assert fees is not None
    row = outlook.pair(state, carry, fees)
    spot, perp = (carry.books[leg.value].book for leg in (Leg.SPOT, Leg.PERP))
    cost = economics.cost(fees, spot, perp, row.sz)
    assert cost is not None
    assert carry.forecast is not None
    assert dict(row.costs_bps)["taker"] == economics.bps(cost.total)
    assert row.net == economics.expected_net(
        carry.forecast.rate, POLICY.strategy.horizon_h, 1, cost
    )
    assert row.forecast_apr == carry.forecast.rate * 8760
    days = cost.total / (carry.forecast.rate * 24)
    assert row.break_even_days is not None
    assert abs(row.break_even_days - days) <= D("0.05")


def test_depth_is_the_thinner_side_within_ten_bp() -> None:
    desk = Desk()
    desk.venue.markets(("HYPE",))
    book = desk.venue.book("HYPE", Leg.PERP).book
    mid = book.mid_px
    expected = min(
        sum(level.px * level.sz for level in side if abs(level.px / mid - 1) <= D("0.001"))
        for side in (book.bids, book.asks)
    )
    assert outlook.depth_usd(book) == expected.quantize(D("0.01"))


def surveyed(desk: Desk, policy: Policy) -> list[outlook.Pair]:
    def pause(seconds: float) -> None:
        desk.exchange.advance(desk.exchange.now + int(seconds * 1000))

    overview = HyperliquidOverview(desk.venue)
    return markets.survey(desk.venue, overview, desk.clock, policy, pause=pause)


def test_markets_ranks_all_pairs_and_says_why_not() -> None:
    desk = Desk(coins=("HYPE", "BTC", "ETH", "SOL"), usdc=None, key=None)
    rows = surveyed(desk, Policy(markets=(MarketPolicy(base="NONE"),)))
    nets = [row.net for row in rows if row.net is not None]
    assert len(nets) == 4
    assert nets == sorted(nets, reverse=True)
    by_coin = {row.coin: row for row in rows}
    assert by_coin["NONE"].excluded == "NONE: 0 perps have that name, not one"
    assert by_coin["PURR"].excluded  # delisted there, or no quotes: said, not left out
    sol = outlook.as_json(by_coin["SOL"])
    assert sol["sz_decimals"] == {"spot": "3", "perp": "2"}
    assert (sol["perp_no"], sol["spot_no"]) == (5, 10_156)
    assert D(sol["volume_usd"]["perp"]) > D(sol["volume_usd"]["spot"]) > 0
    assert sol["mean_apr"] is not None
    assert len(outlook.cells(by_coin["SOL"])) == len(outlook.HEAD)


def test_markets_waits_for_the_minute_s_budget() -> None:
    desk = Desk(coins=("HYPE", "BTC"), usdc=None, key=None)
    desk.venue.rest.budget.charge(800, desk.clock.mono_ms())
    assert all(row.net is not None for row in surveyed(desk, POLICY) if row.coin in ("HYPE", "BTC"))


def test_markets_marks_what_is_too_dear() -> None:
    strategy = attrs.evolve(POLICY.strategy, enter_threshold_apr=D("1.9"))
    rows = surveyed(Desk(usdc=None, key=None), attrs.evolve(POLICY, strategy=strategy))
    (hype,) = [row for row in rows if row.coin == "HYPE"]
    assert re.search(r"% a year, needs 190 %", hype.excluded)


def test_the_doctor_goes_on_from_a_journal_s_state() -> None:
    """What the journal explains is not foreign to the doctor either."""
    desk = Desk(mode=UNIFIED)
    given(desk)
    state = State.initial(POLICY, desk.venue.capabilities)
    held = attrs.evolve(state.carries["HYPE"], spot_sz=D(50), known=("spot", "perp"))
    state = attrs.evolve(state, carries={"HYPE": held}, journal_id=7)
    report = doctor.examine(desk.venue, desk.clock, POLICY, source="the test", state=state)
    assert not any("are foreign" in finding.text for finding in report.findings)
