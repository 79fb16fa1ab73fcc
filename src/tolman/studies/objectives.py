"""Is the reversal curse one of causal next-token training? Other objectives on the same facts

The same facts, nearly all stated in both directions and some forward only, are learned by next-token prediction, by masked prediction with bidirectional attention, by
restoring a masked copy, and with text reversed in several ways; as a control, masked training in which what a fact is stated of is never predicted.
"""

from collections.abc import Sequence

from tolman.core.stats import Estimate, say
from tolman.datasets.reversals import Reversals
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._study import Outcome, accuracy, at_least, at_most, select
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.pretrain import Pretrain

scales = {"quick": 1, "small": 3}

NEXT, MASKED, COPY, TOKENS, NAMES, MARKED = (
    "next token", "masked, bidirectional", "next token + masked copy", "reversed, token by token", "reversed, names kept", "reversed, names kept, marked",
)  # fmt: skip
NEVER_MASKED, NEVER_COPY = "masked, the subject never predicted", "masked copy, the subject never predicted"
TRAININGS = {
    NEXT: {}, MASKED: {"objective": "masked"}, COPY: {"objective": "masked_copy"}, TOKENS: {"objective": "reversed_tokens"},
    NAMES: {"objective": "reversed_names"}, MARKED: {"objective": "reversed_names_marked"},
    NEVER_MASKED: {"objective": "masked", "masks": "targets"}, NEVER_COPY: {"objective": "masked_copy", "masks": "targets"},
}  # fmt: skip
_WORLD = {"quick": {"entities": 60, "relations": 5, "held_out": 15}, "small": {"entities": 100, "relations": 5, "held_out": 25}}
_STEPS = {"quick": (400, 1100), "small": (600, 2000)}
"""Training steps, and those of masked objectives: they learn every way of completing a fact, and take longer (Masked copies of targets alone
are recalled in the trained form at .67 after 400 steps and at .61 after as many as these: asked without a copy before it, the model has little practice.)"""
_KINDS = ("trained_forward", "trained_reversed", "heldout_forward", "heldout_reversal", "wrong_frame")


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Objectives x seeds, asked closed book. Where text is reversed, names have two words: with one, reversing tokens and reversing names are the same."""
    out = []
    for seed in seeds:
        for training, how in TRAININGS.items():
            words = 2 if training in (TOKENS, NAMES, MARKED) else 1
            world = Reversals(**_WORLD[scale], max_filler=0, copies=1, episodes="none", name_words=words, asked=100)
            model = Tiny(attention="bidirectional" if how.get("objective") == "masked" else "causal")
            train = Pretrain(steps=_STEPS[scale][training in (MASKED, COPY, NEVER_COPY)], batch_tokens=1024, **how)
            cell = Cell(dataset=world, model=model, train_time=train, test_time=ClosedBook(), scoring=Exact(), seed=seed, training=training,
                        asking="closed book", kinds=_KINDS, curve=("trained_forward", "heldout_reversal"))  # fmt: skip
            out.append(cell)
    return out


def reversal(frames: Frames, training: str) -> Estimate:
    return accuracy(select(frames, training=training, kind="heldout_reversal"))


def headline(frames: Frames) -> str:
    """The finding in one sentence."""

    def share(training: str) -> str:
        return say(reversal(frames, training))

    return (
        f"Facts stated in one direction are reversed in {share(NEXT)} of cases after next-token training, {share(MASKED)} after masked bidirectional training, {share(COPY)} when "
        f"documents are restored from masked copies, {share(MARKED)} when text is also learned backwards with names kept whole and a mark before it; and {share(NEVER_MASKED)} "
        f"after masked training in which the subject is never predicted."
    )


def c09(frames: Frames) -> Outcome:
    """Held-out reversals: next token ~ 0 (<= .05); masked, and next token + masked copy, >= .9; reversed with names kept and a mark >= .9; the two controls <= .05;
    wrong frame <= .05 in all these; what was trained is recalled (>= .95) in all."""
    good = [at_least(f"{t}: held-out reversals", reversal(frames, t), 0.9) for t in (MASKED, COPY, MARKED)]
    bad = [at_most(f"{t}: held-out reversals", reversal(frames, t), 0.05) for t in (NEXT, NEVER_MASKED, NEVER_COPY)]
    named = (NEXT, MASKED, COPY, MARKED, NEVER_MASKED, NEVER_COPY)
    frame = [at_most(f"{t}: wrong frame", accuracy(select(frames, training=t, kind="wrong_frame")), 0.05) for t in named]
    forms = ("trained_forward", "trained_reversed", "heldout_forward")
    known = [at_least(f"{t}: trained forms", accuracy(select(frames, training=t, kind=forms)), 0.95) for t in named]
    return Outcome((*bad[:1], *good, *bad[1:], *frame, *known))


claims = {"C09": c09}
