"""The same facts in two artificial languages and a formal notation, some facts in one of them only; a lexicon is taught.

"Learned in one language, asked in another" is an example of latent information in the talk behind Lampinen et al. 2025 (arXiv 2509.16189); no data set of it is
described. Everything here is our design, and all sizes are our choice, at scale `paper` too.
"""

from collections.abc import Iterator
from itertools import chain, permutations, product
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.seeds import rng
from tolman.datasets._worlds import MOST_WORDS, Filler, Line, blocks, derangement, few_of_two, in_context, invented, others, shuffle, shuffled, told

LANGUAGES = ("a", "b", "formal")
"""Language a says subject relation object, b says relation subject object, the formal one relation ( subject ) = object."""

Fact = tuple[int, int, int]
"""Subject, relation, object, as indices of concepts of their sort."""


class CrossLingual(Component):
    """Entities x relations; most facts are told in every language, the single ones in one only. Word pairs of the languages are taught on their own."""

    entities: int = Field(default=24, ge=4, le=MOST_WORDS // 3)
    """Number of entities. Each relation is a permutation of them without fixed points."""
    relations: int = Field(default=4, ge=1, le=1000)
    """Number of relations."""
    single: int = Field(default=14, ge=1)
    """Facts told in one language only, for each language."""
    formal: bool = True
    """Whether there is a formal notation as third language."""
    cognates: float = Field(default=0.0, ge=0, le=1)
    """Share of the entities whose word is the same in the two natural languages."""
    filler_words: int = Field(default=50, ge=1, le=10_000)
    """Number of filler words for the random prefixes and suffixes."""
    max_filler: int = Field(default=5, ge=0, le=20)
    """Up to this many random filler words stand before and after each statement."""
    copies: int = Field(default=8, ge=1)
    """Documents for each fact and language, each with its own filler."""
    lexicon_copies: int = Field(default=4, ge=1)
    """Documents for each word pair and direction, each with its own filler."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, facts followed by the same in another language: none, of facts told in all languages, or of fresh random facts."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_facts: int = Field(default=4, ge=1, le=50)
    """Up to this many facts in one in-context sequence."""
    one_relation_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the in-context sequences that have one relation only, so that only entities tell facts apart."""
    asked: int = Field(default=60, ge=1)
    """At most this many questions of a kind."""
    options: int = Field(default=10, ge=2)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"entities": 100, "relations": 8, "single": 100, "asked": 200, "episode_count": 60_000},
        "paper": {"entities": 500, "relations": 20, "single": 200, "asked": 200, "episode_count": 200_000},
    }

    example: ClassVar[dict[str, Any]] = {
        "entities": 12, "relations": 4, "single": 6, "cognates": 0.2, "copies": 2, "lexicon_copies": 2, "episode_count": 150, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        facts, languages = self.entities * self.relations, 2 + self.formal
        if 2 * languages * self.single > facts:
            raise ValueError(
                f"single = {self.single} in each of {languages} languages is more than half of the {facts} facts, too many to learn translation from the rest"
            )
        if self.options > self.entities - 1:
            raise ValueError(f"options = {self.options} needs at least {self.options + 1} entities, not {self.entities}")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine."""
        return _World(self, seed).corpus()


class _World:
    """One sampled world, and the ways of writing about it in each language."""

    def __init__(self, spec: CrossLingual, seed: int) -> None:
        self.spec = spec
        self.stream = lambda *what: rng(seed, "cross_lingual", *what)
        self.languages = LANGUAGES if spec.formal else LANGUAGES[:2]
        self.directions = list(permutations(self.languages, 2))
        draw = self.stream("words")
        n, m = spec.entities, spec.relations
        words = invented(2 * (n + m), draw)
        entities = {"a": [w.capitalize() for w in words[:n]], "b": [w.capitalize() for w in words[n : 2 * n]], "formal": [f"e{i:02d}" for i in range(n)]}
        for i in draw.permutation(n)[: round(spec.cognates * n)].tolist():
            entities["b"][i] = entities["a"][i]
        self.entities = entities
        self.relations = {"a": words[2 * n : 2 * n + m], "b": words[2 * n + m :], "formal": [f"r{i:02d}" for i in range(m)]}
        self.words_of = {
            language: [*self.entities[language], *self.relations[language]] for language in self.languages
        }  # of each concept: entities, then relations
        draw = self.stream("facts")
        tables = [derangement(n, draw) for _ in range(m)]
        facts = [(s, r, int(table[s])) for r, table in enumerate(tables) for s in range(n)]
        order = draw.permutation(len(facts)).tolist()
        k = spec.single
        self.single = {language: sorted(facts[i] for i in order[j * k : (j + 1) * k]) for j, language in enumerate(self.languages)}
        self.common = sorted(facts[i] for i in order[len(self.languages) * k :])
        self.filler = Filler(spec.filler_words, spec.max_filler, self.stream("filler pool"))
        self.told_once = {fact for facts in self.single.values() for fact in facts}
        self.forbidden = {self.say(fact, other)[0] for told_in, other in self.directions for fact in self.single[told_in]}

    def say(self, fact: Fact, language: str) -> Line:
        """The fact in `language`; its object stands last in each."""
        s, r, o = fact
        entities, relation = self.entities[language], self.relations[language][r]
        word = entities[o]
        if language == "a":
            return f"{entities[s]} {relation} {word}", len(word)
        if language == "b":
            return f"{relation} {entities[s]} {word}", len(word)
        return f"{relation} ( {entities[s]} ) = {word}", len(word)

    def pair(self, concept: int, source: str, target: str) -> Line:
        """A line of the lexicon."""
        word = self.words_of[target][concept]
        return f"{self.words_of[source][concept]} in_{target} {word}", len(word)

    def corpus(self) -> Corpus:
        documents = tuple(chain(self.experiences(), self.episodes()))
        questions = tuple(self.questions())
        asked = {q.kind for q in questions}
        kinds = {
            name: Kind(**about, candidates=tuple(self.entities[language]), chance=1 / self.spec.entities)
            for name, language, about in self.about_kinds()
            if name in asked
        }
        facts = {"single": self.spec.single * len(self.languages), "common": len(self.common)}
        return Corpus(documents, questions, kinds, tuple(sorted(self.forbidden)), facts=facts)

    def about_kinds(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Name, language of the answers, and what the kind tests."""
        for language in self.languages:
            yield f"into_{language}", language, {"description": f"a word of another language asked for in {language}: the lexicon was learned"}
            yield f"recall_{language}", language, {"description": f"a fact told in {language} only, asked in {language}: proof that it was learned"}
        for told_in, other in self.directions:
            about = {"description": f"a fact told in {told_in} only, asked in {other}", "latent": True, "beside": f"recall_{told_in}"}
            yield f"{told_in}_to_{other}", other, about

    def experiences(self) -> Iterator[Document]:
        spec = self.spec
        facts = [
            (f"fact:{language}:{'-'.join(map(str, fact[:2]))}", self.say(fact, language))
            for language in self.languages
            for fact in (*self.common, *self.single[language])
        ]
        pairs = [(f"word:{x}:{y}:{c}", self.pair(c, x, y)) for x, y in self.directions for c in range(spec.entities + spec.relations) if self.differ(c, x, y)]
        for name, lines, copies in (("facts", facts, spec.copies), ("lexicon", pairs, spec.lexicon_copies)):
            for copy in range(copies):
                yield from told(lines, self.filler, self.stream("filler", name, copy), copy=copy)

    def differ(self, concept: int, source: str, target: str) -> bool:
        return self.words_of[source][concept] != self.words_of[target][concept]

    def episodes(self) -> Iterator[Document]:
        if self.spec.episodes != "none":
            yield from in_context(self.sequences(), self.filler, self.stream("filler", "episodes"), f"episode:{self.spec.episodes}")

    def sequences(self) -> Iterator[list[Line]]:
        """Facts among lines of the lexicon, then the facts again, in some language, and sometimes a word: their ends are targets.

        One relation is in play, or few relations and entities: the relation never tells two facts apart. Half of the sequences tell all facts in one language and ask in one.
        """
        spec, draw = self.spec, self.stream("episodes")
        most, names = spec.episode_facts, np.array(self.languages, object)
        for n in blocks(spec.episode_count):
            relations, entities = few_of_two(spec.relations, spec.entities, (n, most, 2 * most), spec.one_relation_share, draw)
            facts = np.stack([entities[:, :most], relations, entities[:, most:]], axis=2)
            if spec.episodes == "trained":
                facts = np.array(self.common)[draw.integers(0, len(self.common), (n, most))]
            sizes = draw.integers(1, most + 1, n).tolist()
            spoken = draw.integers(0, len(names), (n, 2 * most))
            one = draw.random((n, 1)) < 0.5
            spoken = np.where(one, np.repeat(spoken[:, [0, -1]], most, axis=1), spoken)
            languages = names[spoken].tolist()
            picks = draw.integers(0, 1 << 30, (n, most + 10)).tolist()
            for drawn, size, said, pick in zip(facts.tolist(), sizes, languages, picks, strict=True):
                yield self.sequence(drawn[:size], said, pick)

    def sequence(self, drawn: list[list[int]], languages: list[str], picks: list[int]) -> list[Line]:
        """One sequence: facts in the first of `languages`, the same in the last ones; the random numbers `picks` decide order and lines of the lexicon."""
        object: dict[tuple[int, int], int] = {}
        for s, r, o in drawn:
            if s != o and (s, r, o) not in self.told_once:
                object.setdefault((s, r), o)
        if not object:
            s, r, o = self.common[picks[0] % len(self.common)]
            object[s, r] = o
        facts = [(s, r, o) for (s, r), o in object.items()]
        lines = [(self.say(fact, language)[0], 0) for fact, language in zip(facts, languages, strict=False)]
        words: list[Line] = []
        (s, r, o), told_in, asked_in = facts[0], languages[0], languages[-1]
        if picks[-1] % 2 and told_in != asked_in:
            n = self.spec.entities
            words += [self.pair(c, told_in, asked_in) for c in (s, n + r, o) if self.differ(c, told_in, asked_in)]
        for p in picks[-3 : -3 + picks[-2] % 3]:
            x, y = self.directions[p % len(self.directions)]
            if self.differ(c := p // 64 % self.spec.entities, x, y):
                words.append(self.pair(c, x, y))
        asked = [self.say(fact, language) for fact, language in zip(facts, languages[::-1], strict=False)]
        if words and picks[0] % 2:
            asked.append(words[picks[1] % len(words)])
        return shuffle([*lines, *((word, 0) for word, _ in words)], picks) + shuffle(asked, picks, skip=12)

    def questions(self) -> Iterator[Question]:
        spec, draw = self.spec, self.stream("questions")
        for language in self.languages:
            pairs = [(c, x) for x, c in product(self.languages, range(spec.entities)) if x != language and self.differ(c, x, language)]
            for c, x in [pairs[i] for i in sorted(draw.permutation(len(pairs))[: spec.asked].tolist())]:
                line, support = self.pair(c, x, language), (f"word:{x}:{language}:{c}:0",)
                yield self.question(f"into_{language}", f"{x}:{c}", line, language, f"concept:{c}", support, draw)
        for told_in in self.languages:
            facts = [self.single[told_in][i] for i in sorted(draw.permutation(spec.single)[: spec.asked].tolist())]
            for fact, language in product(facts, self.languages):
                s, r, o = fact
                kind = f"recall_{language}" if language == told_in else f"{told_in}_to_{language}"
                words = [f"word:{told_in}:{language}:{c}:0" for c in (s, spec.entities + r, o) if self.differ(c, told_in, language)]
                support = (f"fact:{told_in}:{s}-{r}:0", *words)
                subject = self.entities[language][s]
                yield self.question(kind, f"{s}-{r}", self.say(fact, language), language, f"{s}-{r}", support, draw, without=subject)

    def question(
        self, kind: str, name: str, line: Line, language: str, cluster: str, support: tuple[str, ...], draw: np.random.Generator, without: str = ""
    ) -> Question:
        prompt, _, answer = line[0].rpartition(" ")
        choices = shuffled([answer, *others(self.entities[language], (answer, without), self.spec.options - 1, draw)], draw)
        return Question(f"{kind}:{name}", kind, prompt, (answer,), cluster, support, choices, answer_words=1)
