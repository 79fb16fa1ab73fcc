"""The oracle: perfect recall, imperfect precision. Not a solved retriever, and not meant to be one.

As in Lampinen et al. 2025 (arXiv 2509.16189) at least one relevant experience is always found, together with irrelevant ones. How many of these the paper uses is
not known; the default is our choice.
"""

from collections.abc import Sequence

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.core.seeds import rng


class Oracle(Component):
    """Every supporting document of the question, and random distractors, in random order."""

    distractors: int = Field(3, ge=0)
    """Irrelevant documents beside the supporting ones."""

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """Raises UserError where the corpus has too few documents for the distractors."""
        pool = corpus.experiences
        found = []
        for question in questions:
            needed = [corpus.by_id[id] for id in question.support]
            if len(pool) < len(needed) + self.distractors:
                raise UserError(f"oracle.distractors = {self.distractors} needs more documents than the {len(pool)} of the corpus")
            draw = rng(seed, "oracle", question.id)
            chosen = [pool[i] for i in draw.choice(len(pool), self.distractors + len(needed), replace=False).tolist()]
            documents = needed + [d for d in chosen if d.id not in question.support][: self.distractors]
            found.append([documents[i] for i in draw.permutation(len(documents)).tolist()])
        return found
