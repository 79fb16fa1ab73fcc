"""Can a small pretrained model be taught to use what stands in its context?

SmolLM2-135M-Instruct as it is ("base"), and with an adapter trained on practice questions about made-up passages ("reader"), both asked in context. First about
passages of the same generator, whose relations, wordings and names practice never had; then on benchmarks that share nothing with it. Scale `small` trains the
adapter that comes with the package anew.
"""

from collections.abc import Sequence
from typing import Any

from tolman.core.component import Component
from tolman.core.stats import Estimate
from tolman.datasets.celebrities import Celebrities
from tolman.datasets.episodes import Episodes
from tolman.datasets.nonsense_reversals import NonsenseReversals
from tolman.datasets.semantic_structure import SemanticStructure
from tolman.datasets.syllogisms import Syllogisms
from tolman.models.hf import Hf
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.choice import Choice
from tolman.studies._benchmark import say
from tolman.studies._study import Outcome, accuracy, difference, select
from tolman.test_time.in_context import InContext
from tolman.train_time.practice import Practice
from tolman.train_time.untrained import Untrained

scales = {"quick": 3, "small": 1}

BASE, READER, ANEW = "base", "reader", "reader, trained anew"
PRACTICE = 1000
"""Passages to practise on: each is met once in the training of `small`."""
BENCHMARKS: dict[str, tuple[Component, int]] = {
    "episodes": (Episodes(), 1),
    "nonsense_reversals": (NonsenseReversals(facts=100, copies=1), 10),
    "celebrities": (Celebrities(people=10, paraphrases=1, tests=1), 10),
    "semantic_structure": (SemanticStructure.at("quick"), 4),
    "syllogisms": (Syllogisms(), 5),
}
"""What is asked, and how many documents stand in context: those that suffice, and any others."""


def training() -> Practice:
    """How the adapter that comes with the package was trained."""
    return Practice(test_time=InContext(documents=1), steps=300, batch_tokens=640, lr=1e-3)


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Two models x benchmarks x seeds; for `small` also the training."""
    out = []
    for seed in seeds:
        shared: dict[str, Any] = {"scoring": Choice(), "seed": seed}
        for name, (dataset, documents) in BENCHMARKS.items():
            asked = shared | {"dataset": dataset, "train_time": Untrained(), "test_time": InContext(documents=documents), "asking": f"{name}, in context"}
            out += [Cell(**asked, model=Hf(adapter=adapter), training=label) for label, adapter in ((BASE, None), (READER, "reader"))]
        if scale != "quick":
            trained = shared | {"dataset": Episodes(practice=PRACTICE), "train_time": training(), "test_time": InContext(documents=1), "model": Hf()}
            out.append(Cell(**trained, training=ANEW, asking="episodes, in context"))
    return out
