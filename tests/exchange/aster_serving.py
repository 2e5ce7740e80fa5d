"""A local Aster on a socket for the length of a test, with a funded user and an agent."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from eth_account import Account as Key

from carry.exchange.aster.model import Aster
from carry.exchange.aster.server import AsterServer

USER = Key.from_key("0x" + "31" * 32)
AGENT = Key.from_key("0x" + "32" * 32)
API_KEY, API_SECRET = "k" * 64, "s" * 64


@contextmanager
def serving(
    *, seed: int = 7, network: str = "testnet", offset_ms: int = 0, spot: str = "1000",
    perp: str = "1000", **options: Any,
) -> Iterator[AsterServer]:
    exchange = Aster(
        seed, time.time_ns() // 1_000_000 + offset_ms, network=network, **options
    )
    exchange.open_account(USER.address, spot=Decimal(spot), perp=Decimal(perp))
    exchange.approve(AGENT.address, USER.address)
    exchange.doorman.give_key(USER.address, API_KEY, API_SECRET)
    server = AsterServer(exchange, offset_ms=offset_ms)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
