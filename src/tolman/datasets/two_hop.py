"""Two-hop questions: "a teaches b" and "b feeds c" are told in separate documents, and "a teaches feeds" is asked.

Composition as in the talk behind Lampinen et al. 2025 (arXiv 2509.16189). The layout (facts, some chains stated, chains through other bridges held out) follows
two-hop studies of transformers trained from scratch, such as Wang et al. 2024 (arXiv 2405.15071). All sizes are our choice, at scale `paper` too.
"""

from collections.abc import Iterator
from itertools import chain, product
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.datasets._worlds import MOST_WORDS, Filler, Line, blocks, derangement, few_of_two, in_context, invented, others, shuffle, shuffled, told

RELATIONS = (
    ("teaches", "taught_by"), ("feeds", "fed_by"), ("guards", "guarded_by"), ("heals", "healed_by"), ("pays", "paid_by"),
    ("hides", "hidden_by"), ("carries", "carried_by"), ("admires", "admired_by"), ("follows", "followed_by"), ("paints", "painted_by"),
    ("employs", "employed_by"), ("visits", "visited_by"), ("calls", "called_by"), ("trusts", "trusted_by"), ("fears", "feared_by"),
    ("hears", "heard_by"), ("knows", "known_by"), ("likes", "liked_by"), ("meets", "met_by"), ("sees", "seen_by"),
)  # fmt: skip


class Chain(NamedTuple):
    """`start first bridge` and `bridge second end`, as indices of entities and relations."""

    start: int
    first: int
    bridge: int
    second: int
    end: int


