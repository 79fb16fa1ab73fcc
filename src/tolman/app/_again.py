"""Teaching a taught directory again: its weights and scores are brought up to date with what its memory was given and lost since.

New documents are learned with the old ones replayed: training goes on from the weights there are, on all documents. Where something was forgotten or replaced, it begins anew
from the base model, for no training surely takes out what is in. The old questions are asked before and after, with the documents of now.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tolman.app import _card, _directory, remember
from tolman.app._expected import expected
from tolman.app._lesson import Lesson, copy_weights, memory_of
from tolman.app.compare import Verdicts
from tolman.app.teach import kinds_of, scores_of, weights_of
from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.datasets.folder import Folder
from tolman.models.saved import Saved
from tolman.report.summary import estimates
from tolman.run.cell import Cell, override
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.train_time.untrained import Untrained

_OURS = re.compile(rf"({_directory.WEIGHTS}|{_directory.ADAPTER})(-\d+)?")
UNSURE = "unanswerable"
"""A kind that new documents may turn round: what they did not say, they may say now. It is not among the old questions that are asked again."""


@dataclass(frozen=True)
class Again:
    """What has changed since the directory `out` was taught, and what will be done about it."""

    out: Path
    about: Mapping[str, Any]
    docs: Path | None
    settings: Mapping[str, Any]
    store: Store

    @cached_property
    def incoming(self) -> list[str]:
        """Files of `docs` that are new or changed and not forgotten as they are: to be remembered first."""
        if self.docs is None:
            return []
        kept, found = self.out / _directory.DOCUMENTS, Folder(path=self.docs)
        here = {name: _directory.sha256(path) for name, path in found.files().items()}
        readable = {source.file for source in found.read()[0].sources}
        return [
            name
            for name, content in here.items()
            if name in readable and self.about["forgotten"].get(name) != content and not ((kept / name).is_file() and _directory.sha256(kept / name) == content)
        ]

    @cached_property
    def changes(self) -> dict[str, list[str]]:
        """`added`, `replaced` and `forgotten` files, the incoming ones included."""
        folder = self.out / _directory.DOCUMENTS
        now = {p.relative_to(folder).as_posix(): _directory.sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        taught = self.about["documents"]
        return {
            "added": sorted({n for n in (*now, *self.incoming) if n not in taught}),
            "replaced": sorted({n for n in taught if n in self.incoming or (n in now and now[n] != taught[n])}),
            "forgotten": sorted(n for n in taught if n not in now),
        }

    @property
    def anew(self) -> bool:
        """Whether training begins from the base model: something must not be in the weights any more, or the model knows no words but those of its first documents."""
        return bool(self.changes["replaced"] or self.changes["forgotten"]) or self.about["model"]["is"] == "models/tiny"

    def says(self) -> str:
        """What has changed and what is done, in a sentence."""
        changed = "; ".join(f"{what} {', '.join(names)}" for what, names in self.changes.items() if names) or "nothing was added or forgotten"
        if not self.about["trains"]:
            return f"{changed}; there are no weights to train, the scores are measured again"
        return f"{changed}; weights: {'trained anew from the base model' if self.anew else 'trained on, with the old documents replayed'}"

    def cell(self) -> Cell:
        """The training and the new scores."""
        parts = _directory.components(self.about)
        questions = self.out / _directory.QUESTIONS if self.about["dataset"]["questions"] else None
        model = parts["model"] if self.anew or not self.about["trains"] else self.taught_model()
        cell = Cell(
            dataset=self.folder(questions), model=model, train_time=parts["train_time"], test_time=parts["test_time"], scoring=parts["scoring"],
            seed=self.about["seed"], training=self.about["training"], asking=self.about["asking"],
        )  # fmt: skip
        return override([cell], dict(self.settings))[0]

    def folder(self, questions: Path | None) -> Folder:
        """The documents of now, with the questions built anew or those in a file."""
        config = {name: value for name, value in self.about["dataset"].items() if name != "is"}
        return Folder(**config | {"path": self.out / _directory.DOCUMENTS, "questions": questions})

    def taught_model(self) -> Component:
        """The model as it was taught."""
        return Saved(folder=self.out / self.about["weights"], model=_directory.components(self.about)["model"])

    def old(self, model: Component, when: str) -> Cell | None:
        """The old questions, asked of `model` with the documents of now; None where none is left."""
        if not _directory.read_questions(self.out):
            return None
        cell, dataset = self.cell(), self.folder(self.out / _directory.QUESTIONS)
        kinds = tuple(kind for kind in dataset.build(cell.seed).kinds if kind != UNSURE)
        changed = {"dataset": dataset, "model": model, "train_time": Untrained(), "kinds": kinds, "training": when}
        return cell.model_copy(update=changed) if kinds else None

    def run(self, run_plan: Callable[[Plan], None]) -> dict[str, Any]:
        """Do it; the new scores.json. `run_plan` runs a plan (and shows how it goes). Raises UserError, and what `run_plan` raises: the same call goes on from there."""
        if self.incoming:
            assert self.docs is not None
            remember.add(self.out, [self.docs], only=self.incoming)
        with _directory.changing(self.out):
            remember.settle(self.out)
            cell = self.cell()
            corpus: Corpus = cell.dataset.build(cell.seed)  # type: ignore[attr-defined]
            before = self.old(self.taught_model(), "before")
            plan = Plan("teach", cell.condition(), tuple(c for c in (before if self.about["trains"] else None, cell) if c is not None), self.store)
            run_plan(plan)
            weights, artifact = weights_of(self.store, cell, corpus, lambda event: None)
            after = self.old(Saved(folder=weights, model=_directory.components(self.about)["model"]), "now")
            asked = tuple(c for c in (before if self.about["trains"] else None, after) if c is not None)
            if after is not None:
                run_plan(Plan("teach", after.condition(), (after,), self.store))
            scores = scores_of(Verdicts(Plan("teach", cell.condition(), (cell,), self.store).frames()), cell, artifact)
            self.commit(cell, corpus, weights, scores, self.measured(asked))
        return scores

    def expected(self) -> dict[str, Any]:
        """What will be done, and about what it takes; for the documents that are remembered now."""
        cell = self.cell()
        corpus: Corpus = cell.dataset.build(cell.seed)  # type: ignore[attr-defined]
        live = _directory.components(self.about)["model"].load(self.out / self.about["weights"])  # type: ignore[attr-defined]
        parameters = sum(p.numel() for p in live.network.parameters()) if hasattr(live, "network") else None
        plan = Plan("teach", cell.condition(), (cell,), self.store)
        return {"says": f"would bring {self.out} up to date: {self.says()}"} | expected(plan, corpus, parameters)

    def measured(self, cells: tuple[Cell, ...]) -> dict[str, Any]:
        """Kind -> estimate of the old questions: when they were taught, before, now."""
        first = kinds_of(_directory.read_scores(self.out), self.about["method"])
        found: dict[str, Any] = {"when taught": {kind: row for kind, row in first.items() if kind != UNSURE}}
        for cell in cells:
            rows = estimates(Plan("teach", cell.condition(), (cell,), self.store).frames()).to_dicts()
            found[cell.training] = {row["kind"]: {name: row[name] for name in ("mean", "low", "high", "n")} for row in rows}
        return found

    def commit(self, cell: Cell, corpus: Corpus, weights: Path, scores: dict[str, Any], old: dict[str, Any]) -> None:
        """Write what is new beside what is there, then name it in taught.json, then put away what is no longer named."""
        event = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "says": self.says(), "changes": self.changes, "scores": old}
        about = _directory.read(self.out)
        inside = copy_weights(weights, self.out)
        documents = {source.file: _directory.sha256(self.out / _directory.DOCUMENTS / source.file) for source in cell.dataset.read()[0].sources}  # type: ignore[attr-defined]
        lesson = Lesson(cell, weights, corpus, about["recommendation"], scores, {"history": [*about.get("history", ()), event]})
        _directory.write_questions(self.out, corpus)
        _directory.write_scores(self.out, scores)
        _directory.write(self.out, lesson.about(inside, _directory.hashes(self.out, inside), documents) | {"forgotten": about["forgotten"]})
        for other in self.out.iterdir():
            if other.name != inside and _OURS.fullmatch(other.name):
                shutil.rmtree(other, ignore_errors=True)
        _card.write(self.out, memory_of(cell.test_time).open(self.out / _directory.MEMORY).files())


def prepare(out: Path, *, docs: Path | None, given: Mapping[str, Any], settings: Mapping[str, Any], store: Path) -> Again:
    """What a second teaching will do. `given` are the options of a first one: the directory keeps to what it was taught with. Raises UserError where they differ."""
    about = _directory.read(out)
    was = {"method": about["method"], "model": None, "questions": None}
    for name, value in given.items():
        if value is not None and value != was[name]:
            raise UserError(f"{out} is taught already, with the method {about['method']!r}: leave out --{name}, or teach into another directory")
    return Again(out, about, docs, settings, Store(store))
