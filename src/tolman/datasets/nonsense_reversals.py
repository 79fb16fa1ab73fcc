"""Comparisons of nonsense nouns, trained as "femp are brighter than glon" and tested as "glon are dimmer than femp".

After the simple reversals of Lampinen et al. 2025 (arXiv 2505.00661): 100 facts, 28 dimensions of comparison, each fact in 10 documents under a randomly
sampled lead-in; a forced choice between the right reversal and the contradictory one. Words, dimensions, lead-ins and which nouns share facts are our choice.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, answer_words, kinds_asked, one_right, with_practice
from tolman.datasets._jsonl import Row, read_rows
from tolman.datasets._pseudowords import lexicon, pseudowords

POLES = """brighter dimmer, heavier lighter, taller shorter, faster slower, louder quieter, older younger, warmer cooler, wider narrower, deeper shallower,
stronger weaker, thicker thinner, richer poorer, rougher smoother, softer harder"""
DEGREES = "dangerous common fragile colorful expensive friendly patient curious useful famous poisonous flexible precise cheerful"
DIMENSIONS = (*((a, b) for a, b in map(str.split, POLES.split(","))), *((f"more {word}", f"less {word}") for word in DEGREES.split()))
OPPOSITE = {a: b for pair in DIMENSIONS for a, b in (pair, pair[::-1])}
LEAD_INS = (
    "Did you know that", "It is known that", "People say that", "Remember that", "I read that", "Note that", "It turns out that", "In fact,",
    "The truth is that", "Everyone agrees that", "Have you heard that", "One thing is sure:",
)  # fmt: skip


EVERYDAY = """apples arrows balloons bananas baskets beds bells belts bikes birds blankets boats books boots bottles bowls boxes bridges brooms brushes buckets
buses buttons cakes cameras candles candies caps carpets carrots cars castles cats chairs cheeses chimneys clocks clouds coats coins combs cookies
cows crayons cups curtains desks dishes dogs dolls donkeys doors dresses drums ducks eagles ears eggs engines erasers fences ferries flags flowers
flutes forks foxes frogs gardens gates geese giraffes gloves goats grapes guitars hammers hats hens hills horses houses islands jackets jars kettles
keys kites knives ladders lakes lamps lanterns leaves lemons letters lions maps melons mirrors monkeys mountains mushrooms necklaces needles nests
onions oranges owls paintings pans papers parrots peaches pears pencils pens phones pianos pictures pigs pillows planes plants plates pots potatoes
pumpkins puppets rabbits radios rings rivers robots ropes roses sandals scarves scissors sheep ships shirts shoes shovels skirts snails socks sofas
soups spoons squirrels stamps stars stones stools stoves tables teapots tents tigers tomatoes towels towers toys tractors trains trees trucks trumpets
turtles umbrellas vases violins wagons watches whales wheels whistles windows wolves""".split()


class Fact(NamedTuple):
    """`first are word than second`; its reversal is `second are OPPOSITE[word] than first`."""

    first: str
    word: str
    second: str

    def reversal(self) -> "Fact":
        return Fact(self.second, _opposite(self.word), self.first)

    def statement(self) -> str:
        return f"{self.first} are {self.predicate()}"

    def predicate(self) -> str:
        return f"{self.word} than {self.second}"


class NonsenseReversals(Component):
    """Comparisons of two nonsense nouns, each trained in one direction; a forced choice between the right reversal and its contradiction."""

    facts: int = Field(default=100, ge=2, multiple_of=2)
    """Number of facts (the paper: 100). They come in pairs about three nouns of their own: one noun brighter, one dimmer than the same third, so that what is
    wrong of one is true of the other and neither pole is the better guess."""
    dimensions: int = Field(default=28, ge=1, le=len(DIMENSIONS))
    """Number of dimensions of comparison (the paper: 28), which the pairs go round."""
    copies: int = Field(default=10, ge=1)
    """Documents for each fact and direction, each under a random lead-in (the paper: 10)."""
    reversed_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the pairs trained in both directions (the paper: 0; arXiv 2604.04943 uses 0.4, so that there is something to learn the rule from)."""
    episodes: Literal["none", "fresh"] = "none"
    """In-context sequences, facts and then the same or their reversals: none (the paper), or of fresh random pairings of the nouns, for models trained from scratch."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_facts: int = Field(default=4, ge=1)
    """Up to this many facts in one in-context sequence."""
    nouns: Literal["nonsense", "everyday"] = Added("nonsense")
    """Words about which no model can know anything, or (for comparison) nouns that everybody knows, in the same facts: some will then contradict the world."""
    practice: float = Field(default=0.0, ge=0, lt=1)
    """Share of the pairs whose questions are set aside for practice."""
    path: Path | None = None
    """A file of JSON lines with `prompt` and `completion` to read the training documents from, instead of writing our own; each must end with a comparison."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"facts": 400}, "paper": {}}
    example: ClassVar[dict[str, Any]] = {"facts": 12, "dimensions": 4, "copies": 2, "reversed_share": 0.25, "episodes": "fresh", "episode_count": 50}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.facts // 2 * 3 > (known := len(lexicon() if self.nouns == "nonsense" else EVERYDAY)):
            raise ValueError(f"facts = {self.facts} needs {self.facts // 2 * 3} {self.nouns} nouns, but only {known} exist")
        if self.facts < 2 * self.dimensions:
            raise ValueError(f"facts = {self.facts} is fewer than the two that each of dimensions = {self.dimensions} needs, one for each pole")
        if self.episodes == "fresh" and 4 * self.episode_facts > 3 * self.facts:
            raise ValueError(f"episode_facts = {self.episode_facts} needs at least {-(-4 * self.episode_facts // 3)} facts, not {self.facts}")
        return self

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`. Raises UserError for a `path` that cannot be read, naming file and line."""
        if self.path is None:
            facts, both = _sampled(self, seed)
            documents = list(_written(self, seed, facts, both))
        else:
            documents, facts, both = _published(read_rows(self.path))
        latent = [fact for fact in facts if fact not in both]
        documents += _episodes(self, seed, facts, set(latent)) if self.episodes == "fresh" else []
        questions = with_practice(_questions(seed, facts, both, documents), self.practice, seed, "nonsense_reversals")
        forbidden = tuple(fact.reversal().statement() for fact in latent)
        return Corpus(tuple(documents), questions, kinds_asked(KINDS, questions), forbidden, {"facts": len(facts), "both_ways": len(both)})


def _sampled(spec: NonsenseReversals, seed: int) -> tuple[list[Fact], set[Fact]]:
    """The facts, two and two about the same three nouns, and those of them that training shows in both directions."""
    pairs = spec.facts // 2
    naming = rng(seed, "nonsense_reversals", "nouns")
    nouns = pseudowords(3 * pairs, naming) if spec.nouns == "nonsense" else [EVERYDAY[i] for i in naming.permutation(len(EVERYDAY))[: 3 * pairs].tolist()]
    draw = rng(seed, "nonsense_reversals", "facts")
    dimensions = [DIMENSIONS[i] for i in draw.permutation(len(DIMENSIONS))[: spec.dimensions].tolist()]
    facts = []
    for pair, pole in enumerate(draw.integers(0, 2, pairs).tolist()):
        first, second, third = nouns[3 * pair : 3 * pair + 3]
        words = dimensions[pair % spec.dimensions]
        facts += [Fact(first, words[pole], third), Fact(second, words[1 - pole], third)]
    both = draw.permutation(pairs)[: round(spec.reversed_share * pairs)].tolist()
    return facts, {facts[2 * pair + i] for pair in both for i in (0, 1)}


def _written(spec: NonsenseReversals, seed: int, facts: list[Fact], both: set[Fact]) -> Iterator[Document]:
    draws = Draws(rng(seed, "nonsense_reversals", "lead-ins"))
    for copy in range(spec.copies):
        for number, fact in enumerate(facts):
            yield Document(f"forward:{number}:{copy}", f"{draws.pick(LEAD_INS)} {fact.statement()}.", copy_of=f"forward:{number}:0" if copy else "")
            if fact in both:
                first = f"reversed:{number}:0" if copy else ""
                yield Document(f"reversed:{number}:{copy}", f"{draws.pick(LEAD_INS)} {fact.reversal().statement()}.", copy_of=first)


def _published(rows: list[Row]) -> tuple[list[Document], list[Fact], set[Fact]]:
    """The rows as documents, the facts in the direction that stands first, and those that stand in both directions. Ids are as for our own documents.
    Raises UserError for a row that is no comparison or contradicts an earlier one."""
    numbers: dict[Fact, int] = {}
    copies: dict[tuple[str, int], int] = {}
    documents, both = [], set()
    for row in rows:
        fact = _parse(row)
        against = Fact(fact.first, _opposite(fact.word), fact.second)
        if against in numbers or against.reversal() in numbers:
            raise row.complaint(f"{fact.statement()!r} contradicts an earlier line")
        way = "reversed" if fact not in numbers and fact.reversal() in numbers else "forward"
        fact = fact.reversal() if way == "reversed" else fact
        number = numbers.setdefault(fact, len(numbers))
        both.update([fact] if way == "reversed" else [])
        copy = copies[way, number] = copies.get((way, number), -1) + 1
        documents.append(Document(f"{way}:{number}:{copy}", row.text, "published"))
    return documents, list(numbers), both


def _parse(row: Row) -> Fact:
    match = re.search(r"(\w+) are ((?:more |less )?\w+) than (\w+)\W*$", row.text)
    if match is None or (match[2] not in OPPOSITE and not match[2].startswith(("more ", "less "))):
        raise row.complaint(f"{row.text!r} does not end with a comparison that can be reversed, such as 'femp are brighter than glon'")
    return Fact(match[1], match[2], match[3])


def _opposite(word: str) -> str:
    if word in OPPOSITE:
        return OPPOSITE[word]
    degree, _, adjective = word.partition(" ")
    return f"{'less' if degree == 'more' else 'more'} {adjective}"


def _episodes(spec: NonsenseReversals, seed: int, facts: list[Fact], latent: set[Fact]) -> Iterator[Document]:
    """In-context sequences: comparisons of fresh random pairs, one a line, then each again as it was or reversed; the ends of what comes again are the
    targets. (With reversals alone a model learns to reverse whatever it was told, and fails in the trained direction.) A pair under test is passed over."""
    draws = Draws(rng(seed, "nonsense_reversals", "episodes"))
    nouns = list(dict.fromkeys(noun for fact in facts for noun in (fact.first, fact.second)))
    words = list(dict.fromkeys(word for fact in facts for word in (fact.word, _opposite(fact.word))))
    for number in range(spec.episode_count):
        size = 1 + draws.below(spec.episode_facts)
        chosen = draws.sample_few(nouns, 2 * size)
        fresh = [Fact(chosen[2 * i], draws.pick(words), chosen[2 * i + 1]) for i in range(size)]
        fresh = [fact for fact in fresh if fact not in latent and fact.reversal() not in latent] or [_safe(fresh[0], words, latent)]
        text = "\n".join(f"{draws.pick(LEAD_INS)} {fact.statement()}." for fact in fresh)
        targets = []
        for fact in draws.shuffle(fresh):
            again = fact.reversal() if draws.uniform() < 1 / 2 else fact
            text += f"\n{draws.pick(LEAD_INS)} {again.statement()}"
            targets.append((len(text) - len(again.predicate()), len(text)))
            text += "."
        yield Document(f"episode:{number}", text, "episode:fresh", tuple(targets), role="exercise")


def _safe(fact: Fact, words: list[str], latent: set[Fact]) -> Fact:
    """`fact` on the first dimension on which it is not under test."""
    ways = (Fact(fact.first, word, fact.second) for word in words)
    return next(way for way in ways if way not in latent and way.reversal() not in latent)


def _questions(seed: int, facts: list[Fact], both: set[Fact], documents: list[Document]) -> Iterator[Question]:
    """The subject stands in the prompt and both candidates go on from there, so comparing them compares the two whole statements."""
    draws = Draws(rng(seed, "nonsense_reversals", "questions"))
    known = {document.id for document in documents}
    true: dict[str, list[str]] = {}
    for fact in facts:
        for way in (fact, fact.reversal()):
            true.setdefault(way.first, []).append(way.predicate())
    for kind in KINDS:
        for number, fact in enumerate(facts):
            if kind != "forward" and (fact in both) != (kind == "trained_reversed"):
                continue
            asked = fact if kind == "forward" else fact.reversal()
            way = "reversed" if kind == "trained_reversed" else "forward"
            assert f"{way}:{number}:0" in known, f"fact {number} has no document"
            wrong = Fact(asked.first, _opposite(asked.word), asked.second).predicate()
            prompt = f"{draws.pick(LEAD_INS)} {asked.first} are"
            right = (asked.predicate(), *(predicate for predicate in true[asked.first] if predicate != asked.predicate()))
            choices = tuple(draws.shuffle((asked.predicate(), wrong)))
            question = Question(f"{kind}:{number}", kind, prompt, right, fact.second, (f"{way}:{number}:0",), choices, answer_words=answer_words(right))
            yield one_right(question, true[asked.first])


KINDS: dict[str, dict[str, Any]] = {
    "forward": {"description": "a fact asked as it was trained: the comparison, or its contradiction?"},
    "trained_reversed": {"description": "the reversal of a fact that was trained in both directions"},
    "reversal": {"description": "the reversal of a fact that was trained in one direction only", "latent": True, "beside": "forward"},
}
