"""What the shell's tests share: a state, a tick, a folder of locks of their own."""

from decimal import Decimal
from pathlib import Path

import pytest

from carry.core.num import use_exact_context
from carry.core.observations import Observations
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import State
from carry.core.venue import Capabilities, FenceKind


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRY_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("LOGS_DIRECTORY", raising=False)
    use_exact_context()


@pytest.fixture
def capabilities() -> Capabilities:
    return Capabilities(
        fence=FenceKind.NONCE,
        expiry_ms=10_000,
        nonce_ahead_ms_max=60_000,
        funding_interval_ms=3_600_000,
        min_exempt_full_close=True,
    )


@pytest.fixture
def state(capabilities: Capabilities) -> State:
    policy = Policy(markets=(MarketPolicy(base="HYPE", reserve_sz=Decimal(1)),))
    return State.initial(policy, capabilities)


@pytest.fixture
def tick() -> Observations:
    """A tick that saw nothing."""
    return Observations(mono_ms=1_000, wall_ms=2_000, venue_ms=3_000)
