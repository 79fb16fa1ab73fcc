"""A user's own questions: JSON lines. Every line that is no question is named in one complaint.

| field | what it is |
|---|---|
| `prompt` | what is asked; the answer should follow it as a text goes on |
| `answer` or `answers` | the right answer, or a list of all that count as right, the usual one first |
| `kind` | recall, rephrase, reversal, two_hop, unanswerable or a name of your own; `asked` if missing |
| `choices` | candidates for a choice by likelihood, exactly one of them right |
| `support` | files (or passages, as FILE:NUMBER) that suffice to answer: what an oracle's memory would show |
| `fact` | questions about one fact share it: practice and test never do |
| `split` | `practice` or `test`; without it a share of the facts is set aside |
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tolman.core.data import Question
from tolman.core.errors import UserError
from tolman.datasets._folder_ask import count, words

FIELDS = ("prompt", "answer", "answers", "kind", "choices", "support", "fact", "split")


def read_questions(path: Path, passages_of: Mapping[str, Sequence[str]]) -> list[Question]:
    """The questions of the file at `path` (split "" where no line about the fact says one); `passages_of` names the passages of each file.

    Raises UserError naming every bad line by its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); it must be a file of JSON lines with 'prompt' and 'answer'") from error
    found, bad = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(_question(json.loads(line), number, passages_of))
            except json.JSONDecodeError as error:
                bad.append(f"line {number}: no JSON ({error.msg})")
            except (ValueError, RecursionError) as error:
                bad.append(f"line {number}: {error}")
    splits: dict[str, str] = {}
    for number, question in found:
        if question.split and splits.setdefault(question.cluster, question.split) != question.split:
            bad.append(f"line {number}: fact {question.cluster!r} is asked for practice and for testing")
    if bad:
        raise UserError(f"{path} has {len(bad)} line{'s' * (len(bad) > 1)} that cannot be asked: {'; '.join(bad)}")
    if not found:
        raise UserError(f"{path} is empty; it must hold JSON lines with 'prompt' and 'answer'")
    return [replace(question, split=splits.get(question.cluster, "")) for _, question in found]


def _question(value: Any, number: int, passages_of: Mapping[str, Sequence[str]]) -> tuple[int, Question]:
    """Line `number` as a question (split "" where the line says none). Raises ValueError saying what is wrong."""
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}, not an object")
    if unknown := sorted(set(value) - set(FIELDS)):
        raise ValueError(f"the unknown field {unknown[0]!r} (there is: {', '.join(FIELDS)})")
    prompt = _text(value, "prompt")
    if ("answer" in value) == ("answers" in value):
        raise ValueError("needs either 'answer' or 'answers'")
    answers = _texts(value, "answers") if "answers" in value else (_text(value, "answer"),)
    choices = _texts(value, "choices") if "choices" in value else ()
    right = {words(a) for a in answers}
    if "" in right:
        raise ValueError("an answer without any word")
    if choices and sum(words(c) in right for c in choices) != 1:
        raise ValueError("exactly one of 'choices' must be among the answers")
    if len({words(c) for c in choices}) != len(choices) or len(choices) == 1:
        raise ValueError("'choices' must be two or more, each another")
    first = next((c for c in choices if words(c) in right), answers[0])
    answers = (first, *(a for a in answers if words(a) != words(first)))
    support = tuple(dict.fromkeys(p for name in (_texts(value, "support") if "support" in value else ()) for p in _passages(name, passages_of)))
    split = value.get("split", "")
    if split not in ("", "practice", "test"):
        raise ValueError(f"'split' is {split!r}, not 'practice' or 'test'")
    kind = _text(value, "kind") if "kind" in value else "asked"
    cluster = _text(value, "fact") if "fact" in value else f"line {number}"
    plain = len({count(a) for a in answers}) == 1
    return number, Question(f"{kind}:{number}", kind, prompt, answers, cluster, support, choices, split, count(answers[0]) if plain else None)


def _passages(name: str, passages_of: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if name in passages_of:
        yield from passages_of[name]
    elif any(name in ids for ids in passages_of.values()):
        yield name
    else:
        raise ValueError(f"'support' names {name!r}, which is no file or passage of the folder")


def _text(value: Mapping[str, Any], field: str) -> str:
    found = value.get(field)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"needs the text {field!r}")
    return " ".join(found.split())


def _texts(value: Mapping[str, Any], field: str) -> tuple[str, ...]:
    found = value[field]
    if not isinstance(found, list) or not found or not all(isinstance(t, str) and t.strip() for t in found):
        raise ValueError(f"{field!r} must be a list of texts")
    return tuple(" ".join(t.split()) for t in found)
