"""Learned in one language, asked in another: does knowledge cross over?

Facts are told in two languages and a formal notation that share a taught lexicon, some facts in one of them only. Asked is each in the language it was told in and in the
others, from the weights and with the fact put back in context by an oracle's memory.
"""

from collections.abc import Sequence

from tolman.core.stats import say
from tolman.datasets.cross_lingual import CrossLingual
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED, ORACLE, asked, rescued, share, with_copying
from tolman.studies._study import Outcome, accuracy, at_least, select

scales = {"quick": 1, "small": 3}
FRESH = "fresh in-context sequences"
TOLD = ("recall_a", "recall_b", "recall_formal")
NATURAL, FORMAL = ("a_to_b", "b_to_a"), ("a_to_formal", "b_to_formal", "formal_to_a", "formal_to_b")
_KINDS = (*TOLD, *NATURAL, *FORMAL)


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """One training, asked closed book and with the fact and the words it needs among distractors."""
    steps = 1000 if scale == "quick" else 1600
    found = with_copying([c for seed in seeds for c in asked(CrossLingual.at("quick"), seed, _KINDS, training=FRESH, steps=steps)])
    return [c.model_copy(update={"curve": ("recall_a", "a_to_b", "a_to_formal")}) if c.curve else c for c in found]


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    return (
        f"Facts are recalled in the language they were told in in {say(share(frames, TOLD))} of cases; asked in the other natural language in {say(share(frames, NATURAL))}, "
        f"into or out of the formal notation in {say(share(frames, FORMAL))}; "
        f"with the fact retrieved {say(share(frames, NATURAL, ORACLE))} and {say(share(frames, FORMAL, ORACLE))}."
    )


def c08(frames: Frames) -> Outcome:
    """Measured: the language told in (>= .9, or the rest says nothing), the other natural one, the formal notation; and what retrieval makes of both."""
    parts = (("told in", TOLD), ("other natural language", NATURAL), ("formal notation", FORMAL))
    known, *latent = (accuracy(select(frames, kind=kinds, asking=CLOSED)) for _, kinds in parts)
    words = f"closed book {known.mean:.2f} in the language told in, {latent[0].mean:.2f} in the other natural one, {latent[1].mean:.2f} in or out of formal notation"
    return Outcome(
        (
            at_least("the language told in", known, 0.9),
            at_least("the other natural language, closed book", latent[0], 0.0),
            at_least("formal notation, closed book", latent[1], 0.0),
            at_least("the other natural language, retrieved", share(frames, NATURAL, ORACLE), 0.0),
            at_least("formal notation, retrieved", share(frames, FORMAL, ORACLE), 0.0),
        ),
        measured=words,
    )


def c01(frames: Frames) -> Outcome:
    """In context beats closed book on the latent kinds; trained forms are recalled at least as well (within .05) from the weights."""
    return Outcome(rescued("languages", frames, (*NATURAL, *FORMAL), TOLD))


claims = {"C01": c01, "C08": c08}
