"""Generated documents: where each came from, and what is known of them once they are held against the world and against the test.

What augmentation may see is the documents, never the questions, the answers or the world's own list of facts. From "A contains B" it may well derive "B inside A", which
is under test: to make such statements is what it is for. So a derived statement that coincides with a tested one is no leak, but it is counted; a leak is
a statement under test in what a generator was *shown* (its prompts, worked examples, lexicon), for then it was told what it claims to derive.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tolman.core.data import Corpus, Document
from tolman.core.leaks import find_leaks

EXAMPLES = 3
"""So many generated documents of each verdict are quoted in the record."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a document was made: by which `operator` (or prompt) of the component `by`, from which `sources` (document ids), under which seed, as which `draw`."""

    by: str
    operator: str
    sources: tuple[str, ...]
    seed: int
    draw: int = 0

    def __str__(self) -> str:
        """As a document's provenance holds it."""
        return json.dumps([self.by, self.operator, self.sources, self.seed, self.draw], ensure_ascii=False)

    @classmethod
    def of(cls, document: Document) -> Self:
        """Reads a generated document's provenance. Raises ValueError for one that no generator wrote."""
        try:
            by, operator, sources, seed, draw = json.loads(document.provenance)
        except ValueError as error:
            raise ValueError(f"document {document.id!r} was not generated: its provenance is {document.provenance!r}") from error
        return cls(by, operator, tuple(sources), seed, draw)


def blind(corpus: Corpus) -> Corpus:
    """`corpus` as a generator may see it: what was told, and nothing of what will be asked."""
    return Corpus(corpus.experiences, (), {})


def verdict(document: Document, corpus: Corpus) -> bool | None:
    """False if any line of `document` is false in the world, True if some are true and none is false, None where there is nothing to judge."""
    judged = [corpus.truth(line) for line in document.text.splitlines()] if corpus.truth else []
    return None if all(v is None for v in judged) else all(v is not False for v in judged)


def account(documents: Sequence[Document], corpus: Corpus) -> dict[str, Any]:
    """What is known of generated `documents`, as JSON: how many are true, false or not to be judged, and how many state what is under test (`forbidden` phrases).

    `tested_derived` of the `tested` phrases stand in some document; `on_tested_false` documents begin as one of them does but end otherwise.
    """
    verdicts = [verdict(d, corpus) for d in documents]
    leaks = find_leaks(documents, corpus.forbidden)
    cues = {phrase.rpartition(" ")[0] for phrase in corpus.forbidden}
    false = [d for d, v in zip(documents, verdicts, strict=True) if v is False]
    quoted = {
        name: [d.text for d, v in zip(documents, verdicts, strict=True) if v is wanted][:EXAMPLES]
        for name, wanted in (("true", True), ("false", False), ("unjudged", None))
    }
    return {
        "documents": len(documents), "true": sum(v is True for v in verdicts), "false": len(false), "unjudged": sum(v is None for v in verdicts),
        "under_test": len({leak.document for leak in leaks}), "tested": len(set(corpus.forbidden)), "tested_derived": len({leak.phrase for leak in leaks}),
        "on_tested_false": sum(d.text.rpartition(" ")[0] in cues for d in false), "examples": quoted,
    }  # fmt: skip


def to_dict(document: Document, corpus: Corpus | None = None) -> dict[str, Any]:
    """A generated document as JSON, with its verdict if the world is given."""
    plain = {"id": document.id, "text": document.text, "provenance": document.provenance, "role": document.role}
    spans = None if document.targets is None else [list(span) for span in document.targets]
    return plain | {"targets": spans} | ({"true": verdict(document, corpus)} if corpus else {})


def from_dict(data: Mapping[str, Any]) -> Document:
    """The document that `to_dict` described."""
    spans = None if data["targets"] is None else tuple((a, b) for a, b in data["targets"])
    return Document(data["id"], data["text"], data["provenance"], spans, data["role"])