class TwoHop(Component):
    """Entities x relations; every fact is told, chains of two facts through some bridges are stated as well, chains through held-out bridges never."""

    entities: int = Field(default=30, ge=8, le=MOST_WORDS)
    """Number of entities. Each relation gives every entity one other entity."""
    relations: int = Field(default=4, ge=1, le=len(RELATIONS))
    """Number of relations (of each world)."""
    many_to_one: int = Field(default=1, ge=0)
    """So many of the relations are not one-to-one: several entities may have the same object, and no inverse leads back."""
    held_bridges: int = Field(default=8, ge=1)
    """Entities through which no chain is ever stated."""
    new_chains: int = Field(default=40, ge=1)
    """Chains through the other bridges that are left out of the statements, to be asked."""
    reversed_facts: int = Field(default=0, ge=0)
    """Facts told by their inverse only ("b taught_by a"), for chains whose first hop has to be reversed. All other one-to-one facts are then told both ways."""
    worlds: int = Field(default=1, ge=1, le=2)
    """2 adds another world with the same sizes and entities and relations of its own, its kinds named other_*, all of them for testing: what carries over?"""
    practice_share: float = Field(default=0.3, ge=0, lt=1)
    """Share of the bridges, held-out and other, whose chains are questions for practice; the rest are for testing."""
    filler_words: int = Field(default=50, ge=1, le=10_000)
    """Number of filler words for the random prefixes and suffixes."""
    max_filler: int = Field(default=5, ge=0, le=20)
    """Up to this many random filler words stand before and after each statement."""
    copies: int = Field(default=8, ge=1)
    """Documents for each fact, each with its own filler."""
    chain_copies: int = Field(default=3, ge=1)
    """Documents for each stated chain, each with its own filler."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, facts followed by chains of them: none, of the world's facts (stated chains only), or of fresh random facts."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_facts: int = Field(default=6, ge=2, le=50)
    """Up to this many facts in one in-context sequence."""
    one_relation_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the in-context sequences that have one relation only, so that only entities tell facts apart."""
    asked: int = Field(default=60, ge=1)
    """At most this many questions of a kind and split."""
    options: int = Field(default=10, ge=2)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {
            "entities": 100, "relations": 6, "many_to_one": 2, "held_bridges": 25, "new_chains": 300, "asked": 200, "episode_count": 60_000,
        },
        "paper": {
            "entities": 500, "relations": 10, "many_to_one": 3, "held_bridges": 100, "new_chains": 2000, "asked": 500, "episode_count": 200_000,
        },
    }  # fmt: skip

    example: ClassVar[dict[str, Any]] = {
        "entities": 12, "relations": 3, "held_bridges": 4, "new_chains": 12, "reversed_facts": 4, "worlds": 2, "copies": 2, "chain_copies": 1,
        "episode_count": 150, "episode_facts": 4, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.worlds * self.relations > len(RELATIONS):
            raise ValueError(f"relations = {self.relations} in each of {self.worlds} worlds are more than the {len(RELATIONS)} there are words for")
        if self.many_to_one > self.relations:
            raise ValueError(f"many_to_one = {self.many_to_one} is more than relations = {self.relations}")
        if self.held_bridges > self.entities - 2:
            raise ValueError(f"held_bridges = {self.held_bridges} leaves no bridges for stated chains: there are {self.entities} entities")
        if self.options > self.entities - 2:
            raise ValueError(f"options = {self.options} needs at least {self.options + 2} entities, not {self.entities}")
        if round(self.practice_share * self.held_bridges) == self.held_bridges:
            raise ValueError(f"practice_share = {self.practice_share} leaves none of held_bridges = {self.held_bridges} for testing")
        if 2 * self.new_chains > (self.entities - self.held_bridges) * self.relations**2 // 2:
            raise ValueError(
                f"new_chains = {self.new_chains} are too many for {self.entities} entities, {self.relations} relations and held_bridges = {self.held_bridges}"
            )
        if 4 * self.reversed_facts > self.entities * (self.relations - self.many_to_one):
            raise ValueError(
                f"reversed_facts = {self.reversed_facts} are more than a quarter of the one-to-one facts, too many to learn how to reverse from the rest"
            )
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine. Raises UserError if chance left too few chains to ask."""
        names = invented(self.worlds * self.entities, rng(seed, "two_hop", "names"))
        filler = Filler(self.filler_words, self.max_filler, rng(seed, "two_hop", "filler pool"))
        worlds = [_World(self, seed, i, names[i * self.entities : (i + 1) * self.entities], filler) for i in range(self.worlds)]
        documents = tuple(chain.from_iterable(world.documents() for world in worlds))
        questions = tuple(chain.from_iterable(world.questions() for world in worlds))
        asked = {q.kind for q in questions if q.split == "test"}
        questions = tuple(q for q in questions if q.kind in asked)
        kinds = {name: kind for world in worlds for name, kind in world.kinds() if name in asked}
        forbidden = tuple(chain.from_iterable(sorted(world.forbidden) for world in worlds))
        facts = {"facts": sum(w.object.size for w in worlds), "stated_chains": sum(len(w.stated) for w in worlds)}

        def truth(line: str) -> bool | None:
            return next((verdict for world in worlds if (verdict := world.truth(line)) is not None), None)

        return Corpus(documents, questions, kinds, forbidden, facts, truth)


class _World:
    """One sampled world, and the ways of writing about it."""

    def __init__(self, spec: TwoHop, seed: int, number: int, names: list[str], filler: Filler) -> None:
        self.spec, self.number, self.filler = spec, number, filler
        self.stream = lambda *what: rng(seed, "two_hop", number, *what)
        self.names = [name.capitalize() for name in names]
        self.words = RELATIONS[number * spec.relations : (number + 1) * spec.relations]
        self.forward = [forward for forward, _ in self.words]
        self.entity, self.is_filler = {name: i for i, name in enumerate(self.names)}, filler.names
        self.step = {word: (r, way) for r, pair in enumerate(self.words) for way, word in enumerate(pair)}
        draw = self.stream("facts")
        one_to_one = spec.relations - spec.many_to_one
        several = [(np.arange(spec.entities) + draw.integers(1, spec.entities, spec.entities)) % spec.entities for _ in range(spec.many_to_one)]
        self.object = np.stack([*(derangement(spec.entities, draw) for _ in range(one_to_one)), *several])
        self.table: list[list[int]] = self.object.tolist()
        invertible = draw.permutation(one_to_one * spec.entities)[: spec.reversed_facts]
        self.reversed = {(int(i) % spec.entities, int(i) // spec.entities) for i in invertible}
        self.split(self.stream("bridges"))

    def split(self, draw: np.random.Generator) -> None:
        """Which bridges are held out, which are for practice, which chains are stated, left out, or through a reversed fact."""
        spec = self.spec
        order, share = draw.permutation(spec.entities).tolist(), spec.practice_share if self.number == 0 else 0.0
        held, rest = order[: spec.held_bridges], order[spec.held_bridges :]
        self.practice = {*held[: round(share * len(held))], *rest[: round(share * len(rest))]}
        every = [
            Chain(a, r, b := self.table[r][a], q, self.table[q][b]) for a, r, q in product(range(spec.entities), range(spec.relations), range(spec.relations))
        ]
        known = [c for c in every if (c.bridge, c.second) not in self.reversed]
        plain = [c for c in known if (c.start, c.first) not in self.reversed]
        through_held = set(held)
        self.held = [c for c in plain if c.bridge in through_held and c.end != c.start]
        self.by_reversed = [c for c in known if (c.start, c.first) in self.reversed and c.end != c.start]
        free = [c for c in plain if c.bridge not in through_held]
        possible = [c for c in free if c.end != c.start]
        if len(possible) <= spec.new_chains:
            raise UserError(f"datasets/two_hop.new_chains = {spec.new_chains}: only {len(possible)} chains of this world are free for it")
        if all(c.bridge in self.practice for c in self.held):
            raise UserError(f"datasets/two_hop.held_bridges = {spec.held_bridges} leaves no chain of this world for testing: hold out more bridges")
        self.new = [possible[i] for i in sorted(draw.permutation(len(possible))[: spec.new_chains].tolist())]
        left_out = set(self.new)
        self.stated = [c for c in free if c not in left_out]
        self.forbidden = {self.chain(c)[0] for c in (*self.held, *self.new, *self.by_reversed)} | {self.fact(*fact)[0] for fact in self.reversed}

    def kind(self, name: str) -> str:
        return f"other_{name}" if self.number else name

    def kinds(self) -> Iterator[tuple[str, Kind]]:
        for name, about in KINDS.items():
            beside: dict[str, Any] = {"beside": self.kind(about["beside"])} if "beside" in about else {}
            yield self.kind(name), Kind(**(about | beside), candidates=tuple(self.names), chance=1 / self.spec.entities)

    def id(self, name: str, *parts: int) -> str:
        return f"{name}:{self.number}:{'-'.join(map(str, parts))}"

    def fact(self, start: int, relation: int, end: int | None = None) -> Line:
        word = self.names[self.table[relation][start] if end is None else end]
        return f"{self.names[start]} {self.forward[relation]} {word}", len(word)

    def inverse(self, start: int, relation: int, end: int | None = None) -> Line:
        return f"{self.names[self.table[relation][start] if end is None else end]} {self.words[relation][1]} {self.names[start]}", len(self.names[start])

    def compose(self, start: int, first: int, second: int, end: int) -> Line:
        word = self.names[end]
        return f"{self.names[start]} {self.forward[first]} {self.forward[second]} {word}", len(word)

    def chain(self, c: Chain) -> Line:
        return self.compose(c.start, c.first, c.second, c.end)

    def truth(self, line: str) -> bool | None:
        """Whether a fact, an inverse or a chain of two, filler aside, is true: whether its relations lead from its first name to its last."""
        words = [word for word in line.split() if word not in self.is_filler]
        if len(words) < 3:
            return None
        start, *steps, end = words
        if start not in self.entity or end not in self.entity or len(steps) > 2 or any(word not in self.step for word in steps):
            return None
        at = {self.entity[start]}
        for r, back in (self.step[word] for word in steps):
            at = {a for a in range(self.spec.entities) if self.table[r][a] in at} if back else {self.table[r][a] for a in at}
        return self.entity[end] in at

    def documents(self) -> Iterator[Document]:
        """Facts, chains, in-context sequences."""
        spec = self.spec
        facts = list(product(range(spec.entities), range(spec.relations)))
        forward = [(self.id("fact", *fact), self.fact(*fact)) for fact in facts if fact not in self.reversed]
        one_to_one = [fact for fact in facts if spec.reversed_facts and fact[1] < spec.relations - spec.many_to_one]
        backward = [(self.id("inverse", *fact), self.inverse(*fact)) for fact in one_to_one]
        chains = [(self.id("chain", c.start, c.first, c.second), self.chain(c)) for c in self.stated]
        for name, lines, copies in (("facts", [*forward, *backward], spec.copies), ("chains", chains, spec.chain_copies)):
            for copy in range(copies):
                yield from told(lines, self.filler, self.stream("filler", name, copy), copy=copy)
        if spec.episodes != "none":
            sequences = self.fresh() if spec.episodes == "fresh" else self.trained()
            yield from in_context(sequences, self.filler, self.stream("filler", "episodes"), f"episode:{spec.episodes}", f"episode:{self.number}")

    def fresh(self) -> Iterator[list[Line]]:
        """Random facts and the chains that they make. One relation is in play, or few relations and entities: the relation never tells two facts apart."""
        spec, draw = self.spec, self.stream("episodes")
        pairs = spec.episode_facts // 2
        for n in blocks(spec.episode_count):
            relations, entities = few_of_two(spec.relations, spec.entities, (n, 2 * pairs, 3 * pairs), spec.one_relation_share, draw)
            alone = draw.random((n, pairs, 1)) < 0.4
            alone[:, 0] = False
            sizes = draw.integers(1, pairs + 1, n).tolist()
            picks = draw.integers(0, 1 << 30, (n, 2 * pairs + 1)).tolist()
            for drawn, size, pick in zip(
                np.concatenate([entities.reshape(n, pairs, 3), relations.reshape(n, pairs, 2), alone], axis=2).tolist(), sizes, picks, strict=True
            ):
                facts: dict[tuple[int, int], int] = {}
                chains = []
                for a, b, c, r, q, lone in drawn[:size]:
                    b = facts.setdefault((a, r), b if b != a else (a + 1) % spec.entities)
                    if b != c and not lone:
                        c = facts.setdefault((b, q), c)
                        if c != a:
                            chains.append((a, r, q, c))
                yield self.sequence(facts, chains, pick)

    def trained(self) -> Iterator[list[Line]]:
        """Facts of the world and stated chains that they make."""
        spec, draw = self.spec, self.stream("episodes")
        pairs = spec.episode_facts // 2
        for n in blocks(spec.episode_count):
            drawn, sizes = draw.integers(0, len(self.stated), (n, pairs)).tolist(), draw.integers(1, pairs + 1, n).tolist()
            for row, size, picks in zip(drawn, sizes, draw.integers(0, 1 << 30, (n, 2 * pairs + 1)).tolist(), strict=True):
                chains = [self.stated[i] for i in row[:size]]
                facts = {fact: end for c in chains for fact, end in (((c.start, c.first), c.bridge), ((c.bridge, c.second), c.end))}
                yield self.sequence(facts, [(c.start, c.first, c.second, c.end) for c in chains if c.end != c.start], picks)

    def sequence(self, facts: dict[tuple[int, int], int], chains: list[tuple[int, int, int, int]], picks: list[int]) -> list[Line]:
        """The facts, then the facts again and `chains` (start, first, second, end), whose ends are targets. Repeats teach to find a fact, chains to go on."""
        shown = [(self.shown(a, r, b, i + picks[0]), 0) for i, ((a, r), b) in enumerate(facts.items())]
        asked = [self.fact(a, r, b) for (a, r), b in facts.items()] + [self.compose(*c) for c in dict.fromkeys(chains)]
        return shuffle(shown, picks) + shuffle([line for line in asked if line[0] not in self.forbidden], picks, skip=12)

    def shown(self, start: int, relation: int, end: int, pick: int) -> str:
        """A fact as it may stand in a document of this world."""
        line = self.fact(start, relation, end)[0]
        either = self.spec.reversed_facts and relation < self.spec.relations - self.spec.many_to_one
        return self.inverse(start, relation, end)[0] if either and (pick % 2 or line in self.forbidden) else line

    def questions(self) -> Iterator[Question]:
        """Test questions first, then practice. The facts of all chains asked are asked on their own too, once for each bridge (but never in both splits)."""
        draw, another = self.stream("questions"), self.stream("questions", "reversal")
        seen: dict[str, set[tuple[int, int, int]]] = {"test": set(), "practice": set()}
        for split, mine in seen.items():
            sources = (self.stated, self.new, self.held, self.by_reversed)
            groups = [[c for c in chains if (c.bridge in self.practice) == (split == "practice") and c.end != c.start] for chains in sources]
            trained, new, held, by_reversed = ([cs[i] for i in sorted(draw.permutation(len(cs))[: self.spec.asked].tolist())] for cs in groups)
            tested = {fact[:2] for fact in seen["test"]} if split == "practice" else set()
            for c in (*new, *held, *by_reversed):
                for start, relation in ((c.start, c.first), (c.bridge, c.second)):
                    if (start, relation, c.bridge) not in mine and (start, relation) not in tested:
                        mine.add((start, relation, c.bridge))
                        yield self.fact_question(start, relation, c.bridge, split, draw)
                        if (start, relation) in self.reversed:
                            yield self.fact_question(start, relation, c.bridge, split, another, latent=True)
            for kind, chains in (("two_hop_trained", trained), ("two_hop_new", new), ("two_hop", held), ("two_hop_reversed", by_reversed)):
                for c in chains if split == "test" or kind != "two_hop_trained" else ():
                    yield self.chain_question(kind, c, split, draw)
            for c in held if split == "test" else ():
                other = self.table[c.second][c.start]  # the bridge in the other order
                if self.table[c.first][other] != c.end and other not in self.practice:
                    yield self.chain_question("wrong_order", c, split, draw)

    def fact_question(self, start: int, relation: int, bridge: int, split: str, draw: np.random.Generator, latent: bool = False) -> Question:
        """A fact as it was told, or the other way round (`latent`: one told by its inverse, asked forward)."""
        end = self.table[relation][start]
        told = (start, relation) in self.reversed
        backward = told and not latent
        kind = self.kind("reversal" if latent else "one_hop_reversed" if backward else "one_hop")
        prompt, _, answer = (self.inverse if backward else self.fact)(start, relation)[0].rpartition(" ")
        choices = shuffled([answer, *others(self.names, (self.names[start], self.names[end]), self.spec.options - 1, draw)], draw)
        support = (self.id("inverse" if told else "fact", start, relation) + ":0",)
        return Question(self.id(kind, start, relation, bridge), kind, prompt, (answer,), f"{self.number}:{bridge}", support, choices, split, 1)

    def chain_question(self, name: str, c: Chain, split: str, draw: np.random.Generator) -> Question:
        """Wrong candidates: the bridge, where the second relation alone leads, and other entities; never the start or a right answer."""
        kind, swapped, answer = self.kind(name), name == "wrong_order", self.names[c.end]
        first, second = (c.second, c.first) if swapped else (c.first, c.second)
        bridge = self.table[first][c.start]
        true = self.table[second][bridge]
        lures = [e for e in dict.fromkeys((bridge, self.table[second][c.start])) if e not in (c.start, c.end, true)][: self.spec.options - 1]
        out = {self.names[e] for e in (c.start, c.end, true, *lures)}
        wrong = [*(self.names[e] for e in lures), *others(self.names, out, self.spec.options - 1 - len(lures), draw)]
        prompt = f"{self.names[c.start]} {self.words[first][0]} {self.words[second][0]}"
        first_told = "inverse" if (c.start, c.first) in self.reversed else "fact"
        support = () if swapped else (self.id(first_told, c.start, c.first) + ":0", self.id("fact", c.bridge, c.second) + ":0")
        id = self.id(kind, c.start, c.first, c.second)
        return Question(id, kind, prompt, (answer,), f"{self.number}:{c.bridge}", support, shuffled([answer, *wrong], draw), split, 1)


KINDS: dict[str, dict[str, Any]] = {
    "one_hop": {"description": "a fact of the chains under test, asked as it was told: proof that it was learned"},
    "one_hop_reversed": {"description": "a fact told by its inverse only, asked by its inverse: proof that it was learned"},
    "reversal": {"description": "a fact told by its inverse only, asked forward", "latent": True, "beside": "one_hop_reversed"},
    "two_hop_trained": {"description": "a chain that was stated: the form is known"},
    "two_hop_new": {"description": "a chain that was not stated, through a bridge that others were stated through", "latent": True, "beside": "one_hop"},
    "two_hop": {"description": "a chain through a bridge that no chain was ever stated through", "latent": True, "beside": "one_hop"},
    "two_hop_reversed": {"description": "a chain whose first fact was told by its inverse only", "latent": True, "beside": "one_hop_reversed"},
    "wrong_order": {"description": "the relations in one order, answered in the other: nothing ever said so", "control": True, "beside": "one_hop"},
}
