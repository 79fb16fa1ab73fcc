"""Questions about facts: recall, rephrase, reversal, two_hop, unanswerable, each with wrong candidates of the same sort from the same documents.

A fact is asked only where it can be asked fairly; why others are not is counted. What is latent is left out where the documents say it as well: a reversal whose
clause stands before its subject in another sentence, a chain whose ends stand together in one.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tolman.core.data import Document, Question
from tolman.core.leaks import find_leaks
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, one_right
from tolman.datasets._folder_facts import Fact, Mentions, contains, terms
from tolman.datasets._folder_names import Names
from tolman.datasets._folder_passages import Sentence
from tolman.datasets._folder_wordings import chained, rephrased, sentence_case, turned

CHAINS_OF_A_FACT = 3
"""At most so many two-hop questions begin with one fact, so that no single fact decides the kind."""
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")


@dataclass
class Asked:
    """The questions of a folder, and what became of the facts."""

    questions: list[Question] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Question -> the recall questions that ask for its facts as they are stated."""
    places: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Recall question -> the sentence that states its fact: file, begin, end."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why -> how many questions were not asked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many candidates a question has, how many facts are asked about, and which share of them is for practice."""

    options: int
    asked: int
    practice: float


class Asker:
    """Makes the questions of one corpus."""

    def __init__(self, facts: Sequence[Fact], sentences: Sequence[Sentence], names: Names, documents: Sequence[Document], *, limits: Limits, seed: int) -> None:
        self.names, self.sentences, self.documents, self.limits = names, sentences, documents, limits
        self.mentions = Mentions(sentences, names)
        self.draws = Draws(rng(seed, "folder", "candidates"))
        self.order = rng(seed, "folder", "order")
        self.out = Asked()
        self.said = "\n".join(words(s.text) for s in sentences)
        self.pools = pools(sentences, names)
        self.slots = slots(sentences, names)
        self.passage = {fact.number: fact.sentence.passage for fact in facts}
        self.recall = self.recalled(facts)

    def all(self) -> Asked:
        """Every question, in the order of the facts within each kind."""
        kept = sorted(self.recall)
        cluster = clusters([self.recall[n][0] for n in kept])
        practice = self.chosen(sorted(set(cluster.values())), self.limits.practice)
        facts = {n: self.recall[n][0] for n in kept}
        for n in kept:
            self.add(self.recall[n][1], (n,))
            sentence = self.recall[n][0].sentence
            self.out.places[f"recall:{n}"] = sentence.file, sentence.begin, sentence.end
        for n, fact in facts.items():
            if (prompt := rephrased(fact)) is not None:
                self.ask("rephrase", (n,), prompt, fact.answer.text, fact.answer.sort, (fact.subject.text,))
        tried: set[tuple[str, int]] = set()
        for n, fact in facts.items():
            place, prompt = (fact.sentence.passage, fact.sentence.begin), turned(fact)
            if prompt is not None and place not in tried:
                tried.add(place)
                self.reversal(n, fact, prompt)
        self.chains(facts, {n: cluster[n] in practice for n in kept})
        for n, fact in facts.items():
            self.stated(n, fact)
        self.out.questions = [
            replace(q, cluster=cluster[int(q.cluster)], split="practice" if cluster[int(q.cluster)] in practice else "test") for q in self.out.questions
        ]
        self.without_leaks()
        return self.out

    def recalled(self, facts: Sequence[Fact]) -> dict[int, tuple[Fact, Question]]:
        """The facts that can be asked as they are stated (at most `asked` of them, at random), with that question."""
        unlike = self.distinct(facts)
        fair: dict[int, tuple[Fact, Question]] = {}
        for tried, i in enumerate(self.order.permutation(len(unlike)).tolist()):
            if len(fair) == self.limits.asked:
                self.out.left_out["more than asked for"] = len(unlike) - tried
                break
            fact = unlike[i]
            start, answer = words(fact.prompt), f"{words(fact.answer.text)} "
            if any(not f"{self.said[end + 1 : end + 1 + len(answer)]}\n".replace("\n", " ").startswith(answer) for _, end in self.said_at(start)):
                self.out.left_out["another sentence begins like it and goes on otherwise"] += 1
                continue
            question = self.question("recall", (fact.number,), fact.prompt, fact.answer.text, fact.answer.sort, (fact.subject.text,))
            if question is not None:
                fair[fact.number] = fact, question
        return fair

    def distinct(self, facts: Sequence[Fact]) -> list[Fact]:
        """The facts without those that say nearly the same as one before."""
        seen: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        out = []
        for fact in facts:
            before = seen[fact.subject.text, words(fact.answer.text)]
            if any(alike(fact.prompt, other.prompt) for other in before):
                self.out.left_out["nearly the same as one before"] += 1
            else:
                before.append(fact)
                out.append(fact)
        return out

    def said_at(self, phrase: str) -> Iterator[tuple[int, int]]:
        """Where the words of `phrase` stand in a row in some sentence: begin and end in `said`."""
        at = self.said.find(phrase)
        while at >= 0:
            end = at + len(phrase)
            if self.said[at - 1 : at] in ("", " ", "\n") and self.said[end : end + 1] in ("", " ", "\n"):
                yield at, end
            at = self.said.find(phrase, at + 1)

    def of_others(self, phrase: str, fact: Fact) -> bool:
        """Whether a sentence with another subject than that of `fact` says `phrase` too."""
        subject = words(fact.name)
        return any(not self.said.startswith(f"{subject} ", self.said.rfind("\n", 0, begin) + 1) for begin, _ in self.said_at(words(phrase)))

    def reversal(self, n: int, fact: Fact, prompt: str) -> None:
        """Ask the fact the other way round, if the clause is true of nobody else and no sentence says it in that order."""
        if self.of_others(fact.clause, fact):
            self.out.left_out["reversal: said of something else too"] += 1
        elif self.mentions.backward(fact):
            self.out.left_out["reversal: stated the other way round too"] += 1
        else:
            self.ask("reversal", (n,), prompt, fact.subject.text, fact.subject.sort, fact.keys)

    def chains(self, facts: Mapping[int, Fact], practice: Mapping[int, bool]) -> None:
        """Two facts from different passages, both for practice or both for testing, each second fact once."""
        by_subject: dict[str, list[int]] = defaultdict(list)
        for n, fact in facts.items():
            by_subject[fact.subject.text].append(n)
        pairs = [(a, b) for a, fact in facts.items() for b in by_subject.get(fact.answer.text, ()) if fact.sentence.passage != facts[b].sentence.passage]
        used: Counter[int] = Counter()
        ends: set[int] = set()
        for i in self.order.permutation(len(pairs)).tolist():
            a, b = pairs[i]
            prompt = chained(facts[a], facts[b])
            if prompt is None:
                continue
            if practice[a] != practice[b]:
                self.out.left_out["two_hop: one fact is for practice, the other for testing"] += 1
            elif not self.of_others(facts[b].left, facts[b]):
                self.out.left_out["two_hop: its second half is said of nobody else, so the first is not needed"] += 1
            elif self.mentions.together(facts[a].subject.text, facts[b].answer.text):
                self.out.left_out["two_hop: its ends stand together in a sentence"] += 1
            else:
                self.out.forbidden.append(f"{prompt} {facts[b].answer.text}")
                about = (facts[b].subject.text, facts[a].subject.text)
                if b not in ends and used[a] < CHAINS_OF_A_FACT and self.ask("two_hop", (b, a), prompt, facts[b].answer.text, facts[b].answer.sort, about):
                    ends.add(b)
                    used[a] += 1

    def stated(self, n: int, fact: Fact) -> None:
        """Whether it is stated at all: of the fact's own subject it is, of another of the same sort it is not."""
        if not fact.main or not fact.stems or not (fact.the or fact.subject.sort == "person"):
            return
        sentence = f" {words(fact.sentence.text)} "
        others = [
            name
            for key, name in self.pools[fact.subject.sort].items()
            if f" {key} " not in sentence and (name in self.names.articled) == bool(fact.the) and self.mentions.order.get(name)
            and not self.mentions.said_of(name, fact.stems)
        ]  # fmt: skip
        if not others:
            return
        other = self.draws.pick(others)
        about = self.mentions.order[other][0][0].passage
        for subject, answer, support in ((fact.subject.text, "yes", fact.sentence.passage), (other, "no", about)):
            prompt = f'Do the documents say how this sentence goes on? "{sentence_case(fact.the + subject)} {fact.left} ..." The answer, yes or no, is'
            choices = tuple(self.draws.shuffle(("yes", "no")))
            self.add(Question(f"unanswerable:{n}:{answer}", "unanswerable", prompt, (answer,), str(n), (support,), choices, answer_words=1), (n,))

    def ask(self, kind: str, numbers: tuple[int, ...], prompt: str, answer: str, sort: str, about: Sequence[str]) -> bool:
        """Add the question if it can be asked, and forbid its statement. Says whether it was."""
        question = self.question(kind, numbers, prompt, answer, sort, about)
        if question is not None:
            self.add(question, numbers)
            self.out.forbidden.append(f"{prompt} {answer}")
        return question is not None

    def add(self, question: Question, numbers: tuple[int, ...]) -> None:
        self.out.questions.append(question)
        self.out.beside[question.id] = tuple(f"recall:{n}" for n in numbers)

    def question(self, kind: str, numbers: tuple[int, ...], prompt: str, answer: str, sort: str, about: Sequence[str]) -> Question | None:
        """The question with its candidates; its cluster is still the number of the fact asked. None where it gives itself away or has no wrong candidate."""
        if contains(answer, prompt):
            self.out.left_out[f"{kind}: the answer stands in the question"] += 1
            return None
        wrong = self.wrong(prompt, answer, sort, about)
        if not wrong:
            self.out.left_out[f"{kind}: the documents have no wrong candidate of the same sort"] += 1
            return None
        support = tuple(dict.fromkeys(self.passage[n] for n in reversed(numbers)))
        choices = tuple(self.draws.shuffle((answer, *wrong)))
        id = f"{kind}:{':'.join(map(str, numbers))}"
        return one_right(Question(id, kind, prompt, (answer,), str(numbers[0]), support, choices, answer_words=count(answer)), (answer,))

    def wrong(self, prompt: str, answer: str, sort: str, about: Sequence[str]) -> list[str]:
        """Candidates of the same sort that stand in no sentence with what the question is about, those used most like the answer first."""
        mine, asked = words(answer), f" {words(prompt)} "
        possible = [
            text
            for key, text in self.pools[sort].items()
            if f" {mine} " not in f" {key} " and f" {key} " not in f" {mine} " and f" {key} " not in asked
            and not any(self.mentions.together(name, text) or text in self.mentions.near.get(name, ()) for name in about)
        ]  # fmt: skip
        possible = self.draws.shuffle(possible)  # among equals, chance decides
        if sort == "year":
            possible.sort(key=lambda t: abs(int(t) - int(answer)))
        elif sort == "number":
            possible.sort(key=lambda t: abs(len(t) - len(answer)))
        else:
            the, used = answer in self.names.articled, self.slots.get(answer, set())
            possible.sort(key=lambda t: ((t in self.names.articled) != the, not self.slots.get(t, set()) & used))
        n = self.limits.options - 1
        return self.draws.sample(possible[: 2 * n], n)

    def chosen(self, items: Sequence[str], share: float) -> set[str]:
        """A random share of `items`; never all of them."""
        order: list[int] = self.order.permutation(len(items)).tolist()
        return {items[i] for i in order[: max(0, min(round(share * len(items)), len(items) - 1))]}

    def without_leaks(self) -> None:
        """Drop what a document states in the very words of a latent question; the rest may be stated nowhere."""
        said = {leak.phrase for leak in find_leaks(self.documents, dict.fromkeys(self.out.forbidden))}
        latent = {"rephrase", "reversal", "two_hop"}
        dropped = [q for q in self.out.questions if q.kind in latent and f"{q.prompt} {q.answers[0]}" in said]
        self.out.left_out["stated in the words of the question"] += len(dropped)
        gone = {q.id for q in dropped}
        self.out.questions = [q for q in self.out.questions if q.id not in gone]
        self.out.forbidden = [phrase for phrase in dict.fromkeys(self.out.forbidden) if phrase not in said]


