"""The ladder: each rung refused and granted by journals that were prepared for it."""

from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.base.secrets import Redactor
from carry.core.num import ZERO
from carry.core.observations import FillsRead, Observations, ReceiptsRead
from carry.core.policy import MarketPolicy, Policy, Risk
from carry.core.state import Idle, Intent, Kind, Latch, Repair, State, Unknown
from carry.core.types import Fill, FundingReceipt, Leg, Side, Tif
from carry.shell import bot, ladder
from carry.shell.config_file import ConfigError, load
from carry.shell.connecting import Refused
from carry.shell.journal import Journal
from carry.shell.ladder import CANARY_H, PAPER_H, WORDS, check, rungs
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, Manner
from carry.shell.places import Places
from carry.shell.wiring import AccountWiring, VenueWiring, Wiring
from tests.core.making import held, with_carry

ACCOUNT = "0x" + "a" * 40
START_MS = 1_767_607_200_000
HOUR_MS = 3_600_000
STEP_MS = 600_000  # the longest pause that still counts as running
SMALL, LARGE = D(200), D(5_000)


@pytest.fixture(scope="module")
def calm() -> State:
    """A carry that is held and hedged, with everything read and every cent explained."""
    state = held().state
    account = attrs.evolve(state.account, residual_usd=ZERO)
    return attrs.evolve(state, account=account, protected_ms=state.now_ms, latches={}, faulty_ms={})


def flat(state: State) -> State:
    return with_carry(state, phase=Idle(), spot_sz=ZERO, perp_sz=ZERO)


