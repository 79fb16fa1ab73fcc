"""What the retrievers that rank share: an index that lives as long as its corpus, and orders in which ties go to the earlier document."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tolman.core.data import Corpus, Document

T = TypeVar("T")
DECIMALS = 6
"""Scores are compared to so many decimals: texts of the same words in another order are ties, whatever the order of summation makes of them."""


def kept(corpus: Corpus, name: str, build: Callable[[Sequence[Document]], T]) -> T:
    """What `build` makes of the corpus's experiences, made once for a corpus: it is kept under `name` in the corpus itself, as its cached properties are."""
    indexes = vars(corpus).setdefault("_indexes", {})
    if name not in indexes:
        indexes[name] = build(corpus.experiences)
    return indexes[name]


def ranked(scores: np.ndarray) -> list[int]:
    """Positions by descending score."""
    return np.argsort(-scores.round(DECIMALS), kind="stable").tolist()


def shown(documents: Sequence[Document], order: Sequence[int], k: int) -> list[Document]:
    """The first `k` of `order` (positions, best first), the best one last: nearest to the question."""
    return [documents[i] for i in order[:k]][::-1]
