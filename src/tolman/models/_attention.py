"""Attention for `transformers` models on CPU, registered as `tolman`: the two products written out in bfloat16, PyTorch's kernel otherwise.

Shapes: B rows, H query heads, K key-value heads, G query heads to a key-value head, Q positions that ask, S positions seen, E head width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "tolman"
MOST_SCORES = 2**25
"""Attention scores in memory at once, over all heads: longer inputs are taken in blocks of queries."""


def register() -> None:
    """Make `attn_implementation="tolman"` known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None = None, **_: Any
) -> tuple[Tensor, None]:
    """Softmax attention (B, Q, H, E). `attention_mask` (B or 1, 1, Q, S) is added to the scores, or boolean; None means causal.

    In bfloat16 on CPU PyTorch's fused kernel takes 4 to 8 times as long as the two products (LOG.md). The query heads that share a key-value head
    are one matrix, so keys are never repeated.
    """
    B, H, Q, E = query.shape
    K, S = key.shape[1:3]
    factor = E**-0.5 if scaling is None else scaling
    if query.dtype != torch.bfloat16:
        key, value = (x if K == H else x.repeat_interleave(H // K, 1) for x in (key, value))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, is_causal=attention_mask is None and Q > 1, scale=factor)
        return out.transpose(1, 2), None
    if attention_mask is None:
        attention_mask = torch.ones(Q, S, dtype=torch.bool, device=query.device).tril(S - Q)[None, None]
    if attention_mask.dtype == torch.bool:
        attention_mask = torch.zeros(attention_mask.shape, dtype=query.dtype, device=query.device).masked_fill_(~attention_mask, torch.finfo(query.dtype).min)
    block = max(1, MOST_SCORES // (B * H * S))
    parts = [_attend(query[:, :, i : i + block] * factor, key, value, attention_mask[:, :, i : i + block]) for i in range(0, Q, block)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 1)), None


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    B, H, Q, E = query.shape
    K, S = key.shape[1:3]
    score_BKGQS = (query.reshape(B, K, H // K * Q, E) @ key.transpose(-1, -2)).view(B, K, H // K, Q, S) + bias[:, :, None]
    out_BKGQE = (score_BKGQS.softmax(-1).view(B, K, H // K * Q, S) @ value).view(B, K, H // K, Q, E)
    return out_BKGQE.permute(0, 3, 1, 2, 4).reshape(B, Q, H, E)


def use(network: Any, device: str) -> None:
    """Let `network` attend with this on CPU, and with PyTorch's kernel elsewhere; models that cap their scores or attend to sinks keep their own."""
    if getattr(network.config, "attn_logit_softcapping", None) or network.config.model_type == "gpt_oss":
        network.set_attn_implementation("eager")
        return
    if device.startswith("cpu"):
        register()
    network.set_attn_implementation(NAME if device.startswith("cpu") else "sdpa")
