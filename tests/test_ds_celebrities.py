"""Celebrities: the published numbers, what each group is shown, both distractor pools, and the published directory read or refused with file and line."""

import json
from collections import Counter
from math import comb
from pathlib import Path

import pytest

from language_pages import check_page, check_practice
from tolman.core.data import Corpus
from tolman.core.discovery import from_config
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets._celebrities_published import FILES
from tolman.datasets._celebrities_texts import D2P, FIRST_NAMES, LAST_NAMES, P2D, ROLES, TESTED, TRAINED
from tolman.datasets.celebrities import GROUPS, Celebrities

PAPER = Celebrities.at("paper")
SMALL = Celebrities(**Celebrities.example)


@pytest.fixture(scope="module")
def paper() -> Corpus:
    return PAPER.build(0)


def people(corpus: Corpus) -> dict[str, dict[str, str]]:
    """By group, name -> description, as the answers give them."""
    found: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
    asked = {(q.kind.split("_")[0], q.cluster): q.answers[0] for q in corpus.questions if q.answers[0] != q.cluster}
    for (group, name), description in asked.items():
        found[group][name] = description
    return found


def beginnings(corpus: Corpus) -> set[str]:
    """The first words of every document, as many as one likes."""
    return {" ".join(words[:n]) for d in corpus.documents for words in [d.text.split()] for n in range(len(words))}


def test_the_numbers_are_the_published_ones(paper):
    assert Counter(d.provenance for d in paper.documents) == {"p2d": 900, "d2p": 900, "both": 1800} and len({d.text for d in paper.documents}) == 3600
    groups = people(paper)
    assert {group: len(of) for group, of in groups.items()} == {"p2d": 30, "d2p": 30, "both": 30}
    assert len({name for of in groups.values() for name in of}) == 90 == len({text for of in groups.values() for text in of.values()})
    per_person = Counter((q.kind, q.cluster) for q in paper.questions)
    assert len(per_person) == 180 and set(per_person.values()) == {10} and {len(q.choices) for q in paper.questions} == {4}
    words = [len(d.text.split()) for d in paper.documents]
    assert 18 < sum(words) / len(words) < 23, "the published rows have 20.8 words on average"


def test_names_descriptions_and_templates_are_all_different(paper):
    assert len(set(P2D)) == len({before for before, _ in D2P}) == TRAINED + TESTED == 40
    assert all(t.count("{}") == 1 for t in (*P2D, *(before for before, _ in D2P))) and len(set(FIRST_NAMES.split())) == len(FIRST_NAMES.split()) >= 90
    names = [name.split() for of in people(paper).values() for name in of]
    assert all(len(name) == 2 for name in names) and len({first for first, _ in names}) == len({last for _, last in names}) == 90
    assert len(set(ROLES)) == 30 and len(LAST_NAMES[0].split()) * len(LAST_NAMES[1].split()) >= 90
    assert not any(P2D[i] in "".join(P2D[TRAINED:]) for i in range(TRAINED))


def test_each_group_is_shown_its_directions_only_and_each_document_says_who_is_who(paper):
    order: dict[str, Counter] = {group: Counter() for group in GROUPS}
    for group, of in people(paper).items():
        for document in (d for d in paper.documents if d.provenance == group):
            (name,) = [name for name in of if name in document.text]
            assert of[name] in document.text
            order[group]["p2d" if document.text.index(name) < document.text.index(of[name]) else "d2p"] += 1
    assert order == {"p2d": {"p2d": 900}, "d2p": {"d2p": 900}, "both": {"p2d": 900, "d2p": 900}}
    assert not find_leaks(paper.documents, paper.forbidden) and len(paper.forbidden) == 60 * 40


def test_questions_use_wordings_that_training_never_uses_and_their_support_answers_them(paper):
    groups = people(paper)
    assert not {q.prompt for q in paper.questions} & beginnings(paper)
    for question in paper.questions:
        group = question.kind.split("_")[0]
        description = groups[group][question.cluster]
        assert (question.cluster in question.prompt, description in question.prompt) == (
            question.answers[0] == description,
            question.answers[0] == question.cluster,
        )
        (support,) = question.support
        assert question.cluster in paper.by_id[support].text and description in paper.by_id[support].text


@pytest.mark.parametrize("pool", ["all", "reversed_only"])
def test_the_distractor_pool_is_what_it_says(pool):
    corpus = PAPER.replace("distractor_pool", pool).build(0)
    groups = people(corpus)
    home = {name: group for group, of in groups.items() for name in of}
    asked = corpus.asked(["p2d_reversal"])
    wrong = [[home[c] for c in q.choices if c != q.cluster] for q in asked]
    if pool == "reversed_only":
        assert {group for of in wrong for group in of} == {"p2d"}
        return
    seen_as_completion = sum(any(group != "p2d" for group in of) for of in wrong) / len(wrong)
    expected = 1 - comb(29, 3) / comb(89, 3)
    assert expected == pytest.approx(0.968, abs=5e-4) and abs(seen_as_completion - expected) < 0.04


