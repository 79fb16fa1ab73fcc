"""Grids with walls: random connected layouts, their shortest paths, and the mazes in which an agent sees one cell at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np

from tolman.datasets import _asking

DIRECTIONS = ("north", "east", "south", "west")
_BACK = (2, 3, 0, 1)
WALL = -1
LANDMARKS = tuple(f"p{i:02d}" for i in range(100))
"""What cells look like. Every maze gives each of its cells one of them, each maze in another arrangement; all have equally many characters."""


class Draws(_asking.Draws):
    """With whole permutations, which NumPy draws by the hundred for the price of a few."""

    def __init__(self, generator: np.random.Generator) -> None:
        super().__init__(generator)
        self._generator = generator
        self._orders: dict[int, Callable[[], Any]] = {}

    def order(self, n: int) -> Sequence[int]:
        """A random permutation of 0 .. n - 1."""
        return self.orders(n)()

    def orders(self, n: int) -> Callable[[], Any]:
        """A function that gives the next permutation at each call, as bytes if they can hold it."""
        if n not in self._orders:
            self._orders[n] = _permutations(n, self._generator)
        return self._orders[n]


def _permutations(n: int, generator: np.random.Generator) -> Callable[[], Any]:
    def drawn() -> list[Any]:
        rows = generator.permuted(np.tile(np.arange(n), (256, 1)), axis=1)[::-1]
        return [row.tobytes() for row in rows.astype(np.uint8)] if n <= 256 else rows.tolist()

    return chain.from_iterable(iter(drawn, None)).__next__


class Grid:
    """A connected layout of side x side cells, numbered row by row from the north-west corner.

    `neighbours[cell][d]` is the cell in direction `DIRECTIONS[d]`, or WALL. The expert's way to a goal is a fixed shortest path: from each cell one direction,
    whatever the start, ties broken by an order of the directions drawn for the grid. So what follows any cell of a way is the way from that cell.
    """

    def __init__(self, neighbours: Sequence[Sequence[int]], ties: Sequence[int] = (0, 1, 2, 3)) -> None:
        self.neighbours = tuple(tuple(row) for row in neighbours)
        self.cells = len(self.neighbours)
        self._exits = [[row[d] for d in ties if row[d] != WALL] for row in self.neighbours]
        self._ways: dict[int, tuple[list[int], list[int]]] = {}

    def to(self, goal: int) -> tuple[list[int], list[int]]:
        """For each cell: steps to `goal`, and the expert's next cell (-1 at the goal)."""
        if goal not in self._ways:
            steps, following, order = [-1] * self.cells, [-1] * self.cells, [goal]
            steps[goal] = 0
            for cell in order:
                for after in self._exits[cell]:
                    if steps[after] < 0:
                        steps[after] = steps[cell] + 1
                        order.append(after)
            for cell in order[1:]:
                for after in self._exits[cell]:
                    if steps[after] < steps[cell]:
                        following[cell] = after
                        break
            self._ways[goal] = steps, following
        return self._ways[goal]

    def steps(self, start: int, goal: int) -> int:
        """Length of a shortest path."""
        return self.to(goal)[0][start]

    def path(self, start: int, goal: int) -> list[int]:
        """The cells of the expert's way, both ends included."""
        following, cells = self.to(goal)[1], [start]
        while start != goal:
            start = following[start]
            cells.append(start)
        return cells

    def frame(self, cells: Sequence[int]) -> str:
        """A way along `cells`, each a neighbour of the one before, as a format into which their views go: `%s north %s east %s`."""
        return "%s" + "".join([f" {DIRECTIONS[self.neighbours[cell].index(after)]} %s" for cell, after in pairwise(cells)])

    def dead_ends(self) -> list[int]:
        """Cells with one exit: no way between two other cells passes them."""
        return [cell for cell, row in enumerate(self.neighbours) if sum(after != WALL for after in row) == 1]


def carve(side: int, loops: int, draw: np.random.Generator) -> Grid:
    """A random spanning tree of the side x side grid (Kruskal over shuffled walls), and `loops` more openings."""
    neighbours = [[WALL] * 4 for _ in range(side * side)]
    walls = list(_walls(side))
    root = list(range(side * side))

    def find(cell: int) -> int:
        while root[cell] != cell:
            root[cell] = cell = root[root[cell]]
        return cell

    closed = []
    for i in draw.permutation(len(walls)).tolist():
        cell, direction, after = walls[i]
        here, there = find(cell), find(after)
        if here == there:
            closed.append(walls[i])
            continue
        root[here] = there
        neighbours[cell][direction], neighbours[after][_BACK[direction]] = after, cell
    for cell, direction, after in closed[:loops]:
        neighbours[cell][direction], neighbours[after][_BACK[direction]] = after, cell
    return Grid(neighbours, draw.permutation(4).tolist())


def most_loops(side: int) -> int:
    """How many openings a side x side grid has beyond those of a spanning tree."""
    return len(list(_walls(side))) - (side * side - 1)


def _walls(side: int) -> Iterator[tuple[int, int, int]]:
    for cell in range(side * side):
        if (cell + 1) % side:
            yield cell, 1, cell + 1
        if cell + side < side * side:
            yield cell, 2, cell + side


@dataclass(frozen=True)
class Maze:
    """A fixed maze as an `Interactive` world: a state is a cell, and all that is seen of it is its landmark, and the object in it if there is one."""

    name: str
    neighbours: tuple[tuple[int, ...], ...]
    landmarks: tuple[str, ...]
    objects: tuple[str, ...]
    """The object of each cell, "" where there is none."""

    @property
    def actions(self) -> tuple[str, ...]:
        return DIRECTIONS

    @cached_property
    def views(self) -> tuple[str, ...]:
        return tuple(f"{landmark} {object}" if object else landmark for landmark, object in zip(self.landmarks, self.objects, strict=True))

    def observe(self, state: int) -> str:
        return self.views[state]

    @cached_property
    def exits(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(word for word, after in zip(DIRECTIONS, row, strict=True) if after != WALL) for row in self.neighbours)

    def legal(self, state: int) -> tuple[str, ...]:
        return self.exits[state]

    def move(self, state: int, action: str) -> int:
        after = self.neighbours[state][DIRECTIONS.index(action)]
        return state if after == WALL else after


def episode(name: str, goal: str, frame: str, views: Sequence[str]) -> tuple[str, int]:
    """`maze NAME goal OBJECT : view action view action ... view`, one line, and where in it the first action begins."""
    header = f"maze {name} goal {goal} : "
    return header + frame % tuple(views), len(header) + len(views[0]) + 1


def action_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Where in an episode's `text` its actions stand: every direction word is one, for no landmark or object is called so."""
    spans, at = [], 0
    for word in text.split(" "):
        if word in DIRECTIONS:
            spans.append((at, at + len(word)))
        at += len(word) + 1
    return tuple(spans)
