"""General text and knowledge that no benchmark teaches: to measure what a training made a model forget, and (other passages) to replay against it.

`general/prose.txt` holds passages of well-known books in the public domain, written down from memory; `general/questions.jsonl` statements of
common knowledge, the right ending first.
"""

import json
from functools import cache
from pathlib import Path
from typing import Literal

from tolman.core.data import Document, Question

_FOLDER = Path(__file__).parent / "general"


@cache
def passages(use: Literal["measure", "replay"]) -> tuple[Document, ...]:
    """The passages to measure on, or the others, to replay."""
    found = []
    for block in (_FOLDER / "prose.txt").read_text().strip().split("\n\n"):
        title, _, text = block.partition("\n")
        if title.startswith(f"# {use}: "):
            found.append(Document(f"general:{len(found)}", text, provenance=title.removeprefix(f"# {use}: "), role="exercise"))
    return tuple(found)


@cache
def questions() -> tuple[Question, ...]:
    """Statements to complete, each with its right ending among four."""
    rows = (json.loads(line) for line in (_FOLDER / "questions.jsonl").read_text().splitlines())
    return tuple(Question(f"general:{i}", "general", prompt, (right,), f"{i}", choices=(right, *wrong)) for i, (prompt, right, *wrong) in enumerate(rows))
