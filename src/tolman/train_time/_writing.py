"""The writing stage of `augmented`: a teacher that is listened to, and filters on what it wrote."""

import math
from collections.abc import Sequence
from typing import Any

from tolman.core.data import Corpus, Document, Generation, Prompt
from tolman.core.generated import Origin
from tolman.core.leaks import find_leaks

QUOTED = 3
"""So many of the teacher's texts are quoted where none was of use."""


class Overheard:
    """A model, and what it was shown: prompts that state what is under test are counted, its first texts kept."""

    def __init__(self, model: Any, forbidden: Sequence[str]) -> None:
        self._model, self._forbidden = model, forbidden
        self.prompts, self.leaks = 0, 0
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, prompts: Sequence[Prompt], **how: Any) -> list[list[Generation]]:
        self._hear(prompts)
        out = self._model.generate(prompts, **how)
        for row in out[: QUOTED - len(self.texts)]:
            self.texts += [written.text for written in row[:1]]
        return out

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        self._hear(prompts)
        return self._model.score(prompts, continuations)

    def _hear(self, prompts: Sequence[Prompt]) -> None:
        shown = (Document(str(i), self._model.render(p)) for i, p in enumerate(prompts))
        self.prompts += len(prompts)
        self.leaks += len({leak.document for leak in find_leaks(shown, self._forbidden)})


def distinct(documents: Sequence[Document]) -> list[Document]:
    """The first document of each text."""
    first: dict[str, Document] = {}
    for d in documents:
        first.setdefault(d.text, d)
    return list(first.values())


def likelihood(model: Any, corpus: Corpus, documents: Sequence[Document]) -> list[float]:
    """How likely `model` finds each document's last target (where it has no targets: all but its first word) after its sources: the geometric mean over its words."""
    prompts, ends = [], []
    for d in documents:
        begin = d.targets[-1][0] if d.targets else len(d.text.split(" ")[0])
        prompts.append(Prompt(d.text[:begin].strip(), tuple(corpus.by_id[id].text for id in Origin.of(d).sources)))
        ends.append(d.text[begin:].strip() or d.text)
    nats = model.score(prompts, [[end] for end in ends])
    return [math.exp(row[0] / len(end.split())) for row, end in zip(nats, ends, strict=True)]


def repeated(documents: Sequence[Document], beside: int, share: float) -> list[Document]:
    """`documents`, all as often as it takes for them to be at least `share` of themselves and `beside` others."""
    times = max(1, math.ceil(share / (1 - share) * beside / len(documents)))
    return [d for _ in range(times) for d in documents]
