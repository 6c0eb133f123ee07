"""Random numbers with random access: each number is a function of its coordinates.

A number depends only on the seed, a purpose and integer coordinates, never on earlier draws. Therefore any week can be
made without the weeks before it. All computations on the numbers use only integer arithmetic and exactly rounded
operations, so that the same seed gives the same bytes on every machine.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STRIDE = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): each input bit affects every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Chance:
    """The random numbers of one seed and purpose."""

    def __init__(self, seed: int, purpose: str) -> None:
        digest = hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest()
        self._key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)

    def uniform(self, *coordinates: ArrayLike) -> Floats:
        """Return numbers in [0, 1), one for each broadcast element of the integer coordinates (always an array)."""
        x = self._key
        for coordinate in coordinates:
            c = np.atleast_1d(np.asarray(coordinate, dtype=np.int64)).view(np.uint64)
            x = _mix(x + (c + np.uint64(1)) * _STRIDE)
        return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: ArrayLike, *coordinates: ArrayLike) -> Ints:
        """Return integers in [0, limit)."""
        return np.asarray(self.uniform(*coordinates) * np.asarray(limit), dtype=np.int64)
