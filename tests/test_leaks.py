"""The leak check finds a forbidden statement however it is cased, spaced and punctuated, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolman.core.data import Document
from tolman.core.leaks import find_leaks

WORDS = st.sampled_from(["ada", "bo", "inside", "contains", "ulm", "été", "7"])
PHRASES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
BREAKS = st.sampled_from([" ", "  ", "\t", ", ", " - ", ". ", "(", "\u00a0"])


def leaks(text: str, *forbidden: str) -> list[str]:
    return [leak.phrase for leak in find_leaks([Document("d", text)], forbidden)]


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, max_size=6), st.lists(BREAKS, min_size=20, max_size=20))
def test_a_planted_statement_is_found_however_it_is_written(before, phrase, after, breaks):
    words = [w.upper() if i % 2 else w.capitalize() for i, w in enumerate([*before, *phrase, *after])]
    text = "".join(b + w for b, w in zip(breaks, words, strict=False)) + "!"
    assert leaks(text, " ".join(phrase))


@given(st.lists(PHRASES, min_size=1, max_size=6), st.lists(PHRASES, min_size=1, max_size=4))
def test_it_finds_what_a_search_line_by_line_finds(lines, forbidden):
    """Against the plain definition: the phrase stands between word boundaries in a line of single-spaced words."""
    expected = sum(len(re.findall(rf"(?<!\S)(?={re.escape(p)}(?!\S))", line)) for line in lines for p in set(forbidden))
    assert len(leaks("\n".join(lines), *forbidden)) == expected


@pytest.mark.parametrize(
    "text", ["Bo inside Adams", "Bo is inside Ada", "Bo inside\nAda", "Ada inside Bo", "inside Ada", "Turbo inside Ada", "Bo_inside Ada", "Bo insideAda", ""]
)
def test_near_misses_are_no_leaks(text):
    assert leaks(text, "Bo inside Ada") == []


def test_every_place_is_named():
    documents = [Document("one", "x Bo inside Ada. Bo inside Ada"), Document("two", "nothing"), Document("three", "BO inside ada")]
    found = find_leaks(documents, ["Bo inside Ada", "never"])
    assert [leak.document for leak in found] == ["one", "one", "three"]
    assert str(found[0]) == "document 'one' states what is under test: 'Bo inside Ada'"


def test_a_phrase_without_words_is_our_mistake():
    with pytest.raises(AssertionError, match="has no words"):
        leaks("x", "...")
