"""The directory that `tolman teach` writes: what is in it, and the one file that says so.

DIR/taught.json      format, versions, base model, methods with all their fields, what was taught, hashes of the weights. Replaced whole: it is the commit
DIR/weights/         what the model's `save` wrote (or DIR/adapter/: a PEFT adapter; a later teaching writes a folder of its own, such as adapter-2, and names it)
DIR/memory/          the passages, in LanceDB
DIR/documents/       the files as they were read, so that a later teaching can read them again
DIR/questions.jsonl  the questions that were built, in the form of `--questions`
DIR/scores.json      what was measured
DIR/README.md        the model card
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from tolman.core.component import Component
from tolman.core.data import Corpus, Question
from tolman.core.discovery import from_config
from tolman.core.errors import UserError
from tolman.run.store import saying, write_atomically

FORMAT = 1
ABOUT, QUESTIONS, SCORES, CARD = "taught.json", "questions.jsonl", "scores.json", "README.md"
MEMORY, DOCUMENTS, WEIGHTS, ADAPTER = "memory", "documents", "weights", "adapter"
PATIENCE_S = 10.0
"""So long one who wants to change a directory waits for another: for an addition, not for a training."""
PARTS = ("model", "train_time", "test_time", "dataset", "scoring")


def is_taught(folder: Path) -> bool:
    """Whether there is a taught directory of any version."""
    return (folder / ABOUT).is_file()


def read(folder: Path) -> dict[str, Any]:
    """taught.json. Raises UserError saying what to do for a folder that is none, a damaged one, or one of another format."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{folder} was not taught: there is no {ABOUT}; make such a directory with: tolman teach DOCS --out {folder}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); teach the documents again into another directory") from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT:
        made = about.get("tolman", "unknown") if isinstance(about, dict) else "unknown"
        raise UserError(
            f"{folder} has format {found!r} (made by Tolman {made}), this Tolman {version('tolman')} reads {FORMAT}: install that version, or teach the "
            f"documents in {folder / DOCUMENTS} again into another directory"
        )
    lacking = {*PARTS, "weights", "files", "documents", "forgotten", "method", "asking", "training", "seed"} - set(about)
    if lacking or not _inside(str(about["weights"])):
        raise UserError(f"{path} is damaged: {f'it has no {sorted(lacking)[0]!r}' if lacking else 'its weights lie elsewhere'}; teach the documents again")
    return about


def write(folder: Path, about: Mapping[str, Any]) -> None:
    """Make `about` the directory's taught.json: what it names is what the directory is from then on."""
    stamp = {"format": FORMAT, "tolman": version("tolman"), "changed": datetime.now(UTC).isoformat(timespec="seconds")}
    write_atomically(folder / ABOUT, json.dumps({**about, **stamp}, indent=1, ensure_ascii=False).encode())


def components(about: Mapping[str, Any]) -> dict[str, Component]:
    """The parts of a taught directory, built from their configurations."""
    return {part: from_config(about[part]) for part in PARTS}


def check(folder: Path, about: Mapping[str, Any]) -> None:
    """Raises UserError where a file of the weights is missing or not as it was written."""
    for name, expected in about["files"].items():
        if not _inside(name) or not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; teach the documents again: tolman teach --out {folder}")
        if sha256(folder / name) != expected:
            raise UserError(f"{folder / name} is not as it was written (its hash differs); teach the documents again: tolman teach --out {folder}")


def hashes(folder: Path, inside: str) -> dict[str, str]:
    """Name (within `folder`) -> SHA-256 of every file in its folder `inside`."""
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted((folder / inside).rglob("*")) if p.is_file()}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Held by one process that changes the directory at a time; given up when it ends, however it ends. Raises UserError where another holds it for long."""
    with saying("lock", folder):
        handle = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise UserError(f"{folder} is being changed by another process (taught again, perhaps): try again when that is done") from error
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_questions(folder: Path, corpus: Corpus) -> None:
    """The corpus's questions as `--questions` reads them, a line each."""
    rows = [question_row(q) for q in corpus.questions]
    write_atomically(folder / QUESTIONS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def question_row(q: Question) -> dict[str, Any]:
    """One question in the fields of docs/datasets/folder.md."""
    row = {"prompt": q.prompt, "answers": list(q.answers), "kind": q.kind, "fact": q.cluster, "split": q.split}
    return row | ({"choices": list(q.choices)} if q.choices else {}) | ({"support": list(q.support)} if q.support else {})


def read_questions(folder: Path) -> list[dict[str, Any]]:
    """The rows of questions.jsonl. Raises UserError naming a line that is none."""
    rows = []
    for number, line in enumerate((folder / QUESTIONS).read_text(encoding="utf-8").split("\n"), start=1):
        try:
            if line.strip():
                rows.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"{folder / QUESTIONS} line {number} is no JSON: {error}") from error
    return rows


def keep_questions(folder: Path, stands: Callable[[str], bool]) -> int:
    """Leave out the questions of which a supporting passage does not stand. How many went."""
    rows = read_questions(folder)
    kept = [row for row in rows if all(map(stands, row.get("support", ())))]
    if len(kept) < len(rows):
        write_atomically(folder / QUESTIONS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode())
    return len(rows) - len(kept)


def read_scores(folder: Path) -> dict[str, Any]:
    """scores.json. Raises UserError where it is damaged."""
    try:
        return json.loads((folder / SCORES).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / SCORES} cannot be read: {error}") from error


def write_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    write_atomically(folder / SCORES, json.dumps(scores, indent=1).encode())


def _inside(name: str) -> bool:
    """Whether `name` is a path that stays within its folder."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts
