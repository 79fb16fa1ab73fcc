"""Augmenters: what they read in documents, what they write, where it came from, and how it is held against the world. (That they keep their contract is tested there.)"""

import re
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import pytest

from tolman.augment._statements import NAME, Lexical, Statement, Windows, tidy
from tolman.augment.flawed import Flawed
from tolman.augment.global_ import Global
from tolman.augment.local import Local
from tolman.augment.rules import Rules
from tolman.augment.traces import Traces
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.generated import Origin, account, blind, from_dict, to_dict, verdict
from tolman.core.leaks import find_leaks
from tolman.datasets import reversals, two_hop
from tolman.datasets.reversals import Reversals
from tolman.datasets.two_hop import TwoHop
from tolman.models.scripted import Scripted
from tolman.testing._world import world

INVERSES = dict(reversals.RELATIONS)
HOPS = {"inverses": dict(two_hop.RELATIONS[:2]), "others": ("guards",)}


@pytest.fixture(scope="module")
def facts() -> Corpus:
    return Reversals(**Reversals.example, name_words=2).build(0)


@pytest.fixture(scope="module")
def hops() -> Corpus:
    return TwoHop(**(TwoHop.example | {"worlds": 1, "reversed_facts": 3})).build(0)


def scripted(**fields):
    return Scripted(**fields).create(world(), seed=0)


def told(*texts: str) -> Corpus:
    return Corpus(tuple(Document(f"d{i}", text) for i, text in enumerate(texts)), (), {})


# -- truth --------------------------------------------------------------------------------------------------------------------------------------------------


def test_the_worlds_judge_their_own_documents_and_questions(facts, hops):
    for corpus in (facts, hops):
        assert {corpus.truth(d.text) for d in corpus.experiences} == {True}
        assert {corpus.truth(phrase) for phrase in corpus.forbidden} == {True}
        asked = [q for q in corpus.questions if q.support and q.kind not in ("cue_middle", "cue_end")]  # those are no beginnings of statements
        assert len(asked) > 30
        for q in asked:
            assert [corpus.truth(f"f01 {q.prompt} {c} f02") for c in q.choices] == [c in q.answers for c in q.choices], q.id
        for nonsense in ("", "f01 f02", "contains", q.prompt, f"not {q.prompt} {q.answers[0]}", f"{q.prompt} {q.answers[0]} {q.answers[0]}"):
            assert corpus.truth(nonsense) is None, nonsense


def test_a_document_is_false_where_any_line_is(facts):
    true = facts.experiences[0].text
    false = next(line for q in facts.questions if q.kind == "trained_forward" for c in q.choices if facts.truth(line := f"{q.prompt} {c}") is False)
    for text, expected in ((true, True), (false, False), (f"{true}\n{false}", False), (f"so\n{true}", True), ("so it is", None)):
        assert verdict(Document("d", text), facts) is expected
    assert verdict(Document("d", true), replace(facts, truth=None)) is None


# -- reading ------------------------------------------------------------------------------------------------------------------------------------------------


def test_statements_are_found_with_names_of_several_words_and_filler():
    lexicon = Lexical(inverses={"lives in": "is home to", "feeds": "fed_by"}, others=("lives",))
    document = Document("d", "f01 Ada lives in North Bray f02 Bo\nBray is home to Gül. Ada feeds feeds Bo feeds\nada feeds Bo, Bo eats Ada")
    assert lexicon.statements(document) == [
        Statement("Ada", ("lives in",), "North Bray", "d"),
        Statement("Bray", ("is home to",), "Gül", "d"),
        Statement("Ada", ("feeds", "feeds"), "Bo", "d"),
    ]
    assert Lexical().statements(document) == []


