"""What the tests of the token-level datasets share: statements without filler, and documentation pages whose generated parts must match the code.

Generated parts stand between `<!-- NAME -->` and `<!-- /NAME -->`. `TOLMAN_WRITE_DOCS=1 pytest -k page` writes them anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question

FOLDER = Path(__file__).parents[1] / "docs" / "datasets"
PART = re.compile(r"(<!-- (\w+) -->\n)(.*?)(<!-- /\2 -->)", re.S)
FILLER = re.compile(r"f\d\d")


def bare(text: str) -> list[list[str]]:
    """The words of each line, without filler."""
    return [[word for word in line.split() if not FILLER.fullmatch(word)] for line in text.split("\n")]


def asked_lines(document: Document) -> Iterator[tuple[list[list[str]], str, str]]:
    """Each target of an exercise: the lines before it, its own line up to it (without filler), and the target."""
    for begin, end in document.targets or ():
        *before, cue = bare(document.text[:begin])
        yield before, " ".join(cue), document.text[begin:end]


def check_page(dataset: type[Component]) -> None:
    """The generated parts of docs/datasets/<name>.md are what the code says."""
    name = dataset.address().split("/")[1]
    path = FOLDER / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    parts = {"fields": fields, "scales": scales, "kinds": kinds, "sample": sample}
    found = {match[2] for match in PART.finditer(text)}
    assert found == set(parts), f"{path.name} lacks the parts {sorted(set(parts) - found)}"
    new = PART.sub(lambda match: match[1] + parts[match[2]](dataset) + match[4], text)
    if os.environ.get("TOLMAN_WRITE_DOCS"):
        path.write_text(new, encoding="utf-8")
    else:
        assert text == new, f"{path.name} is out of date: run TOLMAN_WRITE_DOCS=1 pytest -k page"


def fields(dataset: type[Component]) -> str:
    rows = [f"| `{name}` | `{info.default}` | {' '.join((info.description or '').split())} |" for name, info in dataset.model_fields.items()]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows]) + "\n"


def scales(dataset: type[Component]) -> str:
    names = list(dict.fromkeys(name for values in dataset.scales.values() for name in values))
    rows = [f"| `{scale}` | " + " | ".join(str(getattr(dataset.at(scale), name)) for name in names) + " |" for scale in dataset.scales]
    return "\n".join(["| scale | " + " | ".join(f"`{name}`" for name in names) + " |", "|---|" + "---:|" * len(names), *rows]) + "\n"


def kinds(dataset: type[Component]) -> str:
    corpus: Corpus = dataset.at("quick").build(0)  # type: ignore[attr-defined]
    rows = [
        f"| `{name}` | {kind.description} | {'latent' if kind.latent else 'control' if kind.control else 'trained'} | "
        f"{f'`{kind.beside}`' if kind.beside else ''} | {100 * kind.chance:.1f} % | {len(corpus.asked([name]))} |"
        for name, kind in corpus.kinds.items()
    ]
    return "\n".join(["| kind | what is asked | form | beside | chance | questions |", "|---|---|---|---|---:|---:|", *rows]) + "\n"


def sample(dataset: type[Component]) -> str:
    """The first document of each sort, two in-context sequences, and the first question of each kind."""
    corpus: Corpus = dataset.at("quick").build(0)  # type: ignore[attr-defined]
    sorts: dict[str, Document] = {}
    for document in corpus.experiences:
        sorts.setdefault(re.sub(r":[\d:-]+$", "", document.id), document)
    long = [d for d in corpus.documents if d.role == "exercise" and 5 <= d.text.count("\n") <= 8][:2]
    questions: dict[str, Question] = {}
    for question in corpus.asked():
        questions.setdefault(question.kind, question)
    blocks = [f"{d.id} ({d.role})\n" + "\n".join("    " + line for line in marked(d).split("\n")) for d in (*sorts.values(), *long)]
    for kind, q in questions.items():
        support = [f"    support: {corpus.by_id[id].text}" for id in q.support]
        blocks.append("\n".join([f"question of kind {kind}", f"    {q.prompt} -> {q.answers[0]}", f"    choices: {' | '.join(q.choices)}", *support]))
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def marked(document: Document) -> str:
    """The text with its targets in brackets."""
    text = document.text
    for begin, end in reversed(document.targets or ()):
        text = f"{text[:begin]}[{text[begin:end]}]{text[end:]}"
    return text
