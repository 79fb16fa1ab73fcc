"""Semantic structure: the paper's numbers, truth derived anew from what documents say, one true candidate, nothing latent ever said in any wording."""

import re
from collections import Counter

import pytest

from language_pages import check_page, check_practice
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets._pseudowords import lexicon
from tolman.datasets._semantic_wordings import LEAD_INS, QUESTIONS, STATEMENTS, Said, Voice
from tolman.datasets._semantic_world import PROPERTIES, Fact, Levels, World, closure, verbs_for
from tolman.datasets.semantic_structure import KINDS, MAX_SENTENCES, MIN_SENTENCES, SemanticStructure

PAPER, QUICK = SemanticStructure.at("paper"), SemanticStructure.at("quick")
EXAMPLE = SemanticStructure(**SemanticStructure.example)
TEMPLATES = [(form, reverse, wording) for table in (STATEMENTS, QUESTIONS) for form, ways in table.items() for reverse in (0, 1) for wording in ways[reverse]]
PATTERNS = [(form, bool(reverse), re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>[a-z]{4,5})", re.escape(wording)), re.I)) for form, reverse, wording in TEMPLATES]
FRAMES = (r"Facts about [a-z]+:", r"Notes on [a-z]+", r"Dear reader, you asked about [a-z]+", r"Yours, the editor\.")


def sentences(text: str) -> list[str]:
    """The sentences and headings of a document."""
    lines = [line.removeprefix("- ") for line in text.split("\n")]
    return [part for line in lines for part in ([line] if line.startswith("Q: ") else line.split(". ")) if part]


def read(sentence: str, words: dict[str, str]) -> Said | None:
    """What a sentence says, by trying every wording; None for the frame of a document. `words` says what each nonsense word names."""
    if any(re.fullmatch(frame, sentence) for frame in FRAMES):
        return None
    bare = sentence.rstrip(".")
    bare = next((bare[len(lead_in) + 1 :] for lead_in in LEAD_INS if bare.startswith(lead_in + " ")), bare)
    found = set()
    for form, reverse, pattern in PATTERNS:
        if match := pattern.fullmatch(bare):
            named = match.groupdict()
            right = words.get(named["o"]) == (form if form in PROPERTIES else "category") and words.get(named["s"]) == "category"
            if right and (form != "relation" or words.get(named["v"]) == "verb"):
                found.add(Said(Fact(form, named["s"], named["o"], named.get("v", "")), reverse))
    assert len(found) == 1, f"{sentence!r} can be read as {found}"
    return found.pop()


def named(world: World) -> dict[str, str]:
    return {**dict.fromkeys(world.categories, "category"), **dict.fromkeys(world.verbs, "verb"), **{w: f for f, of in world.words.items() for w in of}}


def world_of(spec: SemanticStructure, seed: int) -> World:
    return World(spec.categories, verbs_for(spec.categories), spec.held_out, seed)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return QUICK.build(0)


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(QUICK, 0)


@pytest.fixture(scope="module")
def heard(corpus, world) -> dict[str, list[Said]]:
    """What each document says, read back from its text."""
    words, once = named(world), {}
    for text in (text for document in corpus.documents for text in sentences(document.text)):
        if text not in once:
            once[text] = read(text, words)
    return {document.id: [said for text in sentences(document.text) if (said := once[text])] for document in corpus.documents}


def test_the_numbers_are_the_papers():
    paper, world = PAPER.build(0), world_of(PAPER, 0)
    assert len(world.categories) == 110 and len(paper.documents) == 2200
    own = [sum(fact.form in PROPERTIES for fact in world.own[c]) for c in world.categories if c not in world.held]
    assert min(own) == 1 and max(own) == 6 and set(Counter(own)) == {1, 2, 3, 4, 5, 6}
    assert any(fact.form == "relation" for facts in world.own.values() for fact in facts)
    nonsense = set(named(world))
    assert nonsense <= set(lexicon()) and all(4 <= len(word) <= 5 for word in nonsense)
    for document in paper.documents:
        count = len(sentences(document.text)) * (2 if document.provenance == "qa" else 1)
        assert MIN_SENTENCES <= count <= MAX_SENTENCES + (document.provenance == "qa"), document
    styles = Counter(d.provenance for d in paper.documents)
    assert set(styles) == {"article", "list", "notes", "letter", "qa"} and 0.1 < styles["qa"] / 2200 < 0.2


def test_every_fact_is_stated_and_nothing_false_or_under_test_is(corpus, world, heard):
    said = {s for of in heard.values() for s in of}
    assert all(s.fact in world.true for s in said), "documents say only what is true"
    assert all(Said(fact) in said for facts in world.own.values() for fact in facts)
    assert not find_leaks(corpus.documents, corpus.forbidden)
    repeated = Counter(s for of in heard.values() for s in set(of) if not s.reverse)
    assert max(repeated.values()) > 3


def test_held_out_categories_are_known_by_their_parent_only(world, heard):
    held = set(world.held)
    assert len(held) == 6 == len({world.parent[c] for c in held}) and not any(world.children[c] for c in held)
    about = {s for of in heard.values() for s in of if held & {s.fact.subject, s.fact.object}}
    assert about == {Said(Fact("category", c, world.parent[c] or "")) for c in held}


def asked(question, words) -> Said:
    """What a question asks for with its first answer, read back from its text."""
    said = read(f"{question.prompt} {question.answers[0]}.", words)
    assert said is not None and said.asked == question.answers[0]
    return said


def test_of_the_candidates_one_follows_from_what_the_documents_say(corpus, world, heard):
    words = named(world)
    stated = {s.fact for of in heard.values() for s in of}
    true = closure(stated)
    untold = {Said(fact, reverse) for fact in true for reverse in (False, True)} - {s for of in heard.values() for s in of}
    for question in corpus.questions:
        said = asked(question, words)

        def of(word: str, said=said) -> Said:
            return Said(said.fact._replace(**{"subject" if said.reverse else "object": word}), said.reverse)

        assert [c for c in question.choices if of(c).fact in true] == [question.answers[0]], question
        latent = KINDS[question.kind].get("latent", False)
        assert set(question.answers) == {w for w in words if of(w).fact in true and (not latent or of(w) in untold)}
        elsewhere = {(f.subject if said.reverse else f.object) for f in true if f.predicate == said.fact.predicate}
        held = set(world.held) if said.asked in world.held else set()
        assert set(question.choices) <= elsewhere | held, "wrong candidates are true of something else"


def test_support_suffices_and_kinds_ask_what_they_say(corpus, world, heard):
    words = named(world)
    told = {s for of in heard.values() for s in of}
    steps: dict[str, Counter] = {}
    for question in corpus.questions:
        said = asked(question, words)
        shown = {s.fact for id in question.support for s in heard[id]}
        assert said.fact in closure(shown), question
        latent = KINDS[question.kind].get("latent", False)
        assert (said in told) != latent and (question.kind.startswith("reversal") <= said.reverse)
        steps.setdefault(question.kind, Counter())[len(world.proof(said.fact))] += 1
        if latent:
            beside = [asked(q, words).fact for q in corpus.asked([KINDS[question.kind]["beside"]]) if q.cluster == question.cluster]
            assert set(beside) <= set(world.proof(said.fact)) and (question.kind == "holdout" or len(beside) == len(world.proof(said.fact)))
    assert set(steps["syllogism"]) == {2} and min(steps["deduction"]) == 3 and set(steps["reversal_property"]) == {1} and min(steps["holdout"]) >= 1
    assert {k: sum(n.values()) for k, n in steps.items() if k.startswith(("reversal", "syllogism")) and "premises" not in k} == dict.fromkeys(
        ("reversal_category", "reversal_property", "reversal_relation", "syllogism"), 12
    )


def test_rephrasings_use_a_wording_that_was_never_used_for_the_fact(corpus):
    asked = corpus.asked([kind for kind, about in KINDS.items() if not about.get("latent")])
    assert not any(q.prompt.startswith("Q:") for q in asked)
    assert not find_leaks(corpus.documents, {f"{q.prompt} {q.answers[0]}" for q in asked})


def by_company(corpus: Corpus, words: dict[str, str]) -> dict[str, float]:
    """By latent kind, how often the candidate that stands in most documents with what the question names is the right one."""
    documents = [set(re.findall(r"[a-z]+", d.text)) & set(words) for d in corpus.experiences]
    right: dict[str, list[bool]] = {}
    for question in (q for q in corpus.questions if KINDS[q.kind].get("latent")):
        names = [w for w in re.findall(r"[a-z]+", question.prompt) if words.get(w, "verb") != "verb"]
        near = [d for d in documents if set(names) <= d]
        shared = {c: sum(c in d for d in near) for c in question.choices}
        right.setdefault(question.kind, []).append(all(shared[c] < shared[question.answers[0]] for c in question.choices if c != question.answers[0]))
    return {kind: sum(found) / len(found) for kind, found in right.items()}


def test_near_distractors_take_away_what_word_statistics_tell():
    words = named(world_of(PAPER, 0))
    near, any_ = (by_company(PAPER.replace("distractors", way).build(0), words) for way in ("near", "any"))
    for kind in ("syllogism", "deduction", "holdout"):
        assert near[kind] < any_[kind] - 0.2, (kind, near, any_)
    assert sum(near.values()) < sum(any_.values()) - 1


def test_closure_is_what_two_rules_derive_step_by_step():
    for seed in range(3):
        world = world_of(EXAMPLE, seed)
        true = {fact for facts in world.own.values() for fact in facts}
        while True:
            kinds_of = [(f.subject, f.object) for f in true if f.form == "category"]
            new = {fact._replace(subject=low) for low, high in kinds_of for fact in true if fact.subject == high}
            if new <= true:
                break
            true |= new
        assert true == world.true
        assert all(closure(world.proof(fact)) >= {fact} for fact in world.true)
        sizes = Counter(len(world.ancestors(c)) for c in world.categories)
        assert tuple(sizes[level] for level in range(4)) == Levels.of(len(world.categories))
        assert all(len(of) >= 2 for c, of in world.children.items() if len(world.ancestors(c)) < 3)


def test_wordings_end_with_what_is_asked_and_none_is_part_of_another_fact():
    voice = Voice()
    facts = [Said(Fact(form, "xsub", "xobj", "xverb" if form == "relation" else ""), reverse) for form in STATEMENTS for reverse in (False, True)]
    texts = [text for said in facts for text in voice.wordings(said)]
    assert len(set(texts)) == len(texts) == len(TEMPLATES)
    for said in facts:
        assert all(voice.prompt(said, i) and text.endswith(said.asked) for i, text in enumerate(voice.wordings(said)))


def test_in_context_sequences_answer_from_what_they_say_and_say_nothing_of_the_corpus():
    spec = SemanticStructure.at("quick", episodes="fresh", episode_count=150)
    corpus, world = spec.build(0), world_of(spec, 0)
    words = named(world)
    assert not find_leaks(corpus.documents, corpus.forbidden)
    forms = Counter()
    for document in (d for d in corpus.documents if d.role == "exercise"):
        first = document.text[: document.targets[0][0]].rsplit("\n", 1)[0]
        told = {said.fact for text in sentences(first) if (said := read(text, words))}
        true = closure(told)
        assert told and not told & world.true
        asked_lines = document.text[len(first) + 1 :].split("\n")
        for line, (a, b) in zip(asked_lines, document.targets, strict=True):
            said = read(line, words)
            assert said is not None and said.asked == document.text[a:b] and said.fact in true
            same = {
                f.subject if said.reverse else f.object
                for f in true
                if f.predicate == said.fact.predicate and (f.object == said.fact.object if said.reverse else f.subject == said.fact.subject)
            }
            assert said.reverse or said.fact.form == "category" or same == {said.asked}
            forms[("reversed" if said.reverse else "stated" if said.fact in told else "derived"), said.fact.form] += 1
    assert {way for way, _ in forms} == {"reversed", "stated", "derived"} and min(forms.values()) > 2


def test_practice_and_page():
    check_practice(EXAMPLE.replace("asked", 8))
    check_page(SemanticStructure, episodes="fresh", episode_count=20)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"categories": 40, "held_out": 20}, "held_out = 20 is more than the 10 families"),
        ({"categories": 20}, "categories = 20"),
        ({"documents": 60}, r"documents = 60 is too few to state all \d+ facts about categories = 110; try 440"),
        ({"asked": 90}, r"asked = 90 is more than the \d+ facts for reversal_\w+ that categories = 110 gave, each with options = 4 candidates"),
        ({"categories": 30, "held_out": 2, "asked": 2, "options": 30}, "options = 30"),
    ],
)
def test_impossible_sizes_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        SemanticStructure(**fields).build(0)


def test_a_true_candidate_stops_the_build(monkeypatch):
    monkeypatch.setattr(World, "wrong", lambda self, fact, pool, *, reverse: self.fillers(fact, reverse=reverse)[:1] + list(pool))
    with pytest.raises(AssertionError, match=r"is true as well|twice among its choices"):
        EXAMPLE.build(0)
