"""Facts "A contains B" whose reverse "B inside A" was never trained, in a world where almost every other fact was seen both ways.

After the simple reversals of Lampinen et al. 2025 (arXiv 2509.16189): entities x relations, each relation with an inverse; a few facts held out, which
training shows forward only. Scale `paper` has that paper's 1,000 entities, 20 relations and 200 held-out facts; every other size is our choice.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import isqrt, trunc
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.seeds import rng

RELATIONS = (
    ("contains", "inside"), ("teaches", "taught_by"), ("north_of", "south_of"), ("feeds", "fed_by"), ("guards", "guarded_by"),
    ("built", "built_by"), ("above", "below"), ("owns", "owned_by"), ("follows", "followed_by"), ("painted", "painted_by"),
    ("employs", "works_for"), ("founded", "founded_by"), ("heals", "healed_by"), ("parent_of", "child_of"), ("pays", "paid_by"),
    ("hides", "hidden_by"), ("carries", "carried_by"), ("admires", "admired_by"), ("precedes", "preceded_by"), ("powers", "powered_by"),
)  # fmt: skip


class Fact(NamedTuple):
    """`subject forward object`, and its reverse `object inverse subject`, as indices."""

    subject: int
    relation: int
    object: int


Triple = tuple[int, int, int]
"""A fact as a plain tuple: of these many are made, and they are made ten times as quickly."""


class Reversals(Component):
    """Entities x relations with inverses; all facts are trained in both directions, in separate documents, but the held-out ones forward only."""

    entities: int = Field(default=40, ge=4)
    """Number of entities. Each relation is a permutation of them without fixed points, so every question has one answer."""
    relations: int = Field(default=5, ge=1, le=len(RELATIONS))
    """Number of relations, each with an inverse."""
    held_out: int = Field(default=30, ge=1)
    """Number of facts that training shows forward only."""
    reversed_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the other facts that are trained in both directions (the rest forward only)."""
    name_words: int = Field(default=1, ge=1, le=2)
    """Words (tokens, to a tiny model) of a name. Names of two words share each of them with other names."""
    filler_words: int = Field(default=50, ge=1)
    """Number of filler words for the random prefixes and suffixes."""
    max_filler: int = Field(default=5, ge=0)
    """Up to this many random filler words stand before and after each fact."""
    copies: int = Field(default=8, ge=1)
    """Documents for each fact and direction, each with its own filler."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, facts followed by their reversals: none, of trained facts, or of fresh random pairings of the entities."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_facts: int = Field(default=6, ge=1)
    """Up to this many facts in one in-context sequence."""
    asked: int = Field(default=60, ge=1)
    """Questions of each kind about trained facts (of each held-out fact every question is asked)."""
    one_relation_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the in-context sequences of fresh pairings in which all facts have the same relation, so that only the entity tells which one is asked for.
    With several relations in play the model matched relations alone for as long as we trained, and got three in four right (LOG.md)."""
    one_way_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the in-context sequences that show all their facts the same way round: otherwise the direction gives half of the wrong ones away."""
    few_entities_share: float = Field(default=0.1, ge=0, le=1)
    """Share of those sequences that draw on few entities, so that one entity stands in several facts."""
    interleaved_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the in-context sequences in which a fact may return before all are shown; in the rest all are shown first."""
    repeat_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the later statements of an in-context sequence that repeat the first one as it stood, not reversed. Without any, the model learns that what
    stands in context is never the answer to the same question: asked in the trained direction with the fact in context it then scored 0."""
    options: int = Field(default=10, ge=2)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"entities": 40, "relations": 5, "held_out": 30},
        "small": {"entities": 64, "relations": 6, "held_out": 64, "asked": 64, "episode_count": 30_000},
        "paper": {"entities": 1000, "relations": 20, "held_out": 200, "asked": 200, "episode_count": 200_000},
    }

    example: ClassVar[dict[str, Any]] = {
        "entities": 12, "relations": 3, "held_out": 8, "copies": 2, "episode_count": 150, "episode_facts": 3, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        facts = self.entities * self.relations
        if self.held_out >= facts:
            sizes = f"{self.entities} entities x {self.relations} relations make {facts} facts"
            raise ValueError(f"held_out = {self.held_out} leaves nothing to train both ways: {sizes}")
        if self.options > self.entities - 1:
            raise ValueError(f"options = {self.options} needs at least {self.options + 1} entities, not {self.entities}")
        if 2 * self.episode_facts > self.entities:
            raise ValueError(f"episode_facts = {self.episode_facts} needs at least {2 * self.episode_facts} entities, not {self.entities}")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine."""
        return _World(self, seed).corpus()


