"""A fixed maze with its objects: which are goals, which are only seen on the way, which are never seen, and what the training episodes show of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tolman.datasets._mazes_grid import LANDMARKS, Draws, Grid, Maze, carve, episode


@dataclass(frozen=True)
class Rules:
    """What a question's start must fulfil: at least `min_steps` from the object, and at most `most_passing` goals to which the expert would pass the object."""

    min_steps: int
    most_passing: int


@dataclass
class Place:
    """One maze. `goals`, `latent` and `unseen` map cells to their objects. A pair (start, goal) in `held` has no training episode.

    `passing[start, cell]` lists the goals to which the expert, coming from `start`, passes (or ends at) `cell`. `shown[goal, cell]` lists the starts of the
    training episodes to `goal` that pass (or start at) `cell`.
    """

    maze: Maze
    grid: Grid
    goals: Mapping[int, str]
    latent: Mapping[int, str]
    unseen: Mapping[int, str]
    starts: Sequence[int]
    held: frozenset[tuple[int, int]]
    passing: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    shown: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.held_words = {(self.goals[goal], self.maze.landmarks[start]) for start, goal in self.held}
        for goal in () if self.passing else self.goals:
            for start in self.starts:
                trained = start != goal and (start, goal) not in self.held
                for cell in self.grid.path(start, goal):
                    self.passing.setdefault((start, cell), []).append(goal)
                    if trained:
                        self.shown.setdefault((goal, cell), []).append(start)

    @property
    def name(self) -> str:
        return self.maze.name

    def trained(self) -> Iterator[tuple[int, int]]:
        """The (start, goal) pairs of the training episodes."""
        return ((start, goal) for goal in self.goals for start in self.starts if start != goal and (start, goal) not in self.held)

    def document_id(self, start: int, goal: int) -> str:
        return f"{self.name}:{self.goals[goal]}:{self.maze.landmarks[start]}"

    def evidence(self, start: int, target: int, draws: Draws) -> list[str]:
        """A training episode that passes `start` and later `target` (ends there if it is a goal), if any: what comes between is a shortest path."""
        passed = [target] if target in self.goals else self.passing.get((start, target), ())
        ways = [goal for goal in passed if (goal, start) in self.shown]
        if not ways:
            return []
        goal = draws.pick(ways)
        return [self.document_id(draws.pick(self.shown[goal, start]), goal)]

    def joined_evidence(self, start: int, target: int, draws: Draws) -> list[str]:
        """Two training episodes, from `start` to some cell and from there to `target`, that make a shortest path. Empty where one suffices or none do."""
        if self.passing.get((start, target)):
            return []
        length = self.grid.steps(start, target)
        goals = list(self.goals)
        for i in draws.order(len(goals)):
            if (goals[i], start) not in self.shown:
                continue
            for cell in self.grid.path(start, goals[i])[1:]:
                if self.grid.steps(start, cell) + self.grid.steps(cell, target) != length:
                    break
                if second := self.evidence(cell, target, draws):
                    return [self.document_id(draws.pick(self.shown[goals[i], start]), goals[i]), *second]
        return []

    def questions(self, kind: str, rules: Rules, draws: Draws) -> Iterator[list[tuple[int, int, tuple[str, ...]]]]:
        """For each object of the kind, its possible questions (start, cell of the object, supporting episodes) in random order."""
        cells = {"trained_goal": self.goals, "latent_goal": self.latent, "latent_joined": self.latent, "unseen_goal": self.unseen}[kind]
        for target in cells:
            found = []
            for i in draws.order(len(self.starts)):
                start = self.starts[i]
                if self.grid.steps(start, target) < rules.min_steps or (kind == "trained_goal" and (start, target) not in self.held):
                    continue
                if len(self.passing.get((start, target), ())) > rules.most_passing:
                    continue
                support = {"unseen_goal": lambda *_: [], "latent_joined": self.joined_evidence}.get(kind, self.evidence)(start, target, draws)
                if support or kind == "unseen_goal":
                    found.append((start, target, tuple(support)))
            if found:
                yield found


def found_place(
    name: str, layout: tuple[int, int], roles: tuple[Sequence[str], ...], new_starts: float, rules: Rules, draw: np.random.Generator
) -> Place | None:
    """A random maze of `layout` (side, loops) whose objects have the `roles` (goals, latent, unseen), or None if this draw's walls do not allow them.

    Unseen objects lie in dead ends, where no way to another cell passes, and no episode starts. Latent ones lie where episodes to some goals, but not to too
    many, come by. `new_starts` is the share of (start, goal) pairs that are kept out of training.
    """
    goal_words, latent_words, unseen_words = roles
    grid, draws = carve(*layout, draw), Draws(draw)
    dead = grid.dead_ends()
    if len(dead) < len(unseen_words):
        return None
    unseen = [dead[i] for i in draws.order(len(dead))[: len(unseen_words)]]
    rest = [cell for cell in draws.order(grid.cells) if cell not in unseen]
    goals, free = rest[: len(goal_words)], rest[len(goal_words) :]
    starts = sorted(rest)
    pairs = [(start, goal) for goal in goals for start in starts if start != goal]
    held = frozenset(pairs[i] for i in draws.order(len(pairs))[: round(new_starts * len(pairs))])
    landmarks = [LANDMARKS[i] for i in draws.order(grid.cells)]
    passing, shown = {}, {}  # what latent objects there are makes no difference to them

    def place(latent: Sequence[int]) -> Place:
        objects = dict(zip((*goals, *latent, *unseen), (*goal_words, *latent_words, *unseen_words), strict=False))
        maze = Maze(name, grid.neighbours, tuple(landmarks), tuple(objects.get(cell, "") for cell in range(grid.cells)))
        by_role = ({cell: objects[cell] for cell in cells} for cells in (goals, latent, unseen))
        return Place(maze, grid, *by_role, starts=starts, held=held, passing=passing, shown=shown)

    empty = place([])
    latent = []
    for cell in free:
        asked = any(
            1 <= len(empty.passing.get((start, cell), ())) <= rules.most_passing
            and grid.steps(start, cell) >= rules.min_steps
            and empty.evidence(start, cell, draws)
            for start in starts
        )
        if asked and len(latent) < len(latent_words):
            latent.append(cell)
    return place(latent) if len(latent) == len(latent_words) else None


def write(place: Place, cells: Sequence[int]) -> tuple[str, int]:
    """The episode along `cells` in `place`, to the goal at their end, and where in it the first action begins."""
    return episode(place.name, place.goals[cells[-1]], place.grid.frame(cells), [place.maze.views[cell] for cell in cells])
