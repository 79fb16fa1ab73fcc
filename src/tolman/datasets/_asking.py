"""What the generated-language datasets share: quick draws from a named stream, choices, chance levels, practice splits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import trunc
from typing import Any, TypeVar

import numpy as np

from tolman.core.data import Kind, Question
from tolman.core.seeds import rng

T = TypeVar("T")
_BLOCK = 4096


class Draws:
    """Small draws from a generator at a tenth of its price for one draw: uniform numbers are taken from it in blocks."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.uniform: Callable[[], float] = chain.from_iterable(iter(lambda: generator.random(_BLOCK).tolist(), None)).__next__
        """A number in [0, 1)."""

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return trunc(self.uniform() * n)

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[trunc(self.uniform() * len(items))]

    def sample(self, items: Iterable[T], k: int) -> list[T]:
        """`k` different ones of `items` (all of them if there are fewer), in random order."""
        pool, uniform = list(items), self.uniform
        n = len(pool)
        for i in range(min(k, n)):
            j = i + trunc(uniform() * (n - i))
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def sample_few(self, items: Sequence[T], k: int) -> list[T]:
        """`k` different ones of `items`, in random order, without touching the rest: quick where `items` are many and k is small."""
        assert k <= len(items), f"{k} wanted of {len(items)}"
        chosen: dict[int, None] = {}
        while len(chosen) < k:
            chosen[trunc(self.uniform() * len(items))] = None
        return [items[i] for i in chosen]

    def shuffle(self, items: Iterable[T]) -> list[T]:
        """All of `items` in random order."""
        pool = list(items)
        return self.sample(pool, len(pool))


def one_right(question: Question, true: Iterable[str]) -> Question:
    """`question`, whose first answer must be the only one of its choices that stands among `true`, all that is right. Anything else is a fault of the
    dataset and stops the build."""
    right = set(true) | set(question.answers)
    also = [choice for choice in question.choices if choice in right and choice != question.answers[0]]
    assert not also, f"question {question.id!r}: the wrong candidate {also[0]!r} is true as well"
    assert len(set(question.choices)) == len(question.choices), f"question {question.id!r}: a candidate stands twice among its choices"
    assert question.answers[0] in question.choices, f"question {question.id!r}: its answer {question.answers[0]!r} is not one of its choices"
    return question


def answer_words(answers: Sequence[str]) -> int | None:
    """How many words the longest answer has; None where an answer holds anything but words, so that words are no measure of it."""
    return max(len(answer.split()) for answer in answers) if all(word.isalnum() for answer in answers for word in answer.split()) else None


def kinds_asked(about: Mapping[str, Mapping[str, Any]], questions: Sequence[Question]) -> dict[str, Kind]:
    """The kinds of `about` that have questions. Candidates are all choices and answers of its questions; chance is what a uniform draw from these
    scores on its questions."""
    kinds = {}
    for name, fields in about.items():
        asked = [q for q in questions if q.kind == name]
        if not asked:
            continue
        candidates = tuple(sorted({text for q in asked for text in (*q.choices, *q.answers)}))
        known = set(candidates)
        chance = sum(len(known.intersection(q.answers)) for q in asked) / (len(asked) * len(candidates))
        kinds[name] = Kind(candidates=candidates, chance=chance, **fields)
    return kinds


def with_practice(questions: Iterable[Question], share: float, seed: int, name: str) -> tuple[Question, ...]:
    """The questions, those of a random `share` of the clusters set aside for practice (RL, few-shot)."""
    asked = tuple(questions)
    clusters = sorted({q.cluster for q in asked})
    order = rng(seed, name, "practice").permutation(len(clusters))
    chosen = {clusters[i] for i in order[: round(share * len(clusters))].tolist()}
    return tuple(replace(q, split="practice") if q.cluster in chosen else q for q in asked)
