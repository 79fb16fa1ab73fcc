"""Articles about a hierarchy of categories: does a model know what follows from them, though none says it?

Asked are stated facts in new wordings, their reversals, syllogisms, deductions over several steps, and all that follows for categories of which only the parent was stated; from
the weights, and with the articles that suffice put back in context (after Lampinen et al. 2025, arXiv 2505.00661).
"""

import re
from collections.abc import Sequence

import polars as pl

from tolman.core.stats import Estimate, estimate, say
from tolman.datasets.semantic_structure import SemanticStructure
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.choice import Choice
from tolman.studies._benchmark import CLOSED, ORACLE, asked, share
from tolman.studies._study import Outcome, at_least, at_most, difference, select, surely_above

scales = {"quick": 1, "small": 3}

FRESH = "articles and fresh in-context sequences"
ALONE = "retrieval, oracle + 0"
REPHRASED = ("rephrase_category", "rephrase_property", "rephrase_relation")
PREMISES = ("syllogism_premises", "deduction_premises", "holdout_parent")
REVERSED = ("reversal_category", "reversal_property", "reversal_relation")
FOLLOWS = ("syllogism", "deduction", "holdout")
_KINDS = (*REPHRASED, *PREMISES, *REVERSED, *FOLLOWS)
_SIZES = {"quick": {"documents": 1000}, "small": {"documents": 1400, "asked": 20}}
"""Categories as at scale quick. Each article is read about four times: after ten the model knows the articles by heart, and recalls facts less well in new wordings."""
_STEPS = {"quick": 700, "small": 900}
CONTEXT_TOKENS = 1536
"""An article has up to 250 words; with five of them a question still fits."""


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training, asked by choice of four: closed book, and with the articles that suffice, alone or among others."""
    out = []
    for seed in seeds:
        world = SemanticStructure.at("quick", episodes="fresh", **_SIZES[scale])
        distractors = (0,) if scale == "quick" else (0, 1, 3)
        made = asked(world, seed, _KINDS, training=FRESH, steps=_STEPS[scale], scoring=Choice(), distractors=distractors, watched=0)
        watched = ("rephrase_category", "syllogism_premises", "syllogism", "deduction")
        out += [c.replace("model.context_tokens", CONTEXT_TOKENS) for c in made]
        out[-len(made)] = out[-len(made)].model_copy(update={"curve": watched})
    return out


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"Stated facts are recognised in new wordings in {say(share(frames, (*REPHRASED, *PREMISES)))} of cases (chance 25 %), what follows from them in "
        f"{say(share(frames, FOLLOWS))} and their reversals in {say(share(frames, REVERSED))} from the weights; with the articles that suffice in context, what follows in "
        f"{say(share(frames, FOLLOWS, ALONE))}, reversals in {say(share(frames, REVERSED, ALONE))}."
    )


def found(frames: Frames, kinds: str | tuple[str, ...], asking: str) -> Estimate:
    """How often a rule would be right that takes one of the candidates that stand in what is shown, and understands nothing; any, where none does."""
    items = select(frames, kind=kinds, asking=asking).filter(pl.col("choices").list.len() > 0)
    right = []
    for prompt, choices, expected in items.select("prompt", "choices", "expected").iter_rows():
        shown = set(re.findall(r"\w+", prompt.lower()))
        standing = [c for c in choices if c.lower() in shown] or choices
        right.append(sum(c in expected for c in standing) / len(standing))
    return estimate(right, clusters=items["cluster"].to_list(), seeds=items["seed"].to_list())


def c10(frames: Frames) -> Outcome:
    """Syllogisms, deductions and held-out categories (choice of four): the stated facts behind them recognised >= .9, what follows <= .5."""
    return Outcome(
        (
            at_least("semantic structure: stated facts in new wordings", share(frames, (*REPHRASED, *PREMISES)), 0.9),
            *(at_most(f"semantic structure: {kind}, closed book (chance .25)", share(frames, kind), 0.5) for kind in FOLLOWS),
        )
    )


def c01(frames: Frames) -> Outcome:
    """With the articles that suffice (no distractors) what follows and reversals gain surely; stated facts are recognised as well (within .05) from the weights."""

    def gain(kinds: tuple[str, ...], asking: str = ALONE) -> Estimate:
        return difference(select(frames, kind=kinds, asking=asking), select(frames, kind=kinds, asking=CLOSED))

    known = (*REPHRASED, *PREMISES)
    recall = difference(select(frames, kind=known, asking=CLOSED), select(frames, kind=known, asking=ALONE))
    return Outcome(
        (
            surely_above("semantic structure: what follows, retrieved without distractors - closed book", gain(FOLLOWS), 0.0),
            surely_above("semantic structure: reversals, retrieved without distractors - closed book", gain(REVERSED), 0.0),
            at_least("semantic structure: stated facts, closed book - retrieved without distractors", recall, -0.05),
        ),
        note=f"Semantic structure, without distractors: taking any candidate that stands in the articles would be right in {say(found(frames, FOLLOWS, ALONE))} of what follows "
        f"and {say(found(frames, REVERSED, ALONE))} of the reversals; the model is in {say(share(frames, FOLLOWS, ALONE))} and {say(share(frames, REVERSED, ALONE))}."
        + (f" With 3 distractors what follows gains {gain(FOLLOWS, ORACLE)}, reversals {gain(REVERSED, ORACLE)}." if ORACLE in frames.cells["asking"] else ""),
    )


claims = {"C01": c01, "C10": c10}
