"""One more token of each of many texts, quickly: the forward pass of `_qwen3` for a single position, with fused weights and a cache that is written in place.

Where rows are few and short, a step is as dear as its count of operations: this one has half of those of the general forward pass, and the same result.

Shapes: N rows, D width, H query heads, K key-value heads, E head width, S cached positions, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tolman.models._qwen3 import MLP, Cache, Qwen3, rotation_at


class Decoder:
    """Goes on from `cache`, which has read the same number of positions for every row, for at most `room` tokens. The network must not change meanwhile."""

    def __init__(self, network: Qwen3, cache: Cache, room: int) -> None:
        self.network, self.shape = network, network.shape
        self.layers = [_Layer(block, self.shape.heads, kept.key, kept.value, room) for block, kept in zip(network.model.layers, cache.layers, strict=True)]  # type: ignore[arg-type]
        first = cache.layers[0].key
        assert first is not None, "the cache has read nothing"
        self.read = first.shape[2]
        place_1T = torch.arange(self.read, self.read + room, device=first.device)[None]
        self.cos, self.sin = (angle[0, 0] for angle in rotation_at(place_1T, self.shape.head_width, self.shape.rope_theta, first.dtype))
        self.at = 0

    @staticmethod
    def suits(network: Qwen3) -> bool:
        """Whether the network has nothing but what is fused here."""
        return all(type(block.mlp) is MLP for block in network.model.layers)  # type: ignore[union-attr]

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        x_ND = F.embedding(token_N, self.network.model.embed_tokens.weight)  # type: ignore[arg-type]
        end, cos_E, sin_E = self.read + self.at, self.cos[self.at], self.sin[self.at]
        for layer in self.layers:
            x_ND = layer.forward(x_ND, cos_E, sin_E, end)
        self.at += 1
        norm = self.network.model.norm
        return self.network.logits(F.rms_norm(x_ND, (self.shape.width,), norm.weight, norm.epsilon))  # type: ignore[arg-type, union-attr]

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        for layer in self.layers:
            layer.keep(row_A, self.read + self.at)


class _Layer:
    """One block with its weights fused and its cache (N, K, S + room, E)."""

    def __init__(self, block: torch.nn.Module, heads: int, key: Tensor, value: Tensor, room: int) -> None:
        a, m = block.self_attn, block.mlp
        self.heads, self.kv_heads, self.head_width = heads, key.shape[1], key.shape[3]
        self.qkv = torch.cat((a.q_proj.weight, a.k_proj.weight, a.v_proj.weight))  # type: ignore[union-attr, list-item]
        gains = (a.q_norm.weight.expand(heads, -1), a.k_norm.weight.expand(self.kv_heads, -1))  # type: ignore[union-attr, operator]
        self.gain_HE, self.epsilon = torch.cat(gains), a.q_norm.epsilon  # type: ignore[union-attr]
        self.out, self.up, self.down = a.o_proj.weight, torch.cat((m.gate_proj.weight, m.up_proj.weight)), m.down_proj.weight  # type: ignore[union-attr, list-item]
        self.before, self.after = block.input_layernorm.weight, block.post_attention_layernorm.weight  # type: ignore[union-attr]
        self.key, self.value = (torch.cat((kept, kept.new_empty(*kept.shape[:2], room, kept.shape[3])), dim=2) for kept in (key, value))

    def forward(self, x_ND: Tensor, cos_E: Tensor, sin_E: Tensor, end: int) -> Tensor:
        width, turned = (x_ND.shape[1],), self.heads + self.kv_heads
        qkv_NHE = F.linear(F.rms_norm(x_ND, width, self.before, self.epsilon), self.qkv).view(len(x_ND), -1, self.head_width)  # type: ignore[arg-type]
        qk_NHE = F.rms_norm(qkv_NHE[:, :turned], (self.head_width,), None, self.epsilon) * self.gain_HE  # type: ignore[arg-type]
        qk_NHE = qk_NHE * cos_E + qk_NHE.roll(self.head_width // 2, -1) * sin_E
        self.key[:, :, end], self.value[:, :, end] = qk_NHE[:, self.heads :], qkv_NHE[:, turned:]
        seen = (self.key[:, :, : end + 1], self.value[:, :, : end + 1])
        heard = F.scaled_dot_product_attention(qk_NHE[:, : self.heads, None], *seen, enable_gqa=self.heads != self.kv_heads)
        x_ND = torch.addmm(x_ND, heard.reshape(len(x_ND), -1), self.out.t())  # type: ignore[union-attr, operator]
        gate, up = F.linear(F.rms_norm(x_ND, width, self.after, self.epsilon), self.up).chunk(2, dim=-1)  # type: ignore[arg-type]
        return torch.addmm(x_ND, F.silu(gate) * up, self.down.t())  # type: ignore[union-attr, operator]

    def keep(self, row_A: Tensor, filled: int) -> None:
        for name in ("key", "value"):
            kept = getattr(self, name)
            fewer = kept.new_empty(len(row_A), *kept.shape[1:])
            fewer[:, :, :filled] = kept[row_A, :, :filled]
            setattr(self, name, fewer)


class Plain:
    """The same by the general forward pass, for networks that `Decoder` does not suit."""

    def __init__(self, network: Qwen3, cache: Cache) -> None:
        self.network, self.cache = network, cache

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        key = self.cache.layers[0].key
        assert key is not None, "the cache has read nothing"
        place_N1 = torch.full((len(token_N), 1), key.shape[2], device=key.device)
        return self.network.logits(self.network(token_N[:, None], place_N1, None, self.cache)[:, 0])

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        self.cache = self.cache.select(row_A)
