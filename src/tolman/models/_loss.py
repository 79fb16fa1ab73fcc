"""Next-token loss from hidden states, without ever holding the logits of a whole batch.

Shapes: N positions, D width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 256
"""Positions whose logits are in memory at once."""


def linear_cross_entropy(hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, weight_N: Tensor) -> Tensor:
    """Sum of weight x cross-entropy in nats of `hidden @ head.T`, differentiable in `hidden_ND` and `head_VD`.

    The gradient is computed along with the loss, chunk by chunk (Wijmans et al. 2024, arXiv 2411.09009; Hsu et al. 2024, arXiv 2410.10989): at 49,152 words the logits
    of 2,048 positions and their gradient would take 800 MB.
    """
    return _LinearCrossEntropy.apply(hidden_ND, head_VD, target_N, weight_N)  # type: ignore[no-any-return]


def token_nats(hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor) -> Tensor:
    """Log-probability (N,) in nats of each of `target_N`, in float32, so many positions at a time that their logits stay small."""
    parts = zip(hidden_ND.split(CHUNK), target_N.split(CHUNK), strict=True)
    nats = [-F.cross_entropy(F.linear(hidden, head_VD).float(), target, reduction="none") for hidden, target in parts]
    return torch.cat(nats) if nats else hidden_ND.new_zeros(0, dtype=torch.float32)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, target_N: Tensor, weight_N: Tensor) -> Tensor:
        need_hidden, need_head = ctx.needs_input_grad[:2]
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden_ND) if need_hidden else None
        grad_head = torch.zeros_like(head_VD, dtype=torch.float32) if need_head else None
        for at in range(0, len(hidden_ND), CHUNK):
            part, target, weight = hidden_ND[at : at + CHUNK], target_N[at : at + CHUNK, None], weight_N[at : at + CHUNK, None]
            logprob = F.log_softmax(F.linear(part, head_VD), -1, dtype=torch.float32)
            total -= (logprob.gather(1, target) * weight).sum()
            if need_hidden or need_head:
                grad = logprob.exp_()  # softmax - one-hot, times weight
                grad.scatter_add_(1, target, torch.full_like(target, -1, dtype=grad.dtype))
                grad = grad.mul_(weight).to(hidden_ND.dtype)
                if grad_hidden is not None:
                    grad_hidden[at : at + CHUNK] = grad @ head_VD
                if grad_head is not None:
                    grad_head += grad.T @ part
        ctx.save_for_backward(grad_hidden, grad_head)
        ctx.head_dtype = head_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, head = ctx.saved_tensors
        scale = grads[0]
        return None if hidden is None else hidden * scale.to(hidden.dtype), None if head is None else (head * scale).to(ctx.head_dtype), None, None
