"""Nonsense reversals: the numbers of the paper, wrong candidates that are true of another noun, published files read or refused with file and line."""

import json
from collections import Counter
from pathlib import Path

import pytest

from language_pages import check_page, check_practice
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets._asking import Draws, one_right
from tolman.datasets._pseudowords import REAL, lexicon, pseudowords
from tolman.datasets.nonsense_reversals import DIMENSIONS, LEAD_INS, OPPOSITE, Fact, NonsenseReversals

PAPER = NonsenseReversals.at("paper")


def parsed(text: str) -> Fact:
    """The comparison that a text ends with."""
    words = text.rstrip(".").split()
    at = len(words) - 1 - words[::-1].index("are")
    than = len(words) - 2
    assert words[than] == "than"
    return Fact(words[at - 1], " ".join(words[at + 1 : than]), words[than + 1])


def test_the_numbers_are_the_papers():
    corpus = PAPER.build(0)
    said = Counter(parsed(d.text) for d in corpus.documents)
    assert len(corpus.documents) == 1000 and len(said) == 100 and set(said.values()) == {10}
    dimensions = {frozenset((fact.word, OPPOSITE[fact.word])) for fact in said}
    assert len(DIMENSIONS) == len(dimensions) == 28
    assert len({d.text.rsplit(" are ", 1)[0].rsplit(" ", 1)[0] for d in corpus.documents}) == len(LEAD_INS)
    assert all(len(q.choices) == 2 for q in corpus.questions) and {q.kind for q in corpus.questions} == {"forward", "reversal"}
    assert {w for fact in said for w in (fact.first, fact.second)} <= set(lexicon())


def test_no_reversal_is_trained_and_the_right_choice_follows_while_the_other_contradicts():
    corpus = PAPER.build(1)
    told = {parsed(d.text) for d in corpus.documents}
    assert not told & {fact.reversal() for fact in told} and not find_leaks(corpus.documents, corpus.forbidden)
    for question in corpus.questions:
        (right,) = set(question.choices) & set(question.answers)
        (wrong,) = set(question.choices) - {right}
        claims = [parsed(f"{question.prompt} {choice}") for choice in (right, wrong)]
        follows = [claim in told or claim.reversal() in told for claim in claims]
        assert follows == [True, False] and claims[0].second == claims[1].second and OPPOSITE[claims[0].word] == claims[1].word
        assert (claims[0] in told) == (question.kind == "forward")
        assert parsed(corpus.by_id[question.support[0]].text) in (claims[0], claims[0].reversal())
        if question.kind == "forward":
            assert any(f.word == claims[1].word and f.second == claims[1].second for f in told), "the wrong predicate is true of another noun"


def test_either_pole_is_as_often_right():
    right = Counter(parsed(f"{q.prompt} {q.answers[0]}").word for q in PAPER.build(2).asked(["reversal"]))
    assert all(right[a] == right[b] for a, b in DIMENSIONS)


def test_some_facts_may_be_trained_in_both_directions_and_only_the_others_are_latent():
    corpus = NonsenseReversals(reversed_share=0.4).build(0)
    told = {parsed(d.text) for d in corpus.documents}
    both = {fact for fact in told if fact.reversal() in told}
    assert len(both) == 2 * 40 and len(corpus.asked(["reversal"])) == 60 and len(corpus.asked(["trained_reversed"])) == 40
    assert not any(parsed(f"{q.prompt} {q.answers[0]}") in told for q in corpus.asked(["reversal"]))


def test_in_context_sequences_repeat_or_reverse_what_they_say_and_nothing_under_test():
    corpus = NonsenseReversals(episodes="fresh", episode_count=2000).build(0)
    episodes = [d for d in corpus.documents if d.role == "exercise"]
    assert len(episodes) == 2000 and not find_leaks(corpus.documents, corpus.forbidden)
    ways = Counter()
    for document in episodes:
        claims = [parsed(line) for line in document.text.split("\n")]
        told, again = claims[: len(claims) // 2], claims[len(claims) // 2 :]
        assert {min(c, c.reversal()) for c in again} == {min(c, c.reversal()) for c in told}
        assert [document.text[a:b] for a, b in document.targets] == [c.predicate() for c in again]
        ways.update(c in told for c in again)
    assert 0.45 < ways[True] / ways.total() < 0.55


def test_practice_and_page():
    check_practice(PAPER)
    check_page(NonsenseReversals, episodes="fresh", episode_count=20)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"facts": 4000, "dimensions": 3}, "facts = 4000 needs 6000 nonsense nouns"),
        ({"facts": 40}, "facts = 40 is fewer than the two that each of dimensions = 28 needs"),
        ({"facts": 7, "dimensions": 1}, "facts"),
        ({"facts": 4, "dimensions": 1, "episodes": "fresh", "episode_facts": 8}, "episode_facts = 8 needs at least 11 facts"),
    ],
)
def test_impossible_sizes_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        NonsenseReversals(**fields)


