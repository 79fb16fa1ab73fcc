"""Rollouts: what a model does in a world is carried out step by step, and every way for it to end has its verdict. The arithmetic of `core/world.py`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from tolman.core.cost import Meter
from tolman.core.data import Generation, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.core.world import Interactive, Task, continued, random_walk_success, shortest_actions, transcript
from tolman.scoring.rollout import Rollout


@dataclass(frozen=True)
class Graph:
    """States 0 .. n - 1, directed edges, and one action a target state: `to3`."""

    edges: tuple[tuple[int, ...], ...]

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(f"to{i}" for i in range(len(self.edges)))

    def observe(self, state: int) -> str:
        return f"at{state}"

    def legal(self, state: int) -> tuple[str, ...]:
        return tuple(f"to{i}" for i in self.edges[state])

    def move(self, state: int, action: str) -> int:
        return int(action[2:]) if action in self.legal(state) else state


def ring(n: int) -> Graph:
    return Graph(tuple(((i - 1) % n, (i + 1) % n) for i in range(n)))


def task(world: Interactive, start: int, goal: int, budget: int) -> Task:
    actions = shortest_actions(world, start, goal)
    assert actions is not None
    return Task(
        id=f"{start}-{goal}", kind="walk", prompt=f"goal at{goal} : at{start}", answers=(transcript(world, start, actions),), cluster=f"{goal}",
        world=world, start=start, goal=goal, shortest_steps=len(actions), budget_steps=budget,
    )  # fmt: skip


class Plays:
    """Writes the words of `scripts[question]` one after another, and keeps what it was shown."""

    context_tokens = 1000
    word_level = True

    def __init__(self, scripts: dict[str, list[str]]) -> None:
        self.scripts, self.meter = {k: list(v) for k, v in scripts.items()}, Meter()
        self.shown: list[list[Prompt]] = []
        self.limits: list[int] = []

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, **_: object) -> list[list[Generation]]:
        self.shown.append(list(prompts))
        self.limits.append(max_tokens)
        texts = [self.scripts[" ".join(p.question.split()[:4])].pop(0) for p in prompts]
        return [[Generation(text, 1, 0.0, not text)] for text in texts]


def play(question: Task, words: list[str]):
    (walk,) = Rollout().judge(Plays({question.prompt: words}), [Prompt(question.prompt)], [question])  # type: ignore[arg-type]
    return walk


@pytest.mark.parametrize(
    ("words", "verdict", "steps"),
    [
        (["to1", "to2"], Verdict.CORRECT, 2),
        (["TO1", "to2."], Verdict.CORRECT, 2),
        (["to1", "to2 to3 to4"], Verdict.CORRECT, 2),  # the first word counts
        (["to5", "to0", "to1", "to2"], Verdict.CORRECT, 4),
        (["to3", "to1", "to2"], Verdict.CORRECT, 3),  # a wall costs a step
        (["to2", "to2", "to2", "to2"], Verdict.TRUNCATED, 4),
        (["to1", "to0", "to1", "to0"], Verdict.TRUNCATED, 4),
        (["to1", "at2"], Verdict.UNPARSED, 1),
        (["to7"], Verdict.UNPARSED, 0),
        ([""], Verdict.UNPARSED, 0),
        (["..."], Verdict.UNPARSED, 0),
        (["\nto1"], Verdict.UNPARSED, 0),
        (["to1", ""], Verdict.WRONG, 1),
    ],
)
def test_every_way_to_end_has_its_verdict(words, verdict, steps):
    walk = play(task(ring(6), 0, 2, budget=4), words)
    assert (walk.verdict, walk.steps, walk.shortest_steps) == (verdict, steps, 2)
    assert walk.ratio == steps / 2 if verdict == Verdict.CORRECT else math.isnan(walk.ratio)
    assert walk.spl == (2 / steps if verdict == Verdict.CORRECT else 0.0)


def test_the_answer_keeps_every_word_that_the_model_chose():
    assert play(task(ring(6), 0, 2, budget=4), ["to1", "at2"]).text == "to1 at2"
    assert play(task(ring(6), 0, 2, budget=4), ["TO1", "to2 to3"]).text == "TO1 to2"


def test_the_model_is_shown_all_that_it_did_and_saw_and_finished_runs_leave_the_batch():
    near, far = task(ring(8), 0, 1, budget=2), task(ring(8), 0, 3, budget=5)
    model = Plays({near.prompt: ["to1"], far.prompt: ["to1", "to5", "to2", "to3"]})
    walks = Rollout().judge(model, [Prompt(near.prompt, ("a", "b"), "so"), Prompt(far.prompt, ("c",))], [near, far])  # type: ignore[arg-type]
    assert [w.verdict for w in walks] == [Verdict.CORRECT, Verdict.CORRECT]
    assert [[p.question for p in prompts] for prompts in model.shown] == [
        ["goal at1 : at0", "goal at3 : at0"],
        ["goal at3 : at0 to1 at1"],
        ["goal at3 : at0 to1 at1 to5 at1"],
        ["goal at3 : at0 to1 at1 to5 at1 to2 at2"],
    ]
    assert model.shown[0][0] == Prompt(near.prompt, ("a", "b"), "so")
    assert all(prompts[-1].documents == ("c",) for prompts in model.shown)
    assert model.limits == [1] * 4


def test_models_that_are_not_word_level_may_write_several_tokens():
    question = task(ring(6), 0, 1, budget=1)
    model = Plays({question.prompt: ["to1"]})
    model.word_level = False
    Rollout(max_tokens=5).judge(model, [Prompt(question.prompt)], [question])  # type: ignore[arg-type]
    assert model.limits == [5]


def test_a_question_without_a_world_is_refused():
    plain = Question("q1", "recall", "what", ("this",), "c")
    with pytest.raises(UserError, match=r"'q1' has no world to act in: score it with scoring/exact"):
        Rollout().judge(Plays({}), [Prompt("what")], [plain])  # type: ignore[arg-type]


def test_the_transcript_of_a_task_continues_its_prompt():
    question = task(ring(9), 0, 3, budget=5)
    text, state = question.prompt, question.start
    for action in ("to1", "to2", "to3"):
        text, state = continued(text, question.world, state, action)
    assert text == f"{question.prompt} {question.answers[0]}" and state == question.goal


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    n = draw(st.integers(2, 9))
    return Graph(tuple(tuple(sorted(draw(st.sets(st.integers(0, n - 1), max_size=3)) - {i})) for i in range(n)))


@given(graphs(), st.data())
def test_shortest_actions_are_as_long_as_scipy_says(graph, data):
    n = len(graph.edges)
    start, goal = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
    matrix = csr_array(np.array([[j in graph.edges[i] for j in range(n)] for i in range(n)], float))
    expected = shortest_path(matrix, unweighted=True)[start, goal]
    actions = shortest_actions(graph, start, goal)
    if actions is None:
        assert math.isinf(expected)
        return
    assert len(actions) == expected
    state = start
    for action in actions:
        assert action in graph.legal(state)
        state = graph.move(state, action)
    assert state == goal


@given(st.integers(3, 9), st.integers(1, 12), st.data())
def test_a_walker_on_a_ring_keeps_its_direction(n, budget, data):
    goal = data.draw(st.integers(1, n - 1))
    expected = 0.5 * (budget >= goal) + 0.5 * (budget >= n - goal)
    assert random_walk_success(task(ring(n), 0, goal, budget)) == pytest.approx(expected)


@given(st.integers(2, 8), st.integers(1, 12))
def test_a_walker_on_a_star_tries_the_other_leaves_one_by_one_with_return(leaves, budget):
    star = Graph((tuple(range(1, leaves + 1)), *((0,) for _ in range(leaves))))
    visits = (budget + 1) // 2  # from the centre: a leaf at steps 1, 3, 5, ...
    missed = (1 - 1 / leaves) * (1 - 1 / (leaves - 1)) ** (visits - 1)  # it never goes straight back to the leaf it came from
    assert random_walk_success(task(star, 0, 1, budget)) == pytest.approx(1 - missed)
