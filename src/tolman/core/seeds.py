"""Random streams by name, so that no two uses share one and nothing touches a global generator."""

import hashlib

import numpy as np


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for the stream called `names` under `seed`; equal on every machine and Python version."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng(seed: int, *names: object) -> np.random.Generator:
    """NumPy generator for the stream called `names` under `seed`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))
