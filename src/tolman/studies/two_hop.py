"""Two facts known, their chain never stated: does the model follow it?

From the weights, and with both facts put back in context by an oracle's memory among distractors.
"""

from collections.abc import Sequence

from tolman.core.stats import say
from tolman.datasets.two_hop import TwoHop
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import ORACLE, asked, rescued, share
from tolman.studies._study import Outcome, at_least, at_most

scales = {"quick": 1, "small": 3}

FRESH = "fresh in-context sequences"
_KINDS = ("one_hop", "two_hop", "two_hop_trained", "two_hop_new")


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training, asked closed book and with the two facts among distractors."""
    sweep = (3,) if scale == "quick" else (0, 3, 7)
    return [c for seed in seeds for c in asked(TwoHop.at("quick"), seed, _KINDS, training=FRESH, steps=1000 if scale == "quick" else 1600, distractors=sweep)]


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"Single facts are recalled in {say(share(frames, 'one_hop'))} and stated chains in {say(share(frames, 'two_hop_trained'))} of cases; chains through bridges that no "
        f"chain was stated through come out in {say(share(frames, 'two_hop'))} from the weights, and in {say(share(frames, 'two_hop', ORACLE))} with both facts retrieved "
        f"among three others."
    )


def c10(frames: Frames) -> Outcome:
    """Two hops: single facts recalled >= .9, unstated chains far below: <= .4."""
    return Outcome(
        (
            at_least("two hops: single facts", share(frames, "one_hop"), 0.9),
            at_most("two hops: unstated chains, closed book", share(frames, "two_hop"), 0.4),
        )
    )


def c01(frames: Frames) -> Outcome:
    """In context beats closed book on the latent kind; trained forms are recalled at least as well (within .05) from the weights."""
    return Outcome(rescued("two hops", frames, "two_hop", "one_hop"))


claims = {"C01": c01, "C10": c10}
