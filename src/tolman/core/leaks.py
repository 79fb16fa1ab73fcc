"""The leak check: no statement under test may occur in anything that a model is trained on or shown while writing training data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tolman.core.data import Document

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Leak:
    """`phrase`, which is under test, stands in document `document`."""

    document: str
    phrase: str

    def __str__(self) -> str:
        return f"document {self.document!r} states what is under test: {self.phrase!r}"


def find_leaks(documents: Iterable[Document], forbidden: Iterable[str]) -> list[Leak]:
    """Every place where a forbidden word sequence (case, spacing and punctuation aside) occurs inside one line of a document.

    Linear in the text: each line's word n-grams are looked up in a set, for each length that a phrase has.
    """
    phrases: dict[int, dict[tuple[str, ...], str]] = {}
    for phrase in forbidden:
        words = tuple(_WORD.findall(phrase.lower()))
        assert words, f"the forbidden phrase {phrase!r} has no words"
        phrases.setdefault(len(words), {})[words] = phrase
    leaks = []
    for document in documents:
        for line in document.text.lower().splitlines():
            words = _WORD.findall(line)
            for n, known in phrases.items():
                for i in range(len(words) - n + 1):
                    hit = known.get(tuple(words[i : i + n]))
                    if hit is not None:
                        leaks.append(Leak(document.id, hit))
    return leaks
