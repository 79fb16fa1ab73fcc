"""What the page's explorer holds: single questions as they were asked and answered, sampled and abridged so that the page stays small."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from tolman.core.thinking import confabulates, searches, statements, states_needed
from tolman.report.summary import conditions, group, words
from tolman.run.frames import Frames

MOST_ITEMS = 4_000
MOST_BYTES = 1_400_000
CONTEXT_CHARACTERS = 4_000
LINE_CHARACTERS = 1_000
_ASKED = ("seed", "kind", "question", "question_text")
AROUND = 4
"""Lines kept at either end of a context that is too long to be shown whole."""


def explorer(frames: Frames, *, items: int = MOST_ITEMS, size: int = MOST_BYTES) -> dict[str, Any]:
    """Up to `items` items, and up to about `size` bytes of JSON, with what is needed to show them; `total` says how many there are.

    Questions are sampled evenly within each seed and kind, and of a chosen question every condition's item is kept, so that methods can be compared on it; of so many
    conditions or seeds that this alone is too much, only some.
    """
    share = min(1.0, items / max(1, len(frames.items)))
    keys = frames.items.select(_ASKED).with_row_index("at")  # the items themselves are heavy to move
    while True:
        found = _payload(frames, frames.items[thin(sample(keys, share), items)["at"]])
        weight = len(json.dumps(found))
        if weight <= size or found["shown"] <= 50:
            return found
        share *= 0.9 * size / weight
        items = int(0.9 * size / weight * found["shown"])


def thin(items: pl.DataFrame, most: int) -> pl.DataFrame:
    """About `most` of the items, spread evenly (by the golden ratio, so that no regular order of conditions is favoured); all, if there are no more."""
    if len(items) <= most:
        return items
    return items.filter((pl.int_range(pl.len()) * 0.6180339887498949) % 1.0 < most / len(items))


def sample(items: pl.DataFrame, share: float) -> pl.DataFrame:
    """`share` of the questions of each seed and kind, evenly spaced in their order, at least one; every item of a chosen question."""
    if share >= 1:
        return items
    asked = items.select(_ASKED).unique(maintain_order=True)
    place, count = pl.int_range(pl.len()).over("seed", "kind"), pl.len().over("seed", "kind")
    kept = pl.max_horizontal((count * share).floor(), pl.lit(1.0))
    chosen = asked.filter(((place + 1) * kept / count).floor() > (place * kept / count).floor())
    return items.join(chosen, on=_ASKED, how="semi", maintain_order="left")


def supporting(lines: Sequence[str], row: dict[str, Any]) -> list[int]:
    """Which lines of a context answer the question: those of the supporting documents where the item names them (`support`, their texts),
    else, where the support was shown, those that hold every word of an expected answer and a word of the question."""
    if row.get("support") is not None:
        texts = {line.strip() for text in row["support"] for line in text.split("\n") if line.strip()}
        return [i for i, line in enumerate(lines) if line.strip() in texts]
    if not row["support_shown"]:
        return []
    asked, answers = _words(row["question_text"]), [_words(answer) for answer in row["expected"]]
    return [i for i, line in enumerate(lines) if (mine := _words(line)) & asked and any(answer and answer <= mine for answer in answers)]


def abridge(lines: Sequence[str], marked: Sequence[int]) -> tuple[list[str | int], list[int]]:
    """Lines to show, a number standing for that many lines left out, and where the marked lines now are. Marked lines and their neighbours always stay."""
    keep = set(range(len(lines)))
    if sum(map(len, lines)) > CONTEXT_CHARACTERS:
        ends = [*range(min(AROUND, len(lines))), *range(max(0, len(lines) - AROUND), len(lines))]
        keep &= {i + step for i in marked for step in (-1, 0, 1)} | set(ends)
    shown: list[str | int] = []
    places = []
    for i, line in enumerate(lines):
        if i in keep:
            if i in marked:
                places.append(len(shown))
            shown.append(line if len(line) <= LINE_CHARACTERS else line[:LINE_CHARACTERS] + " …")
        elif shown and isinstance(shown[-1], int):
            shown[-1] += 1
        else:
            shown.append(1)
    return shown, places


def _payload(frames: Frames, chosen: pl.DataFrame) -> dict[str, Any]:
    table = conditions(frames)
    info, asked = frames.kinds(), set(frames.items["kind"].unique())
    kinds = [kind for kind in info if kind in asked]
    questions: dict[str, int] = {}
    contexts: dict[str, int] = {}
    lists: dict[str, list[Any]] = {name: [] for name in ("question", "condition", "seed", "verdict", "answer", "context", "whole", "marked", "nats", "thought")}
    verdicts = frames.items["verdict"].unique(maintain_order=True).sort().to_list()
    condition = {c: i for i, c in enumerate(table["condition"])}
    for row in chosen.iter_rows(named=True):
        question = json.dumps([row["question_text"], kinds.index(row["kind"]), row["expected"], row["choices"]])
        ends_with_question = row["prompt"].endswith(row["question_text"])
        context = row["prompt"].removesuffix(row["question_text"]) if ends_with_question else row["prompt"]
        lines = context.rstrip("\n").split("\n") if context.strip() else []
        shown, marked = abridge(lines, supporting(lines, row))
        values = (
            questions.setdefault(question, len(questions)), condition[row["condition"]], row["seed"], verdicts.index(row["verdict"]), row["answer"][:2000],
            contexts.setdefault(json.dumps(shown), len(contexts)), 0 if ends_with_question else 1, marked,
            [round(score, 2) if math.isfinite(score) else None for score in row["scores_nats"]], thought(row),
        )  # fmt: skip
        for name, value in zip(lists, values, strict=True):
            lists[name].append(value)
    return {
        "shown": len(chosen),
        "total": len(frames.items),
        "conditions": table.select("training", "asking").rows(),
        "kinds": [{"name": kind, "label": words(kind), "group": group(info[kind]), "description": info[kind]["description"]} for kind in kinds],
        "verdicts": verdicts,
        "marks": "the supporting documents" if "support" in chosen.columns else "lines that hold the expected answer and a word of the question",
        "questions": [json.loads(text) for text in questions],
        "contexts": [json.loads(text) for text in contexts],
        "items": lists,
    }


def thought(row: dict[str, Any]) -> dict[str, Any] | None:
    """What an item's trace says: each statement, whether a document makes it, and whether the question needs it; what is needed and missing; and what the trace does."""
    if not row["trace"]:
        return None
    said, needed = statements(row["trace"]), set(row["needed"])
    does = [
        "states all that is needed"
        if states_needed(row["trace"], needed)
        else "states some of what is needed"
        if needed & set(said)
        else "does not state what is needed",
        *["searches: guesses and checks"] * searches(row["trace"], row["question_text"]),
        *["makes something up"] * confabulates(row["trace_told"]),
    ]
    lines = [[text[:LINE_CHARACTERS], int(told), int(text in needed)] for text, told in zip(said, row["trace_told"], strict=True)]
    return {"lines": lines, "missing": [text for text in row["needed"] if text not in said], "does": does if needed else does[1:]}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
