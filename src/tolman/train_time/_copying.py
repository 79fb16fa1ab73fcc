"""Sequences of random words to practise copying on: where a beginning came before, what followed it there is to follow it here."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from tolman.core.packing import Example
from tolman.core.seeds import rng

RECORDS, WORDS = (2, 6), (2, 5)
"""Fewest and most records in a sequence, and words in a record."""
LONGEST = 2 * RECORDS[1] * (WORDS[1] + 1)
"""Tokens of the longest sequence."""


class Copying:
    """Endless sequences: some records of `words` (ids), one a line, then the same in another order. Each word of the second part is to be predicted but for the
    first of its record, which tells which it is. No words hold together, so nothing but looking back predicts them."""

    def __init__(self, words: Sequence[int], line_break: int, seed: int) -> None:
        self.words, self.line_break, self.seed = np.asarray(words, np.int64), line_break, seed
        self.state = {"position": 0}

    def take(self, tokens: int) -> Iterator[Example]:
        """Sequences until they hold at least `tokens` tokens."""
        taken = 0
        while taken < tokens:
            example = self.sequence(rng(self.seed, "copying", self.state["position"]))
            self.state = {"position": self.state["position"] + 1}
            taken += len(example)
            yield example

    def sequence(self, draw: np.random.Generator) -> Example:
        (fewest, most), (shortest, longest) = RECORDS, WORDS
        longest = min(longest, len(self.words) // fewest)
        width = int(draw.integers(min(shortest, longest), longest + 1))
        count = int(draw.integers(fewest, min(most, len(self.words) // width) + 1))
        records = draw.choice(self.words, (count, width), replace=False)
        lines = np.insert(np.concatenate((records, draw.permutation(records))), width, self.line_break, axis=1)
        weight = np.zeros(lines.shape, np.float32)
        weight[count:, 1:width] = 1.0
        return Example(lines.flatten()[:-1], weight.flatten()[:-1])


def words_of(pools: Iterable[Sequence[Example]], without: Collection[int | None]) -> list[int]:
    """The ids that stand in the examples, but for `without`."""
    found = np.unique(np.concatenate([e.token for e in chain.from_iterable(pools)]))
    return [int(i) for i in found if i not in without]
