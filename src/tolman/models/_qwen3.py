"""The network of `tiny`: a decoder-only transformer with the architecture of Qwen3, small enough to read at one sitting.

RMSNorm before each block, rotary positions, RMSNorm on queries and keys (QK-norm), SwiGLU, tied embeddings, no biases.
Parameter names and shapes are those of `transformers.Qwen3ForCausalLM`, so a state dict goes either way (a test compares logits).

Shapes: B rows, T positions, S positions including the cached ones, D width, H query heads, K key-value heads, E head width, V vocabulary, N chosen positions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. `vocabulary` is the number of token types."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    rope_theta: float = 10_000.0
    epsilon: float = 1e-6


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        query, key_value = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(shape.width, query, bias=False)
        self.k_proj = nn.Linear(shape.width, key_value, bias=False)
        self.v_proj = nn.Linear(shape.width, key_value, bias=False)
        self.o_proj = nn.Linear(query, shape.width, bias=False)
        self.q_norm = nn.RMSNorm(shape.head_width, eps=shape.epsilon)
        self.k_norm = nn.RMSNorm(shape.head_width, eps=shape.epsilon)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, cache: "LayerCache | None") -> Tensor:
        B, T, _ = x_BTD.shape
        s = self.shape
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))  # one GEMM instead of three
        qkv = F.linear(x_BTD, weight).view(B, T, s.heads + 2 * s.kv_heads, s.head_width)
        q_BTHE, k_BTKE, v_BTKE = qkv.split((s.heads, s.kv_heads, s.kv_heads), dim=2)
        q_BHTE = rotate(self.q_norm(q_BTHE), rotation).transpose(1, 2)
        k_BKSE = rotate(self.k_norm(k_BTKE), rotation).transpose(1, 2)
        v_BKSE = v_BTKE.transpose(1, 2)
        if cache is not None:
            k_BKSE, v_BKSE = cache.append(k_BKSE, v_BKSE)
        out_BHTE = attend(q_BHTE, k_BKSE, v_BKSE, mask)
        return self.o_proj(out_BHTE.transpose(1, 2).reshape(B, T, -1))


def attend(q_BHTE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention. `mask` is True where a position may look; None means causal.

    On CPU in bfloat16, at the lengths used here, PyTorch's fused kernel takes 4 to 8 times as long as the two products written out
    (128 rows x 64 positions, 4 heads x 32: 62 ms against 12 ms forward and backward, torch 2.13), so there they are written out.
    """
    heads, kv_heads, T, S = q_BHTE.shape[1], k_BKSE.shape[1], q_BHTE.shape[2], k_BKSE.shape[2]
    if q_BHTE.device.type != "cpu" or q_BHTE.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(
            q_BHTE, k_BKSE, v_BKSE, attn_mask=mask, is_causal=mask is None and T > 1, enable_gqa=heads != kv_heads
        )
    if heads != kv_heads:
        k_BKSE, v_BKSE = k_BKSE.repeat_interleave(heads // kv_heads, 1), v_BKSE.repeat_interleave(heads // kv_heads, 1)
    if mask is None:
        mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    score_BHTS = (q_BHTE * q_BHTE.shape[-1] ** -0.5) @ k_BKSE.transpose(-1, -2)
    return score_BHTS.float().masked_fill(~mask, -torch.inf).softmax(-1).to(v_BKSE.dtype) @ v_BKSE


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down_proj = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = MLP(shape)
        self.input_layernorm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=shape.epsilon)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, cache: "LayerCache | None") -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3(nn.Module):
    """Token ids in, final hidden states out; `logits` turns chosen hidden states into logits with the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.model.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.model.norm = nn.RMSNorm(shape.width, eps=shape.epsilon)

    def forward(self, token_BT: Tensor, position_BT: Tensor, mask: Tensor | None = None, cache: "Cache | None" = None) -> Tensor:
        """Hidden states (B, T, D). `mask` (B, 1, T, S) is True where attention may look; None is plain causal attention without cache."""
        x = self.model.embed_tokens(token_BT)
        rotation = rotation_at(position_BT, self.shape.head_width, self.shape.rope_theta, x.dtype)
        for i, block in enumerate(self.model.layers):
            x = block(x, rotation, mask, cache.layers[i] if cache is not None else None)
        return self.model.norm(x)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits (N, V) of the next token."""
        return F.linear(hidden_ND, self.model.embed_tokens.weight)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights of standard deviation 0.02 (as Qwen3); outputs of each block scaled down by sqrt(2 layers) (Radford et al. 2019)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
                continue
            std = 0.02 / (2 * self.shape.layers) ** 0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
            parameter.normal_(0.0, std, generator=generator)


def rotation_at(position_BT: Tensor, head_width: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine (B, T, 1, E) of the rotary angles (Su et al. 2021), halves repeated as in Hugging Face's layout."""
    power = torch.arange(0, head_width, 2, dtype=torch.float32, device=position_BT.device) / head_width
    angle = position_BT[..., None].float() * theta**-power
    angle = torch.cat((angle, angle), dim=-1)[:, :, None, :]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x_BTHE: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    first, second = x_BTHE.chunk(2, dim=-1)
    return x_BTHE * cos + torch.cat((-second, first), dim=-1) * sin


class LayerCache:
    """Keys and values of one layer (B, K, S, E)."""

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), dim=2), torch.cat((self.value, value), dim=2)
        self.key, self.value = key, value
        return key, value


class Cache:
    """Keys and values of what a model has read, to go on from."""

    def __init__(self, layers: int) -> None:
        self.layers = [LayerCache() for _ in range(layers)]

    def select(self, row_N: Tensor) -> "Cache":
        """The cache of the chosen rows (rows may repeat), sharing nothing with this one."""
        chosen = Cache(len(self.layers))
        for mine, its in zip(self.layers, chosen.layers, strict=True):
            assert mine.key is not None and mine.value is not None
            its.key, its.value = mine.key[row_N], mine.value[row_N]
        return chosen
