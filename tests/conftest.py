"""One thread (the matrices are small), no network, and Hypothesis without a clock, so that the tests do the same everywhere."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hypothesis import settings

settings.register_profile("tolman", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tolman")
