"""Which road to what was learned - weights, context, memory, augmentation, thinking - answers what, and at what price?

A tiny transformer learns two sets of facts, A and B. From there all roads start: it is asked at once, with documents in context, with retrieved ones; it writes
reversals and chains of A's documents and is trained on them (Lampinen et al. 2025, arXiv 2505.00661); or it practises to think on questions about A (Chaudhry et al.
2026, arXiv 2604.01430). Asked are facts, reversals and chains of A, none of them practised, and of B, of which nothing was written or practised.
"""

from collections.abc import Sequence
from typing import Any

from tolman.augment.traces import Traces
from tolman.core.component import Component
from tolman.core.stats import say
from tolman.datasets.recall import Recall
from tolman.datasets.two_hop import RELATIONS
from tolman.memory.bm25 import Bm25
from tolman.memory.oracle import Oracle
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._study import accuracy, select
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.in_context import InContext
from tolman.test_time.retrieval import Retrieval
from tolman.test_time.thinking import Thinking
from tolman.train_time.augmented import Augmented
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL

scales = {"quick": 1, "small": 3}

PLAIN, AUGMENTED, RECALL = "documents only", "A augmented", "learned recall of A"
CLOSED, THINKING = "closed book", "thinking"
CONTEXT, ORACLE, BM25, OVER = "in context, 4 documents", "retrieval, oracle + 3", "retrieval, BM25", "thinking over retrieval"
LATENT_B = ("other_reversal", "other_two_hop")
STEPS = {"quick": (1000, 80), "small": (1600, 160)}
"""Of knowledge and of practice."""


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Three trainings, two of which go on from the first, each asked in its ways."""
    # with six questions of ten thought about and .65 of exercises, answering at once from context did not begin in 900 steps (seed 0: reversals .28, now 1.00; LOG.md)
    world = Recall(entities=40, relations=4, same_relations=True, forms=("chain", "reversal"), episode_count=40_000, thought_share=0.4)
    oracle = Retrieval(retriever=Oracle(distractors=3))
    asks: dict[str, Component] = {
        CLOSED: ClosedBook(), THINKING: Thinking(budget_tokens=16), CONTEXT: InContext(documents=4), ORACLE: oracle,
        BM25: Retrieval(retriever=Bm25(k=4)), OVER: Thinking(budget_tokens=16, context=oracle),
    }  # fmt: skip
    knowledge, practice = STEPS[scale]
    first = Pretrain(steps=knowledge, matrix_lr=0.006, exercise_share=0.8)
    # gentler than the teacher's training, whose full rates undo in-context use (LOG.md)
    learn = Pretrain(steps=200, batch_tokens=512, exercise_share=0.35, matrix_lr=0.005, lr=0.005)
    writes = Traces(inverses=dict(RELATIONS[: world.relations]), traces=16, window=2, related=1)
    trainings: dict[str, tuple[Component, tuple[str, ...]]] = {
        PLAIN: (first, (CLOSED, THINKING, CONTEXT, ORACLE, BM25, OVER)),
        AUGMENTED: (Augmented(first=first, augment=writes, then=learn, duplicates="keep", about="fact:0:"), (CLOSED, ORACLE, BM25)),
        RECALL: (
            RecallRL(first=first, thinking=asks[THINKING], scoring=Exact(), steps=practice, bootstrap_steps=10),
            (CLOSED, THINKING, OVER),
        ),
    }
    out = []
    for seed in seeds:
        for training, (method, ways) in trainings.items():
            shared: dict[str, Any] = {"dataset": world, "model": Tiny(layers=3, rope_base=100.0), "train_time": method, "scoring": Exact(), "seed": seed}
            for asking in ways:
                curve = ("reversal", "two_hop") if (training, asking) == (PLAIN, ORACLE) else ()  # when in-context use begins
                out.append(Cell(**shared, test_time=asks[asking], training=training, asking=asking, curve=curve))
    return out


def headline(frames: Frames) -> str:
    """The finding in one sentence."""

    def share(training: str, asking: str, *kinds: str) -> str:
        return say(accuracy(select(frames, training=training, asking=asking, kind=kinds)))

    def both(training: str, asking: str) -> str:
        return f"{share(training, asking, 'reversal')} of its reversals and {share(training, asking, 'two_hop')} of its chains"

    return (
        f"Of what follows from a set of facts A the model gives, closed book, {both(PLAIN, CLOSED)}; with retrieved documents {both(PLAIN, ORACLE)}; trained on what it wrote "
        f"of A itself, closed book, {both(AUGMENTED, CLOSED)}, but {share(AUGMENTED, CLOSED, *LATENT_B)} of those of a set B, of which it wrote nothing. Practised to think on "
        f"A it gives {share(RECALL, THINKING, 'two_hop')} of A's chains (before practice {share(PLAIN, THINKING, 'two_hop')}) and "
        f"{share(RECALL, THINKING, 'other_two_hop')} of B's, which were not practised (before {share(PLAIN, THINKING, 'other_two_hop')}), and "
        f"{share(RECALL, THINKING, 'reversal', 'other_reversal')} of the reversals."
    )


claims: dict[str, Any] = {}
