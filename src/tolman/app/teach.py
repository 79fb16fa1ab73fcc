"""`tolman teach`: find the best way of giving documents to a model, do it, and write the directory that answers, remembers and forgets.

The comparison is that of `tolman compare`, among the ways that can be kept: closed book, everything in context and the persistent memory, each untuned, trained and
trained on augmented documents. Its cells are ordinary ones: what the store holds is not run again, what was interrupted goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tolman.app import _card, _directory
from tolman.app._expected import expected
from tolman.app._lesson import Lesson, memory_of
from tolman.app.compare import Comparison, Verdicts
from tolman.app.compare import prepare as compare
from tolman.core.data import Corpus
from tolman.core.errors import UserError, suggest
from tolman.core.stats import say
from tolman.memory.episodic import Episodic
from tolman.run.cell import Cell
from tolman.run.engines import stopping
from tolman.run.execute import Report, trained
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.test_time.retrieval import Retrieval

RECOMMENDED = "recommended"


@dataclass(frozen=True)
class Teaching:
    """What will be run, and where the outcome goes."""

    out: Path
    comparison: Comparison
    """The cells of the methods that can be taught, or of the one that was named."""
    method: str
    """`recommended`, or the name of a method."""

    @property
    def plan(self) -> Plan:
        return self.comparison.plan

    def choose(self) -> tuple[Cell, str, Verdicts]:
        """The cell whose method is taught, why, and what was measured. Raises UserError where the data recommend none."""
        found = Verdicts(self.plan.frames())
        chosen = found.recommended if self.method == RECOMMENDED else found.best
        if chosen is None:
            raise UserError(f"{found.recommendation()} To teach a method all the same, name it with --method: {'; '.join(m['method'] for m in found.methods)}")
        cell = next(c for c in self.plan.cells if method_of(c) == chosen["method"])
        share = chosen["accuracy"]
        named = f"it was named; {say(share)} of {share.n} questions right (those that the documents answer)."
        why = found.recommendation() if self.method == RECOMMENDED else named
        return cell, why, found

    def expected(self) -> dict[str, Any]:
        """What will be done, and about what it takes."""
        names = "; ".join(method_of(c) for c in self.plan.cells)
        says = f"would teach {names}" if self.method != RECOMMENDED else f"would compare {names}; and teach what is recommended"
        left = "".join(f"\nleft out: {name}: {why}" for name, why in self.comparison.left_out.items())
        return {"says": f"{says}, into {self.out}{left}"} | expected(self.plan, self.comparison.corpus, self.comparison.parameters)

    def run(self, run_plan: Callable[[Plan], None]) -> dict[str, Any]:
        """Run the plan (`run_plan` shows how it goes), write the directory; its scores.json. Raises UserError, and what `run_plan` raises: the same call goes on."""
        run_plan(self.plan)
        cell, why, found = self.choose()
        folder, about = weights_of(self.plan.store, cell, self.comparison.corpus, lambda event: None)
        scores = scores_of(found, cell, about)
        Lesson(cell, folder, self.comparison.corpus, why, scores, {"history": []}).write(self.out)
        _card.write(self.out, memory_of(cell.test_time).open(self.out / _directory.MEMORY).files())
        return scores


def prepare(docs: Path, *, out: Path, model: str, method: str, questions: Path | None, scoring: str, settings: Mapping[str, Any], store: Path) -> Teaching:
    """The plan of a first teaching. Raises UserError where `out` holds something else, or for a method that there is not."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there and was not taught by Tolman: it is left alone; choose another directory with --out")
    found = compare(docs, model, questions=questions, scoring=scoring, settings=settings, store=store)
    cells = {method_of(c): c for c in found.plan.cells if can_be_kept(c)}
    left_out = {name: why for name, why in found.left_out.items() if name in ("training", "retrieval", "everything in context")}
    if method != RECOMMENDED:
        if method not in cells:
            raise UserError(f"there is no method {method!r} to teach here; {suggest(method, cells)}; or {RECOMMENDED}")
        cells = {method: cells[method]}
    plan = Plan("teach", found.plan.scale, tuple(cells.values()), found.plan.store)
    return Teaching(out, replace(found, plan=plan, left_out=left_out), method)


def method_of(cell: Cell) -> str:
    """The name of a cell's method, as `compare` prints it."""
    return f"{cell.training}, {cell.asking}"


def can_be_kept(cell: Cell) -> bool:
    """Whether a directory can do at any time what the cell did: of the memories only the persistent one."""
    inner: Any = cell.test_time
    while hasattr(inner, "context"):
        inner = inner.context
    return not isinstance(inner, Retrieval) or isinstance(inner.retriever, Episodic)


def weights_of(store: Store, cell: Cell, corpus: Corpus, report: Report) -> tuple[Path, dict[str, Any]]:
    """A folder with the cell's trained model, and its artifact.json; trained again where the store has lost it."""
    fingerprint = cell.train_fingerprint()
    with store.lock(fingerprint):
        if (found := store.read_artifact(fingerprint)) is None:
            with stopping() as stop:
                trained(store, [cell], corpus, report, stop)
            found = store.read_artifact(fingerprint)
    assert found is not None, "the artifact that was just written cannot be read"
    return found


def scores_of(found: Verdicts, cell: Cell, artifact: Mapping[str, Any]) -> dict[str, Any]:
    """scores.json: everything that was measured, and what the method cost. No text of a document is in it."""
    return {"method": method_of(cell), **found.to_dict(), "costs": artifact["costs"], "retention": artifact.get("retention"), "measured": artifact["created"]}


def kinds_of(scores: Mapping[str, Any], method: str) -> dict[str, dict[str, float]]:
    """Kind -> estimate of a method in scores.json."""
    rows: Sequence[Mapping[str, Any]] = scores.get("kinds", ())
    return {row["kind"]: {name: row[name] for name in ("mean", "low", "high", "n")} for row in rows if f"{row['training']}, {row['asking']}" == method}
