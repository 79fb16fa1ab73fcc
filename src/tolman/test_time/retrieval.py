"""Episodic memory: what a retriever finds for the question is put back in context."""

from collections.abc import Sequence
from typing import Any, ClassVar

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus, Prompt, Question
from tolman.core.protocols import LiveModel


class Retrieval(Component):
    """The documents that `retriever` finds, before the question."""

    retriever: Nested
    """Which memory to ask, such as `memory/oracle`."""

    example: ClassVar[dict[str, Any]] = {"retriever": {"is": "memory/oracle", "distractors": 2}}

    def prompts(self, model: LiveModel, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[Prompt]:
        found = self.retriever.retrieve(corpus, questions, seed=seed)  # type: ignore[attr-defined]
        return [Prompt(q.prompt, tuple(d.text for d in documents)) for q, documents in zip(questions, found, strict=True)]