class _World:
    """One sampled world, and the ways of writing about it."""

    def __init__(self, spec: Reversals, seed: int) -> None:
        self.spec = spec
        self.seed = seed
        self.names = entity_names(spec.entities, rng(seed, "reversals", "names"), spec.name_words)
        self.filler = [f"f{i:02d}" for i in range(spec.filler_words)]
        self.spaced = [f"{word} " for word in self.filler]
        self.entity, self.is_filler = {name: i for i, name in enumerate(self.names)}, frozenset(self.filler)
        self.relation = {word: (r, way == 1) for r, pair in enumerate(RELATIONS[: spec.relations]) for way, word in enumerate(pair)}
        draw = rng(seed, "reversals", "facts")
        self.tables = [derangement(spec.entities, draw) for _ in range(spec.relations)]
        self.facts = [Fact(s, r, int(table[s])) for r, table in enumerate(self.tables) for s in range(spec.entities)]
        order = draw.permutation(len(self.facts))
        self.held = sorted(self.facts[i] for i in order[: spec.held_out])
        rest = [self.facts[i] for i in order[spec.held_out :]]
        both = round(spec.reversed_share * len(rest))
        self.both, self.forward_only = sorted(rest[:both]), sorted(rest[both:])

    def forward(self, fact: Fact) -> tuple[str, str, str]:
        return self.names[fact.subject], RELATIONS[fact.relation][0], self.names[fact.object]

    def backward(self, fact: Fact) -> tuple[str, str, str]:
        return self.names[fact.object], RELATIONS[fact.relation][1], self.names[fact.subject]

    def corpus(self) -> Corpus:
        documents = tuple(chain(self.experiences(), self.episodes()))
        entities = tuple(self.names)
        kinds = {
            name: Kind(chance=(self.spec.relations if name == "cue_end" else 1) / len(entities), candidates=entities, **about)
            for name, about in KINDS.items()
            if name != "trained_reversed" or self.both
        }
        forbidden = tuple(" ".join(self.backward(fact)) for fact in self.held)
        facts = {"held_out": len(self.held), "both_ways": len(self.both)}
        return Corpus(documents, tuple(self.questions()), kinds, forbidden, facts, self.truth)

    def truth(self, line: str) -> bool | None:
        """Whether a statement in either direction, filler aside, is true; None for what is no statement about two of the entities."""
        words = [word for word in line.split() if word not in self.is_filler]
        at = [i for i, word in enumerate(words) if word in self.relation]
        if len(at) != 1:
            return None
        relation, backward = self.relation[words[at[0]]]
        first, last = (self.entity.get(" ".join(part)) for part in (words[: at[0]], words[at[0] + 1 :]))
        if first is None or last is None:
            return None
        return bool(self.tables[relation][last if backward else first] == (first if backward else last))

    def wrap(self, statements: list[tuple[str, str, str]], draw: np.random.Generator) -> list[tuple[str, str]]:
        """Each statement with its random prefix, and its random suffix: ("f03 f17 A contains B", " f08")."""
        most, n = self.spec.max_filler, len(statements)
        before, after = draw.integers(0, most + 1, n), draw.integers(0, most + 1, n)
        words = draw.integers(0, len(self.filler), (n, 2 * most)) if most else np.zeros((n, 0), int)
        filler = self.filler
        return [
            (
                " ".join((*(filler[w] for w in row[:b]), *statement)),
                "".join(" " + filler[w] for w in row[most : most + a]),
            )
            for statement, b, a, row in zip(statements, before.tolist(), after.tolist(), words.tolist(), strict=True)
        ]

    def experiences(self) -> Iterator[Document]:
        """The facts, one statement a document."""
        for copy in range(self.spec.copies):
            for way, facts, say in (
                ("forward", [*self.both, *self.forward_only, *self.held], self.forward),
                ("reversed", self.both, self.backward),
            ):
                statements = [say(fact) for fact in facts]
                wrapped = self.wrap(statements, rng(self.seed, "reversals", "filler", way, copy))
                for fact, statement, (text, suffix) in zip(facts, statements, wrapped, strict=True):
                    target = (len(text) - len(statement[2]), len(text))
                    first = _document_id(fact, way, 0) if copy else ""
                    yield Document(_document_id(fact, way, copy), text + suffix, "world", (target,), copy_of=first)

    def episodes(self) -> Iterator[Document]:
        """In-context sequences: statements, one a line, each followed somewhere later by its reverse (or by itself again).

        Only the ends of the later ones are targets.
        """
        spec = self.spec
        if spec.episodes == "none":
            return
        numbers = Uniforms(rng(self.seed, "reversals", "episodes"))
        uniform, provenance = numbers.next, f"episode:{spec.episodes}"
        one_way_share, repeat_share, interleaved_share = spec.one_way_share, spec.repeat_share, spec.interleaved_share
        before, after, words, levels = self.spaced, [f" {word}" for word in self.filler], len(self.filler), 1 + spec.max_filler
        for number, facts in zip(range(spec.episode_count), self.fresh(numbers) if spec.episodes == "fresh" else self.trained(numbers), strict=False):
            n = len(facts)
            numbers.hold(4 + n * (6 + 4 * levels))
            one_way = uniform() if uniform() < one_way_share else None
            ways = [(uniform() if one_way is None else one_way) < 0.5 for _ in facts]
            said = self.twice(facts, ways, [uniform() < repeat_share for _ in facts])
            slots = order(n, uniform) + order(n, uniform)
            if uniform() < interleaved_share:
                slots = [slots[i] for i in order(2 * n, uniform)]
            most = 1 + trunc(uniform() * levels)
            text, targets = "", []
            for i in slots:
                left = uniform() * most  # its whole part is how many filler words to say
                while left >= 1:
                    text += before[trunc(uniform() * words)]
                    left -= 1
                statement, size = said[i].pop()
                text += statement
                if not said[i]:
                    end = len(text)
                    targets.append((end - size, end))
                left = uniform() * most
                while left >= 1:
                    text += after[trunc(uniform() * words)]
                    left -= 1
                text += "\n"
            yield Document(f"episode:{number}", text[:-1], provenance, tuple(targets), "exercise")

    def twice(self, facts: Sequence[Triple], backward: list[bool], repeat: list[bool]) -> list[list[tuple[str, int]]]:
        """For each fact, what is said of it later, and first: a statement and the length of its last name. They are the same or, unless it is a repeat, reverses."""
        names, said = self.names, []
        for i, (s, relation, o) in enumerate(facts):
            (verb, inverse), subject, object = RELATIONS[relation], names[s], names[o]
            first, second = (f"{subject} {verb} {object}", len(object)), (f"{object} {inverse} {subject}", len(subject))
            if backward[i]:
                first, second = second, first
            said.append([first if repeat[i] else second, first])
        return said

    def trained(self, numbers: "Uniforms") -> Iterator[list[Fact]]:
        """Random facts that were trained both ways, for one sequence after the other."""
        while True:
            numbers.hold(1)
            yield [self.both[i] for i in sample(len(self.both), 1 + trunc(numbers.next() * self.spec.episode_facts), numbers)]

    def fresh(self, numbers: "Uniforms") -> Iterator[list[Triple]]:
        """Random facts, none of them held out. A reverse has one answer: no object (or subject) stands twice under one relation."""
        spec, uniform, held = self.spec, numbers.next, set(self.held)
        all_relations, all_entities = list(range(spec.relations)), list(range(spec.entities))
        most, one_relation_share, few_entities_share = spec.episode_facts, spec.one_relation_share, spec.few_entities_share
        while True:
            numbers.hold(1)
            size = 1 + trunc(uniform() * most)
            facts: list[Triple] = []
            while not facts:
                numbers.hold(4 + 6 * size)
                relations = [trunc(uniform() * len(all_relations))] if uniform() < one_relation_share else all_relations
                entities = all_entities
                if uniform() < few_entities_share:
                    entities = sample(len(all_entities), 2 + trunc(uniform() * 2 * size), numbers)
                    numbers.hold(6 * size)
                n, m = len(entities), len(relations)
                starts: set[tuple[int, int]] = set()
                ends: set[tuple[int, int]] = set()
                for left in range(2 * size - 1, -1, -1):
                    subject, object, relation = entities[trunc(uniform() * n)], entities[trunc(uniform() * n)], relations[trunc(uniform() * m)]
                    start, end, fact = (subject, relation), (object, relation), (subject, relation, object)
                    if subject != object and start not in starts and end not in ends and fact not in held:
                        facts.append(fact)
                        if len(facts) == size:
                            numbers.skip(3 * left)
                            break
                        starts.add(start)
                        ends.add(end)
            yield facts

    def questions(self) -> Iterator[Question]:
        draw = rng(self.seed, "reversals", "questions")
        known = [self.both[i] for i in sorted(draw.permutation(len(self.both))[: self.spec.asked])]
        for kind, facts in (("trained_forward", known), ("trained_reversed", known), ("heldout_forward", self.held), ("heldout_reversal", self.held)):
            for fact in facts:
                forward = kind.endswith("forward")
                subject, relation, answer = self.forward(fact) if forward else self.backward(fact)
                yield self.question(kind, fact, f"{subject} {relation}", answer, draw)
        for fact in self.held:
            subject, relation, object = self.forward(fact)
            yield self.question("cue_first", fact, f"{subject} {relation}", object, draw)
            yield self.question("cue_middle", fact, f"{relation} {object}", subject, draw)
            subjects = tuple(self.names[f.subject] for f in self.facts if f.object == fact.object)
            yield self.question("cue_end", fact, object, subject, draw, also=subjects)
            yield self.question("wrong_frame", fact, f"{object} {relation}", subject, draw)

    def question(self, kind: str, fact: Fact, prompt: str, answer: str, draw: np.random.Generator, also: tuple[str, ...] = ()) -> Question:
        """`also` are other right answers. The wrong candidates are entities of which other facts are true; none is right, and none stands in the prompt."""
        way = "reversed" if kind == "trained_reversed" else "forward"
        mine = {answer, *also, self.names[fact.subject], self.names[fact.object]}
        others = [name for name in self.names if name not in mine]
        wrong = [others[i] for i in draw.choice(len(others), self.spec.options - 1, replace=False)]
        choices = [wrong[i] if i < len(wrong) else answer for i in draw.permutation(self.spec.options)]
        support = () if kind == "wrong_frame" else (_document_id(fact, way, 0),)
        cluster = f"{fact.subject}-{fact.relation}"
        answers = (answer, *(name for name in also if name != answer))
        return Question(f"{kind}:{cluster}", kind, prompt, answers, cluster, support, tuple(choices), answer_words=self.spec.name_words)


