"""What a run computed in all: trainings that others go on from are counted once, in reports and before a run."""

from pathlib import Path

import polars as pl
import pytest

from tolman.core.discovery import module, names
from tolman.run.estimate import expected, expected_each, made_by
from tolman.run.frames import Frames, computed
from tolman.run.ranks import beginnings

RESULTS = Path(__file__).parent.parent / "results"


def test_a_training_that_another_goes_on_from_is_counted_once() -> None:
    cells = Frames.read(RESULTS / "tour-quick").cells
    flops = {(training, seed): flops for training, seed, flops in cells.unique("train_fingerprint").select("training", "seed", "train_flops").rows()}
    written = float(cells.unique("train_fingerprint")["generate_flops"].sum())
    begun = sum(flops["documents only", seed] for training, seed in flops if training != "documents only")
    assert computed(cells)[0] == pytest.approx(sum(flops.values()) + written - begun)
    alone = cells.filter(pl.col("training") == "learned recall of A")  # the one it begins with is not in the table, so its cost stays
    assert computed(alone)[0] == pytest.approx(
        sum(float(f) for f in alone.unique("train_fingerprint").select(pl.col("train_flops") + pl.col("generate_flops")).to_series())
    )


def test_before_a_run_too() -> None:
    groups: dict[str, list] = {}
    for cell in module("studies", "tour").cells("quick", [0]):
        groups.setdefault(cell.train_fingerprint(), []).append(cell)
    first = next(g for g in groups.values() if not beginnings(g[0]))
    then = next(g for g in groups.values() if beginnings(g[0]) and expected(g, 1e11).seconds is not None)
    alone, after = expected(then, 1e11).seconds, expected(then, 1e11, made_by(first[0])).seconds
    assert alone is not None and after is not None and alone - after == pytest.approx(expected(first, 1e11).seconds)
    assert made_by(then[0]) == made_by(first[0]) | {then[0].train_fingerprint()}


@pytest.mark.parametrize("name", names("studies"))
def test_every_study_says_before_a_run_how_long_it_takes_or_that_nobody_knows(name: str) -> None:
    study = module("studies", name)
    for scale in study.scales:
        groups: dict[str, list] = {}
        for cell in study.cells(scale, [0]):
            groups.setdefault(cell.train_fingerprint(), []).append(cell)
        guesses = list(expected_each(groups.values(), 1e11))
        assert len(guesses) == len(groups) and all(g.seconds is None or g.seconds > 0 for g in guesses)
