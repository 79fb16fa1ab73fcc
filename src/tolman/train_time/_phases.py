"""A training of several phases: each sees checkpoints and a watch of its own, the runner sees one training."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tolman.core.data import Corpus
from tolman.core.protocols import Checkpoints, TrainableModel, Watch

if TYPE_CHECKING:
    import torch


class Phase:
    """One phase: numbers its steps on from those before it, and keeps its state under its name. It is both the phase's checkpoints and its watch."""

    def __init__(self, name: str, checkpoints: Checkpoints, watch: Watch, *, state: Mapping[str, Any] | None, before: int, total: int) -> None:
        self.name, self.checkpoints, self.watch, self.before, self.total = name, checkpoints, watch, before, total
        self.state = state["state"] if state is not None and state["phase"] == name else None

    def load(self) -> Any:
        return self.state

    def due(self) -> bool:
        return self.checkpoints.due()

    def save(self, state: Mapping[str, Any]) -> None:
        self.checkpoints.save({"phase": self.name, "state": state})

    def step(self, step: int, steps: int, **values: float) -> None:
        self.watch.step(self.before + step, self.total, **values)

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        self.watch.keep(name, value, documents)


def after(first: Any, name: str, total: int, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> Any:  # noqa: PLR0913
    """Train `first` as the phase `name`, unless a checkpoint is beyond it; the state from which the next phase goes on (None: from its beginning)."""
    state = checkpoints.load()
    if state is not None and state["phase"] != name:
        return state
    phase = Phase(name, checkpoints, watch, state=state, before=0, total=total)
    first.train(model, corpus, seed=seed, checkpoints=phase, watch=phase)
    return None


def weights(model: TrainableModel) -> "dict[str, torch.Tensor]":
    """A copy of the weights that training changes."""
    return {name: p.detach().clone() for name, p in model.network.named_parameters() if p.requires_grad}


def restore(model: TrainableModel, kept: "Mapping[str, torch.Tensor]") -> None:
    """Give the model the weights that `weights` copied."""
    for name, p in model.network.named_parameters():
        if p.requires_grad:
            p.data.copy_(kept[name])


@contextmanager
def wearing(model: TrainableModel, kept: "Mapping[str, torch.Tensor]") -> Iterator[None]:
    """The model with other weights for a while."""
    own = weights(model)
    restore(model, kept)
    try:
        yield
    finally:
        restore(model, own)
