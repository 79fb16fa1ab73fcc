"""What a study file provides, and how its claims are decided."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import polars as pl

from tolman.core.stats import Estimate, estimate, paired
from tolman.run.cell import Cell
from tolman.run.frames import Frames, measured

MIN_SEEDS = 3


class Picture(NamedTuple):
    """The figure that shows a claim best: its name in `report/figures`, and other studies whose records it shows beside the claim's own."""

    figure: str
    beside: tuple[str, ...] = ()


class Study(Protocol):
    """A module in `tolman/studies`: its docstring's first line is the title."""

    scales: dict[str, int]
    """Scale -> how many seeds it runs unless told otherwise."""

    def cells(self, scale: str, seeds: Sequence[int]) -> list[Cell]: ...

    def headline(self, frames: Frames) -> str:
        """The finding in one sentence, with numbers from `frames`."""
        ...

    claims: dict[str, Callable[[Frames], "Outcome"]]
    """Claim id -> the rule, applied to the study's records. A study may also name `pictures`, claim id -> Picture; others are shown by the checks of their rule."""


@dataclass(frozen=True)
class Check:
    """One comparison of a rule: what was measured, what it must be, and whether it is."""

    what: str
    measured: Estimate
    must: str
    holds: bool
    threshold: float = math.nan
    """The number in `must`."""
    likely: bool = False
    """Whether the mean at least is where a whole interval must be: then a check that does not hold is undecided, not refuted."""


@dataclass(frozen=True)
class Outcome:
    """What a rule made of the records. `verdict` follows from `checks`; nobody writes it."""

    checks: tuple[Check, ...]
    note: str = ""
    open: str = ""
    """Why the claim stays open whatever the numbers, where it does (say, it asks for more benchmarks)."""
    measured: str = ""
    """What was found, for a claim that is a question: in words made from the numbers."""
    by_study: tuple[tuple[str, bool], ...] = ()
    """Study -> as claimed there, for a claim whose rule asks for a number of benchmarks."""
    enough: int = 0
    """That number: so many of `by_study` must be as claimed, and the verdict says which are not. 0: every check must hold."""

    @property
    def seeds(self) -> int:
        return min((c.measured.seeds for c in self.checks), default=0)

    @property
    def verdict(self) -> str:
        if not self.checks or any(c.measured.n == 0 for c in self.checks):
            return "not run"
        mine = [study for study, as_claimed in self.by_study if as_claimed]
        holds = len(mine) >= self.enough if self.enough else all(c.holds for c in self.checks)
        if self.measured:
            return f"open: measured {self.measured}" + (f", but {self.seeds} of {MIN_SEEDS} seeds" if self.seeds < MIN_SEEDS else "")
        if self.seeds < MIN_SEEDS:
            return f"open: {'as claimed' if holds else 'not as claimed'}, but {self.seeds} of {MIN_SEEDS} seeds"
        if self.open:
            return f"open: {'as claimed' if holds else 'not as claimed'} here; {self.open}"
        failing = [c for c in self.checks if not c.holds]
        if failing and not self.enough and all(c.likely for c in failing):
            return f"open: as claimed in the mean, but {len(failing)} of {len(self.checks)} checks not surely"
        others = [study for study, _ in self.by_study if study not in mine]
        where = f": on {len(mine)} of {len(self.by_study)} benchmarks{', not shown on ' * bool(others)}{', '.join(others)}" if self.enough else ""
        return ("holds" if holds else "does not hold here") + where


def select(frames: Frames, **where: str | tuple[str, ...]) -> pl.DataFrame:
    """Items where each column equals the value (or is one of the values) given."""
    return frames.items.filter(*(pl.col(k).is_in([v] if isinstance(v, str) else list(v)) for k, v in where.items()))


def accuracy(items: pl.DataFrame) -> Estimate:
    """Share correct with its interval, clustered on facts and seeds."""
    return measured(items, "correct")


def difference(first: pl.DataFrame, second: pl.DataFrame, on: Sequence[str] = ("seed", "question")) -> Estimate:
    """Mean of first - second over what both asked, paired on `on`. Raises AssertionError where one was asked something the other was not."""
    both = first.join(second, on=list(on), suffix="_second", how="full", coalesce=True)
    assert not both["correct"].is_null().any() and not both["correct_second"].is_null().any(), "the two sides were not asked the same"
    return paired(
        both["correct"].cast(pl.Float64).to_list(),
        both["correct_second"].cast(pl.Float64).to_list(),
        clusters=both["cluster"].to_list(),
        seeds=both["seed"].to_list(),
    )


def gain_difference(a: tuple[pl.DataFrame, pl.DataFrame], b: tuple[pl.DataFrame, pl.DataFrame]) -> Estimate:
    """(a[0] - a[1]) - (b[0] - b[1]), question by question: how much larger one gain is than another. Values lie in [-2, 2]."""
    tables = [t.select("seed", "question", "cluster", pl.col("correct").cast(pl.Float64).alias(f"x{i}")) for i, t in enumerate((*a, *b))]
    joined = tables[0]
    for table in tables[1:]:
        joined = joined.join(table.drop("cluster"), on=["seed", "question"], how="inner")
    assert all(len(joined) == len(t) for t in tables), "the four sides were not asked the same"
    values = (joined["x0"] - joined["x1"]) - (joined["x2"] - joined["x3"])
    return estimate(values.to_list(), clusters=joined["cluster"].to_list(), seeds=joined["seed"].to_list(), bounds=(-2.0, 2.0))


def at_least(what: str, measured: Estimate, threshold: float) -> Check:
    """The mean must reach `threshold` (the interval is shown, not asked to clear it: it cannot for thresholds near 1)."""
    return Check(what, measured, f">= {threshold:g}", measured.mean >= threshold, threshold)


def at_most(what: str, measured: Estimate, threshold: float) -> Check:
    return Check(what, measured, f"<= {threshold:g}", measured.mean <= threshold, threshold)


def surely_above(what: str, measured: Estimate, threshold: float) -> Check:
    """The whole interval must lie above `threshold`: for differences."""
    return Check(what, measured, f"> {threshold:g} (whole interval)", measured.low > threshold, threshold, likely=measured.mean > threshold)
