"""One bot for an account on a network."""

import os
import subprocess
import sys

import pytest

from carry.shell.lock import Locked, folder, only_one


def test_a_second_process_is_refused_with_the_first_one_s_number() -> None:
    code = (
        "from carry.shell.lock import *\n"
        "try:\n    with only_one('testnet', '0xAB'): print('in')\n"
        "except Locked as e: print(e.pid)\n"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    with only_one("testnet", "0xab"):
        assert other() == str(os.getpid())
    assert other() == "in"


def test_other_accounts_and_networks_are_free() -> None:
    with only_one("testnet", "0xa"), only_one("mainnet", "0xa"), only_one("testnet", "0xb"):
        pass


def test_a_lock_file_without_a_process_locks_nobody() -> None:
    """What a killed bot leaves is a file, not a lock."""
    with only_one("testnet", "0xa"):
        pass
    (file,) = folder().iterdir()
    file.write_text("1\n")
    with only_one("testnet", "0xa"):
        assert file.read_text() == f"{os.getpid()}\n"


def test_the_same_process_cannot_hold_it_twice() -> None:
    refused = pytest.raises(Locked, match=f"process {os.getpid()}")
    with only_one("testnet", "0xa"), refused, only_one("testnet", "0xA"):
        pass
