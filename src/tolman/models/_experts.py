"""The sparse feed-forward layer of `tiny`: each token goes through the few experts that a router picks for it, as in Qwen3-MoE.

Parameter names and shapes are those in which Qwen3-MoE models are published, so that `transformers` reads them (a test compares logits and the balancing loss).

Shapes: N tokens, D width, E experts, K experts of a token, M = N x K assignments, P rows that are computed: assignments, and what fills each expert's up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

FILL = 32
"""In bfloat16 on CPU each expert gets a multiple of so many rows: a matrix product of a new shape costs 1.5 ms there, more than the rows that fill it up."""


class Routed(NamedTuple):
    """What a router decided: the probability (N, E) of each expert, and which were picked (N, K)."""

    probability_NE: Tensor
    expert_NK: Tensor


class Experts(nn.Module):
    """`experts` feed-forward layers of which each token takes `picked`, weighted by the router's probabilities (made to sum to 1 where it takes several)."""

    def __init__(self, experts: Sequence[nn.Module], picked: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, len(experts), bias=False)
        self.experts = nn.ModuleList(experts)
        self.picked = picked
        self.routed: Routed | None = None
        """The decisions of the last forward pass."""
        self.rows = 0
        """Rows that the experts have computed, what fills them up included, in all forward passes since somebody set this to 0."""

    def forward(self, x: Tensor) -> Tensor:
        x_ND = x.flatten(0, -2)
        probability_NE = self.gate(x_ND).softmax(-1, dtype=torch.float32)
        weight_NK, expert_NK = probability_NE.topk(self.picked, dim=-1)
        if self.picked > 1:
            weight_NK = weight_NK / weight_NK.sum(-1, keepdim=True)
        self.routed = Routed(probability_NE, expert_NK)
        fill = FILL if x.device.type == "cpu" and x.dtype == torch.bfloat16 else 1
        token_P, place_NK, sizes = arranged(expert_NK, len(self.experts), fill)
        self.rows += len(token_P)
        parts = x_ND.index_select(0, token_P).split(sizes)
        out_PD = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True) if len(part)])
        out_NKD = out_PD.index_select(0, place_NK.flatten()).unflatten(0, place_NK.shape)
        return (out_NKD * weight_NK.to(x.dtype)[..., None]).sum(1).view_as(x)


def arranged(expert_NK: Tensor, experts: int, fill: int) -> tuple[Tensor, Tensor, list[int]]:
    """Assignments sorted by expert: which token stands in each row (P,), in which row each assignment stands (N, K), and how many rows each expert has.

    An expert's rows are filled up to a multiple of `fill` with token 0; nobody looks at what comes of these.
    """
    expert_M = expert_NK.flatten()
    order_M = expert_M.argsort(stable=True)
    count_E = expert_M.bincount(minlength=experts)
    rows_E = (count_E + fill - 1) // fill * fill
    shift_E = (rows_E.cumsum(0) - rows_E) - (count_E.cumsum(0) - count_E)
    row_M = torch.arange(len(order_M), device=order_M.device) + shift_E[expert_M[order_M]]
    sizes = rows_E.tolist()
    token_P = order_M.new_zeros(sum(sizes)).index_copy(0, row_M, order_M // expert_NK.shape[1])
    place_M = torch.empty_like(order_M).index_copy(0, order_M, row_M)
    return token_P, place_M.view_as(expert_NK), sizes


def balance(routed: Sequence[tuple[Routed, Tensor]]) -> Tensor:
    """The load-balancing loss of Switch transformers (Fedus et al. 2022, equations 4 to 6) over all layers together, as Qwen3-MoE has it: experts x the sum over
    experts of (share of tokens that picked it) x (mean probability of it). At least K where the two agree, which is when all are used alike.

    Each layer comes with a mask (N,) of the tokens that count.
    """
    probability_NE = torch.cat([r.probability_NE[counts] for r, counts in routed])
    expert_M = torch.cat([r.expert_NK[counts] for r, counts in routed]).flatten()
    N, E = probability_NE.shape
    share_E = expert_M.bincount(minlength=E) / N
    return E * (share_E * probability_NE.mean(0)).sum()
