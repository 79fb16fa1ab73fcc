"""Documents, questions and corpora: what a digest sees, what a selection selects."""

import gc
from dataclasses import FrozenInstanceError, replace

import pytest

from tolman.core.data import Corpus, Document, Kind, Question, Verdict, uncollected
from tolman.testing._world import world


@pytest.fixture
def corpus() -> Corpus:
    return world()


def test_a_digest_changes_with_anything_in_the_corpus(corpus):
    documents, questions = corpus.documents, corpus.questions
    changed = [
        replace(corpus, documents=(replace(documents[0], text=documents[0].text + " "), *documents[1:])),
        replace(corpus, documents=(replace(documents[0], targets=None), *documents[1:])),
        replace(corpus, documents=(replace(documents[0], role="exercise"), *documents[1:])),
        replace(corpus, documents=(documents[1], documents[0], *documents[2:])),
        replace(corpus, documents=documents[1:]),
        replace(corpus, questions=(replace(questions[0], split="practice"), *questions[1:])),
        replace(corpus, questions=(replace(questions[0], answer_words=2), *questions[1:])),
        replace(corpus, kinds={**corpus.kinds, "recall": replace(corpus.kinds["recall"], chance=0.2)}),
        replace(corpus, forbidden=corpus.forbidden[1:]),
    ]
    digests = [c.digest() for c in (corpus, *changed)]
    assert len(set(digests)) == len(digests)
    assert world().digest() == corpus.digest() != world(1).digest()


def test_selections(corpus):
    assert all(d.role == "experience" for d in corpus.experiences) and len(corpus.experiences) == 20
    assert {q.split for q in corpus.asked()} == {"test"} and len(corpus.asked()) == 32
    assert {q.kind for q in corpus.asked(["recall", "two_hop"])} == {"recall", "two_hop"}
    assert len(corpus.asked(["recall"], split="practice")) == 2
    assert corpus.asked([]) == ()
    assert list(corpus.asked()) == [q for q in corpus.questions if q.split == "test"]
    assert corpus.by_id["lives:Ada"].text.startswith("Ada lives in")


def test_nothing_can_be_changed_in_place(corpus):
    for thing, name in ((corpus, "documents"), (corpus.documents[0], "text"), (corpus.questions[0], "kind"), (Kind("x"), "latent")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, "changed")


def test_defaults_are_the_modest_ones():
    question = Question("q", "recall", "Ada lives in", ("Ulm",), "Ada")
    assert (question.split, question.choices, question.support, question.answer_words) == ("test", (), (), None)
    assert (Document("d", "x").role, Document("d", "x").targets) == ("experience", None)
    assert not Kind("x").latent and not Kind("x").control


def test_only_one_verdict_is_right():
    assert [v for v in Verdict if v == "correct"] == [Verdict.CORRECT]
    assert {str(v) for v in Verdict} == {"correct", "wrong", "unparsed", "truncated", "refused", "failed"}


def test_garbage_is_looked_for_again_after_a_build_that_fails_too():
    @uncollected()
    def build(fails: bool) -> bool:
        assert not fails
        return gc.isenabled()

    assert gc.isenabled() and build(False) is False and gc.isenabled()
    with pytest.raises(AssertionError):
        build(True)
    assert gc.isenabled() and gc.get_freeze_count() == 0
    gc.disable()
    try:
        assert build(False) is False and not gc.isenabled(), "it was off before"
    finally:
        gc.enable()
