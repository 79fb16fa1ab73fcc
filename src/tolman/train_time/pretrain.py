"""Training from scratch (or on): Muon for the matrices, AdamW for the rest; by next-token prediction, or one of its rivals.

Measured on the reversal world (LOG.md): Muon reaches recall of all facts in about a third of AdamW's time.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.packing import Example, Stream, pack
from tolman.core.protocols import Checkpoints, TrainableModel, Watch
from tolman.core.seeds import rng
from tolman.train_time._copying import LONGEST, Copying, words_of
from tolman.train_time._muon import Muon
from tolman.train_time._objectives import backwards, masked, masked_copies
from tolman.train_time._parallel import Team

Objective = Literal["next_token", "masked", "masked_copy", "reversed_tokens", "reversed_names", "reversed_names_marked"]


class Pretrain(Component):
    """Training on the corpus's documents: Muon on matrices, AdamW on the rest, warm-up, linear decay to zero."""

    objective: Objective = "next_token"
    """How experiences are learned (exercises always by their next tokens). `next_token`: the document's targets from what stands before them. `masked`: masked
    tokens, at a rate uniform on [0, 1], from both sides; for a bidirectional model. `masked_copy`: a masked copy before each document, from which it is to be
    restored. `reversed_*`: each document also backwards, token by token, or with names (runs of capitalised words) kept whole, or these after a mark."""
    masks: Literal["all", "targets"] = "all"
    """What may be masked: every token, or only a document's targets, so that what they are stated of is never predicted (a control)."""

    steps: int = Field(default=1000, ge=1)
    """Optimiser steps."""
    batch_tokens: int = Field(default=2048, ge=64)
    """Tokens of documents in one step."""
    exercise_share: float = Field(default=0.65, ge=0, le=1)
    """Share of each batch's tokens that come from exercises (in-context sequences), where the corpus has any."""
    copying_share: float = Added(0.0, ge=0, lt=1)
    """Share of each batch's tokens that are random words to be copied from earlier in the sequence (`_copying`): what every use of the context rests on."""
    matrix_lr: float = Field(default=0.01, gt=0)
    """Peak learning rate of Muon. The scales take .006, with which in-context use begins sooner than with .01 or .004 (LOG.md)."""
    lr: float = Field(default=0.01, gt=0)
    """Peak learning rate of AdamW, for embeddings and gains."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of both optimisers."""
    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps over which the learning rates rise from zero."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, at the end, over which they fall to zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"matrix_lr": 0.006},
        "small": {"matrix_lr": 0.006, "steps": 1600},
        "paper": {"matrix_lr": 0.006, "steps": 20_000, "batch_tokens": 8192},
    }
    example: ClassVar[dict[str, Any]] = {"steps": 24, "batch_tokens": 256}

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. A run that goes on from a checkpoint ends with the same weights to the bit as one never interrupted."""
        pools = {role: model.examples(self.documents(corpus, role)) for role in ("experience", "exercise")}
        if (self.objective == "masked") == model.causal:
            raise UserError("objective = masked and a bidirectional model need each other: set model.attention=bidirectional, or another train_time.objective")
        if self.copying_share and not model.causal:
            raise UserError("copying_share teaches to look back, and a bidirectional model sees what it is to copy: set train_time.copying_share=0")
        streams, share = self.streams(model, pools, seed)
        longest = max(len(e) for pool in pools.values() for e in pool)
        row_tokens = max(LONGEST if self.copying_share else 64, 2 * longest if self.objective == "masked_copy" else longest)

        matrices = model.matrices()
        chosen = {id(p) for p in matrices}
        others = [p for p in model.network.parameters() if id(p) not in chosen]
        optimizers = [
            Muon(matrices, lr=self.matrix_lr, weight_decay=self.weight_decay),
            torch.optim.AdamW(others, lr=self.lr, weight_decay=self.weight_decay, betas=(0.9, 0.95), fused=True),
        ]
        peak = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]

        begin, team = 0, Team(model)
        if (state := checkpoints.load()) is not None:
            begin = state["step"]
            model.network.load_state_dict(state["network"])
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            for role, stream in streams.items():
                stream.state = state["streams"][role]

        for step in range(begin, self.steps):
            taken = {role: list(s.take(int(self.batch_tokens * share[role]))) for role, s in streams.items()}
            shown = [self.disguised(examples, role, model, rng(seed, "pretrain", "masks", role, step)) for role, examples in taken.items()]
            batch = pack(list(chain.from_iterable(shown)), row_tokens)
            scale = self.schedule(step)
            for group, lr in zip((g for o in optimizers for g in o.param_groups), peak, strict=True):
                group["lr"] = lr * scale
            part, share_of_loss = team.part(batch)
            loss = share_of_loss * model.loss(part)
            loss.backward()
            whole_loss = team.add_up(loss)
            norm = float(torch.nn.utils.clip_grad_norm_(model.network.parameters(), self.clip))
            if not math.isfinite(norm):
                raise UserError(f"the loss became {whole_loss:g} at step {step}: lower train_time.lr or train_time.matrix_lr")
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            watch.step(step + 1, self.steps, loss=whole_loss, norm=norm)
            if checkpoints.due():
                checkpoints.save(
                    {
                        "step": step + 1,
                        "network": model.network.state_dict(),
                        "optimizers": [o.state_dict() for o in optimizers],
                        "streams": {role: s.state for role, s in streams.items()},
                    }
                )

    def streams(self, model: TrainableModel, pools: Mapping[str, Sequence[Example]], seed: int) -> tuple[dict[str, Stream | Copying], dict[str, float]]:
        """The pools (and random words to copy) in endless order, and which share of a batch's tokens comes from each."""
        share = {"experience": 1 - self.exercise_share, "exercise": self.exercise_share}
        streams: dict[str, Stream | Copying] = {role: Stream(pool, seed, role) for role, pool in pools.items() if pool and share[role] > 0}
        if not streams:
            why = ", for exercise_share = 1 and the corpus has no exercises" if pools["experience"] else ""
            raise UserError(f"there is nothing to train on: no document has a target{why}")
        whole = sum(share[role] for role in streams)
        if self.copying_share:
            streams["copying"] = Copying(words_of(pools.values(), model.marks.values()), model.marks["line break"], seed)
            return streams, {r: self.copying_share if r == "copying" else (1 - self.copying_share) * share[r] / whole for r in streams}
        return streams, {role: share[role] / whole for role in streams}

    def documents(self, corpus: Corpus, role: str) -> list[Document]:
        """What to learn from; experiences also backwards if the objective says so."""
        plain = [d for d in corpus.documents if d.role == role]
        if role == "exercise" or not self.objective.startswith("reversed"):
            return plain
        mark = "<|reversed|>" if self.objective.endswith("marked") else ""
        return [*plain, *backwards(plain, whole_names=self.objective != "reversed_tokens", mark=mark)]

    def disguised(self, examples: list[Example], role: str, model: TrainableModel, draw: np.random.Generator) -> list[Example]:
        """The examples of one step as the objective shows them. Other tokens are masked each time; of exercises only targets."""
        if self.objective == "masked":
            return masked(examples, model.marks, draw, everywhere=role == "experience" and self.masks == "all")
        if self.objective == "masked_copy" and role == "experience":
            return masked_copies(examples, model.marks, draw, everywhere=self.masks == "all")
        return examples

    def train_tokens(self) -> int:
        """Tokens that the training will read, for estimates of time."""
        return self.steps * self.batch_tokens

    def schedule(self, step: int) -> float:
        """Factor on the learning rates at `step`: linear warm-up, a plateau, linear decay to zero."""
        up = min(1.0, (step + 1) / max(1, round(self.warmup * self.steps)))
        down = min(1.0, (self.steps - step) / max(1, round(self.decay * self.steps)))
        return min(up, down)
