"""What the token-level worlds share: invented words, random filler around statements, in-context sequences, wrong candidates."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from tolman.core.data import Document

SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou")
MOST_WORDS = 100_000
"""So many invented words can be asked for; there are about 3.5 times as many."""

UNFILLED = 0.5
"""Share of the in-context sequences without any filler: in-context use begins sooner with some of them (LOG.md)."""

Line = tuple[str, int]
"""A statement, and on how many of its last characters the loss is taken (0: none). A plain tuple, for millions are made."""


def invented(n: int, draw: np.random.Generator, taken: Iterable[str] = ()) -> list[str]:
    """n different lower-case pseudo-words of two or three syllables, none of them in `taken` (whatever its case)."""
    words: dict[str, None] = dict.fromkeys(word.lower() for word in taken)
    known = len(words)
    assert known + n <= 2 * MOST_WORDS, f"{known + n} invented words are more than the syllables give"
    while len(words) < known + n:
        for length, row in zip(draw.integers(2, 4, n).tolist(), draw.integers(0, len(SYLLABLES), (n, 3)).tolist(), strict=True):
            if len(words) < known + n:
                words["".join(SYLLABLES[i] for i in row[:length])] = None
    return list(words)[known:]


def derangement(n: int, draw: np.random.Generator) -> np.ndarray:
    """A random permutation of n >= 2 items in which none stays in place, uniform by rejection (about e draws)."""
    while True:
        table = draw.permutation(n)
        if not (table == np.arange(n)).any():
            return table


class Filler:
    """Random prefixes and suffixes of up to `most` filler words. They are drawn from pools of `variants`, which is far quicker than word by word."""

    def __init__(self, words: int, most: int, draw: np.random.Generator, variants: int = 2048) -> None:
        names = [f"f{i:02d}" for i in range(words)]
        self.names, self.most = frozenset(names), most
        self.prefixes: list[list[str]] = []
        self.suffixes: list[list[str]] = []
        self.gaps: list[list[str]] = []
        for level in range(most + 1):
            sizes, rows = draw.integers(0, level + 1, (2, variants)).tolist(), draw.integers(0, words, (2, variants, level)).tolist()
            before = ["".join([names[w] + " " for w in row[:n]]) for row, n in zip(rows[0], sizes[0], strict=True)]
            after = ["".join([" " + names[w] for w in row[:n]]) for row, n in zip(rows[1], sizes[1], strict=True)]
            self.prefixes.append(before)
            self.suffixes.append(after)
            self.gaps.append([f"{suffix}\n{prefix}" for suffix, prefix in zip(after, reversed(before), strict=True)])

    def drawn(self, pools: list[list[str]], level: int, n: int, draw: np.random.Generator) -> list[str]:
        """n of the `prefixes` (each ends with a space unless empty), `suffixes` (begins with one) or `gaps` (suffix, line break, prefix) of up to `level`."""
        pool = pools[level]
        return [pool[i] for i in draw.integers(0, len(pool), n).tolist()]


def told(
    statements: Sequence[tuple[str, Line]], filler: Filler, draw: np.random.Generator, provenance: str = "world", *, copy: int | None = None
) -> Iterator[Document]:
    """Experiences, one statement each, given as (id, line), with filler around them. Of statements told several times, `copy` is which time this is: ids get it."""
    before, after = (filler.drawn(pools, filler.most, len(statements), draw) for pools in (filler.prefixes, filler.suffixes))
    for (id, (statement, target)), prefix, suffix in zip(statements, before, after, strict=True):
        end = len(prefix) + len(statement)
        name, first = (id, "") if copy is None else (f"{id}:{copy}", f"{id}:0" if copy else "")
        yield Document(name, f"{prefix}{statement}{suffix}", provenance, ((end - target, end),), copy_of=first)


def in_context(sequences: Iterable[Sequence[Line]], filler: Filler, draw: np.random.Generator, provenance: str, name: str = "episode") -> Iterator[Document]:
    """Exercises: each sequence's statements, one a line, with filler around each, as a prompt of retrieved documents looks."""
    levels: list[int] = []
    starts: list[list[str]] = [[] for _ in filler.prefixes]
    gaps: list[list[str]] = [[] for _ in filler.prefixes]
    for number, lines in enumerate(sequences):
        levels = levels or np.where(draw.random(4096) < UNFILLED, 0, draw.integers(0, filler.most + 1, 4096)).tolist()
        level = levels.pop()
        if not starts[level]:
            starts[level] = filler.drawn(filler.prefixes, level, 1024, draw)
        mine = gaps[level]
        if len(mine) < len(lines):
            mine += filler.drawn(filler.gaps, level, 4096 + len(lines), draw)
        text, targets = starts[level].pop(), []
        for statement, target in lines:
            text += statement
            if target:
                end = len(text)
                targets.append((end - target, end))
            text += mine.pop()
        yield Document(f"{name}:{number}", text.rpartition("\n")[0], provenance, tuple(targets), "exercise")