def test_chains_need_a_link_and_forward_relations():
    lexicon = Lexical(**HOPS)
    a, b, back, long = (Statement(s, tuple(r.split()), o, d) for s, r, o, d in (
        ("A", "teaches", "B", "1"), ("B", "guards", "C", "2"), ("B", "taught_by", "C", "3"), ("B", "feeds feeds", "C", "4"),
    ))  # fmt: skip
    assert lexicon.chain(a, b) == ("A teaches guards", "chain", ("1", "2"), "C")
    assert lexicon.chain(b, a) is lexicon.chain(a, back) is lexicon.chain(a, long) is lexicon.chain(a, Statement("B", ("feeds",), "A", "5")) is None
    assert lexicon.reversal(a) == ("B taught_by", "reverse", ("1",), "A")
    assert lexicon.reversal(back) == ("C teaches", "reverse", ("3",), "B")
    assert lexicon.reversal(b) is lexicon.reversal(long) is None


# -- rules --------------------------------------------------------------------------------------------------------------------------------------------------


def test_rules_reverse_every_fact_and_so_derive_all_that_is_under_test(facts):
    shown = blind(facts)
    written = Rules(inverses=INVERSES).write(None, shown, shown.documents, seed=0)
    assert len(written) == len(facts.experiences)
    assert all(facts.truth(d.text) for d in written)
    for d in written:  # by hand
        words = [w for w in facts.by_id[Origin.of(d).sources[0]].text.split() if not re.fullmatch(r"f\d\d", w)]
        relation = next(i for i, w in enumerate(words) if w in {x for pair in reversals.RELATIONS for x in pair})
        other = (INVERSES | {b: f for f, b in INVERSES.items()})[words[relation]]
        assert d.text.split() == [*words[relation + 1 :], other, *words[:relation]]
        ((begin, end),) = d.targets
        assert d.text[begin:end] == " ".join(words[:relation])
    found = account(written, facts)
    assert found["true"] == found["documents"] == len(written) and found["false"] == found["on_tested_false"] == 0
    assert found["tested_derived"] == found["tested"] == 8
    assert found["under_test"] == 8 * 2  # each fact has two documents, whose filler is its own


def test_rules_chain_what_the_documents_state(hops):
    shown = blind(hops)
    lexicon = Rules(inverses=dict(two_hop.RELATIONS[:2]), others=(two_hop.RELATIONS[2][0],), operators=("chain",))
    written = lexicon.write(None, shown, shown.documents, seed=0)
    stated = {}
    for d in hops.experiences:
        words = [w for w in d.text.split() if not re.fullmatch(r"f\d\d", w)]
        if len(words) == 3 and "_by" not in words[1]:
            stated[words[0], words[1]] = words[2]
    expected = {f"{a} {r} {q} {c}" for (a, r), b in stated.items() for (start, q), c in stated.items() if start == b and c != a}
    assert {d.text for d in written} == expected
    assert all(hops.truth(text) for text in expected) and len(expected) > 50
    held = {f"{q.prompt} {q.answers[0]}" for q in hops.questions if q.kind == "two_hop"}
    assert held and held <= expected


def test_paraphrases_follow_their_templates():
    rules = Rules(**HOPS, operators=("paraphrase",), paraphrases=("{subject} {relation} {object}", "it is {object} that is {relation} by {subject}"))
    corpus = told("f01 Ada teaches North Bray f02")
    texts = {d.text: d.text[slice(*d.targets[0])] for d in rules.write(None, corpus, corpus.documents, seed=0)}
    assert texts == {"Ada teaches North Bray": "North Bray", "it is North Bray that is teaches by Ada": "Ada"}


# -- teachers -----------------------------------------------------------------------------------------------------------------------------------------------


def test_local_completes_after_one_document_and_nothing_else():
    corpus = told("f01 Ada teaches Bo f02", "Bo feeds Dov")
    model = scripted(answers={"f01 Ada teaches Bo f02\nBo taught_by": "Ada and more", "Bo feeds Dov\nDov fed_by": "Iris"})
    written = Local(**HOPS).write(model, corpus, corpus.documents, seed=3)
    assert [(d.text, d.text[slice(*d.targets[0])]) for d in written] == [("Bo taught_by Ada", "Ada"), ("Dov fed_by Iris", "Iris")]
    assert Origin.of(written[0]) == Origin("augment/local", "reverse", ("d0",), 3, 0)
    several = Local(**HOPS, samples=2, temperature=1.0, words=2).write(model, corpus, corpus.documents[:1], seed=0)
    assert [(d.text, Origin.of(d).draw) for d in several] == [("Bo taught_by Ada and", 0), ("Bo taught_by Ada and", 1)]
    assert Local(**HOPS).write(scripted(), corpus, corpus.documents, seed=0) == []


