"""Fine-tuning a model on the corpus's documents: low-rank adapters, all weights or the lesser directions of each map, and what is done against forgetting the rest.

Sentence splitting as in Lampinen et al. 2025 (arXiv 2505.00661).
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tolman.core.component import Added, Component
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.packing import Batch, Stream
from tolman.core.protocols import Checkpoints, TrainableModel, Watch
from tolman.train_time import _general
from tolman.train_time._lora import Masters, merged_osf, squared_shift, with_lora, with_osf
from tolman.train_time._parallel import Team
from tolman.train_time._texts import Split, pack_evenly, texts

ROW_TOKENS = 128
"""Rows of a batch are about this long: short documents share one, blind to each other, and little is spent on comparing them."""
KL_TOKENS = 128
"""Tokens of general text a step on which the model is compared with itself before training."""


class Finetune(Component):
    """AdamW on next tokens, warm-up, linear decay to zero; documents packed without cross-talk."""

    weights: Literal["lora", "full", "osf"] = "lora"
    """What changes: low-rank adapters on every linear map; all weights; or (`osf`, orthogonal subspace fine-tuning, Nayak et al. 2025, arXiv 2504.07097) each map at
    right angles to its strongest singular directions, by PEFT. Its decompositions take as long as some ten steps (SmolLM2-135M: 134 s on a busy core)."""
    rank: int = Field(default=16, ge=1)
    """Rank of the adapters."""
    scale: float = Field(default=2.0, gt=0)
    """What the adapters' product is multiplied with (alpha / rank)."""
    preserved: float = Added(0.9, gt=0, lt=1)
    """Share of the singular directions of each map, the strongest, that `osf` leaves as they are."""
    split: Split = "none"
    """What is one text: a document, each sentence for itself (`independent`), or each sentence after those before it, with the loss on the new one (`cumulative`)."""
    loss_on: Literal["all", "targets"] = "all"
    """All tokens of a text, or only the document's targets."""
    steps: int = Field(default=200, ge=1)
    """Optimiser steps."""
    batch_tokens: int = Field(default=1024, ge=16)
    """Tokens of texts in one step."""
    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate. For `full` a tenth or less of what adapters bear: 2e-5 to 5e-5."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (towards zero, not towards the base)."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of each batch's tokens that are general text, for a model that knew some."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the divergence KL(before || now) of next tokens of general text."""
    l2: float = Field(default=0.0, ge=0)
    """Weight of the squared distance of the weights from where they began."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {}, "small": {"steps": 600}, "paper": {"steps": 2000, "batch_tokens": 4096}}
    example: ClassVar[dict[str, Any]] = {"weights": "full", "steps": 24, "batch_tokens": 128, "lr": 0.01}

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. A run that goes on from a checkpoint ends with the same weights to the bit as one never interrupted.

        A loss that is no number stops it, with the state before that step saved.
        """
        streams, share = self.streams(model, corpus, seed)
        general = Stream(model.examples(_general.passages("replay")), seed, "kl") if self.kl else None
        if general is not None:
            streams["kl"] = general
        base = before(model, needed=self.kl > 0 and self.weights == "full")
        model.network = self.opened(model.network, seed)
        masters = Masters(list(model.network.parameters()))
        origin = [m.detach().clone() for m in masters.masters] if self.l2 and self.weights == "full" else []
        optimizer = torch.optim.AdamW(masters.masters, lr=self.lr, weight_decay=self.weight_decay, betas=(0.9, 0.98), fused=True)

        begin, team = 0, Team(model)
        if (state := checkpoints.load()) is not None:
            begin = state["step"]
            masters.load(state["masters"])
            optimizer.load_state_dict(state["optimizer"])
            for name, stream in streams.items():
                stream.state = state["streams"][name]

        def snapshot(step: int) -> dict[str, Any]:
            places = {name: s.state for name, s in streams.items()}
            return {"step": step, "masters": masters.masters, "optimizer": optimizer.state_dict(), "streams": places}

        for step in range(begin, self.steps):
            started = snapshot(step)
            batch = pack_evenly([e for name in share for e in streams[name].take(int(self.batch_tokens * share[name]))], ROW_TOKENS)
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self.schedule(step)
            part, share_of_loss = team.rows(batch)  # of a small corpus some of many processes have none
            loss = share_of_loss * model.loss(part) if share_of_loss else torch.zeros((), device=masters.masters[0].device)
            if share_of_loss:
                loss.backward()
            if general is not None:
                some, share_of_kl = team.rows(pack_evenly(list(general.take(KL_TOKENS)), ROW_TOKENS))
                if share_of_kl:
                    (self.kl * share_of_kl * self.divergence(model, some, base)).backward()
            whole_loss = team.add_up(loss)
            if self.l2 and self.weights != "full":
                (self.l2 * squared_shift(model.network)).backward()
            masters.take_gradients()
            for master, first in zip(masters.masters, origin, strict=False):
                master.grad.add_(master.detach() - first, alpha=2 * self.l2)  # type: ignore[union-attr]
            norm = float(torch.nn.utils.clip_grad_norm_(masters.masters, self.clip))
            if not math.isfinite(norm):
                checkpoints.save(started)
                raise UserError(
                    f"the loss became {whole_loss:g} (its gradient {norm:g}) at step {step + 1}: lower train_time.lr; the state before that step is kept"
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            masters.put_back()
            watch.step(step + 1, self.steps, loss=whole_loss, norm=norm)
            if checkpoints.due():
                checkpoints.save(snapshot(step + 1))
        if self.weights == "osf":
            model.network = merged_osf(model.network)

    def opened(self, network: Any, seed: int) -> Any:
        """`network` with what `weights` says that training may change."""
        if self.weights == "lora":
            return with_lora(network, rank=self.rank, scale=self.scale, seed=seed)
        return with_osf(network, preserved=self.preserved) if self.weights == "osf" else network

    def streams(self, model: TrainableModel, corpus: Corpus, seed: int) -> tuple[dict[str, Stream], dict[str, float]]:
        """What to read, and which share of a batch's tokens comes from where."""
        examples = model.examples([t for d in corpus.documents for t in texts(d, split=self.split, everywhere=self.loss_on == "all")])
        if not examples:
            raise UserError("there is nothing to train on: no document has a target")
        if not self.replay:
            return {"documents": Stream(examples, seed, "documents")}, {"documents": 1.0}
        replayed = Stream(model.examples(_general.passages("replay")), seed, "replay")
        return {"documents": Stream(examples, seed, "documents"), "replay": replayed}, {"documents": 1 - self.replay, "replay": self.replay}

    def divergence(self, model: Any, batch: Batch, base: Any) -> Tensor:
        """Mean over the batch's tokens of KL(base || model), in nats."""
        with torch.no_grad(), model.network.disable_adapter() if base is None else standing_in(model, base):
            wanted = model.logits(batch).log_softmax(-1)
        now = model.logits(batch).log_softmax(-1)
        return torch.nn.functional.kl_div(now, wanted, reduction="batchmean", log_target=True)

    @property
    def frozen(self) -> bool:
        """Whether the model's own weights stay as they are, for estimates of memory."""
        return self.weights == "lora"

    def train_tokens(self) -> int:
        """Tokens that the training will read, for estimates of time."""
        return self.steps * self.batch_tokens

    def schedule(self, step: int) -> float:
        """Factor on the learning rate at `step`: linear warm-up, then linear decay to zero."""
        rising = max(1, round(self.warmup * self.steps))
        return min((step + 1) / rising, (self.steps - step) / max(1, self.steps - rising))


def before(model: Any, *, needed: bool) -> Any:
    """A frozen copy of the network as it is now, if `needed`."""
    return copy.deepcopy(model.network).requires_grad_(False) if needed else None


@contextmanager
def standing_in(model: Any, network: Any) -> Iterator[None]:
    """`model` with `network` in place of its own."""
    own, model.network = model.network, network
    try:
        yield
    finally:
        model.network = own
