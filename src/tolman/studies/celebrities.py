"""Invented celebrities, told from name to description or the other way round, by a pretrained model; and what the prompt that augments should know.

After Berglund et al. 2023 (arXiv 2309.12288) and Lampinen et al. 2025 (arXiv 2505.00661), with a small model and few people. A choice of four, from two pools of wrong candidates:
all people, or those of the same direction only (names that training showed as endings then have no start).
"""

from collections.abc import Sequence
from typing import Any

from tolman.augment.global_ import Global
from tolman.augment.local import Local
from tolman.core.component import Component
from tolman.core.stats import Estimate, say
from tolman.datasets.celebrities import Celebrities
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED
from tolman.studies._pretrained import ASKS, AUGMENTED, CONTEXT, MODELS_AT, TUNED, UNTRAINED, asked, augmented, label, models_in, reversal_curse, share, tuned
from tolman.studies._study import Check, Outcome, difference, select, surely_above
from tolman.train_time.untrained import Untrained

scales = {"quick": 1, "small": 3}

FORWARD, REVERSAL = ("p2d_forward", "d2p_forward"), ("p2d_reversal", "d2p_reversal")
KINDS = (*FORWARD, *REVERSAL)
SAME = ", candidates of the same direction"
PLAIN, NARROW, GLOBAL = (f"{AUGMENTED}, {prompt}" for prompt in ("plain prompt", "narrow prompt", "global prompt"))
MATCHED, UNMATCHED = "p2d_reversal", "d2p_reversal"
"""The narrow prompt asks for sentences that end with the name, as the questions of the first kind do."""
CHANCE = 0.25
_SIZES: dict[str, dict[str, Any]] = {"quick": {"people": 6, "paraphrases": 4, "tests": 2}, "small": {"people": 15, "paraphrases": 10, "tests": 4}}


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Each model untrained, fine-tuned and augmented by itself, the first two with both pools; the base augmented with three more prompts."""
    everybody, same = (Celebrities(**_SIZES[scale], distractor_pool=pool) for pool in ("all", "reversed_only"))
    writers = {
        PLAIN: Local(how="instruct", prompt="plain", max_tokens=60),
        NARROW: Local(how="instruct", prompt="narrow", max_tokens=60),
        GLOBAL: Global(how="instruct", window=3, related=1, windows=1, max_tokens=60),
    }
    out, closed = [], {CLOSED: ASKS[CLOSED]}
    for seed in seeds:
        for model in MODELS_AT[scale]:
            plain: dict[str, Component] = {UNTRAINED: Untrained(), TUNED: tuned(scale)}
            for training, method in plain.items():
                asks = ASKS if training == UNTRAINED else closed
                out += asked(seed, everybody, model, training, method, kinds=KINDS, asks=asks)
                out += asked(seed, same, model, training + SAME, method, kinds=KINDS, asks=asks)
            out += asked(seed, everybody, model, AUGMENTED, _by(scale), kinds=KINDS, asks=closed)
        for training, writer in writers.items():
            out += asked(seed, everybody, "base", training, _by(scale, writer), kinds=KINDS, asks=closed)
    return out


def _by(scale: str, writer: Component | None = None) -> Component:
    return augmented(scale, augment=writer, sources={"quick": 48, "small": None}[scale])


def headline(frames: Frames) -> str:
    """The finding in one sentence for each model."""

    def told(model: str) -> str:
        def shares(training: str, asking: str = CLOSED) -> str:
            return " and ".join(say(share(frames, model, training, kinds, asking)) for kinds in (FORWARD, REVERSAL))

        return (
            f"{model}: of people asked as trained and the other way round {shares(UNTRAINED)} are right untrained, {shares(UNTRAINED, CONTEXT)} with everything in context, "
            f"{shares(TUNED)} fine-tuned ({shares(TUNED + SAME)} among candidates of the same direction), {shares(AUGMENTED)} on documents that it augmented itself (a guess: 25 %)"
        )

    return ". ".join(told(model) for model in models_in(frames)) + "."


def c02(frames: Frames) -> Outcome:
    """For each model and each pool of wrong candidates: untrained at chance (.25 within the interval); fine-tuned surely above it as trained, at or below it reversed; reversed,
    everything in context beats fine-tuned by more than .2 (whole interval)."""
    checks: tuple[Check, ...] = ()
    for model in models_in(frames):
        for where in ("", SAME):
            checks += reversal_curse(frames, model, FORWARD, REVERSAL, CHANCE, where)
    return Outcome(checks)


def c32(frames: Frames) -> Outcome:
    """Of the base's augmentations: the prompt that names the task surely beats the one that does not on the kind that the narrow one is made for, and surely beats the narrow one
    on the other kind. Local and global are compared over both. Open where fine-tuning does not even teach the facts as they are told."""

    def better(first: str, second: str, kind: str | tuple[str, ...]) -> Estimate:
        asked_first, asked_second = (select(frames, training=label("base", t), asking=CLOSED, kind=kind) for t in (first, second))
        return difference(asked_first, asked_second)

    both = better(AUGMENTED, GLOBAL, REVERSAL)
    told = ", ".join(
        f"{t.removeprefix(AUGMENTED + ', ')}: {say(share(frames, 'base', t, MATCHED))} and {say(share(frames, 'base', t, UNMATCHED))}"
        for t in (PLAIN, NARROW, GLOBAL)
    )
    learned = share(frames, "base", TUNED, FORWARD)
    return Outcome(
        (
            surely_above("prompt that names the task - plain one, matched kind", better(AUGMENTED, PLAIN, MATCHED), 0.0),
            surely_above("prompt that names the task - narrow one, unmatched kind", better(AUGMENTED, NARROW, UNMATCHED), 0.0),
            Check("local - global, both kinds", both, "any", True),
        ),
        note=f"Names asked, and descriptions asked: local prompt {say(share(frames, 'base', AUGMENTED, MATCHED))} and {say(share(frames, 'base', AUGMENTED, UNMATCHED))}, {told}.",
        open=""
        if learned.low > CHANCE
        else f"fine-tuned, facts as trained are right in {say(learned)} (a guess: {100 * CHANCE:.0f} %), so no prompt could show what it is good for",
    )


claims = {"C02": c02, "C32": c32}
