"""`carry config check --data`: what to expect of a config, from enough days or not at all."""

import json
from decimal import Decimal as D
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from carry.cli.main import carry, main
from carry.core.num import use_exact_context
from carry.core.policy import MarketPolicy, Policy, Strategy
from carry.exchange.recorded import BadRecording
from carry.research.predict import TooShort, as_json, predict, told

from .recordings import record

DAYS = 31
QUICK = Policy(
    strategy=Strategy(
        target_usd_notional=D(400), horizon_h=200, forecast_halflife_h=6, min_hold_h=2
    ),
    markets=(MarketPolicy(base="HYPE"),),
)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    use_exact_context()
    folder = tmp_path_factory.mktemp("rich") / "data"
    return record(folder, hours=DAYS * 24 + 48, rate=lambda hour: 0.00004)


def test_a_rich_month_is_entered_and_held(rich: Path) -> None:
    it = predict(rich, QUICK, DAYS)

    assert it.days == DAYS
    assert it.entries == 1
    assert it.found.total.held > D("0.9")
    assert it.funding_usd > it.costs_usd > 0
    assert it.found.total.pnl.net_usd > 0
    assert it.found.nearest is not None
    assert it.found.residual_usd == 0
    assert it.warnings == ()
    text = "\n".join(told(it))
    assert text.startswith(f"With these settings over {DAYS}.0 days of data (2025-01-")
    assert "1 entry, " in text
    assert "nearest liquidation: a rise of" in text
    assert json.loads(json.dumps(as_json(it)))["entries"] == 1

    poor = attrs.evolve(it, funding_usd=it.costs_usd - D("0.01"))
    assert "the edge is below cost" in poor.warnings[0]
    assert attrs.evolve(poor, funding_usd=it.costs_usd + D("0.01")).warnings == ()


def test_no_entry_and_a_market_without_a_recording_are_warned_of(
    rich: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "venue: {name: embedded}\nmarkets: [{base: HYPE}, {base: BTC}]\n"
        "strategy: {enter_threshold_apr: 180%, target_usd_notional: 400}\n"
    )
    words = ["config", "check", "--config", str(config), "--data", str(rich), "--days", "30"]
    done = CliRunner().invoke(carry, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["prediction"]
    assert (found["entries"], found["days"], found["net_usd"]) == (0, "30", "0")
    assert found["missing"] == ["BTC"]
    assert found["warnings"][0].startswith("BTC is not in the recording")
    assert "it would not have entered once" in found["warnings"][1]
    assert CliRunner().invoke(carry, [*words[:-1], "29"]).exit_code == 2


def test_nothing_is_predicted_from_less_than_thirty_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = record(tmp_path / "data", hours=29 * 24)
    with pytest.raises(TooShort, match="29 days; nothing is predicted from less than 30"):
        predict(folder, QUICK)
    with pytest.raises(BadRecording, match="none of BTC has both"):
        predict(folder, attrs.evolve(QUICK, markets=(MarketPolicy(base="BTC"),)))
    config = tmp_path / "config.yaml"
    config.write_text("venue: {name: embedded}\nmarkets: [{base: HYPE}]\n")
    with pytest.raises(SystemExit) as ended:
        main(["config", "check", "--config", str(config), "--data", str(folder)])
    assert ended.value.code == 1
    assert "nothing is predicted" in capsys.readouterr().err
