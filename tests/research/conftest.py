import pytest

from .making import lived


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A market entered, held over a payment and closed in slices, without faults."""
    path = tmp_path_factory.mktemp("research") / "carry.db"
    lived(path, 22, 170, start_s=3_000)  # ten minutes before a payment
    return str(path)


@pytest.fixture(scope="session")
def taken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shorts deleveraged and liquidated by the venue, again and again."""
    path = tmp_path_factory.mktemp("taken") / "carry.db"
    lived(path, 4, 250, "F80+F81")
    return str(path)


@pytest.fixture(scope="session")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Under faults: refusals, lost replies, a market that jumps."""
    path = tmp_path_factory.mktemp("stormy") / "carry.db"
    lived(path, 20_008, 150, None)
    return str(path)
