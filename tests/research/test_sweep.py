"""Many settings over a recording: exact runs, resumed after a kill, the same over a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.core.num import use_exact_context
from carry.core.policy import Policy
from carry.research import space, sweep
from carry.research.backtest import prepare
from carry.research.figures import figures
from carry.research.hourly import Run

from .recordings import record

ROOT = Path(__file__).resolve().parents[2]
VARIED = ("horizon_h=200", "forecast_halflife_h=6", "min_hold_h=2")


# --- the space ------------------------------------------------------------------------------------


def made(*varied: str, draws: int | None = None, seed: int = 0) -> tuple[list[space.Config], int]:
    return space.configs(Policy(), [space.axis(text) for text in varied], draws, seed)


def test_a_grid_is_every_combination_and_the_policy_as_it_is() -> None:
    found, dropped = made("min_hold_h=2,4", "enter_threshold_apr=1%,2%,3%")
    assert (len(found), dropped) == (7, 0)
    assert found[0].settings == ()
    assert found[0].policy == Policy()
    last = found[-1].policy.strategy
    assert (last.min_hold_h, last.enter_threshold_apr) == (4, D("0.03"))
    assert len({config.settings for config in found}) == 7


def test_what_the_config_would_refuse_is_left_out() -> None:
    found, dropped = made("enter_threshold_apr=1%,3%", "exit_threshold_apr=0%,2%")
    assert (len(found), dropped) == (4, 1)


def test_draws_are_a_function_of_their_seed_and_within_bounds() -> None:
    words = ("enter_threshold_apr=1%..5%", "min_hold_h=2..40", "style=taker,maker")
    one, other = made(*words, draws=20)[0], made(*words, draws=20)[0]
    assert one == other != made(*words, draws=20, seed=1)[0]
    assert len(one) == 21
    for config in one[1:]:
        assert D("0.01") <= config.policy.strategy.enter_threshold_apr <= D("0.05")
        assert 2 <= config.policy.strategy.min_hold_h <= 40
    assert {config.policy.execution.style for config in one} == {"taker", "maker"}
    assert len(made("min_hold_h=1..3", draws=50)[0]) == 4


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("min_hold=2", "did you mean min_hold_h"),
        ("min_hold_h", "write KEY=A,B,C"),
        ("enter_threshold_apr=10", "enter_threshold_apr"),
        ("min_hold_h=9..2", "the lower one first"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_the_way_out(text: str, what: str) -> None:
    with pytest.raises(space.BadSpace, match=what):
        space.axis(text)


def test_a_range_needs_a_number_of_draws() -> None:
    with pytest.raises(space.BadSpace, match="--random N"):
        made("min_hold_h=2..40")


# --- what it says ---------------------------------------------------------------------------------


def said(
    rates: Sequence[Sequence[str]], entries: int = 3, edges: Any = None
) -> tuple[sweep.Plan, dict[tuple[int, int], sweep.Result], list[str]]:
    """A sweep of these rates: a row a configuration (the first: as it is), a column a part."""
    configs = [
        space.Config(
            number=n, settings=(("strategy.min_hold_h", str(n)),) if n else (), policy=Policy()
        )
        for n in range(len(rates))
    ]
    parts = [(100 * n, 100 * (n + 1)) for n in range(len(rates[0]))]
    plan = sweep.Plan(configs=configs, parts=parts, tasks=(), mark="")
    found = {
        (c, p): sweep.Result(
            config=c, part=p, net_usd=D(rate), rate=D(rate), entries=entries if not p else 0,
            funding_usd=D(1), costs_usd=D(1), held=D(1), residual_usd=D(0),
        )
        for c, row in enumerate(rates)
        for p, rate in enumerate(row)
    }  # fmt: skip
    return plan, found, list(sweep.warnings(plan, found, edges or {}))


def test_each_part_is_judged_by_what_was_best_before_it() -> None:
    plan, found, _ = said([["1", "1", "1"], ["5", "0", "9"], ["0", "8", "2"]])
    one, two = sweep.folds(plan, found)
    assert (one.config, one.rate, one.base_rate) == (1, D(0), D(1))
    assert (two.config, two.chosen_rate, two.rate) == (2, D(4), D(2))


def test_the_best_is_doubted_at_an_edge_on_one_trade_and_in_the_noise() -> None:
    clear = [["1", "1", "1"], ["5", "5.1", "4.9"], ["2", "2", "2"]]
    assert said(clear)[2] == []
    (edge,) = said(clear, edges={"strategy.min_hold_h": ("1", "2")})[2]
    assert "strategy.min_hold_h = 1, an edge" in edge
    (luck,) = said(clear, entries=1)[2]
    assert "rests on 1 entry" in luck
    (noise,) = said([["1", "1", "1"], ["9", "-4", "1"]])[2]
    assert "inside the noise" in noise


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    use_exact_context()
    return record(tmp_path_factory.mktemp("sweep") / "data", hours=100)


def planned(folder: Path) -> sweep.Plan:
    axes = [space.axis(text) for text in VARIED]
    return sweep.plan(
        folder, (), Policy(), lambda policy: space.configs(policy, axes, None, 0)[0], folds=1
    )


def command(folder: Path, out: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "carry", "sweep", "--data", str(folder), "--folds", "1"]
    for text in VARIED:
        words += ["--vary", text]
    return [*words, "--out", str(out), *more]


@pytest.mark.timeout(240)
def test_it_goes_on_after_a_kill_and_a_cluster_says_the_same(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    process = subprocess.Popen(
        command(folder, out, "--jobs", "1"), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and (not out.exists() or out.read_bytes().count(b"\n") < 2):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    before = out.read_bytes()
    with out.open("ab") as file:
        file.write(b'{"config": 9, torn')
    kept = before[: before.rindex(b"\n") + 1]
    assert 1 <= kept.count(b"\n") - 1 < 4

    done = subprocess.run(
        command(folder, out, "--jobs", "2", "--json"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(kept)
    assert out.read_bytes().count(b"\n") == 1 + 4
    told = json.loads(done.stdout)
    assert (told["runs"], told["configs"]) == (4, 2)
    assert {best["residual_usd"] for best in told["best"]} == {"0"}
    assert told["folds"][0]["part"] == 1

    plan = planned(folder)
    here = sweep.run(plan, out)  # everything is there: nothing is run
    assert len(here) == len(plan.tasks) == 4
    _is_the_backtest_s(folder, plan, here)
    assert _over_a_cluster(plan, tmp_path / "cluster.jsonl") == here


def _is_the_backtest_s(folder: Path, plan: sweep.Plan, here: Any) -> None:
    """The number that is reported is the exact engine's own, to the last digit."""
    task = plan.tasks[-1]
    setup = prepare(folder, (), Policy())[0]
    setup = attrs.evolve(
        setup,
        policy=plan.configs[task.config].policy,
        start_hour=task.start_hour,
        end_hour=task.end_hour,
        capital_usd=task.capital_usd,
    )
    row = figures(setup, Run(setup).live()).total
    assert here[task.config, task.part].net_usd == row.pnl.net_usd != 0


def _over_a_cluster(plan: sweep.Plan, kept: Path) -> dict[tuple[int, int], sweep.Result]:
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        return sweep.run(plan, kept, cluster=cluster.scheduler_address)


def test_a_file_of_another_sweep_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep.jsonl"
    out.write_text('{"sweep": "other", "configs": 3, "parts": 2}\n')
    with pytest.raises(sweep.NotThisSweep, match="another sweep"):
        sweep.run(planned(folder), out)
    with pytest.raises(sweep.NotThisSweep, match="Take fewer --folds"):
        sweep.plan(folder, (), Policy(), lambda policy: [], folds=9)


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(sweep.Missing, match=r"pip install 'carry\[research\]'"):
        sweep._extra("joblib", "research")
