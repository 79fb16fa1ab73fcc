"""A symbol that is defined in a codebook, but never used in it: can the model encode it?

From the weights, and with its definition put back in context by an oracle's memory among distractors (after Lampinen et al. 2025, arXiv 2509.16189).
"""

from collections.abc import Sequence

from tolman.core.stats import say
from tolman.datasets.codebooks import Codebooks
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import ORACLE, asked, rescued, share, with_copying
from tolman.studies._study import Outcome, at_least, at_most, difference, select, surely_above

scales = {"quick": 1, "small": 3}

FRESH = "fresh in-context sequences"
_KINDS = ("latent_definition", "known_encode", "latent_encode", "latent_next")


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training, asked closed book and with distractors beside the definitions."""
    sweep = (3,) if scale == "quick" else (0, 3, 7)
    steps = 1500 if scale == "quick" else 1800
    made = [c for seed in seeds for c in asked(Codebooks.at("quick"), seed, _KINDS, training=FRESH, steps=steps, distractors=sweep)]
    return with_copying(made, layers=4, exercise_share=0.8)


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"Definitions are recalled in {say(share(frames, 'latent_definition'))} and trained symbols encoded in new sequences in {say(share(frames, 'known_encode'))} of cases; "
        f"the code of a symbol that was only defined is written in its place in {say(share(frames, 'latent_next'))} from the weights, and in "
        f"{say(share(frames, 'latent_next', ORACLE))} with its definition retrieved among three others."
    )


def c06(frames: Frames) -> Outcome:
    """Definitions recalled >= .95; trained symbols in new sequences >= .9; latent symbols with their definition in context >= .9, without it <= .3 (one code: chance 1/12)."""
    return Outcome(
        (
            at_least("definitions", share(frames, ("definition", "latent_definition")), 0.95),
            at_least("trained symbols in new sequences", share(frames, "known_encode"), 0.9),
            at_least("latent symbol's code, definition retrieved", share(frames, "latent_next", ORACLE), 0.9),
            at_most("latent symbol's code, closed book", share(frames, "latent_next"), 0.3),
        )
    )


def c20(frames: Frames) -> Outcome:
    """On codebooks, oracle memory with 3 distractors: the latent symbol's code >= .9; closed book surely less."""
    gain = difference(select(frames, kind="latent_next", asking=ORACLE), select(frames, kind="latent_next", asking="closed book"))
    return Outcome(
        (
            at_least("codebooks: latent symbol's code, oracle + 3", share(frames, "latent_next", ORACLE), 0.9),
            surely_above("codebooks: oracle + 3 - closed book", gain, 0.0),
        )
    )


def c01(frames: Frames) -> Outcome:
    """In context beats closed book on the latent kinds; trained forms are recalled at least as well (within .05) from the weights."""
    return Outcome(rescued("codebooks", frames, "latent_next", "latent_definition"))


claims = {"C01": c01, "C06": c06, "C20": c20}