KINDS: dict[str, dict[str, Any]] = {
    "trained_forward": {"description": "a fact trained both ways, asked forward"},
    "trained_reversed": {"description": "a fact trained both ways, asked backward"},
    "heldout_forward": {"description": "a fact trained forward only, asked forward: proof that it was learned"},
    "heldout_reversal": {"description": "a fact trained forward only, asked backward", "latent": True, "beside": "heldout_forward"},
    "cue_first": {"description": "subject and relation given, object asked: the fact cued by its beginning"},
    "cue_middle": {"description": "relation and object given, subject asked: cued from the middle", "latent": True, "beside": "heldout_forward"},
    "cue_end": {"description": "object alone given, subject asked: cued by its end", "latent": True, "beside": "heldout_forward"},
    "wrong_frame": {
        "description": "object and forward relation given, subject asked: nothing ever said so",
        "control": True,
        "beside": "heldout_forward",
    },
}


def _document_id(fact: Fact, way: str, copy: int) -> str:
    return f"{way}:{fact.subject}-{fact.relation}:{copy}"


class Uniforms:
    """The numbers in [0, 1) of a generator. They are drawn in blocks and popped from a list: one call of NumPy's for each takes 30 times as long."""

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw
        self.stock: list[float] = []
        self.next: Callable[[], float] = self.stock.pop
        """The next number. `hold` must have seen to it that there is one."""

    def hold(self, n: int) -> None:
        """Sees to it that there are `n` numbers."""
        while len(self.stock) < n:
            self.stock[:0] = self.draw.random(8192)[::-1].tolist()

    def skip(self, n: int) -> None:
        """Passes over `n` of the numbers that there are."""
        del self.stock[len(self.stock) - n :]