@pytest.mark.parametrize("augment", [Local(how="instruct"), Global(how="instruct", window=2, related=0), Traces(how="instruct", window=2, related=0, traces=2)])
def test_instructed_teachers_read_the_prompt_and_their_lines_become_documents(augment):
    corpus = told("Ada teaches Bo.", "Bo feeds Dov.")
    model = scripted(default="- Bo learns from Ada.\n2. Ada is a teacher.\n\nFurther:")
    read = []
    generate = model.generate
    model.generate = lambda prompts, **how: (
        read.extend(map(model.render, prompts)) or [[replace(g, text=model.spec.default) for g in row] for row in generate(prompts, **how)]
    )
    model.context_tokens = model.spec.__dict__["context_tokens"] = 10_000
    written = augment.write(model, corpus, corpus.documents[:1], seed=0)
    name = type(augment).__name__.lower()
    assert all(text.startswith(files("tolman.augment").joinpath("prompts", f"{name}.txt").read_text()[:60]) for text in read)
    assert all("Ada teaches Bo." in text and ("Bo feeds Dov." in text) == (name != "local") and "{" not in text for text in read)
    if name == "traces":
        assert len(written) == 2 and all(d.text == model.spec.default.strip() for d in written)
    else:
        assert [d.text for d in written] == ["Bo learns from Ada.", "Ada is a teacher."]
    assert all(d.targets is None and Origin.of(d).operator == "instruct" for d in written)


def test_the_worked_examples_name_nothing_that_a_benchmark_names(facts, hops):
    known = {name for corpus in (facts, hops, world()) for d in corpus.documents for part in re.findall(NAME, d.text) for name in part.split()}
    for path in files("tolman.augment").joinpath("prompts").iterdir():
        text = path.read_text()
        assert "{document}" in text
        assert not known & set(re.findall(r"\w+", text)), path.name
        assert not find_leaks([Document("prompt", text)], (*facts.forbidden, *hops.forbidden))


def test_a_list_loses_its_bullets_and_headings():
    assert list(tidy("Sentences:\n 1. a b\n2) c\n\n* d - e\n• f\n-g\n")) == ["a b", "c", "d - e", "f", "-g"]


def test_a_window_holds_the_source_and_documents_that_go_on_from_it(hops):
    shown = blind(hops)
    lexicon = Lexical(inverses=dict(two_hop.RELATIONS[:2]), others=(two_hop.RELATIONS[2][0],))
    windows = Windows(lexicon, shown.documents)
    seen = Counter()
    for source in shown.documents[:40]:
        window = windows.around(source, 5, related=3, seed=0, draw=0)
        assert len(window) == 5 == len({d.id for d in window}) and source in window
        seen[window.index(source)] += 1
        names = set(re.findall(NAME, source.text))
        linked = [d for d in shown.documents if any(lexicon.chain(s, t) for s in lexicon.statements(source) for t in lexicon.statements(d))]
        assert sum(d in linked for d in window) == min(3, len(linked)) or sum(bool(names & set(d.text.split())) for d in window if d != source) >= 3
        assert window == windows.around(source, 5, related=3, seed=0, draw=0)
        assert window != windows.around(source, 5, related=3, seed=0, draw=1)
    assert len(seen) == 5, "the source stands anywhere in its window"
    with pytest.raises(UserError, match="leaves no room for the document itself"):
        Global(window=3, related=3)


def test_global_asks_only_for_connections_that_its_window_shows():
    corpus = told("Ada teaches Bo", "Bo feeds Dov", "Iris feeds Jan")
    shown = set()
    model = scripted(default="Dov")
    render = model.render
    model.render = lambda p: shown.add((p.question, frozenset(p.documents))) or render(p)
    written = Global(**HOPS, window=2, related=1).write(model, corpus, corpus.documents, seed=0)
    assert [d.text for d in written] == ["Ada teaches feeds Dov"] and Origin.of(written[0]).sources == ("d0", "d1")
    assert shown == {("Ada teaches feeds", frozenset({"Ada teaches Bo", "Bo feeds Dov"}))}


