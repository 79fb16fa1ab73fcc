"""A study's cells, run: which are done, what the rest will take, and the folder with the outcome."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolman.core.errors import UserError, suggest
from tolman.core.stats import Estimate
from tolman.run import index
from tolman.run.cell import Cell
from tolman.run.engines import run_here, run_workers
from tolman.run.estimate import default_workers
from tolman.run.execute import Report
from tolman.run.frames import LATER, Frames, measured, recall
from tolman.run.store import Store, write_atomically


@dataclass(frozen=True)
class Plan:
    """Cells to run for a study at a scale, and the store to run them in."""

    study: str
    scale: str
    cells: tuple[Cell, ...]
    store: Store

    @property
    def name(self) -> str:
        return f"{self.study}-{self.scale}"

    @property
    def folder(self) -> Path:
        """Where the tables, figures and report of this run go."""
        return self.store.folder / self.name

    def groups(self) -> list[list[Cell]]:
        """The cells by shared training, in order."""
        by_training: dict[str, list[Cell]] = {}
        for cell in self.cells:
            by_training.setdefault(cell.train_fingerprint(), []).append(cell)
        return list(by_training.values())

    def unfinished(self) -> list[list[Cell]]:
        """Groups with a cell that has no record yet."""
        by_fingerprint = {c.fingerprint(): c for c in self.cells}
        done = index.finished(self.store, list(by_fingerprint))
        todo = {c.train_fingerprint() for fingerprint, c in by_fingerprint.items() if fingerprint not in done}
        return [g for g in self.groups() if g[0].train_fingerprint() in todo]

    def run(self, report: Report, workers: int | None = 1, *, engine: str = "local", address: str | None = None) -> None:
        """Run what is unfinished, on this machine or (`engine = "ray"`) on the cluster at `address`; `workers` at once, None for as many as fit.

        Raises Stopped when interrupted (finished cells are kept), UserError for what the user can mend."""
        groups = self.unfinished()
        for warning in self.store.warnings:
            report({"event": "warning", "text": warning})
        self.store.warnings.clear()
        if engine == "ray":
            from tolman.run.ray_engine import run_ray

            run_ray(self.store, groups, report, address=address, workers=workers)
        elif engine != "local":
            raise UserError(f"there is no engine {engine!r}; {suggest(engine, ('local', 'ray'))}")
        elif (workers := workers or default_workers()) > 1 and len(groups) > 1:
            run_workers(self.store, groups, report, min(workers, len(groups)))
        else:
            run_here(self.store, groups, report)

    def frames(self) -> Frames:
        """The tables of the finished cells. Raises UserError if a cell has no record."""
        labels = [(cell.fingerprint(), cell.training, cell.asking) for cell in self.cells]
        table = index.rows(self.store, [fingerprint for fingerprint, *_ in labels])
        for cell, (fingerprint, *_) in zip(self.cells, labels, strict=True) if len(table) < len(set(labels)) else ():
            if fingerprint not in table["fingerprint"]:
                raise UserError(f"{self.name} is not finished: {cell.training}, {cell.asking}, seed {cell.seed} has no record; run it again to go on")
        curves = []
        for group in self.groups():
            if (found := self.store.read_artifact(group[0].train_fingerprint())) is not None:
                curves.append(found[1] | {"train_fingerprint": group[0].train_fingerprint(), "training": group[0].training})
        return index.frames(table, labels, Frames.of(self.study, self.scale, [], curves).trainings, study=self.study, scale=self.scale)

    def write_folder(self, about: dict[str, Any]) -> Frames:
        """Tables and plan.json in the run's folder."""
        frames = self.frames()
        frames.write(self.folder)
        plan = {"study": self.study, "scale": self.scale, "seeds": sorted({c.seed for c in self.cells}), "cells": len(self.cells), **about}
        write_atomically(self.folder / "plan.json", json.dumps(plan, indent=1).encode())
        return frames


def read_plan(folder: Path) -> dict[str, Any]:
    """plan.json of a run's folder. Raises UserError if it is missing or no JSON object."""
    path = folder / "plan.json"
    try:
        data = json.loads(path.read_bytes())
        assert isinstance(data, dict)
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no run: plan.json is missing; give a folder that `tolman run` wrote, such as runs/reversals-quick") from error
    except (ValueError, AssertionError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; run the study again to write it anew") from error
    return data


def measure(*cells: Cell, store: str | Path = "runs") -> dict[str, Estimate]:
    """Accuracy by kind over `cells` (say, one condition at several seeds), training what the store does not have yet.

    Cells that differ in more than their seed are refused: measure them one by one and compare.
    """
    if len({cell.condition() for cell in cells}) != 1:
        raise UserError("measure() takes cells that differ in their seed only; call it once for each condition")
    plan = Plan("measure", cells[0].condition(), cells, Store(store))
    plan.run(lambda event: None)
    items = plan.frames().items
    return {kind: measured(mine, "correct") for (kind,), mine in items.group_by("kind", maintain_order=True)}


def result_rows(frames: Frames) -> Iterator[dict[str, Any]]:
    """One row per cell and kind: what `tolman run --json` prints. Costs are those of training, and of one question; recall is null where nothing was put in context."""
    labels = ("study", "scale", "seed", "dataset", "model", "train_time", "test_time", "scoring", "training", "asking")
    items = {key: mine for (key,), mine in frames.items.group_by("fingerprint", maintain_order=True)}
    for cell in frames.cells.iter_rows(named=True):
        kinds = json.loads(cell["kinds"])
        for (kind,), mine in items[cell["fingerprint"]].group_by("kind", maintain_order=True):
            value = measured(mine, "correct")
            shown = recall(mine)
            found = [x if shown.n else None for x in (shown.mean, shown.low, shown.high)]
            yield {name: cell[name] for name in labels} | {
                "kind": kind, "n": value.n, "chance": kinds[kind]["chance"], "accuracy": value.mean, "low": value.low, "high": value.high,
                "recall": found[0], "recall_low": found[1], "recall_high": found[2],
                "verdicts": dict(sorted(mine["verdict"].value_counts().iter_rows())),
                **{name: cell[name] for name in LATER}, "train_flops": cell["train_flops"], "train_tokens": cell["train_tokens"], "train_s": cell["train_s"],
                "ask_flops": cell["ask_flops"] / cell["n_questions"], "ask_tokens": cell["ask_tokens"] / cell["n_questions"],
                "ask_s": cell["ask_s"] / cell["n_questions"], "fingerprint": cell["fingerprint"],
            }  # fmt: skip
