"""One bot for an account on a network, whatever folder it is started from.

An exclusive lock of the operating system on a file named by network and account: it ends with the
process, however that ends, so there is nothing stale to remove.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


class Locked(Exception):
    """Another process trades this account. `pid` is its number, None if it did not say."""

    def __init__(self, network: str, account: str, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{who} trades account {account} on {network} already: two bots would undo each "
            "other's orders. Look with `carry status`, or end it with ./stop.sh"
        )
        self.pid = pid


def folder() -> Path:
    """Where the locks are: of this user, for all folders a bot may be started from."""
    if named := os.environ.get("CARRY_LOCK_DIR"):
        return Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "carry"
    return Path.home() / ".local" / "state" / "carry" / "locks"


@contextlib.contextmanager
def only_one(network: str, account: str) -> Iterator[None]:
    """Hold the lock of an account while inside; raises `Locked` when another process does."""
    name = hashlib.sha256(f"{network}|{account.lower()}".encode()).hexdigest()[:24]
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder() / f"{name}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = os.read(file, 20).decode("ascii", "replace").strip()
            raise Locked(network, account, int(said) if said.isdigit() else None) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)
