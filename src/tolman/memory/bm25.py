"""BM25: documents that share rare words with the question, whatever they say with them.

Robertson et al. 1994, with the idf of Lucene (never negative), as bm25s computes it (Lù 2024, arXiv 2407.03618). Words are compared whole, without case; there are
no stop words and no stems: in a world of invented words every word may be the one that matters, and bm25s's own tokenizer would drop those of one letter.
"""

import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.memory._ranking import kept, ranked, shown

_WORD = re.compile(r"\w+")


class Bm25(Component):
    """The `k` documents of highest BM25 score for the question's words, the best last. One that shares no word with the question is never found."""

    k: int = Field(default=4, ge=1)
    """Most documents to find."""
    k1: float = Field(default=1.5, ge=0)
    """How slowly further occurrences of a word saturate."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How much long documents are discounted."""

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """The index is built once for a corpus. Ties go to the earlier document; nothing is drawn. Raises UserError where bm25s is missing."""
        documents, index = kept(corpus, f"bm25 {self.k1} {self.b}", self._index)
        found = []
        for question in questions:
            known = [word for word in words(question.prompt) if index is not None and word in index.vocab_dict]
            if index is None or not known:
                found.append([])
                continue
            scores = index.get_scores(known)
            found.append(shown(documents, [i for i in ranked(scores) if scores[i] > 0], self.k))
        return found

    def _index(self, documents: Sequence[Document]) -> tuple[Sequence[Document], Any]:
        """The documents, and a bm25s index of them; None where there is no word in any of them."""
        if importlib.util.find_spec("bm25s") is None:
            raise UserError("memory/bm25 needs the package bm25s: pip install bm25s")
        import bm25s

        texts = [words(document.text) for document in documents]
        if not any(texts):
            return documents, None
        index = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", dtype="float64")
        vocabulary = {word: i for i, word in enumerate(dict.fromkeys(word for text in texts for word in text))}
        index.index(([[vocabulary[word] for word in text] for text in texts], vocabulary), show_progress=False, create_empty_token=False)
        return documents, index


def words(text: str) -> list[str]:
    """The words of `text`, case folded. Names of one letter and names joined by underscores are words."""
    return _WORD.findall(text.casefold())
