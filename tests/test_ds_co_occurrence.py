"""Co-occurrence: agreeing and misleading species differ in the statistics of their category alone; values follow from species, never from individuals told."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pages import asked_lines, bare, check_page
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets.co_occurrence import ATTRIBUTES, CoOccurrence

TINY = CoOccurrence(**CoOccurrence.example)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return CoOccurrence(episode_count=3000).build(0)


def told(corpus: Corpus) -> Counter[tuple[str, ...]]:
    """How many documents make each statement."""
    return Counter(tuple(words) for d in corpus.experiences for words in bare(d.text))


def follow(lines: list[list[str]], prompt: str) -> set[str]:
    """Every value or species that `lines` give for `prompt`: told, or inherited from the species."""
    one, relation = prompt.split()
    known = {line[0] for line in lines if len(line) == 3 and line[1] == relation and line[0] == one}
    subjects = known or {line[2] for line in lines if len(line) == 3 and line[:2] == [one, "is_a"]}
    return {line[2] for line in lines if len(line) == 3 and line[1] == relation and line[0] in subjects}


def test_every_answer_follows_from_the_supporting_documents(corpus):
    for question in corpus.questions:
        lines = [words for id in question.support for words in bare(corpus.by_id[id].text)]
        assert follow(lines, question.prompt) == set(question.answers), question.id
        assert len(lines) == (2 if corpus.kinds[question.kind].latent else 1)


def test_agreeing_and_misleading_species_differ_in_their_category_statistics_alone(corpus):
    statements = told(corpus)
    category = {words[0]: words[2] for words in statements if words[1] == "among"}
    species = {words[0]: words[2] for words in statements if words[1] == "is_a"}
    background: dict[tuple[str, str], Counter[str]] = {}
    for (who, relation, value), n in statements.items():
        if relation in ATTRIBUTES:
            background.setdefault((category[who], relation), Counter())[value] += n
    shapes: dict[str, set[tuple[int, ...]]] = {"agree": set(), "mislead": set()}
    for kind, found in shapes.items():
        for question in corpus.asked([kind]):
            who, relation = question.prompt.split()
            typical = background[category[who], relation].most_common(1)[0][0]
            assert (question.answers[0] == typical) == (kind == "agree"), question.id
            assert typical in question.choices
            assert category[who] == category[species[who]]
            mine = species[who]
            about = [words for words in statements if mine in words or who in words]
            found.add(tuple(sorted(statements[words] for words in about)))
    assert shapes["agree"] == shapes["mislead"] and len(shapes["agree"]) == 1, "as many documents of each sort speak of either"


def test_values_under_test_are_told_of_the_species_only_and_as_often_as_stated():
    for stated, dose in ((1, 0), (3, 2)):
        built = TINY.replace("stated", stated).replace("dose", dose).build(0)
        statements = told(built)
        species = {words[0]: words[2] for words in statements if words[1] == "is_a"}
        for question in built.asked(["agree", "mislead"]):
            who, relation = question.prompt.split()
            assert not [words for words in statements if words[:2] == (who, relation)]
            assert statements[species[who], relation, question.answers[0]] == stated
            siblings = [other for other in species if species[other] == species[who] and (other, relation, question.answers[0]) in statements]
            assert len(siblings) == dose


def test_irregular_background_is_possible():
    built = TINY.replace("regularity", 0.3).replace("background", 30).build(0)
    statements = told(built)
    category = {words[0]: words[2] for words in statements if words[1] == "among"}
    values = {(category[w[0]], w[1]): set() for w in statements if w[1] in ATTRIBUTES}
    for who, relation, value in statements:
        if relation in ATTRIBUTES:
            values[category[who], relation].add(value)
    assert min(map(len, values.values())) > 2


@pytest.mark.parametrize("episodes", ["fresh", "trained"])
def test_in_context_sequences_say_what_they_ask_for(episodes):
    built = TINY.replace("episodes", episodes).replace("episode_count", 600).build(2)
    inherited = again = 0
    for document in (d for d in built.documents if d.role == "exercise"):
        shown: list[list[str]] = []
        for before, prompt, target in asked_lines(document):
            shown = shown or before
            assert follow(shown, prompt) == {target}, document.text
            if prompt[0].isupper():
                inherited += 1
            else:
                again += 1
    assert inherited > 400 and again > 400


def test_a_planted_leak_is_found(corpus):
    assert not find_leaks(corpus.documents, corpus.forbidden)
    question = corpus.asked(["mislead"])[0]
    assert find_leaks([Document("planted", f"f03 {question.prompt} {question.answers[0]}")], corpus.forbidden)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"options": 9}, "options = 9"),
        ({"asked": 321}, "asked = 321"),
        ({"individuals": 1000}, "1000 individuals"),
        ({"attributes": 9}, "attributes = 9"),
        ({"categories": 2}, "categories = 2"),
    ],
)
def test_impossible_sizes_are_refused_before_any_work(fields, named):
    with pytest.raises(UserError, match=named):
        CoOccurrence(**fields)


@given(
    st.fixed_dictionaries(
        {
            "categories": st.integers(3, 6), "background": st.integers(1, 3), "agreeing": st.integers(1, 2), "misleading": st.integers(1, 2),
            "attributes": st.integers(1, 3), "individuals": st.integers(1, 2), "regularity": st.sampled_from([0.5, 1.0]), "stated": st.integers(1, 2),
            "dose": st.integers(0, 2), "held": st.integers(1, 2), "copies": st.just(1), "episode_count": st.integers(1, 20), "asked": st.integers(1, 12),
            "episode_individuals": st.integers(1, 3), "options": st.integers(3, 6), "episodes": st.sampled_from(["none", "trained", "fresh"]),
        }
    )
)  # fmt: skip
def test_any_sizes_build_or_are_refused(fields):
    try:
        spec = CoOccurrence(**fields)
    except UserError:
        return
    built = spec.build(0)
    assert not find_leaks(built.documents, built.forbidden)
    for question in built.questions:
        assert question.answers[0] in question.choices and len(set(question.choices)) == len(question.choices)


def test_page():
    check_page(CoOccurrence)
