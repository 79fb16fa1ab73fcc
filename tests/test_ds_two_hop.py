"""Two hops: held-out bridges are never crossed in training, every chain asked follows from its two facts, practice and test share no bridge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pages import asked_lines, bare, check_page
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets.two_hop import RELATIONS, TwoHop

TINY = TwoHop(**TwoHop.example)
INVERSE = {inverse: forward for forward, inverse in RELATIONS}
Facts = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return TwoHop(episode_count=3000).build(0)


def facts_of(lines: list[list[str]]) -> Facts:
    """What one-hop statements among `lines` say, those by an inverse turned round. No two may contradict one another."""
    facts: Facts = {}
    for line in lines:
        if len(line) == 3:
            subject, relation, object = line if line[1] not in INVERSE else (line[2], INVERSE[line[1]], line[0])
            assert facts.setdefault((subject, relation), object) == object, lines
    return facts


def follow(facts: Facts, prompt: str) -> str | None:
    """Where the relations of `prompt` lead from its first word."""
    at, *relations = prompt.split()
    if relations[0] in INVERSE:
        (back,) = [s for (s, r), o in facts.items() if (r, o) == (INVERSE[relations[0]], at)]
        return back
    for relation in relations:
        if (at, relation) not in facts:
            return None
        at = facts[at, relation]
    return at


@pytest.mark.parametrize("spec", [TwoHop(episode_count=100), TINY], ids=["quick", "two worlds, reversed facts"])
def test_every_answer_follows_from_the_supporting_documents(spec):
    built = spec.build(0)
    for question in built.questions:
        if question.support:
            lines = [words for id in question.support for words in bare(built.by_id[id].text)]
            assert all(len(words) == 3 for words in lines), "a stated chain would be no inference"
            assert follow(facts_of(lines), question.prompt) == question.answers[0], question.id
            assert len(lines) == (2 if "two_hop" in question.kind else 1)


def test_chains_through_held_bridges_are_never_stated(corpus):
    everything = facts_of([words for d in corpus.experiences for words in bare(d.text)])
    assert len(everything) == 30 * 4
    stated = {tuple(words) for d in corpus.experiences for words in bare(d.text) if len(words) == 4}
    assert all(follow(everything, " ".join(words[:3])) == words[3] for words in stated)
    bridges = {everything[words[0], words[1]] for words in stated}
    for question in corpus.questions:
        start, first, *_ = question.prompt.split()
        statement = (*question.prompt.split(), question.answers[0])
        if question.kind == "two_hop":
            assert everything[start, first] not in bridges
        if question.kind == "two_hop_new":
            assert everything[start, first] in bridges and statement not in stated
        if question.kind == "two_hop_trained":
            assert statement in stated
        if question.kind == "wrong_order":
            assert follow(everything, question.prompt) != question.answers[0]


def test_some_relations_lead_many_to_one_and_the_others_do_not(corpus):
    everything = facts_of([words for d in corpus.experiences for words in bare(d.text)])
    objects = {r: [o for (_, relation), o in everything.items() if relation == r] for r in {r for _, r in everything}}
    assert sorted(len(set(found)) == len(found) for found in objects.values()) == [False, True, True, True]
    assert all(subject != object for (subject, _), object in everything.items())


def test_practice_and_test_share_no_bridge_and_practice_has_latent_questions(corpus):
    practice, test = ({q.cluster for q in corpus.questions if q.split == split} for split in ("practice", "test"))
    assert practice and not practice & test
    assert len(corpus.asked(["two_hop"], "practice")) > 10
    prompts = {q.prompt for q in corpus.asked()} & {q.prompt for q in corpus.asked(split="practice")}
    assert not prompts, "no question is both practised and tested"
    assert not TwoHop(practice_share=0.0, episode_count=1).build(0).asked(split="practice")


def test_two_worlds_share_neither_entities_nor_relations_and_the_second_has_no_practice():
    built = TINY.build(0)
    words = [{word for d in built.experiences if d.id.split(":")[1] == number for line in bare(d.text) for word in line} for number in "01"]
    assert words[0] and words[1] and not words[0] & words[1]
    others = [q for q in built.questions if q.kind.startswith("other_")]
    assert {"other_two_hop", "other_one_hop"} <= {q.kind for q in others} and all(q.split == "test" for q in others)
    assert {q.prompt.split()[0] for q in others} <= words[1]


def test_reversed_facts_are_told_by_their_inverse_only():
    built = TINY.build(0)
    told = {" ".join(words) for d in built.documents for words in bare(d.text)}
    asked = [q for q in built.questions if q.kind in ("one_hop_reversed", "other_one_hop_reversed")]
    assert asked
    for question in asked:
        object, inverse = question.prompt.split()
        assert f"{question.prompt} {question.answers[0]}" in told
        assert f"{question.answers[0]} {INVERSE[inverse]} {object}" not in told


@pytest.mark.parametrize("episodes", ["fresh", "trained"])
def test_in_context_sequences_say_what_they_ask_for(episodes):
    built = TINY.replace("episodes", episodes).replace("episode_count", 500).build(2)
    truth = facts_of([words for d in built.experiences for words in bare(d.text)])
    hops, true = [0, 0], 0
    for document in (d for d in built.documents if d.role == "exercise"):
        shown: list[list[str]] = []
        for before, prompt, target in asked_lines(document):
            shown = shown or before
            assert follow(facts_of(shown), prompt) == target, document.text
            hops[len(prompt.split()) - 2] += 1
        true += facts_of(shown).items() <= truth.items()
    assert min(hops) > 100
    assert (true == 1000) if episodes == "trained" else (true < 300)


def test_a_planted_leak_is_found(corpus):
    assert not find_leaks(corpus.documents, corpus.forbidden)
    question = corpus.asked(["two_hop"])[0]
    assert find_leaks([Document("planted", f"{question.prompt} {question.answers[0]}")], corpus.forbidden)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"worlds": 2, "relations": 11}, "relations = 11"),
        ({"many_to_one": 5}, "many_to_one = 5"),
        ({"held_bridges": 29}, "held_bridges = 29"),
        ({"options": 29}, "options = 29"),
        ({"held_bridges": 1, "practice_share": 0.9}, "practice_share = 0.9"),
        ({"new_chains": 200}, "new_chains = 200"),
        ({"reversed_facts": 23}, "reversed_facts = 23"),
    ],
)
def test_impossible_sizes_are_refused_before_any_work(fields, named):
    with pytest.raises(UserError, match=named):
        TwoHop(**fields)


@given(
    st.fixed_dictionaries(
        {
            "entities": st.integers(8, 16), "relations": st.integers(1, 4), "many_to_one": st.integers(0, 3), "held_bridges": st.integers(1, 8),
            "new_chains": st.integers(1, 12), "reversed_facts": st.integers(0, 6), "worlds": st.integers(1, 2),
            "practice_share": st.sampled_from([0, 0.3, 0.6]),
            "copies": st.just(1), "chain_copies": st.just(1), "episode_count": st.integers(1, 20), "episode_facts": st.integers(2, 5),
            "asked": st.integers(1, 12), "options": st.integers(2, 6), "episodes": st.sampled_from(["none", "trained", "fresh"]),
        }
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_any_sizes_build_or_are_refused(fields, seed):
    try:
        spec = TwoHop(**fields)
    except UserError:
        return
    try:
        built = spec.build(seed)
    except UserError as error:  # the draw left too few chains
        assert "new_chains" in str(error) or "held_bridges" in str(error)
        return
    assert not find_leaks(built.documents, built.forbidden)
    for question in built.questions:
        assert question.answers[0] in question.choices and len(set(question.choices)) == spec.options
        assert not set(question.prompt.split()) & set(question.choices)


def test_page():
    check_page(TwoHop)
