"""Names, dates and numbers in sentences, by rules: where they stand and of what sort they are."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TITLES = frozenset("Brother Captain Dame Doctor Dr Father Lady Lord Madame Miss Mr Mrs Ms Mx Prof Professor Reverend Sir Sister".split())
LITTLE = frozenset(
    "a about after all although among an and another any anybody anyone are as at be because been before being both but by can did do does during each either even "
    "every everybody everyone everything few for from had has have he her here hers him his how however i if in into is it its like many may most much must my near "
    "neither never no nobody none nor not nothing now of off on once one only or other others our out over people perhaps readers several she since so some somebody "
    "someone something sometimes soon still such than that the their them then there these they this those though three thus to today together too two under until up "
    "upon was we were what whatever when where whether which while who whoever whom whose why will with without would yet you your".split()
)
"""Words that are no name when a sentence begins with them."""
PARTICLES = frozenset("al bin da de del der di du la le of ten van von y zu".split())
"""Words that may stand inside a name."""
PLACE_BEFORE = frozenset("in at near off around outside".split())
PERSON_VERBS = frozenset(
    "admired became believed carved composed died drowned grew invented knew learned learnt lectured lived married met moved painted quarrelled recorded retired said "
    "served studied succeeded taught thought trained travelled tried visited wanted worked wrote".split()
)
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_DATE = re.compile(rf"\b(?:(\d{{1,2}}) )?({'|'.join(MONTHS)})(?: (\d{{1,2}}),?)? (\d{{4}})\b")
_NUMBER = re.compile(r"(?<![\w.,-])(\d{1,3}(?:[ ,]\d{3})+(?!\d)|\d+)((?:\.\d+)?)(?: (?:hundred|thousand|million|billion))?(?![\w-]|[.,]\d)")
_OWNER = re.compile(r"['’]s$")


class Span(NamedTuple):
    """Something that can be asked for: `text` at characters `begin` to `end` of its sentence; `sort` is date, month, year, number, or that of its name."""

    begin: int
    end: int
    text: str
    sort: str


class Names:
    """The names of a set of sentences and what sort each is: `person`, `place` or `thing`, as most of its uses say.

    A single word is a name where it is capitalised inside a sentence; one that only ever begins sentences is not.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        self._inside: Counter[str] = Counter()
        self._after_of: Counter[str] = Counter()
        self._lower: set[str] = set()
        for text in sentences:
            words = list(_WORD.finditer(text))
            self._inside.update(_OWNER.sub("", m[0]) for m in words[1:] if m[0][0].isupper())
            self._after_of.update(_OWNER.sub("", b[0]) for a, b in pairwise(words) if a[0] == "of" and b[0][0].isupper())
            self._lower.update(m[0] for m in words if m[0][0].islower())
        self.sorts: dict[str, str] = {}
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        with_the: Counter[str] = Counter()
        uses: Counter[str] = Counter()
        for text in sentences:
            for begin, end, name in self._runs(text):
                votes[name].update(_votes(text, begin, end))
                uses[name] += 1
                with_the[name] += bool(re.search(r"\b[Tt]he $", text[:begin]))
        for name, found in votes.items():
            person = 0 if 2 * with_the[name] > uses[name] else found["person"]
            self.sorts[name] = (
                "person" if person and person >= found["place"] else "place" if found["place"] > found["thing"] or found["named place"] else "thing"
            )
        self.articled = {name for name in votes if 2 * with_the[name] > uses[name]}
        """The names that mostly stand behind `the`."""
        self.short = self._shorter()

    def spans(self, text: str) -> list[Span]:
        """Dates, years, numbers and names of `text`, in order, none inside another."""
        found = [Span(m.start(), m.end(), m[0], "date" if m[1] or m[3] else "month") for m in _DATE.finditer(text)]
        for m in _NUMBER.finditer(text):
            year = re.fullmatch(r"1[0-9]{3}|20[0-9]{2}", m[0]) and re.search(
                r"\b(?:in|since|from|until|by|of|before|after|to) (?:the year )?$", text[: m.start()]
            )
            after = re.match(r" [a-z]", text[m.end() :])
            unit = year and after and not re.match(r" (?:and|by|but|for|from|in|of|on|at|to|with|when|where|while|as|after|before|during)\b", text[m.end() :])
            found.append(Span(m.start(), m.end(), m[0], "year" if year and not unit else "number"))
        found += [Span(begin, end, name, self.sorts.get(name, "thing")) for begin, end, name in self._runs(text)]
        found.sort(key=lambda s: (s.begin, -s.end))
        out: list[Span] = []
        for span in found:
            if not out or span.begin >= out[-1].end:
                out.append(span)
        return out

    def mentioned(self, text: str) -> set[str]:
        """The full names of all that `text` names, by their short names too."""
        return {self.short.get(name, name) for _, _, name in self._runs(text)}

    def _shorter(self) -> dict[str, str]:
        """Single words that are the first or last word of exactly one person's name -> that name."""
        owners: dict[str, set[str]] = defaultdict(set)
        for name, sort in self.sorts.items():
            words = name.split()
            if sort == "person" and len(words) > 1:
                for word in (words[0], words[-1]):
                    owners[word].add(name)
        return {word: next(iter(names)) for word, names in owners.items() if len(names) == 1}

    def _runs(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Runs of capitalised words: begin, end, name (without `the` and possessive 's)."""
        words = list(_WORD.finditer(text))
        i = 0
        while i < len(words):
            if not self._begins(text, words, i):
                i += 1
                continue
            last = self._last(text, words, i)
            begin, end = words[i].start(), words[last].end()
            name = _OWNER.sub("", text[begin:end])
            if name not in TITLES:
                yield begin, begin + len(name), name
            i = last + 1

    def _begins(self, text: str, words: Sequence[re.Match[str]], i: int) -> bool:
        word = _OWNER.sub("", words[i][0])
        if not word[0].isupper() or word.lower() in LITTLE or word in DAYS or word in MONTHS or not word[0].isalpha():
            return False
        opens = i == 0 or bool(re.search(r"[.!?:;]['\"”’)]*\s+['\"“‘(]*$|^['\"“‘(]+$", text[: words[i].start()]))
        if not opens or self._inside[word]:
            return not (opens and word in TITLES)
        if self._last(text, words, i) == i:
            return False
        return word.lower() not in self._lower or not self._inside[words[i + 1][0]] or i + 2 < len(words)

    def _last(self, text: str, words: Sequence[re.Match[str]], i: int) -> int:
        """The last word of the run that begins with word `i`."""
        last = i
        while self._joins(text, words, last) and not _OWNER.search(words[last][0]):
            after = words[last + 1][0]
            if after[0].isupper() and after not in DAYS and after not in MONTHS:
                last += 1
            elif after in PARTICLES and self._joins(text, words, last + 1) and words[last + 2][0][0].isupper() and not self._alone(words[last + 2][0], after):
                last += 2
            else:
                break
        return last

    def _alone(self, word: str, particle: str) -> bool:
        """Whether what follows `of` is a name by itself elsewhere."""
        word = _OWNER.sub("", word)
        return particle == "of" and self._inside[word] > self._after_of[word]

    @staticmethod
    def _joins(text: str, words: Sequence[re.Match[str]], i: int) -> bool:
        """Whether only a space (or the apostrophe of `Pilots' Guild`, or the stop of an initial) parts word `i` from the next."""
        if i + 1 >= len(words):
            return False
        between = text[words[i].end() : words[i + 1].start()]
        return (
            between == " "
            or (between in ("' ", "’ ") and words[i + 1][0][0].isupper())
            or (between == ". " and (len(words[i][0]) == 1 or words[i][0] in TITLES))
        )


def _votes(text: str, begin: int, end: int) -> Iterator[str]:
    """What a name's place in a sentence says about its sort."""
    before, after = _WORD.findall(text[:begin]), _WORD.findall(text[end:])
    last = before[-1] if before else ""
    ahead = [word.lower() for word in after[:2]]
    if text[begin:end].split()[0].rstrip(".") in TITLES or last in TITLES:
        yield "person"
    if ahead[:1] and (ahead[0] in PERSON_VERBS or ahead == ["was", "born"] or (ahead[0] == "who" and text[end : end + 2] == ", ")):
        yield "person"
    if last == "the":
        last = before[-2] if len(before) > 1 else ""
        yield "thing"
    if last.lower() in PLACE_BEFORE and len(before) > 1 and before[-2][0].islower():  # not `the Prize in Chemistry`
        yield "place"
    elif last.lower() == "by" or (last.endswith("ed") and text[begin - 1] == " "):
        yield "thing"
