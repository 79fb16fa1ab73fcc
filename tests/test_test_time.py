"""What each way of asking puts before the question. (That questions stay as they are and nothing forbidden is shown is the contract.)"""

from collections import Counter

import pytest

from tolman.core.data import Prompt
from tolman.core.errors import UserError
from tolman.models.scripted import Scripted
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.in_context import InContext
from tolman.test_time.retrieval import Retrieval
from tolman.testing._world import world

CORPUS = world()
MODEL = Scripted().create(CORPUS, seed=0)
TEXTS = [d.text for d in CORPUS.experiences]


def prompts(method, questions=None, seed=0) -> list[Prompt]:
    return method.prompts(MODEL, CORPUS, CORPUS.asked() if questions is None else questions, seed=seed)


def test_closed_book_shows_nothing():
    assert prompts(ClosedBook()) == [Prompt(q.prompt) for q in CORPUS.asked()]


@pytest.mark.parametrize("documents", [None, 20, 99])
def test_everything_in_context_is_every_experience_in_order(documents):
    assert all(p.documents == tuple(TEXTS) for p in prompts(InContext(documents=documents)))


@pytest.mark.parametrize("documents", [2, 3, 7, 19])
def test_a_window_holds_the_support_and_others_in_order(documents):
    shown = Counter()
    for question, prompt in zip(CORPUS.asked(), prompts(InContext(documents=documents)), strict=True):
        places = [TEXTS.index(d) for d in prompt.documents]
        assert len(places) == len(set(places)) == documents and places == sorted(places)
        assert {CORPUS.by_id[s].text for s in question.support} <= set(prompt.documents)
        shown.update(places)
    assert len(shown) >= 15, "nearly all documents come up among the others"


def test_another_seed_shows_other_documents():
    assert prompts(InContext(documents=5), seed=0) != prompts(InContext(documents=5), seed=1)


def test_a_window_too_small_for_the_support_is_refused():
    two_hop = CORPUS.asked(["two_hop"])
    with pytest.raises(UserError, match=r"in_context\.documents = 1 cannot hold the 2 supporting documents of question 'two_hop:Ada'"):
        prompts(InContext(documents=1), two_hop)
    assert len(prompts(InContext(documents=1), CORPUS.asked(["recall"]))) == 8


@pytest.mark.parametrize("distractors", [0, 4])
def test_retrieval_shows_what_the_retriever_finds(distractors):
    method = Retrieval(retriever={"is": "memory/oracle", "distractors": distractors})
    for question, prompt in zip(CORPUS.asked(), prompts(method), strict=True):
        assert len(prompt.documents) == len(question.support) + distractors
        assert {CORPUS.by_id[s].text for s in question.support} <= set(prompt.documents) <= set(TEXTS)


def test_the_retriever_is_part_of_the_identity():
    some, more = (Retrieval(retriever={"is": "memory/oracle", "distractors": n}) for n in (1, 2))
    assert some.fingerprint() != more.fingerprint() and some.replace("retriever.distractors", 2).fingerprint() == more.fingerprint()
