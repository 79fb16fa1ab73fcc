"""Syllogisms: entailment against domains built individual by individual, one strongest conclusion for each item, never stated anywhere."""

import re
from collections import Counter
from itertools import product

import pytest

from language_pages import check_page, check_practice
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets.syllogisms import CANDIDATES, QUANTIFIERS, Claim, Syllogisms, entails, forms, holds, models

PAPER = Syllogisms.at("paper")
STATEMENT = re.compile(r"\b(all|some|no) (\w+) are (\w+)")


def claims(text: str) -> tuple[Claim, ...]:
    return tuple(Claim(*found) for found in STATEMENT.findall(text))


def true_in(claim: Claim, nouns: dict[str, set[int]]) -> bool:
    """Written anew, over sets of individuals."""
    subject, object = nouns[claim.subject], nouns[claim.object]
    return {"all": subject <= object, "some": bool(subject & object), "no": not subject & object}[claim.quantifier]


def domains(size: int):
    """Every way of giving each of `size` individuals its nouns such that no noun is empty."""
    subsets = [{i for i, has in enumerate(bits) if has} for bits in product((False, True), repeat=size)]
    for x, m, y in product(subsets, repeat=3):
        if x and m and y:
            yield {"X": x, "M": m, "Y": y}


ALL_CLAIMS = [Claim(q, a, b) for q in QUANTIFIERS for a in "XMY" for b in "XMY" if a != b]
WORLDS = [{claim: true_in(claim, nouns) for claim in ALL_CLAIMS} for size in (1, 2, 3, 4) for nouns in domains(size)]


def test_entailment_agrees_with_every_domain_of_up_to_four_individuals():
    firsts, seconds = ([Claim(q, a, b) for q in QUANTIFIERS for a, b in ((end, "M"), ("M", end))] for end in "XY")
    for premises in product(firsts, seconds):
        possible = [world for world in WORLDS if all(world[premise] for premise in premises)]
        assert possible, f"{premises} cannot be true together"
        for claim in CANDIDATES:
            # a claim that fails somewhere fails in a domain of at most four: one individual as counter-example, one for each noun
            assert entails(premises, claim) == all(world[claim] for world in possible), (premises, claim)


def test_models_are_all_there_are():
    kinds = {frozenset(kind) for model in models() for kind in model}
    assert len(models()) == len(set(models())) == 218 and len(kinds) == 8
    for claim, model in product(ALL_CLAIMS, models()):
        nouns = {noun: {i for i, kind in enumerate(sorted(model, key=sorted)) if noun in kind} for noun in "XMY"}
        assert holds(claim, model) == true_in(claim, nouns)


def test_forms_are_those_that_logic_allows():
    found = forms()
    assert {quantifier: len(of) for quantifier, of in found.items()} == {"all": 2, "some": 5, "no": 4}
    texts = {" & ".join(p.statement() for p in form.premises): {c.statement() for c in form.strongest} for of in found.values() for form in of}
    assert texts["all X are M & all M are Y"] == {"all X are Y"}
    assert texts["all M are X & some Y are M"] == {"some X are Y", "some Y are X"}
    assert texts["all X are M & no Y are M"] == {"no X are Y", "no Y are X"}
    assert "some X are M & some M are Y" not in texts and "no X are M & no M are Y" not in texts
    for form in (form for of in found.values() for form in of):
        assert set(form.strongest) <= set(form.entailed)
        assert all(entails((strongest,), weaker) for strongest in form.strongest for weaker in form.entailed)
        assert not any(entails((weaker,), form.strongest[0]) for weaker in set(form.entailed) - set(form.strongest))


