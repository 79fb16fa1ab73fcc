"""Does a pretrained model learn to think what it knows, and does that serve facts of which nothing was practised?

Study `recall` with a small pretrained model and low-rank adapters: two disjoint sets of nonsense facts A and B are trained into it, with in-context sequences that show what
thinking is; then it practises on chains of A. Asked are other chains of A, and chains of B (after Chaudhry et al. 2026, arXiv 2604.01430; all sizes are our choice).
"""

from collections.abc import Callable, Sequence
from typing import Any

from tolman.core.stats import say
from tolman.datasets.recall import Recall
from tolman.memory.oracle import Oracle
from tolman.models.hf import Hf
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._study import Outcome, accuracy, select
from tolman.studies.recall import BOTH_PATHS, CLOSED, KNOWLEDGE, ORACLE, RL, THINKING, A, B
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.test_time.thinking import Thinking
from tolman.train_time.finetune import Finetune
from tolman.train_time.recall_rl import RecallRL

scales = {"quick": 1, "small": 3}

STEPS = {"quick": (400, 24), "small": (800, 120)}
"""Of knowledge and of practice."""
ENTITIES = {"quick": 8, "small": 16}
"""Of each set. Of 16, adapters that read each fact a hundred times in 300 steps recalled a fifth; of 8, after 240 steps, five sixths (LOG.md)."""
BUDGET_TOKENS = 32
TRACES = "four traces of A, one step of practice"
"""The control: what the bootstrap alone teaches, with the documents that are read again beside its traces."""


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """The knowledge alone, after a few traces, and after practice, each asked at once, after thinking, and with documents."""
    knowledge, practice = STEPS[scale]
    world = Recall(
        entities=ENTITIES[scale], relations=2, same_relations=True, episode_count=800, recital_share=0.9, thought_share=0.8, asked=60, options=6,
    )  # fmt: skip
    first = Finetune(steps=knowledge, batch_tokens=512, lr=1e-3, loss_on="targets")
    thinking, oracle = Thinking(budget_tokens=BUDGET_TOKENS), Retrieval(retriever=Oracle(distractors=3))
    learned = RecallRL(
        first=first, thinking=thinking, scoring=Exact(), steps=practice, questions=4, bootstrap_traces=4, bootstrap_steps=6, replay_tokens=512, lr=1e-4
    )
    out = []
    for seed in seeds:
        for training, method in ((KNOWLEDGE, first), (TRACES, learned.replace("steps", 1)), (RL, learned)):
            shared: dict[str, Any] = {"dataset": world, "model": Hf(), "train_time": method, "scoring": Exact(), "seed": seed, "training": training}
            out.append(Cell(**shared, test_time=ClosedBook(), asking=CLOSED))
            out.append(Cell(**shared, test_time=thinking, kinds=(A, B), asking=THINKING))
            out.append(Cell(**shared, test_time=oracle, kinds=(A, B), asking=ORACLE))
            out.append(Cell(**shared, test_time=thinking.replace("context", oracle), kinds=(A, B), asking=BOTH_PATHS))
    return out


def headline(frames: Frames) -> str:
    """The finding in one sentence."""

    def shares(training: str, asking: str) -> str:
        return " and ".join(say(accuracy(select(frames, training=training, kind=kind, asking=asking))) for kind in (A, B))

    known = say(accuracy(select(frames, training=KNOWLEDGE, kind=("one_hop", "other_one_hop"), asking=CLOSED)))
    return (
        f"A pretrained model that recalls {known} of the facts answers {shares(KNOWLEDGE, CLOSED)} of the chains of A and B at once and {shares(KNOWLEDGE, THINKING)} after "
        f"thinking; after four traces {shares(TRACES, THINKING)}; after practice on other chains of A, {shares(RL, CLOSED)} at once and {shares(RL, THINKING)} after thinking."
    )


claims: dict[str, Callable[[Frames], Outcome]] = {}
