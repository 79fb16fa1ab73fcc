"""In-context sequences: earlier episodes in a maze, then episodes to objects that were seen in them, so that using what stands in context can be learned."""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np

from tolman.core.data import Document
from tolman.datasets._mazes_grid import LANDMARKS, Draws, Grid, carve
from tolman.datasets._mazes_place import Place, write
from tolman.datasets._worlds import blocks

_LAYOUTS, _LESSONS = 64, 2048
"""Layouts of the fresh mazes, and lessons in all. Landmarks and objects are drawn anew for every sequence, so remembering a layout helps nobody."""


Line = tuple[str, int]
"""An episode, and where in it the first action begins."""
Fresh = tuple[int, bytes, bytes, bytes]
"""A fresh maze: whose name it bears, landmark of each cell, goals in random order, and cells in the order in which they get these and the other objects."""


class Way(NamedTuple):
    """A way, and how to write of it."""

    cells: bytes
    frame: str
    """The format into which their views go."""
    goal: int
    """Which of the lesson's ends it leads to."""


class Lesson(NamedTuple):
    """Ways to show, and new ways that follow from them: a part of one, or parts of two that meet on a shortest path."""

    shown: tuple[Way, ...]
    new: tuple[Way, ...]
    ends: bytes
    """The cells they lead to."""


