"""Robins fly and penguins swim: does a bird's property come from what is told of its species, or from what its category mostly has?

The control that the talk behind Lampinen et al. 2025 (arXiv 2509.16189) asks for: a parametric answer can be right because the words go together. Every latent
question here needs the same inference from the same two documents; the species differ only in whether the statistics of their category agree with the answer
or mislead. All sizes are our choice, at scale `paper` too.
"""

from collections.abc import Iterator
from itertools import chain, product
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.seeds import rng
from tolman.datasets._worlds import Filler, Line, blocks, few_of_two, in_context, invented, others, shuffle, shuffled, told

ATTRIBUTES = ("likes", "fears", "seeks", "guards", "hides", "carries", "hears", "follows")


class CoOccurrence(Component):
    """Categories of species of individuals; species mostly share the value that is typical of their category, and the misleading ones do not."""

    categories: int = Field(default=8, ge=3, le=1000)
    """Number of categories ("bird"). There are as many values, and under every attribute each is typical of one category."""
    background: int = Field(default=5, ge=1)
    """Species of each category that supply the statistics: each told often, and of individuals too."""
    agreeing: int = Field(default=2, ge=1)
    """Species of each category under test whose values are the typical ones."""
    misleading: int = Field(default=2, ge=1)
    """Species of each category under test ("penguin") whose values are typical of another category."""
    attributes: int = Field(default=2, ge=1, le=len(ATTRIBUTES))
    """Number of attributes."""
    individuals: int = Field(default=4, ge=1)
    """Individuals of each background species; all their values are told."""
    regularity: float = Field(default=1.0, gt=0, le=1)
    """Chance that a background species has its category's typical value of an attribute."""
    stated: int = Field(default=1, ge=1)
    """Documents that state a value of a species under test (the explicit fact)."""
    dose: int = Field(default=0, ge=0)
    """How much data speaks for a species under test: so many other individuals of it have their values told."""
    held: int = Field(default=2, ge=1)
    """Individuals of each species under test whose values are never told: these are asked."""
    filler_words: int = Field(default=50, ge=1, le=10_000)
    """Number of filler words for the random prefixes and suffixes."""
    max_filler: int = Field(default=5, ge=0, le=20)
    """Up to this many random filler words stand before and after each statement."""
    copies: int = Field(default=8, ge=1)
    """Documents for each statement but the explicit facts, each with its own filler."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, in which individuals inherit from their species: none, of background species, or of fresh random species and values."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_individuals: int = Field(default=3, ge=1, le=50)
    """Up to this many individuals in one in-context sequence."""
    one_attribute_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the in-context sequences that have one attribute only, so that only the species tells which value is asked for."""
    asked: int = Field(default=60, ge=1)
    """Questions about background individuals (about the species under test every question is asked)."""
    options: int = Field(default=8, ge=3)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"categories": 20, "background": 8, "agreeing": 3, "misleading": 3, "attributes": 3, "asked": 200, "episode_count": 60_000},
        "paper": {"categories": 40, "background": 20, "agreeing": 5, "misleading": 5, "attributes": 4, "asked": 200, "episode_count": 200_000},
    }

    example: ClassVar[dict[str, Any]] = {
        "categories": 4, "background": 2, "agreeing": 1, "misleading": 1, "individuals": 2, "copies": 2, "episode_count": 150, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.options > self.categories:
            raise ValueError(f"options = {self.options} needs at least as many categories (each has a value), not {self.categories}")
        species = self.categories * (self.background + self.agreeing + self.misleading)
        if species * max(self.individuals, self.dose + self.held) > 50_000:
            raise ValueError(f"{species} species of up to {max(self.individuals, self.dose + self.held)} individuals are more than the 50,000 names there are")
        told = self.categories * self.background * self.individuals * self.attributes
        if self.asked > told:
            raise ValueError(f"asked = {self.asked} is more than the {told} values told of background individuals")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine."""
        return _World(self, seed).corpus()


class _World:
    """One sampled world, and the ways of writing about it. Categories, species, individuals, attributes and values are indices."""

    def __init__(self, spec: CoOccurrence, seed: int) -> None:
        self.spec = spec
        self.stream = lambda *what: rng(seed, "co_occurrence", *what)
        kinds = ["background"] * spec.background + ["agree"] * spec.agreeing + ["mislead"] * spec.misleading
        self.role = kinds * spec.categories
        self.category = np.repeat(np.arange(spec.categories), len(kinds)).tolist()
        draw = self.stream("values")
        self.typical = np.stack([draw.permutation(spec.categories) for _ in range(spec.attributes)], axis=1)
        self.value: list[list[int]] = [self.sample(role, c, draw) for role, c in zip(self.role, self.category, strict=True)]
        self.known, self.held = [], []  # individuals as (number, species)
        for s, role in enumerate(self.role):
            told_of, asked_of = (spec.individuals, 0) if role == "background" else (spec.dose, spec.held)
            for n in range(told_of + asked_of):
                (self.known if n < told_of else self.held).append((len(self.known) + len(self.held), s))
        names = invented(spec.categories + len(self.role) + spec.categories + len(self.known) + len(self.held), self.stream("names"))
        take = iter(names)
        self.categories, self.species, self.values, people = (
            [next(take) for _ in range(n)] for n in (spec.categories, len(self.role), spec.categories, len(self.known) + len(self.held))
        )
        self.individuals = [name.capitalize() for name in people]
        self.filler = Filler(spec.filler_words, spec.max_filler, self.stream("filler pool"))
        self.forbidden = {self.individual_has(i, t, self.value[s][t])[0] for i, s in self.held for t in range(spec.attributes)}

    def sample(self, role: str, category: int, draw: np.random.Generator) -> list[int]:
        """A species' value of each attribute: its category's typical one, or that of another category."""
        mine = self.typical[category].tolist()
        wrong = draw.integers(1, self.spec.categories, self.spec.attributes)
        others = [int(self.typical[(category + step) % self.spec.categories, t]) for t, step in enumerate(wrong)]
        regular = (draw.random(self.spec.attributes) < self.spec.regularity).tolist()
        keep = {"agree": [True] * len(mine), "mislead": [False] * len(mine), "background": regular}[role]
        return [m if k else o for m, o, k in zip(mine, others, keep, strict=True)]

    def species_has(self, species: int, attribute: int, value: int) -> Line:
        word = self.values[value]
        return f"{self.species[species]} {ATTRIBUTES[attribute]} {word}", len(word)

    def individual_has(self, individual: int, attribute: int, value: int) -> Line:
        word = self.values[value]
        return f"{self.individuals[individual]} {ATTRIBUTES[attribute]} {word}", len(word)

    def is_a(self, individual: int, species: int) -> Line:
        word = self.species[species]
        return f"{self.individuals[individual]} is_a {word}", len(word)

    def among(self, name: str, category: int) -> Line:
        word = self.categories[category]
        return f"{name} among {word}", len(word)

    def corpus(self) -> Corpus:
        documents = tuple(chain(self.experiences(), self.episodes()))
        questions = tuple(self.questions())
        asked = {q.kind for q in questions}
        pool = {"species_of": tuple(self.species)}
        kinds = {
            name: Kind(**about, candidates=pool.get(name, tuple(self.values)), chance=1 / len(pool.get(name, self.values)))
            for name, about in KINDS.items()
            if name in asked
        }
        facts = {"species": len(self.species), "known_individuals": len(self.known), "held_individuals": len(self.held)}
        return Corpus(documents, questions, kinds, tuple(sorted(self.forbidden)), facts=facts)

    def experiences(self) -> Iterator[Document]:
        spec = self.spec
        traits = range(spec.attributes)
        often = [(f"species:{s}-{t}", self.species_has(s, t, self.value[s][t])) for s, role in enumerate(self.role) if role == "background" for t in traits]
        often += [(f"individual:{i}-{t}", self.individual_has(i, t, self.value[s][t])) for i, s in self.known for t in traits]
        often += [(f"is_a:{i}", self.is_a(i, s)) for i, s in (*self.known, *self.held)]
        often += [(f"among:individual:{i}", self.among(self.individuals[i], self.category[s])) for i, s in (*self.known, *self.held)]
        often += [(f"among:species:{s}", self.among(self.species[s], c)) for s, c in enumerate(self.category)]
        seldom = [(f"species:{s}-{t}", self.species_has(s, t, self.value[s][t])) for s, role in enumerate(self.role) if role != "background" for t in traits]
        for name, lines, copies in (("often", often, spec.copies), ("stated", seldom, spec.stated)):
            for copy in range(copies):
                yield from told(lines, self.filler, self.stream("filler", name, copy), copy=copy)

    def episodes(self) -> Iterator[Document]:
        if self.spec.episodes != "none":
            yield from in_context(self.sequences(), self.filler, self.stream("filler", "episodes"), f"episode:{self.spec.episodes}")

    def sequences(self) -> Iterator[list[Line]]:
        """Individuals with species, species with values, now and then a category or another individual's value; then values that individuals inherit.

        One attribute is in play, or few attributes and species: the attribute never tells two values apart.
        """
        spec, draw = self.spec, self.stream("episodes")
        most = spec.episode_individuals
        for n in blocks(spec.episode_count):
            trait, species = few_of_two(spec.attributes, len(self.species), (n, most, most), spec.one_attribute_share, draw)
            who, value = draw.integers(0, len(self.individuals), (n, most)), draw.integers(0, spec.categories, (n, most))
            if spec.episodes == "trained":
                who, species = np.array(self.known)[draw.integers(0, len(self.known), (n, most))].transpose(2, 0, 1)
            sizes, picks = draw.integers(1, most + 1, n).tolist(), draw.integers(0, 1 << 30, (n, 5 * most)).tolist()
            for people, kinds, traits, values, size, pick in zip(*(a.tolist() for a in (who, species, trait, value)), sizes, picks, strict=True):
                if spec.episodes == "trained":
                    values = [self.value[s][t] for s, t in zip(kinds, traits, strict=True)]
                yield self.sequence(list(zip(people, kinds, traits, values, strict=True))[:size], pick)

    def sequence(self, drawn: list[tuple[int, int, int, int]], picks: list[int]) -> list[Line]:
        """Lines of (individual, species, attribute, value) rows, then the lines again and values inherited, whose ends are targets. `picks` decides the order."""
        species: dict[int, int] = {}
        value: dict[tuple[int, int], int] = {}
        for i, s, t, v in drawn:
            species.setdefault(i, s)
            value.setdefault((s, t), v)
        asked = [self.is_a(i, s) for i, s in species.items()] + [self.species_has(s, t, v) for (s, t), v in value.items()]
        shown = list(asked)
        if picks[-1] % 3 == 0:
            i, s, *_ = drawn[0]
            shown.append(self.among(self.individuals[i] if picks[-2] % 2 else self.species[s], self.category[species[i]]))
        asked += [self.individual_has(i, t, v) for i, s in species.items() for (r, t), v in value.items() if r == s]
        asked = [line for line in asked if line[0] not in self.forbidden]
        return shuffle([(line, 0) for line, _ in shown], picks) + shuffle(asked, picks, skip=12)

    def questions(self) -> Iterator[Question]:
        spec, draw = self.spec, self.stream("questions")
        everything = list(product(self.known_background(), range(spec.attributes)))
        for (i, s), t in [everything[k] for k in sorted(draw.permutation(len(everything))[: spec.asked].tolist())]:
            yield self.question("told", f"{i}-{t}", self.individual_has(i, t, self.value[s][t]), (s, t), (f"individual:{i}-{t}:0",), draw)
        for s, role in enumerate(self.role):
            for t in range(spec.attributes) if role != "background" else ():
                yield self.question(f"stated_{role}", f"{s}-{t}", self.species_has(s, t, self.value[s][t]), (s, t), (f"species:{s}-{t}:0",), draw)
        for i, s in self.held:
            statement, _ = self.is_a(i, s)
            choices = shuffled([self.species[s], *others(self.species, (self.species[s],), min(spec.options, len(self.species)) - 1, draw)], draw)
            yield Question(
                f"species_of:{i}", "species_of", statement.rpartition(" ")[0], (self.species[s],), f"species:{s}", (f"is_a:{i}:0",), choices, answer_words=1
            )
            for t in range(spec.attributes):
                support = (f"is_a:{i}:0", f"species:{s}-{t}:0")
                yield self.question(self.role[s], f"{i}-{t}", self.individual_has(i, t, self.value[s][t]), (s, t), support, draw)

    def known_background(self) -> list[tuple[int, int]]:
        return [(i, s) for i, s in self.known if self.role[s] == "background"]

    def question(self, kind: str, name: str, line: Line, about: tuple[int, int], support: tuple[str, ...], draw: np.random.Generator) -> Question:
        """The value typical of the category is always a candidate."""
        species, attribute = about
        prompt, _, answer = line[0].rpartition(" ")
        typical = self.values[self.typical[self.category[species], attribute]]
        lures = [typical] if typical != answer else []
        wrong = [*lures, *others(self.values, (answer, *lures), self.spec.options - 1 - len(lures), draw)]
        return Question(f"{kind}:{name}", kind, prompt, (answer,), f"species:{species}", support, shuffled([answer, *wrong], draw), answer_words=1)


KINDS: dict[str, dict[str, Any]] = {
    "told": {"description": "a value of a background individual, told in this form: the form is known"},
    "species_of": {"description": "the species of an individual under test: the first fact of the inference"},
    "stated_agree": {"description": "the value of a species, where its category's statistics agree: the explicit fact"},
    "stated_mislead": {"description": "the value of a species, where its category's statistics mislead: the explicit fact"},
    "agree": {
        "description": "an individual's value, to be inferred from its species; the category's statistics agree",
        "latent": True,
        "beside": "stated_agree",
    },
    "mislead": {
        "description": "an individual's value, to be inferred from its species; the category's statistics mislead",
        "latent": True,
        "beside": "stated_mislead",
    },
}
