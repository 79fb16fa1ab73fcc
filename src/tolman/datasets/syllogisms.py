"""Two premises over three nonsense nouns in one document, and the conclusion that follows: all, some or no, in either direction.

After the simple syllogisms of Lampinen et al. 2025 (arXiv 2505.00661): 69 items, a lead-in naming the entities, six candidate conclusions, "some are not"
dropped everywhere. Which 69 the paper uses is not public: premises, words and lead-ins are ours. Only premises from which a conclusion follows are used.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, kinds_asked, one_right, with_practice
from tolman.datasets._pseudowords import lexicon, pseudowords

QUANTIFIERS = ("all", "some", "no")
TRAINED_LEAD_INS = (
    "Here is how {0}, {1} and {2} are related:", "Consider the relations between {0}, {1} and {2}:", "About {0}, {1} and {2} the following is known:",
    "Two facts about {0}, {1} and {2}:", "Let us talk about {0}, {1} and {2}:", "We study {0}, {1} and {2}:",
)  # fmt: skip
ASKED_LEAD_INS = (
    "Here is how {0} and {1} are related:", "Consider the relations between {0} and {1}:", "About {0} and {1} the following is known:",
    "A fact about {0} and {1}:", "Let us talk about {0} and {1}:", "We study {0} and {1}:",
)  # fmt: skip


class Claim(NamedTuple):
    """`quantifier subject are object`. In a form, subject and object are the places X, M, Y; in an item they are nouns."""

    quantifier: str
    subject: str
    object: str

    def statement(self) -> str:
        return f"{self.quantifier} {self.subject} are {self.object}"

    def of(self, nouns: dict[str, str]) -> "Claim":
        return Claim(self.quantifier, nouns[self.subject], nouns[self.object])


class Form(NamedTuple):
    """Two premises that share M, and the conclusions over X and Y that follow from them: the strongest, and all."""

    premises: tuple[Claim, Claim]
    strongest: tuple[Claim, ...]
    entailed: tuple[Claim, ...]


class Item(NamedTuple):
    """A form with nouns in its places."""

    form: Form
    nouns: dict[str, str]


class Syllogisms(Component):
    """Two premises over three nonsense nouns are trained in one document; which of up to six conclusions follows?"""

    items: int = Field(default=69, ge=3)
    """Number of items (the paper: 69). Conclusions with all, some and no are equally many; every item has three nouns of its own."""
    copies: int = Field(default=1, ge=1)
    """Documents for each item, each under a random lead-in and in a random order of the premises (the paper: 1)."""
    entailed: Literal["excluded", "counted_right"] = "excluded"
    """What becomes of the other conclusions that follow ("some" from "all"; the converse of "some" and "no"): they are no candidates, so that one answer is
    right and 4 or 5 candidates are left; or all six are candidates and 2 or 3 are right."""
    episodes: Literal["none", "fresh"] = "none"
    """In-context sequences, premises followed by conclusions: none (the paper), or of fresh random triples of the nouns, for models trained from scratch."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_items: int = Field(default=3, ge=1)
    """Up to this many syllogisms in one in-context sequence."""
    practice: float = Field(default=0.0, ge=0, lt=1)
    """Share of the items whose questions are set aside for practice."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"items": 345}, "paper": {}, "large": {"items": 1035}}
    example: ClassVar[dict[str, Any]] = {"items": 12, "copies": 2, "episodes": "fresh", "episode_count": 50}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if 3 * self.items > len(lexicon()):
            raise ValueError(f"items = {self.items} needs {3 * self.items} nonsense nouns, but only {len(lexicon())} exist")
        if self.episodes == "fresh" and self.episode_items > self.items:
            raise ValueError(f"episode_items = {self.episode_items} needs at least as many items, not {self.items}")
        return self

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`."""
        items = _items(self, seed)
        told = _told(self, seed, items)
        documents = [*_documents(told), *(_episodes(self, seed, items) if self.episodes == "fresh" else ())]
        questions = with_practice(_questions(self, seed, items, told[0]), self.practice, seed, "syllogisms")
        forbidden = tuple(claim.of(item.nouns).statement() for item in items for claim in CANDIDATES)
        counts = {f"conclusions with {q}": sum(item.form.strongest[0].quantifier == q for item in items) for q in QUANTIFIERS}
        return Corpus(tuple(documents), questions, kinds_asked(KINDS, questions), forbidden, {"items": len(items), **counts})


# -- logic ---------------------------------------------------------------------------------------------------------------------------------------------

