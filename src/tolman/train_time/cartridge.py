"""A cartridge: keys and values before every text, learned so that the model answers with them as it does with the documents in context. Pretrained models only.

Eyuboglu et al. 2025 (arXiv 2506.06266), as PEFT's Cartridge: the weights stay as they are; a cache of `tokens` positions begins as that of the first tokens of the documents,
and is trained by context distillation on self-study, KL(teacher || student) on each token of the teacher's answers. The first position stays as it is (it draws attention).
"""

import math
from typing import Any, ClassVar

import torch
from pydantic import Field

from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.packing import Stream
from tolman.core.protocols import Checkpoints, Watch
from tolman.train_time._lora import Masters, peft_for
from tolman.train_time._self_study import SelfStudy, answers, divergence, from_dict, lessons, to_dict
from tolman.train_time.finetune import standing_in


class Cartridge(SelfStudy):
    """Self-study with the documents in context, distilled into a learned cache: AdamW, warm-up, linear decay to zero."""

    tokens: int = Field(default=128, ge=2)
    """Positions of the cartridge. Every question reads them, as it would read so many tokens of documents."""
    steps: int = Field(default=200, ge=1)
    """Optimiser steps."""
    batch_tokens: int = Field(default=512, ge=16)
    """Tokens that the student reads in one step; the teacher reads them, too, and the documents."""
    lr: float = Field(default=0.02, gt=0)
    """Peak learning rate (the paper: 0.02)."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"steps": 600, "each": 4}, "paper": {"steps": 2000, "each": 16, "tokens": 2048}}
    example: ClassVar[dict[str, Any]] = {"tokens": 16, "documents": None, "each": 1, "max_tokens": 3, "steps": 15, "batch_tokens": 96, "lr": 0.05}
    example_model: ClassVar[dict[str, Any]] = {"is": "models/hf", "path": "random", "dtype": "float32"}

    def train(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Put a cartridge before `model` and train it. A run that goes on from a checkpoint ends with the same one to the bit; a gradient that is no number stops it,
        with the state before that step saved. Raises UserError where there is nothing to learn from."""
        peft = peft_for(model.network, "train_time/cartridge", "take train_time/distil")
        state = checkpoints.load()
        if state is None:
            with model.meter.phase("generate"):
                studies, about = self.studied(model, corpus, seed=seed)
        else:
            studies, about = [from_dict(s) for s in state["studies"]], state["about"]
        kept = {"studies": [to_dict(s) for s in studies], "about": about}
        watch.keep("distilled", about, kept["studies"])
        stream = Stream(lessons(model, corpus, studies), seed, "lessons")

        base = model.network
        model.network = self.inserted(peft, model, corpus)
        masters = Masters(list(model.network.parameters()))
        optimizer = torch.optim.AdamW(masters.masters, lr=self.lr, weight_decay=0.0, betas=(0.9, 0.98), fused=True)
        begin = 0
        if state is not None:
            begin, stream.state = state["step"], state["stream"]
            masters.load(state["masters"])
            optimizer.load_state_dict(state["optimizer"])

        def snapshot(step: int) -> dict[str, Any]:
            return kept | {"step": step, "stream": stream.state, "masters": masters.masters, "optimizer": optimizer.state_dict()}

        for step in range(begin, self.steps):
            started = snapshot(step)
            batch = list(stream.take(self.batch_tokens))
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self.schedule(step)
            with torch.no_grad(), standing_in(model, base):
                wanted_NV = answers(model, [lesson.taught for lesson in batch])  # type: ignore[attr-defined]
            loss = divergence(wanted_NV, answers(model, batch))
            loss.backward()
            masters.take_gradients()
            norm = float(torch.nn.utils.clip_grad_norm_(masters.masters, self.clip))
            if not math.isfinite(norm):
                checkpoints.save(started)
                raise UserError(f"the gradient became {norm:g} at step {step + 1}: lower train_time.lr; the state before that step is kept")
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            masters.put_back()
            watch.step(step + 1, self.steps, loss=float(loss.detach()), norm=norm)
            if checkpoints.due():
                checkpoints.save(snapshot(step + 1))

    @torch.no_grad()
    def inserted(self, peft: Any, model: Any, corpus: Corpus) -> Any:
        """The network behind a cartridge that holds what it computes for the first `tokens` tokens of the documents. Raises UserError where these have fewer."""
        text = "\n".join(d.text for d in corpus.experiences)
        (read,) = model.encode([model.template.document(text)])
        if len(read) < self.tokens:
            raise UserError(
                f"the documents have {len(read)} tokens, fewer than train_time.tokens = {self.tokens} of the cartridge: lower it, or put them in context"
            )
        ids = torch.tensor([read[: self.tokens]], device=model.device)
        cache = model.network(input_ids=ids, use_cache=True).past_key_values
        config = model.network.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = peft.CartridgeConfig(
            num_virtual_tokens=self.tokens, num_frozen_tokens=1, token_dim=width * config.num_attention_heads, task_type="CAUSAL_LM"
        )  # PEFT itself takes fewer heads for keys and values where there are fewer
        with torch.random.fork_rng(devices=[]):  # PEFT draws first values from the global generator; they are overwritten
            network = peft.get_peft_model(model.network, shape, autocast_adapter_dtype=False)
        network.prompt_encoder.to(model.network.dtype)
        peft.initialize_kv_prefix_from_past_key_values(network, past_key_values=cache, num_virtual_tokens=self.tokens)
        return network

    def train_tokens(self) -> int:
        """Tokens that the student reads, for estimates of time."""
        return self.steps * self.batch_tokens

    def schedule(self, step: int) -> float:
        """Factor on the learning rate at `step`: linear warm-up, then linear decay to zero."""
        rising = max(1, round(self.warmup * self.steps))
        return min((step + 1) / rising, (self.steps - step) / max(1, self.steps - rising))
