"""What the two clients nobody here wrote have in common: keys, a served exchange, a call count."""

import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from eth_account import Account as Key

MASTER, AGENT, OTHER, POOLED, POOLED_AGENT = (
    Key.from_key("0x" + pair * 32) for pair in ("21", "22", "23", "24", "25")
)
STRANGER = "0x" + "7" * 40
USDC_ID = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"
HYPE_ID = "HYPE:0x0d01dc56dcaaca66ad901c959b4011ec"
D = Decimal

ARGUMENTS = (
    "--clock", "wall", "--no-limits", "--step-ms", "1000",
    "--fund", f"{MASTER.address}=40000", "--fund", f"{OTHER.address}=2000",
    "--fund", f"{POOLED.address}=15000@spot",
    "--agent", f"{AGENT.address}={MASTER.address}",
    "--agent", f"{POOLED_AGENT.address}={POOLED.address}",
    "--volume", f"{MASTER.address}=2000000",
)
"""An exchange as the judges meet it: enough volume for a dead-man's switch and sub-accounts."""


class Counted:
    """An object whose public methods are counted by name as they are called."""

    def __init__(self, judged: Any, calls: "Counter[str]") -> None:
        self._judged = judged
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._judged, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **more: Any) -> Any:
            self._calls[name] += 1
            return found(*arguments, **more)

        return called


def public_methods(kind: type) -> set[str]:
    """What a class itself offers, inherited plumbing left out."""
    return {
        name
        for name, value in vars(kind).items()
        if callable(value) and not name.startswith("_")
    }


def until(seen: Callable[[], Any], seconds: float = 8) -> Any:
    """What `seen` returns once it is true; an error when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = seen()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing came in time")


def now_ms() -> int:
    return int(time.time() * 1000)


def statuses(reply: Any) -> list[Any]:
    """The per-item answers of an accepted action."""
    assert reply["status"] == "ok", reply
    found: list[Any] = reply["response"]["data"]["statuses"]
    return found


def oid_of(reply: Any) -> int:
    """The oid of an action's only order."""
    (status,) = statuses(reply)
    found: int = next(iter(status.values()))["oid"]
    return found
