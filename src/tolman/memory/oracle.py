"""The oracle: perfect recall, imperfect precision. Not a solved retriever, and not meant to be one.

As in Lampinen et al. 2025 (arXiv 2509.16189) at least one relevant experience is always found, together with irrelevant ones. How many of these the paper uses is
not known; the default is our choice.
"""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.core.seeds import rng

_WORD = re.compile(r"\w+")


class Oracle(Component):
    """Every supporting document of the question, and distractors, in random order."""

    distractors: int = Field(default=3, ge=0)
    """Irrelevant documents beside the supporting ones."""
    like: Literal["any", "rare_word", "common_word"] = Added("any")
    """Which distractors: any; or those that share with the question the word of it that the fewest documents have (mostly a name), or the most (mostly a
    relation). Where such documents are too few, any others make up the number. None of them says over what a supporting document says."""
    place: Literal["random", "first", "last"] = Added("random")
    """Where the supporting documents stand: anywhere, before all distractors, or after them."""

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """Raises UserError where the corpus has too few documents for the distractors."""
        pool = corpus.experiences
        words = Words(pool) if self.like != "any" else None
        found = []
        for question in questions:
            needed = [corpus.by_id[id] for id in question.support]
            if len(pool) < len(needed) + self.distractors:
                raise UserError(f"oracle.distractors = {self.distractors} needs more documents than the {len(pool)} of the corpus")
            draw = rng(seed, "oracle", question.id)
            chosen = [pool[i] for i in draw.choice(len(pool), self.distractors + len(needed), replace=False).tolist()]
            others = [d for d in chosen if d.id not in question.support][: self.distractors]
            if words:
                alike = [pool[i] for i in words.alike(question, needed, common=self.like == "common_word")]
                alike = [alike[i] for i in draw.permutation(len(alike))[: self.distractors].tolist()]
                others = [*alike, *(d for d in others if d not in alike)][: self.distractors]
            documents = needed + others
            order = draw.permutation(len(documents)).tolist()
            if self.place != "random":
                order.sort(key=lambda i: (i >= len(needed)) == (self.place == "first"))
            found.append([documents[i] for i in order])
        return found


class Words:
    """Which documents of a pool have which words."""

    def __init__(self, pool: Sequence[Document]) -> None:
        self.places: dict[str, set[int]] = {}
        for i, document in enumerate(pool):
            for word in set(_WORD.findall(document.text)):
                self.places.setdefault(word, set()).add(i)

    def ranked(self, text: str) -> list[str]:
        """The words of `text` that documents have, from the rarest to the commonest."""
        return sorted((w for w in dict.fromkeys(_WORD.findall(text)) if w in self.places), key=lambda w: len(self.places[w]))

    def alike(self, question: Question, needed: Sequence[Document], *, common: bool) -> list[int]:
        """The documents with the question's rarest (commonest) word, but for those with the two rarest words of a needed document: they say the same."""
        ranked = self.ranked(question.prompt)
        if not ranked:
            return []
        mine = self.places[ranked[-1 if common else 0]]
        same = (set.intersection(*(self.places[w] for w in self.ranked(d.text)[:2])) for d in needed)
        return sorted(mine.difference(*same))
