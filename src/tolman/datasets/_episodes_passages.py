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
    """A question: its kind, what is to be completed or answered, the one answer, and wrong ones."""

    kind: str
    prompt: str
    answer: str
    wrong: tuple[str, ...]


class Passage(NamedTuple):
    text: str
    asked: tuple[Asked, ...]


class Names:
    """Names of a split. Tests use each name in one passage only, so that what is wrong in one passage is not stated in another."""

    def __init__(self, split: Split, draws: Draws) -> None:
        self.split, self.draws = split, draws
        self._left: dict[str, list[str]] = {}
        self._here: dict[str, None] = {}

    def begin(self) -> None:
        """A new passage: in practice, names of earlier ones may come again."""
        self._here.clear()

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


class Writer:
    """Words facts and questions of one passage. It uses lead-ins and questions in words or not, the passage through."""

    def __init__(self, split: Split, draws: Draws) -> None:
        self.split, self.draws = split, draws
        self.lead_ins = 0.4 if draws.uniform() < 0.4 else 0.0

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


def passage(split: Split, draws: Draws, names: Names, *, facts: int, questions: int, options: int) -> Passage:
    """A passage of `facts` facts, of one of the families."""
    names.begin()
    family = draws.pick((_related, _related, _related, _classes, _classes, _compared, _syllogisms))
    return family(split, draws, names, facts, questions, options)


# -- relations between two ends ------------------------------------------------------------------------------------------------------------------------


def _related(split: Split, draws: Draws, names: Names, facts: int, questions: int, options: int) -> Passage:
    """People: who does what to whom, what is whose, who is who. Each person stands at both ends of facts."""
    people = names.people(max(options + 1, min(facts - 1, 4 + draws.below(4))))
    relations, ends = [draws.pick(words.verbs(split))], [people]
    while len(relations) < 2 + draws.below(2):
        what = draws.below(3)
        if what == 0:
            relations.append(draws.pick([v for v in words.verbs(split) if v not in relations]))
            ends.append(people)
        elif what == 1:
            relations.append(draws.pick([n for n in words.nouns(split) if n not in relations]))
            ends.append(names.things(len(people)) if draws.uniform() < 0.7 else people)
        else:
            relations.append(draws.pick([t for t in words.TITLES[split] if t not in relations] or words.nouns(split)))
            ends.append(words.descriptions(split, draws, len(people)))
    return _told(split, draws, relations, [people] * len(relations), ends, facts, questions, options)


def _classes(split: Split, draws: Draws, names: Names, facts: int, questions: int, options: int) -> Passage:
    """Kinds of nonsense things: what they are, do, have, depend on."""
    nouns = names.nouns(options + 2)
    relations = draws.sample(words.CLASSES[split], 1 + draws.below(2) if split == "practice" else 2)
    cycle = [draws.uniform() < 0.5 and relation is not words.CLASSES[split][0] for relation in relations]  # what is a kind of what goes round in no circle
    ends = [nouns if same else names.nouns(len(nouns)) for same in cycle]
    return _told(split, draws, relations, [nouns] * len(relations), ends, facts, questions, options)


