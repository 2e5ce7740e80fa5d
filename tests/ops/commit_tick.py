"""Commits one tick to the journal that is named: what a bot does, as far as an upgrade looks."""

import sys

from carry.core.observations import Observations
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.shell.journal import Journal
from carry.venues.hyperliquid.constants import CAPABILITIES


def main(path: str) -> None:
    """Open the journal at `path` as a bot does, begin it if it is new, commit one empty tick."""
    journal = Journal.open(path, network="embedded", account="0x" + "a" * 40)
    state = journal.load()
    if state is None:
        state = State.initial(Policy(markets=(MarketPolicy(base="HYPE"),)), CAPABILITIES)
        journal.begin(state, 1)
    journal.commit(Observations(mono_ms=1_000, wall_ms=2_000, venue_ms=3_000), state, ())
    journal.close()


# Guarded: collecting the doctests imports every module of this folder.
if __name__ == "__main__":
    main(sys.argv[1])
