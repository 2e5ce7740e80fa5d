"""Broken bots from real incidents: the storm tells each of them from ours."""

import os

import pytest

from carry.storm.campaign import case_of
from carry.storm.phases import live
from carry.storm.zoo import TICKS, ZOO

# Seeds without faults that each broken bot must pass; more of them by hand.
FAULTLESS = int(os.environ.get("CARRY_ZOO_FAULTLESS", "2"))


def test_the_zoo_is_large_enough() -> None:
    assert len(ZOO) >= 15
    assert all(1 <= len(animal.seeds) <= 5 for animal in ZOO.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ZOO)
def test_it_passes_without_faults_and_is_killed_with_them(name: str) -> None:
    animal = ZOO[name]
    with animal.patch():
        for seed in range(FAULTLESS):
            assert live(case_of(seed, 150, "none"))[0].broken is None
        assert any(live(case_of(seed, TICKS, animal.preset))[0].broken for seed in animal.seeds)
