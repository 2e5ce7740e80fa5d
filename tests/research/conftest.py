import pytest

from .making import lived


@pytest.fixture(scope="session")
def journal(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two markets entered, held over a payment and closed, without faults."""
    path = tmp_path_factory.mktemp("research") / "carry.db"
    lived(path, 4, 170, start_s=3_000)  # ten minutes before a payment
    return str(path)


@pytest.fixture(scope="session")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Under faults: refusals, lost replies, a market that jumps."""
    path = tmp_path_factory.mktemp("stormy") / "carry.db"
    lived(path, 20_008, 250, None)
    return str(path)
