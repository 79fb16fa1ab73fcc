"""The mazes with gymnasium's API, for agents that are not language models. Gymnasium is an optional extra."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tolman.core.errors import UserError
from tolman.core.world import Task
from tolman.datasets._mazes_grid import Maze

try:
    import gymnasium
except ImportError as error:
    raise UserError("the mazes' gymnasium environment needs gymnasium: pip install gymnasium") from error


class MazeEnv(gymnasium.Env[dict[str, Any], np.int64]):
    """One episode is one task: go to its goal within its budget of steps. Reward 1 for arriving, else 0.

    An observation is what the sequences say: the maze, the goal, the landmark of the agent's own cell, and the object in it (0: none), each as an index into
    `mazes`, `objects` and `landmarks`. An action is an index into `actions`; one that a wall forbids leads nowhere. `info` has the same as `text`, the task's
    id as `question`, the steps left as `left` and the actions without a wall as `legal` (a mask).
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 (gymnasium's own signature)

    def __init__(self, tasks: Sequence[Task], render_mode: str | None = None) -> None:
        worlds = {t.world.name: t.world for t in tasks if isinstance(t.world, Maze)}
        assert tasks and all(isinstance(t.world, Maze) for t in tasks), "the environment is for tasks in mazes"
        self.tasks, self.render_mode = {t.id: t for t in tasks}, render_mode
        self.mazes = tuple(sorted(worlds))
        self.landmarks = tuple(sorted({landmark for w in worlds.values() for landmark in w.landmarks}))
        self.objects = ("", *sorted({object for w in worlds.values() for object in w.objects if object}))
        self.actions = next(iter(worlds.values())).actions
        spaces = gymnasium.spaces
        self.action_space = spaces.Discrete(len(self.actions))
        self.observation_space = spaces.Dict(
            {
                "maze": spaces.Discrete(len(self.mazes)),
                "goal": spaces.Discrete(len(self.objects)),
                "landmark": spaces.Discrete(len(self.landmarks)),
                "object": spaces.Discrete(len(self.objects)),
            }
        )
        self.task: Task | None = None
        self.state, self.steps = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a random task, or `options={"question": id}`. Raises UserError for an id that is not among the tasks."""
        super().reset(seed=seed)
        ids = list(self.tasks)
        chosen = (options or {}).get("question", ids[int(self.np_random.integers(len(ids)))])
        if chosen not in self.tasks:
            raise UserError(f"there is no task {chosen!r} in this environment; the first of its {len(ids)} is {ids[0]!r}")
        self.task = self.tasks[chosen]
        self.state, self.steps = self.task.start, 0
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Observation, reward, whether the goal was reached, whether the budget is spent without that, info."""
        assert self.task is not None, "reset the environment before the first step"
        self.state = self.task.world.move(self.state, self.actions[int(action)])
        self.steps += 1
        arrived = self.state == self.task.goal
        spent = self.steps >= self.task.budget_steps and not arrived
        return self._observation(), float(arrived), arrived, spent, self._info()

    def render(self) -> str | None:  # type: ignore[override]
        """What the agent sees, as text, in render mode `ansi`."""
        return self._info()["text"] if self.render_mode == "ansi" and self.task is not None else None

    def _maze(self) -> Maze:
        assert self.task is not None and isinstance(self.task.world, Maze), "reset the environment first"
        return self.task.world

    def _observation(self) -> dict[str, Any]:
        assert self.task is not None, "reset the environment first"
        maze = self._maze()
        return {
            "maze": np.int64(self.mazes.index(maze.name)),
            "goal": np.int64(self.objects.index(maze.objects[self.task.goal])),
            "landmark": np.int64(self.landmarks.index(maze.landmarks[self.state])),
            "object": np.int64(self.objects.index(maze.objects[self.state])),
        }

    def _info(self) -> dict[str, Any]:
        assert self.task is not None, "reset the environment first"
        maze = self._maze()
        legal = np.array([action in maze.legal(self.state) for action in self.actions], np.int8)
        goal = maze.objects[self.task.goal]
        text = f"maze {maze.name} goal {goal} : {maze.observe(self.state)}"
        return {"text": text, "question": self.task.id, "left": self.task.budget_steps - self.steps, "legal": legal}


def make(tasks: Sequence[Task]) -> MazeEnv:
    """The environment of `tasks`, which are tasks in mazes."""
    return MazeEnv(tasks)
