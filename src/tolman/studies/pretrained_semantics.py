"""Articles about a hierarchy of nonsense categories, by a pretrained model: what follows from them after fine-tuning, with the articles in context, or augmented?

The benchmark of study `semantic_structure` (after Lampinen et al. 2025, arXiv 2505.00661) with a small pretrained model on a small world, by likelihood among four
candidates that are all true of something. All articles together do not fit in its context, so those that suffice are put there (an oracle's memory).
"""

from collections.abc import Callable, Sequence

from tolman.core.component import Component
from tolman.core.stats import say
from tolman.datasets.semantic_structure import SemanticStructure
from tolman.memory.oracle import Oracle
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED
from tolman.studies._pretrained import ASKS, AUGMENTED, MODELS_AT, TUNED, UNTRAINED, asked, augmented, models_in, share, tuned
from tolman.studies._study import Outcome
from tolman.studies.semantic_structure import ALONE, FOLLOWS, PREMISES, REPHRASED, REVERSED, found
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.untrained import Untrained

scales = {"quick": 1, "small": 3}

STATED = (*REPHRASED, *PREMISES)
KINDS = (*STATED, *REVERSED, *FOLLOWS)
AMONG = "retrieval, oracle + 3"
_SIZES = {"quick": {"documents": 200, "asked": 8, "holdout_asked": 3}, "small": {"documents": 280}}
_STEPS = {"quick": 240, "small": 600}
"""At quick scale each article is read about three times."""
_DISTRACTORS = {"quick": {ALONE: 0}, "small": {ALONE: 0, AMONG: 3}}


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Each model untrained (closed book, and with the articles that suffice), fine-tuned, and trained also on what it wrote about each article."""
    world, out = SemanticStructure.at("quick", **_SIZES[scale]), []
    memory: dict[str, Component] = {asking: Retrieval(retriever=Oracle(distractors=k)) for asking, k in _DISTRACTORS[scale].items()}
    for seed in seeds:
        for model in MODELS_AT[scale]:
            made = augmented(scale)
            trainings: dict[str, Component] = {
                UNTRAINED: Untrained(),
                TUNED: tuned(scale).replace("steps", _STEPS[scale]),
                AUGMENTED: made.replace("then", made.then.replace("steps", _STEPS[scale])),
            }
            for training, method in trainings.items():
                asks = {CLOSED: ASKS[CLOSED]} | (memory if training == UNTRAINED else {})
                out += asked(seed, world, model, training, method, kinds=KINDS, asks=asks)
    return out


def headline(frames: Frames) -> str:
    """The finding in one sentence for each model."""

    def told(model: str) -> str:
        ways = (("untrained", UNTRAINED, CLOSED), ("fine-tuned", TUNED, CLOSED), ("augmented by itself", AUGMENTED, CLOSED), ("in context", UNTRAINED, ALONE))
        shares = ", ".join(
            f"{name} {', '.join(say(share(frames, model, training, kinds, asking)) for kinds in GROUPS.values())}" for name, training, asking in ways
        )
        return f"{model}: {shares}"

    standing = ", ".join(say(found(frames, kinds, ALONE)) for kinds in GROUPS.values())
    return (
        f"Right of {', '.join(GROUPS)} (a guess: 25 %; any candidate that stands in the articles in context: {standing}): "
        f"{'; '.join(told(model) for model in models_in(frames))}."
    )


GROUPS = {"what articles state in other words": STATED, "its reversals": REVERSED, "what follows": FOLLOWS}
claims: dict[str, Callable[[Frames], Outcome]] = {}
