"""The persistent memory that `tolman teach` writes, as a retriever of studies: LanceDB's full text and vectors, fused by reciprocal rank.

A corpus is put into a store of its own, so what a comparison measures is what is served afterwards.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.memory._episodes import Episode, Episodes, Found, Way
from tolman.memory._ranking import kept
from tolman.memory.dense import Library


class Episodic(Component):
    """The `k` documents that the store ranks highest, the best last; fewer where fewer share a word with the question or are like it."""

    k: int = Field(default=4, ge=1)
    """Most documents to find."""
    way: Way = "both"
    """What counts: the words that a document shares with the question (BM25), the similarity of their vectors, or both fused."""
    candidates: int = Field(default=40, ge=1)
    """How many documents each of the two rankings that are fused has."""
    constant: float = Field(default=60, ge=0)
    """How little the very first ranks stand out; 60 as in Cormack, Clarke and Buettcher 2009."""
    least_similarity: float = Field(default=0.25, ge=-1, le=1)
    """A document that shares no word with the question must be so similar to it (cosine)."""
    library: Library = "wordllama"
    """What computes the embeddings: `wordllama` (its package holds the vectors), or `model2vec` or `sentence_transformers` with a `model`."""
    model: str = ""
    """Folder or hub id of the model, for `model2vec` and `sentence_transformers`."""

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """Nothing is drawn; ties go to the earlier document. Raises UserError where LanceDB or the embeddings are missing."""
        _, store = kept(corpus, f"episodic {self.library} {self.model}", self._stored)
        return [[corpus.by_id[f.episode.id] for f in reversed(self.search(store, question.prompt))] for question in questions]

    def search(self, store: Episodes, text: str) -> list[Found]:
        """The episodes of `store` for `text`, the best first."""
        found = {name: getattr(self, name) for name in ("k", "way", "candidates", "constant", "least_similarity")}
        return store.search(text, **found)

    def open(self, folder: Path) -> Episodes:
        """The store in `folder`, made if there is none."""
        return Episodes(folder, library=self.library, model=self.model)

    def _stored(self, documents: Sequence[Document]) -> tuple[tempfile.TemporaryDirectory[str], Episodes]:
        """A store that holds `documents`, and the folder it is in, which goes with the corpus."""
        folder = tempfile.TemporaryDirectory(prefix="tolman-")
        store = self.open(Path(folder.name))
        store.add([Episode(d.id, "", "", d.text, i, i) for i, d in enumerate(documents)])
        return folder, store