def fill(leg: Leg, cloid: str | None = "0x1") -> Fill:
    return Fill(
        coin="HYPE", leg=leg, side=Side.BUY, px=D(25), sz=D(8), fee=D("0.1"), fee_in_base=False,
        at_ms=START_MS, oid="1", cloid=cloid, trade_id=f"{leg.value}1", kind="",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class Told:
    """What a prepared journal is to show."""

    network: str
    state: State
    account: str = ACCOUNT
    hours: int = 1
    step_ms: int = STEP_MS
    legs: tuple[Leg, ...] = tuple(Leg)
    payments: int = 24


def write(path: Path, told: Told) -> None:
    """By the journal itself: a tick each `step_ms`, the fills and payments with the first."""
    journal = Journal.open(str(path), network=told.network, account=told.account)
    journal.begin(told.state, 1)
    receipts = tuple(
        FundingReceipt(coin="HYPE", at_ms=START_MS + n * HOUR_MS, usd=D("0.01"), sz=D(-8),
                       rate=D("0.00001"))
        for n in range(told.payments)
    )  # fmt: skip
    fills = tuple(fill(leg) for leg in told.legs)
    first = (
        FillsRead(fills=fills, since_ms=0, issued_ms=0, issued_venue_ms=START_MS),
        ReceiptsRead(receipts=receipts, since_ms=0, issued_ms=0),
    )
    ticks = told.hours * HOUR_MS // told.step_ms + 1
    for n in range(ticks):
        at_ms = START_MS + n * told.step_ms
        seen = Observations(
            mono_ms=at_ms, wall_ms=at_ms, venue_ms=at_ms, reads=first if n == 0 else ()
        )
        journal.commit(seen, told.state, ())
    journal.close()


@attrs.define
class Ground:
    """A run folder with journals as they are asked for, and what they allow."""

    folder: Path
    calm: State

    @property
    def places(self) -> Places:
        venue = VenueWiring(name="hyperliquid", network="mainnet")
        wiring = Wiring(venue=venue, account=AccountWiring(address=ACCOUNT))
        return Places(
            config=self.folder / "config.yaml", policy=None, wiring=wiring,
            journal=str(self.folder / "carry.db"),
        )  # fmt: skip

    def demo(self, state: State | None = None, **changes: Any) -> None:
        told = Told(network="demo", state=state or flat(self.calm), account="0x" + "d" * 40)
        write(self.folder / "demo.db", attrs.evolve(told, **changes))

    def dry(self, **changes: Any) -> None:
        told = Told(network="mainnet", state=self.calm, legs=(), payments=0)
        write(self.folder / "carry.db", attrs.evolve(told, **changes))

    def paper(self, **changes: Any) -> None:
        told = Told(network="paper mainnet", state=self.calm, hours=PAPER_H)
        write(self.folder / "paper.db", attrs.evolve(told, **changes))

    def canary(self, **changes: Any) -> None:
        told = Told(network="mainnet", state=self.calm, hours=CANARY_H)
        write(self.folder / "carry.db", attrs.evolve(told, **changes))

    def refused(self, cap: D, words: str | None = None) -> str:
        """What is said against a run with this cap; "" when nothing is."""
        try:
            check(self.places, policy(cap), words)
        except Refused as refused:
            return str(refused)
        return ""


def policy(cap: D, *coins: str) -> Policy:
    markets = tuple(MarketPolicy(base=coin) for coin in coins or ("HYPE",))
    return Policy(risk=Risk(portfolio_notional_cap=cap), markets=markets)


@pytest.fixture
def ground(tmp_path: Path, calm: State) -> Ground:
    return Ground(tmp_path, calm)


# --- granted --------------------------------------------------------------------------------------


def test_each_rung_opens_the_next_and_no_more(ground: Ground) -> None:
    """From an empty folder up: what is proven, what is refused, and what that names."""
    steps: list[tuple[Callable[[], None], tuple[str, ...]]] = [
        (lambda: None, ()),
        (ground.demo, ("demo",)),
        (ground.dry, ("demo", "dry run")),
        (ground.paper, ("demo", "dry run", "paper")),
    ]
    for prepare, proven in steps:
        prepare()
        assert ladder.earned(rungs(ground.places, policy(SMALL))) == proven
        may = proven == ("demo", "dry run", "paper")
        assert (not ground.refused(SMALL)) == may
        assert ground.refused(LARGE)
    Path(ground.places.journal).unlink()
    ground.canary()
    assert ladder.earned(rungs(ground.places, policy(LARGE))) == ladder.RUNGS[:-1]
    assert not ground.refused(LARGE)
    assert not ground.refused(SMALL)


def test_a_refusal_says_what_is_proven_what_is_missing_and_how_to_go_on(ground: Ground) -> None:
    ground.demo()
    said = ground.refused(LARGE)
    assert "5000 is the rung 'live'; proven: demo. Missing: dry run: " in said
    for part in ("--dry-run", "paper: `carry run --paper`", "canary: ", "at most 200", WORDS):
        assert part in said
    assert "canary: " not in ground.refused(SMALL)


def test_in_words_it_goes_without_and_only_in_these(ground: Ground) -> None:
    assert not ground.refused(LARGE, WORDS)
    assert "these words" in ground.refused(LARGE, "yes")
    assert "these words" in ground.refused(LARGE, "")


# --- refused --------------------------------------------------------------------------------------

DEMO: dict[str, tuple[Callable[[State], State], str]] = {
    "holds": (lambda s: s, "did not end flat"),
    "unexplained": (
        lambda s: flat(attrs.evolve(s, account=attrs.evolve(s.account, residual_usd=D("0.01")))),
        "residual is $0.01, not 0",
    ),
}


@pytest.mark.parametrize("name", DEMO)
def test_a_demo_that_proves_nothing(ground: Ground, name: str) -> None:
    change, said = DEMO[name]
    ground.demo(change(ground.calm))
    (demo, *_) = rungs(ground.places, policy(SMALL))
    assert any(said in text for text in demo.missing)
    assert ladder.earned((demo,)) == ()


def test_a_dry_run_of_another_account_or_network_proves_nothing(ground: Ground) -> None:
    ground.dry(account="0x" + "b" * 40)
    assert "another account" in rungs(ground.places, policy(SMALL))[1].found
    Path(ground.places.journal).unlink()
    ground.dry(network="testnet")
    assert "is of testnet" in rungs(ground.places, policy(SMALL))[1].found
    Path(ground.places.journal).unlink()
    ground.dry(state=attrs.evolve(ground.calm, protected_ms=None))
    assert "never read whole" in rungs(ground.places, policy(SMALL))[1].found


def stuck(state: State) -> State:
    """An order of which nobody knows what became."""
    order = Intent(
        no=4, kind=Kind.ORDER, coin="HYPE", leg=Leg.PERP, side=Side.SELL, px=D(25), sz=D(1),
        tif=Tif.IOC, reduce_only=False, why="hedge", ref_px=D(25), nonce=4, cloid="0x4",
        expires_ms=9, sent_ms=1, at_ms=1, status=Unknown(since_ms=1),
    )  # fmt: skip
    return attrs.evolve(state, intents={"4": order})


OPEN: dict[str, tuple[dict[str, Any], str]] = {
    "an hour short": ({"hours": PAPER_H - 1}, f"{PAPER_H - 1} h of {PAPER_H} h"),
    "with long pauses": ({"step_ms": STEP_MS + 1_000}, f"0 h of {PAPER_H} h"),
    "one leg only": ({"legs": (Leg.SPOT,)}, "no carry was entered"),
    "paid too seldom": ({"payments": 23}, "23 of 24 payments"),
    "of testnet": ({"network": "paper testnet"}, "carry run --paper"),
}
FAULTS: dict[str, tuple[Callable[[State], State], str]] = {
    "a cent unexplained": (
        lambda s: attrs.evolve(s, account=attrs.evolve(s.account, residual_usd=D("-0.01"))),
        "residual is $-0.01, not 0",
    ),
    "never explained": (
        lambda s: attrs.evolve(s, account=attrs.evolve(s.account, residual_usd=None)),
        "residual is unknown",
    ),
    "not acknowledged": (
        lambda s: attrs.evolve(s, latches={"crash": Latch(mode="reduce", why="x", since_ms=1)}),
        "carry resume --ack crash",
    ),
    "a fault holds": (
        lambda s: attrs.evolve(s, faulty_ms={"venue": 1}), "venue is a fault and holds"
    ),
    "undecided": (stuck, "order #4 is undecided"),
    "not hedged": (lambda s: with_carry(s, repair=Repair()), "HYPE is not hedged"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_paper_that_is_not_enough(ground: Ground, name: str) -> None:
    changes, said = OPEN[name]
    ground.demo()
    ground.dry()
    ground.paper(**changes)
    assert said in ground.refused(SMALL)


@pytest.mark.parametrize("name", FAULTS)
def test_paper_with_something_open(ground: Ground, name: str) -> None:
    change, said = FAULTS[name]
    ground.demo()
    ground.dry()
    ground.paper(state=change(ground.calm))
    assert said in ground.refused(SMALL)


def test_of_many_ticks_one_a_minute_is_looked_at(ground: Ground) -> None:
    """And it counts the same, pauses left out."""
    ground.paper(hours=2, step_ms=2_000)
    (*_, paper, _) = rungs(ground.places, policy(SMALL))
    assert paper.found.startswith("2 h, 24 payments")


def test_an_operators_own_stop_is_no_fault(ground: Ground) -> None:
    paused = {"pause": Latch(mode="reduce", why="operator", since_ms=1)}
    ground.demo()
    ground.dry()
    ground.paper(state=attrs.evolve(ground.calm, latches=paused))
    assert not ground.refused(SMALL)


def test_paper_proves_the_markets_it_looked_at(ground: Ground) -> None:
    ground.demo()
    ground.dry()
    ground.paper()
    with pytest.raises(Refused, match="never looked at PURR"):
        check(ground.places, policy(SMALL, "HYPE", "PURR"))


def test_what_was_decided_under_other_rules_proves_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.demo()
    ground.dry()
    ground.paper()
    monkeypatch.setattr(ladder, "RULES", ladder.RULES + 1)
    assert f"0 h of {PAPER_H} h" in ground.refused(SMALL)


def test_a_canary_may_be_off_by_its_bound_and_no_further(ground: Ground) -> None:
    ground.demo()
    ground.paper()
    bound = ground.calm.policy.risk.residual_usd_max
    for residual, enough in ((bound, True), (bound + D("0.01"), False)):
        account = attrs.evolve(ground.calm.account, residual_usd=residual)
        Path(ground.places.journal).unlink(missing_ok=True)
        ground.canary(state=attrs.evolve(ground.calm, account=account))
        assert (not ground.refused(LARGE)) == enough


def test_a_canary_that_was_too_short_stays_one(ground: Ground) -> None:
    ground.demo()
    ground.paper()
    ground.canary(hours=CANARY_H - 1)
    assert f"{CANARY_H - 1} h of {CANARY_H} h" in ground.refused(LARGE)
    assert not ground.refused(SMALL)


# --- the bot --------------------------------------------------------------------------------------


def test_the_bot_asks_the_ladder_before_it_connects(ground: Ground) -> None:
    places = attrs.evolve(ground.places, policy=policy(SMALL))
    with pytest.raises(Refused, match="Missing: demo: "):
        bot.run(places, Manner(), console=False)


def crashed(state: State) -> State:
    latch = Latch(mode="reduce", why="a check failed", since_ms=1)
    return attrs.evolve(state, latches={"crash": latch})


def test_what_is_held_is_let_in_to_be_kept_and_left_and_enters_nothing(ground: Ground) -> None:
    """A fault that takes the evidence back must not keep the bot from what it holds."""
    ground.demo()
    ground.paper()
    ground.canary(state=crashed(ground.calm))
    said = ladder.let_in(ground.places, policy(LARGE))
    assert said is not None
    assert "carry resume --ack crash" in said
    Path(ground.places.journal).unlink()
    ground.canary(state=flat(crashed(ground.calm)))
    with pytest.raises(Refused, match="ack crash"):
        ladder.let_in(ground.places, policy(LARGE))
    Path(ground.places.journal).unlink()
    ground.canary()
    assert ladder.let_in(ground.places, policy(LARGE)) is None


def test_an_order_that_is_open_is_something_held(ground: Ground) -> None:
    ground.dry(state=flat(stuck(ground.calm)))
    assert ladder.let_in(ground.places, policy(SMALL)) is not None


def test_closing_everything_asks_for_no_evidence(ground: Ground) -> None:
    """`carry flatten --now` without any: the key is what it asks for next."""
    places = attrs.evolve(ground.places, policy=policy(SMALL))
    with pytest.raises(Refused, match="agent_key is missing"):
        bot.run(places, Manner(until_flat_ms=1_000), console=False)


CONFIG = """\
venue: {{name: hyperliquid, network: mainnet}}
account: {{address: '{account}'}}
markets: [{{base: HYPE}}]
risk: {{portfolio_notional_cap: {cap}, per_symbol_notional_cap: {cap}}}
strategy: {{target_usd_notional: 100}}
"""


def test_a_canary_does_not_grow_by_a_config_read_again(ground: Ground) -> None:
    config = ground.folder / "config.yaml"
    config.write_text(CONFIG.format(account=ACCOUNT, cap=200))
    small, wiring = load(config)
    places = attrs.evolve(ground.places, policy=small, wiring=wiring)
    reload = bot._reloader(places, EventLog(None, Redactor(), console=False), Manner())
    assert reload() == small
    config.write_text(CONFIG.format(account=ACCOUNT, cap=5000))
    with pytest.raises(ConfigError, match="the rung 'live'"):
        reload()
    worded = bot._reloader(
        places, EventLog(None, Redactor(), console=False), Manner(unproven=WORDS)
    )
    assert worded().risk.portfolio_notional_cap == 5000


def test_a_run_that_may_not_enter_says_so_to_the_core() -> None:
    """By the same word as a single look: the gate `once`."""
    loop = object.__new__(Bot)
    for manner, once in ((Manner(), False), (Manner(entries=False), True)):
        loop.manner = manner
        assert loop._enters_nothing() is once


@pytest.mark.parametrize("network", ["testnet", None])
def test_testnet_and_play_money_are_free(ground: Ground, network: str | None) -> None:
    name = "hyperliquid" if network else "embedded"
    wiring = Wiring(venue=VenueWiring(name=name, network=network))
    assert not ladder.needed(attrs.evolve(ground.places, wiring=wiring))
    assert ladder.needed(ground.places)


def test_the_page_names_these_figures_and_words() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/OPERATIONS.md").read_text()
    text = page.split("## The ladder")[1].split("\n## ")[0]
    for figure in (
        f"{PAPER_H} hours", f"{CANARY_H} hours", f"{ladder.PAYMENTS_MIN} payments",
        f"at most {ladder.CANARY_USD_MAX}", WORDS,
    ):  # fmt: skip
        assert figure in text
    assert all(f"| {name} |" in text for name in ladder.RUNGS)