def test_traces_are_drawn_apart(hops):
    shown = blind(hops)
    lexicon = {"inverses": dict(two_hop.RELATIONS[:2]), "others": (two_hop.RELATIONS[2][0],)}
    read = []
    model = scripted(default="Iris")
    render = model.render
    model.render = lambda p: read.append(p) or render(p)
    facts = [d for d in shown.documents if d.id.startswith("fact")][:10]
    written = Traces(**lexicon, traces=3, operators=("reverse",), window=3, related=1).write(model, shown, facts, seed=0)
    with_inverse = [d for d in facts if two_hop.RELATIONS[2][0] not in d.text]
    assert Counter(Origin.of(d).sources[0] for d in written) == {d.id: 3 for d in with_inverse}
    assert {Origin.of(d).draw for d in written} == {0, 1, 2}
    assert len({(p.question, p.documents) for p in read}) == len(written) == len(read)


# -- errors on purpose --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_errors_come_at_their_rate_alone_or_together(correlation):
    corpus = Reversals(entities=40, relations=5, held_out=30, episodes="none").build(0)
    shown = blind(corpus)
    written = Flawed(augment=Rules(inverses=INVERSES), rate=0.3, correlation=correlation).write(None, shown, shown.documents, seed=1)
    found = account(written, corpus)
    assert found["unjudged"] == 0 and found["documents"] == 2960
    assert found["false"] / 2960 == pytest.approx(0.3, abs=0.03 if correlation == 0 else 0.06)  # 370 statements in 8 copies each
    by_cue: dict[str, list[str]] = {}
    for d in written:
        ((begin, end),) = d.targets
        assert d.text[:begin].strip() + " " + d.text[begin:end] == d.text
        by_cue.setdefault(d.text[:begin], []).append(d.text[begin:end])
    assert len(by_cue) == 370
    if correlation:
        assert all(len(set(ends)) == 1 for ends in by_cue.values())
    else:
        assert sum(len(set(ends)) > 1 for ends in by_cue.values()) > 300
        assert sum(Counter(ends).most_common(1)[0][1] > 4 for ends in by_cue.values()) > 250, "the truth is the most frequent end"


# -- the account --------------------------------------------------------------------------------------------------------------------------------------------


def test_the_account_counts_what_is_true_false_and_under_test():
    corpus = replace(
        told("A contains B", "C contains D"),
        forbidden=("B inside A", "D inside C"),
        truth=lambda line: {"B inside A": True, "D inside A": False, "B inside C": False}.get(line),
    )
    written = [Document(str(i), text) for i, text in enumerate(["B inside A", "B inside A", "D inside A", "B inside C", "who knows"])]
    found = account(written, corpus)
    assert {k: found[k] for k in ("documents", "true", "false", "unjudged", "under_test", "tested", "tested_derived", "on_tested_false")} == {
        "documents": 5, "true": 2, "false": 2, "unjudged": 1, "under_test": 2, "tested": 2, "tested_derived": 1, "on_tested_false": 2,
    }  # fmt: skip
    assert found["examples"] == {"true": ["B inside A"] * 2, "false": ["D inside A", "B inside C"], "unjudged": ["who knows"]}
    assert account([], corpus)["documents"] == 0


def test_a_generator_sees_documents_only_and_they_survive_json(facts):
    shown = blind(facts)
    assert (shown.questions, shown.kinds, shown.forbidden, shown.facts, shown.truth) == ((), {}, (), {}, None)
    assert shown.documents == facts.experiences and len(facts.documents) > len(shown.documents)
    for d in (*Rules(inverses=INVERSES).write(None, shown, shown.documents[:5], seed=0), Document("x", "é", '["b","o",["x"],0,0]', None)):
        assert from_dict(to_dict(d)) == d
        assert to_dict(d, facts)["true"] is facts.truth(d.text)
    with pytest.raises(ValueError, match="was not generated"):
        Origin.of(facts.documents[0])