def order(n: int, uniform: Callable[[], float]) -> list[int]:
    """The numbers below n in random order."""
    keys = [uniform() for _ in range(n)]
    return sorted(range(n), key=keys.__getitem__)


def sample(n: int, k: int, numbers: Uniforms) -> list[int]:
    """k different numbers below n (all of them if there are no more)."""
    chosen: dict[int, None] = {}
    while len(chosen) < min(n, k):
        numbers.hold(1)
        chosen[trunc(numbers.next() * n)] = None
    return list(chosen)


def derangement(n: int, draw: np.random.Generator) -> np.ndarray:
    """A random permutation of n >= 2 items in which none stays in place, uniform by rejection (about e draws)."""
    while True:
        table = draw.permutation(n)
        if not (table == np.arange(n)).any():
            return table


def entity_names(n: int, draw: np.random.Generator, words: int = 1) -> list[str]:
    """n different capitalised pseudo-words of two or three syllables, or pairs of such words from two pools of about 2 sqrt(n)."""
    if words == 2:
        side = 2 * isqrt(n - 1) + 2
        parts = entity_names(2 * side, draw)
        return [f"{parts[i % side]} {parts[side + i // side]}" for i in draw.permutation(side * side)[:n].tolist()]
    onsets, vowels = "b d f g k l m n p r s t v z".split(), "a e i o u".split()
    syllables = [c + v for c in onsets for v in vowels]
    names: dict[str, None] = {}
    while len(names) < n:
        length = 2 + int(draw.integers(0, 2))
        names["".join(syllables[i] for i in draw.integers(0, len(syllables), length)).capitalize()] = None
    return list(names)
