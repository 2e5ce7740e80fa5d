"""Broken bots from real incidents: the storm tells each of them from ours."""

import pytest

from carry.storm.campaign import case_of
from carry.storm.phases import live
from carry.storm.zoo import TICKS, ZOO

HUNTED = {name: animal for name, animal in ZOO.items() if animal.seeds}
FAULTLESS = (2,)


def test_the_zoo_is_large_enough() -> None:
    assert len(HUNTED) >= 9
    assert all(len(animal.seeds) <= 5 for animal in ZOO.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", HUNTED)
def test_it_passes_without_faults_and_is_killed_with_them(name: str) -> None:
    animal = HUNTED[name]
    with animal.patch():
        for seed in FAULTLESS:
            assert live(case_of(seed, 150, "none"))[0].broken is None
        outcomes = [live(case_of(seed, TICKS, animal.preset))[0] for seed in animal.seeds]
    assert any(outcome.broken for outcome in outcomes), name
