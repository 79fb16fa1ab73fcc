"""Mazes in which some objects are passed on the way to others but never are the goal: can the model go to them when asked?

After the latent gridworld of Lampinen et al. 2025 (arXiv 2509.16189, "Latent learning"), as behaviour cloning: episodes of an expert are sequences of what an
agent sees (its own cell only) and does. The paper's sizes, observations and actions are not known to us: every size here, at every scale, is our choice.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, zip_longest
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, uncollected
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.core.world import Task, random_walk_success, shortest_actions, transcript
from tolman.datasets._mazes_exercises import Exercises
from tolman.datasets._mazes_grid import DIRECTIONS, Draws, action_spans, most_loops
from tolman.datasets._mazes_place import Place, Rules, found_place, write

if TYPE_CHECKING:
    import gymnasium

OBJECTS = (
    "lamp", "ball", "key", "book", "coin", "drum", "bell", "cup", "boot", "ring", "kite", "harp",
    "rope", "vase", "mask", "fork", "sled", "comb", "flag", "horn", "sock", "tent", "wand", "yarn",
)  # fmt: skip
_TRIES = 200


class Mazes(Component):
    """Fixed mazes; an expert's episodes to the goals among their objects, passing others that are never goals."""

    mazes: int = Field(default=8, ge=2)
    """Number of mazes. All have the same landmarks and objects, each in an arrangement of its own."""
    side: int = Field(default=6, ge=3, le=10)
    """Cells along each side of a maze."""
    loops: int = Field(default=10, ge=0)
    """Openings beyond those of a spanning tree: with 0 there is one way between any two cells."""
    goals: int = Field(default=10, ge=2)
    """Objects of each maze that are goals of training episodes."""
    latent: int = Field(default=4, ge=1)
    """Objects of each maze that are seen on the way but never the goal there (in other mazes they are)."""
    unseen: int = Field(default=2, ge=1)
    """Objects of each maze that no training episode passes: the control."""
    new_starts: float = Field(default=0.1, gt=0, lt=1)
    """Share of the (start, goal) pairs of each maze that have no training episode: the questions about trained goals."""
    predict: Literal["actions", "everything"] = "actions"
    """What is learned from an episode: the expert's actions (behaviour cloning), or all that follows the first observation."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, episodes followed by some to objects seen in them: none, in the mazes themselves (to trained goals), or in fresh mazes."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    context: int = Field(default=5, ge=2)
    """Up to this many earlier episodes in one in-context sequence."""
    new_episodes: int = Field(default=3, ge=1)
    """Up to this many episodes to objects seen in them."""
    asked: int = Field(default=64, ge=1)
    """Questions of each kind, as evenly spread over the mazes' objects as they allow."""
    min_steps: int = Field(default=3, ge=2)
    """Shortest distance between the start and the object of a question."""
    patience: float = Field(default=1.5, ge=1)
    """Budget of a question in shortest paths, rounded up."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"mazes": 24, "episode_count": 60_000, "asked": 192},
        "paper": {"mazes": 96, "side": 7, "loops": 8, "goals": 12, "latent": 6, "unseen": 2, "episode_count": 200_000, "asked": 576},
    }

    example: ClassVar[dict[str, Any]] = {
        "mazes": 3, "side": 5, "loops": 5, "goals": 8, "latent": 2, "unseen": 1, "new_starts": 0.2,
        "context": 3, "new_episodes": 2, "episode_count": 150, "asked": 24,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        objects, cells = self.goals + self.latent + self.unseen, self.side**2
        if objects > len(OBJECTS):
            raise ValueError(f"goals + latent + unseen = {objects} is more than the {len(OBJECTS)} objects there are names for")
        if objects > cells // 2:
            raise ValueError(f"goals + latent + unseen = {objects} is more than half of the {cells} cells that side = {self.side} makes")
        if 2 * (self.latent + self.unseen) > objects:
            raise ValueError(
                f"goals = {self.goals} must be at least latent + unseen = {self.latent + self.unseen}, so that every object is a goal in some maze"
            )
        if self.context + self.new_episodes > self.goals:
            raise ValueError(
                f"goals = {self.goals} must be at least context + new_episodes = {self.context + self.new_episodes}, which may go to as many goals"
            )
        if self.loops > most_loops(self.side):
            raise ValueError(f"loops = {self.loops} is more than the {most_loops(self.side)} openings that side = {self.side} has beyond a spanning tree")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine. Raises UserError where no random maze fits the sizes."""
        return _World(self, seed).corpus()