class Arena(NamedTuple):
    """Where ways may lead: cells that may be goals, cells that may be starts, and the (start, goal) pairs that may not be walked."""

    grid: Grid
    goals: Sequence[int]
    starts: Sequence[int]
    barred: Collection[tuple[int, int]]

    def way(self, draws: Draws) -> list[int]:
        """The cells of a random way of at least two steps."""
        while True:
            goal, start = self.goals[draws.below(len(self.goals))], self.starts[draws.below(len(self.starts))]
            if (start, goal) not in self.barred and self.grid.steps(start, goal) > 1:
                return self.grid.path(start, goal)

    def part(self, way: Sequence[int], draws: Draws) -> list[int]:
        """A random part of `way` of at least two steps (one where the way has no more)."""
        i = draws.below(max(1, len(way) - 2))
        return list(way[i : i + 3 + draws.below(max(1, len(way) - i - 2))])

    def joined(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        """The longest shortest path that begins like a part of `first` and ends like a part of `second`, and is part of neither; empty if there is none."""
        best: list[int] = []
        for k, cell in enumerate(first):
            if k and cell in second[:-1]:
                m = second.index(cell)
                for i in range(k):
                    for end in range(m + 1, len(second)):
                        steps = k - i + end - m
                        fits = steps >= len(best) and second[end] not in first[i:] and first[i] not in second[:m] and second[end] in self.goals
                        if fits and self.grid.steps(first[i], second[end]) == steps and (first[i], second[end]) not in self.barred:
                            best = [*first[i:k], *second[m : end + 1]]
        return best

    def lesson(self, draws: Draws, context: int, most_new: int) -> Lesson:
        """Up to `context` ways to show, and up to `most_new` that follow from them."""
        while True:
            shown, new = [self.way(draws) for _ in range(1 + draws.below(min(3, context)))], []
            if len(shown) > 1 and (across := self.joined(shown[0], shown[1])):
                new.append(across)
            for _ in range(most_new - len(new)):
                way = shown[draws.below(len(shown))]
                part = self.part(way, draws)
                if part[-1] in self.goals and (part[0], part[-1]) not in self.barred and part not in (*shown, *new):
                    new.append(part)
            if new:
                every = [*shown, *draws.shuffle(new)]
                ends = list(dict.fromkeys(cells[-1] for cells in every))
                ways = tuple([Way(bytes(cells), self.grid.frame(cells), ends.index(cells[-1])) for cells in every])
                return Lesson(ways[: len(shown)], ways[len(shown) :], bytes(ends))


class Exercises:
    """Writes the in-context sequences of `places`: of their own training episodes, or of fresh mazes under their names (`fresh`).

    A fresh maze keeps which objects are goals under its name, and no episode of it begins like a held-out one: not even by accident is a tested prompt trained.
    """

    def __init__(self, places: Sequence[Place], layout: tuple[int, int], sizes: tuple[int, int], fresh: bool, draw: np.random.Generator) -> None:
        self.places, self.sizes, self.fresh = places, sizes, fresh
        self.draws = Draws(draw)
        self.arenas = [Arena(p.grid, list(p.goals), p.starts, p.held) for p in places]
        grids = [carve(*layout, draw) for _ in range(_LAYOUTS if fresh else 0)]
        self.fresh_arenas = [Arena(grid, range(grid.cells), range(grid.cells), frozenset()) for grid in grids]
        self.lessons: list[Lesson] = []
        self.place_orders, self.cell_orders, self.goal_orders = map(self.draws.orders, (len(places), places[0].grid.cells, len(places[0].goals)))
        words = [[*p.goals.values(), *p.latent.values(), *p.unseen.values()] for p in places]
        every = ["", *(f" {word}" for word in sorted(words[0]))]
        self.views = np.array([[landmark + word for word in every] for landmark in LANDMARKS], object)
        self.words = np.array([[every.index(f" {word}") for word in row] for row in words])
        self.heads = [[f"maze {p.name} goal {word} : " for word in row] for p, row in zip(places, words, strict=True)]
        self.held = [{(row.index(word), LANDMARKS.index(landmark)) for word, landmark in p.held_words} for p, row in zip(places, words, strict=True)]

    def fresh_lesson(self) -> Lesson:
        """A lesson in a fresh layout: a new one until there are many, then one of those."""
        if len(self.lessons) < _LESSONS:
            self.lessons.append(self.draws.pick(self.fresh_arenas).lesson(self.draws, *self.sizes))
            return self.lessons[-1]
        return self.draws.pick(self.lessons)

    def documents(self, count: int) -> Iterator[Document]:
        """`count` sequences. All that follows the first observation of a new episode can be known from the earlier ones, and is a target."""
        provenance = "episode:fresh" if self.fresh else "episode:trained"
        lines = self.fresh_lines(count) if self.fresh else (self.trained_lines() for _ in range(count))
        for number, (shown, new) in enumerate(lines):
            text = "\n".join([line for line, _ in shown])
            targets = []
            for line, begin in new:
                targets.append((len(text) + 1 + begin, len(text) + 1 + len(line)))
                text += "\n" + line
            yield Document(f"episode:{number}", text, provenance, tuple(targets), "exercise")

    def trained_lines(self) -> tuple[list[Line], list[Line]]:
        """Episodes to show and new ones, of one maze; and training episodes of any maze beside those shown."""
        draws, at = self.draws, self.draws.below(len(self.places))
        lesson = self.arenas[at].lesson(draws, *self.sizes)
        shown, new = ([write(self.places[at], way.cells) for way in ways] for ways in (lesson.shown, lesson.new))
        for _ in range(draws.below(self.sizes[0] - len(shown) + 1)):
            other = draws.below(len(self.places))
            shown.append(write(self.places[other], self.arenas[other].way(draws)))
        return draws.shuffle(shown), new

    def fresh_lines(self, count: int) -> Iterator[tuple[list[Line], list[Line]]]:
        """The same in fresh mazes, beside episodes of other fresh mazes under other names. Many are drawn before they are written, all at once."""
        for n in blocks(count, 512):
            mazes: list[Fresh] = []
            drawn = [self.fresh_ways(mazes) for _ in range(n)]
            lines = self.lines(mazes, [way for shown, new in drawn for way in (*shown, *new)])
            for shown, new in drawn:
                yield list(islice(lines, len(shown))), list(islice(lines, len(new)))

    def fresh_ways(self, mazes: list[Fresh]) -> tuple[list[tuple[int, Way]], list[tuple[int, Way]]]:
        """Ways to show and new ones, each with its place in `mazes`, which gets the mazes of this sequence."""
        draws = self.draws
        first, *others = self.place_orders()
        some, more, ends = self.fresh_lesson()
        at = len(mazes)
        mazes.append(self.fresh_maze(first, ends, [(way.goal, way.cells[0]) for way in some + more]))
        shown, new = [(at, way) for way in some], [(at, way) for way in more]
        for other in others[: draws.below(self.sizes[0] - len(shown) + 1)]:
            way = self.fresh_lesson().shown[0]
            shown.append((len(mazes), way))
            mazes.append(self.fresh_maze(other, way.cells[-1:], [(0, way.cells[0])]))
        return draws.shuffle(shown), new

    def fresh_maze(self, place: int, ends: bytes, pairs: list[tuple[int, int]]) -> Fresh:
        """A maze of random landmarks and objects under the name of a place, with goals at `ends`. `pairs` are the ways' goals (of the ends) and starts."""
        held = self.held[place]
        while True:
            landmarks, goals = self.cell_orders(), self.goal_orders()
            if held.isdisjoint([(goals[goal], landmarks[start]) for goal, start in pairs]):
                return place, landmarks, goals, ends + self.cell_orders().translate(None, ends)

    def lines(self, mazes: list[Fresh], ways: list[tuple[int, Way]]) -> Iterator[Line]:
        """The episodes along `ways`, each given with the number of its maze."""
        places = [maze[0] for maze in mazes]
        landmarks, goals, cells = (np.frombuffer(b"".join(rows), np.uint8).reshape(len(mazes), -1) for rows in list(zip(*mazes, strict=True))[1:])
        words = self.words[places]
        words[:, : goals.shape[1]] = np.take_along_axis(words, goals, axis=1)
        word = np.zeros(cells.shape, int)
        np.put_along_axis(word, cells[:, : words.shape[1]], words, axis=1)
        numbers, some = zip(*ways, strict=True)
        along, frames, ends = zip(*some, strict=True)
        lengths = [len(way) for way in along]
        at = np.repeat(numbers, lengths), np.frombuffer(b"".join(along), np.uint8)
        views = self.views[landmarks[at], word[at]].tolist()
        heads = [self.heads[places[i]][mazes[i][2][end]] for i, end in zip(numbers, ends, strict=True)]
        texts = "\n".join(map(str.__add__, heads, frames)) % tuple(views)
        begins = [len(head) + len(views[end - n]) + 1 for head, end, n in zip(heads, accumulate(lengths), lengths, strict=True)]
        return zip(texts.split("\n"), begins, strict=True)
