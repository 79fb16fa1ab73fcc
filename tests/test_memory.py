"""The oracle: always what is needed, with as many distractors as asked for, in an order that tells nothing."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tolman.core.errors import UserError
from tolman.memory.oracle import Oracle
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
