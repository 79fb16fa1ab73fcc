"""Two sets to recall from: disjoint, nothing under test stated, traces that lead to the answer, recitals without chains."""

import pytest

from dataset_pages import check_page
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.thinking import Puzzle, statements
from tolman.datasets.recall import CHAINED, Recall
from tolman.datasets.two_hop import RELATIONS

BOTH = Recall(forms=("chain", "reversal"), episode_count=800)
INVERSE = {inverse: forward for forward, inverse in RELATIONS}


@pytest.fixture(scope="module", params=[2, 3])
def hops(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def corpus(hops) -> Corpus:
    return BOTH.replace("hops", hops).build(0)


def facts(corpus: Corpus, number: str = "") -> dict[tuple[str, ...], str]:
    """(subject, relation) -> object."""
    told = [d.text.split() for d in corpus.experiences if d.id.startswith(f"fact:{number}")]
    return {(a, r): b for a, r, b in told}


def answer(known: dict[tuple[str, ...], str], prompt: str) -> str:
    at, *relations = prompt.split()
    if relations[0] in INVERSE:
        (back,) = [a for (a, r), b in known.items() if (r, b) == (INVERSE[relations[0]], at)]
        return back
    for relation in relations:
        at = known[at, relation]
    return at


def test_every_answer_follows_from_its_support(corpus):
    for question in corpus.questions:
        known = {tuple(text.split()[:2]): text.split()[2] for id in question.support for text in [corpus.by_id[id].text]}
        assert answer(known, question.prompt) == question.answers[0]


def test_the_sets_share_nothing_and_only_the_first_has_practice(corpus, hops):
    words = [{w for key, b in facts(corpus, number).items() for w in (*key, b)} for number in "01"]
    assert not words[0] & words[1] and len(words[0]) == len(words[1]) == 16 + 3
    practice = corpus.asked(split="practice")
    assert {q.kind for q in practice} == {CHAINED[hops], "reversal"} and all(isinstance(q, Puzzle) for q in practice)
    assert not any(isinstance(q, Puzzle) for q in corpus.asked())


def test_traces_of_practice_state_facts_only_and_end_where_the_answer_follows(corpus):
    told = {d.text for d in corpus.experiences}
    for puzzle in corpus.asked(split="practice"):
        assert isinstance(puzzle, Puzzle)
        said = statements(puzzle.trace)
        assert set(said) <= told and {corpus.by_id[s].text for s in puzzle.support} <= set(said)
        last = said[-1].split()
        assert puzzle.answers[0] == (last[0] if puzzle.kind == "reversal" else last[2])


def test_traces_in_sequences_state_what_the_sequence_shows(corpus):
    seen = 0
    for document in corpus.documents:
        if document.id.startswith("episode"):
            lines = document.text.split("\n")
            known = {tuple(line.split()[:2]): line.split()[2] for line in lines if len(line.split()) == 3 and line.split()[1] not in INVERSE}
            for line, after in zip(lines, lines[1:], strict=False):
                question, think, trace = line.partition(" think ")
                if think:
                    seen += 1
                    assert all(known[tuple(s.split()[:2])] == s.split()[2] for s in statements(trace))
                    assert after == f"{question} {answer(known, question)}"
    assert seen > 500


def test_recitals_state_facts_of_one_set_and_never_a_chain(corpus):
    told = {d.text for d in corpus.experiences}
    recitals = [statements(d.text) for d in corpus.documents if d.id.startswith("recital")]
    assert len(recitals) == 200 and all(set(said) <= told for said in recitals)
    assert all(a.split()[2] != b.split()[0] for said in recitals for a, b in zip(said, said[1:], strict=False))
    assert {b.split()[0] for said in recitals for b in said[1:]} == {a for a, _ in facts(corpus)}, "every entity's facts are recalled after others"


def test_augmentation_states_the_practice_questions_and_no_other():
    plain, augmented = (BOTH.replace("augmented", value).build(0) for value in (False, True))
    added = {d.text for d in augmented.experiences} - {d.text for d in plain.experiences}
    assert added == {f"{q.prompt} {q.answers[0]}" for q in plain.asked(split="practice")} and plain.questions == augmented.questions


def test_without_thoughts_no_sequence_thinks():
    assert not any(" think " in d.text for d in BOTH.replace("thoughts", "none").build(0).documents)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"entities": 8, "options": 7}, "needs at least 9 entities, not 8"),
        ({"practice_share": 0.01}, "leaves none of 16 entities for practice"),
        ({"practice_share": 0.99}, "leaves none of 16 entities for testing"),
        ({"hops": 4, "episode_facts": 3}, "episode_facts = 3 is less than the hops = 4"),
        ({"forms": ("chain", "chain")}, "names one form twice"),
    ],
)
def test_impossible_sizes_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Recall(**fields)


def test_reversals_split_by_facts_practise_every_answer_but_no_fact_under_test():
    corpus = Recall(forms=("reversal",), options=6, split_by="facts", episode_count=400).build(0)
    practised, tested = ({q.support: q for q in corpus.asked(["reversal"], split=split)} for split in ("practice", "test"))
    assert len(practised) == 24 and practised.keys().isdisjoint(tested) and len(practised.keys() | tested.keys()) == 48
    assert {q.answers[0] for q in practised.values()} & {q.answers[0] for q in tested.values()}, "an entity can be on both sides"
    assert {q.cluster for q in practised.values()}.isdisjoint(q.cluster for q in corpus.asked())
    assert {f"{q.prompt} {q.answers[0]}" for q in tested.values()} <= set(corpus.forbidden)
    with pytest.raises(UserError, match="chains are split by the entity"):
        Recall(split_by="facts")


def test_recitals_of_one_relation_go_through_the_set():
    corpus = Recall(forms=("reversal",), options=6, same_recital_share=1.0, episode_count=400).build(0)
    longest = 0
    for document in (d for d in corpus.documents if d.id.startswith("recital")):
        said = [text.split() for text in document.text.split(" . ")]
        assert len({r for _, r, _ in said}) == 1 and len({a for a, _, _ in said}) == len(said)
        longest = max(longest, len(said))
    assert longest > 12, "of 16 entities, some left out where they would make a chain"


def test_the_page_is_up_to_date():
    check_page(Recall)
