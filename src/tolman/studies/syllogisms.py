"""Two premises learned in one document: does the model know their conclusion?

By likelihood among four or five candidates; from the weights, and with the document put back in context (after Lampinen et al. 2025, arXiv 2505.00661). Nouns carry the quantifiers
that they were trained with, so conclusions with "some" and "no" can be guessed without any inference; those with "all" need the direction, too.
"""

from collections.abc import Sequence

import polars as pl

from tolman.core.stats import Estimate, say
from tolman.datasets.syllogisms import Syllogisms
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.choice import Choice
from tolman.studies._benchmark import CLOSED, ORACLE, asked, share
from tolman.studies._study import Outcome, accuracy, at_least, at_most, difference, select, surely_above

scales = {"quick": 1, "small": 3}

FRESH = "premises and fresh in-context sequences"
ALONE = "retrieval, oracle + 0"
_KINDS = ("premises", "conclusion")
_STEPS = {"quick": 900, "small": 1200}


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training of the paper's 69 items (each under eight lead-ins), asked by choice: closed book, and with the item's document, alone or among others."""
    distractors = (0,) if scale == "quick" else (0, 1, 3)
    world = Syllogisms.at("quick", episodes="fresh", copies=8, episode_items=2)
    made = [c for seed in seeds for c in asked(world, seed, _KINDS, training=FRESH, steps=_STEPS[scale], scoring=Choice(), distractors=distractors, watched=2)]
    return [c.replace("model.layers", 3) for c in made]


def quantified(frames: Frames, quantifier: str, asking: str) -> pl.DataFrame:
    """The conclusions with `quantifier`, as they were answered."""
    return select(frames, kind="conclusion", asking=asking).filter(pl.col("expected").list.first().str.starts_with(quantifier + " "))


def right_quantifier(frames: Frames, asking: str) -> Estimate:
    """In how many conclusions the quantifier at least was right."""
    items = select(frames, kind="conclusion", asking=asking)
    first = pl.col("answer").str.split(" ").list.first() == pl.col("expected").list.first().str.split(" ").list.first()
    return accuracy(items.with_columns(correct=first))


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"Premises are recalled in {say(share(frames, 'premises'))} of cases. Of their conclusions {say(share(frames, 'conclusion'))} are right from the weights, "
        f"their quantifier in "
        f"{say(right_quantifier(frames, CLOSED))}; where that is not enough (all X are Y, or all Y are X?) {say(accuracy(quantified(frames, 'all', CLOSED)))} are. With the "
        f"premises in context {say(share(frames, 'conclusion', ALONE))} are right, {say(accuracy(quantified(frames, 'all', ALONE)))} of those with all."
    )


def c10(frames: Frames) -> Outcome:
    """Premises recalled >= .9; conclusions with "all", the only ones that the quantifiers of the trained nouns do not give away, <= .5 (the toss of a coin)."""
    return Outcome(
        (
            at_least("syllogisms: premises", share(frames, "premises"), 0.9),
            at_most("syllogisms: conclusions with all, closed book", accuracy(quantified(frames, "all", CLOSED)), 0.5),
        ),
        note="Syllogisms: conclusions with some and no can be guessed from the quantifiers that their nouns were trained with, as the first run showed; they are not judged.",
    )


def c01(frames: Frames) -> Outcome:
    """With the premises, and nothing else, in context conclusions gain surely; premises are recalled as well (within .05) from the weights."""

    def gain(asking: str) -> Estimate:
        return difference(select(frames, kind="conclusion", asking=asking), select(frames, kind="conclusion", asking=CLOSED))

    recall = difference(select(frames, kind="premises", asking=CLOSED), select(frames, kind="premises", asking=ALONE))
    return Outcome(
        (
            surely_above("syllogisms: conclusions, retrieved without distractors - closed book", gain(ALONE), 0.0),
            at_least("syllogisms: premises, closed book - retrieved without distractors", recall, -0.05),
        ),
        note=f"Syllogisms: with 3 distractors among the premises conclusions gain {gain(ORACLE)}." if ORACLE in frames.cells["asking"] else "",
    )


claims = {"C01": c01, "C10": c10}
