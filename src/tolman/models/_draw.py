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
    uniform_NV = torch.stack([torch.rand(logit_NV.shape[1], generator=g) for g in draws]).to(logit_NV.device)
    return (logit_NV / temperature - (-uniform_NV.clamp_min(1e-20).log()).log()).argmax(-1)
