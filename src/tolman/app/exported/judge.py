"""The questions of this folder, and whether a written answer is right: Tolman's `scoring/exact`, in a file that needs nothing else."""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).parent / "questions.jsonl"


def questions(kind: str | None = None, *, with_choices: bool = False) -> list[dict[str, Any]]:
    """The questions of one kind (None: of all), or those of them that have candidates to choose from."""
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if (kind is None or row["kind"] == kind) and (row["choices"] or not with_choices)]


def right(text: str, question: Mapping[str, Any]) -> bool:
    """Whether the first line of `text` (its first `answer_words` words, where the question has such a number) is an accepted answer."""
    words = normalise(text.strip().split("\n")[0]).split()
    if question["answer_words"] is not None:
        words = words[: question["answer_words"]]
    return bool(words) and any(words == normalise(answer).split() for answer in question["answers"])


def normalise(text: str) -> str:
    """Lower case, one space between words, no punctuation but inside words, Unicode compatibility forms composed."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+(?:['’.-]\w+)*", text))