def clusters(facts: Sequence[Fact]) -> dict[int, str]:
    """Fact -> its cluster. Facts of one sentence share it, and so do those about the same two things, however they are put."""
    root = {fact.number: fact.number for fact in facts}

    def find(n: int) -> int:
        while root[n] != n:
            n = root[n]
        return n

    first: dict[object, int] = {}
    for fact in facts:
        for key in ((fact.sentence.passage, fact.sentence.begin), frozenset((words(fact.subject.text), words(fact.answer.text)))):
            a, b = sorted((find(first.setdefault(key, fact.number)), find(fact.number)))
            root[b] = a
    return {n: f"fact {find(n)}" for n in root}


def pools(sentences: Sequence[Sentence], names: Names) -> dict[str, dict[str, str]]:
    """Sort -> everything of that sort that the sentences hold, by its words (case and punctuation aside) as it first stands."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for sentence in sentences:
        for span in (*names.spans(sentence.text), *terms(sentence.text)):
            found[span.sort].setdefault(words(span.text), span.text)
    return found


def slots(sentences: Sequence[Sentence], names: Names) -> dict[str, set[str]]:
    """Text -> the words that stand right before it: what is used alike makes the hardest wrong candidates."""
    found: dict[str, set[str]] = defaultdict(set)
    for sentence in sentences:
        for span in names.spans(sentence.text):
            before = sentence.text[: span.begin].lower().removesuffix("the ").split()
            found[span.text].update(before[-1:])
    return found


def alike(first: str, second: str) -> bool:
    """Whether two prompts share at least .6 of their words."""
    a, b = set(words(first).split()), set(words(second).split())
    return len(a & b) >= 0.6 * len(a | b)


def words(text: str) -> str:
    """The words of `text` as answers are compared: lower case, one space between them, no punctuation but inside words."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def count(answer: str) -> int:
    return len(words(answer).split())
