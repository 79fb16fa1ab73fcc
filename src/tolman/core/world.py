"""Worlds that a model acts in, one word at a time, and questions that are answered by acting.

The dataset builds the world and the scoring plays it; they meet here. A question carries its world, so that whoever judges it needs nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tolman.core.data import Answer, Question


@runtime_checkable
class Interactive(Protocol):
    """A deterministic world. States are integers, actions are single words; nothing in it changes, so any number of tasks can share it."""

    @property
    def actions(self) -> tuple[str, ...]:
        """Every word that is an action."""
        ...

    def observe(self, state: int) -> str:
        """What is seen in `state`, in the words of the documents."""
        ...

    def legal(self, state: int) -> tuple[str, ...]:
        """The actions that lead out of `state`."""
        ...

    def move(self, state: int, action: str) -> int:
        """The state after `action`: the same one where the action is not legal (a wall)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Question):
    """A question answered by acting in `world` from `start` until `goal` is reached.

    `prompt` ends with what is seen at the start; after each action the model is shown the prompt with the action and what is then seen. `answers[0]` is the
    transcript of a shortest path: actions and observations, as they would follow the prompt. The goal must be reached within `budget_steps` actions.
    """

    world: Interactive
    start: int
    goal: int
    shortest_steps: int
    budget_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk(Answer):
    """The outcome of a task. `text` holds the words that the model wrote, `steps` counts the actions among them, `shortest_steps` those that were needed."""

    steps: int
    shortest_steps: int

    @property
    def ratio(self) -> float:
        """Steps taken over steps needed, for a walk that reached its goal; nan for one that did not."""
        return self.steps / self.shortest_steps if self.verdict == "correct" else math.nan

    @property
    def spl(self) -> float:
        """Success weighted by path length (Anderson et al. 2018, arXiv 1807.06757): shortest over taken steps, 0 without success."""
        return self.shortest_steps / self.steps if self.verdict == "correct" else 0.0


def continued(text: str, world: Interactive, state: int, action: str) -> tuple[str, int]:
    """`text` with `action` and what is seen after it, and the state after it."""
    state = world.move(state, action)
    return f"{text} {action} {world.observe(state)}", state


def transcript(world: Interactive, state: int, actions: Iterable[str]) -> str:
    """The text that follows a prompt which ended in `state`: each action and what is seen after it."""
    text = ""
    for action in actions:
        text, state = continued(text, world, state, action)
    return text.removeprefix(" ")


def shortest_actions(world: Interactive, start: int, goal: int) -> list[str] | None:
    """The actions of a shortest path (ties go to the action listed first), or None where there is none. Breadth-first; the world must be finite."""
    came: dict[int, tuple[int, str] | None] = {start: None}
    frontier = [start]
    while frontier and goal not in came:
        reached = []
        for state in frontier:
            for action in world.legal(state):
                after = world.move(state, action)
                if after not in came:
                    came[after] = (state, action)
                    reached.append(after)
        frontier = reached
    if goal not in came:
        return None
    actions = []
    step = came[goal]
    while step is not None:
        actions.append(step[1])
        step = came[step[0]]
    return actions[::-1]


def random_walk_success(task: Task) -> float:
    """Exact probability that a random walk within the budget comes by the goal. It turns back only in dead ends: a good one of those that know nothing."""
    world = task.world
    exits: dict[int, list[int]] = {}
    chance: dict[tuple[int, int | None], float] = {(task.start, None): 1.0}
    arrived = 0.0
    for _ in range(task.budget_steps):
        after: dict[tuple[int, int | None], float] = {}
        for (state, before), p in chance.items():
            if state not in exits:
                exits[state] = [world.move(state, action) for action in world.legal(state)]
            ways = [way for way in exits[state] if way != before] or exits[state]
            for way in ways:
                if way == task.goal:
                    arrived += p / len(ways)
                else:
                    after[way, state] = after.get((way, state), 0.0) + p / len(ways)
        chance = after
    return arrived
