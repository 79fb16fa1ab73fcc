"""Everything that was to be learned, or a window of it, before the question."""

from collections.abc import Sequence

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Corpus, Prompt, Question
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel
from tolman.core.seeds import rng


class InContext(Component):
    """All documents in corpus order, or a random `documents` of them that always include the question's supporting ones."""

    documents: int | None = Field(default=None, ge=1)
    """How many documents to show, the supporting ones among them; None shows all (exercises are never shown)."""

    def prompts(self, model: LiveModel, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[Prompt]:
        """Raises UserError where a question's supporting documents alone are more than `documents`."""
        pool = corpus.experiences
        if self.documents is None or self.documents >= len(pool):
            everything = tuple(d.text for d in pool)
            return [Prompt(q.prompt, everything) for q in questions]
        place = {d.id: i for i, d in enumerate(pool)}
        prompts = []
        for question in questions:
            if len(question.support) > self.documents:
                raise UserError(
                    f"in_context.documents = {self.documents} cannot hold the {len(question.support)} supporting documents of question {question.id!r}"
                )
            needed = {place[id] for id in question.support}
            order = rng(seed, "in_context", question.id).permutation(len(pool)).tolist()
            others = [i for i in order[: self.documents + len(needed)] if i not in needed]
            shown = sorted([*needed, *others[: self.documents - len(needed)]])
            prompts.append(Prompt(question.prompt, tuple(pool[i].text for i in shown)))
        return prompts
