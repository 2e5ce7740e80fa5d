"""Stopped and started again, by signal or by force, it is the same exchange."""

import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.utils import signing

from .conftest import HYPE, User, make_exchange
from .serving import Served, serve

USER = User(make_exchange(), 41, None)
READS = ("clearinghouseState", "spotClearinghouseState", "openOrders", "userFills", "userRateLimit")


def order(served: Served, side: str, px: str, sz: str, tif: str) -> Any:
    action = {
        "type": "order",
        "orders": [{"a": HYPE, "b": side == "buy", "p": px, "s": sz, "r": False,
                    "t": {"limit": {"tif": tif}}}],
        "grouping": "na",
    }
    nonce = served.post("/lockstep", {"type": "now"})["time"]
    signature = signing.sign_l1_action(USER.key, action, None, nonce, None, False)
    body = {"action": action, "nonce": nonce, "signature": signature}
    return served.post("/exchange", body)["response"]["data"]["statuses"][0]


def look(served: Served) -> list[Any]:
    """Every read but its clock."""
    states = [served.post("/info", {"type": kind, "user": USER.address}) for kind in READS]
    states[0].pop("time")
    return states


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_same_carry_resumes(tmp_path: Path, how: signal.Signals) -> None:
    arguments = (
        "--clock", "lockstep", "--seed", "6", "--fund", f"{USER.address}=5000", "--coins", "HYPE",
        "--state", str(tmp_path / "state.json"), "--mode", "unified",
    )
    with serve(*arguments) as served:
        mid = Decimal(served.post("/info", {"type": "allMids"})["HYPE"])
        low, high = (format(mid * Decimal(x), ".1f") for x in ("0.97", "1.03"))
        assert "filled" in order(served, "sell", low, "12", "Ioc")
        assert "resting" in order(served, "sell", high, "3", "Alo")
        time = served.wait(3_600_000)["time"]
        before = look(served)
        served.process.send_signal(how)
        code = served.process.wait(10)
        assert code == (-signal.SIGKILL if how == signal.SIGKILL else 0)
    with serve(*arguments) as served:
        resumed = served.post("/lockstep", {"type": "now"})["time"]
        assert time <= resumed < time + 2_000
        after = look(served)
        # Prices moved by the latency of the reads; what is owned did not.
        assert after[1:] == before[1:]
        szi = [state[0]["assetPositions"][0]["position"]["szi"] for state in (before, after)]
        assert szi == ["-12.0", "-12.0"]
