"""One training by several processes, each with some rows of every batch (data parallelism), as torchrun or accelerate began them.

A method that is to use it makes a `Team`, trains on `team.part(batch)` and calls `team.add_up(loss)` after `backward`. All processes draw the same batches and
take the same steps, so nothing else differs; one process alone takes all rows and adds up nothing.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tolman.core.cost import Cost
from tolman.core.errors import UserError
from tolman.core.packing import Batch
from tolman.core.protocols import TrainableModel

T = TypeVar("T")


class Team:
    """The processes that train `model` together. What one of them computes from here on is its own share of the work, and is counted for all."""

    def __init__(self, model: TrainableModel) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.model, self.rank, self.size = model, dist.get_rank() if together else 0, dist.get_world_size() if together else 1
        self._booked = model.meter.get("train")

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """This process's rows of `batch`, and the share of the batch's weighted tokens that they hold: by it the loss of the part is to be multiplied."""
        if self.size > len(batch.token):
            raise UserError(f"a batch of {len(batch.token)} rows cannot be shared by {self.size} processes: raise train_time.batch_tokens or use fewer")
        return self.rows(batch)

    def rows(self, batch: Batch) -> tuple[Batch, float]:
        """As `part`, but where there are fewer rows than processes some get none, and the share 0."""
        if self.size == 1:
            return batch, 1.0
        mine = slice(self.rank, None, self.size)
        part = Batch(batch.token[mine], batch.segment[mine], batch.weight[mine], batch.target[mine])
        ahead = int(self.model.causal)  # a causal model predicts no first token
        return part, float((part.weight[:, ahead:] != 0).sum() / (batch.weight[:, ahead:] != 0).sum())

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """This process's items. Raises UserError if there are fewer than processes."""
        if self.size > len(items):
            raise UserError(f"{len(items)} questions of a step cannot be shared by {self.size} processes: raise train_time.questions or use fewer")
        return items[self.rank :: self.size]

    def total(self, value: float) -> float:
        """The sum of every process's `value`."""
        return self._summed([float(value)])[0] if self.size > 1 else float(value)

    def mean(self, values: Any) -> float:
        """The mean of every process's `values` together."""
        values = np.asarray(values, float)
        if self.size == 1:
            return float(values.mean())
        total, n = self._summed([float(values.sum()), float(values.size)])
        return total / n

    def add_up(self, loss: Tensor) -> float:
        """The loss of the whole batch. Gradients become those of the whole batch (one that a process has none of is zero); also counts."""
        if self.size == 1:
            return float(loss.detach())
        weights = [p for p in self.model.network.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in weights])
        dist.all_reduce(flat)
        for weight, whole in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
            weight.grad = whole.view_as(weight).to(weight.dtype)
        self.count()
        return self.total(float(loss.detach()))

    def count(self) -> None:
        """Have the meter count what all processes computed since the last time."""
        if self.size == 1:
            return
        spent = self.model.meter.get("train")
        tokens, flops = spent.tokens - self._booked.tokens, spent.flops - self._booked.flops
        all_tokens, all_flops = self._summed([tokens, flops])
        self.model.meter.add(Cost(tokens=round(all_tokens - tokens), flops=all_flops - flops))
        self._booked = self.model.meter.get("train")

    def _summed(self, values: list[float]) -> list[float]:
        whole = torch.tensor(values, dtype=torch.float64, device=next(self.model.network.parameters()).device)
        dist.all_reduce(whole)
        return whole.tolist()
