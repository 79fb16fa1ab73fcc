"""Reciprocal rank fusion of two retrievers (Cormack, Clarke and Buettcher 2009): what either ranks high, and above all what both do."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus, Document, Question
from tolman.memory._ranking import kept
from tolman.memory.bm25 import Bm25
from tolman.memory.dense import Dense


class Hybrid(Component):
    """The `k` documents with the highest sum of 1 / (constant + rank) over what `first` and `second` find (each its own k), the best last."""

    first: Nested = Bm25(k=20)
    """A retriever. Give both a larger k than the fusion's, or there is little to fuse."""
    second: Nested = Dense(k=20)
    """Another one."""
    k: int = Field(default=4, ge=1)
    """Most documents to find."""
    constant: float = Field(default=60, ge=0)
    """How little the very first ranks stand out; 60 as in the paper."""

    example: ClassVar[dict[str, Any]] = {"first": {"is": "memory/bm25", "k": 20}, "second": {"is": "memory/dense", "k": 20}}

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """Ranks count from 1; a document that one of them does not find gets nothing from it. Ties go to the earlier document."""
        place = kept(corpus, "place", lambda documents: {d.id: i for i, d in enumerate(documents)})
        sides = [retriever.retrieve(corpus, questions, seed=seed) for retriever in (self.first, self.second)]  # type: ignore[attr-defined]
        found = []
        for rankings in zip(*sides, strict=True):
            score: dict[str, float] = {}
            for ranking in rankings:
                for rank, document in enumerate(reversed(ranking), start=1):
                    score[document.id] = score.get(document.id, 0.0) + 1 / (self.constant + rank)
            best = sorted(score, key=lambda id: (-score[id], place[id]))[: self.k]
            found.append([corpus.by_id[id] for id in reversed(best)])
        return found
