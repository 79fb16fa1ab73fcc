"""Texts cut into passages, the documents of a corpus, and these into sentences. Both know where they stand."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from tolman.datasets._folder_read import Source
from tolman.datasets._folder_sentences import sentences

ENGLISH = frozenset(
    "a about after all also an and any are as at be been before but by can could did do each for from had has have he her his how i if in into is it its like made "
    "many may more most must new no not of on one only or other our out over said she so some such than that the their them then there these they this those to two "
    "under up was we were what when where which who will with would you".split()
)
ENGLISH_SHARE = 0.15
"""Share of its words that a text in English has among these, at the least (prose has .35 to .5; German and Dutch reach .08)."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the passage with id `passage`: characters `begin` to `end` of the text of `file`."""

    text: str
    file: str
    passage: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Passage:
    """Whole sentences of a section, together at most so many words (a longer sentence stands alone): characters `begin` to `end` of the text of `file`.

    `text` has the section's heading on a line above them.
    """

    id: str
    file: str
    section: str
    text: str
    begin: int
    end: int
    sentences: tuple[Sentence, ...]

    @property
    def place(self) -> str:
        """For a citation."""
        return f"{self.file}{f', {self.section}' if self.section else ''}, characters {self.begin} to {self.end}"


def passages(source: Source, words: int) -> Iterator[Passage]:
    """The passages of a text, each of at most `words` words."""
    number = 0
    for section in source.sections:
        inside = source.text[section.begin : section.end]
        taken: list[tuple[int, int]] = []
        for span in chain(sentences(inside), [None]):
            full = span is None or sum(len(inside[a:b].split()) for a, b in (*taken, span)) > words
            if taken and full:
                number += 1
                begin, end = section.begin + taken[0][0], section.begin + taken[-1][1]
                id, text = f"{source.file}:{number}", source.text[begin:end]
                inner = tuple(Sentence(inside[a:b], source.file, id, section.begin + a, section.begin + b) for a, b in taken)
                shown = f"{section.title}\n{text}" if section.title and section.written else text
                yield Passage(id, source.file, section.title, shown, begin, end, inner)
                taken = []
            if span is not None:
                taken.append(span)


def is_english(texts: Iterable[str]) -> bool:
    """Whether texts of a file look English; fewer than 20 words are given the benefit of the doubt."""
    words = Counter(word.strip(".,;:!?\"'()").lower() for text in texts for word in text.split())
    total = sum(words.values())
    return total < 20 or sum(n for word, n in words.items() if word in ENGLISH) >= ENGLISH_SHARE * total
