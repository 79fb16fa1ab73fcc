"""The mazes as a gymnasium environment: it keeps gymnasium's rules and plays the corpus's questions."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.world import Task
from tolman.datasets.mazes import Mazes, environment

MOVES = ("north", "east", "south", "west")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Mazes(episodes="none").build(0)


def tasks(corpus: Corpus, *kinds: str) -> Iterator[Task]:
    for question in corpus.asked(kinds or None):
        assert isinstance(question, Task)
        yield question


def test_environment_keeps_gymnasiums_rules(corpus):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    from gymnasium.utils.env_checker import check_env

    env = environment(corpus)
    check_env(env, skip_render_check=True)
    assert env.reset(seed=5)[1]["question"] == env.reset(seed=5)[1]["question"]
    assert len({env.reset()[1]["question"] for _ in range(50)}) > 20


def test_environment_plays_the_questions(corpus):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    for kind in corpus.kinds:
        env = environment(corpus, kind=kind)
        for task in list(tasks(corpus, kind))[:8]:
            seen, info = env.reset(options={"question": task.id})
            assert info["text"] == task.prompt and info["left"] == task.budget_steps
            text, rewards = task.prompt, []
            for move in [word for word in task.answers[0].split() if word in MOVES]:
                assert info["legal"][MOVES.index(move)] == 1
                seen, reward, arrived, spent, info = env.step(MOVES.index(move))
                text += f" {move} {info['text'].split(' : ')[1]}"
                rewards.append(reward)
            assert text == f"{task.prompt} {task.answers[0]}"
            assert rewards == [0.0] * (task.shortest_steps - 1) + [1.0] and arrived and not spent
            assert seen["goal"] == seen["object"] != 0


def test_environment_ends_with_the_budget_and_walls_hold(corpus):
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    task = next(t for t in tasks(corpus) if len(t.world.legal(t.start)) < 4)
    env = environment(corpus)
    before, info = env.reset(options={"question": task.id})
    wall = int(np.flatnonzero(info["legal"] == 0)[0])
    for step in range(1, task.budget_steps + 1):
        after, reward, arrived, spent, _ = env.step(wall)
        assert after == before and (reward, arrived, spent) == (0.0, False, step == task.budget_steps)


def test_environment_says_what_is_wrong(corpus, monkeypatch):
    with pytest.raises(UserError, match="no question of kind 'latent' to act in; there is: latent_goal"):
        environment(corpus, kind="latent")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "tolman.datasets._mazes_gym", raising=False)
    with pytest.raises(UserError, match="needs gymnasium: pip install gymnasium"):
        environment(corpus)
