"""Passages of made-up facts, each a world of its own, to be read and then answered from: a training ground for using what stands in context.

Every passage holds its own names; nothing in one tells anything about another. So what is learned from practice is reading, not facts: who stands at which end of a
relation, the same fact asked from the other end, two facts joined, a conclusion. Relations, wordings and names of practice and tests are disjoint, and no other
benchmark has any of them.
"""

from typing import Any, ClassVar

from pydantic import Field

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, kinds_asked, one_right
from tolman.datasets._episodes_passages import Author
from tolman.datasets._episodes_words import Split


class Episodes(Component):
    """Read a passage, answer from it: facts as they were told, from the other end, two joined, compared, concluded. Relations and names are unseen in practice."""

    passages: int = Field(default=60, ge=4, le=300)
    """Passages with test questions."""
    practice: int = Field(default=0, ge=0)
    """Passages with practice questions, for a method that trains on these."""
    facts: int = Field(default=10, ge=6, le=24)
    """Facts in a test passage. Practice passages have from 5 to 2 more than that."""
    questions: int = Field(default=8, ge=1)
    """Questions about a passage, at most."""
    options: int = Field(default=5, ge=2, le=5)
    """Candidates of a question, the answer among them: all from the same passage, and first those that a hasty reader would take."""

    plain_share: float = Added(0.0, ge=0, le=1)
    """Share of the passages, of practice and of tests, in which each name stands in one fact: whoever finds the name has found the fact."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"passages": 150, "practice": 2000}, "paper": {"passages": 300, "practice": 5000}}
    example: ClassVar[dict[str, Any]] = {"passages": 40, "practice": 20}

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`."""
        documents: list[Document] = []
        questions: list[Question] = []
        beside: dict[str, int] = {}
        for split, count in (("practice", self.practice), ("test", self.passages)):
            beside |= self._add(split, count, seed, documents, questions)  # type: ignore[arg-type]
        forbidden = [f"{q.prompt} {q.answers[0]}" for q in questions if q.split == "test" and q.kind != "forward"]
        return Corpus(tuple(documents), tuple(questions), kinds_asked(KINDS, questions), tuple(forbidden), {"beside": beside})

    def _add(self, split: Split, count: int, seed: int, documents: list[Document], questions: list[Question]) -> dict[str, int]:
        """The passages of a split and their questions. For each question about a fact: how many candidates stand in a fact with what it names."""
        beside = {}
        draws = Draws(rng(seed, "episodes", split))
        author = Author(split, draws, questions=self.questions, options=self.options, plain_share=self.plain_share)
        for number in range(count):
            facts = self.facts if split == "test" else 5 + draws.below(self.facts - 2)
            told = author.passage(facts)
            id = f"{split}:{number}"
            documents.append(Document(id, told.text, split))
            for i, asked in enumerate(told.asked):
                choices = tuple(draws.shuffle((asked.answer, *asked.wrong)))
                question = Question(f"{id}:{i}", asked.kind, asked.prompt, (asked.answer,), id, (id,), choices, split)
                questions.append(one_right(question, (asked.answer,)))
                if asked.beside is not None:
                    beside[question.id] = asked.beside
        return beside


KINDS: dict[str, dict[str, Any]] = {
    "forward": {"description": "a fact asked as it was told: the same end is asked for, mostly in another wording"},
    "reversed": {"description": "a fact asked from its other end", "latent": True, "beside": "forward"},
    "two_hop": {"description": "two facts joined: the name they share is not given, but described by one of them", "latent": True, "beside": "forward"},
    "comparison": {"description": "a comparison from its other end, with the opposite word", "latent": True, "beside": "forward"},
    "syllogism": {"description": "the strongest conclusion from two premises, which stand among others", "latent": True, "beside": "forward"},
}
