"""The question alone: the model answers from its weights."""

from collections.abc import Sequence

from tolman.core.component import Component
from tolman.core.data import Corpus, Prompt, Question
from tolman.core.protocols import LiveModel


class ClosedBook(Component):
    """Nothing but the question."""

    def prompts(self, model: LiveModel, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[Prompt]:
        return [Prompt(q.prompt) for q in questions]