CANDIDATES = tuple(Claim(quantifier, *pair) for quantifier in QUANTIFIERS for pair in ("XY", "YX"))


@cache
def models() -> tuple[frozenset[frozenset[str]], ...]:
    """Every model of three nouns, up to what these claims can tell apart: which kinds of thing exist, a kind being the set of nouns that are true of it.

    All claims speak of whether a kind exists, never of how many, so these models decide entailment for domains of every size. No noun is empty
    (existential import: "all X are Y" says that there are X), which leaves 218 of the 2 to the power 8 sets of kinds.
    """
    kinds = [frozenset(noun for noun, has in zip("XMY", bits, strict=True) if has) for bits in product((False, True), repeat=3)]
    subsets = (frozenset(kind for kind, exists in zip(kinds, bits, strict=True) if exists) for bits in product((False, True), repeat=len(kinds)))
    return tuple(model for model in subsets if frozenset("XMY") <= frozenset().union(*model))


def holds(claim: Claim, model: frozenset[frozenset[str]]) -> bool:
    """Whether `claim` is true in `model`."""
    of_subject = [claim.object in kind for kind in model if claim.subject in kind]
    return {"all": all(of_subject), "some": any(of_subject), "no": not any(of_subject)}[claim.quantifier]


@cache
def entails(premises: tuple[Claim, ...], claim: Claim) -> bool:
    """Whether `claim` is true in every model of the premises."""
    return all(holds(claim, model) for model in models() if all(holds(premise, model) for premise in premises))


@cache
def forms() -> dict[str, tuple[Form, ...]]:
    """By the quantifier of the strongest conclusion, every pair of premises (one over X and M, one over Y and M) that is consistent and from which one follows.

    The strongest conclusions entail all others that follow; where there are two they are each other's converse and say the same.
    """
    found: dict[str, list[Form]] = {quantifier: [] for quantifier in QUANTIFIERS}
    firsts, seconds = ([Claim(q, a, b) for q in QUANTIFIERS for a, b in (f"{end}M", f"M{end}")] for end in "XY")
    for premises in product(firsts, seconds):
        if not any(all(holds(premise, model) for premise in premises) for model in models()):
            continue
        entailed = tuple(claim for claim in CANDIDATES if entails(premises, claim))
        strongest = tuple(claim for claim in entailed if all(entails((claim,), other) for other in entailed))
        if entailed:
            assert strongest, f"no one conclusion of {premises} is the strongest"
            found[strongest[0].quantifier].append(Form(premises, strongest, entailed))
    return {quantifier: tuple(of) for quantifier, of in found.items()}


# -- texts ---------------------------------------------------------------------------------------------------------------------------------------------


