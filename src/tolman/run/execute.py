"""From cells to records: one training for all cells that share their weights, then each cell's questions."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from tolman.core.cost import Cost
from tolman.core.data import Corpus, Question
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.core.seeds import derive
from tolman.core.thinking import recalled, statements
from tolman.run import ranks
from tolman.run.cell import Cell, Item
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.environment import environment
from tolman.run.places import saying
from tolman.run.retention import retention
from tolman.run.store import Store

CURVE_POINTS = 24
CURVE_QUESTIONS = 30
REPORT_EVERY_S = 0.2

Report = Callable[[dict[str, Any]], None]
"""Told what happens: {"event": "step" | "trained" | "asked" | "warning" | "building", ...}."""


class Stopped(Exception):
    """The user asked to stop; the state is saved."""


def execute(store: Store, cells: Sequence[Cell], report: Report, stop: threading.Event | None = None) -> None:
    """Train what the cells share (unless its artifact is there) and write a record for each cell that has none.

    All cells have one train fingerprint. Raises Stopped after saving when `stop` is set, UserError for what the user can mend.
    """
    first = cells[0]
    fingerprint = first.train_fingerprint()
    assert all(cell.train_fingerprint() == fingerprint for cell in cells), "the cells do not share their training"
    with store.lock(fingerprint):
        missing = [cell for cell in cells if store.read_record(cell.fingerprint()) is None]
        if missing:
            report({"event": "building", "training": fingerprint, "label": first.training, "seed": first.seed})
            corpus = first.dataset.build(first.seed)  # type: ignore[attr-defined]
            leaks = check_leaks(corpus)
            model, about = trained(store, cells, corpus, report, stop)
            for cell in missing:
                if stop is not None and stop.is_set():
                    raise Stopped
                ask(store, cell, corpus, model, about, leaks)
                report({"event": "asked", "training": fingerprint, "cell": cell.fingerprint()})
    for warning in store.warnings:
        report({"event": "warning", "text": warning})
    store.warnings.clear()


def check_leaks(corpus: Corpus) -> list[str]:
    """What the leak check finds in the training documents, as sentences. The dataset contracts hold this empty for the benchmarks."""
    return [str(leak) for leak in find_leaks(corpus.documents, corpus.forbidden)]


def trained(store: Store, cells: Sequence[Cell], corpus: Corpus, report: Report, stop: threading.Event | None) -> tuple[Any, dict[str, Any]]:
    """The trained model, from the store or from training now, and its artifact.json."""
    first = cells[0]
    fingerprint = first.train_fingerprint()
    if (found := store.read_artifact(fingerprint)) is not None:
        folder, about = found
        return first.model.load(folder), about  # type: ignore[attr-defined]
    model, before = begun(store, first, corpus, report, stop)
    checkpoints = FileCheckpoints(store, fingerprint)
    watch = CurveWatch(cells, corpus, model, checkpoints, report, stop)
    go = first.train_time.train if before is None else first.train_time.go_on  # type: ignore[attr-defined]
    watch.begin_with(before)
    known = retention(model) if before is None else (before["retention"] or {}).get("before")  # as costs are: from before the first of all trainings
    ranks.summon(fingerprint)
    with model.meter.phase("train"):
        go(model, corpus, seed=first.seed, checkpoints=watch, watch=watch)
    watch.finish()
    kept = retention(model) if getattr(first.train_time, "trains", True) else known
    costs = {phase: (watch.before.get(phase, Cost()) + model.meter.get(phase)).to_dict() for phase in ("generate", "train", "probe")}
    about = {
        "identity": first.train_identity(), "training": first.training, "seed": first.seed, "costs": costs, "curve": watch.curve,
        "parameters": sum(p.numel() for p in model.network.parameters()) if hasattr(model, "network") else None,
        "retention": {"before": known, "after": kept} if known else None,
        "notes": watch.notes, "environment": environment(), "created": now(),
    }  # fmt: skip
    with store.writing_artifact(fingerprint) as scratch:
        with saying("write the model to", scratch):
            model.save(scratch)
            for name, documents in watch.documents.items():
                (scratch / f"{name}.jsonl").write_text("".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents), encoding="utf-8")
        store.finish_artifact(fingerprint, scratch, about)
    checkpoints.clear()
    report({"event": "trained", "training": fingerprint})
    return model, about


def begun(store: Store, cell: Cell, corpus: Corpus, report: Report, stop: threading.Event | None) -> tuple[Any, dict[str, Any] | None]:
    """The model to train. For a method that begins with another (`TwoStageComponent`) that one's outcome, an artifact shared by all that begin so, and its artifact.json."""
    if not (beginnings := ranks.beginnings(cell)):
        return cell.model.create(corpus, seed=cell.seed), None  # type: ignore[attr-defined]
    (inner,) = beginnings
    with store.lock(inner.train_fingerprint()):
        if (found := store.read_artifact(inner.train_fingerprint())) is None:
            trained(store, [inner], corpus, report, stop)
            found = store.read_artifact(inner.train_fingerprint())
    assert found is not None, "the artifact that was just written cannot be read"
    folder, about = found
    return cell.model.load(folder), about  # type: ignore[attr-defined]  # loaded, so that its meter starts at zero: what the teacher cost stands in `about`


