"""What the studies of pretrained models share: the models, the trainings, the ways of asking, and rules that several of them use."""

import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from tolman.augment.local import Local
from tolman.core.component import Component
from tolman.core.stats import Estimate, estimate
from tolman.models.hf import Hf
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.choice import Choice
from tolman.studies._benchmark import CLOSED
from tolman.studies._study import Check, accuracy, difference, select, surely_above
from tolman.studies.augmentation import derived, generated
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.in_context import InContext
from tolman.train_time.augmented import Augmented
from tolman.train_time.finetune import Finetune
from tolman.train_time.untrained import Untrained

_READER = files("tolman.models").joinpath("reader", "adapter_model.safetensors").is_file()
MODELS: Mapping[str, Component] = {"base": Hf()} | ({"reader": Hf(adapter="reader")} if _READER else {})
"""Name -> model: the embedded one as it was published, and with the adapter that teaches it to use its context, where that comes with the package."""
MODELS_AT: Mapping[str, Mapping[str, Component]] = {"quick": {"base": MODELS["base"]}, "small": MODELS}
"""Scale -> models. What the reader does with what stands in its context is at quick scale asked by the study `reader`."""
UNTRAINED, TUNED, AUGMENTED = "untrained", "fine-tuned", "augmented by itself"
CONTEXT = "everything in context"
ASKS: dict[str, Component] = {CLOSED: ClosedBook(), CONTEXT: InContext()}
STEPS = {"quick": 40, "small": 200}
LR = 1e-3


def tuned(scale: str, **fields: Any) -> Finetune:
    """LoRA on the documents. At quick scale every text is read some ten times."""
    return Finetune(steps=STEPS[scale], batch_tokens=256, lr=LR, **fields)


def augmented(scale: str, *, augment: Component | None = None, sources: int | None = None) -> Augmented:
    """The model writes what follows from single documents, as the prompt tells it, and is trained on both (Lampinen et al. 2025)."""
    return Augmented(first=Untrained(), augment=augment or Local(how="instruct", max_tokens=60), then=tuned(scale), sources=sources)


def label(model: str, training: str) -> str:
    return f"{model}, {training}"


def asked(seed: int, dataset: Component, model: str, training: str, method: Component, *, kinds: tuple[str, ...], asks: Mapping[str, Component]) -> list[Cell]:
    """The cells of one training: by likelihood among the candidates, in each of the ways of asking."""
    shared: dict[str, Any] = {"dataset": dataset, "model": MODELS[model], "train_time": method, "scoring": Choice(), "seed": seed, "kinds": kinds}
    return [Cell(**shared, test_time=test_time, training=label(model, training), asking=asking) for asking, test_time in asks.items()]


def models_in(frames: Frames) -> list[str]:
    """The models that were run, in order."""
    found = {training.split(", ")[0] for training in frames.cells["training"].unique()}
    return [name for name in ("base", "reader") if name in found]


def share(frames: Frames, model: str, training: str, kind: str | tuple[str, ...], asking: str = CLOSED) -> Estimate:
    """Accuracy of `model`."""
    return accuracy(select(frames, training=label(model, training), kind=kind, asking=asking))


def hardly_tried(frames: Frames) -> str:
    """Why nothing is known of augmenting, for each model that wrote fewer than a tenth of the statements under test; nothing where all wrote more."""

    def few(training: str) -> bool:
        found = generated(frames, training)
        return sum(f["tested_derived"] for f in found) < 0.1 * sum(f["tested"] for f in found)

    untried = [training for model in models_in(frames) if few(training := label(model, AUGMENTED))]
    return "; ".join(f"{t}: {derived(frames, t)} statements under test were written, so augmenting was hardly tried" for t in untried)


def at_chance(what: str, measured: Estimate, chance: float) -> Check:
    """The interval must hold the chance level."""
    return Check(what, measured, f"= {chance:.3g} (within the interval)", measured.low <= chance <= measured.high, chance)


def not_above(what: str, measured: Estimate, chance: float) -> Check:
    """The interval must reach down to the chance level: at it, or below."""
    return Check(what, measured, f"<= {chance:.3g} (within the interval)", measured.low <= chance, chance)


def reversal_curse(frames: Frames, model: str, forward: tuple[str, ...], reversal: tuple[str, ...], chance: float, where: str = "") -> tuple[Check, ...]:
    """The four comparisons of C02 for one model: untrained at chance; fine-tuned surely above chance as trained, at or below it reversed; in context surely far above
    that (> .2)."""
    name, tuned_as = f"{model}{where}", TUNED + where
    untrained = share(frames, model, UNTRAINED + where, (*forward, *reversal))
    reversed_closed = select(frames, training=label(model, tuned_as), kind=reversal, asking=CLOSED)
    reversed_context = select(frames, training=label(model, UNTRAINED + where), kind=reversal, asking=CONTEXT)
    return (
        at_chance(f"{name}: untrained, closed book", untrained, chance),
        surely_above(f"{name}: fine-tuned, trained direction", share(frames, model, tuned_as, forward), chance),
        not_above(f"{name}: fine-tuned, reversed", accuracy(reversed_closed), chance),
        surely_above(f"{name}: reversed, in context - fine-tuned", difference(reversed_context, reversed_closed), 0.2),
    )


def kept(frames: Frames, training: str, measure: str = "general_nats") -> Estimate:
    """Mean over seeds of how much worse general prose (nats per token), or how many points fewer general questions, the training left; nan if unknown."""
    sign = 1.0 if measure == "general_nats" else -1.0
    mine = frames.cells.filter(training=training).unique("train_fingerprint").sort("seed")
    values = [math.nan if after is None else sign * (after - before) for after, before in mine.select(measure, f"{measure}_before").iter_rows()]
    return estimate(values, clusters=range(len(values)), seeds=mine["seed"].to_list(), bounds=None)
