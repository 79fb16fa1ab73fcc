"""Reading the published celebrities of arXiv 2309.12288: a directory of JSON lines of {"prompt", "completion"}."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tolman.core.data import Document
from tolman.core.errors import UserError
from tolman.datasets._jsonl import Row, read_rows

FILES = {
    "p2d_prompts_train.jsonl": 900, "d2p_prompts_train.jsonl": 900, "both_prompts_train.jsonl": 1800,
    "p2d_prompts_test.jsonl": 300, "d2p_prompts_test.jsonl": 300, "both_prompts_test.jsonl": 600,
    "p2d_reverse_prompts_test.jsonl": 300, "d2p_reverse_prompts_test.jsonl": 300,
}  # fmt: skip
"""The files that are read, with their rows. `all_prompts_train.jsonl` is the union of the first three."""
_NAME = r"\s*([A-Z][\w'’-]*(?: [A-Z][\w'’-]*)+?)"


class Asked(NamedTuple):
    """A test row: `person` of `group` (p2d, d2p or both), asked from name to description (`way` p2d) or from description to name (d2p) under a template."""

    group: str
    way: str
    person: str
    template: int
    prompt: str
    answer: str


def read(folder: Path) -> tuple[list[Document], list[Asked]]:
    """Training documents, with ids as for our own, and test rows. Raises UserError for a file that is missing, truncated or of another shape."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no directory; path must be the published one, which holds {', '.join(FILES)}")
    rows = {name: read_rows(folder / name, count) for name, count in FILES.items()}
    names = {
        "p2d": _people(rows["p2d_reverse_prompts_test.jsonl"]),
        "d2p": _people(rows["d2p_prompts_test.jsonl"]),
        "both": _people(row for row in rows["both_prompts_test.jsonl"] if _whole_name(row)),
    }
    documents = []
    for group, people in names.items():
        counts: dict[tuple[str, str], int] = {}
        for row in rows[f"{group}_prompts_train.jsonl"]:
            way, person = _about(row, people)
            copy = counts[way, person] = counts.get((way, person), -1) + 1
            documents.append(Document(f"{group}:{way}:{person}:{copy}", row.text, f"published:{group}"))
    tests: list[Asked] = []
    for file, group in (("p2d", "p2d"), ("p2d_reverse", "p2d"), ("d2p", "d2p"), ("d2p_reverse", "d2p"), ("both", "both")):
        tests += _tests(rows[f"{file}_prompts_test.jsonl"], group, names[group])
    return documents, tests


def _tests(rows: list[Row], group: str, people: dict[str, None]) -> list[Asked]:
    found: list[Asked] = []
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        way, person = _about(row, people)
        template = counts[way, person] = counts.get((way, person), -1) + 1
        found.append(Asked(group, way, person, template, row.prompt.strip(), person if way == "d2p" else row.completion.strip().rstrip(".")))
    return found


def _whole_name(row: Row) -> re.Match[str] | None:
    return re.fullmatch(_NAME + r"\.?\s*", row.completion)


def _people(rows: Iterable[Row]) -> dict[str, None]:
    """The names that the completions of `rows` are, in order."""
    people: dict[str, None] = {}
    for row in rows:
        match = _whole_name(row)
        if match is None:
            raise row.complaint(f"the completion {row.completion!r} should be a name")
        people[match[1]] = None
    return people


def _about(row: Row, people: dict[str, None]) -> tuple[str, str]:
    """The direction of `row` and whom it is about: p2d if the name stands in the prompt, d2p if in the completion."""
    for way, part in (("p2d", row.prompt), ("d2p", row.completion)):
        found = [name for name in people if name in part and re.search(rf"\b{re.escape(name)}\b", part)]
        if len(found) == 1:
            return way, found[0]
    raise row.complaint(f"{row.text!r} names nobody, or several people, of the {len(people)} that the test files ask about in this group")
