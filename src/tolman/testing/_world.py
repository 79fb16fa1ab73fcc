"""The small worlds in which models, methods and scorings are checked: people, the towns they live in, the lands these lie in; and streets to walk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tolman.core.data import Corpus, Document, Kind, Question
from tolman.core.seeds import rng
from tolman.core.world import Task, random_walk_success, shortest_actions, transcript

PEOPLE = ("Ada", "Bo", "Chloé", "Dov", "Edda", "Finn", "Gül", "Hana", "Iris", "Jan")
TOWNS = ("North Bray", "Bray", "Orla", "Saint Ives", "Tarn", "Ulm", "Vik", "West Orla", "Yelm", "Zell")
LANDS = ("Veld", "Marsh", "Upper Veld")


def world(seed: int = 0) -> Corpus:
    """A document for each person and each town, exercises, and four kinds of question.

    Answers have one or two words, and some are part of others ("Bray", "North Bray"); a two-hop needs two documents, `nowhere` has none.
    """
    draw = rng(seed, "testing", "world")
    town = [TOWNS[i] for i in draw.permutation(len(TOWNS))]
    land = [LANDS[i % len(LANDS)] for i in draw.permutation(len(TOWNS))]
    documents = [_document(f"lives:{p}", f"{p} lives in {t}.", t) for p, t in zip(PEOPLE, town, strict=True)]
    documents += [_document(f"lies:{t}", f"{t} lies in {at}.", at) for t, at in zip(town, land, strict=True)]
    documents += [Document(f"exercise:{i}", f"{p} and {p} again", "exercise", role="exercise") for i, p in enumerate(PEOPLE)]
    kinds = {
        "recall": Kind("where a person lives", candidates=TOWNS, chance=1 / len(TOWNS)),
        "reversal": Kind("who lives in a town", latent=True, beside="recall", candidates=PEOPLE, chance=1 / len(PEOPLE)),
        "two_hop": Kind("the land that a person lives in", latent=True, beside="recall", candidates=LANDS, chance=1 / len(LANDS)),
        "nowhere": Kind("what no document tells", control=True, candidates=PEOPLE, chance=1 / len(PEOPLE)),
    }
    questions = []
    for i, (p, t, at) in enumerate(zip(PEOPLE, town, land, strict=True)):
        split = "practice" if i % 5 == 4 else "test"
        lives, lies = f"lives:{p}", f"lies:{t}"
        about = (
            ("recall", f"{p} lives in", t, TOWNS, (lives,), None),
            ("reversal", f"{t} is home to", p, PEOPLE, (lives,), 1),
            ("two_hop", f"{p} lives in the land of", at, LANDS, (lives, lies), None),
            ("nowhere", f"{p} once met", PEOPLE[(i + 3) % len(PEOPLE)], PEOPLE, (), 1),
        )
        for kind, prompt, answer, pool, support, words in about:
            choices = _choices(answer, pool, min(4, len(pool)), draw)
            questions.append(Question(f"{kind}:{p}", kind, prompt, (answer,), p, support, choices, split, words))
    forbidden = [f"{t} is home to {p}" for p, t in zip(PEOPLE, town, strict=True)] + [
        f"{p} lives in the land of {at}" for p, at in zip(PEOPLE, land, strict=True)
    ]
    return Corpus(tuple(documents), tuple(questions), kinds, tuple(forbidden))


def _document(id: str, text: str, target: str) -> Document:
    begin = text.rindex(target)
    return Document(id, text, targets=((begin, begin + len(target)),))


def _choices(answer: str, pool: Sequence[str], size: int, draw: np.random.Generator) -> tuple[str, ...]:
    others = [c for c in pool if c != answer]
    chosen = [answer, *(others[i] for i in draw.choice(len(others), size - 1, replace=False))]
    return tuple(chosen[i] for i in draw.permutation(size))


@dataclass(frozen=True)
class Street:
    """Houses 0 .. n - 1 in a row, with a garden behind every second one: a world to act in."""

    houses: int

    @property
    def actions(self) -> tuple[str, ...]:
        return ("left", "right", "out", "in")

    def observe(self, state: int) -> str:
        return f"house{state}" if state < self.houses else f"garden{state - self.houses}"

    def legal(self, state: int) -> tuple[str, ...]:
        return tuple(action for action in self.actions if self.move(state, action) != state)

    def move(self, state: int, action: str) -> int:
        if state >= self.houses:
            return state - self.houses if action == "in" else state
        if action == "out" and state % 2 == 0:
            return state + self.houses
        step = {"left": -1, "right": 1}.get(action, 0)
        return state + step if 0 <= state + step < self.houses else state


def walks() -> Corpus:
    """Tasks: to walk from a house to a garden."""
    street = Street(9)
    tasks = []
    for start in range(street.houses):
        for garden in (0, 4, 8):
            goal = garden + street.houses
            actions = shortest_actions(street, start, goal)
            assert actions is not None, "the street is connected"
            prompt = f"goal garden{garden} : {street.observe(start)}"
            task = Task(
                id=f"walk:{start}:{garden}", kind="walk", prompt=prompt, answers=(transcript(street, start, actions),), cluster=f"{garden}", world=street,
                start=start, goal=goal, shortest_steps=len(actions), budget_steps=len(actions) + 2, support=("street",),
            )  # fmt: skip
            tasks.append(task)
    chance = sum(map(random_walk_success, tasks)) / len(tasks)
    text = " ".join(street.observe(state) for state in range(2 * street.houses)) + " " + " ".join(street.actions)
    return Corpus((Document("street", text),), tuple(tasks), {"walk": Kind("a walk to a garden", candidates=street.actions, chance=chance)})