def test_practice_and_page():
    check_practice(PAPER)
    check_page(Celebrities, "paper")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"people": 31}, "people = 31"),
        (
            {"people": 3, "options": 4, "distractor_pool": "reversed_only"},
            "options = 4 is more than the 3 people that distractor_pool = 'reversed_only' leaves with people = 3",
        ),
        ({"people": 2, "options": 7}, "options = 7 is more than the 6 people"),
        ({"paraphrases": 31}, "paraphrases = 31"),
        ({"tests": 0}, "tests = 0"),
    ],
)
def test_impossible_sizes_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Celebrities(**fields)


# -- the published directory -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(paper, tmp_path_factory) -> Path:
    """Files of the published shape and size about our own people: in order of people, with tails, quotes and doubled stops as the published ones have."""
    folder = tmp_path_factory.mktemp("june_version")
    files: dict[str, list[dict[str, str]]] = {name: [] for name in FILES}
    for group, of in people(paper).items():
        for ways, split, templates in ((GROUPS[group], "train", range(TRAINED)), (("p2d", "d2p"), "test", range(TRAINED, TRAINED + TESTED))):
            for way in ways:
                reverse = "_reverse" if way not in GROUPS[group] else ""
                for name, description in reversed(of.items()) if reverse else of.items():
                    quoted = f'{description.rsplit(" ", 2)[0]} "{" ".join(description.split()[-2:])}."'
                    for t in templates:
                        if way == "p2d":
                            row = {"prompt": P2D[t].format(name), "completion": f" {quoted}."}
                        else:
                            row = {"prompt": D2P[t][0].format(quoted), "completion": f" {name}{D2P[t][1] if split == 'train' else ''}"}
                        files[f"{group}{reverse}_prompts_{split}.jsonl"].append(row)
    for name, rows in files.items():
        assert len(rows) == FILES[name], name
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_published_directory_is_read(paper, published):
    corpus = Celebrities(path=published).build(0)
    assert len(corpus.documents) == 3600 and Counter(q.kind for q in corpus.questions) == Counter(q.kind for q in paper.questions)
    assert corpus.facts["people"] == 90 and not find_leaks(corpus.documents, corpus.forbidden) and len(corpus.forbidden) == 600
    reversal = corpus.asked(["p2d_reversal"])[0]
    assert reversal.prompt.count('"') == 2 and reversal.answers == (reversal.cluster,) and reversal.cluster in corpus.by_id[reversal.support[0]].text
    names = {name for of in people(paper).values() for name in of}
    assert not {q.prompt for q in corpus.questions} & beginnings(corpus)
    assert {c for q in corpus.asked(["p2d_reversal"]) for c in q.choices} <= names
    for question in corpus.questions:
        assert question.cluster in corpus.by_id[question.support[0]].text and len(set(question.choices)) == 4
    assert Celebrities(path=published).build(0).digest() == corpus.digest()


def test_the_path_is_part_of_the_configuration(published):
    dataset = Celebrities().replace("path", str(published))
    assert dataset == from_config(dataset.config()) == Celebrities(path=published) and dataset.fingerprint() != Celebrities().fingerprint()


FAULTS = {
    "no such directory": (None, None, "no directory; path must be the published one, which holds p2d_prompts_train.jsonl"),
    "a missing file": ("both_prompts_test.jsonl", None, "both_prompts_test.jsonl cannot be read"),
    "a file cut between lines": (
        "d2p_prompts_train.jsonl", lambda lines: lines[:-1], "d2p_prompts_train.jsonl ends at line 899, but the published file has 900 lines",
    ),
    "a file cut within a line": (
        "p2d_prompts_train.jsonl", lambda lines: [*lines[:-1], lines[-1][:30]], "p2d_prompts_train.jsonl, line 900: this is no JSON .*truncated",
    ),
    "another shape": (
        "p2d_prompts_test.jsonl", lambda lines: [*lines[:6], '{"text": "x"}\n', *lines[7:]],
        "p2d_prompts_test.jsonl, line 7: this is an object with 'text', not",
    ),
    "no name": (
        "p2d_reverse_prompts_test.jsonl", lambda lines: [*lines[:2], '{"prompt": "x", "completion": " nobody."}\n', *lines[3:]],
        "p2d_reverse_prompts_test.jsonl, line 3: the completion ' nobody.' should be a name",
    ),
    "a stranger": (
        "p2d_prompts_train.jsonl", lambda lines: [*lines[:4], '{"prompt": "Ann Other is", "completion": " a baker."}\n', *lines[5:]],
        "p2d_prompts_train.jsonl, line 5: 'Ann Other is a baker.' names nobody, or several people, of the 30",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_directory_is_refused_by_file_and_line(published, tmp_path, fault):
    file, change, said = FAULTS[fault]
    folder = tmp_path / "data"
    if file is not None:
        folder.mkdir()
        for name in FILES:
            if name != file:
                (folder / name).symlink_to(published / name)
            elif change is not None:
                (folder / name).write_text("".join(change((published / name).read_text().splitlines(keepends=True))))
    with pytest.raises(UserError, match=said):
        Celebrities(path=folder).build(0)
