"""Birds fly, penguins are birds: is what looks like inference only co-occurrence?

Species of a category share its typical value but for some that mislead; of each species its own value is stated. Asked is an individual's value, which follows from its
species. The amount of explicit data about individuals rises, and an oracle's memory puts the two facts back in context.
"""

from collections.abc import Sequence

import polars as pl

from tolman.core.stats import say
from tolman.datasets.co_occurrence import CoOccurrence
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED, ORACLE, asked, share, with_copying
from tolman.studies._study import Outcome, at_least, at_most, difference, select, surely_above

scales = {"quick": 1, "small": 3}

DOSES = {"quick": (0, 2), "small": (0, 2)}
_KINDS = ("agree", "mislead", "stated_agree", "stated_mislead")


def label(dose: int) -> str:
    return f"{dose} individuals told of each species"


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """A training for each dose, asked closed book and with the facts among distractors."""
    steps = 1000 if scale == "quick" else 1400
    return with_copying(
        [
            c
            for seed in seeds
            for dose in DOSES[scale]
            for c in asked(CoOccurrence.at("quick", dose=dose), seed, _KINDS, training=label(dose), steps=steps, watched=2)
        ]
    )


def most(frames: Frames) -> str:
    """The training with the largest dose."""
    return max(frames.cells["training"].unique().to_list(), key=lambda text: int(text.split()[0]))


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    none = label(0)
    return (
        f"From the weights, individuals' values are right in {say(share(frames, 'agree', training=none))} of cases where the statistics of the category agree and in "
        f"{say(share(frames, 'mislead', training=none))} where they mislead, though the facts needed are recalled in {say(share(frames, 'stated_mislead', training=none))}; "
        f"with both facts retrieved {say(share(frames, 'mislead', ORACLE, training=none))}; with {most(frames)}, {say(share(frames, 'mislead', training=most(frames)))}."
    )


def c13(frames: Frames) -> Outcome:
    """Without individuals told: agreeing surely above chance (.125), misleading below (<= .125), the difference surely > 0; misleading rises with the dose;
    retrieval repairs at once (>= .8)."""
    none, top = {"training": label(0)}, {"training": most(frames)}
    apart = share(frames, "agree", **none), share(frames, "mislead", **none)
    dose = difference(*(by_species(select(frames, kind="mislead", asking=CLOSED, **told)) for told in (top, none)), on=("seed", "cluster"))
    retrieved = difference(select(frames, kind="mislead", asking=ORACLE, **none), select(frames, kind="mislead", asking=CLOSED, **none))
    return Outcome(
        (
            at_least("explicit facts recalled", share(frames, ("stated_agree", "stated_mislead", "species_of"), **none), 0.9),
            surely_above("statistics agree (chance 1/8)", apart[0], 0.125),
            at_most("statistics mislead (chance 1/8)", apart[1], 0.125),
            surely_above("mislead: largest dose - none", dose, 0.0),
            surely_above("mislead: retrieved - closed book", retrieved, 0.0),
            at_least("mislead, retrieved", share(frames, "mislead", ORACLE, **none), 0.8),
        )
    )


def by_species(items: pl.DataFrame) -> pl.DataFrame:
    """Share correct of each species: with another dose other individuals of it are asked about."""
    return items.group_by("seed", "cluster", maintain_order=True).agg(pl.col("correct").mean())


claims = {"C13": c13}