def shuffle(lines: list[Line], picks: Sequence[int], skip: int = 0) -> list[Line]:
    """`lines` in an order that the random integers `picks` (below 2^30) decide; another `skip` (of bits) uses the same integers for another order."""
    for i in range(len(lines) - 1, 0, -1):
        j = (picks[i % len(picks)] >> skip) % (i + 1)
        lines[i], lines[j] = lines[j], lines[i]
    return lines


def blocks(count: int, size: int = 4096) -> Iterator[int]:
    """How many of `count` things to draw at a time: random numbers come quickest in blocks, and blocks bound the memory."""
    for begin in range(0, count, size):
        yield min(size, count - begin)


def few(n: int, rows: int, width: int, draw: np.random.Generator, least: int = 1) -> np.ndarray:
    """(rows, width) indices below n. Each row draws from only `least` to `width` values, how many is random: no word alone tells two facts of a row apart."""
    pool, size = draw.integers(0, n, (rows, width)), draw.integers(least, width + 1, (rows, 1))
    return np.take_along_axis(pool, draw.integers(0, size, (rows, width)), axis=1)


def few_of_two(frame: int, filler: int, shape: tuple[int, int, int], one_share: float, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames (relations, say) and what fills them (entities), as indices below `frame` and `filler`: (rows, shape[1]) and (rows, shape[2]).

    With chance `one_share` a row has a single frame and any fillers: only the fillers tell its facts apart. With several frames in play a small model matches
    the frame alone, which is often enough, and learns nothing better (LOG.md, reversals). The other rows draw from few of both.
    """
    rows, frames, fillers = shape
    one = draw.random((rows, 1)) < one_share
    several = few(frame, rows, frames, draw)
    return np.where(one, several[:, :1], several), np.where(
        one, draw.integers(0, filler, (rows, fillers)), few(filler, rows, fillers, draw, least=min(3, fillers))
    )


def others(pool: Sequence[str], without: Collection[str], n: int, draw: np.random.Generator) -> list[str]:
    """n different members of `pool`, none of them in `without`, in random order. Takes time in n, not in the size of the pool, while n is well below it."""
    if 2 * (n + len(without)) > len(pool):
        rest = [word for word in pool if word not in without]
        assert len(rest) >= n, f"{n} wrong candidates were asked for where there are {len(rest)}"
        return [rest[i] for i in draw.permutation(len(rest))[:n].tolist()]
    found: dict[str, None] = {}
    while len(found) < n:
        drawn: list[int] = draw.integers(0, len(pool), 2 * n).tolist()
        for i in drawn:
            if pool[i] not in without and len(found) < n:
                found[pool[i]] = None
    return list(found)


def shuffled(choices: Sequence[str], draw: np.random.Generator) -> tuple[str, ...]:
    """`choices` in random order, so that a candidate's place tells nothing."""
    order: list[int] = draw.permutation(len(choices)).tolist()
    return tuple(choices[i] for i in order)
