"""The plain PyTorch loop that `train_tiny.py` compares ours with, in the manner of nanoGPT, and the documents that all contenders train on."""

import os
from collections.abc import Iterator
from functools import cache
from itertools import chain
from time import perf_counter, process_time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tolman.core.data import Corpus, Prompt
from tolman.core.packing import Example, Stream
from tolman.datasets.reversals import Reversals
from tolman.models._qwen3 import Shape
from tolman.models.tiny import Tiny, TinyModel
from tolman.train_time.pretrain import Pretrain

WARM_STEPS = 10
"""Steps before the clock of the throughput starts."""


def now() -> float:
    """Seconds on the clock, or, with BENCHMARK_CLOCK=cpu, of this process's CPU time: what remains comparable where others use the machine too."""
    return process_time() if os.environ.get("BENCHMARK_CLOCK") == "cpu" else perf_counter()


@cache
def corpus() -> Corpus:
    return Reversals.at("quick").build(0)


def setting() -> tuple[Corpus, TinyModel, Pretrain]:
    """The documents, a fresh model and the training method: all defaults of scale quick."""
    return corpus(), Tiny.at("quick").create(corpus(), seed=0), Pretrain.at("quick")


def recall(model: TinyModel, corpus: Corpus) -> float:
    """The lower of the shares of trained facts recalled forward and backward, greedily, from the question alone."""
    shares = []
    for kind in ("trained_forward", "trained_reversed"):
        questions = corpus.asked([kind])
        written = model.generate([Prompt(q.prompt) for q in questions], max_tokens=1)
        shares.append(np.mean([w[0].text in q.answers for w, q in zip(written, questions, strict=True)]))
    return float(min(shares))


def steps_of_documents(corpus: Corpus, model: TinyModel, method: Pretrain) -> Iterator[list[Example]]:
    """What `Pretrain` takes at each step (seed 0), each document whole."""
    whole_documents: dict[int, Example] = {}
    streams: dict[str, Stream] = {}
    for role in ("experience", "exercise"):
        documents = [d for d in corpus.documents if d.role == role]
        trimmed = model.examples(documents)
        pairs = model.words.encode_with_targets([d.text for d in documents], [d.targets for d in documents])
        assert len(trimmed) == len(pairs), "a document has no target"
        whole_documents |= {id(t): Example(*pair) for t, pair in zip(trimmed, pairs, strict=True)}
        streams[role] = Stream(trimmed, 0, role)
    share = {"experience": 1 - method.exercise_share, "exercise": method.exercise_share}
    while True:
        taken = chain.from_iterable(s.take(int(method.batch_tokens * share[role])) for role, s in streams.items())
        yield [whole_documents[id(e)] for e in taken]


def tokens_of(documents: list[Example]) -> int:
    return sum(len(e) for e in documents)


class PlainBlock(nn.Module):
    """Parameter names as in `Qwen3ForCausalLM`."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.self_attn, self.mlp = nn.Module(), nn.Module()
        for name, size in (("q_proj", s.heads), ("k_proj", s.kv_heads), ("v_proj", s.kv_heads)):
            setattr(self.self_attn, name, nn.Linear(s.width, size * s.head_width, bias=False))
        self.self_attn.o_proj = nn.Linear(s.heads * s.head_width, s.width, bias=False)
        self.self_attn.q_norm, self.self_attn.k_norm = nn.RMSNorm(s.head_width, s.epsilon), nn.RMSNorm(s.head_width, s.epsilon)
        self.mlp.gate_proj, self.mlp.up_proj = nn.Linear(s.width, s.hidden, bias=False), nn.Linear(s.width, s.hidden, bias=False)
        self.mlp.down_proj = nn.Linear(s.hidden, s.width, bias=False)
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(s.width, s.epsilon), nn.RMSNorm(s.width, s.epsilon)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, _ = x.shape
        s, a, m = self.s, self.self_attn, self.mlp
        y = self.input_layernorm(x)
        q, k, v = (p(y).view(B, T, -1, s.head_width).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
        q, k = (z * cos + torch.cat((-z[..., s.head_width // 2 :], z[..., : s.head_width // 2]), -1) * sin for z in (a.q_norm(q), a.k_norm(k)))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.heads != s.kv_heads)
        x = x + a.o_proj(y.transpose(1, 2).reshape(B, T, -1))
        y = self.post_attention_layernorm(x)
        return x + m.down_proj(F.silu(m.gate_proj(y)) * m.up_proj(y))


class Plain(nn.Module):
    """Qwen3's architecture as one would first write it."""

    def __init__(self, s: Shape, longest: int) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(s.vocabulary, s.width)
        self.model.layers = nn.ModuleList(PlainBlock(s) for _ in range(s.layers))
        self.model.norm = nn.RMSNorm(s.width, s.epsilon)
        angle = torch.arange(longest)[:, None] * s.rope_theta ** -(torch.arange(0, s.head_width, 2) / s.head_width)
        self.cos, self.sin = torch.cat((angle, angle), -1).cos(), torch.cat((angle, angle), -1).sin()

    def forward(self, token: Tensor, target: Tensor) -> Tensor:
        """Sum of the loss over the targets (-1 elsewhere)."""
        x = self.model.embed_tokens(token)
        for block in self.model.layers:
            x = block(x, self.cos[: token.shape[1]], self.sin[: token.shape[1]])
        logits = F.linear(self.model.norm(x), self.model.embed_tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum")


def padded(documents: list[Example], cuts: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The documents, sorted by length, in `cuts` padded micro-batches of about equal size in positions: tokens, and the target after each (or -1)."""
    documents = sorted(documents, key=len)
    ends = np.searchsorted(np.cumsum([len(e) for e in documents]), np.arange(1, cuts) * tokens_of(documents) / cuts)
    if cuts > 1:
        ends[0] = sum(len(e) < 20 for e in documents)  # facts have at most 14 tokens
    for part in np.split(np.arange(len(documents)), np.unique(ends)):
        rows = [documents[i] for i in part]
        token = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        target = torch.full(token.shape, -1)
        for b, e in enumerate(rows):
            token[b, : len(e)] = torch.from_numpy(e.token)
            target[b, : len(e) - 1] = torch.from_numpy(np.where(e.weight[1:] > 0, e.token[1:], -1))
        yield token, target


class PlainLoop:
    """AdamW with warm-up and clipping, as nanoGPT's train.py; float32."""

    def __init__(self, lr: float, cuts: int) -> None:
        self.corpus, self.tiny, method = setting()
        self.network = Plain(self.tiny.shape, self.tiny.context_tokens)
        self.network.load_state_dict(self.tiny.network.state_dict())
        decayed = [p for p in self.network.parameters() if p.ndim == 2]
        others = [p for p in self.network.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.95), fused=True
        )
        self.lr, self.cuts, self.steps = lr, cuts, 0
        self.documents = steps_of_documents(self.corpus, self.tiny, method)

    def step(self, documents: list[Example]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * min(1.0, (self.steps + 1) / 20)
        total, count = 0.0, sum(int((e.weight > 0).sum()) for e in documents)
        for token, target in padded(documents, self.cuts):
            loss = self.network(token, target) / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return total

    def throughput(self, seconds: float) -> float:
        """Tokens per second."""
        for _ in range(WARM_STEPS):
            self.step(next(self.documents))
        began, tokens = now(), 0
        while now() - began < seconds:
            documents = next(self.documents)
            self.step(documents)
            tokens += tokens_of(documents)
        return tokens / (now() - began)

    def recall(self) -> float:
        self.tiny.network.load_state_dict(self.network.state_dict())
        return recall(self.tiny, self.corpus)
