"""What the studies of a benchmark share: one training with in-context sequences, asked closed book, in context and through an oracle's memory."""

from collections.abc import Sequence
from typing import Any

from tolman.core.component import Component
from tolman.core.stats import Estimate
from tolman.memory.oracle import Oracle
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._study import Check, accuracy, at_least, difference, select, surely_above
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.pretrain import Pretrain

CLOSED, ORACLE = "closed book", "retrieval, oracle + 3"


def asked(
    dataset: Component,
    seed: int,
    kinds: Sequence[str],
    *,
    training: str,
    steps: int,
    scoring: Component | None = None,
    distractors: Sequence[int] = (3,),
    watched: int = 3,
) -> list[Cell]:
    """Closed book over all kinds, and retrieval with each number of distractors over `kinds`. The learning curves show the first `watched` of these."""
    scoring = scoring or Exact()
    shared: dict[str, Any] = {"dataset": dataset, "model": Tiny(), "train_time": Pretrain(steps=steps), "scoring": scoring, "seed": seed, "training": training}
    cells = [Cell(**shared, test_time=ClosedBook(), asking=CLOSED, curve=tuple(kinds[:watched]))]
    for k in distractors:
        cells.append(Cell(**shared, test_time=Retrieval(retriever=Oracle(distractors=k)), kinds=tuple(kinds), asking=f"retrieval, oracle + {k}"))
    return cells


def with_copying(cells: Sequence[Cell], *, layers: int = 3, exercise_share: float = 0.65) -> list[Cell]:
    """The cells with random words to be copied among what is trained on, and a model in which in-context use begins sooner (LOG.md): where it did not begin without."""
    model, changed = Tiny(layers=layers, rope_base=100.0), {"matrix_lr": 0.006, "copying_share": 0.25, "exercise_share": exercise_share}
    return [c.model_copy(update={"model": model, "train_time": c.train_time.model_copy(update=changed)}) for c in cells]


def share(frames: Frames, kind: str | tuple[str, ...], asking: str = CLOSED, **where: str) -> Estimate:
    """Accuracy on a kind, or several together."""
    return accuracy(select(frames, kind=kind, asking=asking, **where))


def rescued(name: str, frames: Frames, latent: str | tuple[str, ...], known: str | tuple[str, ...], **where: str) -> tuple[Check, ...]:
    """C01 on one benchmark: with the documents in context latent kinds surely gain; trained forms are recalled as well (within .05) from the weights."""
    gain = difference(select(frames, kind=latent, asking=ORACLE, **where), select(frames, kind=latent, asking=CLOSED, **where))
    recall = difference(select(frames, kind=known, asking=CLOSED, **where), select(frames, kind=known, asking=ORACLE, **where))
    return (
        surely_above(f"{name}: latent kinds, retrieved - closed book", gain, 0.0),
        at_least(f"{name}: trained forms, closed book - retrieved", recall, -0.05),
    )
