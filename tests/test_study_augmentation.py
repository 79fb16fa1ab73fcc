"""The rules of the augmentation study, on records made by hand: as claimed, and otherwise."""

from typing import Any

import polars as pl
import pytest

from report_frames import by_hand
from tolman.datasets.two_hop import RELATIONS
from tolman.run.frames import Frames
from tolman.studies import augmentation as study
from tolman.studies.augmentation import CHAINED, CLOSED, CONTEXT, ORACLE, PLAIN, REVERSED, errors, traces

N, SEEDS = 40, 3
AS_CLAIMED: dict[str, dict[str, tuple[int, int]]] = {
    PLAIN: {CLOSED: (2, 2), CONTEXT: (38, 30), ORACLE: (34, 26)},
    REVERSED: {CLOSED: (38, 2), CONTEXT: (38, 30), ORACLE: (40, 34)},
    CHAINED: {CLOSED: (2, 38), CONTEXT: (38, 38), ORACLE: (40, 38)},
    traces(1): {CLOSED: (2, 20)},
    traces(32): {CLOSED: (2, 38)},
}
"""Training -> way of asking -> how many of 40 reversals and of 40 chains are right, for each seed."""
HURT = {errors(0.0, 0.0): 40, errors(0.3, 0.0): 38, errors(0.3, 1.0): 24}


def frames(changed: dict[str, dict[str, tuple[int, int]]] | None = None, hurt: dict[str, int] | None = None, generate: float = 0.0) -> Frames:
    parts = []
    for training, asks in (AS_CLAIMED | (changed or {})).items():
        notes: dict[str, Any] = {"generated": {"kept": {"documents": 1100, "true": 90, "false": 10, "tested_derived": 30, "tested": 40}}}
        written = training != PLAIN
        costs = {
            "generate": {"tokens": 5 * written, "flops": generate * written, "seconds": 0.0},
            "train": {"tokens": 9, "flops": 1e12 + 1e10 * written, "seconds": 1.0},
        }
        for asking, right in asks.items():
            cells = {}
            for seed in range(SEEDS):
                for kind, k in (("reversal", right[0]), ("two_hop", right[1]), ("one_hop", N), ("one_hop_reversed", N)):
                    cells[training, asking, kind, seed] = "c" * k + "w" * (N - k)
            asked = {"tokens": 9, "flops": 4 * N * (1e6 if asking == CLOSED else 1e7), "seconds": 0.1}
            parts.append(by_hand(cells, asked=asked, costs=costs, notes=notes if written else {}, train_fingerprint=f"{training}"))
    for training, right in (hurt or HURT).items():
        cells = {(training, CLOSED, "heldout_reversal", seed): "c" * right + "w" * (N - right) for seed in range(SEEDS)}
        parts.append(by_hand(cells, notes={"generated": {"kept": {"true": 70, "false": 30}}}, train_fingerprint=training))
    return Frames(*(pl.concat([getattr(part, table) for part in parts]) for table in ("cells", "items", "trainings")))


def test_records_as_claimed_hold():
    made = frames(generate=1e11)
    verdicts = {claim: rule(made).verdict for claim, rule in study.claims.items()}
    assert verdicts == dict.fromkeys(("C15", "C16", "C18", "C24", "C31", "C37"), "holds")


@pytest.mark.parametrize(
    "claim, changed, hurt, generate",
    [
        ("C15", {REVERSED: AS_CLAIMED[REVERSED] | {CLOSED: (30, 2)}}, None, 1e11),  # does not reach in-context accuracy
        ("C15", {CHAINED: AS_CLAIMED[CHAINED] | {CLOSED: (2, 30)}}, None, 1e11),  # does not beat it
        ("C16", {traces(32): {CLOSED: (2, 20)}}, None, 1e11),  # more traces are no better
        ("C16", {traces(1): {CLOSED: (2, 0)}, traces(32): {CLOSED: (2, 24)}}, None, 1e11),  # one try in context is better
        ("C18", {REVERSED: AS_CLAIMED[REVERSED] | {CLOSED: (38, 20)}}, None, 1e11),  # serves the other use too
        ("C18", {PLAIN: AS_CLAIMED[PLAIN] | {ORACLE: (2, 2)}}, None, 1e11),  # retrieval does not
        ("C24", None, None, 1e9),  # writing is cheap
        ("C31", None, HURT | {errors(0.3, 0.0): 32}, 1e11),  # independent errors do not average out
        ("C31", None, HURT | {errors(0.3, 1.0): 38}, 1e11),  # correlated ones do
        ("C37", {REVERSED: AS_CLAIMED[REVERSED] | {ORACLE: (30, 26)}}, None, 1e11),  # together no better than the better one
    ],
)
def test_records_otherwise_do_not(claim, changed, hurt, generate):
    assert study.claims[claim](frames(changed, hurt, generate)).verdict == "does not hold here"


def test_c16_says_how_much_was_written():
    assert "(1,100 written; 30 of 40 tested statements among them)" in study.c16(frames()).note


def test_costs_by_hand():
    made = frames(generate=5e10)
    assert study.break_even(made, CHAINED) == pytest.approx((1e10 + 5e10) / 9e6)
    first = study.c24(made).checks[0].measured
    assert first.mean == pytest.approx(6.0) and first.seeds == 3
    assert "6,667 questions" in study.headline(made) and "10 % [" in study.headline(made)


def test_both_at_the_ceiling_counts_as_together_no_worse():
    ceiling = {t: dict.fromkeys(asks, (40, 40)) for t, asks in AS_CLAIMED.items()}
    assert study.c37(frames(ceiling)).verdict == "holds"


@pytest.mark.parametrize("scale", study.scales)
def test_cells_share_one_teacher_and_know_no_inverse_of_many_to_one_relations(scale):
    cells = study.cells(scale, [0])
    teachers = {getattr(c.train_time, "first", c.train_time).fingerprint() for c in cells if c.dataset.address() == "datasets/two_hop"}
    assert len(teachers) == 1
    augments = [c.train_time.augment for c in cells if hasattr(c.train_time, "augment") and c.dataset.address() == "datasets/two_hop"]
    assert all(a.inverses == dict(RELATIONS[:3]) and a.others == (RELATIONS[3][0],) for a in augments) and len(augments) > 5
    assert len({c.fingerprint() for c in cells}) == len(cells)
