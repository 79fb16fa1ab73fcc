"""Facts in other words, by rules that keep the grammar. A rule that does not fit gives nothing.

`The Long Prism was designed by Ilse Korvin in 1902` becomes "The one by whom the Long Prism was designed was" (Ilse Korvin), "The year in which the Long Prism was
designed by Ilse Korvin was" (1902), "What was designed by Ilse Korvin in 1902 was the" (Long Prism); with `Ilse Korvin was born in Vessby` the first goes on as
"The one by whom the Long Prism was designed was born in" (Vessby).
"""

import re

from tolman.datasets._folder_facts import PREPOSITIONS, Fact, tense

_PARTICIPLE = re.compile(r"(?:was|were|is|are|has been|had been) (?:\w+ly |first |last |later |once |also )?\w+")
_NOUN = re.compile(r"(?:[a-z]+ )?(?:[a-z]{2,}s|people|men|women|children)(?: of [a-z ]+)?")


def described(fact: Fact) -> str | None:
    """What the fact's answer is, as a noun phrase with the fact in it: `the one by whom the Long Prism was designed`. None where no rule fits."""
    if not fact.main:
        return None
    left, article = _article(fact.left)
    words = left.split()
    verb_only = len(words) == 1 or bool(re.fullmatch(r"(?:has|had) \w+(?:ed|en|n)", left))
    before, _, last = left.rpartition(" ")
    sort = fact.answer.sort
    if sort == "number":
        return _number(fact, left)
    if article and sort != "thing":
        return None
    if last.lower() in PREPOSITIONS and before:
        last = last.lower()
        if sort in ("year", "month") and last in ("in", "from", "since", "until"):
            return f"the {sort} {last} which {fact.name} {before}"
        if sort == "date" and last in ("on", "from", "since", "until"):
            return f"the day {last} which {fact.name} {before}"
        if sort == "person" and last in ("by", "to", "from", "with", "for", "after") and tense(words[0], "the"):
            return f"the one {last} whom {fact.name} {before}"
        if sort == "place" and last in ("in", "at", "to", "from", "near", "off"):
            return f"the place {last} which {fact.name} {before}"
        if sort == "thing" and last in ("in", "at", "from", "to", "on", "after") and article:
            return f"what {fact.name} {before} {last}"
        return None
    if verb_only and tense(words[0], "the") and words[0] not in ("is", "are", "was", "were", "became", "has", "had"):
        return f"the one whom {fact.name} {left}" if sort == "person" else f"what {fact.name} {left}" if sort == "thing" and article else None
    return None


def _number(fact: Fact, left: str) -> str | None:
    """The number of what: needs the noun behind it, and the verb or a preposition before it."""
    noun = _NOUN.match(fact.after)
    rest = fact.after[noun.end() :] if noun else ""
    if noun is None or (rest and rest.split()[0] not in PREPOSITIONS):
        return None
    before, _, last = left.rpartition(" ")
    if not before:
        return f"the number of {noun[0]} that {fact.name} {left}"
    return f"the number of {noun[0]} {last} which {fact.name} {before}" if last in ("for", "with", "in", "to", "from") else None


def rephrased(fact: Fact) -> str | None:
    """The same asked for in another wording, ending where the answer follows."""
    found = described(fact)
    if found is None:
        return None
    _, article = _article(fact.left)
    return sentence_case(f"{found} {fact.was} {article}".rstrip())


def turned(fact: Fact) -> str | None:
    """The clause given, its subject asked for: the fact the other way round. None where the clause alone says too little."""
    if not fact.main or not (fact.keys or len(fact.clause.split()) >= 6):
        return None
    if fact.subject.sort == "person":
        return f"The one who {fact.clause} {fact.was}"
    if fact.the:
        return f"What {fact.clause} {fact.was} the"
    return f'The name that stands before "{fact.clause}" is'  # a name without an article may be anybody's


def chained(first: Fact, second: Fact) -> str | None:
    """`second`, whose subject is the answer of `first`, asked with `first` in that subject's place."""
    found = described(first)
    return None if found is None or not second.main else sentence_case(f"{found} {second.left}")


def sentence_case(text: str) -> str:
    return text[0].upper() + text[1:]


def _article(left: str) -> tuple[str, str]:
    """What stands before the answer, without and with only its article (and a noun of its kind: `the comet` Aldis)."""
    m = re.search(r" (the|a|an)(?: [a-z]+)?$", left, re.I)
    if m is None or (m[0].split()[-1] in PREPOSITIONS):
        return left, ""
    return left[: m.start()], m[0].strip()
