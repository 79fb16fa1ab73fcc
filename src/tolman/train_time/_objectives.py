"""What is predicted from what: documents masked, copied or reversed before training.

Masked: Kitouni et al. 2024 (arXiv 2406.05183), rate uniform on [0, 1]. Reversed text: Golovneva et al. 2024 (arXiv 2403.13799).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from tolman.core.data import Document
from tolman.core.packing import Example


def masked(examples: Sequence[Example], marks: Mapping[str, int], draw: np.random.Generator, *, everywhere: bool) -> list[Example]:
    """Each example with some of its tokens behind a mask, and the loss on these. The share masked is uniform on [0, 1] for each example, at least one token.

    Masked may be all tokens but the first (`everywhere`), or only the document's targets: the rest is then never predicted.
    """
    out = []
    for example in examples:
        hidden = chosen(example, draw, everywhere)
        token = np.where(hidden, marks["mask"], example.token)
        out.append(Example(token, hidden.astype(np.float32), example.token))
    return out


def masked_copies(examples: Sequence[Example], marks: Mapping[str, int], draw: np.random.Generator, *, everywhere: bool) -> list[Example]:
    """Each example after a masked copy of itself. In the second, clean one the loss is on what the first hides, and on the document's targets."""
    out = []
    for example in examples:
        hidden = chosen(example, draw, everywhere)
        copy = np.where(hidden, marks["mask"], example.token)
        token = np.concatenate((copy, [marks["line break"]], example.token[1:]))
        weight = np.zeros(len(token), np.float32)
        weight[len(copy) + 1 :] = np.maximum(hidden[1:], example.weight[1:] != 0)
        out.append(Example(token, weight))
    return out


def chosen(example: Example, draw: np.random.Generator, everywhere: bool) -> np.ndarray:
    """(tokens,) True where to mask."""
    may = np.arange(len(example)) > 0 if everywhere else example.weight != 0
    hidden = may & (draw.random(len(example)) < draw.random())
    if not hidden.any():
        hidden[draw.choice(np.flatnonzero(may))] = True
    return hidden


def backwards(documents: Sequence[Document], *, whole_names: bool, mark: str = "") -> Iterator[Document]:
    """Each document with its words in reverse order, after `mark`. Runs of capitalised words keep their order if `whole_names`.

    Where the document has targets, its reverse has the names after its first.
    """
    for document in documents:
        words = re.findall(r"\w+|[^\w\s]", document.text)
        text, targets, names = mark, [], 0
        for is_name, run in reversed([(named, [*same]) for named, same in groupby(words, key=lambda w: w[:1].isupper())]):
            text += (" " if text else "") + " ".join(run if is_name and whole_names else run[::-1])
            names += is_name
            if is_name and names > 1:
                targets.append((len(text) - len(" ".join(run)), len(text)))
        spans = None if document.targets is None else tuple(targets)
        yield replace(document, id=f"{document.id}:reversed", text=text, targets=spans, provenance=f"{document.provenance}:reversed")
