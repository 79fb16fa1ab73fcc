"""One more token of each of many texts, quickly: the forward pass of `_qwen3` for a single position, with fused weights and a cache that is written in place.

Where rows are few and short, a step is as dear as its count of operations: this one has a third of those of the general forward pass, and the same result
but for rounding.

Shapes: N rows, A rows that go on, D width, K key-value heads, B = N x K, G query heads to a key-value head, E head width, R positions there is room for,
of which the last C are new, S cached positions, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tolman.models._qwen3 import MLP, Cache, Qwen3, rotation_at

CHUNK = 16
"""The cache gets room for so many positions at a time and is read whole, future ones masked: reading it with gaps takes three times as long (LOG.md)."""


class Decoder:
    """Goes on from `cache`, which has read the same number of positions for every row, for at most `room` tokens. The network must not change meanwhile."""

    def __init__(self, network: Qwen3, cache: Cache, room: int) -> None:
        shape, stack, first = network.shape, network.model, cache.layers[0].key
        assert first is not None, "the cache has read nothing"
        self.read = self.end = self.seen = first.shape[2]
        self.ahead_CR = first.new_empty(0, 0)
        self.embedding, self.gain = stack.embed_tokens.weight, stack.norm.weight * shape.width**0.5
        self.least = first.new_tensor((shape.width * shape.epsilon) ** 0.5)
        place_1L = torch.arange(self.read, self.read + room, device=first.device)[None]
        rotation = [angle[0, 0] for angle in rotation_at(place_1L, shape.head_width, shape.rope_theta, first.dtype)]
        self.layers = [_Layer(block, kept.key, kept.value, rotation) for block, kept in zip(stack.layers, cache.layers, strict=True)]  # type: ignore[arg-type]

    @staticmethod
    def suits(network: Qwen3) -> bool:
        """Whether the network has nothing but what is fused here."""
        return all(type(block.mlp) is MLP for block in network.model.layers)  # type: ignore[union-attr]

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        if self.end == self.seen:
            self.seen += CHUNK
            self.ahead_CR = self.embedding.new_full((CHUNK, self.seen), -torch.inf).triu(self.end + 1)
            for layer in self.layers:
                layer.key, layer.value = (F.pad(kept, (0, 0, 0, CHUNK)) for kept in (layer.key, layer.value))
        x_ND, ahead_R = F.embedding(token_N, self.embedding), self.ahead_CR[self.end - self.seen]
        for layer in self.layers:
            x_ND = layer.forward(x_ND, self.end - self.read, self.end, ahead_R)
        self.end += 1
        return F.linear(unit(x_ND, self.least) * self.gain, self.embedding)

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        for layer in self.layers:
            layer.key, layer.value = (kept.unflatten(0, (-1, layer.kv_heads)).index_select(0, row_A).flatten(0, 1) for kept in (layer.key, layer.value))


class _Layer:
    """One block and its cache (B, R, E). Its weights are fused; the gains of its norms are in them and in the rotation, so that a norm has only to divide by a length."""

    def __init__(self, block: Any, key_NKSE: Tensor, value_NKSE: Tensor, rotation: Sequence[Tensor]) -> None:
        a, m, shape = block.self_attn, block.mlp, block.self_attn.shape
        self.kv_heads, self.head_width = shape.kv_heads, shape.head_width
        q, k, v = (map.weight.view(shape.kv_heads, -1, shape.width) for map in (a.q_proj, a.k_proj, a.v_proj))
        self.qkv = torch.cat((q, k, v), dim=1).flatten(0, 1).mul_(block.input_layernorm.weight * shape.width**0.5)
        self.up = torch.cat((m.gate_proj.weight, m.up_proj.weight)).mul_(block.post_attention_layernorm.weight * shape.width**0.5)
        self.out, self.down = a.o_proj.weight.t(), m.down_proj.weight.t()
        self.least, self.least_head = (self.qkv.new_tensor((width * shape.epsilon) ** 0.5) for width in (shape.width, shape.head_width))
        queries = (a.q_norm.weight * shape.head_width**-0.5).expand(shape.heads // shape.kv_heads, -1)
        gain_HE = torch.cat((queries, a.k_norm.weight[None])) * shape.head_width**0.5
        cos_LE, sin_LE = rotation
        self.cos, self.sin = (cos_LE[:, None] * gain_HE).unbind(), (sin_LE[:, None] * gain_HE.roll(shape.head_width // 2, -1)).unbind()
        self.key, self.value = key_NKSE.flatten(0, 1), value_NKSE.flatten(0, 1)

    def forward(self, x_ND: Tensor, step: int, end: int, ahead_R: Tensor) -> Tensor:
        """The hidden states after the block; `ahead_R` is -inf at positions beyond `end`."""
        qkv_BHE = F.linear(unit(x_ND, self.least), self.qkv).view(len(self.key), -1, self.head_width)
        qk_BHE = unit(qkv_BHE[:, :-1], self.least_head)
        qk_BHE = (qk_BHE * self.cos[step]).addcmul_(qk_BHE.roll(self.head_width // 2, -1), self.sin[step])
        self.key[:, end], self.value[:, end] = qk_BHE[:, -1], qkv_BHE[:, -1]
        score_BGR = torch.baddbmm(ahead_R, qk_BHE[:, :-1], self.key.mT)
        heard_BGE = torch.bmm(score_BGR.softmax(-1), self.value)
        x_ND = torch.addmm(x_ND, heard_BGE.view(len(x_ND), -1), self.out)
        gate, up = F.linear(unit(x_ND, self.least), self.up).chunk(2, dim=-1)
        return torch.addmm(x_ND, F.silu(gate, inplace=True).mul_(up), self.down)


def unit(x: Tensor, least: Tensor) -> Tensor:
    """x by its length, which `least` is added to at a right angle: with sqrt(width * epsilon) this is sqrt(1 / width) of the root-mean-square norm."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(least)


class Plain:
    """The same by the general forward pass, for networks that `Decoder` does not suit."""

    def __init__(self, network: Qwen3, cache: Cache) -> None:
        first = cache.layers[0].key
        assert first is not None, "the cache has read nothing"
        self.network, self.cache, self.seen = network, cache, first.shape[2]

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        place_N1 = torch.full((len(token_N), 1), self.seen, device=token_N.device)
        self.seen += 1
        return self.network.logits(self.network(token_N[:, None], place_N1, None, self.cache)[:, 0])

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        self.cache = self.cache.select(row_A)
