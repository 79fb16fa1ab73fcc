"""Context distillation: the model with documents in context teaches itself without them, token by token.

Askell et al. 2021 (arXiv 2112.00861) and Snell et al. 2022 (arXiv 2209.15189): the student takes on the teacher's whole distribution, KL(teacher || student) on each
token of the teacher's answer. What the answers are to (`prompts`) is recorded with each of them.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from tolman.core.component import Nested
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.packing import Stream
from tolman.core.protocols import Checkpoints, Watch
from tolman.train_time._lora import Masters, with_lora
from tolman.train_time._phases import Phase, restore, weights
from tolman.train_time._self_study import SelfStudy, answers, divergence, from_dict, lessons, to_dict
from tolman.train_time.finetune import before, standing_in


class Distil(SelfStudy):
    """Answer with the documents in context, learn to answer so without: AdamW, warm-up, linear decay to zero."""

    first: Nested = Field(default={"is": "train_time/untrained"})  # type: ignore[arg-type]
    """How the teacher is trained before, such as `train_time/pretrain` for a model from scratch. Methods that begin alike share this training."""
    weights: Literal["lora", "full"] = "lora"
    """What changes: low-rank adapters on every linear map, or all weights."""
    rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""
    scale: float = Field(default=2.0, gt=0)
    """What the adapters' product is multiplied with (alpha / rank)."""
    steps: int = Field(default=200, ge=1)
    """Optimiser steps."""
    batch_tokens: int = Field(default=512, ge=16)
    """Tokens that the student reads in one step; the teacher reads them, too, and the documents."""
    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate. For `full` a tenth or less of what adapters bear."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"steps": 600, "each": 4}, "paper": {"steps": 2000, "each": 16}}
    example: ClassVar[dict[str, Any]] = {
        "first": {"is": "train_time/pretrain", "steps": 12, "batch_tokens": 256}, "weights": "full", "documents": 2, "max_tokens": 3, "steps": 16,
        "batch_tokens": 96, "lr": 0.01,
    }  # fmt: skip

    def train(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. Raises UserError where there is nothing to learn from."""
        state = checkpoints.load()
        if state is None or state["phase"] == "first":
            phase = Phase("first", checkpoints, watch, state=state, before=0, total=self.total)
            self.first.train(model, corpus, seed=seed, checkpoints=phase, watch=phase)  # type: ignore[attr-defined]
        elif state["state"]["teacher"] is not None:
            restore(model, state["state"]["teacher"])
        teacher = weights(model) if getattr(type(self.first), "trains", True) else None
        self.learn(model, corpus, self.phase(checkpoints, watch, state), teacher, seed=seed)

    def go_on(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """The rest of `train`, on a model that `first` has trained."""
        self.learn(model, corpus, self.phase(checkpoints, watch, checkpoints.load()), None, seed=seed)

    def learn(self, model: Any, corpus: Corpus, phase: Phase, teacher: Mapping[str, torch.Tensor] | None, *, seed: int) -> None:
        """Distil. `teacher` (its weights) goes into the checkpoints, where the model given on going on will not be the teacher.

        A run that goes on from a checkpoint ends with the same weights to the bit; a gradient that is no number stops it, with the state before that step saved.
        """
        if hasattr(model.network, "peft_config"):
            raise UserError("distil needs a teacher without an adapter: train its first stage with train_time.first.weights=full")
        state = phase.load()
        if state is None:
            with model.meter.phase("generate"):
                studies, about = self.studied(model, corpus, seed=seed)
        else:
            studies, about = [from_dict(s) for s in state["studies"]], state["about"]
        kept = {"studies": [to_dict(s) for s in studies], "about": about, "teacher": teacher}
        phase.keep("distilled", about, kept["studies"])
        stream = Stream(lessons(model, corpus, studies), seed, "lessons")

        frozen = before(model, needed=self.weights == "full")
        if self.weights == "lora":
            model.network = with_lora(model.network, rank=self.rank, scale=self.scale, seed=seed)
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
            with torch.no_grad(), self.teaching(model, frozen):
                wanted_NV = answers(model, [lesson.taught for lesson in batch])  # type: ignore[attr-defined]
            loss = divergence(wanted_NV, answers(model, batch))
            loss.backward()
            masters.take_gradients()
            norm = float(torch.nn.utils.clip_grad_norm_(masters.masters, self.clip))
            if not math.isfinite(norm):
                phase.save(started)
                raise UserError(f"the gradient became {norm:g} at step {step + 1}: lower train_time.lr; the state before that step is kept")
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            masters.put_back()
            phase.step(step + 1, self.steps, loss=float(loss.detach()), norm=norm)
            if phase.due():
                phase.save(snapshot(step + 1))

    def teaching(self, model: Any, frozen: Any) -> AbstractContextManager[None]:
        """The model as its teacher for a while: with its first weights, or without its adapter."""
        return model.network.disable_adapter() if frozen is None else standing_in(model, frozen)

    @property
    def total(self) -> int:
        """Optimiser steps of both stages."""
        return getattr(self.first, "steps", 0) + self.steps

    def phase(self, checkpoints: Checkpoints, watch: Watch, state: Mapping[str, Any] | None) -> Phase:
        return Phase("distil", checkpoints, watch, state=state, before=getattr(self.first, "steps", 0), total=self.total)

    def train_tokens(self) -> int:
        """Tokens that both stages train on, for estimates of time."""
        return self.steps * self.batch_tokens + (self.first.train_tokens() if hasattr(self.first, "train_tokens") else 0)  # type: ignore[attr-defined]

    def schedule(self, step: int) -> float:
        """Factor on the learning rate at `step`: linear warm-up, then linear decay to zero."""
        rising = max(1, round(self.warmup * self.steps))
        return min((step + 1) / rising, (self.steps - step) / max(1, self.steps - rising))
