"""Where sentences begin and end. Full stops in abbreviations, initials, numbers and web addresses end none."""

import re
from collections.abc import Iterator

NEVER = frozenset(
    "adm brig capt cdr cf col dr esp fig figs fr gen gov hon lt maj messrs mlle mme mr mrs ms mt mx nr nos pp prof rev sen sgt sr vol vols viz vs e.g i.e".split()
)
"""Abbreviations after which a sentence always goes on."""
BEFORE_NUMBER = frozenset("art ca c ch eq no nos p para pt sec app approx".split())
"""Abbreviations when a number follows."""
SOMETIMES = frozenset(
    "a.m p.m al co corp dept ed eds etc inc jr ltd max min jan feb mar apr jun jul aug sep sept st oct nov dec b.c a.d ph.d m.d u.s u.k".split()
)
"""Abbreviations after which a sentence ends only before a word that often begins one."""
STARTERS = frozenset(
    "a after all although an and as at because before both but by during each even every for from he her here his how however if in it its many most no not of on one "
    "only our she since so some such that the their then there these they this those though to two under until we what when where while who with yet you".split()
)

_END = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s|$)|[。！？]["'”’»）」』]*""")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘«]+$")
_START = re.compile(r"""["'“‘«(\[]*""")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """(begin, end) of each sentence of `text`, in order, without the spaces around it. A line break ends a sentence."""
    at = 0
    for line in text.split("\n"):
        begin = 0
        for match in _END.finditer(line):
            if _ends(line, match):
                yield from _trimmed(line, begin, match.end(), at)
                begin = match.end()
        yield from _trimmed(line, begin, len(line), at)
        at += len(line) + 1


def _trimmed(line: str, begin: int, end: int, at: int) -> Iterator[tuple[int, int]]:
    piece = line[begin:end]
    if piece.strip():
        yield at + begin + len(piece) - len(piece.lstrip()), at + begin + len(piece.rstrip())


def _ends(line: str, match: re.Match[str]) -> bool:
    """Whether the marks at `match` end a sentence."""
    rest = line[match.end() :].lstrip()
    if not rest or match[0][0] in "。！？":
        return True
    after = rest[_START.match(rest).end() :]  # type: ignore[union-attr]
    word = re.match(r"[\w'’]*", after)[0]  # type: ignore[index]
    if after[:1].islower():
        return False  # "... and so on", "!" within a title
    if match[0].startswith(("!", "?")):
        return True
    if match[0].startswith(("..", "…")):
        return word.lower() in STARTERS or not word
    before = _WORD_BEFORE.search(line[: match.start()])
    last = before[0].lower() if before else ""
    if last in NEVER:
        return False
    if last in BEFORE_NUMBER and after[:1].isdigit():
        return False
    if last in SOMETIMES:
        return word.lower() in STARTERS
    if re.fullmatch(r"(?:[^\W\d_]\.)*[^\W\d_]", last):  # an initial, or several; "I" is a word
        return last == "i" or word.lower() in STARTERS
    return True
