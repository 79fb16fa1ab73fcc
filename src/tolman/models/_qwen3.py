"""The network of `tiny`: a decoder-only transformer with the architecture of Qwen3, small enough to read at one sitting.

RMSNorm before each block, rotary positions, RMSNorm on queries and keys (QK-norm), SwiGLU, tied embeddings, no biases.
Parameter names and shapes are those of `transformers.Qwen3ForCausalLM`, so a state dict goes either way (a test compares logits).

Shapes: B rows, T positions, S positions including the cached ones, Q positions that ask, D width, H query heads, K key-value heads, E head width,
V vocabulary, N chosen positions.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tolman.models._experts import Experts


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. `vocabulary` is the number of token types. With `experts`, each token goes through `picked` of them, each `hidden` wide."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    experts: int = 0
    picked: int = 1
    rope_theta: float = 10_000.0
    epsilon: float = 1e-6


class RMSNorm(nn.Module):
    """Root-mean-square norm with a gain (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return _Normed.apply(x, self.weight, self.epsilon)  # type: ignore[no-any-return]
        return unit(x, self.epsilon)[0] * self.weight


def unit(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x / rms(x), and 1 / rms(x)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scale = (norm.square() / x.shape[-1] + epsilon).rsqrt().to(x.dtype)
    return x * scale, scale


class _Normed(torch.autograd.Function):
    """x / rms(x) * gain, as `torch.nn.RMSNorm`, whose backward pass takes twice the time on CPU (LOG.md), so it is written out here."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        along, scale = unit(x, epsilon)
        ctx.save_for_backward(along, scale, gain)
        return along * gain

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, scale, gain = ctx.saved_tensors
        product = grads[0] * unit
        along = (product * gain).mean(-1, keepdim=True)
        return (grads[0] * gain).sub_(unit * along).mul_(scale), product.flatten(0, -2).sum(0), None


@dataclass(frozen=True)
class View:
    """Who looks where: rotary angles of the positions that ask and of those that are seen, and the mask between them.

    `bias` (B, 1, Q, S) is 0 where a position may look and -inf elsewhere; None means causal. `at` (B, Q) are the positions that ask; None means all.
    """

    bias: Tensor | None
    seen: tuple[Tensor, Tensor]
    asking: tuple[Tensor, Tensor]
    at: Tensor | None = None

    def only(self, at_BQ: Tensor) -> "View":
        """This view from the positions `at_BQ` alone."""
        cos, sin = (take(angle.squeeze(1), at_BQ).unsqueeze(1) for angle in self.asking)
        if self.bias is None:
            mask = torch.arange(self.seen[0].shape[2], device=at_BQ.device) <= at_BQ[..., None]
            return View(as_bias(mask, cos.dtype).unsqueeze(1), self.seen, (cos, sin), at_BQ)
        return View(take(self.bias.squeeze(1), at_BQ).unsqueeze(1), self.seen, (cos, sin), at_BQ)


def take(x_BTX: Tensor, at_BQ: Tensor) -> Tensor:
    """The chosen positions of each row, (B, Q, ...)."""
    B, T = x_BTX.shape[:2]
    flat = at_BQ + torch.arange(0, B * T, T, device=at_BQ.device)[:, None]
    return x_BTX.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, at_BQ.shape)  # index_select's backward is twice as fast as that of indexing


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        query, key_value = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(shape.width, query, bias=False)
        self.k_proj = nn.Linear(shape.width, key_value, bias=False)
        self.v_proj = nn.Linear(shape.width, key_value, bias=False)
        self.o_proj = nn.Linear(query, shape.width, bias=False)
        self.q_norm = RMSNorm(shape.head_width, shape.epsilon)
        self.k_norm = RMSNorm(shape.head_width, shape.epsilon)

    def forward(self, x_BTD: Tensor, view: View, cache: "LayerCache | None") -> Tensor:
        B, T, _ = x_BTD.shape
        s = self.shape
        asking_BQD = x_BTD if view.at is None else take(x_BTD, view.at)
        q_BHQE = self.q_proj(asking_BQD).view(B, -1, s.heads, s.head_width).transpose(1, 2).contiguous()
        weight = torch.cat((self.k_proj.weight, self.v_proj.weight))  # one GEMM instead of two
        kv_BT2KE = F.linear(x_BTD, weight).view(B, T, 2, s.kv_heads, s.head_width)
        k_BKSE, v_BKSE = kv_BT2KE.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        q_BHQE = rotate(self.q_norm(q_BHQE), view.asking)
        k_BKSE = rotate(self.k_norm(k_BKSE), view.seen)
        if cache is not None:
            k_BKSE, v_BKSE = cache.append(k_BKSE, v_BKSE)
        out_BHQE = attend(q_BHQE, k_BKSE, v_BKSE, view.bias)
        return self.o_proj(out_BHQE.transpose(1, 2).flatten(2))


def attend(q_BHQE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention. `bias` is added to the scores, -inf where a position may not look; None means causal.

    On CPU in bfloat16, at the lengths used here, PyTorch's fused kernel takes 4 to 8 times as long as the two products written out
    (128 rows x 64 positions, 4 heads x 32: 62 ms against 12 ms forward and backward, torch 2.13), so there they are written out.
    """
    heads, kv_heads, Q, S = q_BHQE.shape[1], k_BKSE.shape[1], q_BHQE.shape[2], k_BKSE.shape[2]
    if q_BHQE.device.type != "cpu" or q_BHQE.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q_BHQE, k_BKSE, v_BKSE, attn_mask=bias, is_causal=bias is None and Q > 1, enable_gqa=heads != kv_heads)
    if heads != kv_heads:
        k_BKSE, v_BKSE = k_BKSE.repeat_interleave(heads // kv_heads, 1), v_BKSE.repeat_interleave(heads // kv_heads, 1)
    if bias is None:
        bias = as_bias(torch.ones(Q, S, dtype=torch.bool).tril(S - Q), q_BHQE.dtype)
    score_BHQS = (q_BHQE * q_BHQE.shape[-1] ** -0.5) @ k_BKSE.transpose(-1, -2)
    return (score_BHQS + bias).softmax(-1) @ v_BKSE


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` is True, -inf elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


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
        self.mlp = Experts([MLP(shape) for _ in range(shape.experts)], shape.picked, shape.width) if shape.experts else MLP(shape)
        self.input_layernorm = RMSNorm(shape.width, shape.epsilon)
        self.post_attention_layernorm = RMSNorm(shape.width, shape.epsilon)

    def forward(self, x: Tensor, view: View, cache: "LayerCache | None") -> Tensor:
        heard = self.self_attn(self.input_layernorm(x), view, cache)
        x = (x if view.at is None else take(x, view.at)) + heard
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    """The blocks between token ids and hidden states; named as Hugging Face names it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.epsilon)


class Qwen3(nn.Module):
    """Token ids in, final hidden states out; `logits` turns chosen hidden states into logits with the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Stack(shape)

    def forward(self, token_BT: Tensor, position_BT: Tensor, mask: Tensor | None = None, cache: "Cache | None" = None, at_BQ: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, D), or (B, Q, D) at the positions `at_BQ` alone, which spares the last block its work everywhere else.

        `mask` (B, 1, T, S) is True where attention may look; None is plain causal attention with nothing cached yet.
        """
        x = self.model.embed_tokens(token_BT)
        angles = rotation_at(position_BT, self.shape.head_width, self.shape.rope_theta, x.dtype)
        view = View(None if mask is None else as_bias(mask, x.dtype), angles, angles)
        last = view if at_BQ is None else view.only(at_BQ)
        for i, block in enumerate(self.model.layers):
            x = block(x, last if i == self.shape.layers - 1 else view, cache.layers[i] if cache is not None else None)
        return self.model.norm(x)

    def experts(self) -> list[Experts]:
        """The sparse feed-forward layers, first block first; none in a dense model."""
        return [block.mlp for block in self.model.layers if isinstance(block.mlp, Experts)]  # type: ignore[union-attr]

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
    """Cosine and signed sine (B, 1, T, E) of the rotary angles (Su et al. 2021), halves as in Hugging Face's layout."""
    power = torch.arange(0, head_width, 2, dtype=torch.float32, device=position_BT.device) / head_width
    angle = (position_BT[..., None].float() * theta**-power)[:, None]
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x_BHTE: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    return x_BHTE * cos + x_BHTE.roll(x_BHTE.shape[-1] // 2, -1) * sin


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
            its.key, its.value = mine.key.index_select(0, row_N), mine.value.index_select(0, row_N)
        return chosen
