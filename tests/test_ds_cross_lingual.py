"""Two languages and a notation: what is told once is told in one language only, and follows in the others with the lexicon."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pages import asked_lines, bare, check_page
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets.cross_lingual import CrossLingual

TINY = CrossLingual(**CrossLingual.example)
Statement = tuple[str, str, str, str]
"""Language, subject, relation, object."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return CrossLingual(episode_count=3000).build(0)


def parse(words: list[str]) -> Statement:
    """A fact in whichever language, or the part of it that is there."""
    if "=" in words:
        relation, _, subject, *_, object = [*words, ""] if words[-1] == "=" else words
        return "formal", subject, relation, object
    first, second, object = [*words, ""] if len(words) == 2 else words
    return ("a", first, second, object) if first[0].isupper() else ("b", second, first, object)


def split_lines(lines: list[list[str]]) -> tuple[list[Statement], dict[tuple[str, str], str]]:
    """Facts, and the lexicon: (word, language) -> word."""
    pairs = {(words[0], words[1].removeprefix("in_")): words[2] for words in lines if len(words) == 3 and words[1].startswith("in_")}
    return [parse(words) for words in lines if len(words) > 2 and not words[1].startswith("in_")], pairs


def follow(lines: list[list[str]], prompt: str) -> set[str]:
    """What `lines` alone give for `prompt`."""
    facts, pairs = split_lines(lines)
    words = prompt.split()
    if words[1].startswith("in_"):
        return {pairs[words[0], words[1].removeprefix("in_")]}
    language, subject, relation, _ = parse(words)
    found = set()
    for told_in, *fact in facts:
        s, r, o = fact if told_in == language else [pairs.get((word, language), word) for word in fact]
        if (s, r) == (subject, relation):
            found.add(o)
    return found


@pytest.mark.parametrize("spec", [CrossLingual(episode_count=100), TINY, CrossLingual(episode_count=1, formal=False)], ids=["quick", "cognates", "natural"])
def test_every_answer_follows_from_the_supporting_documents(spec):
    built = spec.build(0)
    for question in built.questions:
        lines = [words for id in question.support for words in bare(built.by_id[id].text)]
        assert follow(lines, question.prompt) == set(question.answers), question.id


def test_single_facts_are_told_in_one_language_and_the_others_in_all(corpus):
    lines = [words for d in corpus.experiences for words in bare(d.text)]
    facts, pairs = split_lines(lines)
    to_formal = {word: pairs[word, "formal"] for fact in facts if fact[0] != "formal" for word in fact[1:]}
    languages: dict[tuple[str, ...], set[str]] = {}
    for language, *fact in facts:
        languages.setdefault(tuple(fact) if language == "formal" else tuple(to_formal[word] for word in fact), set()).add(language)
    assert len(languages) == 24 * 4
    assert sorted(len(found) for found in languages.values()) == [1] * 42 + [3] * 54
    for question in corpus.questions:
        told_in, _, asked_in = question.kind.partition("_to_")
        if asked_in:
            language, *fact = parse([*question.prompt.split(), question.answers[0]])
            assert language == asked_in
            assert languages[tuple(fact) if language == "formal" else tuple(to_formal[word] for word in fact)] == {told_in}


def test_the_lexicon_is_one_to_one_and_complete(corpus):
    _, pairs = split_lines([words for d in corpus.experiences for words in bare(d.text)])
    assert len(pairs) == 3 * 2 * (24 + 4)
    for (word, language), translation in pairs.items():
        assert word in {pairs.get((translation, other)) for other in ("a", "b", "formal") if other != language}
    cognate = CrossLingual(cognates=0.5, episode_count=1).build(0)
    _, pairs = split_lines([words for d in cognate.experiences for words in bare(d.text)])
    assert len(pairs) == 3 * 2 * (24 + 4) - 3 * 12


def test_words_of_the_languages_differ(corpus):
    pools = [set(corpus.kinds[f"recall_{language}"].candidates) for language in ("a", "b", "formal")]
    assert all(len(pool) == 24 for pool in pools) and len(set.union(*pools)) == 72
    assert all(re.fullmatch(r"e\d\d", word) for word in pools[2])


@pytest.mark.parametrize("episodes", ["fresh", "trained"])
def test_in_context_sequences_say_what_they_ask_for(episodes):
    built = TINY.replace("episodes", episodes).replace("cognates", 0.0).replace("episode_count", 600).build(2)
    experiences = [words for d in built.experiences for words in bare(d.text)]
    lexicon = [words for words in experiences if words[1].startswith("in_")]
    told = {tuple(words) for words in experiences}
    across = same = 0
    for document in (d for d in built.documents if d.role == "exercise"):
        shown: list[list[str]] = []
        for before, prompt, target in asked_lines(document):
            shown = shown or before
            assert follow([*shown, *lexicon], prompt) == {target}, document.text
            if follow(shown, prompt) == {target}:
                same += 1
            else:
                across += 1
            if episodes == "trained":
                assert (*prompt.split(), target) in told
    assert across > 100 and same > 100


def test_a_planted_leak_is_found(corpus):
    assert not find_leaks(corpus.documents, corpus.forbidden)
    question = corpus.asked(["a_to_formal"])[0]
    assert find_leaks([Document("planted", f"{question.prompt} {question.answers[0]}")], corpus.forbidden)


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"single": 17}, "single = 17"), ({"options": 24}, "options = 24"), ({"entities": 3}, "entities = 3"), ({"cognates": 1.5}, "cognates = 1.5")],
)
def test_impossible_sizes_are_refused_before_any_work(fields, named):
    with pytest.raises(UserError, match=named):
        CrossLingual(**fields)


@given(
    st.fixed_dictionaries(
        {
            "entities": st.integers(4, 12), "relations": st.integers(1, 4), "single": st.integers(1, 8), "formal": st.booleans(),
            "cognates": st.sampled_from([0.0, 0.5, 1.0]), "copies": st.just(1), "lexicon_copies": st.just(1), "episode_count": st.integers(1, 20),
            "episode_facts": st.integers(1, 4), "asked": st.integers(1, 12), "options": st.integers(2, 6),
            "episodes": st.sampled_from(["none", "trained", "fresh"]),
        }
    )
)  # fmt: skip
def test_any_sizes_build_or_are_refused(fields):
    try:
        spec = CrossLingual(**fields)
    except UserError:
        return
    built = spec.build(0)
    assert not find_leaks(built.documents, built.forbidden)
    for question in built.questions:
        assert question.answers[0] in question.choices and len(set(question.choices)) == spec.options


def test_page():
    check_page(CrossLingual)
