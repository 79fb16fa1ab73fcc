"""Verdicts on claims, from the records in a folder of runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolman.core.discovery import module, names
from tolman.core.errors import UserError
from tolman.run.frames import Frames
from tolman.run.plan import read_plan
from tolman.studies._ledger import LEDGER
from tolman.studies._study import Outcome

SCALES = ("quick", "small", "paper")
BENCHMARKS = {"C01": 3, "C10": 2, "C20": 2}
"""Claims about several benchmarks, and how many of them must speak before there is a verdict."""


@dataclass(frozen=True)
class Verdict:
    """A claim, and what the records of one run say of it (`run` is empty where none speaks)."""

    id: str
    run: str = ""
    outcome: Outcome | None = None
    train_flops: float = float("nan")
    train_s: float = float("nan")

    @property
    def verdict(self) -> str:
        return self.outcome.verdict if self.outcome else "not run"

    def numbers(self) -> str:
        return "; ".join(f"{c.what}: {c.measured} (must be {c.must})" for c in self.outcome.checks) if self.outcome else ""

    def row(self) -> tuple[str, str, str, str, str]:
        return self.id, LEDGER[self.id].says, self.verdict, self.numbers(), self.run

    def in_full(self) -> str:
        """The claim, its rule, each check with its numbers, and what it ran on."""
        lines = [f"{self.id}: {LEDGER[self.id].says}", f"  rule: {LEDGER[self.id].rule}", f"  verdict: {self.verdict}"]
        if self.outcome:
            lines += [
                f"  {'ok ' if c.holds else 'NO '} {c.what}: {c.measured}, must be {c.must} (n = {c.measured.n}, {c.measured.seeds} seeds)"
                for c in self.outcome.checks
            ]
            lines += [f"  {self.outcome.note}"] if self.outcome.note else []
            lines += [f"  from {self.run}; its trainings took {self.train_flops:.2g} FLOPs, {self.train_s:.0f} s"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        checks = [{"what": c.what, "must": c.must, "holds": c.holds, **c.measured.to_dict()} for c in self.outcome.checks] if self.outcome else []
        return {"id": self.id, "claim": LEDGER[self.id].says, "rule": LEDGER[self.id].rule, "verdict": self.verdict, "run": self.run, "checks": checks}


def committed_results() -> Path:
    """The folder `results/` here or in the checkout that this package runs from. Raises UserError if there is none."""
    for folder in (Path("results"), Path(__file__).parents[3] / "results"):
        if folder.is_dir():
            return folder
    raise UserError("there is no folder results/ here; name one that holds runs with --results, such as runs")


def studies_of(ids: Sequence[str]) -> list[str]:
    """The studies whose records decide these claims. Raises UserError for a claim that no study decides yet."""
    found: dict[str, None] = {}
    for i in ids:
        mine = [name for name in names("studies") if i in module("studies", name).claims]
        if not mine:
            raise UserError(f"no study decides {i} yet")
        found.update(dict.fromkeys(mine))
    return list(found)


def settle(results: Path, ids: Sequence[str]) -> list[Verdict]:
    """A verdict for each claim. Each study that speaks of it does so with its largest run that has the seeds; a claim of several studies needs all of them."""
    runs = [(folder, read_plan(folder)) for folder in sorted(results.iterdir()) if (folder / "plan.json").is_file()]
    loaded: dict[Path, Frames] = {}
    verdicts = []
    for i in ids:
        best: dict[str, tuple[tuple[bool, int], Verdict]] = {}
        for folder, plan in runs:
            if plan["study"] not in names("studies") or i not in (study := module("studies", plan["study"])).claims:
                continue
            if folder not in loaded:
                loaded[folder] = Frames.read(folder)
            frames = loaded[folder]
            trainings = frames.cells.unique("train_fingerprint")
            outcome = study.claims[i](frames)
            rank = outcome.seeds >= 3, SCALES.index(plan["scale"])
            found = Verdict(i, folder.name, outcome, float(trainings["train_flops"].sum()), float(trainings["train_s"].sum()))
            if plan["study"] not in best or rank > best[plan["study"]][0]:
                best[plan["study"]] = rank, found
        verdicts.append(joined(i, [found for _, found in best.values()]))
    return verdicts


def joined(id: str, found: Sequence[Verdict]) -> Verdict:
    """One verdict from those of several studies: every check of each must hold, and a claim about benchmarks stays open below the number it asks for."""
    if len(found) < 2 and id not in BENCHMARKS:
        return found[0] if found else Verdict(id)
    if not found:
        return Verdict(id)
    outcomes = [v.outcome for v in found if v.outcome]
    needed = BENCHMARKS.get(id, 1)
    missing = f"{len(found)} of the {needed} benchmarks that the rule asks for" if len(found) < needed else ""
    notes, measured = " ".join(dict.fromkeys(o.note for o in outcomes if o.note)), "; ".join(o.measured for o in outcomes if o.measured)
    outcome = Outcome(tuple(c for o in outcomes for c in o.checks), notes, missing or " ".join(o.open for o in outcomes if o.open), measured)
    return Verdict(id, ", ".join(v.run for v in found), outcome, sum(v.train_flops for v in found), sum(v.train_s for v in found))
