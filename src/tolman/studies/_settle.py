"""Verdicts on claims, from the records in a folder of runs."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from tolman.core.discovery import module, names
from tolman.core.errors import UserError, suggest
from tolman.run.frames import Frames, computed
from tolman.run.plan import read_plan
from tolman.studies._ledger import LEDGER
from tolman.studies._study import Outcome

SCALES = ("quick", "small", "paper")
BENCHMARKS = {"C01": 3, "C10": 2, "C20": 2}
"""Claims about several benchmarks, and how many of them must speak before there is a verdict."""
ENOUGH = {"C01"}
"""Those that hold where that many are as claimed (the ledger's "on >= 3 benchmarks"); the others are about each of their benchmarks."""


@dataclass(frozen=True)
class Ran:
    """The run of a study that speaks of a claim: its folder's name, how large it was, and what all of it cost."""

    name: str
    study: str
    scale: str
    seeds: int
    trainings: int
    questions: int
    parameters: tuple[int, int] | None
    """Of the smallest and the largest model; None where a backend does not say."""
    train_flops: float
    train_s: float
    ask_flops: float
    ask_s: float

    @classmethod
    def of(cls, name: str, plan: dict[str, Any], frames: Frames) -> "Ran":
        cells = frames.cells
        sizes = cells["parameters"].drop_nulls()
        flops, seconds = computed(cells)
        cost = {"train_flops": flops, "train_s": seconds} | {f"ask_{unit}": float(cells[f"ask_{unit}"].sum()) for unit in ("flops", "s")}
        span = (int(sizes.min()), int(sizes.max())) if len(sizes) == len(cells) else None  # type: ignore[arg-type]
        return cls(
            name, plan["study"], plan["scale"], cells["seed"].n_unique(), cells["train_fingerprint"].n_unique(), int(cells["n_questions"].sum()), span, **cost
        )


@dataclass(frozen=True)
class Verdict:
    """A claim, and what the records of its `runs` say of it (none where it was not run)."""

    id: str
    outcome: Outcome | None = None
    runs: tuple[Ran, ...] = ()

    @property
    def verdict(self) -> str:
        return self.outcome.verdict if self.outcome else "not run"

    @property
    def run(self) -> str:
        return ", ".join(ran.name for ran in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """What `tolman claims --json` prints, and what the ledger and the pages of the claims are made from."""
        about = {"id": self.id, "claim": LEDGER[self.id].says, "rule": LEDGER[self.id].rule, "verdict": self.verdict, "studies": deciding(self.id)}
        if self.outcome is None:
            return about | {"run": "", "runs": [], "note": "", "checks": []}
        checks = [{"what": c.what, "must": c.must, "threshold": c.threshold, "holds": c.holds, **c.measured.to_dict()} for c in self.outcome.checks]
        return about | {"run": self.run, "runs": [asdict(ran) for ran in self.runs], "note": self.outcome.note, "checks": checks}


def committed_results() -> Path:
    """The folder `results/` here or in the checkout that this package runs from. Raises UserError if there is none."""
    for folder in (Path("results"), Path(__file__).parents[3] / "results"):
        if folder.is_dir():
            return folder
    raise UserError("there is no folder results/ here; name one that holds runs with --results, such as runs")


def known(ids: Sequence[str]) -> list[str]:
    """The ids in capitals. Raises UserError for one that is not in the ledger, naming the nearest by number."""
    for i in ids:
        if i.upper() not in LEDGER:
            digits = re.sub(r"\D", "", i)
            near = f"did you mean {min(LEDGER, key=lambda k: abs(int(k[1:]) - int(digits)))!r}?" if digits else suggest(i.upper(), LEDGER)
            raise UserError(f"there is no claim {i!r}; {near}")
    return [i.upper() for i in ids]


@cache
def studies() -> dict[str, Any]:
    """Every study's module by name. Looking through what is installed takes milliseconds, so it is done once."""
    return {name: module("studies", name) for name in names("studies")}


def deciding(id: str) -> list[str]:
    """The studies whose records decide a claim."""
    return [name for name, study in studies().items() if id in study.claims]


def studies_of(ids: Sequence[str]) -> list[str]:
    """The studies whose records decide these claims. Raises UserError for a claim that no study decides yet."""
    found: dict[str, None] = {}
    for i in ids:
        if not (mine := deciding(i)):
            raise UserError(f"no study decides {i} yet")
        found.update(dict.fromkeys(mine))
    return list(found)


def enough_of(ids: Sequence[str], seconds: Mapping[str, float]) -> list[str]:
    """The studies to run for these claims, given how long each of `studies_of` takes: all of them, but for a claim that holds where so many are as claimed the quickest
    so many."""
    found: set[str] = set()
    for i in ids:
        mine = sorted(deciding(i), key=lambda study: seconds[study])
        found.update(mine[: BENCHMARKS[i]] if i in ENOUGH else mine)
    return [study for study in seconds if study in found]


def runs_in(results: Path, scale: str | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """The folders in `results` that hold the run of a study there is (at `scale`, if given), each with its plan."""
    found = [(folder, read_plan(folder)) for folder in sorted(results.iterdir()) if (folder / "plan.json").is_file()]
    return [(folder, plan) for folder, plan in found if plan["study"] in studies() and plan["scale"] in ((scale,) if scale else SCALES)]


def largest(results: Path, study: str) -> Path | None:
    """The folder of the study's largest run that has the seeds, None if there is no run."""
    mine = [(len(plan["seeds"]) >= 3, SCALES.index(plan["scale"]), folder) for folder, plan in runs_in(results) if plan["study"] == study]
    return max(mine)[2] if mine else None


def settle(results: Path, ids: Sequence[str], scale: str | None = None) -> list[Verdict]:
    """A verdict for each claim. Each study that speaks of it does so with its largest run that has the seeds (of `scale`, if given); a claim of several studies needs
    all of them."""
    runs = runs_in(results, scale)
    loaded: dict[Path, Frames] = {}
    verdicts = []
    for i in ids:
        best: dict[str, tuple[tuple[bool, int], Verdict]] = {}
        for folder, plan in runs:
            study = studies()[plan["study"]]
            if i not in study.claims:
                continue
            if folder not in loaded:
                loaded[folder] = Frames.read(folder)
            outcome = study.claims[i](loaded[folder])
            rank = outcome.seeds >= 3, SCALES.index(plan["scale"])
            if plan["study"] not in best or rank > best[plan["study"]][0]:
                best[plan["study"]] = rank, Verdict(i, outcome, (Ran.of(folder.name, plan, loaded[folder]),))
        verdicts.append(joined(i, [found for _, found in best.values()]))
    return verdicts


def joined(id: str, found: Sequence[Verdict]) -> Verdict:
    """One verdict from those of several studies: every check of each must hold, or all checks of as many as the claim asks for (`ENOUGH`). A claim about benchmarks
    stays open below the number it asks for."""
    if len(found) < 2 and id not in BENCHMARKS:
        return found[0] if found else Verdict(id)
    if not found:
        return Verdict(id)
    outcomes = [v.outcome for v in found if v.outcome]
    needed = BENCHMARKS.get(id, 1)
    missing = f"{len(found)} of the {needed} benchmarks that the rule asks for" if len(found) < needed else ""
    notes, measured = " ".join(dict.fromkeys(o.note for o in outcomes if o.note)), "; ".join(o.measured for o in outcomes if o.measured)
    checks, still_open = tuple(c for o in outcomes for c in o.checks), missing or " ".join(o.open for o in outcomes if o.open)
    outcome = Outcome(checks, notes, still_open, measured)
    if id in ENOUGH and not missing:
        by_study = tuple((v.runs[0].study, all(c.holds for c in o.checks)) for v, o in zip(found, outcomes, strict=True))
        outcome = replace(outcome, by_study=by_study, enough=needed)
    return Verdict(id, outcome, tuple(ran for v in found for ran in v.runs))


def together(runs: Sequence[Frames]) -> Frames:
    """The tables of several runs as one."""
    return Frames(*(pl.concat([getattr(run, name) for run in runs]) for name in ("cells", "items", "trainings")))


def flattened(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """(`first.steps`, value) of every field, those of nested components included. What such a component is, its own name says: (`first`, "pretrain")."""
    for name, value in fields.items():
        if not isinstance(value, Mapping):
            yield within + name, value
            continue
        if "is" in value:
            yield within + name, value["is"].partition("/")[2]
        yield from flattened({k: v for k, v in value.items() if k != "is"}, f"{within}{name}.")


def sizes(frames: Frames) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """What a run was, from its configurations: the fields that all its trainings share, and for each training those that differ.

    A field reads `dataset.entities`, that of a component within `train_time.first.steps`; labels, seeds and what is only asked differently are left out, and fields that
    only some have are None elsewhere.
    """
    flat: dict[str, dict[str, Any]] = {}
    for training, text in frames.cells.select("training", "config").unique("training", maintain_order=True).iter_rows():
        config = json.loads(text)
        parts = {part: {k: v for k, v in config[part].items() if k not in ("is", "device")} for part in ("dataset", "model", "train_time")}
        flat[training] = dict(flattened(parts))
    every = list(dict.fromkeys(name for fields in flat.values() for name in fields))
    same = [n for n in every if all(n in fields for fields in flat.values()) and len({json.dumps(fields[n]) for fields in flat.values()}) == 1]
    common = {name: next(iter(flat.values()))[name] for name in same}
    return common, [(training, {name: fields.get(name) for name in every if name not in common}) for training, fields in flat.items()]
