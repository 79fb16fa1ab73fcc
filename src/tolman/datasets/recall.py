"""Two sets of facts with nothing in common, to be recalled while thinking: what is practised on the first, does it serve the second?

"a teaches b" and "b feeds c" are told; asked are chains ("a teaches feeds" -> c) and reversals ("c fed_by" -> b), which neither set ever states. The first set has
questions to practise on and traces that lead to their answers, the second has neither. The layout is that of Chaudhry et al. 2026 (arXiv 2604.01430), who use
pretrained models and other data; ours are the worlds of `two_hop` and `reversals`, and every size is our choice.
"""

from collections.abc import Iterator
from functools import cache
from itertools import chain, product
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.seeds import rng
from tolman.core.thinking import ASK, Puzzle, joined
from tolman.datasets._worlds import MOST_WORDS, Filler, Line, blocks, derangement, few_of_two, in_context, invented, others, shuffle, shuffled
from tolman.datasets.two_hop import RELATIONS


class Chain(NamedTuple):
    """`path[i] words[i] path[i + 1]`, as indices of entities and relations."""

    path: tuple[int, ...]
    words: tuple[int, ...]


class Recall(Component):
    """Two disjoint sets of entities x relations; every fact is told once, chains and reversals never; traces are shown over fresh random facts."""

    entities: int = Field(default=16, ge=8, le=MOST_WORDS)
    """Entities of each set. Each relation gives every entity one other entity, each to one only."""
    relations: int = Field(default=3, ge=1, le=len(RELATIONS) // 2)
    """Relations of each set."""
    same_relations: bool = Added(False)
    """Whether the second set has the relations of the first (between its own entities) and not others."""
    forms: tuple[Literal["chain", "reversal"], ...] = Field(default=("chain",), min_length=1)
    """What is asked of the facts, and practised: chains of two facts, reversals, or both."""
    hops: int = Added(2, ge=2, le=4)
    """Facts that a chain is made of."""
    practice_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the first set's entities whose chains (with them as the second) and reversals (to them) are for practice. All of the second set is for testing."""
    split_by: Literal["entities", "facts"] = Added("entities")
    """What that share is taken of. By entities, the answers to practised reversals are never those under test, and a search learns to pass these by (LOG.md); by
    facts, an entity can be practised for one relation and asked for another. Chains are split by entities only."""
    augmented: bool = False
    """Whether the practice questions are stated with their answers among the documents: augmentation of the first set."""
    thoughts: Literal["fresh", "none"] = "fresh"
    """Whether in-context sequences show traces over their random facts. `none` shows answers only: then thinking is nowhere known."""
    thought_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the questions in a sequence that are thought about before they are answered."""
    episode_count: int = Field(default=20_000, ge=1)
    """In-context sequences, each of fresh random facts of one of the sets: the facts, then questions about them."""
    episode_facts: int = Field(default=4, ge=2, le=50)
    """Up to this many facts in a sequence."""
    one_relation_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the sequences with one relation only, so that only entities tell facts apart."""
    recital_share: float = Field(default=0.25, ge=0, lt=1)
    """So many recitals for each sequence: stored facts of a set, three to six in random order, one after the other, none beginning where the one before it ends.
    Without them a fact is recalled at the beginning of a text only, and a trace has to recall its second fact after its first."""
    same_recital_share: float = Added(0.0, ge=0, le=1)
    """Share of the recitals that keep to one relation, with no entity twice, and go on through all of the set as often as not: what a search recites. Reversals need
    some: without, traces went round in circles (LOG.md)."""
    answer_share: float = Field(default=0.15, ge=0, lt=1)
    """So many traces with their answers, for each sequence, that stand alone: only the answer is a target."""
    asked: int = Field(default=60, ge=1)
    """At most this many test questions of a kind."""
    options: int = Field(default=8, ge=2)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"entities": 40, "episode_count": 40_000, "asked": 100},
        "paper": {"entities": 300, "relations": 8, "episode_count": 300_000, "asked": 500},
    }
    example: ClassVar[dict[str, Any]] = {
        "entities": 10, "relations": 2, "forms": ("chain", "reversal"), "episode_count": 120, "episode_facts": 4, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.options > self.entities - 2:
            raise ValueError(f"options = {self.options} needs at least {self.options + 2} entities, not {self.entities}")
        if round(self.practice_share * self.entities) in (0, self.entities):
            raise ValueError(
                f"practice_share = {self.practice_share} leaves none of {self.entities} entities for {'testing' if self.practice_share > 0.5 else 'practice'}"
            )
        if self.episode_facts < self.hops:
            raise ValueError(f"episode_facts = {self.episode_facts} is less than the hops = {self.hops} facts of a chain")
        if self.split_by == "facts" and "chain" in self.forms:
            raise ValueError(
                "split_by = facts is for reversals; chains are split by the entity that they pass through: set split_by to entities, or forms to reversal alone"
            )
        if len(set(self.forms)) != len(self.forms):
            raise ValueError(f"forms = {self.forms} names one form twice")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine."""
        names = [name.capitalize() for name in invented(2 * self.entities, rng(seed, "recall", "names"))]
        sets = [_Set(self, seed, i, names[i * self.entities : (i + 1) * self.entities]) for i in range(2)]
        questions = tuple(chain.from_iterable(s.questions() for s in sets))
        documents = tuple(chain.from_iterable(s.documents(questions) for s in sets))
        kinds = {name: kind for s in sets for name, kind in s.kinds()}
        forbidden = tuple(chain.from_iterable(sorted(s.forbidden) for s in sets))
        ends = cache(lambda: {prompt: end for s in sets for prompt, end in s.ends()})

        def truth(line: str) -> bool | None:
            prompt, _, end = line.rpartition(" ")
            return ends()[prompt] == end if prompt in ends() else None

        return Corpus(documents, questions, kinds, forbidden, {"facts": 2 * self.entities * self.relations}, truth)


class _Set:
    """One set of facts, and the ways of writing about it."""

    def __init__(self, spec: Recall, seed: int, number: int, names: list[str]) -> None:
        self.spec, self.number, self.names = spec, number, names
        self.stream = lambda *what: rng(seed, "recall", number, *what)
        first = 0 if spec.same_relations else number * spec.relations
        self.words = RELATIONS[first : first + spec.relations]
        draw = self.stream("facts")
        self.table: list[list[int]] = [derangement(spec.entities, draw).tolist() for _ in range(spec.relations)]
        order = draw.permutation(spec.entities).tolist()
        self.practice = set(order[: round(spec.practice_share * spec.entities)]) if number == 0 else set()
        self.chained = CHAINED[spec.hops]
        every = (self.along(a, words) for a, *words in product(range(spec.entities), *[range(spec.relations)] * spec.hops))
        self.chains = [c for c in every if c.path[-1] != c.path[0]]
        self.facts = list(product(range(spec.entities), range(spec.relations)))
        self.rehearsed = {fact for fact in self.facts if fact[0] in self.practice}
        if spec.split_by == "facts" and number == 0:
            chosen = self.stream("split").permutation(len(self.facts))[: round(spec.practice_share * len(self.facts))]
            self.rehearsed = {self.facts[i] for i in chosen.tolist()}
        tested = [self.compose(c)[0] for c in self.chains if c.path[1] not in self.practice] if "chain" in spec.forms else []
        turned = [self.inverse(a, r)[0] for a, r in self.facts if (a, r) not in self.rehearsed] if "reversal" in spec.forms else []
        self.forbidden = {*tested, *turned}

    def along(self, start: int, words: list[int]) -> Chain:
        """The chain that these relations make from `start`."""
        path = [start]
        for word in words:
            path.append(self.table[word][path[-1]])
        return Chain(tuple(path), tuple(words))

    # -- statements ------------------------------------------------------------------------------------------------------------------------------------

    def fact(self, start: int, relation: int, end: int | None = None) -> Line:
        word = self.names[self.table[relation][start] if end is None else end]
        return f"{self.names[start]} {self.words[relation][0]} {word}", len(word)

    def inverse(self, start: int, relation: int, end: int | None = None) -> Line:
        return f"{self.names[self.table[relation][start] if end is None else end]} {self.words[relation][1]} {self.names[start]}", len(self.names[start])

    def compose(self, c: Chain) -> Line:
        end = self.names[c.path[-1]]
        return f"{self.names[c.path[0]]} {' '.join([self.words[word][0] for word in c.words])} {end}", len(end)

    def ends(self) -> Iterator[tuple[str, str]]:
        """Every fact, reversal and chain of the set: what begins it, and its true end."""
        for statement, size in chain((f(a, r) for f in (self.fact, self.inverse) for a, r in self.facts), map(self.compose, self.chains)):
            yield statement[: -size - 1], statement[-size:]

    def follow(self, c: Chain) -> str:
        """The trace of a chain: its facts."""
        return joined([self.fact(*fact)[0] for fact in zip(c.path, c.words, c.path[1:], strict=False)])

    def search(self, tried: list[int], relation: int, ends: list[int] | None = None) -> str:
        """The trace of a reversal: one fact after another, the last of them being the one that was looked for."""
        return joined([self.fact(a, relation, ends[i] if ends else None)[0] for i, a in enumerate(tried)])

    # -- documents -------------------------------------------------------------------------------------------------------------------------------------

    def documents(self, questions: tuple[Question, ...]) -> Iterator[Document]:
        """Facts, answers of practice questions if the set is augmented, in-context sequences."""
        told = [(f"fact:{self.number}:{a}-{r}", self.fact(a, r)) for a, r in self.facts]
        if self.spec.augmented and self.number == 0:
            told += [(f"stated:{q.id}", (f"{q.prompt} {q.answers[0]}", len(q.answers[0]))) for q in questions if isinstance(q, Puzzle)]
        for id, (text, target) in told:
            yield Document(id, text, "augmented" if id.startswith("stated") else "world", ((len(text) - target, len(text)),))
        yield from self.recitals()
        yield from self.answers()
        filler = Filler(1, 0, self.stream("filler"), variants=1)
        yield from in_context(self.episodes(), filler, self.stream("filler", "episodes"), "episode:fresh", f"episode:{self.number}")

    def recitals(self) -> Iterator[Document]:
        """Stored facts one after the other, as a trace has them, but never two that make a chain."""
        draw, spec = self.stream("recitals"), self.spec
        for number in range(round(spec.recital_share * spec.episode_count / 2)):
            text, targets, before = "", [], -1
            facts = [self.facts[i] for i in draw.integers(0, len(self.facts), int(draw.integers(3, 7))).tolist()]
            if spec.same_recital_share and draw.random() < spec.same_recital_share:
                relation, most = int(draw.integers(spec.relations)), spec.entities if draw.random() < 0.5 else 6
                facts = [(start, relation) for start in draw.permutation(spec.entities)[:most].tolist()]
            for start, relation in facts:
                if start != before:
                    statement, size = self.fact(start, relation)
                    text += (" . " if text else "") + statement
                    targets.append((len(text) - size, len(text)))
                    before = self.table[relation][start]
            yield Document(f"recital:{self.number}:{number}", text, "recital", tuple(targets), "exercise")

    def answers(self) -> Iterator[Document]:
        """Traces about random facts and what follows from them, with nothing before: only the answer is a target. So a trace alone is known to be enough."""
        draw = self.stream("answers")
        for number in range(round(self.spec.answer_share * self.spec.episode_count / 2) if self.spec.thoughts == "fresh" else 0):
            *path, x, y = draw.permutation(self.spec.entities)[: self.spec.hops + 3].tolist()
            words = draw.integers(0, self.spec.relations, self.spec.hops).tolist()
            if self.spec.forms[number % len(self.spec.forms)] == "chain":
                made = Chain(tuple(path), tuple(words))
                (statement, size), trace = self.compose(made), self.follow(made)
            else:
                a, b, r = *path[:2], words[0]
                (statement, size), trace = self.inverse(a, r, b), self.search([x, a] if number % 4 < 2 else [a], r, [y, b] if number % 4 < 2 else [b])
            if statement not in self.forbidden:
                text = f"{ASK.format(question=statement[: -size - 1])} {trace}\n{statement}"
                yield Document(f"answer:{self.number}:{number}", text, "answer", ((len(text) - size, len(text)),), "exercise")

    def episodes(self) -> Iterator[list[Line]]:
        """Random facts, and what is asked of them."""
        spec, draw = self.spec, self.stream("episodes")
        hops, count = spec.hops, spec.episode_facts // spec.hops
        for n in blocks(spec.episode_count // 2):
            relations, entities = few_of_two(spec.relations, spec.entities, (n, hops * count, (hops + 1) * count), spec.one_relation_share, draw)
            sizes = draw.integers(1, count + 1, n).tolist()
            thinks = (draw.random((n, (hops + 2) * count)) < (spec.thought_share if spec.thoughts == "fresh" else 0.0)).tolist()
            picks = draw.integers(0, 1 << 30, (n, hops * count + 1)).tolist()
            drawn = zip(entities.reshape(n, count, hops + 1).tolist(), relations.reshape(n, count, hops).tolist(), strict=True)
            for (paths, words), size, think, pick in zip(drawn, sizes, thinks, picks, strict=True):
                facts: dict[tuple[int, int], int] = {}
                chains = [c for path, some in zip(paths[:size], words, strict=False) if (c := self.told(path, some, facts))]
                yield self.sequence(facts, chains, iter(think), pick)

    def told(self, path: list[int], words: list[int], facts: dict[tuple[int, int], int]) -> Chain | None:
        """The chain that leads along `path` as far as `facts`, to which it adds its own, do not say otherwise; None where there is none."""
        at = [path[0]]
        for word, after in zip(words, path[1:], strict=True):
            if after == at[-1]:
                if len(at) > 1:
                    return None
                after = (after + 1) % self.spec.entities
            at.append(facts.setdefault((at[-1], word), after))
        return Chain(tuple(at), tuple(words)) if at[-1] != at[0] else None

    def sequence(self, facts: dict[tuple[int, int], int], chains: list[Chain], think: Iterator[bool], picks: list[int]) -> list[Line]:
        """The facts; then the facts again, chains and reversals, each answered at once or, if `think` says so, after a trace."""
        shown = shuffle([(self.fact(a, r, b)[0], 0) for (a, r), b in facts.items()], picks)
        asked = [self.fact(a, r, b) for (a, r), b in facts.items()]
        if "chain" in self.spec.forms:
            for c in dict.fromkeys(chains):
                asked.append(self.thought(self.compose(c), self.follow(c), next(think)))
        if "reversal" in self.spec.forms:
            for i, ((a, r), b) in enumerate(facts.items()):
                same = [(x, y) for (x, q), y in facts.items() if q == r and x != a]
                if all(y != b for _, y in same):
                    before = same[: picks[i % len(picks)] % (len(same) + 1)]
                    trace = self.search([*(x for x, _ in before), a], r, [*(y for _, y in before), b])
                    asked.append(self.thought(self.inverse(a, r, b), trace, next(think)))
        return shown + shuffle([line for line in asked if line[0].split("\n")[-1] not in self.forbidden], picks, skip=12)

    def thought(self, line: Line, trace: str, think: bool) -> Line:
        """The question with its answer; if it is thought about, after the request to do so and the trace, whose words are targets too."""
        statement, size = line
        if not think:
            return line
        return f"{ASK.format(question=statement[: -size - 1])} {trace}\n{statement}", len(trace) + 1 + len(statement)

    # -- questions -------------------------------------------------------------------------------------------------------------------------------------

    def kind(self, name: str) -> str:
        return f"other_{name}" if self.number else name

    def kinds(self) -> Iterator[tuple[str, Kind]]:
        whose = "the second set, of which nothing was practised" if self.number else "the first set"
        for name, about in KINDS.items():
            if name == "one_hop" or (name == "reversal" and "reversal" in self.spec.forms) or (name == self.chained and "chain" in self.spec.forms):
                beside = None if name == "one_hop" else self.kind("one_hop")
                yield self.kind(name), Kind(f"{about}; {whose}", name != "one_hop", beside=beside, candidates=tuple(self.names), chance=1 / self.spec.entities)

    def questions(self) -> Iterator[Question]:
        """Facts, chains through the entities for testing, reversals to them; then the same of those for practice, with traces."""
        draw = self.stream("questions")
        for split in ("test", "practice"):
            mine = [b for b in range(self.spec.entities) if (b in self.practice) == (split == "practice")]
            chains = [c for c in self.chains if c.path[1] in mine]
            facts = [fact for fact in self.facts if (fact in self.rehearsed) == (split == "practice")]
            if split == "test":
                chains, reversals = self.some(chains, draw), self.some(facts, draw)
                asked = {bridge for c in chains if "chain" in self.spec.forms for bridge in c.path[1:-1]} | {
                    a for a, _ in reversals if "reversal" in self.spec.forms
                }
                yield from (self.question("one_hop", *fact, self.fact(*fact), (fact,), draw) for fact in facts if fact[0] in asked)
            else:
                reversals = facts
            if "chain" in self.spec.forms:
                for c in chains:
                    rest = "-".join(map(str, (c.path[0], *c.words)))
                    plain = self.question(self.chained, c.path[1], rest, self.compose(c), tuple(zip(c.path, c.words, strict=False)), draw)
                    yield practice(plain, self.follow(c)) if split == "practice" else plain
            if "reversal" in self.spec.forms:
                for a, r in reversals:
                    cluster = a if self.spec.split_by == "entities" else f"{a}-{r}"
                    plain = self.question("reversal", cluster, r, self.inverse(a, r), ((a, r),), draw)
                    tried = [x for x in draw.permutation(self.spec.entities).tolist() if x != a]
                    trace = self.search([*tried[: int(draw.integers(len(tried) + 1))], a], r)
                    yield practice(plain, trace) if split == "practice" else plain

    def some(self, items: list[Any], draw: np.random.Generator) -> list[Any]:
        """At most `asked` of them, in their order."""
        return [items[i] for i in sorted(draw.permutation(len(items))[: self.spec.asked].tolist())]

    def question(self, name: str, cluster: int | str, rest: object, line: Line, support: tuple[tuple[int, int], ...], draw: np.random.Generator) -> Question:
        """Wrong candidates are other entities of the set, never one that the question names."""
        statement, size = line
        prompt, answer = statement[: -size - 1], statement[-size:]
        choices = shuffled([answer, *others(self.names, {answer, prompt.split()[0]}, self.spec.options - 1, draw)], draw)
        told = tuple(f"fact:{self.number}:{a}-{r}" for a, r in support)
        return Question(f"{self.kind(name)}:{cluster}:{rest}", self.kind(name), prompt, (answer,), f"{self.number}:{cluster}", told, choices, answer_words=1)


def practice(question: Question, trace: str) -> Puzzle:
    """The question with its trace, for practice."""
    fields: dict[str, Any] = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    fields |= {"split": "practice", "trace": trace}
    return Puzzle(**fields)


CHAINED = {2: "two_hop", 3: "three_hop", 4: "four_hop"}
"""Facts of a chain -> the kind of question about it."""
KINDS = {
    "one_hop": "a fact, asked as it was told: proof that it was learned",
    "two_hop": "a chain of two facts, never stated",
    "three_hop": "a chain of three facts, never stated",
    "four_hop": "a chain of four facts, never stated",
    "reversal": "a fact asked from its end, never stated so",
}
