"""What the tests of the generated-language datasets share: pages whose generated parts match the code, and checks that hold for all of them.

Generated parts stand between `<!-- NAME -->` and `<!-- /NAME -->`. `TOLMAN_WRITE_DOCS=1 pytest tests/test_ds_*.py` writes them anew.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace

from dataset_pages import FOLDER, PART, fields, marked, scales
from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question


def check_page(dataset: type[Component], scale: str = "quick", **fields_of_sample: object) -> None:
    """The generated parts of docs/datasets/<name>.md are what the code says; documents and questions are those of `scale`, with these fields."""
    name = dataset.address().split("/")[1]
    path = FOLDER / f"{name}.md"
    corpus: Corpus = dataset.at(scale, **fields_of_sample).build(0)  # type: ignore[attr-defined]
    parts = {"fields": fields(dataset), "scales": scales(dataset), "kinds": kinds(corpus), "sample": sample(corpus)}
    text = path.read_text(encoding="utf-8")
    found = {match[2] for match in PART.finditer(text)}
    assert found == set(parts), f"{path.name} lacks the parts {sorted(set(parts) - found)}"
    new = PART.sub(lambda match: match[1] + parts[match[2]] + match[4], text)
    if os.environ.get("TOLMAN_WRITE_DOCS"):
        path.write_text(new, encoding="utf-8")
    else:
        assert text == new, f"{path.name} is out of date: run TOLMAN_WRITE_DOCS=1 pytest tests/test_ds_{name}.py"


def kinds(corpus: Corpus) -> str:
    """What is asked, and what a guesser among the choices and one among all candidates score."""
    rows = []
    for name, kind in corpus.kinds.items():
        asked = corpus.asked([name])
        among_choices = sum(len({*q.choices} & {*q.answers}) / len(q.choices) for q in asked) / len(asked)
        form, beside = "latent" if kind.latent else "trained", f"`{kind.beside}`" if kind.beside else ""
        rows.append(f"| `{name}` | {kind.description} | {form} | {beside} | {100 * among_choices:.1f} % | {100 * kind.chance:.1f} % | {len(asked)} |")
    head = ["| kind | what is asked | form | beside | chance, choice | chance, open | questions |", "|---|---|---|---|---:|---:|---:|"]
    return "\n".join([*head, *rows]) + "\n"


def sample(corpus: Corpus) -> str:
    """The first document of each provenance, and the first question of each kind."""
    documents: dict[str, Document] = {}
    for document in corpus.documents:
        documents.setdefault(document.provenance, document)
    questions: dict[str, Question] = {}
    for question in corpus.asked():
        questions.setdefault(question.kind, question)
    blocks = [f"document {d.id} ({d.role})\n{_indented(marked(d))}" for d in documents.values()]
    for kind, q in questions.items():
        lines = f"{q.prompt} -> {q.answers[0]}\nchoices: {' | '.join(q.choices)}\nsupported by {', '.join(q.support)}"
        blocks.append(f"question of kind {kind}\n{_indented(lines)}")
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


def check_pace(dataset: Component, least_per_s: float) -> None:
    """The dataset builds at least so many documents a second (processor time, the best of three). A tenth of what is promised, as machines differ."""
    best = float("inf")
    for seed in range(3):
        before = time.process_time()
        documents = len(dataset.build(seed).documents)  # type: ignore[attr-defined]
        best = min(best, (time.process_time() - before) / documents)
    assert 1 / best > least_per_s, f"{dataset.address()} builds {1 / best:.0f} documents a second"


def check_practice(dataset: Component) -> None:
    """With `practice` a share of the clusters is set aside, and nothing else changes."""
    whole: Corpus = dataset.build(0)  # type: ignore[attr-defined]
    parted: Corpus = dataset.replace("practice", 0.3).build(0)  # type: ignore[attr-defined]
    assert [replace(q, split="test") for q in parted.questions] == list(whole.questions) and parted.documents == whole.documents
    clusters: Mapping[str, set[str]] = {split: {q.cluster for q in parted.questions if q.split == split} for split in ("practice", "test")}
    assert not clusters["practice"] & clusters["test"]
    share = len(clusters["practice"]) / len({q.cluster for q in whole.questions})
    assert abs(share - 0.3) < 0.1
