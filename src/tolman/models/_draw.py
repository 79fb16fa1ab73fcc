"""Picking tokens from logits: greedily, or at a temperature with a random stream for each text, so that a draw never depends on what else is in the batch.

Shapes: N rows, V vocabulary.
"""

import torch
from torch import Tensor

from tolman.core.seeds import derive


def generator(seed: int, *names: object) -> torch.Generator:
    """The stream called `names`."""
    return torch.Generator().manual_seed(derive(seed, *names))


def pick(logit_NV: Tensor, temperature: float, draws: list[torch.Generator]) -> Tensor:
    """The most likely token, or one drawn at `temperature` by each row's own generator (Gumbel's maximum)."""
    if not temperature:
        return logit_NV.argmax(-1)
    less_NV = torch.empty(logit_NV.shape)
    for row_V, draw in zip(less_NV, draws, strict=True):
        row_V.uniform_(generator=draw)
    less_NV.clamp_min_(1e-20).log_().neg_().log_()  # in place: new memory for 16 rows of 49,152 tokens takes longer than the logarithms
    return ((logit_NV if temperature == 1 else logit_NV / temperature) - less_NV.to(logit_NV.device)).argmax(-1)
