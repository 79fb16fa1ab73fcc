"""Can a small pretrained model be taught to use what stands in its context?

SmolLM2-135M-Instruct as it is ("base"), and with an adapter trained on practice questions about made-up passages ("reader"), both asked in context. First about
passages of the same generator, whose relations, wordings and names practice never had; then on benchmarks that share no name and no wording with it. Scale `small` trains the
adapter that comes with the package anew.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tolman.core.component import Component
from tolman.core.stats import say
from tolman.datasets.celebrities import Celebrities
from tolman.datasets.episodes import Episodes
from tolman.datasets.nonsense_reversals import NonsenseReversals
from tolman.datasets.semantic_structure import SemanticStructure
from tolman.datasets.syllogisms import Syllogisms
from tolman.models.hf import Hf
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.choice import Choice
from tolman.studies._benchmark import share
from tolman.studies._study import Outcome
from tolman.studies.semantic_structure import REPHRASED, REVERSED
from tolman.test_time.in_context import InContext
from tolman.train_time.practice import Practice
from tolman.train_time.untrained import Untrained

scales = {"quick": 3, "small": 1}

BASE, READER, ANEW = "base", "reader", "reader, trained anew"
STEPS, PRACTICE, PLAIN = 900, 3000, 0.5
"""Steps of the training, passages to practise on, and the share of plain ones among them. More would be better still: this is what there was time for (its card says
what it reached)."""
BENCHMARKS: dict[str, tuple[Component, int, tuple[str, ...]]] = {
    "plain episodes": (Episodes(passages=30, plain_share=1.0), 1, ("forward", "reversed")),
    "episodes": (Episodes(passages=60), 1, ("forward", "reversed", "two_hop", "comparison", "syllogism")),
    "nonsense_reversals": (NonsenseReversals(facts=56, copies=1), 10, ("forward", "reversal")),
    "celebrities": (Celebrities(people=10, paraphrases=1, tests=1), 10, ("p2d_forward", "d2p_forward", "p2d_reversal", "d2p_reversal")),
    "syllogisms": (Syllogisms(), 5, ("conclusion",)),
    "semantic_structure": (SemanticStructure.at("quick", asked=4), 10, (*REPHRASED, *REVERSED, "syllogism")),
}
"""What is asked, how many documents stand in context (those that suffice, and any others), and the kinds of question."""


def training() -> Practice:
    """How the adapter that comes with the package was trained."""
    return Practice(test_time=InContext(documents=1), steps=STEPS, warmup=10 / STEPS, batch_tokens=640, lr=1e-3, decay=0.5)


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Two models x benchmarks x seeds; for `small` also the training."""
    out = []
    for seed in seeds:
        shared: dict[str, Any] = {"scoring": Choice(), "seed": seed}
        for name, (dataset, documents, kinds) in BENCHMARKS.items():
            asked = shared | {"dataset": dataset, "train_time": Untrained(), "test_time": InContext(documents=documents), "kinds": kinds, "asking": where(name)}
            out += [Cell(**asked, model=Hf(adapter=adapter), training=label) for label, adapter in ((BASE, None), (READER, "reader"))]
        if scale != "quick":
            trained = shared | {
                "dataset": Episodes(practice=PRACTICE, plain_share=PLAIN),
                "train_time": training(),
                "test_time": InContext(documents=1),
                "model": Hf(),
            }
            out.append(Cell(**trained, training=ANEW, asking=where("episodes"), kinds=BENCHMARKS["episodes"][2]))
    return out


def where(benchmark: str) -> str:
    """Label of the questions of a benchmark."""
    return f"{benchmark}, in context"


def headline(frames: Frames) -> str:
    """The finding in one sentence for each benchmark, with the gain on what is not asked as it was told."""

    def both(benchmark: str, kinds: tuple[str, ...]) -> str:
        base, reader = (share(frames, kinds, where(benchmark), training=training) for training in (BASE, READER))
        return f"{say(base)} -> {say(reader)}"

    told = [f"{benchmark}: as told {both(benchmark, known)}, otherwise {both(benchmark, turned)}" for benchmark, (known, turned) in SHOWN.items() if known]
    told += [f"{benchmark}: {both(benchmark, turned)}" for benchmark, (known, turned) in SHOWN.items() if not known]
    return f"Right in context, base -> reader. {'. '.join(told)}."


SHOWN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain episodes": (("forward",), ("reversed",)),
    "episodes": (("forward",), ("reversed", "two_hop", "comparison", "syllogism")),
    "nonsense_reversals": (("forward",), ("reversal",)),
    "celebrities": (("p2d_forward", "d2p_forward"), ("p2d_reversal", "d2p_reversal")),
    "semantic_structure": (REPHRASED, (*REVERSED, "syllogism")),
    "syllogisms": ((), ("conclusion",)),
}
"""The kinds of each benchmark that ask for a fact as it was told, and the others."""

claims: dict[str, Callable[[Frames], Outcome]] = {}
