"""Mazes: episodes replay in fixed connected mazes, latent objects are passed but never goals, what supports a question suffices."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

import dataset_pages
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.core.seeds import rng
from tolman.core.world import Task
from tolman.datasets._mazes_grid import Draws
from tolman.datasets.mazes import Mazes

MOVES = ("north", "east", "south", "west")
SMALL = Mazes(episode_count=400)


class Episode(NamedTuple):
    """One line, read from its text alone: landmarks and objects ("" for none) by position, and the moves between them."""

    maze: str
    goal: str
    landmarks: tuple[str, ...]
    objects: tuple[str, ...]
    moves: tuple[str, ...]


def read(line: str) -> Episode:
    head, body = line.split(" : ")
    _, maze, _, goal = head.split()
    landmarks, objects, moves = [], [], []
    for word in body.split():
        if word in MOVES:
            moves.append(word)
        elif word[0] == "p" and word[1:].isdigit():
            landmarks.append(word)
            objects.append("")
        else:
            objects[-1] = word
    assert len(moves) == len(landmarks) - 1 and body.split()[0] == landmarks[0]
    return Episode(maze, goal, tuple(landmarks), tuple(objects), tuple(moves))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return SMALL.build(0)


@pytest.fixture(scope="module")
def mazes(corpus):
    """The mazes by name."""
    return {t.world.name: t.world for t in tasks(corpus)}


@pytest.fixture(scope="module")
def trained(corpus) -> list[Episode]:
    return [read(d.text) for d in corpus.experiences]


def tasks(corpus: Corpus, *kinds: str) -> Iterator[Task]:
    for question in corpus.asked(kinds or None):
        assert isinstance(question, Task)
        yield question


def distances(maze) -> np.ndarray:
    """Steps between all pairs of cells, by SciPy."""
    n = len(maze.neighbours)
    matrix = csr_array(np.array([[j in row for j in range(n)] for row in maze.neighbours], float))
    return shortest_path(matrix, unweighted=True)


def landmark(task: Task) -> str:
    return task.world.observe(task.start).split()[0]


def test_mazes_are_connected_grids_with_their_loops(mazes):
    assert len(mazes) == SMALL.mazes
    for maze in mazes.values():
        side = SMALL.side
        for cell, row in enumerate(maze.neighbours):
            for direction, after in enumerate(row):
                if after >= 0:
                    assert after - cell == (-side, 1, side, -1)[direction]
                    assert direction % 2 == 0 or after // side == cell // side
                    assert maze.neighbours[after][(direction + 2) % 4] == cell
        assert sum(after >= 0 for row in maze.neighbours for after in row) == 2 * (side**2 - 1 + SMALL.loops)
        assert np.isfinite(distances(maze)).all()
        assert len(set(maze.landmarks)) == side**2


def test_training_episodes_are_shortest_paths_in_their_maze(corpus, mazes, trained):
    steps = {name: distances(maze) for name, maze in mazes.items()}
    for episode in trained:
        maze = mazes[episode.maze]
        cells = [maze.landmarks.index(mark) for mark in episode.landmarks]
        assert [maze.move(cell, move) for cell, move in zip(cells, episode.moves, strict=False)] == cells[1:]
        assert tuple(maze.objects[cell] for cell in cells) == episode.objects
        assert episode.objects[-1] == episode.goal and len(episode.moves) == steps[episode.maze][cells[0], cells[-1]] > 0
    assert len({d.text for d in corpus.experiences}) == len(corpus.experiences)


def test_the_expert_goes_one_way_from_each_cell_to_each_goal(trained):
    chosen = defaultdict(set)
    for episode in trained:
        for mark, move in zip(episode.landmarks, episode.moves, strict=False):
            chosen[episode.maze, episode.goal, mark].add(move)
    assert set(map(len, chosen.values())) == {1}


def test_objects_keep_their_roles(corpus, mazes, trained):
    goals, passed = defaultdict(set), defaultdict(Counter)
    for episode in trained:
        goals[episode.maze].add(episode.goal)
        passed[episode.maze].update(episode.objects[:-1])
    for name, maze in mazes.items():
        latent, unseen = (
            {t.prompt.split()[3] for t in tasks(corpus, *kinds) if t.world is maze} for kinds in (("latent_goal", "latent_joined"), ("unseen_goal",))
        )
        assert len(goals[name]) == SMALL.goals and len(latent) == SMALL.latent and len(unseen) == SMALL.unseen
        assert goals[name] | latent | unseen == {o for o in maze.objects if o}
        assert not (goals[name] & latent or goals[name] & unseen or latent & unseen)
        assert all(passed[name][word] > 0 for word in latent)
        assert not any(word in episode.objects for word in unseen for episode in trained if episode.maze == name)
    everything = set.union(*goals.values())
    assert everything == {o for maze in mazes.values() for o in maze.objects if o}, "every object is a goal somewhere, so that none is latent as a word"


@pytest.mark.parametrize("episodes", ["none", "trained", "fresh"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_training_episode_begins_like_one_under_test(episodes, seed):
    built = SMALL.replace("episodes", episodes).build(seed)
    begun = {" ".join(line.split()[:6]) for d in built.documents for line in d.text.split("\n")}
    goals = {" ".join(line.split()[:4]) for line in begun}
    for task in tasks(built):
        assert " ".join(task.prompt.split()[:6]) not in begun
        if task.kind != "trained_goal":
            assert " ".join(task.prompt.split()[:4]) not in goals
    assert not find_leaks(built.documents, built.forbidden)
    for task in tasks(built):
        planted = replace(built.documents[0], text=f"{task.prompt} {task.answers[0]}")
        assert find_leaks([planted], built.forbidden), task.id


def test_what_supports_a_question_suffices_and_no_less_does(corpus, trained):
    for task in tasks(corpus):
        episodes = [read(corpus.by_id[id].text) for id in task.support]
        assert all(e.maze == task.world.name for e in episodes)
        word = task.prompt.split()[3]
        assert len(episodes) == {"unseen_goal": 0, "latent_joined": 2}.get(task.kind, 1)
        ways = [(e.landmarks, e.moves) for e in episodes]
        if task.kind == "latent_joined":
            assert not any(e.maze == task.world.name and word in e.objects and landmark(task) in e.landmarks[: e.objects.index(word)] for e in trained), (
                "one episode would do"
            )
        if episodes:
            assert shortest_from_text(ways, landmark(task), word, episodes[-1]) == task.shortest_steps
        if task.kind in ("trained_goal", "latent_goal"):
            assert (episodes[0].goal == word) == (task.kind == "trained_goal")


def shortest_from_text(ways, start: str, word: str, last: Episode) -> int:
    """Steps from `start` to `word`, which `last` passes, if only the moves of `ways` may be made, each where and as it was made."""
    moves = defaultdict(set)
    for landmarks, _ in ways:
        for here, there in zip(landmarks, landmarks[1:], strict=False):
            moves[here].add(there)
    goal, frontier, steps = last.landmarks[last.objects.index(word)], {start}, 0
    while goal not in frontier:
        frontier, steps = {there for here in frontier for there in moves[here]}, steps + 1
        assert steps < 100, "the supporting episodes do not lead to the object"
    return steps


def test_questions_are_as_far_and_as_hard_as_promised(corpus, mazes, trained):
    expert = {(e.maze, e.goal, mark): e.landmarks[i:] for e in trained for i, mark in enumerate(e.landmarks)}
    goals = {(e.maze, e.goal) for e in trained}
    for kind in corpus.kinds:
        passing = []
        for task in tasks(corpus, kind):
            assert SMALL.min_steps <= task.shortest_steps == distances(task.world)[task.start, task.goal]
            assert task.budget_steps == -(-task.shortest_steps * 3 // 2)
            there = task.world.landmarks[task.goal]
            own = [(maze, goal) for maze, goal in goals if maze == task.world.name]
            passing.append(sum(there in expert.get((*pair, landmark(task)), ()) for pair in own) / len(own))
        stated = corpus.facts["chance"][kind]
        if kind != "trained_goal":  # there a held-out way from an outermost cell is in no text
            assert np.mean(passing) == pytest.approx(stated["other_goal"])
        assert max(passing) <= 0.25
        assert corpus.kinds[kind].chance == max(stated.values())


def test_stated_random_walk_is_what_a_simulation_finds(corpus):
    draw = rng(0, "test", "walk")
    for kind in corpus.kinds:
        hits, n = 0, 40
        asked = list(tasks(corpus, kind))
        for task in asked * n:
            state, before = task.start, None
            for _ in range(task.budget_steps):
                exits = [cell for cell in task.world.neighbours[state] if cell >= 0]
                ways = [cell for cell in exits if cell != before] or exits
                before, state = state, ways[int(draw.integers(len(ways)))]
                if state == task.goal:
                    hits += 1
                    break
        p = corpus.facts["chance"][kind]["random_walk"]
        assert hits / (n * len(asked)) == pytest.approx(p, abs=4 * (p * (1 - p) / (n * len(asked))) ** 0.5)


def test_behaviour_cloning_learns_the_actions_and_nothing_else(corpus):
    for document in corpus.experiences:
        words = [document.text[a:b] for a, b in document.targets or ()]
        assert tuple(words) == read(document.text).moves
    for document in SMALL.replace("predict", "everything").replace("episodes", "none").build(0).experiences:
        ((begin, end),) = document.targets or ()
        assert end == len(document.text) and document.text[begin:].split()[0] in MOVES and document.text[:begin].split(" : ")[1].split()[0][0] == "p"
        assert not set(document.text[:begin].split()) & set(MOVES)


@pytest.mark.parametrize("episodes", ["trained", "fresh"])
def test_in_context_sequences_end_with_ways_that_follow_from_them(episodes, mazes, corpus):
    built = SMALL.replace("episodes", episodes).build(0)
    exercises = [d for d in built.documents if d.role == "exercise"]
    assert len(exercises) == SMALL.episode_count
    joined, lengths, places = 0, Counter(), set()
    for document in exercises:
        *lines, new = split(document)
        known = [read(line) for line in lines]
        lengths[len(lines)] += 1
        for line in new:
            episode = read(line)
            mine = [e for e in known if e.maze == episode.maze]
            ways = [(e.landmarks, e.moves) for e in mine]
            ends = [e for e in mine if episode.goal in e.objects]
            assert ends and shortest_from_text(ways, episode.landmarks[0], episode.goal, ends[0]) == len(episode.moves)
            joined += not any(episode.landmarks[0] in e.landmarks and episode.goal in e.objects[e.landmarks.index(episode.landmarks[0]) :] for e in mine)
            assert line not in lines
        for name in {e.maze for e in known}:
            check_consistent([read(line) for line in (*lines, *new) if read(line).maze == name])
        if episodes == "trained":
            assert all(check_real(e, mazes[e.maze]) for e in known)
        places.add(tuple(sorted({e.maze for e in known})))
    assert joined > 20, "some new ways join two episodes"
    assert max(lengths) == SMALL.context and min(lengths) == 1
    assert len(places) > 20


def split(document: Document) -> Iterator:
    """The lines shown, then the list of new lines: those that hold a target, which is all after their first view."""
    at, new = 0, []
    targets = dict(document.targets or ())
    for line in document.text.split("\n"):
        inside = [begin for begin in targets if at <= begin < at + len(line)]
        if inside:
            assert targets[inside[0]] == at + len(line)
            assert not set(document.text[at : inside[0]].split()) & set(MOVES) and document.text[inside[0] :].split()[0] in MOVES
            new.append(line)
        else:
            assert not new, "new episodes come last"
            yield line
        at += len(line) + 1
    yield new


def check_consistent(episodes: list[Episode]) -> None:
    """They can be of one maze: a landmark has one object, a move from it leads to one place, and an object lies in one place."""
    objects, leads, lies = {}, {}, {}
    for episode in episodes:
        for i, (mark, word) in enumerate(zip(episode.landmarks, episode.objects, strict=True)):
            assert objects.setdefault(mark, word) == word
            assert not word or lies.setdefault(word, mark) == mark
            if i:
                assert leads.setdefault((episode.landmarks[i - 1], episode.moves[i - 1]), mark) == mark
        assert episode.objects[-1] == episode.goal


def check_real(episode: Episode, maze) -> bool:
    cells = [maze.landmarks.index(mark) for mark in episode.landmarks]
    return [maze.move(cell, move) for cell, move in zip(cells, episode.moves, strict=False)] == cells[1:]


def test_fresh_mazes_are_not_the_real_ones(corpus, mazes):
    shown = [read(line) for d in corpus.documents if d.role == "exercise" for line in d.text.split("\n")]
    assert sum(check_real(e, mazes[e.maze]) for e in shown) < 0.1 * len(shown)


def test_the_order_of_roles_leaves_no_word_latent_everywhere():
    two = Mazes(mazes=2, side=5, goals=6, latent=2, unseen=1, context=2, new_episodes=1, episodes="none").build(0)
    goals = {read(d.text).goal for d in two.experiences}
    assert len(goals) == 9


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mazes": 1}, "mazes = 1"),
        ({"goals": 20}, r"goals \+ latent \+ unseen = 26 is more than the 24 objects"),
        ({"side": 4}, r"more than half of the 16 cells that side = 4 makes"),
        ({"goals": 5}, r"goals = 5 must be at least latent \+ unseen = 6"),
        ({"loops": 26}, r"loops = 26 is more than the 25 openings that side = 6 has"),
        ({"context": 9}, r"goals = 10 must be at least context \+ new_episodes = 12"),
        ({"new_starts": 1.0}, "new_starts = 1.0"),
        ({"goal": 3}, "no field 'goal'; did you mean 'goals'"),
    ],
)
def test_sizes_that_cannot_be_are_refused(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        Mazes(**fields)


def test_mazes_that_cannot_be_found_are_refused():
    with pytest.raises(UserError, match=r"random mazes with side = 6 and loops = 25 had no room for 4 objects on the way and 2 in dead ends: lower latent"):
        Mazes(loops=25, episodes="none").build(0)
    with pytest.raises(UserError, match=r"no question of kind \w+ can be asked"):
        Mazes(new_starts=0.001, episodes="none").build(0)


# -- the page ---------------------------------------------------------------------------------------------------------------------


def sample(dataset: type[Mazes]) -> str:
    """A maze drawn, an episode, an in-context sequence, and the first question of each kind with what supports it."""
    built = dataset.at("quick").build(0)
    first = next(iter(tasks(built)))
    exercise = next(d for d in built.documents if d.role == "exercise" and d.text.count("\n") == 4)
    blocks = [f"maze {first.world.name}, seen from above\n{drawn(first.world, dataset.at('quick').side)}"]
    for document in (built.experiences[0], exercise):
        blocks.append(f"{document.id} ({document.role})\n" + "\n".join("    " + line for line in dataset_pages.marked(document).split("\n")))
    for kind in built.kinds:
        task = next(tasks(built, kind))
        support = [f"    support: {built.by_id[id].text}" for id in task.support]
        budget = f"    shortest path: {task.shortest_steps} steps, budget: {task.budget_steps}"
        blocks.append("\n".join([f"question of kind {kind}", f"    {task.prompt}", f"    expert: {task.answers[0]}", budget, *support]))
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def drawn(maze, side: int) -> str:
    """Cells with their objects, openings as lines."""
    rows = []
    for top in range(0, side**2, side):
        cells = range(top, top + side)
        rows.append(
            "    "
            + "".join(
                (maze.objects[c] or "+").center(4, "-" if maze.neighbours[c][1] >= 0 and not maze.objects[c] else " ")
                + ("--" if maze.neighbours[c][1] >= 0 else "  ")
                for c in cells
            ).rstrip()
        )
        rows.append("    " + "".join(("|" if maze.neighbours[c][2] >= 0 else " ").center(4) + "  " for c in cells).rstrip())
    return "\n".join(rows[:-1])


@pytest.mark.parametrize("n", [0, 1, 36, 256, 257])
def test_random_orders_are_numpys_permutations(n):
    """Whatever holds them; the last row of a block comes first."""
    draws, plain = Draws(rng(0, "test_ds_mazes")), rng(0, "test_ds_mazes")
    blocks = [plain.permuted(np.tile(np.arange(n), (256, 1)), axis=1)[::-1].tolist() for _ in range(2)]
    assert [list(draws.order(n)) for _ in range(512)] == blocks[0] + blocks[1]


def test_documentation_page_is_up_to_date(corpus, monkeypatch):
    # a smaller number of in-context sequences changes nothing that the page shows, and takes a tenth of the time
    monkeypatch.setattr(Mazes, "build", lambda self, seed: corpus)
    monkeypatch.setattr(dataset_pages, "sample", sample)
    dataset_pages.check_page(Mazes)
