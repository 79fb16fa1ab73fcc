"""What `finetune` reads: documents cut into sentences, and batches with little padding."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from tolman.core.data import Document
from tolman.core.packing import Batch, Example, pack

Split = Literal["none", "independent", "cumulative"]
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
MULTIPLE = 8
"""Rows are a multiple of this long."""


def texts(document: Document, *, split: Split, everywhere: bool) -> Iterator[Document]:
    """`document` as texts to train on. With `everywhere` all of a text is a target, else the document's targets only.

    `independent`: each sentence for itself. `cumulative`: each sentence after those before it, with the loss on the new one.
    """
    targets = None if everywhere else document.targets
    if split == "none":
        yield replace(document, targets=targets)
        return
    for n, (begin, end) in enumerate(sentences(document.text)):
        first = begin if split == "independent" else 0
        spans = ((begin, end),) if targets is None else tuple((max(a, begin), min(b, end)) for a, b in targets if a < end and b > begin)
        if split == "independent" and targets is None:
            yield replace(document, id=f"{document.id}:{n}", text=document.text[begin:end], targets=None)
        elif spans:
            yield replace(document, id=f"{document.id}:{n}", text=document.text[first:end], targets=tuple((a - first, b - first) for a, b in spans))


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends; a line break ends one too."""
    cuts = [0, *(at for m in _SENTENCE_END.finditer(text) for at in m.span()), len(text)]
    return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True) if text[a:b].strip()]


def pack_evenly(examples: Sequence[Example], row_tokens: int) -> Batch:
    """`examples` in rows of about `row_tokens` tokens (longer where one is): of a few numbers of rows, the one with the least padding."""
    total, longest = sum(map(len, examples)), max(map(len, examples))
    about = max(1, round(total / max(row_tokens, longest)))
    tried = [_in_rows(examples, rows, max(longest, -(-total // rows))) for rows in range(max(1, about - 2), about + 2)]
    return min(tried, key=lambda batch: batch.token.size)


def _in_rows(examples: Sequence[Example], rows: int, size: int) -> Batch:
    """`examples` in at most `rows` rows, as short as best fit allows and at least `size` long."""
    size = -(-size // MULTIPLE) * MULTIPLE
    while len((batch := pack(examples, size)).token) > rows:
        size += MULTIPLE
    return batch