class CurveWatch:
    """Watches a training: reports its steps, asks a few questions now and then for the learning curves, and keeps curve and costs across interruptions.

    It stands between the method and its checkpoints: what it knows itself is saved in the same file as the method's state, so that the two never disagree.
    """

    def __init__(self, cells: Sequence[Cell], corpus: Corpus, model: Any, inner: FileCheckpoints, report: Report, stop: threading.Event | None) -> None:
        self.model, self.corpus, self.inner, self.report, self.stop_event = model, corpus, inner, report, stop
        self.first = cells[0]
        self.watched = [(cell, sample_questions(corpus, cell)) for cell in cells if cell.curve]
        self.curve: list[dict[str, Any]] = []
        self.before: dict[str, Cost] = {}
        self.notes: dict[str, Any] = {}
        self.documents: dict[str, list[dict[str, Any]]] = {}
        self._reported = 0.0
        self._losses: list[float] = []

    def begin_with(self, before: dict[str, Any] | None) -> None:
        """Count in what a training that this one goes on from has cost, and its curve."""
        if before is not None:
            self.before = {phase: Cost.from_dict(cost) for phase, cost in before["costs"].items()}
            self.curve = [point for point in before["curve"] if point["kind"] is not None]

    # the Checkpoints protocol, for the method

    def load(self) -> Any:
        state = self.inner.load()
        ranks.loaded(self.inner.seal)
        if state is None:
            return None
        kept = json.loads(state["watch"])
        self.curve = kept["curve"]
        self.before = {phase: Cost.from_dict(cost) for phase, cost in kept["costs"].items()}
        return state["method"]

    def due(self) -> bool:
        self.inner.stop = self.stop_event is not None and self.stop_event.is_set()
        return self.inner.due()

    def save(self, state: Any) -> None:
        costs = {phase: (self.before.get(phase, Cost()) + self.model.meter.get(phase)).to_dict() for phase in ("generate", "train", "probe")}
        self.inner.save({"method": state, "watch": json.dumps({"curve": self.curve, "costs": costs})})
        if self.stop_event is not None and self.stop_event.is_set():
            raise Stopped

    # the Watch protocol

    def step(self, step: int, steps: int, **values: float) -> None:
        self._losses.append(values.get("loss", float("nan")))
        if self.watched and (step % max(1, steps // CURVE_POINTS) == 0 or step == steps or step == 1):
            self.probe(step)
        if perf_counter() - self._reported >= REPORT_EVERY_S or step == steps:
            self._reported = perf_counter()
            self.report({"event": "step", "training": self.first.train_fingerprint(), "step": step, "steps": steps, **values})

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        self.notes[name] = value
        if documents:
            self.documents[name] = [dict(d) for d in documents]

    def probe(self, step: int) -> None:
        spent = self.before.get("train", Cost()) + self.model.meter.get("train")
        loss = sum(self._losses) / len(self._losses) if self._losses else None
        self._losses = []
        base = {"step": step, "tokens": spent.tokens, "flops": spent.flops, "seconds": round(spent.seconds, 3), "loss": loss}
        with self.model.meter.phase("probe"):
            for cell, questions in self.watched:
                correct = [item.correct for item in answer(cell, self.corpus, self.model, questions)]
                for kind in dict.fromkeys(q.kind for q in questions):
                    mine = [c for c, q in zip(correct, questions, strict=True) if q.kind == kind]
                    self.curve.append(base | {"kind": kind, "asking": cell.asking, "accuracy": sum(mine) / len(mine), "n": len(mine)})

    def finish(self) -> None:
        if not self.curve:
            self.curve.append({"step": 0, "tokens": 0, "flops": 0.0, "seconds": 0.0, "loss": None, "kind": None, "asking": None, "accuracy": None, "n": None})


def sample_questions(corpus: Corpus, cell: Cell) -> list[Question]:
    """The first `CURVE_QUESTIONS` questions of each kind that the cell asks while training."""
    chosen: list[Question] = []
    for kind in cell.curve:
        chosen += corpus.asked([kind])[:CURVE_QUESTIONS]
    return chosen


def answer(cell: Cell, corpus: Corpus, model: Any, questions: Sequence[Question]) -> list[Item]:
    """Each question as asked and judged."""
    seed = derive(cell.seed, "test_time")
    prompts = cell.test_time.prompts(model, corpus, questions, seed=seed)  # type: ignore[attr-defined]
    answers = cell.scoring.judge(model, prompts, questions)  # type: ignore[attr-defined]
    assert len(answers) == len(questions), f"{cell.scoring.address()} judged {len(answers)} of {len(questions)} questions"
    open_book = any(p.documents for p in prompts)
    told = {s for d in corpus.experiences for s in statements(d.text)} if any(p.trace for p in prompts) else set()
    return [
        Item(
            q.id, q.kind, q.cluster, q.prompt, model.render(p), a.text, list(q.answers), list(q.choices), str(a.verdict), a.verdict == "correct",
            list(a.scores_nats), corpus.supported(q, p.documents) if q.support and open_book else None, p.trace, recalled(p.trace, told),
            [s for id in q.support for s in statements(corpus.by_id[id].text)] if p.trace else [], [str(v) for v in a.samples],
        )
        for q, p, a in zip(questions, prompts, answers, strict=True)
    ]  # fmt: skip


def ask(store: Store, cell: Cell, corpus: Corpus, model: Any, about: dict[str, Any], leaks: list[str]) -> None:
    """Ask the cell's questions and write its record."""
    if cell.kinds is not None and (unknown := set(cell.kinds) - set(corpus.kinds)):
        raise UserError(f"{cell.dataset.address()} has no questions of kind {sorted(unknown)[0]!r}; there is: {', '.join(corpus.kinds)}")
    questions = corpus.asked(cell.kinds)
    if not questions:
        raise UserError(f"{cell.dataset.address()} has no test questions" + (f" of the kinds {', '.join(cell.kinds)}" if cell.kinds else ""))
    before = model.meter.get("ask")
    with model.meter.phase("ask"):
        items = answer(cell, corpus, model, questions)
    after = model.meter.get("ask")
    spent = Cost(after.tokens - before.tokens, after.flops - before.flops, after.seconds - before.seconds, after.dollars - before.dollars)
    chance = {
        kind: sum(cell.scoring.chance(q, info.chance) for q in mine) / len(mine)  # type: ignore[attr-defined]
        for kind, info in corpus.kinds.items()
        if (mine := [q for q in questions if q.kind == kind])
    }
    kinds = {
        kind: {"description": i.description, "latent": i.latent, "control": i.control, "beside": i.beside, "chance": chance[kind]}
        for kind, i in corpus.kinds.items()
        if kind in chance
    }
    header = {
        "cell": cell.config(), "identity": cell.identity(), "fingerprint": cell.fingerprint(), "train_fingerprint": cell.train_fingerprint(),
        "condition": cell.condition(), "kinds": kinds, "costs": about["costs"] | {"ask": spent.to_dict()}, "questions": len(questions),
        "parameters": about.get("parameters"), "retention": about.get("retention"), "leaks": leaks, "notes": about.get("notes", {}),
        "environment": environment(), "created": now(),
    }  # fmt: skip
    store.write_record(cell.fingerprint(), header, [item.to_dict() for item in items])


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
