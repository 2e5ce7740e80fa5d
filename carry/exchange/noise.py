"""Seeded noise in integers: the same on every machine, Python version and hash seed.

Nothing here keeps a running generator: each value is a function of a key and a counter, so a state
file needs no generator state and one more draw for one concern never shifts another.
"""

import hashlib
import random

NORMAL_SD = 256
"""Standard deviation of `normals`, in its own units."""

_MASK = (1 << 64) - 1
_BYTES_A_NORMAL = 12
_MEAN = 1530


def key_of(*parts: object) -> int:
    """A 64-bit key from readable parts, e.g. `key_of(seed, "latency")`."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def mix(x: int) -> int:
    """64 well mixed bits of a counter (splitmix64)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def normals(key: int, count: int) -> list[int]:
    """`count` draws close to normal, mean 0, standard deviation `NORMAL_SD`.

    Twelve uniform bytes have a variance of 12 * (256**2 - 1) / 12, which is 256**2 within 0.002 %;
    their sum needs no logarithm, so no libm decides the last digit.
    """
    blob = random.Random(key).randbytes(_BYTES_A_NORMAL * count)
    return [
        sum(blob[i : i + _BYTES_A_NORMAL]) - _MEAN
        for i in range(0, len(blob), _BYTES_A_NORMAL)
    ]
