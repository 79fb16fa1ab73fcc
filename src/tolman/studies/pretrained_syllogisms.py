"""Nonsense syllogisms by a pretrained model: are conclusions drawn from premises that were fine-tuned on, that stand in context, or that were augmented?

After Lampinen et al. 2025 (arXiv 2505.00661), with a small model. By likelihood among the four or five candidates that do not follow as well.
"""

from collections.abc import Sequence

from tolman.augment.traces import Traces
from tolman.core.component import Component
from tolman.core.stats import Estimate, estimate, say
from tolman.datasets.syllogisms import Syllogisms
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED
from tolman.studies._pretrained import ASKS, AUGMENTED, CONTEXT, MODELS_AT, TUNED, UNTRAINED, asked, augmented, hardly_tried, label, models_in, share, tuned
from tolman.studies._study import Check, Outcome, at_least, difference, select, surely_above
from tolman.studies.augmentation import derived
from tolman.train_time.untrained import Untrained

scales = {"quick": 1, "small": 3}

PREMISES, CONCLUSION = "premises", "conclusion"
KINDS = (PREMISES, CONCLUSION)
_ITEMS = {"quick": 24, "small": 69}
_TRACES = {"quick": 1, "small": 8}


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Each model untrained (closed book, and with everything in context), fine-tuned, and trained on traces that it wrote about each document."""
    world, out = Syllogisms(items=_ITEMS[scale]), []
    thinks = Traces(how="instruct", traces=_TRACES[scale], window=2, related=1, temperature=0.3, max_tokens=80)
    for seed in seeds:
        for model in MODELS_AT[scale]:
            trainings: dict[str, Component] = {UNTRAINED: Untrained(), TUNED: tuned(scale), AUGMENTED: augmented(scale, augment=thinks)}
            for training, method in trainings.items():
                out += asked(seed, world, model, training, method, kinds=KINDS, asks=ASKS if training == UNTRAINED else {CLOSED: ASKS[CLOSED]})
    return out


def chance(frames: Frames) -> float:
    """What a guesser scores on conclusions, which have four or five candidates."""
    choices = select(frames, kind=CONCLUSION)["choices"].to_list()
    return sum(1 / len(c) for c in choices) / len(choices)


def headline(frames: Frames) -> str:
    """The finding in one sentence for each model."""

    def told(model: str) -> str:
        shares = {
            where: " and ".join(say(share(frames, model, training, kind, asking)) for kind in KINDS)
            for where, training, asking in (
                ("untrained", UNTRAINED, CLOSED),
                ("context", UNTRAINED, CONTEXT),
                ("tuned", TUNED, CLOSED),
                ("augmented", AUGMENTED, CLOSED),
            )
        }
        return (
            f"{model}: of premises and conclusions {shares['untrained']} are right untrained, {shares['context']} with everything in context, {shares['tuned']} fine-tuned, "
            f"{shares['augmented']} on traces that it wrote itself (a guess: {100 * chance(frames):.0f} %)"
        )

    return ". ".join(told(model) for model in models_in(frames)) + "."


def c03(frames: Frames) -> Outcome:
    """For each model: premises learned (>= .9 fine-tuned); conclusions surely above chance fine-tuned, surely better in context than that, and at least as good (mean) augmented
    as in context."""
    checks: list[Check] = []
    for model in models_in(frames):
        closed, made = (select(frames, training=label(model, t), asking=CLOSED, kind=CONCLUSION) for t in (TUNED, AUGMENTED))
        context = select(frames, training=label(model, UNTRAINED), asking=CONTEXT, kind=CONCLUSION)
        checks += [
            at_least(f"{model}: premises, fine-tuned", share(frames, model, TUNED, PREMISES), 0.9),
            surely_above(f"{model}: conclusions, fine-tuned", share(frames, model, TUNED, CONCLUSION), chance(frames)),
            surely_above(f"{model}: conclusions, in context - fine-tuned", difference(context, closed), 0.0),
            at_least(f"{model}: conclusions, augmented - in context", difference(made, context), 0.0),
        ]
    quantifier = ", ".join(f"{m} {say(_quantifier(frames, m))}" for m in models_in(frames))
    wrote = ", ".join(f"{m} {derived(frames, label(m, AUGMENTED))}" for m in models_in(frames))
    return Outcome(
        tuple(checks), note=f"Quantifier right, fine-tuned: {quantifier}. Statements under test that it wrote itself: {wrote}.", open=hardly_tried(frames)
    )


def _quantifier(frames: Frames, model: str) -> Estimate:
    """In how many conclusions after fine-tuning the quantifier at least was right."""
    items = select(frames, training=label(model, TUNED), asking=CLOSED, kind=CONCLUSION)
    right = [float(answer.split()[:1] == expected[0].split()[:1]) for answer, expected in items.select("answer", "expected").iter_rows()]
    return estimate(right, clusters=items["cluster"].to_list(), seeds=items["seed"].to_list())


claims = {"C03": c03}