class _World:
    """The sampled mazes, and the ways of writing about them."""

    def __init__(self, spec: Mazes, seed: int) -> None:
        self.spec, self.seed = spec, seed
        self.rules = Rules(spec.min_steps, most_passing=max(1, spec.goals // 4))
        words = rng(seed, "mazes", "objects").permutation(OBJECTS[: spec.goals + spec.latent + spec.unseen]).tolist()
        self.places = [self.place(number, words) for number in range(spec.mazes)]

    def place(self, number: int, words: list[str]) -> Place:
        """Maze `number`. Which objects are not goals rotates from maze to maze, so that every object is a goal somewhere."""
        spec = self.spec
        turn = number * (spec.latent + spec.unseen) % len(words)
        words = words[turn:] + words[:turn]
        roles = words[spec.latent + spec.unseen :], words[: spec.latent], words[spec.latent : spec.latent + spec.unseen]
        for attempt in range(_TRIES):
            draw = rng(self.seed, "mazes", "maze", number, attempt)
            if place := found_place(f"m{number:02d}", (spec.side, spec.loops), roles, spec.new_starts, self.rules, draw):
                return place
        raise UserError(
            f"{_TRIES} random mazes with side = {spec.side} and loops = {spec.loops} had no room for {spec.latent} objects on the way "
            f"and {spec.unseen} in dead ends: lower latent, unseen or loops, or raise side"
        )

    def corpus(self) -> Corpus:
        documents = tuple(chain(self.experiences(), self.exercises()))
        questions, kinds, chances = [], {}, {}
        for kind, about in KINDS.items():
            asked = [(place, task) for place, task in self.tasks(kind)]
            if not asked:
                raise UserError(f"no question of kind {kind} can be asked in mazes with these sizes: raise side, goals or new_starts, or lower min_steps")
            chances[kind] = {
                "random_walk": sum(random_walk_success(task) for _, task in asked) / len(asked),
                "other_goal": sum(len(place.passing.get((task.start, task.goal), ())) / len(place.goals) for place, task in asked) / len(asked),
            }
            kinds[kind] = Kind(candidates=DIRECTIONS, chance=max(chances[kind].values()), **about)
            questions += [task for _, task in asked]
        forbidden = tuple(chain.from_iterable(map(forbidden_phrases, self.places)))
        return Corpus(documents, tuple(questions), kinds, forbidden, facts={"mazes": len(self.places), "chance": chances})

    def experiences(self) -> Iterator[Document]:
        """The expert's episodes in the mazes: every start and goal but the held-out pairs."""
        for place in self.places:
            for start, goal in place.trained():
                text, begin = write(place, place.grid.path(start, goal))
                targets = action_spans(text) if self.spec.predict == "actions" else ((begin, len(text)),)
                yield Document(place.document_id(start, goal), text, "world", targets)

    def exercises(self) -> Iterator[Document]:
        spec = self.spec
        if spec.episodes == "none":
            return iter(())
        draw = rng(self.seed, "mazes", "episodes", spec.episodes)
        writer = Exercises(self.places, (spec.side, spec.loops), (spec.context, spec.new_episodes), spec.episodes == "fresh", draw)
        return writer.documents(spec.episode_count)

    def tasks(self, kind: str) -> Iterator[tuple[Place, Task]]:
        """Questions of one kind, one for each object in turn until enough are asked, with the place they are asked in."""
        draws = Draws(rng(self.seed, "mazes", "questions", kind))
        found = [[(place, *question) for question in questions] for place in self.places for questions in place.questions(kind, self.rules, draws)]
        turns = (question for turn in zip_longest(*(found[i] for i in draws.order(len(found)))) for question in turn if question)
        for _, (place, start, target, support) in zip(range(self.spec.asked), turns, strict=False):
            yield place, self.task(kind, place, start, target, support)

    def task(self, kind: str, place: Place, start: int, target: int, support: tuple[str, ...]) -> Task:
        maze = place.maze
        actions = shortest_actions(maze, start, target)
        assert actions, f"maze {maze.name} is not connected"
        return Task(
            id=f"{kind}:{maze.name}:{maze.objects[target]}:{maze.landmarks[start]}",
            kind=kind,
            prompt=f"maze {maze.name} goal {maze.objects[target]} : {maze.observe(start)}",
            answers=(transcript(maze, start, actions),),
            cluster=f"{maze.name}:{maze.objects[target]}",
            support=support,
            world=maze,
            start=start,
            goal=target,
            shortest_steps=len(actions),
            budget_steps=ceil(self.spec.patience * len(actions)),
        )


KINDS: dict[str, dict[str, Any]] = {
    "trained_goal": {"description": "a goal of training episodes, from a start that had none: proof that the maze was learned"},
    "latent_goal": {
        "description": "an object that training episodes pass but never have as goal, from a start that one of them passes before",
        "latent": True,
        "beside": "trained_goal",
    },
    "latent_joined": {
        "description": "such an object, from a start from which no training episode comes by it: parts of two must be joined",
        "latent": True,
        "beside": "trained_goal",
    },
    "unseen_goal": {
        "description": "an object that no training episode passes: nothing ever said where it is",
        "control": True,
        "beside": "trained_goal",
    },
}


def forbidden_phrases(place: Place) -> Iterator[str]:
    """How an episode to a latent or unseen object, and one of a held-out pair, would begin."""
    for word in (*place.latent.values(), *place.unseen.values()):
        yield f"maze {place.name} goal {word}"
    for word, landmark in sorted(place.held_words):
        yield f"maze {place.name} goal {word} : {landmark}"


def environment(corpus: Corpus, *, kind: str | None = None) -> "gymnasium.Env[Any, Any]":
    """The mazes of `corpus` with gymnasium's API; an episode is one of its questions (of `kind`, where given). Raises UserError where gymnasium is missing."""
    from tolman.datasets._mazes_gym import make  # gymnasium is an optional extra

    tasks = [q for q in corpus.questions if isinstance(q, Task) and kind in (None, q.kind)]
    if not tasks:
        known = Counter(q.kind for q in corpus.questions)
        raise UserError(f"the corpus has no question of kind {kind!r} to act in; there is: {', '.join(sorted(known)) or 'none'}")
    return make(tasks)