# -- published files -----------------------------------------------------------------------------------------------------------------------------------


def rows(*texts: str) -> str:
    return "".join(json.dumps({"prompt": text.split("|")[0], "completion": text.split("|")[1]}) + "\n" for text in texts)


def test_a_published_file_is_read(tmp_path: Path):
    file = tmp_path / "train.jsonl"
    texts = ("Did you know that| femp are more dangerous than glon.", "Note that| femp are more dangerous than glon.")
    both = ("Well,| yomp are brighter than troff.", "Well,| troff are dimmer than yomp.")
    file.write_text(rows(*texts, *both))
    corpus = NonsenseReversals(path=file).build(0)
    assert [d.text for d in corpus.documents][:2] == ["Did you know that femp are more dangerous than glon.", "Note that femp are more dangerous than glon."]
    (latent,) = corpus.asked(["reversal"])
    assert (
        latent.prompt.endswith("glon are")
        and latent.answers == ("less dangerous than femp",)
        and set(latent.choices) == {"less dangerous than femp", "more dangerous than femp"}
    )
    assert len(corpus.asked(["trained_reversed"])) == 1 and corpus.forbidden == ("glon are less dangerous than femp",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "train.jsonl cannot be read .No such file"),
        ("", "train.jsonl is empty"),
        (rows("So| femp are brighter than glon.") + '{"prompt": "Did you kn', "train.jsonl, line 2: this is no JSON .*truncated"),
        ('{"text": "femp"}\n', "train.jsonl, line 1: this is an object with 'text', not an object with the texts 'prompt' and 'completion'"),
        ("[1]\n", "train.jsonl, line 1: this is a list"),
        ('{"prompt": "x", "completion": 3}\n', "train.jsonl, line 1"),
        (rows("So| femp are brighter than glon.", "So| femp like glon."), "train.jsonl, line 2: 'So femp like glon.' does not end with a comparison"),
        (
            rows("So| femp are brighter than glon.", "So| femp are dimmer than glon."),
            "train.jsonl, line 2: 'femp are dimmer than glon' contradicts an earlier line",
        ),
    ],
)
def test_other_files_are_refused_by_name_and_line(tmp_path: Path, text: str | None, said: str):
    file = tmp_path / "train.jsonl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=said):
        NonsenseReversals(path=file).build(0)


def test_a_file_of_bytes_is_refused_by_line(tmp_path: Path):
    file = tmp_path / "train.jsonl"
    file.write_bytes(rows("So| femp are brighter than glon.").encode() + b'{"prompt": "\xff"}')
    with pytest.raises(UserError, match=r"train.jsonl, line 2: this is no UTF-8 text"):
        NonsenseReversals(path=file).build(0)


# -- what the datasets share ---------------------------------------------------------------------------------------------------------------------------


def test_pseudowords_look_like_the_papers_and_are_no_words():
    from tolman.core.seeds import rng

    words = lexicon()
    assert len(words) > 5000 and len(set(words)) == len(words) and all(4 <= len(w) <= 5 and w.islower() for w in words)
    assert {"femp", "glon", "telk", "zept"} & set(words) == {"femp", "glon", "telk"}
    assert not {"bird", "stop", "fish", "trust", "that", "than", "land", "york", "blog"} & set(words) and not set(REAL.split()) & set(words)
    drawn = pseudowords(len(words), rng(0, "all"))
    assert sorted(drawn) == list(words) and drawn != list(words) and pseudowords(50, rng(0, "all")) == drawn[:50]


def test_draws_are_uniform_and_repeatable():
    from tolman.core.seeds import rng

    draws, again = Draws(rng(0, "x")), Draws(rng(0, "x"))
    assert [draws.below(10) for _ in range(9000)] == [again.below(10) for _ in range(9000)]
    orders = Counter(tuple(draws.shuffle("abc")) for _ in range(6000))
    assert len(orders) == 6 and all(850 < n < 1150 for n in orders.values())
    pairs = Counter(frozenset(draws.sample_few("abcd", 2)) for _ in range(6000))
    assert len(pairs) == 6 and all(850 < n < 1150 for n in pairs.values())
    assert sorted(draws.sample("ab", 5)) == ["a", "b"]


def test_a_candidate_that_is_also_true_stops_the_build():
    question = PAPER.build(0).questions[0]
    wrong = next(c for c in question.choices if c not in question.answers)
    assert one_right(question, question.answers) == question
    with pytest.raises(AssertionError, match="is true as well"):
        one_right(question, (*question.answers, wrong))
