"""The reversal world, read back from its own documents: every fact is where it should be, and the answers follow from nothing else."""

from collections import Counter

import pytest
from scipy import stats

from dataset_pages import check_page
from tolman.core.discovery import component
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.datasets.reversals import RELATIONS, Reversals, Uniforms, derangement, entity_names

INVERSE = {way: back for a, b in RELATIONS for way, back in ((a, b), (b, a))}
FORWARD = {a for a, _ in RELATIONS}
SMALL = Reversals(**Reversals.example)


def stated(line: str) -> tuple[str, str, str]:
    """The statement in a line among its filler."""
    words = line.split()
    at = next(i for i, word in enumerate(words) if word in INVERSE)
    assert all(word[0] == "f" for word in (*words[: at - 1], *words[at + 2 :])), line
    return words[at - 1], words[at], words[at + 1]


def turned(fact: tuple[str, str, str]) -> tuple[str, str, str]:
    return fact[2], INVERSE[fact[1]], fact[0]


@pytest.fixture(scope="module")
def corpus():
    return SMALL.build(3)


@pytest.fixture(scope="module")
def facts(corpus):
    """What the experiences state."""
    return {stated(d.text) for d in corpus.experiences}


def test_every_relation_is_a_permutation_without_fixed_points(facts):
    forward = [f for f in facts if f[1] in FORWARD]
    assert len(forward) == SMALL.entities * SMALL.relations
    for relation in {f[1] for f in forward}:
        pairs = [(s, o) for s, r, o in forward if r == relation]
        assert len({s for s, _ in pairs}) == len({o for _, o in pairs}) == SMALL.entities
        assert all(s != o for s, o in pairs)


def test_held_out_facts_stand_forward_only_and_the_others_both_ways(corpus, facts):
    forward = {f for f in facts if f[1] in FORWARD}
    held = {f for f in forward if turned(f) not in facts}
    assert len(held) == SMALL.held_out and facts - forward == {turned(f) for f in forward - held}
    assert {" ".join(turned(f)) for f in held} == set(corpus.forbidden)
    counts = Counter(stated(d.text) for d in corpus.experiences)
    assert set(counts.values()) == {SMALL.copies}
    for question in corpus.asked(["heldout_reversal"]):
        assert turned((*question.prompt.split(), question.answers[0])) in held
    for question in corpus.asked(["trained_reversed"]):
        assert (*question.prompt.split(), question.answers[0]) in facts


def test_answers_follow_from_the_documents_and_the_wrong_choices_do_not(corpus, facts):
    known = facts | {turned(f) for f in facts}
    for question in corpus.asked(["trained_forward", "trained_reversed", "heldout_forward", "heldout_reversal", "cue_first"]):
        right = {o for s, r, o in known if f"{s} {r}" == question.prompt}
        assert set(question.answers) == right and right & set(question.choices) == right
    for question in corpus.asked(["cue_middle"]):
        relation, object = question.prompt.split()
        assert set(question.answers) == {s for s, r, o in known if (r, o) == (relation, object)}
    for question in corpus.asked(["cue_end"]):
        assert set(question.answers) == {s for s, r, o in known if o == question.prompt and r in FORWARD}


def test_supporting_documents_state_the_fact(corpus):
    for question in corpus.questions:
        for id in question.support:
            fact = stated(corpus.by_id[id].text)
            words = {*question.prompt.split(), question.answers[0]}
            assert {fact[0], fact[2]} <= words or (question.kind == "cue_end" and question.prompt in fact), question


def test_targets_are_the_last_word_of_a_statement(corpus):
    for document in corpus.experiences:
        ((begin, end),) = document.targets
        assert document.text[begin:end] == stated(document.text)[2]


def test_in_context_sequences_have_each_fact_twice_and_ask_for_the_second(corpus, facts):
    held = {f for f in facts if f[1] in FORWARD and turned(f) not in facts}
    episodes = [d for d in corpus.documents if d.role == "exercise"]
    assert len(episodes) == SMALL.episode_count
    for episode in episodes:
        lines = [stated(line) for line in episode.text.split("\n")]
        one_way = Counter(fact if fact[1] in FORWARD else turned(fact) for fact in lines)
        assert set(one_way.values()) == {2} and len(one_way) <= SMALL.episode_facts
        assert not set(one_way) & held, "a held-out fact is under test"
        assert len(episode.targets) == len(one_way)
        starts = [0, *(i + 1 for i, c in enumerate(episode.text) if c == "\n")]
        for begin, end in episode.targets:
            line = max(i for i, start in enumerate(starts) if start <= begin)
            assert episode.text[begin:end] == lines[line][2]
            earlier = {x for fact in lines[:line] for x in (fact, turned(fact))}
            assert lines[line] in earlier, "the answer stands before it"
            assert len({o for s, r, o in earlier if (s, r) == lines[line][:2]}) == 1, "and is the only one"


