"""Rows that need no second process: a signature, a step, a commit."""

import itertools
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import attrs
import coincurve
from Crypto.Hash import keccak
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from carry.core.actions import Place
from carry.core.num import use_exact_context
from carry.core.step import step
from carry.core.types import Leg, Side, Tif
from carry.shell.journal import Journal
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.signing import Signer
from carry.venues.keys import AgentKey

from .held import held
from .timing import beside, row

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ACTION = {
    "type": "order",
    "orders": [
        {
            "a": 10107,
            "b": True,
            "p": "25.012",
            "s": "9.99",
            "r": False,
            "t": {"limit": {"tif": "Ioc"}},
            "c": "0x000000000000004d0000000000000003",
        }
    ],
    "grouping": "na",
}
NATIVE = """
import sys, time
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action
from tests.bench.micro import ACTION, KEY
wallet = Account.from_key(KEY)
took = []
for n in range(30):
    began = time.perf_counter()
    sign_l1_action(wallet, ACTION, None, 1700000000000 + n, 1700000010000, True)
    took.append(time.perf_counter() - began)
print(sorted(took)[len(took) // 2] * 1e6)
"""


def signing() -> dict[str, dict[str, object]]:
    """One order signed and checked, beside the SDK (both backends) and bare primitives."""
    signer = Signer(AgentKey(KEY), Network.MAINNET)
    nonce = itertools.count(1_700_000_000_000)
    wallet = Account.from_key(KEY)
    bare = coincurve.PrivateKey(bytes.fromhex(KEY[2:]))

    def ours() -> object:
        n = next(nonce)
        return signer.sign(ACTION, n, n + 10_000)

    def envelope() -> object:
        n = next(nonce)
        return signer.envelope(ACTION, n, n + 10_000)

    def sdk() -> object:
        n = next(nonce)
        return sign_l1_action(wallet, ACTION, None, n, n + 10_000, True)

    def floor() -> object:
        data = b"x" * 180
        for _ in range(3):
            data = keccak.new(digest_bits=256, data=data).digest()
        return bare.sign_recoverable(data, hasher=None)

    env = {**os.environ, "ECC_BACKEND_CLASS": "eth_keys.backends.NativeECCBackend"}
    native = subprocess.run(
        [sys.executable, "-c", NATIVE], env=env, capture_output=True, text=True, check=True
    )
    mine = beside(ours, sdk)
    return {
        "sign order / SDK as installed (pure Python)": row(
            float(str(mine["ours"])), float(native.stdout), "us", 30
        ),
        "sign order / SDK with coincurve": mine,
        "request read back and recovered / SDK with coincurve": beside(envelope, sdk),
        "sign order / libsecp256k1 + 3 keccaks": beside(ours, floor),
    }


def hold_step() -> dict[str, dict[str, object]]:
    """A tick that only holds: fresh quotes, no action; without a peer."""
    use_exact_context()
    state, quotes, reads = held()
    return {
        "step, hold, quotes only": beside(lambda: step(state, quotes), None),
        "step, hold, with account reads": beside(lambda: step(state, reads), None),
    }


def commit() -> dict[str, dict[str, object]]:
    """A durable commit of a tick with an order, beside an append and fdatasync of as many bytes."""
    use_exact_context()
    state, quotes, _ = held()
    place = Place(
        intent=1, coin="HYPE", leg=Leg.SPOT, side=Side.BUY, px=Decimal(25), sz=Decimal(10),
        tif=Tif.IOC, reduce_only=False, cloid="0x" + "0" * 32, nonce=1, expires_ms=1, why="bench",
    )  # fmt: skip
    seq = itertools.count()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        journal = Journal.open(
            Path(folder) / "j.db", network="embedded", account="0x" + "1" * 40, keep_days=1
        )
        journal.begin(state, 1)

        def full() -> None:
            # Each tick's text differs, as in life: identical pages would not be written at all.
            n = next(seq)
            journal.commit(
                attrs.evolve(quotes, mono_ms=n), attrs.evolve(state, now_ms=n, seq=n), (place,)
            )

        def light() -> None:
            n = next(seq)
            journal.commit(
                attrs.evolve(quotes, mono_ms=n), attrs.evolve(state, now_ms=n, seq=n), ()
            )

        descriptor = os.open(Path(folder) / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        block = os.urandom(16_384)

        def append() -> None:
            os.write(descriptor, block)
            os.fdatasync(descriptor)

        for _ in range(300):
            full()
        rows = {
            "commit, durable / 16 KiB append + fdatasync": beside(full, append),
            "commit, no action": beside(light, None),
        }
        os.close(descriptor)
        journal.close()
    return rows
