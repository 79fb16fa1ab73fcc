"""`tolman add` and `tolman forget`: what a taught directory remembers changes at once; what its weights learned does not, and is said."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tolman.app import _card, _directory
from tolman.app._lesson import copy_document, episodes, memory_of
from tolman.core.errors import UserError, suggest
from tolman.datasets.folder import Folder
from tolman.memory._episodes import Episodes


@dataclass(frozen=True)
class Added:
    """What `add` did."""

    passages: dict[str, int]
    """File -> how many passages of it are remembered from now on."""
    replaced: tuple[str, ...]
    """Files of which another version was there."""
    questions_dropped: int
    """Questions that rested on those versions."""
    problems: tuple[str, ...]
    """What could not be read, and why."""


@dataclass(frozen=True)
class Forgotten:
    """What `forget` did."""

    files: tuple[str, ...]
    passages: int
    questions_dropped: int
    in_weights: tuple[str, ...]
    """Files that the weights were trained on."""

    def weights(self, folder: Path) -> str:
        """What the weights still hold, in a sentence; "" where they hold nothing of it."""
        if not self.in_weights:
            return ""
        return (
            f"the weights were trained on {', '.join(self.in_weights)} and may still state it: no training surely empties them; "
            f"tolman teach --out {folder} trains new ones without it, from the base model"
        )


def add(folder: Path, paths: Sequence[Path], *, only: Collection[str] | None = None) -> Added:
    """Remember files (or all that is in folders, `only` some of it) from now on. Raises UserError where there is no such file, or nothing in it to read."""
    about = _directory.read(folder)
    found: dict[str, tuple[Path, list[Any]]] = {}
    problems: list[str] = []
    for path in paths:
        dataset = Folder(path=path, passage_words=about["dataset"]["passage_words"])
        reading, passages = dataset.read()
        places = dataset.files()
        problems += map(str, reading.problems)
        for source in reading.sources:
            if only is not None and source.file not in only:
                continue
            if source.file in found:
                raise UserError(f"two files are called {source.file}: {found[source.file][0]} and {places[source.file]}; add one of them under another name")
            found[source.file] = (places[source.file], [p for p in passages if p.file == source.file])
    with _directory.changing(folder):
        about = _directory.read(folder)
        memory = memory_at(folder, about)
        replaced = tuple(sorted(set(found) & set(memory.files())))
        for name, (path, _) in found.items():
            copy_document(path, folder / _directory.DOCUMENTS, name)
        memory.add(episodes([p for _, passages in found.values() for p in passages]))
        dropped = _directory.keep_questions(folder, lambda id: id.rpartition(":")[0] not in replaced)
        _directory.write(folder, about | {"forgotten": {name: h for name, h in about["forgotten"].items() if name not in found}})
        _card.write(folder, memory.files())
    return Added({name: len(passages) for name, (_, passages) in found.items()}, replaced, dropped, tuple(problems))


def forget(folder: Path, names: Sequence[str]) -> Forgotten:
    """Remember nothing of these files any more, and drop the questions about them. Raises UserError with the nearest name for a file that is not remembered."""
    with _directory.changing(folder):
        about = _directory.read(folder)
        memory = memory_at(folder, about)
        kept = folder / _directory.DOCUMENTS  # looked into as well: one who was killed half-way can do it again
        known = {*memory.files(), *(p.relative_to(kept).as_posix() for p in kept.rglob("*") if p.is_file())}
        files = tuple(dict.fromkeys(named(name, known) for name in names))
        passages = memory.forget(files)
        gone = {}
        for name in files:
            path = kept / name
            gone[name] = _directory.sha256(path) if path.is_file() else about["documents"].get(name, "")
            path.unlink(missing_ok=True)
        dropped = _directory.keep_questions(folder, lambda id: id.rpartition(":")[0] not in files)
        _directory.write(folder, about | {"forgotten": about["forgotten"] | gone})
        _card.write(folder, memory.files())
    return Forgotten(files, passages, dropped, tuple(name for name in files if about["trains"] and name in about["documents"]))


def settle(folder: Path) -> None:
    """Make memory, files and questions agree, should one who added or forgot have been killed between them: what is in documents/ is what is remembered."""
    about = _directory.read(folder)
    dataset = Folder(path=folder / _directory.DOCUMENTS, passage_words=about["dataset"]["passage_words"])
    passages, memory = dataset.read()[1], memory_at(folder, about)
    wanted, held = episodes(passages), set(memory.all())
    here = {e.file for e in wanted}
    memory.forget(name for name in memory.files() if name not in here)
    memory.add([e for e in wanted if e.file in {other.file for other in set(wanted) - held}])
    for path in (folder / _directory.DOCUMENTS).rglob("*"):  # copies of one text, added under two names
        if path.is_file() and path.relative_to(folder / _directory.DOCUMENTS).as_posix() not in here:
            path.unlink()
    ids = {e.id for e in wanted}
    _directory.keep_questions(folder, lambda id: id in ids)


def named(name: str, known: Iterable[str]) -> str:
    """The remembered file that is meant by `name`: its name, a path that ends with it, or the end of it, where only one fits."""
    known = list(known)
    asked = os.path.normpath(name).replace(os.sep, "/")
    if asked in known:
        return asked
    fits = [k for k in known if asked.endswith(f"/{k}") or k.endswith(f"/{asked}")]
    if len(fits) == 1:
        return fits[0]
    raise UserError(f"no file {name!r} is remembered; {suggest(asked, fits or known)}")


def memory_at(folder: Path, about: dict[str, Any]) -> Episodes:
    """The memory of a taught directory."""
    return memory_of(_directory.components(about)["test_time"]).open(folder / _directory.MEMORY)
