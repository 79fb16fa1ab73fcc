"""Facts that sentences state: "The Long Prism was designed by Ilse Korvin in 1902." states one with the answer Ilse Korvin and one with 1902.

A sentence states facts where it begins with a name and a verb. What follows the verb, up to the first comma or conjunction, is its main clause; answers there can be
asked for in other words, answers further on only as they stand. Sentences of any other build state none: better no question than a crooked one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tolman.datasets._folder_names import LITTLE, Names, Span
from tolman.datasets._folder_passages import Sentence

MOST_WORDS = 60
"""Longer sentences are lists or faults of extraction."""
NAMED = ("person", "place", "thing")

PAST = frozenset(
    "was were had did became began bought broke brought built burst came carved caught chose cost cut dealt drew drove fell felt fled flew forgot fought found gave got "
    "grew held hid hung kept knew laid lay led left lent lost made meant met paid put ran rang read rose sang sank sat saw sent set shook shot shut slept sold sought "
    "spent spoke spread stood stole struck swam swore taught threw told took understood went withdrew woke won wore wove wrote drowned".split()
)
PRESENT = frozenset(
    "is are has does belongs carries comes consists contains costs covers dates depicts describes divides employs feeds flows forms goes hangs has holds houses issues "
    "keeps lasts lies links lists lives loses makes marks measures needs occurs offers opens owns predicts produces receives records rests returns runs seats sells "
    "serves shows sits spans stands supplies teaches turns uses weighs works".split()
)
PREPOSITIONS = frozenset("about above across after against along among around as at before behind below beside between beyond by down during for from in inside into "
                         "near of off on onto out outside over past per since through to toward towards under until up upon with within without".split())  # fmt: skip
DANGLING = PREPOSITIONS | frozenset("a an and every its his her my no or our some that the their this your".split())
POINTING = frozenset("also he here him however it itself she such that them then there these they this those too we you".split())
"""Words that make a clause depend on what stands before it."""

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_CLAUSE_END = re.compile(
    r"[,:](?!\d)|[;()–—]|\.$|[.!?][\"'”’)]*$| (?:and|but|or|who|which|where|whose|when|while|because|though|although|so|as|if|that|than)\b| - "
)
_CALLED = re.compile(r"\b(?:called|known as|termed|nicknamed) (?:the |an? )?([a-z]+(?:[ -][a-z]+){0,2})(?=[,;.]|$)")


@dataclass(frozen=True, slots=True)
class Fact:
    """`subject` `left` `answer`, as `sentence` states it. `left` begins with the verb; `clause` is the whole main clause from the verb on."""

    number: int
    sentence: Sentence
    subject: Span
    the: str
    """"the " where the subject's name has an article, else ""."""
    left: str
    answer: Span
    clause: str
    main: bool
    """Whether the answer stands in the main clause."""
    after: str
    """The rest of the main clause behind the answer."""
    keys: tuple[str, ...]
    """The other names and dates of the main clause."""

    @property
    def name(self) -> str:
        """The subject, as it stands inside a sentence."""
        return self.the + self.subject.text

    @property
    def prompt(self) -> str:
        """The sentence up to the answer: the form in which the fact is stated."""
        return self.sentence.text[: self.answer.begin].rstrip()

    @property
    def verb(self) -> str:
        return self.left.split()[0]

    @property
    def was(self) -> str:
        """The copula that goes with the clause's tense."""
        return "is" if tense(self.verb, "the") == "present" else "was"

    @property
    def stems(self) -> set[str]:
        """The beginnings of the content words between subject and answer."""
        return {
            w.lower()[:5] for w in _WORD.findall(self.left) if w.lower() not in LITTLE and w.lower() not in PREPOSITIONS and w.lower() not in ("was", "were")
        }


def tense(word: str, after: str) -> str | None:
    """ "past" or "present" for a verb that follows its subject, None for what is none. `after` is the word behind it."""
    word = word.lower()
    if word in PAST or (word.endswith("ed") and len(word) > 3):
        return "past"
    if word in PRESENT:
        return "present"
    led_on = after.isdigit() or after.lower() in ("the", "a", "an", "its", "his", "her", "every", "about", "over") or after.lower() in PREPOSITIONS
    return "present" if re.fullmatch(r"[a-z]{3,}s", word) and led_on and not word.endswith("ss") else None


def facts(sentences: Sequence[Sentence], names: Names) -> list[Fact]:
    """All facts that `sentences` state, numbered in order."""
    out: list[Fact] = []
    for sentence in sentences:
        out += stated(sentence, names, len(out))
    return out


