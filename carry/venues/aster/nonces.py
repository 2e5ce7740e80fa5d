"""Microsecond nonces, each used once by all processes of this machine that sign for one user.

The venue keeps the last 100 nonces of a *user*, so a bot, a probe and a doctor beside it share a
file. Writes of a bot carry the nonce of its journal (milliseconds, times 1000); those are left out
here, so that the two can never meet.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Protocol

from .constants import NONCE_WINDOW_MS

_AHEAD_US = NONCE_WINDOW_MS * 1_000
_STEP_US = 1_000


class Nonces(Protocol):
    def next(self, now_us: int) -> int:
        """A nonce never given before, near `now_us` (the venue's clock, microseconds)."""


class SharedNonces:
    """Nonces of one user from a file under a lock of the operating system."""

    def __init__(self, folder: Path, user: str) -> None:
        name = hashlib.sha256(user.lower().encode()).hexdigest()[:24]
        self._folder, self._path = folder, folder / f"aster-{name}.nonce"

    def next(self, now_us: int) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = os.read(file, 32).decode("ascii", "replace").strip()
            nonce = after(int(text) if text.isdigit() else 0, now_us)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{nonce}\n".encode(), 0)
        finally:
            os.close(file)
        return nonce


def after(last_us: int, now_us: int) -> int:
    """The next nonce after `last_us`; of a last one that the venue would refuse, nothing is kept.

    >>> after(5_000_000, 5_000_000), after(5_000_999, 0), after(99_000_000, 5_000_000)
    (5000001, 5001001, 5000001)
    """
    if last_us > now_us + _AHEAD_US:
        last_us = 0  # the machine's clock was wrong once; it must not spend the nonces of hours
    nonce = max(last_us + 1, now_us)
    return nonce + 1 if nonce % _STEP_US == 0 else nonce
