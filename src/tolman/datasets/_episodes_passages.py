"""The passages of `episodes`: a few facts that hold there and nowhere else, told in some format, and what can be asked about them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tolman.datasets import _episodes_words as words
from tolman.datasets._asking import Draws
from tolman.datasets._episodes_words import Split, Wordings
from tolman.datasets.syllogisms import CANDIDATES, Claim, forms

KINDS = ("forward", "reversed", "two_hop", "syllogism", "comparison")


class Fact(NamedTuple):
    """`a` is related to `b` in the manner of `relation` (its place among the passage's relations)."""

    relation: int
    a: str
    b: str


class Asked(NamedTuple):
    """A question: its kind, what is to be completed or answered, the one answer, and wrong ones.

    `beside` counts the candidates that stand in a fact with what is named, the answer among them: 1 where finding the name is finding the answer. None: not known.
    """

    kind: str
    prompt: str
    answer: str
    wrong: tuple[str, ...]
    beside: int | None = None


class Passage(NamedTuple):
    text: str
    asked: tuple[Asked, ...]


class Author:
    """Writes the passages of a split. Tests use each name in one passage only, so that what is wrong in one passage is not stated in another."""

    def __init__(self, split: Split, draws: Draws, *, questions: int, options: int, plain_share: float = 0.0) -> None:
        self.split: Split = split
        self.draws = draws
        self.questions, self.options, self.facts, self.plain_share = questions, options, 0, plain_share
        self.lead_ins = 0.0
        self._left: dict[str, list[str]] = {}
        self._here: dict[str, None] = {}

    def passage(self, facts: int) -> Passage:
        """A new passage of so many facts, of one of the families. In practice, names of earlier ones may come again."""
        self.facts = facts
        self._here.clear()
        if self.plain_share and self.draws.uniform() < self.plain_share:
            return _plain(self)
        return self.draws.pick((_related, _related, _related, _classes, _classes, _compared, _syllogisms))(self)

    def take(self, style: str, count: int) -> list[str]:
        """`count` names that the passage does not have yet."""
        pool = words.pool(style, self.split)
        if self.split == "practice":
            fresh = [name for name in self.draws.sample_few(pool, min(len(pool), count + len(self._here))) if name not in self._here][:count]
            self._here.update(dict.fromkeys(fresh))
            assert len(fresh) == count, f"there are not {count} more names of style {style!r}"
            return fresh
        if style not in self._left:
            self._left[style] = self.draws.shuffle(pool)
        left = self._left[style]
        assert len(left) >= count, f"the names of style {style!r} are used up"
        taken = left[-count:]
        del left[-count:]
        return taken

    def people(self, count: int) -> list[str]:
        styles = ("first", "full", "full", "invented") if self.split == "practice" else ("full", "invented")
        return self.take(self.draws.pick(styles), count)

    def things(self, count: int) -> list[str]:
        styles = ("titled", "invented", "full") if self.split == "practice" else ("invented", "full")
        return self.take(self.draws.pick(styles), count)

    def nouns(self, count: int) -> list[str]:
        styles = ("short", "noun") if self.split == "practice" else ("noun",)
        return self.take(self.draws.pick(styles), count)

    def settle(self) -> None:
        """Decide whether this passage's sentences and prompts have lead-ins now and then."""
        self.lead_ins = 0.4 if self.draws.uniform() < 0.4 else 0.0

    def begun(self, wording: str, **ends: str) -> str:
        """`wording` about `ends` as the beginning of a sentence, now and then behind a lead-in. Nonsense nouns are written alike everywhere."""
        text = wording.format(**ends)
        named = wording.startswith("{") and not text.startswith("the ")
        if self.draws.uniform() < self.lead_ins:
            return f"{self.draws.pick(words.LEAD_INS[self.split])} {text if named else text[0].lower() + text[1:]}"
        return text if named else text[0].upper() + text[1:]

    def asked(self, statement: str, question: str) -> str:
        """A prompt: a statement to complete, a question in words, or such a question with the answer begun."""
        at = self.draws.uniform()
        if at < 0.65 or not question:
            return statement
        return question[0].upper() + question[1:] if at < 0.85 else f"Question: {question[0].upper() + question[1:]} Answer:"

    def chosen(self, asked: Sequence[Asked]) -> tuple[Asked, ...]:
        """As many of what can be asked as there are to be questions, at least one of them forward. In practice most are reversed, for that is what is hard."""
        by_kind = {kind: self.draws.shuffle(a for a in asked if a.kind == kind) for kind in KINDS}
        forward, backward = (2, 4) if self.split == "practice" else (3, 3)
        share = {"forward": forward, "reversed": backward, "two_hop": 2, "syllogism": 5, "comparison": 5}
        queue = [kind for kind in KINDS for _ in range(share[kind]) if by_kind[kind]]
        order = ["forward", *self.draws.shuffle(queue[1:])] if queue and queue[0] == "forward" else []
        chosen: list[Asked] = []
        while len(chosen) < self.questions and any(by_kind[kind] for kind in order):
            for kind in order:
                if by_kind[kind] and len(chosen) < self.questions:
                    chosen.append(by_kind[kind].pop())
        return tuple({a.prompt: a for a in chosen}.values())


# -- relations between two ends ------------------------------------------------------------------------------------------------------------------------


def _related(author: Author) -> Passage:
    """People: who does what to whom, what is whose, who is who. Each person stands at both ends of facts."""
    draws, split = author.draws, author.split
    people = author.people(max(author.options + 1, min(author.facts - 1, 4 + draws.below(4))))
    relations, ends = [draws.pick(words.verbs(split))], [people]
    while len(relations) < 2 + draws.below(2):
        what = draws.below(3)
        if what == 0:
            relations.append(draws.pick([v for v in words.verbs(split) if v not in relations]))
            ends.append(people)
        elif what == 1:
            relations.append(draws.pick([n for n in words.nouns(split) if n not in relations]))
            ends.append(author.things(len(people)) if draws.uniform() < 0.7 else people)
        else:
            relations.append(draws.pick([t for t in words.TITLES[split] if t not in relations] or words.nouns(split)))
            ends.append(words.descriptions(split, draws, len(people)))
    return _told(author, relations, people, ends)


def _plain(author: Author) -> Passage:
    """People again, each name in one fact of the passage: whoever finds the name has found the fact."""
    draws, split = author.draws, author.split
    author.settle()
    firsts, seconds = (author.take(draws.pick(("full", "full", "invented")), author.facts) for _ in range(2))
    relations: list[Wordings] = []
    ends: list[Sequence[str]] = []
    for _ in range(1 + draws.below(3)):
        wordings = draws.pick(
            [w for w in draws.pick((words.verbs(split), words.nouns(split), words.TITLES[split])) if w not in relations] or words.nouns(split)
        )
        relations.append(wordings)
        ends.append(words.descriptions(split, draws, author.facts) if wordings in words.TITLES[split] else seconds)
    true = [Fact(i % len(relations), a, ends[i % len(relations)][i]) for i, a in enumerate(firsts)]
    return _written(author, relations, draws.shuffle(true))


def _classes(author: Author) -> Passage:
    """Kinds of nonsense things: what they are, do, have, depend on."""
    draws, split = author.draws, author.split
    nouns = author.nouns(author.options + 2)
    relations = draws.sample(words.CLASSES[split], 1 + draws.below(2) if split == "practice" else 2)
    cycle = [draws.uniform() < 0.5 and relation is not words.CLASSES[split][0] for relation in relations]  # what is a kind of what goes round in no circle
    ends = [nouns if same else author.nouns(len(nouns)) for same in cycle]
    return _told(author, relations, nouns, ends)


def _told(author: Author, relations: Sequence[Wordings], firsts: Sequence[str], ends: Sequence[Sequence[str]]) -> Passage:
    """Facts in which each relation is one to one, told in one direction each, and asked in both and across two."""
    draws = author.draws
    author.settle()
    possible = [f for r, end in enumerate(ends) for f in _matched(draws, r, firsts, end)]
    true = [f for f in possible if f.relation == 0][: max(author.options, author.facts // 2)]
    return _written(author, relations, draws.shuffle([*true, *draws.sample([f for f in possible if f not in true], author.facts - len(true))]))


def _written(author: Author, relations: Sequence[Wordings], true: Sequence[Fact]) -> Passage:
    """The facts in this order, each told in one direction, and what can be asked about them."""
    draws = author.draws
    towards = {fact: draws.uniform() < 0.5 for fact in true}
    sentences = []
    for fact in true:
        ways = relations[fact.relation].to_b if towards[fact] else relations[fact.relation].to_a
        end = fact.b if towards[fact] else fact.a
        sentences.append((author.begun(draws.pick(ways), a=fact.a, b=fact.b), end, _question(draws, relations[fact.relation], fact, towards[fact])))
    asked = []
    for fact in draws.shuffle(true):
        for kind in ("forward", "reversed"):
            to_b = towards[fact] == (kind == "forward")
            ways = relations[fact.relation].to_b if to_b else relations[fact.relation].to_a
            prompt = author.asked(author.begun(draws.pick(ways), a=fact.a, b=fact.b), _question(draws, relations[fact.relation], fact, to_b))
            asked.append(_among(author, kind, prompt, fact, to_b, true))
    asked += _two_hops(author, relations, true)
    return Passage(formatted(author, sentences), author.chosen([a for a in asked if a]))


def _matched(draws: Draws, relation: int, firsts: Sequence[str], ends: Sequence[str]) -> list[Fact]:
    """Facts that pair each of `firsts` with another of `ends`, in random order. Over one set of names: a cycle, so nothing is its own other end."""
    order = draws.shuffle(firsts)
    if firsts is ends:
        return draws.shuffle(Fact(relation, a, b) for a, b in zip(order, [*order[1:], order[0]], strict=True))
    return draws.shuffle(Fact(relation, a, b) for a, b in zip(order, draws.shuffle(ends), strict=True))


def _question(draws: Draws, relation: Wordings, fact: Fact, to_b: bool) -> str:
    ways = relation.ask_b if to_b else relation.ask_a
    return draws.pick(ways).format(a=fact.a, b=fact.b) if ways else ""


def _among(author: Author, kind: str, prompt: str, fact: Fact, to_b: bool, true: Sequence[Fact]) -> Asked | None:
    """The question with wrong candidates from the same passage. First what a hasty reader would take: the other neighbours of the known end, in the other role or by
    another relation; then what stands in the place of the answer in other facts; then anything."""
    draws, needed = author.draws, author.options - 1
    known, answer = (fact.a, fact.b) if to_b else (fact.b, fact.a)
    near = [end for f in true for end in (f.a, f.b) if known in (f.a, f.b) and end != known]
    same = [f.b if to_b else f.a for f in true if f.relation == fact.relation]
    rest = [end for f in true for end in (f.a, f.b)]
    wrong: dict[str, None] = dict.fromkeys([*draws.shuffle(near), *draws.shuffle(same), *draws.shuffle(rest)])
    usable = [w for w in wrong if w not in (answer, known) and w.startswith("the ") == answer.startswith("the ")]
    wrong_ones = tuple(usable[:needed])
    beside = 1 + len({*near} & {*wrong_ones}) if kind != "two_hop" else None
    return Asked(kind, prompt, answer, wrong_ones, beside) if len(usable) >= needed else None


def _two_hops(author: Author, relations: Sequence[Wordings], true: Sequence[Fact]) -> Iterator[Asked | None]:
    """Chains of two facts that share a name. The shared one is not named, but described by the other fact."""
    for first in author.draws.sample(true, 4):
        for second in true:
            for from_a, bridge, start in ((True, first.b, first.a), (False, first.a, first.b)):
                phrase = (relations[first.relation].the_b if from_a else relations[first.relation].the_a).format(a=first.a, b=first.b)
                if first == second or not phrase:
                    continue
                for to_b, middle, answer in ((True, second.a, second.b), (False, second.b, second.a)):
                    if middle != bridge or answer in (start, bridge):
                        continue
                    ways = relations[second.relation].to_b if to_b else relations[second.relation].to_a
                    prompt = author.begun(author.draws.pick(ways), **{"a" if to_b else "b": phrase})
                    yield _among(author, "two_hop", prompt, second, to_b, true)


# -- comparisons ---------------------------------------------------------------------------------------------------------------------------------------


def _compared(author: Author) -> Passage:
    """`a is sweeter than b`, asked again or from the other end, where it takes the opposite word. Wrong are the opposite, and what is true of others."""
    draws, split, facts = author.draws, author.split, author.facts
    author.settle()
    style = draws.pick(("noun", "people", "noun"))
    known = author.people(2 * facts) if style == "people" and len(words.pool("first", split)) >= 2 * facts else author.nouns(2 * facts)
    scales = draws.sample(words.poles(split), max(2, facts // 3))
    begin = draws.sample(words.COMPARED[split], 1 + draws.below(2))
    true = []
    for i in range(facts):
        poles = scales[i // 2 % len(scales)]
        pole = i % 2
        true.append((known[2 * i], poles[pole], known[2 * i + 1], poles[1 - pole]))
    true = draws.shuffle(true)
    sentences = [(author.begun(draws.pick(begin), a=a), f"{word} than {b}", "") for a, word, b, _ in true]
    asked = []
    for a, word, b, opposite in draws.shuffle(true):
        others = [f"{w} than {c}" for _, w, c, _ in draws.shuffle(true) if c not in (a, b)]
        for kind, first, right, wrong in (
            ("forward", a, f"{word} than {b}", f"{opposite} than {b}"),
            ("comparison", b, f"{opposite} than {a}", f"{word} than {a}"),
        ):
            prompt = author.begun(draws.pick(words.COMPARED[split]), a=first)
            asked.append(Asked(kind, prompt, right, (wrong, *others[: author.options - 2])))
    return Passage(formatted(author, sentences), author.chosen(asked))


# -- syllogisms ----------------------------------------------------------------------------------------------------------------------------------------


def _syllogisms(author: Author) -> Passage:
    """Pairs of premises that share a noun, the premises of several pairs mixed. Asked are the premises themselves, and the strongest conclusion of each pair."""
    draws, split, wrongs = author.draws, author.split, author.options - 1
    author.settle()
    say = draws.pick(words.CLAIMS[split])

    def said(claim: Claim) -> str:
        return say[claim.quantifier].format(s=claim.subject, o=claim.object)

    by_conclusion, turn = list(forms().values()), draws.below(3)
    count = max(2, author.facts // 2)
    taken = author.nouns(3 * count)
    pairs = [(draws.pick(by_conclusion[(i + turn) % 3]), dict(zip("XMY", taken[3 * i : 3 * i + 3], strict=True))) for i in range(count)]
    sentences, asked = [], []
    for form, nouns in pairs:
        for claim in form.premises:
            text = said(claim.of(nouns))
            end = nouns[claim.object]
            assert text.endswith(end), text
            start = text.removesuffix(end).rstrip()
            others = [n for _, other in pairs if other is not nouns for n in other.values()]
            sentences.append((author.begun(start), end, ""))
            asked.append(Asked("forward", author.begun(start), end, tuple(draws.sample(others, wrongs))))
        strongest = draws.pick(form.strongest)
        false = [claim for claim in CANDIDATES if claim not in form.entailed]
        prompt = draws.pick(words.CONCLUDING[split]).format(*draws.shuffle((nouns["X"], nouns["Y"])))
        wrong = tuple(said(claim.of(nouns)) for claim in draws.sample(false, wrongs))
        asked.append(Asked("syllogism", prompt, said(strongest.of(nouns)), wrong))
    order = draws.shuffle(range(len(sentences)))
    mixed = [sentences[i] for i in order] if draws.uniform() < 0.5 else sentences
    return Passage(formatted(author, mixed), author.chosen(asked))


# -- formats -------------------------------------------------------------------------------------------------------------------------------------------

Sentence = tuple[str, str, str]
"""What begins a sentence, the end that a question asks for, and a question in words (or none)."""


def formatted(author: Author, sentences: Sequence[Sentence]) -> str:
    """The sentences in one of the formats in which documents stand in context: one a line, a list, titled passages, questions with answers."""
    draws, split = author.draws, author.split
    plain = [f"{begin} {end}{draws.pick(words.TAILS[split]) if draws.uniform() < 0.1 else ''}." for begin, end, _ in sentences]
    ways: tuple[Callable[[], str], ...] = (
        lambda: "\n".join(plain),
        lambda: "\n".join((draws.pick(words.HEADINGS[split]), *(f"- {text}" for text in plain))),
        lambda: "\n".join(f"{i}. {text}" for i, text in enumerate(plain, 1)),
        lambda: "\n".join(f"Question: {q[0].upper() + q[1:]} Answer: {end}." if q else text for text, (_, end, q) in zip(plain, sentences, strict=True)),
        lambda: _titled(author, plain),
    )
    at = draws.uniform()
    return ways[0 if at < 0.5 else 1 if at < 0.6 else 2 if at < 0.65 else 3 if at < 0.75 else 4]()


def _titled(author: Author, plain: Sequence[str]) -> str:
    """Passages of a few sentences, each under a title and with some filler."""
    draws, split = author.draws, author.split
    parts = []
    for at in range(0, len(plain), 4):
        body = list(plain[at : at + 4])
        if draws.uniform() < 0.4:
            body.insert(draws.below(len(body) + 1), draws.pick(words.FILLER))
        parts.append(f"{draws.pick(words.HEADINGS[split]).rstrip(':')}, {at // 4 + 1}\n{' '.join(body)}")
    return "\n".join(parts)
