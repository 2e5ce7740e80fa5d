"""One journal a release, kept for good: `python -m tests.research.releases` makes this version's.

A life under faults, made by the project's own storm: orders refused, lost and filled in part, a
process that dies. Every later program must read it and step through it (test_releases).
"""

import lzma
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

from .making import lived

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "journals"
SEED, TICKS = 9, 250


def version() -> str:
    """The version that the tree is about to be, or is."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup["metadata"]["version"]


def unpacked(packed: Path, folder: Path) -> Path:
    """The journal of a release as a file that can be opened."""
    path = folder / packed.name.removesuffix(".xz")
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "carry.db"
        lived(path, SEED, TICKS, None)
        packed = FOLDER / f"{version()}.db.xz"
        packed.write_bytes(lzma.compress(path.read_bytes(), preset=9))
    print(f"{packed.relative_to(ROOT)}: {packed.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