def _told(
    split: Split, draws: Draws, relations: list[Wordings], firsts: list[list[str]], ends: list[list[str]], facts: int, questions: int, options: int
) -> Passage:
    """Facts in which each relation is one to one, told in one direction each, and asked in both and across two."""
    writer = Writer(split, draws)
    possible = [f for r, (first, end) in enumerate(zip(firsts, ends, strict=True)) for f in _matched(draws, r, first, end)]
    true = [f for f in possible if f.relation == 0][: max(options, facts // 2)]
    true = draws.shuffle([*true, *draws.sample([f for f in possible if f not in true], facts - len(true))])
    towards = {fact: draws.uniform() < 0.5 for fact in true}
    sentences = []
    for fact in true:
        ways = relations[fact.relation].to_b if towards[fact] else relations[fact.relation].to_a
        end = fact.b if towards[fact] else fact.a
        sentences.append((writer.begun(draws.pick(ways), a=fact.a, b=fact.b), end, _question(draws, relations[fact.relation], fact, towards[fact])))
    asked = []
    for fact in draws.shuffle(true):
        for kind in ("forward", "reversed"):
            to_b = towards[fact] == (kind == "forward")
            ways = relations[fact.relation].to_b if to_b else relations[fact.relation].to_a
            prompt = writer.asked(writer.begun(draws.pick(ways), a=fact.a, b=fact.b), _question(draws, relations[fact.relation], fact, to_b))
            asked.append(_among(draws, kind, prompt, fact.b if to_b else fact.a, fact, to_b, true, options))
    asked += _two_hops(writer, draws, relations, true, options)
    return Passage(formatted(split, draws, sentences), _chosen(draws, [a for a in asked if a], questions, split))


def _matched(draws: Draws, relation: int, firsts: Sequence[str], ends: Sequence[str]) -> list[Fact]:
    """Facts that pair each of `firsts` with another of `ends`, in random order. Over one set of names: a cycle, so nothing is its own other end."""
    order = draws.shuffle(firsts)
    if firsts is ends:
        return draws.shuffle(Fact(relation, a, b) for a, b in zip(order, [*order[1:], order[0]], strict=True))
    return draws.shuffle(Fact(relation, a, b) for a, b in zip(order, draws.shuffle(ends), strict=True))


def _question(draws: Draws, relation: Wordings, fact: Fact, to_b: bool) -> str:
    ways = relation.ask_b if to_b else relation.ask_a
    return draws.pick(ways).format(a=fact.a, b=fact.b) if ways else ""


def _among(draws: Draws, kind: str, prompt: str, answer: str, fact: Fact, to_b: bool, true: Sequence[Fact], options: int) -> Asked | None:
    """The question with wrong candidates from the same passage. First what a hasty reader would take: the other neighbours of the known end, in the other role or by
    another relation; then what stands in the place of the answer in other facts; then anything."""
    known = fact.a if to_b else fact.b
    near = [end for f in true for end in (f.a, f.b) if known in (f.a, f.b) and end != known]
    same = [f.b if to_b else f.a for f in true if f.relation == fact.relation]
    rest = [end for f in true for end in (f.a, f.b)]
    wrong: dict[str, None] = dict.fromkeys([*draws.shuffle(near), *draws.shuffle(same), *draws.shuffle(rest)])
    usable = [w for w in wrong if w not in (answer, known) and w.startswith("the ") == answer.startswith("the ")]
    return Asked(kind, prompt, answer, tuple(usable[: options - 1])) if len(usable) >= options - 1 else None


def _two_hops(writer: Writer, draws: Draws, relations: Sequence[Wordings], true: Sequence[Fact], options: int) -> Iterator[Asked | None]:
    """Chains of two facts that share a name. The shared one is not named, but described by the other fact."""
    for first in draws.sample(true, 4):
        for second in true:
            for from_a, bridge, start in ((True, first.b, first.a), (False, first.a, first.b)):
                phrase = (relations[first.relation].the_b if from_a else relations[first.relation].the_a).format(a=first.a, b=first.b)
                if first == second or not phrase:
                    continue
                for to_b, middle, answer in ((True, second.a, second.b), (False, second.b, second.a)):
                    if middle != bridge or answer in (start, bridge):
                        continue
                    ways = relations[second.relation].to_b if to_b else relations[second.relation].to_a
                    prompt = writer.begun(draws.pick(ways), **{"a" if to_b else "b": phrase})
                    yield _among(draws, "two_hop", prompt, answer, second, to_b, true, options)


def _chosen(draws: Draws, asked: Sequence[Asked], questions: int, split: Split) -> tuple[Asked, ...]:
    """`questions` of what can be asked, at least one of them forward: half in practice are reversed, for that is what is hard."""
    by_kind = {kind: draws.shuffle(a for a in asked if a.kind == kind) for kind in KINDS}
    share = {"forward": 2 if split == "practice" else 3, "reversed": 4 if split == "practice" else 3, "two_hop": 2, "syllogism": 5, "comparison": 5}
    queue = [kind for kind in KINDS for _ in range(share[kind]) if by_kind[kind]]
    order = ["forward", *draws.shuffle(queue[1:])] if queue and queue[0] == "forward" else []
    chosen: list[Asked] = []
    while order and len(chosen) < questions and any(by_kind[kind] for kind in order):
        for kind in order:
            if by_kind[kind] and len(chosen) < questions:
                chosen.append(by_kind[kind].pop())
    return tuple(dict((a.prompt, a) for a in chosen).values())


# -- comparisons ---------------------------------------------------------------------------------------------------------------------------------------


def _compared(split: Split, draws: Draws, names: Names, facts: int, questions: int, options: int) -> Passage:
    """`a is sweeter than b`, asked again or from the other end, where it takes the opposite word. Wrong are the opposite, and what is true of others."""
    writer = Writer(split, draws)
    style = draws.pick(("noun", "people", "noun"))
    known = names.people(2 * facts) if style == "people" and len(words.pool("first", split)) >= 2 * facts else names.nouns(2 * facts)
    scales = draws.sample(words.poles(split), max(2, facts // 3))
    begin = draws.sample(words.COMPARED[split], 1 + draws.below(2))
    true = []
    for i in range(facts):
        poles = scales[i // 2 % len(scales)]
        pole = i % 2
        true.append((known[2 * i], poles[pole], known[2 * i + 1], poles[1 - pole]))
    true = draws.shuffle(true)
    sentences = [(writer.begun(draws.pick(begin), a=a), f"{word} than {b}", "") for a, word, b, _ in true]
    asked = []
    for a, word, b, opposite in draws.shuffle(true):
        others = [f"{w} than {c}" for _, w, c, _ in draws.shuffle(true) if c not in (a, b)]
        for kind, first, right, wrong in (
            ("forward", a, f"{word} than {b}", f"{opposite} than {b}"),
            ("comparison", b, f"{opposite} than {a}", f"{word} than {a}"),
        ):
            prompt = writer.begun(draws.pick(words.COMPARED[split]), a=first)
            asked.append(Asked(kind, prompt, right, (wrong, *others[: options - 2])))
    return Passage(formatted(split, draws, sentences), _chosen(draws, asked, questions, split))


# -- syllogisms ----------------------------------------------------------------------------------------------------------------------------------------


def _syllogisms(split: Split, draws: Draws, names: Names, facts: int, questions: int, options: int) -> Passage:
    """Pairs of premises that share a noun, the premises of several pairs mixed. Asked are the premises themselves, and the strongest conclusion of each pair."""
    writer = Writer(split, draws)
    say = draws.pick(words.CLAIMS[split])

    def said(claim: Claim) -> str:
        return say[claim.quantifier].format(s=claim.subject, o=claim.object)

    by_conclusion, turn = list(forms().values()), draws.below(3)
    count = max(2, facts // 2)
    taken = names.nouns(3 * count)
    pairs = [(draws.pick(by_conclusion[(i + turn) % 3]), dict(zip("XMY", taken[3 * i : 3 * i + 3], strict=True))) for i in range(count)]
    sentences, asked = [], []
    for form, nouns in pairs:
        for claim in form.premises:
            text = said(claim.of(nouns))
            end = nouns[claim.object]
            assert text.endswith(end), text
            start = text.removesuffix(end).rstrip()
            others = [n for _, other in pairs if other is not nouns for n in other.values()]
            sentences.append((writer.begun(start), end, ""))
            asked.append(Asked("forward", writer.begun(start), end, tuple(draws.sample(others, options - 1))))
        strongest = draws.pick(form.strongest)
        false = [claim for claim in CANDIDATES if claim not in form.entailed]
        prompt = draws.pick(words.CONCLUDING[split]).format(*draws.shuffle((nouns["X"], nouns["Y"])))
        wrong = tuple(said(claim.of(nouns)) for claim in draws.sample(false, options - 1))
        asked.append(Asked("syllogism", prompt, said(strongest.of(nouns)), wrong))
    order = draws.shuffle(range(len(sentences)))
    mixed = [sentences[i] for i in order] if draws.uniform() < 0.5 else sentences
    return Passage(formatted(split, draws, mixed), _chosen(draws, asked, questions, split))


# -- formats -------------------------------------------------------------------------------------------------------------------------------------------

Sentence = tuple[str, str, str]
"""What begins a sentence, the end that a question asks for, and a question in words (or none)."""


def formatted(split: Split, draws: Draws, sentences: Sequence[Sentence]) -> str:
    """The sentences in one of the formats in which documents stand in context: one a line, a list, titled passages, questions with answers."""
    plain = [f"{begin} {end}{draws.pick(words.TAILS[split]) if draws.uniform() < 0.1 else ''}." for begin, end, _ in sentences]
    ways: tuple[Callable[[], str], ...] = (
        lambda: "\n".join(plain),
        lambda: "\n".join((draws.pick(words.HEADINGS[split]), *(f"- {text}" for text in plain))),
        lambda: "\n".join(f"{i}. {text}" for i, text in enumerate(plain, 1)),
        lambda: "\n".join(f"Question: {q[0].upper() + q[1:]} Answer: {end}." if q else text for text, (_, end, q) in zip(plain, sentences, strict=True)),
        lambda: _titled(split, draws, plain),
    )
    at = draws.uniform()
    return ways[0 if at < 0.5 else 1 if at < 0.6 else 2 if at < 0.65 else 3 if at < 0.75 else 4]()


def _titled(split: Split, draws: Draws, plain: Sequence[str]) -> str:
    """Passages of a few sentences, each under a title and with some filler."""
    parts = []
    for at in range(0, len(plain), 4):
        body = list(plain[at : at + 4])
        if draws.uniform() < 0.4:
            body.insert(draws.below(len(body) + 1), draws.pick(words.FILLER))
        parts.append(f"{draws.pick(words.HEADINGS[split]).rstrip(':')}, {at // 4 + 1}\n{' '.join(body)}")
    return "\n".join(parts)
