"""Sparse or dense: does a mixture of experts with as many active parameters learn faster, or use what it learned otherwise?

The training of `reversals` with fresh in-context sequences, by a dense model and by one whose feed-forward layers have eight experts, of which each token goes through
two; a token meets as many weights in both (but for the routers).
"""

from collections.abc import Sequence
from typing import Any

from tolman.core.stats import Estimate, say
from tolman.datasets.reversals import Reversals
from tolman.memory.oracle import Oracle
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._benchmark import CLOSED, ORACLE, share
from tolman.studies._study import Check, Outcome, at_least, difference, select
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.pretrain import Pretrain

scales = {"quick": 1, "small": 3}

DENSE, SPARSE = "dense", "8 experts, 2 for each token"
MODELS: dict[str, dict[str, int]] = {DENSE: {}, SPARSE: {"experts": 8, "experts_per_token": 2}}
KNOWN = ("trained_forward", "trained_reversed", "heldout_forward")
LATENT = "heldout_reversal"
REACHED: dict[str, tuple[str, float]] = {CLOSED: ("heldout_forward", 0.9), ORACLE: (LATENT, 0.5)}
"""Learning speed: the first look while training (each at 30 questions) at which this kind, asked so, has this accuracy."""


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Two models x two ways of asking x seeds. The dense one shares its training with `reversals`."""
    out = []
    for seed in seeds:
        for training, sizes in MODELS.items():
            model = Tiny.at(scale, **sizes)
            shared: dict[str, Any] = {"dataset": Reversals.at(scale), "model": model, "train_time": Pretrain.at(scale), "scoring": Exact(), "seed": seed}
            watched = ("trained_forward", "heldout_forward", "heldout_reversal")
            out.append(Cell(**shared, test_time=ClosedBook(), training=training, kinds=(*KNOWN, LATENT), asking=CLOSED, curve=watched))
            oracle = Retrieval(retriever=Oracle(distractors=3))
            out.append(Cell(**shared, test_time=oracle, training=training, kinds=(*KNOWN, LATENT), asking=ORACLE, curve=(LATENT,)))
    return out


def reached(frames: Frames, training: str, asking: str) -> list[int | None]:
    """For each seed the step at which training had reached what REACHED names; None where it never did."""
    kind, accuracy = REACHED[asking]
    mine = frames.trainings.filter(training=training, asking=asking, kind=kind).sort("step")
    steps = []
    for seed in sorted(set(frames.cells["seed"])):
        there = [step for s, step, a in mine.select("seed", "step", "accuracy").iter_rows() if s == seed and a >= accuracy]
        steps.append(there[0] if there else None)
    return steps


def compared(frames: Frames, kind: str | tuple[str, ...], asking: str) -> Estimate:
    """Sparse minus dense, question by question."""
    sparse, dense = (select(frames, training=training, kind=kind, asking=asking) for training in (SPARSE, DENSE))
    return difference(sparse, dense)


def headline(frames: Frames) -> str:
    """The finding in one sentence."""

    def told(training: str) -> str:
        known, latent, retrieved = (share(frames, kind, asking, training=training) for kind, asking in ((KNOWN, CLOSED), (LATENT, CLOSED), (LATENT, ORACLE)))
        return f"recalls trained forms in {say(known)} of cases, reverses held-out facts from its weights in {say(latent)} and with the fact retrieved in {say(retrieved)}"

    return f"The dense model {told(DENSE)}; the sparse one, with equal active parameters, {told(SPARSE)}. {speed(frames)}."


def speed(frames: Frames) -> str:
    """How soon each model had the facts, and used its context, in words."""

    def steps(training: str, asking: str) -> str:
        return ", ".join("never" if step is None else str(step) for step in reached(frames, training, asking))

    return (
        f"Steps to recall (held-out facts, .9): dense {steps(DENSE, CLOSED)}, sparse {steps(SPARSE, CLOSED)}; "
        f"to use of context (held-out reversals, retrieved, .5): dense {steps(DENSE, ORACLE)}, sparse {steps(SPARSE, ORACLE)}"
    )


def c27(frames: Frames) -> Outcome:
    """Measured: sparse minus dense on trained forms and on the latent kind, closed book and retrieved; steps to recall and to use of context. Both must recall (>= .9)."""
    parts = (
        ("trained forms, closed book", KNOWN, CLOSED),
        ("held-out reversals, closed book", LATENT, CLOSED),
        ("held-out reversals, retrieved", LATENT, ORACLE),
    )
    known = [at_least(f"{t}: trained forms, closed book", share(frames, KNOWN, CLOSED, training=t), 0.9) for t in MODELS]
    apart = {what: compared(frames, kind, asking) for what, kind, asking in parts}
    shown = [Check(f"sparse - dense: {what}", value, "any", True) for what, value in apart.items()]
    words = "; ".join(f"sparse - dense {value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}] on {what}" for what, value in apart.items())
    return Outcome((*known, *shown), measured=f"{words}. {speed(frames)}")


claims = {"C27": c27}
