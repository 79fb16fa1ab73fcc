"""An object seen on the way, but never a goal: can the model walk to it?

From the weights, and with past episodes put back in context by an oracle's memory (latent learning in a gridworld, after Lampinen et al. 2025, arXiv 2509.16189). Scored by
walking: the object is reached, within half as many steps again as the shortest way takes.
"""

from collections.abc import Sequence

from tolman.core.stats import say
from tolman.datasets.mazes import Mazes
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.rollout import Rollout
from tolman.studies._benchmark import ORACLE, asked, rescued, share, with_copying
from tolman.studies._study import Outcome, at_least, at_most, difference, select, surely_above

scales = {"quick": 1, "small": 3}

FRESH = "fresh in-context sequences"
_KINDS = ("trained_goal", "latent_goal", "latent_joined")


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training, walking closed book and with past episodes of the maze in context."""
    steps = 1000 if scale == "quick" else 1400
    return with_copying([c for seed in seeds for c in asked(Mazes.at("quick"), seed, _KINDS, training=FRESH, steps=steps, scoring=Rollout(), watched=2)])


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"The model walks to goals it was trained on in {say(share(frames, 'trained_goal'))} of cases, to objects that it only passed in {say(share(frames, 'latent_goal'))}; "
        f"with past episodes in context it reaches {say(share(frames, 'latent_goal', ORACLE))} of these."
    )


def c10(frames: Frames) -> Outcome:
    """Mazes: trained goals reached >= .9, objects seen but never the goal far below: <= .4."""
    return Outcome(
        (
            at_least("mazes: trained goals", share(frames, "trained_goal"), 0.9),
            at_most("mazes: objects never a goal, closed book", share(frames, "latent_goal"), 0.4),
        )
    )


def c20(frames: Frames) -> Outcome:
    """On mazes, episodes in context help: surely better than closed book, yet below the ceiling (< .9)."""
    gain = difference(select(frames, kind="latent_goal", asking=ORACLE), select(frames, kind="latent_goal", asking="closed book"))
    return Outcome(
        (
            surely_above("mazes: oracle + 3 - closed book", gain, 0.0),
            at_most("mazes: objects never a goal, oracle + 3", share(frames, "latent_goal", ORACLE), 0.9),
        ),
        note=_limits(frames),
    )


def c01(frames: Frames) -> Outcome:
    """In context beats closed book on the latent kind; trained forms are done at least as well (within .05) from the weights."""
    return Outcome(rescued("mazes", frames, "latent_goal", "trained_goal"), note=_limits(frames))


def _limits(frames: Frames) -> str:
    joined = say(share(frames, "latent_joined", ORACLE))
    return f"Mazes: one of the retrieved walks passes by the start and later the goal, and can be copied step by step; where two walks have to be joined, {joined} arrive."


claims = {"C01": c01, "C10": c10, "C20": c20}