def test_the_numbers_are_the_papers():
    corpus = PAPER.build(0)
    assert len(corpus.documents) == 69 and len(corpus.asked(["conclusion"])) == 69 and len(corpus.asked(["premises"])) == 138
    nouns = Counter(noun for d in corpus.documents for noun in {n for c in claims(d.text) for n in (c.subject, c.object)})
    assert len(nouns) == 3 * 69 and set(nouns.values()) == {1}
    assert Counter(q.answers[0].split()[0] for q in corpus.asked(["conclusion"])) == {"all": 23, "some": 23, "no": 23}


@pytest.mark.parametrize("kind", ["conclusion", "premises"])
def test_one_candidate_follows_and_it_is_the_strongest(kind):
    corpus = Syllogisms(items=120).build(3)
    for question in corpus.asked([kind]):
        text = corpus.by_id[question.support[0]].text
        premises = claims(text)
        assert len(premises) == 2
        (middle,) = {premises[0].subject, premises[0].object} & {premises[1].subject, premises[1].object}
        ends = [n for p in premises for n in (p.subject, p.object) if n != middle]
        place = {ends[0]: "X", middle: "M", ends[1]: "Y"}
        formal = tuple(p.of(place) for p in premises)
        follow = [c for c in question.choices if entails(formal, claims(c)[0].of(place))]
        assert follow == [question.answers[0]], question
        assert all(entails(formal, claims(a)[0].of(place)) for a in question.answers)
        asked = set(re.findall(r"\w+", question.prompt)) & set(place)
        if kind == "conclusion":
            assert asked == {ends[0], ends[1]} and 4 <= len(question.choices) <= 5
            assert not any(entails((claims(question.answers[0])[0].of(place),), claims(c)[0].of(place)) for c in question.choices if c != question.answers[0])
        else:
            assert asked == set(place) and text.startswith(f"{question.prompt} {question.answers[0]}")


def test_no_document_says_anything_about_the_two_ends_of_an_item():
    corpus = Syllogisms(items=60, episodes="fresh", episode_count=1500).build(0)
    assert len(corpus.forbidden) == 60 * 6 and not find_leaks(corpus.documents, corpus.forbidden)
    asked = {frozenset(claims(q.answers[0])[0][1:]) for q in corpus.asked(["conclusion"])}
    told = {frozenset(claim[1:]) for d in corpus.documents for claim in claims(d.text)}
    assert len(asked) == 60 and not asked & told


def test_in_context_sequences_end_in_what_follows_from_them():
    corpus, again = Syllogisms(episodes="fresh", episode_count=400).build(1), Counter()
    for document in (d for d in corpus.documents if d.role == "exercise"):
        for begin, end in document.targets:
            conclusion = claims(document.text[begin:end])[0]
            line = next(line for line in document.text.split("\n") if {conclusion.subject, conclusion.object} <= set(re.findall(r"\w+", line)))
            premises = claims(line)
            (middle,) = {premises[0].subject, premises[0].object} & {premises[1].subject, premises[1].object}
            ends = [n for p in premises for n in (p.subject, p.object) if n != middle]
            place = {ends[0]: "X", middle: "M", ends[1]: "Y"}
            assert conclusion in premises or entails(tuple(p.of(place) for p in premises), conclusion.of(place))
            again[conclusion in premises] += 1
    assert 0.25 < again[True] / again.total() < 0.42


def test_all_six_candidates_may_be_kept_and_whatever_follows_is_then_right():
    corpus = Syllogisms(entailed="counted_right").build(0)
    right = Counter(len(set(q.choices) & set(q.answers)) for q in corpus.asked(["conclusion"]))
    assert all(len(q.choices) == 6 for q in corpus.questions) and right == {3: 23, 2: 46}


def test_practice_and_page():
    check_practice(PAPER)
    check_page(Syllogisms, episodes="fresh", episode_count=20)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"items": 5000}, "items = 5000 needs 15000 nonsense nouns"),
        ({"items": 3, "episodes": "fresh", "episode_items": 4}, "episode_items = 4"),
        ({"items": 1}, "items = 1"),
    ],
)
def test_impossible_sizes_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Syllogisms(**fields)
