"""Nonces of one user, from several processes at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from carry.venues.aster.nonces import SharedNonces, after

TAKE = """
import sys
from pathlib import Path
from carry.venues.aster.nonces import SharedNonces
nonces = SharedNonces(Path(sys.argv[1]), sys.argv[2])
for _ in range(300):
    print(nonces.next(1_700_000_000_000_000))
"""


@pytest.mark.parametrize(
    "last, now, nonce",
    [
        (0, 5_000_123, 5_000_123),
        (5_000_123, 5_000_123, 5_000_124),
        (5_000_999, 4_000_000, 5_001_001),  # ..000 is a write's of the journal
        (0, 5_000_000, 5_000_001),
        (99_000_000, 5_000_000, 5_000_001),  # a clock that was wrong once does not bind for ever
        (14_999_999, 5_000_000, 15_000_001),  # within the venue's window it may have been used
    ],
)
def test_the_next_nonce(last: int, now: int, nonce: int) -> None:
    assert after(last, now) == nonce


def test_processes_never_share_one(tmp_path: Path) -> None:
    user = "0x" + "aa" * 20
    folder = tmp_path / "made" / "when needed"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, str(folder), name], stdout=subprocess.PIPE, text=True
        )
        for name in (user, user.upper().replace("0X", "0x"), user)
    ]
    found: list[int] = []
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        found += [int(line) for line in out.split()]
    assert len(found) == 900
    assert len(set(found)) == 900
    assert not [nonce for nonce in found if nonce % 1_000 == 0]
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    nonces = SharedNonces(tmp_path, "0x1")
    nonces.next(7)
    (file,) = tmp_path.iterdir()
    file.write_text("not a number")
    assert nonces.next(2_000_001) == 2_000_001
