"""One training by several processes, each with some rows of every batch (data parallelism), as torchrun or accelerate began them.

A method that is to use it makes a `Team`, trains on `team.part(batch)` and calls `team.add_up(loss)` after `backward`. All processes draw the same batches and
take the same steps, so nothing else differs; one process alone takes all rows and adds up nothing.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from tolman.core.cost import Cost
from tolman.core.errors import UserError
from tolman.core.packing import Batch
from tolman.core.protocols import TrainableModel


class Team:
    """The processes that train `model` together."""

    def __init__(self, model: TrainableModel) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.model, self.rank, self.size = model, dist.get_rank() if together else 0, dist.get_world_size() if together else 1
        self._booked = model.meter.get("train")

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """This process's rows of `batch`, and the share of the batch's weighted tokens that they hold: by it the loss of the part is to be multiplied."""
        if self.size == 1:
            return batch, 1.0
        if len(batch.token) < self.size:
            raise UserError(f"a batch of {len(batch.token)} rows cannot be shared by {self.size} processes: raise train_time.batch_tokens or use fewer")
        mine = slice(self.rank, None, self.size)
        part = Batch(batch.token[mine], batch.segment[mine], batch.weight[mine], batch.target[mine])
        ahead = int(self.model.causal)  # a causal model predicts no first token
        return part, float((part.weight[:, ahead:] != 0).sum() / (batch.weight[:, ahead:] != 0).sum())

    def add_up(self, loss: Tensor) -> float:
        """The loss of the whole batch. Gradients become those of the whole batch, and the meter counts what all processes computed."""
        if self.size == 1:
            return float(loss.detach())
        grads = [p.grad for p in self.model.network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        for grad, whole in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(whole.view_as(grad))
        spent = self.model.meter.get("train")
        mine = [float(loss.detach()), spent.tokens - self._booked.tokens, spent.flops - self._booked.flops]
        whole = torch.tensor(mine, dtype=torch.float64, device=flat.device)
        dist.all_reduce(whole)
        total, tokens, flops = whole.tolist()
        self.model.meter.add(Cost(tokens=round(tokens - mine[1]), flops=flops - mine[2]))
        self._booked = self.model.meter.get("train")
        return total
