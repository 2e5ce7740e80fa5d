"""Coverage-guided mutation of the venue's replies: `make fuzz` (SECONDS=600 by default).

A decoder returns a value or says that the reply is unreadable; anything else is a crash, and its
input is kept as crash-* in build/fuzz.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["carry.venues"]):
    from carry.core.num import use_exact_context
    from carry.venues.base import ReadFailed
    from carry.venues.hyperliquid import parse
    from carry.venues.hyperliquid.feed import Feed
    from tests.venues.hyperliquid.support import ACCOUNT, encoded
    from tests.venues.hyperliquid.test_fuzz import FRAMES, KNOWN, READS


def decode(data: bytes) -> None:
    """The first byte chooses the decoder; the last one is the stream's."""
    if not data:
        return
    chosen, body = data[0] % (len(READS) + 1), data[1:]
    try:
        with parse.reading("fuzz"):
            if chosen == len(READS):
                feed = Feed(ACCOUNT)
                feed.known = KNOWN
                feed.take(body, 1)
            else:
                READS[chosen][1](body)
    except ReadFailed as failed:
        assert failed.kind == "unreadable", failed


def seeds(folder: Path) -> None:
    """Sound replies for each decoder, and sound frames of the stream."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = [(n, value) for n, (value, _) in enumerate(READS)]
    sound += [(len(READS), value) for value in FRAMES]
    for n, (chosen, value) in enumerate(sound):
        (folder / f"seed-{n}").write_bytes(bytes([chosen]) + encoded(value))


if __name__ == "__main__":
    use_exact_context()
    corpus = Path("build/fuzz/corpus")
    seeds(corpus)
    atheris.Setup([sys.argv[0], str(corpus), "-artifact_prefix=build/fuzz/", *sys.argv[1:]], decode)
    atheris.Fuzz()
