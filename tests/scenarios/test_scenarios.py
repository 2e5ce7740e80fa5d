"""Every story: its rows, its transcript, and what must be true of any tick."""

from pathlib import Path

import pytest

from . import language
from .runner import run, transcript


@pytest.mark.parametrize("path", language.files(), ids=lambda path: path.stem)
def test_scenario(path: Path, request: pytest.FixtureRequest) -> None:
    """Each row does what it says, and the whole transcript is the one that was read and kept."""
    scenario = language.load(path)
    told = transcript(scenario, run(scenario))
    if request.config.getoption("--update-golden"):
        scenario.golden.write_text(told, encoding="utf-8")
    assert scenario.golden.exists(), f"{scenario.golden.name}: make golden, read it, commit it"
    assert told == scenario.golden.read_text(encoding="utf-8")
