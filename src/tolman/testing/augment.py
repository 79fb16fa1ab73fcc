"""The contract of augmenters: every document says where it came from, and nothing of the test can have reached it."""

from collections.abc import Sequence
from typing import Any

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Prompt
from tolman.core.generated import Origin, blind
from tolman.core.leaks import find_leaks
from tolman.models.scripted import Scripted
from tolman.testing._world import world


def check_augment(augment: Component, model: Any = None, corpus: Corpus | None = None) -> None:
    """Everything that an augmenter promises, with `model` (None: one that always writes the same name) on `corpus` (None: a small world)."""
    me, corpus = augment.address(), corpus or world()
    shown, digest = blind(corpus), corpus.digest()
    model = _Listened(model or Scripted(default="Iris").create(corpus, seed=0))
    sources = shown.documents

    def write(about: Sequence[Document], seed: int = 0) -> list[Document]:
        return augment.write(model, shown, about, seed=seed)  # type: ignore[attr-defined]

    found = write(sources)
    assert found, f"{me} writes nothing about {len(sources)} documents (its `example` should hold a lexicon for the world of the contracts)"
    assert len({d.id for d in found}) == len(found), f"{me} gives two documents one id"
    for document in found:
        check_generated(me, document, shown)
    leaks = find_leaks((Document("prompt", text) for text in model.read), corpus.forbidden)
    assert not leaks, f"{me} shows the model what is under test: {leaks[0].phrase!r}"
    assert write([]) == [], f"{me} writes documents from nothing"
    assert write(sources) == found, f"{me} is not deterministic: one seed gives different documents"
    some = {d.id for d in sources[3:7]}
    assert write(sources[3:7]) == [d for d in found if Origin.of(d).sources[0] in some], f"{me}: what is written from a document depends on the other sources"
    assert corpus.digest() == digest, f"{me} changes the corpus"


def check_generated(me: str, document: Document, corpus: Corpus) -> None:
    """One generated document: text, targets within it, and a provenance that names documents of the corpus."""
    assert document.text.strip(), f"{me} writes an empty document, {document.id!r}"
    assert document.role == "experience", f"{me} writes a document with the role {document.role!r}"
    for a, b in document.targets or ():
        assert 0 <= a < b <= len(document.text), f"{me}: the target ({a}, {b}) lies outside of {document.text!r}"
    assert document.targets is None or document.targets, f"{me}: document {document.id!r} has no target, so nothing could be learned from it"
    try:
        origin = Origin.of(document)
    except ValueError as error:
        raise AssertionError(f"{me}: {error}") from error
    assert origin.sources and origin.operator, f"{me}: the provenance of {document.id!r} names no source or no operator"
    strange = [id for id in origin.sources if id not in corpus.by_id]
    assert not strange, f"{me}: the provenance of {document.id!r} names {strange and strange[0]!r}, which is not in the corpus"


class _Listened:
    """A model, and every text that it was shown."""

    def __init__(self, model: Any) -> None:
        self._model, self.read = model, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, prompts: Sequence[Prompt], **how: Any) -> Any:
        self.read += [self._model.render(p) for p in prompts]
        return self._model.generate(prompts, **how)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> Any:
        self.read += [self._model.render(p) for p in prompts]
        return self._model.score(prompts, continuations)
