"""Training from scratch (or on) by next-token prediction: Muon for the matrices, AdamW for the rest.

Measured on the reversal world (LOG.md): Muon reaches recall of all facts in about a third of AdamW's time.
"""

import math
from itertools import chain
from typing import Any, ClassVar

import torch
from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.packing import Stream, pack
from tolman.core.protocols import Checkpoints, TrainableModel, Watch
from tolman.train_time._muon import Muon


class Pretrain(Component):
    """Next-token training on the corpus's documents: Muon on matrices, AdamW on the rest, warm-up, linear decay to zero."""

    steps: int = Field(1000, ge=1)
    """Optimiser steps."""
    batch_tokens: int = Field(2048, ge=64)
    """Tokens of documents in one step."""
    exercise_share: float = Field(0.65, ge=0, le=1)
    """Share of each batch's tokens that come from exercises (in-context sequences), where the corpus has any."""
    matrix_lr: float = Field(0.01, gt=0)
    """Peak learning rate of Muon."""
    lr: float = Field(0.01, gt=0)
    """Peak learning rate of AdamW, for embeddings and gains."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of both optimisers."""
    warmup: float = Field(0.02, ge=0, lt=1)
    """Share of the steps over which the learning rates rise from zero."""
    decay: float = Field(0.3, ge=0, le=1)
    """Share of the steps, at the end, over which they fall to zero."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"steps": 1400},
        "paper": {"steps": 20_000, "batch_tokens": 8192},
    }
    example: ClassVar[dict[str, Any]] = {"steps": 24, "batch_tokens": 256}

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. A run that goes on from a checkpoint ends with the same weights to the bit as one never interrupted."""
        pools = {role: model.examples([d for d in corpus.documents if d.role == role]) for role in ("experience", "exercise")}
        share = {"experience": 1 - self.exercise_share, "exercise": self.exercise_share}
        streams = {role: Stream(pool, seed, role) for role, pool in pools.items() if pool and share[role] > 0}
        if not streams:
            why = ", for exercise_share = 1 and the corpus has no exercises" if pools["experience"] else ""
            raise UserError(f"there is nothing to train on: no document has a target{why}")
        whole = sum(share[role] for role in streams)
        row_tokens = max(64, *(len(e) for pool in pools.values() for e in pool))

        matrices = model.matrices()
        chosen = {id(p) for p in matrices}
        others = [p for p in model.network.parameters() if id(p) not in chosen]
        optimizers = [
            Muon(matrices, lr=self.matrix_lr, weight_decay=self.weight_decay),
            torch.optim.AdamW(others, lr=self.lr, weight_decay=self.weight_decay, betas=(0.9, 0.95), fused=True),
        ]
        peak = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]

        begin = 0
        if (state := checkpoints.load()) is not None:
            begin = state["step"]
            model.network.load_state_dict(state["network"])
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            for role, stream in streams.items():
                stream.state = state["streams"][role]

        for step in range(begin, self.steps):
            batch = pack(list(chain.from_iterable(s.take(int(self.batch_tokens * share[role] / whole)) for role, s in streams.items())), row_tokens)
            scale = self.schedule(step)
            for group, lr in zip((g for o in optimizers for g in o.param_groups), peak, strict=True):
                group["lr"] = lr * scale
            loss = model.loss(batch)
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(model.network.parameters(), self.clip))
            if not math.isfinite(norm):
                raise UserError(f"the loss became {float(loss.detach()):g} at step {step}: lower train_time.lr or train_time.matrix_lr")
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            watch.step(step + 1, self.steps, loss=float(loss.detach()), norm=norm)
            if checkpoints.due():
                checkpoints.save(
                    {
                        "step": step + 1,
                        "network": model.network.state_dict(),
                        "optimizers": [o.state_dict() for o in optimizers],
                        "streams": {role: s.state for role, s in streams.items()},
                    }
                )

    def train_tokens(self) -> int:
        """Tokens that the training will read, for estimates of time."""
        return self.steps * self.batch_tokens

    def schedule(self, step: int) -> float:
        """Factor on the learning rates at `step`: linear warm-up, a plateau, linear decay to zero."""
        up = min(1.0, (step + 1) / max(1, round(self.warmup * self.steps)))
        down = min(1.0, (self.steps - step) / max(1, round(self.decay * self.steps)))
        return min(up, down)
