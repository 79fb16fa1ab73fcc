"""Questions about a folder's passages, written by a model or an endpoint: JSON lines for `--questions`, for people to read and mend before they are asked.

What a model writes is kept only where it can be checked without one: the answer stands in its passage word for word and is short, the question does not hold it,
asks for such an answer (a time after "when", a number after "how many", never yes or no), names something of the passage, and is not nearly the same as one before.
Which wording is crooked no rule can tell, so the file is meant to be read.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tolman.core.data import Prompt
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel
from tolman.datasets.folder import Folder

MOST_WORDS = 12
"""Longest answer."""
UNREAD = "no question with 'Answer:' after it"
ALIKE = 0.8
"""Two questions that share this much of their words (Jaccard) are nearly the same."""
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million".split()
_TIMES = "january february march april may june july august september october november december spring summer autumn winter".split()
_TIMES += "monday tuesday wednesday thursday friday saturday sunday century year years day days month months week weeks morning evening night noon midnight dawn dusk".split()
_HELPING = "is are was were do does did has have had can could will would should may must".split()
_MEASURES = "many much old long tall high far deep wide large heavy often".split()


@dataclass(frozen=True)
class Written:
    """What was kept, as lines of a questions file, and why the rest was not."""

    lines: tuple[dict[str, Any], ...]
    left_out: Mapping[str, int]
    passages: int
    asked_about: int

    def save(self, path: Path) -> None:
        """As JSON lines. Raises UserError where `path` exists: people may have mended it."""
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines)
        except FileExistsError as error:
            raise UserError(f"{path} exists and is not overwritten; name another file with --out") from error
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error


def write(folder: Folder, model: LiveModel, *, tries: int = 4, temperature: float = 0.5, max_tokens: int = 80, seed: int = 0) -> Written:
    """What is kept of `tries` questions about each passage. Raises UserError where nothing is, saying what came back."""
    _, passages = folder.read()
    prompts = [Prompt(instruction(p.text)) for p in passages]
    drawn = model.generate(prompts, max_tokens=max_tokens, samples=tries, temperature=temperature if tries > 1 else 0.0, seed=seed)
    lines: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for passage, texts in zip(passages, drawn, strict=True):
        for text in texts:
            found = pair(text.text)
            if why := fault(*found, passage.text, lines) if found else UNREAD:
                left_out[why] += 1
            else:
                question, answer = found or ("", "")
                lines.append({"prompt": question, "answer": answer, "kind": "asked", "support": [passage.id], "fact": passage.id})
    if not lines:
        first = next((text.text for texts in drawn for text in texts if text.text.strip()), "")
        reasons = "; ".join(f"{why} ({n})" for why, n in left_out.items())
        raise UserError(f"the model wrote no question that can be kept: {reasons}; its first text was {first[:200]!r}")
    return Written(tuple(lines), left_out, len(passages), len({line["fact"] for line in lines}))


def instruction(passage: str) -> str:
    """What to tell the model about a passage."""
    prompt = files("tolman.app").joinpath("prompts", "questions.txt").read_text(encoding="utf-8")
    return prompt.replace("{passage}", " ".join(passage.split())).rstrip("\n")


def pair(text: str) -> tuple[str, str] | None:
    """Question and answer of "QUESTION? Answer: ANSWER", as the prompt has them; what comes after the answer's line is the model going on by itself."""
    found = re.match(r"\s*(?:Question:)?\s*(.+?\?)\s*Answer:[ \t]*(\S.*)", text)
    return (" ".join(found[1].split()), " ".join(found[2].split()).strip(" .\"'")) if found else None


def fault(question: str, answer: str, passage: str, before: Sequence[Mapping[str, Any]]) -> str:
    """Why this pair is not kept, or nothing."""
    asked, right, told = words(question), words(answer), words(passage)
    if not right or len(right) > MOST_WORDS:
        return f"answer of no word, or of more than {MOST_WORDS}"
    if not _within(right, told):
        return "answer that does not stand in the passage"
    if _within(right, asked):
        return "question that holds its answer"
    if why := _unfit(asked, right):
        return why
    if not {w for w in asked if len(w) > 3} & {w for w in told if len(w) > 3}:
        return "question that names nothing of the passage"
    if any(_alike(asked, words(line["prompt"])) >= ALIKE for line in before):
        return "nearly the same as another question"
    return ""


def _unfit(asked: Sequence[str], right: Sequence[str]) -> str:
    """Why these words are no answer to an English question that begins like this, or nothing."""
    first, second, *_ = (*asked, "", "")
    parts = {part for word in right for part in word.split("-")}
    counts = any(c.isdigit() for part in parts for c in part) or bool(parts & {*_TIMES, *_NUMBERS})
    if first in _HELPING:
        return "question to be answered yes or no"
    if first == "when" and not counts:
        return "answer that tells no time, to a question that asks when"
    if first == "how" and second in _MEASURES and not counts:
        return "answer that holds no number, to a question that asks how many"
    return ""


def words(text: str) -> list[str]:
    """Lower case, without punctuation but inside words."""
    return re.findall(r"\w+(?:['’.-]\w+)*", text.casefold())


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    return f" {' '.join(part)} " in f" {' '.join(whole)} "


def _alike(first: Sequence[str], second: Sequence[str]) -> float:
    a, b = set(first), set(second)
    return len(a & b) / max(1, len(a | b))
