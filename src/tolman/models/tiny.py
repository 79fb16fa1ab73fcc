"""A small decoder-only transformer trained from scratch, with the architecture of Qwen3 and the words of the corpus as its vocabulary.

Shapes: B rows, T positions, S positions including cached ones, V vocabulary, N chosen positions.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call

from tolman.core.component import Added, Component, Operational
from tolman.core.cost import Cost, Meter
from tolman.core.data import Corpus, Document, Generation, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import Batch, Example
from tolman.core.seeds import derive
from tolman.models._decode import Decoder, Plain
from tolman.models._experts import balance
from tolman.models._qwen3 import Cache, Qwen3, Shape
from tolman.models._sampling import Draws, go_on
from tolman.models._words import DOCUMENT, PAD, Words


class Tiny(Component):
    """A decoder-only transformer (Qwen3's architecture) trained from scratch on the corpus, word by word."""

    layers: int = Field(default=2, ge=1)
    """Number of transformer blocks."""
    width: int = Field(default=128, ge=8)
    """Width of the residual stream."""
    heads: int = Field(default=4, ge=1)
    """Number of query heads."""
    kv_heads: int = Field(default=4, ge=1)
    """Number of key-value heads; `heads` must be a multiple of it."""
    head_width: int = Field(default=64, ge=2, multiple_of=2)
    """Width of each head. QK-norm caps attention logits at its square root (times learned gains). Four heads of 64, each with its own keys, match entities in context
    sooner than two of 128, four of 32 or four that share two keys (LOG.md)."""
    hidden: int = Field(default=384, ge=8)
    """Hidden width of the SwiGLU feed-forward layers; with experts, of all those together that a token goes through, so that active parameters stay the same."""
    experts: int = Added(0, ge=0)
    """Number of experts of each feed-forward layer, as in Qwen3-MoE; 0 is a dense layer."""
    experts_per_token: int = Added(2, ge=1)
    """How many of the experts a token goes through, where there are any."""
    balance: float = Added(0.01, ge=0)
    """Weight of the load-balancing loss of the experts' routers in training (Fedus et al. 2022: 0.01)."""
    rope_base: float = Added(10_000.0, gt=1)
    """Base of the rotary positions' wavelengths (Su et al. 2021: 10,000). At 100 all of a head's dimensions tell near places apart, and in-context use begins in every
    seed tried (LOG.md), so the scales take that; it is no longer than the contexts here need."""
    attention: Literal["causal", "bidirectional"] = "causal"
    """Where a token may look: at what stands before it, or everywhere; the latter is for masked training, and such a model answers by filling blanks."""
    context_tokens: int = Field(default=512, ge=16)
    """Longest input."""
    device: str = Operational("cpu")
    """Where to run: cpu, cuda, cuda:1, mps."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"rope_base": 100.0},
        "small": {"rope_base": 100.0, "layers": 3},
        "paper": {"rope_base": 100.0, "layers": 8, "width": 448, "heads": 8, "kv_heads": 8, "hidden": 1216},
    }

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads = {self.heads} must be a multiple of kv_heads = {self.kv_heads}")
        if self.experts and (self.experts < self.experts_per_token or self.hidden % self.experts_per_token):
            raise ValueError(f"experts_per_token = {self.experts_per_token} must be at most experts = {self.experts} and divide hidden = {self.hidden}")
        return self

    def parameter_count(self, vocabulary: int = 1000, *, active: bool = False) -> int:
        """Weights of the network for a vocabulary of that many words; `active`: those that one token goes through."""
        head = self.head_width
        hidden = self.hidden if active or not self.experts else self.hidden // self.experts_per_token * self.experts
        block = self.width * (head * (2 * self.heads + 2 * self.kv_heads) + 3 * hidden + self.experts) + 2 * self.width + 2 * head
        return self.layers * block + (vocabulary + 1) * self.width

    def activation_bytes_per_token(self) -> int:
        """Rough memory of the activations that training keeps, per token of a batch (bfloat16, measured: benchmarks/train_tiny.py)."""
        return self.layers * (60 * self.width + 12 * self.hidden + 8 * self.heads * 128)

    def create(self, corpus: Corpus, *, seed: int) -> "TinyModel":
        """A model with random weights and the words of `corpus` (its questions' too)."""
        texts = [d.text for d in corpus.documents]
        asked = [t for q in corpus.questions for t in (q.prompt, *q.answers, *q.choices)]
        words = Words.of([*texts, *asked, *(c for kind in corpus.kinds.values() for c in kind.candidates)])
        model = TinyModel(self, words)
        model.network.initialise(torch.Generator().manual_seed(derive(seed, "tiny", "weights")))
        model.network.to(model.device)
        return model

    def load(self, folder: Path) -> "TinyModel":
        """The model that `TinyModel.save` wrote. Raises UserError naming the file that is missing or does not fit."""
        try:
            weights = load_file(folder / "model.safetensors")
        except Exception as error:  # safetensors raises its own bare error
            raise UserError(f"{folder / 'model.safetensors'} cannot be read: {error}") from error
        model = TinyModel(self, Words.read(folder / "tokenizer.json"))
        try:
            model.network.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{folder / 'model.safetensors'} does not fit {self.config()}: {str(error).splitlines()[-1].strip()}") from error
        model.network.to(model.device)
        return model


class TinyModel:
    """A live `Tiny`. Scores and generates in float32; trains in the precision of the caller's autocast-free `loss` (see `dtype`)."""

    trained_dtype = torch.bfloat16
    """Precision of the forward and backward pass in training. The weights themselves stay float32."""
    word_level = True
    """One token is one word, so an answer of n words takes n tokens."""

    def __init__(self, spec: Tiny, words: Words) -> None:
        self.spec, self.words = spec, words
        self.meter = Meter()
        self.context_tokens = spec.context_tokens
        self.device = torch.device(spec.device)
        self.causal = spec.attention == "causal"
        self.marks = {"mask": words.mask, "reversed": words.reversed, "line break": words.line_break}
        expert = spec.hidden // spec.experts_per_token if spec.experts else spec.hidden
        sizes = (spec.layers, spec.width, spec.heads, spec.kv_heads, spec.head_width, expert, spec.experts, spec.experts_per_token, spec.rope_base)
        self.shape = Shape(words.size, *sizes)
        with torch.device("meta"):  # no draws from the global random generator for weights that are set next
            network = Qwen3(self.shape)
        self.network = network.to_empty(device="cpu")

    # -- what it reads ---------------------------------------------------------------------------------------------------------

    def render(self, prompt: Prompt) -> str:
        """Documents, trace and question, one a line: the shape of the in-context sequences it was trained on."""
        return "\n".join((*prompt.documents, *prompt.thought, prompt.question))

    def examples(self, documents: Sequence[Document]) -> list[Example]:
        """Token ids and target weights of each document; a document ends with `<|document|>` if all of it is a target.

        What follows the last target cannot change a causal model's loss, so it is left out.
        """
        out = []
        encoded = self.words.encode_with_targets([d.text for d in documents], [d.targets for d in documents])
        for document, (token, weight) in zip(documents, encoded, strict=True):
            if document.targets is None:
                token, weight = np.append(token, self.words.document), np.append(weight, np.float32(1.0))
            end = int(weight.nonzero()[0].max(initial=0)) + 1
            if end > self.context_tokens:
                raise UserError(f"document {document.id!r} has {end} tokens, more than the model's context_tokens = {self.context_tokens}")
            if end > 1:
                out.append(Example(token[:end], weight[:end].astype(np.float32)))
        return out

    def continued(self, prompt: Prompt, ids: Sequence[int]) -> Example:
        """What it reads for `prompt` and then the tokens `ids`, weight 1 on these."""
        read = self.words.encode([self.render(prompt)])[0]
        return Example(np.append(read, np.asarray(ids, np.int64)), np.append(np.zeros(len(read), np.float32), np.ones(len(ids), np.float32)))

    def spelled(self, text: str, after: Prompt | None = None) -> tuple[int, ...]:
        """The tokens with which it writes `text` and ends it, whatever it stands behind."""
        assert self.words.line_break is not None, "every vocabulary has the line break"
        return (*self.words.encode([text])[0][1:].tolist(), self.words.line_break)

    # -- training --------------------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Weighted loss in nats: sum of weight x loss over the batch divided by the number of weighted tokens. A causal model predicts each token from those
        before it, a bidirectional one from where it stands (a mask, if training put one there).

        Forward and backward run in `trained_dtype` on a copy of the float32 weights. The last block and the logits
        are computed at weighted positions only (and at some of weight 0, where rows have fewer than the most).
        """
        loss_BQ, at_BQ = self._losses(batch, self.trained_dtype, passes=3)
        weight_BQ = torch.from_numpy(batch.weight).to(self.device).gather(1, at_BQ)
        imbalance = self.imbalance(torch.from_numpy(batch.segment > 0).to(self.device), at_BQ - int(self.causal))
        return (loss_BQ * weight_BQ).sum() / int(np.count_nonzero(batch.weight[:, int(self.causal) :])) + imbalance

    @torch.inference_mode()
    def logprobs(self, batch: Batch) -> np.ndarray:
        """Log-probability in nats (rows, row_tokens) of each token that has a weight, whatever the weight is, and 0 elsewhere; in float32."""
        loss_BQ, at_BQ = self._losses(batch, torch.float32, passes=1)
        nats_BT = torch.zeros(batch.token.shape, device=self.device).scatter(1, at_BQ, -loss_BQ).numpy(force=True)
        return np.where(batch.weight != 0, nats_BT, 0.0)

    def logits(self, batch: Batch) -> Tensor:
        """Logits (N, V), float32 and differentiable, of the tokens that have a weight, row by row."""
        logit_BQV, at_BQ = self._logits(batch, self.trained_dtype, passes=3 if torch.is_grad_enabled() else 1)
        return logit_BQV[torch.from_numpy(batch.weight).to(self.device).gather(1, at_BQ) != 0]

    def _losses(self, batch: Batch, dtype: torch.dtype, *, passes: int) -> tuple[Tensor, Tensor]:
        """Loss (B, Q) in nats of the tokens at (B, Q): all that have a weight, and some others where rows have fewer than the most."""
        logit_BQV, at_BQ = self._logits(batch, dtype, passes=passes)
        target_BT = torch.from_numpy(batch.target).to(self.device)
        return F.cross_entropy(logit_BQV.flatten(0, 1), target_BT.gather(1, at_BQ).flatten(), reduction="none").view(at_BQ.shape), at_BQ

    def _logits(self, batch: Batch, dtype: torch.dtype, *, passes: int) -> tuple[Tensor, Tensor]:
        """Logits (B, Q, V) of the tokens at (B, Q), float32."""
        ahead = int(self.causal)
        wanted_BT = batch.weight[:, ahead:] != 0
        most = -int(wanted_BT.sum(1).max()) // 8 * -8  # a multiple of 8: each new shape costs a bfloat16 GEMM 1.5 ms on CPU
        at_BQ = torch.from_numpy(np.argsort(~wanted_BT, axis=1, kind="stable")[:, :most]).to(self.device)
        token_BT, segment_BT = (torch.from_numpy(a).to(self.device) for a in (batch.token, batch.segment))
        weights = {name: p.to(dtype) for name, p in self.network.named_parameters()}
        inputs = (token_BT, positions(segment_BT), segment_mask(segment_BT, self.causal), None, at_BQ)
        hidden_BQD = functional_call(self.network, weights, inputs)
        logit_BQV = F.linear(hidden_BQD, weights["model.embed_tokens.weight"]).float()
        self._book(forward_flops(self.shape, token_BT.numel(), token_BT.shape[1], at_BQ.numel()), tokens=batch.tokens, passes=passes)
        return logit_BQV, at_BQ + ahead

    def imbalance(self, real_BT: Tensor, at_BQ: Tensor) -> Tensor | float:
        """What the last forward pass adds to the gradient so that its routers use all experts; its value is 0, so that losses compare with a dense model's."""
        if not (self.spec.experts and self.spec.balance):
            return 0.0
        counted = [real_BT] * (self.spec.layers - 1) + [real_BT.gather(1, at_BQ)]
        routed = [(e.routed, counts.flatten()) for e, counts in zip(self.network.experts(), counted, strict=True) if e.routed]
        loss = self.spec.balance * balance(routed)
        return loss - loss.detach()

    def matrices(self) -> list[torch.nn.Parameter]:
        """All weights of the blocks' linear maps."""
        return [p for name, p in self.network.named_parameters() if p.ndim == 2 and not name.startswith("model.embed")]

    # -- asking ----------------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability in nats of each continuation. The prompt is read once and its cache continued for every continuation."""
        out: list[list[float]] = [[] for _ in prompts]
        tails = [[ids[1:] for ids in self.words.encode(c)] if c else [] for c in continuations]
        lengths = [len(tail) for row in tails for tail in row]
        assert all(lengths), "a continuation has no tokens"
        for rows, token_BT in self._batches(prompts, room=max(lengths, default=0)):
            if not self.causal:
                for b, row in enumerate(rows):
                    out[row] = [self._fill(token_BT[b : b + 1], len(tail), tail)[1] for tail in tails[row]]
                continue
            last_BV, cache = self._read(token_BT)
            logprob_BV = last_BV.log_softmax(-1)
            for b, row in enumerate(rows):
                out[row] = [float(logprob_BV[b, tail[0]]) for tail in tails[row]]
            longer = [(b, i, tail) for b, row in enumerate(rows) for i, tail in enumerate(tails[row]) if len(tail) > 1]
            for length in sorted({len(tail) for _, _, tail in longer}):
                same = [item for item in longer if len(item[2]) == length]
                next_NT = torch.from_numpy(np.stack([tail for _, _, tail in same])).to(self.device)
                logit_NTV = self._go_on(next_NT[:, :-1], cache.select(torch.tensor([b for b, _, _ in same], device=self.device)), token_BT.shape[1])
                picked = logit_NTV.log_softmax(-1).gather(2, next_NT[:, 1:, None]).squeeze(2).sum(1)
                for (b, i, _), nats in zip(same, picked.tolist(), strict=True):
                    out[rows[b]][i] += nats
        return out

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """Texts up to a line break, the document's end or `max_tokens`. The prompt is read once for all its samples; finished rows leave the batch."""
        out: list[list[Generation]] = [[] for _ in prompts]
        stops = [self.words.document, self.words.pad, self.words.line_break]
        for rows, token_BT in self._batches(prompts, room=max_tokens):
            if not self.causal:
                assert samples == 1 and not temperature, "a bidirectional model fills blanks greedily: one sample, temperature 0"
                for b, row in enumerate(rows):
                    filled, nats = self._fill(token_BT[b : b + 1], max_tokens)
                    out[row] = [Generation(self.words.decode(filled), max_tokens, nats, True)]
                continue
            last_BV, cache = self._read(token_BT)
            owner_N = torch.arange(len(rows), device=self.device).repeat_interleave(samples)
            last_NV, cache = (last_BV, cache) if samples == 1 else (last_BV[owner_N], cache.select(owner_N))
            keys = [derive(seed, "tiny", self.render(prompts[row]), i) for row in rows for i in range(samples)] if temperature else []

            decoder = Decoder(self.network, cache, max_tokens) if Decoder.suits(self.network) else Plain(self.network, cache)
            found = go_on(last_NV, decoder, max_tokens=max_tokens, stops=stops, temperature=temperature, draws=Draws(keys) if temperature else None)
            self._book(sum(forward_flops(self.shape, n, seen, n) for n, seen in found.passes), tokens=sum(n for n, _ in found.passes))
            for i, (token_L, length, nats, ended) in enumerate(zip(*map(np.ndarray.tolist, found[:4]), strict=True)):
                ids = token_L[:length]
                text = self.words.decode(ids[:-1] if ended else ids)
                out[rows[i // samples]].append(Generation(text, length, nats, ended, ids=tuple(ids)))
        return out

    def _batches(self, prompts: Sequence[Prompt], room: int = 0, batch_tokens: int = 16_384) -> Iterator[tuple[list[int], Tensor]]:
        """Indices of prompts with equally many tokens, and those tokens (B, T): no padding anywhere. Raises UserError for one that is too long."""
        encoded = self.words.encode([self.render(p) for p in prompts])
        by_length: dict[int, list[int]] = {}
        for i, ids in enumerate(encoded):
            if len(ids) + room > self.context_tokens:
                raise UserError(
                    f"a prompt of {len(ids)} tokens and an answer of up to {room} do not fit into the model's context_tokens = {self.context_tokens}; "
                    "put fewer documents in context or raise model.context_tokens"
                )
            by_length.setdefault(len(ids), []).append(i)
        for length, rows in sorted(by_length.items()):
            size = max(1, batch_tokens // length)
            for at in range(0, len(rows), size):
                chunk = rows[at : at + size]
                yield chunk, torch.from_numpy(np.stack([encoded[i] for i in chunk])).to(self.device)

    def _read(self, token_BT: Tensor) -> tuple[Tensor, Cache]:
        """Logits (B, V) after each prompt, and the cache to go on from."""
        B, T = token_BT.shape
        cache = Cache(self.spec.layers)
        last_B1 = torch.full((B, 1), T - 1, device=self.device)
        hidden_B1D = self.network(token_BT, torch.arange(T, device=self.device).expand(B, T), None, cache, last_B1)
        self._book(forward_flops(self.shape, B * T, T, B), tokens=B * T)
        return self.network.logits(hidden_B1D[:, 0]), cache

    def _fill(self, token_1T: Tensor, blanks: int, given: Sequence[int] | np.ndarray | None = None) -> tuple[list[int], float]:
        """The tokens of as many `blanks` after a prompt, filled from left to right (with `given`, these), and their log-probability in nats."""
        filled: list[int] = []
        nats = 0.0
        for i in range(blanks):
            tail = torch.tensor([[*filled, *[self.words.mask] * (blanks - i)]], device=self.device)
            input_1T = torch.cat((token_1T, tail), dim=1)
            T = input_1T.shape[1]
            everywhere = torch.ones(1, 1, T, T, dtype=torch.bool, device=self.device)
            at = torch.full((1, 1), T - blanks + i, device=self.device)
            hidden_11D = self.network(input_1T, torch.arange(T, device=self.device)[None], everywhere, None, at)
            self._book(forward_flops(self.shape, T, T, 1), tokens=T)
            logprob_V = self.network.logits(hidden_11D[:, 0])[0].log_softmax(-1)
            filled.append(int(logprob_V.argmax()) if given is None else int(given[i]))
            nats += float(logprob_V[filled[-1]])
        return filled, nats

    def _go_on(self, token_NT: Tensor, cache: Cache, past: int) -> Tensor:
        """Logits (N, T, V) after each of `token_NT`, which follow `past` cached tokens."""
        N, T = token_NT.shape
        mask = torch.ones(T, past + T, dtype=torch.bool, device=self.device).tril(past)
        hidden = self.network(token_NT, torch.arange(past, past + T, device=self.device).expand(N, T), mask, cache)
        self._book(forward_flops(self.shape, N * T, past + T, N * T), tokens=N * T)
        return self.network.logits(hidden)

    # -- price and storage -----------------------------------------------------------------------------------------------------

    def _book(self, flops: float, *, tokens: int, passes: int = 1) -> None:
        """Book `tokens` tokens and `flops`, those executed, padding included; what the experts have computed comes on top. `passes` is 3 in training: the backward
        pass does twice the forward's work."""
        for experts in self.network.experts():
            flops += 6.0 * self.shape.width * self.shape.hidden * experts.rows
            experts.rows = 0
        self.meter.add(Cost(tokens=tokens, flops=passes * flops))

    def save(self, folder: Path) -> None:
        """A directory that `transformers.AutoModelForCausalLM` and `AutoTokenizer` load as Qwen3 or Qwen3-MoE (and refuse for a bidirectional model, which is none)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().contiguous().cpu() for name, p in self.network.named_parameters()}, folder / "model.safetensors", {"format": "pt"})
        self.words.tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps(self.hf_config(), indent=1) + "\n")
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "bos_token": DOCUMENT, "eos_token": DOCUMENT}, indent=1) + "\n"
        )

    def hf_config(self) -> dict[str, Any]:
        s = self.shape
        name, kind = ("Qwen3MoeForCausalLM", "qwen3_moe") if s.experts else ("Qwen3ForCausalLM", "qwen3")
        sparse = {
            "num_experts": s.experts, "num_experts_per_tok": s.picked, "moe_intermediate_size": s.hidden, "norm_topk_prob": s.picked > 1,
            "router_aux_loss_coef": self.spec.balance,
        }  # fmt: skip
        return {
            **({"architectures": [name], "model_type": kind} if self.causal else {"model_type": "tolman-bidirectional"}),
            **(sparse if s.experts else {}), "vocab_size": s.vocabulary, "hidden_size": s.width,
            "intermediate_size": s.hidden, "num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads,
            "head_dim": s.head_width, "hidden_act": "silu", "max_position_embeddings": self.context_tokens, "rms_norm_eps": s.epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": s.rope_theta}, "attention_bias": False, "tie_word_embeddings": True,
            "use_sliding_window": False, "bos_token_id": self.words.document, "eos_token_id": self.words.document, "pad_token_id": self.words.pad,
            "dtype": "float32",
        }  # fmt: skip


def forward_flops(shape: Shape, positions: int, seen: int, asked: int) -> float:
    """FLOPs of the matrix products of a forward pass, 2 per multiply-add: each of `positions` is compared with `seen` positions; the last block's queries
    and feed-forward layer, and the logits, are computed at `asked` positions only. What experts compute comes on top.

    Equal to `torch.utils.flop_counter`, which likewise counts masked pairs and leaves out norms and element-wise work.
    """
    query, key_value = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    keys = shape.width * 2 * key_value
    feed = shape.experts or 3 * shape.hidden  # with experts, every token meets the router alone
    rest = shape.width * (2 * query + feed) + 2 * seen * query
    return 2.0 * (shape.layers * positions * keys + ((shape.layers - 1) * positions + asked) * rest + asked * shape.width * shape.vocabulary)


def positions(segment_BT: Tensor) -> Tensor:
    """Position of each token within its segment."""
    index_T = torch.arange(segment_BT.shape[1], device=segment_BT.device).expand_as(segment_BT)
    begins = F.pad(segment_BT[:, 1:] != segment_BT[:, :-1], (1, 0), value=True)
    return index_T - torch.where(begins, index_T, 0).cummax(1).values


def segment_mask(segment_BT: Tensor, causal: bool = True) -> Tensor:
    """(B, 1, T, T): True where a token may look: at earlier tokens of its own segment, and itself; or at all of its segment."""
    T = segment_BT.shape[1]
    same = segment_BT[:, :, None] == segment_BT[:, None, :]
    if not causal:
        return same[:, None]
    return (same & torch.ones(T, T, dtype=torch.bool, device=segment_BT.device).tril())[:, None]
