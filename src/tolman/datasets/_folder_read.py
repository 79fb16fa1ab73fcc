"""The files of a folder as texts whose every character has a place: txt, md, html, pdf, docx, jsonl. What cannot be read is named, never swallowed.

Read are regular files with a known ending, in the order of their paths. Hidden files and folders, links, binary, huge, empty and duplicate files are left out, each
as a `Problem`. A text is lines: a heading or a paragraph each, so that a sentence never crosses one. Marks that some tokenizer takes for an order (`<|im_start|>`,
`[INST]`) get a space after their first character: what stands in a document is quoted data.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tolman.core.errors import UserError
from tolman.datasets._folder_formats import ENDINGS, Block, Unreadable, blocks

MOST_BYTES = 32 * 2**20
"""Larger files are left out: a text of that size is a data set, and its parts should be files of their own."""

_MARK = re.compile(r"<(?=\|[\w ]{1,40}\|>|/?s>|/?SYS>>|(?:start|end)_of_turn>|(?:bos|eos|pad|unk|mask)>)|\[(?=/?INST\])")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


class Section(NamedTuple):
    """The characters `begin` to `end` of a text, under the heading `title` ("" before the first one), which is `written` above them or only names their place."""

    title: str
    begin: int
    end: int
    written: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says. `file` is its path within the folder, with `/`; `text` is made of lines, headings included; `sections` cover its paragraphs in order."""

    file: str
    text: str
    sections: tuple[Section, ...]

    @property
    def words(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Problem:
    """What was found about a file. `left_out`: nothing of it was read."""

    file: str
    says: str
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.file} {self.says}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A folder as it was read."""

    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]


def read(folder: Path, *, without: Iterable[Path] = ()) -> Reading:
    """Every text of `folder` (or of the one file that it is), `without` some files. Raises UserError where there is no such folder."""
    sources: list[Source] = []
    problems: list[Problem] = []
    same: dict[str, str] = {}
    for name, path in _walk(folder, {p.resolve() for p in without}, problems):
        try:
            found, notes = blocks(path)
        except Unreadable as why:
            problems.append(Problem(name, str(why)))
            continue
        text, sections = _assemble(found)
        if not sections:
            problems.append(Problem(name, notes.pop(0) if notes else "has no text"))
            continue
        problems += [Problem(name, note, left_out=False) for note in notes]
        twin = same.setdefault(text, name)
        if twin != name:
            problems.append(Problem(name, f"has the same text as {twin}, which is read instead"))
            continue
        sources.append(Source(name, text, sections))
    return Reading(tuple(sources), tuple(problems))


def digest(folder: Path, *, without: Iterable[Path] = ()) -> str:
    """Hash of the names and bytes of all that `read` would read: what a corpus of this folder depends on."""
    hasher = hashlib.blake2b(digest_size=8)
    for name, path in _walk(folder, {p.resolve() for p in without}, []):
        about = path.stat()
        hasher.update(f"{name}\0{_hash(path, about.st_size, about.st_mtime_ns)}\0".encode())
    return hasher.hexdigest()


def files(folder: Path, *, without: Iterable[Path] = ()) -> Iterator[tuple[str, Path]]:
    """(name, path) of all that `read` would look into."""
    return _walk(folder, {p.resolve() for p in without}, [])


_HASHES: dict[tuple[Path, int, int], str] = {}


def _hash(path: Path, size: int, time_ns: int) -> str:
    """Of a file that has neither grown nor been written since it was hashed, from memory."""
    key = (path.absolute(), size, time_ns)
    if key not in _HASHES:
        _HASHES[key] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return _HASHES[key]


def _walk(folder: Path, without: set[Path], problems: list[Problem]) -> Iterator[tuple[str, Path]]:
    """(name, path) of the files to read, in the order of their names; what stands beside them becomes a problem."""
    if not folder.exists():
        raise UserError(f"there is no folder {folder}")
    single = not folder.is_dir()
    pending = [folder] if single else _children(folder, folder, problems)
    while pending:
        path = pending.pop(0)
        name = path.name if single else path.relative_to(folder).as_posix()
        name = os.fsencode(name).decode("utf-8", "replace")
        if path.resolve() in without:
            continue
        if path.name.startswith(".") and not single:
            problems.append(Problem(name, "is hidden"))
        elif path.is_symlink() and not single:
            problems.append(Problem(name, _link(path, folder)))
        elif path.is_dir():
            pending = _children(path, folder, problems) + pending
        elif (why := _refused(path)) is not None:
            problems.append(Problem(name, why))
        else:
            yield name, path


def _children(path: Path, folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        return sorted(path.iterdir(), key=lambda p: os.fsencode(p.name))
    except OSError as error:
        problems.append(Problem(path.relative_to(folder).as_posix(), f"cannot be listed ({error.strerror})"))
        return []


def _link(path: Path, folder: Path) -> str:
    target = path.resolve()
    if not target.exists():
        return "is a link to nothing"
    inside = target.is_relative_to(folder.resolve())
    return f"is a link to {target.relative_to(folder.resolve()).as_posix()}, which is read where it lies" if inside else "is a link out of the folder"


def _refused(path: Path) -> str | None:
    """Why a file is not even opened."""
    if path.suffix.lower() not in ENDINGS:
        return f"has an ending that is not read (these are: {', '.join(ENDINGS)})"
    try:
        about = path.stat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not stat.S_ISREG(about.st_mode):
        return "is no regular file"
    if not about.st_size:
        return "is empty"
    if about.st_size > MOST_BYTES:
        return f"has {about.st_size / 2**20:.0f} MiB, more than the {MOST_BYTES // 2**20} that a document may have"
    return None


def _assemble(found: Iterable[Block]) -> tuple[str, tuple[Section, ...]]:
    """One text of all blocks, and its sections."""
    lines: list[str] = []
    sections: list[Section] = []
    title, written, begin, at = "", True, None, 0
    for block in (*found, Block("", heading=True)):
        line = clean(block.text)
        if block.heading:
            if begin is not None:
                sections.append(Section(title, begin, at - 1, written))
            title, written, begin = line, block.written, None
        elif line and begin is None:
            begin = at
        if line and block.written:
            lines.append(line)
            at += len(line) + 1
    return "\n".join(lines), tuple(sections)


def clean(text: str) -> str:
    """`text` on one line: composed (NFC), no control or invisible characters, no marks that a tokenizer would obey, single spaces."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = _INVISIBLE.sub("", text)
    text = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else "\ufffd" if unicodedata.category(c) in ("Cs", "Co", "Cn") else c for c in text
    )
    return _MARK.sub(lambda m: m[0] + " ", " ".join(text.split()))
