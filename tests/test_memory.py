"""The oracle: always what is needed, with as many distractors as asked for, in an order that tells nothing."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tolman.core.errors import UserError
from tolman.datasets.reversals import Reversals
from tolman.memory.oracle import Oracle
from tolman.testing import check_retriever
from tolman.testing._world import world

CORPUS = world()


@given(st.integers(0, 18), st.integers(0, 1000))
def test_all_that_is_needed_and_as_many_others_as_asked_for(distractors, seed):
    for question, found in zip(CORPUS.asked(), Oracle(distractors=distractors).retrieve(CORPUS, CORPUS.asked(), seed=seed), strict=True):
        ids = [d.id for d in found]
        assert len(ids) == len(set(ids)) == len(question.support) + distractors
        assert set(question.support) <= set(ids) and all(d.role == "experience" for d in found)


def test_place_and_company_are_random():
    question = CORPUS.asked(["recall"])[0]
    places, others = Counter(), Counter()
    for seed in range(1200):
        (found,) = Oracle(distractors=3).retrieve(CORPUS, [question], seed=seed)
        places[[d.id for d in found].index(question.support[0])] += 1
        others.update(d.id for d in found if d.id not in question.support)
    assert len(places) == 4 and stats.chisquare(list(places.values())).pvalue > 0.001
    assert len(others) == 19 and stats.chisquare(list(others.values())).pvalue > 0.001


def test_questions_draw_each_for_itself():
    found = Oracle(distractors=3).retrieve(CORPUS, CORPUS.asked(["nowhere"]), seed=0)
    assert len({tuple(d.id for d in documents) for documents in found}) == len(found)


def test_too_few_documents_are_said():
    with pytest.raises(UserError, match=r"oracle\.distractors = 19 needs more documents than the 20"):
        Oracle(distractors=19).retrieve(CORPUS, CORPUS.asked(["two_hop"]), seed=0)


# -- distractors that resemble the question ----------------------------------------------------------------------------------------------------------------

WORLD = Reversals(**(Reversals.example | {"entities": 30, "copies": 3, "episodes": "none"})).build(0)
HELD = WORLD.asked(["heldout_reversal"])


@pytest.mark.parametrize("like, place", [("rare_word", 0), ("common_word", 1)])
def test_distractors_share_the_name_or_the_relation_and_never_say_the_same_over(like, place):
    assert len(HELD) == 8
    found = Oracle(distractors=5, like=like).retrieve(WORLD, HELD, seed=0)
    assert found == Oracle(distractors=5, like=like).retrieve(WORLD, HELD, seed=0)
    for question, documents in zip(HELD, found, strict=True):
        others = [d for d in documents if d.id not in question.support]
        word = question.prompt.split()[place]  # "B inside": the name is rarer than the relation
        assert len(others) == len({d.id for d in others}) == 5
        assert all(word in d.text.split() for d in others)
        assert not any({question.answers[0], question.prompt.split()[0]} <= set(d.text.split()) for d in others)


def test_where_few_documents_resemble_the_question_others_make_up_the_number():
    having = sum(HELD[0].prompt.split()[0] in d.text.split() for d in WORLD.experiences)
    (documents,) = Oracle(distractors=having + 4, like="rare_word").retrieve(WORLD, HELD[:1], seed=0)
    assert len({d.id for d in documents}) == having + 5 and HELD[0].support[0] in {d.id for d in documents}


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_needed_documents_stand_where_they_are_put(place):
    for question, documents in zip(CORPUS.asked(), Oracle(distractors=4, place=place).retrieve(CORPUS, CORPUS.asked(), seed=0), strict=True):
        n = len(question.support)
        assert {d.id for d in (documents[:n] if place == "first" else documents[-n:])} >= set(question.support)


@pytest.mark.parametrize("fields", [{"like": "rare_word"}, {"like": "common_word", "place": "last"}])
def test_every_kind_of_oracle_keeps_the_contract(fields):
    check_retriever(Oracle(distractors=2, **fields))


def test_an_oracle_of_any_distractors_is_the_one_that_older_records_had():
    assert Oracle().identity() == {"is": "memory/oracle", "revision": 1, "distractors": 3}
