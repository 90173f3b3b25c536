"""Keyed random numbers: everything that draws does so from a generator named by a seed and strings."""

from hashlib import blake2b

import numpy as np


def generator(seed: int, *key: str) -> np.random.Generator:
    """A Philox generator whose 128-bit key is the BLAKE2b digest of ``seed`` and the strings ``key``.

    Equal arguments give equal streams on every machine; any other seed or key gives an unrelated one.
    """
    digest = blake2b(digest_size=16)
    for part in (str(int(seed)), *key):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))  # lengths keep ("ab", "c") apart from ("a", "bc")
        digest.update(data)
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), "little")))