def stated(sentence: Sentence, names: Names, number: int) -> Iterator[Fact]:
    """The facts of one sentence, numbered from `number`."""
    text = sentence.text
    if text[-1] not in ".!\"'”’)" or len(text.split()) > MOST_WORDS:
        return
    spans = names.spans(text)
    if not spans or spans[0].sort not in NAMED:
        return
    subject, before = spans[0], text[: spans[0].begin]
    words = text[subject.end :].split()
    if before not in ("", "The ") or len(words) < 2 or text[subject.end] != " " or not (kind := tense(words[0].strip(",;"), words[1])):
        return
    assert kind
    begin = subject.end + 1
    end = begin + (m.start() if (m := _CLAUSE_END.search(text[begin:])) else len(text) - begin)
    clause = text[begin:end].strip()
    whole = bool(clause) and clause.split()[-1].lower() not in DANGLING and not re.search(r"\bbetween\b", clause)
    inside = [s for s in spans[1:] if s.end <= end]
    for answer in (*spans[1:], *terms(text, subject.end)):
        left = text[begin : answer.begin].strip()
        if not left or text[answer.begin - 1] != " " or answer.text == subject.text or POINTING & {w.lower() for w in _WORD.findall(left)}:
            continue
        if len(_WORD.findall(answer.text)) > 6 or contains(answer.text, text[: answer.begin]):
            continue
        main = whole and answer.end <= end and not POINTING & {w.lower() for w in _WORD.findall(clause)}
        keys = tuple(s.text for s in inside if s.sort in (*NAMED, "date"))
        yield Fact(number, sentence, subject, before.lower(), left, answer, clause if whole else "", main, text[answer.end : end].strip() if main else "", keys)
        number += 1


def terms(text: str, begin: int = 0) -> Iterator[Span]:
    """What is introduced as `called a drift bearing` or `known as ...`."""
    for m in _CALLED.finditer(text, begin):
        yield Span(m.start(1), m.end(1), m[1], "term")


def contains(words: str, text: str) -> bool:
    """Whether `text` has the words of `words` in a row, case aside."""
    return f" {' '.join(_WORD.findall(words.lower()))} " in f" {' '.join(_WORD.findall(text.lower()))} "


class Mentions:
    """Who is named together with what, over all sentences. A sentence with a pronoun also speaks of whom the one before it in its passage speaks."""

    def __init__(self, sentences: Iterable[Sentence], names: Names) -> None:
        self.near: dict[str, set[str]] = defaultdict(set)
        """Name -> all names, dates and numbers in sentences that speak of it."""
        self.order: dict[str, list[tuple[Sentence, list[str]]]] = defaultdict(list)
        """Name -> the sentences that name it, each with its names, dates and numbers in order."""
        self.passages: dict[str, set[str]] = defaultdict(set)
        """Name -> ids of the passages that name it."""
        self.words: dict[str, set[str]] = defaultdict(set)
        """Id of a passage -> the beginnings of its words."""
        last, passage = set(), ""
        for sentence in sentences:
            items = [names.short.get(s.text, s.text) for s in names.spans(sentence.text)]
            named = {i for i in items if names.sorts.get(i) in NAMED}
            lower = [w.lower() for w in _WORD.findall(sentence.text)]
            refers = bool({"he", "she", "it", "they", "his", "her", "its", "their", "him", "them"} & set(lower)) and sentence.passage == passage
            about = named | (last if refers else set())
            for name in about:
                self.near[name].update(items)
            for name in named:
                self.order[name].append((sentence, items))
                self.passages[name].add(sentence.passage)
            self.words[sentence.passage].update(w[:5] for w in lower)
            last, passage = about or (last if sentence.passage == passage else set()), sentence.passage

    def backward(self, fact: Fact) -> bool:
        """Whether another sentence names what the clause of `fact` is about before its subject: the fact may be told the other way round too."""
        keys = set(fact.keys)
        for sentence, items in self.order[fact.subject.text]:
            if sentence.text != fact.sentence.text and keys & set(items[: items.index(fact.subject.text)] if fact.subject.text in items else items):
                return True
        return False

    def together(self, first: str, second: str) -> bool:
        """Whether some sentence speaks of both."""
        return second in self.near.get(first, ()) or first in self.near.get(second, ())

    def said_of(self, name: str, stems: set[str]) -> bool:
        """Whether a passage that names `name` has any of the words that begin with `stems`."""
        return any(stems & self.words[passage] for passage in self.passages[name])
