"""Augment and distil: a model that was trained writes new documents from its documents, and is trained on both.

As in Lampinen et al. 2025 (arXiv 2505.00661), where a pretrained model writes and is fine-tuned. A model trained from scratch with in-context sequences can do the same:
what it can say of a document in context, it learns to say without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from tolman.core.component import Added, Component, Nested
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.generated import account, blind, from_dict, to_dict
from tolman.core.protocols import Checkpoints, Watch
from tolman.core.seeds import derive, rng
from tolman.train_time._phases import restore, weights
from tolman.train_time._writing import Overheard, distinct, likelihood, repeated

CHUNK = 256
"""Documents between two looks at the checkpoints while writing."""


class Augmented(Component):
    """Train a teacher, let it write, train it on the documents and what it wrote."""

    first: Nested
    """How the teacher is trained, such as `train_time/pretrain`. Methods that begin alike share this training."""
    augment: Nested
    """What it writes, such as `augment/local`. It is shown documents only: no question, no answer, nothing that tells what is under test."""
    then: Nested
    """How it is trained on documents and generated ones."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the documents (exercises aside) that generated ones make up; they are repeated until they do."""
    sources: int | None = Field(default=None, ge=1)
    """Let it write about so many random documents only; None: about all."""
    about: str = Added("")
    """Let it write only about documents whose id begins so, such as `fact:0:`. Empty: about any."""
    duplicates: Literal["drop", "keep"] = "drop"
    """What to do with generated documents that say word for word the same. Kept ones count each time: what was written often is learned first."""
    least_likelihood: float = Field(default=0.0, ge=0, lt=1)
    """A generated document is dropped as contradicting its sources where the model, with these in context, gives its target less probability than this
    (geometric mean over words); 0 drops none and costs nothing."""

    example: ClassVar[dict[str, Any]] = {
        "first": {"is": "train_time/pretrain", "steps": 12, "batch_tokens": 256},
        "augment": {"is": "augment/rules", "inverses": {"lives in": "is home to"}},
        "then": {"is": "train_time/pretrain", "steps": 12, "batch_tokens": 256, "lr": 0.005},
    }

    @property
    def steps(self) -> int:
        """Optimiser steps of both trainings."""
        return _steps(self.first) + _steps(self.then)

    def train_tokens(self) -> int:
        """Tokens that both trainings will read; writing is left out."""
        return sum(part.train_tokens() for part in (self.first, self.then) if hasattr(part, "train_tokens"))  # type: ignore[attr-defined]

    def train(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. Raises UserError where nothing of use was written."""
        state = checkpoints.load()
        if state is None or state["stage"] == "first":
            stage = _Stage(checkpoints, {"stage": "first"}, state)
            self.first.train(model, corpus, seed=seed, checkpoints=stage, watch=_Part(watch, 0, self.steps))  # type: ignore[attr-defined]
            state = None
        self._go_on(state, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def go_on(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """The rest of `train`, on a model that `first` has trained."""
        self._go_on(checkpoints.load(), model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def _go_on(self, state: Mapping[str, Any] | None, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        if state is not None and state["stage"] == "then":
            documents, about = [from_dict(d) for d in state["documents"]], state["about"]
        else:
            with model.meter.phase("generate"):
                documents, about = self.written(state, model, corpus, seed=seed, checkpoints=checkpoints)
        watch.keep("generated", about, [to_dict(d, corpus) for d in documents])
        more = repeated(documents, len(corpus.experiences), self.share)
        kept = {"stage": "then", "documents": [to_dict(d) for d in documents], "about": about}
        self.then.train(  # type: ignore[attr-defined]
            model, replace(corpus, documents=(*corpus.documents, *more)), seed=derive(seed, "augmented", "then"),
            checkpoints=_Stage(checkpoints, kept, state), watch=_Part(watch, _steps(self.first), self.steps),
        )  # fmt: skip

    def written(
        self, state: Mapping[str, Any] | None, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints
    ) -> tuple[list[Document], dict[str, Any]]:
        """The generated documents that pass the filters, and what is known of them."""
        shown, teacher = blind(corpus), Overheard(model, corpus.forbidden)
        sources = self.chosen(shown.documents, seed)
        documents: list[Document] = []
        begin = 0
        if state is not None:
            if state["network"]:
                restore(model, state["network"])
            documents, begin = [from_dict(d) for d in state["documents"]], state["sources"]
            teacher.prompts, teacher.leaks, teacher.texts = state["heard"]
        for at in range(begin, len(sources), CHUNK):
            documents += self.augment.write(teacher, shown, sources[at : at + CHUNK], seed=derive(seed, "augment"))  # type: ignore[attr-defined]
            if checkpoints.due():
                heard = [teacher.prompts, teacher.leaks, teacher.texts]
                network = weights(model) if getattr(type(self.first), "trains", True) else {}  # what was not trained need not be kept
                state = {"stage": "write", "network": network, "sources": at + CHUNK, "heard": heard}
                checkpoints.save(state | {"documents": [to_dict(d) for d in documents]})
        different = distinct(documents) if self.duplicates == "drop" else documents
        kept = different
        if self.least_likelihood and different:
            likely = likelihood(teacher, shown, different)
            kept = [d for d, p in zip(different, likely, strict=True) if p >= self.least_likelihood]
        about = {
            "sources": len(sources), "written": len(documents), "duplicates": len(documents) - len(different), "contradicting": len(different) - len(kept),
            "prompts": teacher.prompts, "leaks_in_prompts": teacher.leaks, "before_filters": account(different, corpus), "kept": account(kept, corpus),
        }  # fmt: skip
        if not kept:
            raise UserError(f"{self.augment.address()} wrote nothing of use: {_came_back(about, teacher, sources)}")
        return kept, about

    def chosen(self, documents: Sequence[Document], seed: int) -> Sequence[Document]:
        """The documents to write about, in corpus order. Raises UserError where no id begins with `about`."""
        if self.about and not (documents := [d for d in documents if d.id.startswith(self.about)]):
            raise UserError(f"no document has an id that begins with about = {self.about!r}")
        if self.sources is None or self.sources >= len(documents):
            return documents
        return [documents[i] for i in sorted(rng(seed, "augmented", "sources").permutation(len(documents))[: self.sources].tolist())]


class _Stage:
    """The checkpoints of a method that runs as a part: its state is kept inside `around`."""

    def __init__(self, checkpoints: Checkpoints, around: dict[str, Any], state: Mapping[str, Any] | None) -> None:
        self.checkpoints, self.around = checkpoints, around
        self.state = state["inner"] if state is not None and state["stage"] == around["stage"] else None

    def load(self) -> Mapping[str, Any] | None:
        return self.state

    def due(self) -> bool:
        return self.checkpoints.due()

    def save(self, state: Mapping[str, Any]) -> None:
        self.checkpoints.save(self.around | {"inner": state})


class _Part:
    """The watch of a method that runs as a part: steps are counted over the whole."""

    def __init__(self, watch: Watch, before: int, steps: int) -> None:
        self.watch, self.before, self.steps = watch, before, steps

    def step(self, step: int, steps: int, **values: float) -> None:
        self.watch.step(self.before + step, self.steps, **values)

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        self.watch.keep(name, value, documents)


def _steps(method: Component) -> int:
    return getattr(method, "steps", 0)


def _came_back(about: Mapping[str, Any], teacher: Overheard, sources: Sequence[Document]) -> str:
    """Why there is nothing, with what there was."""
    if about["written"]:
        return f"all {about['written']} documents that it wrote were dropped as contradicting their sources, such as {about['before_filters']['examples']!r}"
    if not teacher.prompts:
        first = f"; the first reads {sources[0].text!r}" if sources else ""
        return f"it found nothing to write about in {len(sources)} documents (do its lexicon's words stand in them?){first}"
    return f"asked {teacher.prompts} times, the model came back with {', '.join(map(repr, teacher.texts))}"