def _items(spec: Syllogisms, seed: int) -> list[Item]:
    """Items whose conclusions go round all, some and no, and whose forms go round those that have such a conclusion."""
    draw = rng(seed, "syllogisms", "items")
    nouns = pseudowords(3 * spec.items, draw)
    order = {quantifier: [of[i] for i in draw.permutation(len(of)).tolist()] for quantifier, of in forms().items()}
    items = []
    for number in range(spec.items):
        of = order[QUANTIFIERS[number % 3]]
        items.append(Item(of[number // 3 % len(of)], dict(zip("XMY", nouns[3 * number : 3 * number + 3], strict=True))))
    return items


def _document_id(number: int, copy: int = 0) -> str:
    return f"item:{number}:{copy}"


def _premises(item: Item, draws: Draws) -> tuple[str, list[Claim]]:
    """A lead-in naming the three nouns in random order, and the premises in random order."""
    lead_in = draws.pick(TRAINED_LEAD_INS).format(*draws.shuffle(item.nouns.values()))
    return lead_in, [claim.of(item.nouns) for claim in draws.shuffle(item.form.premises)]


def _told(spec: Syllogisms, seed: int, items: list[Item]) -> list[list[tuple[str, list[Claim]]]]:
    """What the documents say: for each copy and item, its lead-in and premises."""
    draws = Draws(rng(seed, "syllogisms", "documents"))
    return [[_premises(item, draws) for item in items] for _ in range(spec.copies)]


def _documents(told: list[list[tuple[str, list[Claim]]]]) -> Iterator[Document]:
    for copy, items in enumerate(told):
        for number, (lead_in, (first, second)) in enumerate(items):
            text = f"{lead_in} {first.statement()}. {second.statement()}."
            yield Document(_document_id(number, copy), text, copy_of=_document_id(number) if copy else "")


def _episodes(spec: Syllogisms, seed: int, items: list[Item]) -> Iterator[Document]:
    """In-context sequences: the premises of fresh random triples, one document a line, then for each a conclusion or (one in three) a premise again; these are
    the targets. No two nouns of one item meet in a triple, so nothing about an item can be said by chance."""
    draws = Draws(rng(seed, "syllogisms", "episodes"))
    all_forms = [form for of in forms().values() for form in of]
    names = [list(item.nouns.values()) for item in items]
    for number in range(spec.episode_count):
        size = 1 + draws.below(spec.episode_items)
        fresh, lines = [], []
        for _ in range(size):
            triple = [draws.pick(of) for of in draws.sample_few(names, 3)]
            item = Item(draws.pick(all_forms), dict(zip("XMY", triple, strict=True)))
            if not any(set(triple) & set(other.nouns.values()) for other in fresh):
                fresh.append(item)
                lead_in, premises = _premises(item, draws)
                lines.append(f"{lead_in} {premises[0].statement()}. {premises[1].statement()}.")
        text, targets = "\n".join(lines), []
        for item in draws.shuffle(fresh):
            if draws.uniform() < 1 / 3:
                lead_in, (claim, _) = _premises(item, draws)
            else:
                lead_in = draws.pick(ASKED_LEAD_INS).format(*(item.nouns[end] for end in draws.shuffle("XY")))
                claim = draws.pick(item.form.strongest).of(item.nouns)
            text += f"\n{lead_in} {claim.statement()}"
            targets.append((len(text) - len(claim.statement()), len(text)))
            text += "."
        yield Document(f"episode:{number}", text, "episode:fresh", tuple(targets), role="exercise")


# -- questions -----------------------------------------------------------------------------------------------------------------------------------------


def _questions(spec: Syllogisms, seed: int, items: list[Item], told: list[tuple[str, list[Claim]]]) -> Iterator[Question]:
    """Premises are asked as the first document of the item states them, word for word."""
    draws = Draws(rng(seed, "syllogisms", "questions"))
    for number, (item, (lead_in, (first, second))) in enumerate(zip(items, told, strict=True)):
        for place, (prompt, premise) in enumerate(((lead_in, first), (f"{lead_in} {first.statement()}.", second))):
            same = () if premise.quantifier == "all" else (Claim(premise.quantifier, premise.object, premise.subject),)
            yield _asked(spec, f"premises:{number}:{place}", "premises", prompt, item, (premise, *same), draws)
    for number, item in enumerate(items):
        prompt = draws.pick(ASKED_LEAD_INS).format(*(item.nouns[end] for end in draws.shuffle("XY")))
        strongest = tuple(claim.of(item.nouns) for claim in draws.shuffle(item.form.strongest))
        yield _asked(spec, f"conclusion:{number}", "conclusion", prompt, item, strongest, draws)


def _asked(spec: Syllogisms, id: str, kind: str, prompt: str, item: Item, right: tuple[Claim, ...], draws: Draws) -> Question:
    """Candidates are all six claims over the two nouns of `right`; of those that follow from the premises only `right[0]` is kept, or all count as right."""
    place = {noun: end for end, noun in item.nouns.items()}
    pair = (right[0].subject, right[0].object)
    claims = [Claim(quantifier, *nouns) for quantifier in QUANTIFIERS for nouns in (pair, pair[::-1])]
    true = [claim.statement() for claim in claims if entails(item.form.premises, claim.of(place))]
    answers = tuple(claim.statement() for claim in right)
    if spec.entailed == "counted_right":
        answers = (*answers, *(statement for statement in true if statement not in answers))
        choices = tuple(draws.shuffle(claim.statement() for claim in claims))
    else:
        choices = tuple(draws.shuffle((answers[0], *(s for s in (claim.statement() for claim in claims) if s not in true))))
    number = id.split(":")[1]
    question = Question(id, kind, prompt, answers, number, (_document_id(int(number)),), choices, answer_words=4)
    assert set(answers) <= set(true), f"question {id!r}: an answer does not follow from the premises"
    return question if spec.entailed == "counted_right" else one_right(question, true)


KINDS: dict[str, dict[str, Any]] = {
    "premises": {"description": "the premises themselves, asked as they were trained: the first after its lead-in, the second after the first, word for word"},
    "conclusion": {"description": "the strongest conclusion that follows from the two premises", "latent": True, "beside": "premises"},
}
