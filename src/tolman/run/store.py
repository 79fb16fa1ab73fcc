"""Where artifacts (trained models) and records (measured cells) live. Everything appears whole or not at all, and is checked when read.

STORE/artifacts/FINGERPRINT/    a trained model, with artifact.json: what it is, what it cost, its learning curve, a hash of each file
STORE/records/FINGERPRINT.jsonl a measured cell: a header line, then a line for each question
STORE/checkpoints/FINGERPRINT/  state of a training that is under way
STORE/aside/                    what was found damaged, kept for a look
"""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tolman.core.errors import UserError

FORMAT = 1


class Damaged(Exception):
    """A file that is not what it was when it was written. Its message says which, and how that shows."""


class Store:
    """A folder of artifacts and records. Safe for several processes at once: whoever holds a lock works, the others wait and find it done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.warnings: list[str] = []
        try:
            for name in ("artifacts", "records", "checkpoints", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {self.folder}: {error.strerror}; choose another folder with --out") from error

    # -- records ---------------------------------------------------------------------------------------------------------------

    def write_record(self, fingerprint: str, header: dict[str, Any], items: list[dict[str, Any]]) -> None:
        lines = [json.dumps(item, ensure_ascii=False) for item in items]
        header = header | {"format": FORMAT, "items": len(lines), "sha256": _sha256("\n".join(lines).encode())}
        write_atomically(self.record_path(fingerprint), "\n".join((json.dumps(header, ensure_ascii=False), *lines, "")).encode())

    def read_record(self, fingerprint: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Header and items, or None if there is no record. A damaged one is set aside with a warning and counts as none."""
        path = self.record_path(fingerprint)
        try:
            return parse_record(path)
        except FileNotFoundError:
            return None
        except Damaged as damage:
            self.set_aside(path, str(damage))
            return None

    def record_path(self, fingerprint: str) -> Path:
        return self.folder / "records" / f"{fingerprint}.jsonl"

    # -- artifacts -------------------------------------------------------------------------------------------------------------

    @contextmanager
    def writing_artifact(self, fingerprint: str) -> Iterator[Path]:
        """A scratch folder to write a model into; call `finish_artifact` with it."""
        scratch = self.folder / "artifacts" / f".{fingerprint}.{uuid.uuid4().hex[:8]}"
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def finish_artifact(self, fingerprint: str, scratch: Path, about: dict[str, Any]) -> None:
        """Hash what is in `scratch`, describe it in artifact.json and move it into its place in one step."""
        hashes = {str(p.relative_to(scratch)): _sha256(p.read_bytes()) for p in sorted(scratch.rglob("*")) if p.is_file()}
        write_atomically(scratch / "artifact.json", json.dumps(about | {"format": FORMAT, "files": hashes}, indent=1).encode())
        place = self.folder / "artifacts" / fingerprint
        if place.exists():
            shutil.rmtree(place)
        os.rename(scratch, place)
        _sync_folder(place.parent)

    def read_artifact(self, fingerprint: str) -> tuple[Path, dict[str, Any]] | None:
        """Folder and artifact.json of a trained model, every file checked against its hash; None if there is none. A damaged one is set aside with a warning."""
        place = self.folder / "artifacts" / fingerprint
        if not place.exists():
            return None
        try:
            about = _read_json(place / "artifact.json")
            if about.get("format") != FORMAT:
                raise Damaged(f"{place / 'artifact.json'} has format {about.get('format')!r}, this version reads {FORMAT}")
            for name, expected in about["files"].items():
                if not (place / name).is_file():
                    raise Damaged(f"{place / name} is missing")
                if _sha256((place / name).read_bytes()) != expected:
                    raise Damaged(f"{place / name} does not have the hash it was written with")
        except Damaged as damage:
            self.set_aside(place, str(damage))
            return None
        return place, about

    # -- the rest --------------------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time; the system releases it when that process ends, however it ends."""
        with open(self.folder / "locks" / name, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def set_aside(self, path: Path, why: str) -> None:
        """Move `path` to STORE/aside and warn."""
        aside = self.folder / "aside"
        aside.mkdir(exist_ok=True)
        place = aside / f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{uuid.uuid4().hex[:4]}"
        os.rename(path, place)
        self.warnings.append(f"{why}; it was moved to {place} and will be made again")

    def checkpoint_folder(self, fingerprint: str) -> Path:
        return self.folder / "checkpoints" / fingerprint


def parse_record(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and items of a record file. Raises Damaged saying what does not fit, FileNotFoundError if there is no such file."""
    head, _, body = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(head)
        if not isinstance(header, dict):
            raise ValueError("the first line is no JSON object")
    except ValueError as error:
        raise Damaged(f"{path} has no readable header: {error}") from error
    if header.get("format") != FORMAT:
        raise Damaged(f"{path} has format {header.get('format')!r}, this version reads {FORMAT}")
    if _sha256(body.removesuffix(b"\n")) != header.get("sha256"):
        raise Damaged(f"{path} is not as it was written (its items do not have their hash)")
    return header, [json.loads(line) for line in body.splitlines()]


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that at any moment `path` holds either the old bytes or all of the new ones, on disk. Raises UserError when the disk refuses."""
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(scratch, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        _sync_folder(path.parent)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}; what was finished before is intact, and the same command goes on from there") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing") from error
    except ValueError as error:
        raise Damaged(f"{path} is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise Damaged(f"{path} holds no JSON object")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
