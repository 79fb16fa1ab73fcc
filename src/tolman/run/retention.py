"""What a model still knows of the world beside what it was taught: looked at before and after each training, and kept in the record."""

from typing import Any

from tolman.core.data import Prompt
from tolman.core.packing import pack
from tolman.train_time._general import passages, questions

MEASURES = ("general_nats", "general_accuracy")
"""Nats per token of general prose (lower is better), and the share of general questions whose right ending is the likeliest of four."""


def retention(model: Any) -> dict[str, float] | None:
    """MEASURES of a model that knows more than the corpus (`general`), None for one that never did. Booked as probing, on no method's price."""
    if not getattr(model, "general", False):
        return None
    import torch

    with model.meter.phase("probe"), torch.no_grad():
        examples = model.examples(passages("measure"))
        nats = float(model.loss(pack(examples, max(map(len, examples)))))
        asked = questions()
        scores = model.score([Prompt(q.prompt) for q in asked], [q.choices for q in asked])
    right = [q.choices[max(range(len(row)), key=row.__getitem__)] in q.answers for q, row in zip(asked, scores, strict=True)]
    return {"general_nats": nats, "general_accuracy": sum(right) / len(right)}
