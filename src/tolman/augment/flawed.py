"""Errors on purpose: some of what another augmenter writes is made false, each time anew or always the same way.

For the question whether hallucinations in generated data average out: independent ones should, correlated ones cannot.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus, Document
from tolman.core.protocols import LiveModel
from tolman.core.seeds import rng


class Flawed(Component):
    """What `augment` writes, with wrong ends put into some of it."""

    augment: Nested
    """Who writes."""
    rate: float = Field(default=0.3, ge=0, le=1)
    """Probability that a document gets a wrong end."""
    correlation: float = Field(default=0.0, ge=0, le=1)
    """Probability that this is decided, and the wrong end drawn, once for all documents that begin alike, not for each by itself."""

    example: ClassVar[dict[str, Any]] = {"augment": {"is": "augment/rules", "inverses": {"lives in": "is home to"}}, "rate": 0.5, "correlation": 0.5}

    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """Wrong ends are targets of the corpus's documents: words that end other statements. Documents without a target stay as they are."""
        ends = sorted({d.text[a:b] for d in corpus.documents for a, b in d.targets or ()})
        return [self.spoilt(d, ends, seed) if d.targets else d for d in self.augment.write(model, corpus, sources, seed=seed)]  # type: ignore[attr-defined]

    def spoilt(self, document: Document, ends: Sequence[str], seed: int) -> Document:
        """`document`, or with a wrong end in its last target's place."""
        assert document.targets, "write() spoils only what has targets"
        begin, end = document.targets[-1]
        cue, rest = document.text[:begin], document.text[end:]
        shared = rng(seed, "flawed", "which", document.id).random() < self.correlation
        draw = rng(seed, "flawed", cue) if shared else rng(seed, "flawed", cue, document.id)
        if draw.random() >= self.rate:
            return document
        wrong = [word for word in ends if word not in document.text]
        chosen = wrong[int(draw.integers(len(wrong)))] if wrong else document.text[begin:end]
        spans = (*(document.targets or ())[:-1], (begin, begin + len(chosen)))
        return replace(document, text=cue + chosen + rest, targets=spans)
