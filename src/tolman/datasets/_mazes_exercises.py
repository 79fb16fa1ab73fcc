"""In-context sequences: earlier episodes in a maze, then episodes to objects that were seen in them, so that using what stands in context can be learned."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tolman.core.data import Document
from tolman.datasets._mazes_grid import LANDMARKS, Draws, Grid, carve, episode
from tolman.datasets._mazes_place import Place, write

_LAYOUTS, _LESSONS = 64, 2048
"""Layouts of the fresh mazes, and lessons in all. Landmarks and objects are drawn anew for every sequence, so remembering a layout helps nobody."""


Line = tuple[str, int]
"""An episode, and where in it the first action begins."""


class Way(NamedTuple):
    """The cells of a way, and the format into which their views go."""

    cells: Sequence[int]
    frame: str


class Lesson(NamedTuple):
    """Ways to show, and new ways that follow from them: a part of one, or parts of two that meet on a shortest path."""

    cells: int
    """Cells of the maze."""
    shown: list[Way]
    new: list[Way]


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
                ways = ([Way(cells, self.grid.frame(cells)) for cells in some] for some in (shown, draws.shuffle(new)))
                return Lesson(self.grid.cells, *ways)


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

    def fresh_lesson(self) -> Lesson:
        """A lesson in a fresh layout: a new one until there are many, then one of those."""
        if len(self.lessons) < _LESSONS:
            self.lessons.append(self.draws.pick(self.fresh_arenas).lesson(self.draws, *self.sizes))
            return self.lessons[-1]
        return self.draws.pick(self.lessons)

    def documents(self, count: int) -> Iterator[Document]:
        """`count` sequences. All that follows the first observation of a new episode can be known from the earlier ones, and is a target."""
        provenance = "episode:fresh" if self.fresh else "episode:trained"
        for number in range(count):
            shown, new = self.fresh_lines() if self.fresh else self.trained_lines()
            text = "\n".join([line for line, _ in self.draws.shuffle(shown)])
            targets = []
            for line, begin in new:
                targets.append((len(text) + 1 + begin, len(text) + 1 + len(line)))
                text += "\n" + line
            yield Document(f"episode:{number}", text, provenance, tuple(targets), role="exercise")

    def trained_lines(self) -> tuple[list[Line], list[Line]]:
        """Episodes to show and new ones, of one maze; and training episodes of any maze beside those shown."""
        draws, at = self.draws, self.draws.below(len(self.places))
        lesson = self.arenas[at].lesson(draws, *self.sizes)
        shown, new = ([write(self.places[at], way.cells) for way in ways] for ways in (lesson.shown, lesson.new))
        for _ in range(draws.below(self.sizes[0] - len(shown) + 1)):
            other = draws.below(len(self.places))
            shown.append(write(self.places[other], self.arenas[other].way(draws)))
        return shown, new

    def fresh_lines(self) -> tuple[list[Line], list[Line]]:
        """The same in a fresh maze, beside episodes of other fresh mazes under other names."""
        draws = self.draws
        first, *others = draws.order(len(self.places))
        lesson = self.fresh_lesson()
        lines = self.relabelled(self.places[first], lesson.cells, [*lesson.shown, *lesson.new])
        shown, new = lines[: len(lesson.shown)], lines[len(lesson.shown) :]
        for other in others[: draws.below(self.sizes[0] - len(shown) + 1)]:
            elsewhere = self.fresh_lesson()
            shown += self.relabelled(self.places[other], elsewhere.cells, elsewhere.shown[:1])
        return shown, new

    def relabelled(self, place: Place, cells: int, ways: Sequence[Way]) -> list[Line]:
        """Episodes along `ways` through a maze of random landmarks and objects that bears the name of `place`."""
        draws, words = self.draws, list(place.goals.values())
        ends = list(dict.fromkeys([way.cells[-1] for way in ways]))
        while True:
            views = [LANDMARKS[i] for i in draws.order(cells)]
            order = draws.order(len(words))
            objects = {cell: words[i] for cell, i in zip(ends, order, strict=False)}
            if not any((objects[way.cells[-1]], views[way.cells[0]]) in place.held_words for way in ways):
                break
        others = [*(words[n] for n in order[len(ends) :]), *place.latent.values(), *place.unseen.values()]
        objects |= zip([cell for cell in draws.order(cells) if cell not in objects], others, strict=False)
        for cell, word in objects.items():
            views[cell] += " " + word
        return [episode(place.name, objects[way.cells[-1]], way.frame, [views[cell] for cell in way.cells]) for way in ways]
