"""What the folders of rank 1 know of one another: these protocols and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tolman.core.component import Component
from tolman.core.cost import Meter
from tolman.core.data import Answer, Corpus, Document, Generation, Prompt, Question
from tolman.core.packing import Batch, Example

if TYPE_CHECKING:
    import numpy as np
    import torch


@runtime_checkable
class LiveModel(Protocol):
    """A model that can be asked. Everything it computes is booked on its `meter`."""

    meter: Meter
    context_tokens: int
    """Longest input, prompt and answer together."""

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads for `prompt`: its template, in one place."""
        ...

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability in nats of each continuation of each prompt, all its tokens together."""
        ...

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """`samples` texts for each prompt. Temperature 0 is greedy; otherwise the draw depends on `seed` alone, not on batch composition."""
        ...


@runtime_checkable
class TrainableModel(LiveModel, Protocol):
    """A model with weights that we may change."""

    network: "torch.nn.Module"
    marks: Mapping[str, int]
    """Token ids of the marks that some objectives put into documents: mask, reversed, line break."""
    causal: bool
    """Whether a token sees only those before it."""

    def examples(self, documents: Sequence[Document]) -> list[Example]:
        """Each document as tokens, with weight 1 on its targets."""
        ...

    def continued(self, prompt: Prompt, ids: Sequence[int]) -> Example:
        """What it reads for `prompt` and then the tokens `ids` (of a `Generation`, or `spelled`), weight 1 on these."""
        ...

    def spelled(self, text: str, after: Prompt | None = None) -> tuple[int, ...]:
        """The tokens with which it writes `text` and ends it: where a word begins, or behind `after`."""
        ...

    def logprobs(self, batch: Batch) -> "np.ndarray":
        """Log-probability in nats (rows, row_tokens) of each token that has a weight, whatever the weight is, and 0 elsewhere. No gradient."""
        ...

    def loss(self, batch: Batch) -> "torch.Tensor":
        """Mean over the batch's weights of weight x next-token loss in nats, differentiable."""
        ...

    def matrices(self) -> list["torch.nn.Parameter"]:
        """The parameters that are maps from one hidden space to another (not embeddings, not gains)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model so that its component's `load` and `transformers` read it."""
        ...


class ModelComponent(Protocol):
    def create(self, corpus: Corpus, *, seed: int) -> LiveModel:
        """The model before any training of ours."""
        ...

    def load(self, folder: Path) -> LiveModel:
        """The model that `save` wrote."""
        ...


class DatasetComponent(Protocol):
    def build(self, seed: int) -> Corpus: ...


class Checkpoints(Protocol):
    """Where a training run keeps what it needs to go on after an interruption."""

    def load(self) -> "Mapping[str, Any] | None":
        """The last state saved, or None."""
        ...

    def due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: "Mapping[str, Any]") -> None:
        """Keep `state`: tensors, and values that JSON can hold, nested in dicts and lists. All or nothing."""
        ...


class Watch(Protocol):
    """Who is told how training goes."""

    def step(self, step: int, steps: int, **values: float) -> None:
        """Called after every step. Must not change the model or any random stream."""
        ...

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        """What the method found out on its way: `value` (JSON) goes into the record as notes.`name`, `documents` beside the weights as `name`.jsonl."""
        ...


class TrainTimeComponent(Protocol):
    def train(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change the model's weights in place."""
        ...


class TwoStageComponent(TrainTimeComponent, Protocol):
    """A method that begins where another ends. The runner trains `first` once for all methods that begin with it, and then calls `go_on` instead of `train`."""

    first: Any
    """The train-time component to begin with."""

    def go_on(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """The rest of `train`, on a model that `first` has trained: the outcome is that of `train` to the bit."""
        ...


class AugmentComponent(Protocol):
    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """New documents made from `sources`, some of the documents of `corpus`, which comes without questions and without anything else that tells what is tested.

        Each document's provenance says by which operator or prompt, from which documents and by which draw it was written (`core.generated.Origin`). What is
        written from a source depends on it, on `corpus` and on `seed`, not on the other sources. Its targets are what the model or the operator supplied.
        """
        ...


class TestTimeComponent(Protocol):
    def prompts(self, model: LiveModel, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[Prompt]:
        """What the model is shown for each question."""
        ...


class ScoringComponent(Protocol):
    def judge(self, model: LiveModel, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Answer]:
        """An answer and its verdict for each question."""
        ...

    def chance(self, question: Question, kind_chance: float) -> float:
        """What a guesser would score on this question under this scoring."""
        ...


class RetrieverComponent(Protocol):
    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """For each question the documents to put before it, in the order to show them (most useful last where the order is ranked)."""
        ...


Probe = Callable[[LiveModel], Mapping[str, float]]
"""Looks at a model while it trains."""

AnyComponent = Component