def test_episodes_can_be_of_trained_facts_or_none(facts):
    trained = SMALL.replace("episodes", "trained").build(3)
    for episode in (d for d in trained.documents if d.role == "exercise"):
        for fact in map(stated, episode.text.split("\n")):
            assert fact in facts and turned(fact) in facts
    assert all(d.role == "experience" for d in SMALL.replace("episodes", "none").build(3).documents)


def test_the_world_is_the_same_whatever_is_trained_on(corpus):
    for field, value in (("episodes", "none"), ("copies", 1), ("max_filler", 0)):
        other = SMALL.replace(field, value).build(3)
        assert other.questions == corpus.questions and other.forbidden == corpus.forbidden, field


def test_a_share_of_the_facts_can_be_trained_forward_only():
    half = SMALL.replace("reversed_share", 0.5).build(0)
    assert half.facts["both_ways"] == (36 - 8) // 2
    with pytest.raises(StopIteration):
        next(d for d in SMALL.replace("reversed_share", 0.0).replace("episodes", "none").build(0).documents if d.id.startswith("reversed"))


@pytest.mark.parametrize("scale", Reversals.scales)
def test_scales_have_the_sizes_they_should(scale):
    spec = Reversals.at(scale)
    if scale == "paper":
        assert (spec.entities, spec.relations, spec.held_out) == (1000, 20, 200), "Lampinen et al. 2025"
    assert spec.fingerprint() != Reversals(entities=61).fingerprint()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"entities": 4, "relations": 1, "held_out": 4, "options": 2, "episode_facts": 1}, "held_out = 4 leaves nothing to train both ways"),
        ({"entities": 10, "options": 10}, "options = 10 needs at least 11 entities"),
        ({"entities": 11, "options": 5}, "episode_facts = 6 needs at least 12 entities"),
        ({"relations": 21}, "relations = 21"),
        ({"reversed_share": 1.5}, "reversed_share = 1.5"),
    ],
)
def test_impossible_sizes_are_refused_before_anything_is_built(fields, message):
    with pytest.raises(UserError, match=message):
        Reversals(**fields)


def test_derangements_are_uniform():
    """4 items have 9 derangements."""
    draw = rng(0, "test_datasets")
    counts = Counter(tuple(derangement(4, draw).tolist()) for _ in range(1800))
    assert len(counts) == 9 and stats.chisquare(list(counts.values())).pvalue > 0.001


def test_names_are_all_different():
    names = entity_names(1000, rng(0, "test_datasets"))
    assert len(set(names)) == len({n.lower() for n in names}) == 1000 and all(n.isalpha() and n[0].isupper() for n in names)


def test_page():
    check_page(Reversals)


def test_numbers_in_blocks_are_those_of_the_generator():
    plain, numbers, passed = rng(0, "test_datasets").random(40_000).tolist(), Uniforms(rng(0, "test_datasets")), 0
    for wanted, skipped in ((0, 0), (1, 0), (5000, 3), (20_000, 17), (9, 0), (8192, 1)):
        numbers.hold(wanted + skipped)
        assert [numbers.next() for _ in range(wanted)] == plain[passed : passed + wanted]
        numbers.skip(skipped)
        passed += wanted + skipped


@pytest.mark.parametrize(
    "name, fields, digest",
    [
        ("reversals", {"episodes": "fresh"}, "310a6ef74c14af58d7e569b4138f1693"),
        ("reversals", {"episodes": "trained"}, "ba07614b034dc7172c954af24a2ea2cb"),
        ("codebooks", {"episodes": "fresh"}, "c94beedff2bed21d5883724f72a50c33"),
        ("codebooks", {"episodes": "trained"}, "715e630ecf62c38b385088bbf598bcef"),
        ("two_hop", {"episodes": "fresh"}, "0d1d4693013f55c7d4e0d6c6700ef72a"),
        ("two_hop", {"episodes": "trained"}, "d0e7f09463b149aaf26370edcaa892cf"),
        ("co_occurrence", {"episodes": "fresh"}, "88453f623c83ced5f7c20b0950984c9e"),
        ("co_occurrence", {"episodes": "trained"}, "f60ab36ae4831827e253b78e373e8902"),
        ("cross_lingual", {"episodes": "fresh"}, "2f872083f86d7945a3f0708637a2b444"),
        ("cross_lingual", {"episodes": "trained"}, "0896835af7e55ef5b3f96ccf3fc4b92a"),
        ("mazes", {"episodes": "fresh"}, "a7452d79a77d2935bfc6dd223926237d"),
        ("mazes", {"episodes": "trained"}, "60c2f926d43aaf34f6e7e49a2fa514b9"),
        ("recall", {}, "75b0e86631979a3b54bc3484d03d7a6e"),
    ],
)
def test_a_corpus_stays_as_it_is_to_the_byte(name, fields, digest):
    """What was measured on it holds for these bytes: whoever means to change them raises the dataset's `revision`."""
    dataset = component(f"datasets/{name}")
    assert dataset(**(dataset.example | fields)).build(5).digest() == digest  # type: ignore[attr-defined]
