"""What a store holds: artifacts (trained models) and records (measured cells). Everything appears whole or not at all, and is checked by hash when read.

STORE/artifacts/FINGERPRINT/    a trained model, with artifact.json: what it is, what it cost, its learning curve, a hash of each file
STORE/records/FINGERPRINT.jsonl a measured cell: a header line, then a line for each question
STORE/checkpoints/FINGERPRINT/  state of a training that is under way
STORE/aside/                    what was found damaged, kept for a look
STORE/locks/                    who works on what
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tolman.run.places import Bucket, Folder, Place, saying, write_atomically

__all__ = ["Damaged", "Store", "parse_record", "saying", "write_atomically"]

FORMAT = 1


class Damaged(Exception):
    """A file that is not what it was when it was written. Its message says which, and how that shows."""


class Store:
    """Artifacts and records in a folder, or at a URL. Safe for several processes at once: whoever holds a lock works, the others wait and find it done."""

    def __init__(self, at: Path | str) -> None:
        self.warnings: list[str] = []
        self.place: Place
        """Where the bytes are."""
        self.address: str
        """Opens the same store in another process."""
        self.folder: Path
        """Where reports go: the store itself, or ./runs beside a store that is elsewhere."""
        if isinstance(at, str) and "://" in at:
            self.place, self.address, self.folder = Bucket(at), at, Path("runs").absolute()
        else:
            self.folder = Path(at).absolute()
            self.place, self.address = Folder(self.folder), str(self.folder)

    # -- records ---------------------------------------------------------------------------------------------------------------

    def write_record(self, fingerprint: str, header: dict[str, Any], items: list[dict[str, Any]]) -> None:
        lines = [_json(item) for item in items]
        header = sealed(header | {"format": FORMAT, "items": len(lines), "sha256": _sha256(b"\n".join(lines))})
        self.place.write(record_key(fingerprint), b"\n".join((_json(header), *lines, b"")))

    def read_record(self, fingerprint: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Header and items, or None if there is no record. A damaged one is set aside with a warning and counts as none."""
        key = record_key(fingerprint)
        try:
            return parse_record(self.place.read(key), f"{self.address}/{key}")
        except FileNotFoundError:
            return None
        except Damaged as damage:
            self.set_aside(key, str(damage))
            return None

    def record_stamps(self) -> dict[str, str]:
        """Fingerprint -> stamp of every record there is, unread. A stamp changes when the file does."""
        return {name.removesuffix(".jsonl"): stamp for name, stamp in self.place.listing("records").items() if name.endswith(".jsonl")}

    def record_path(self, fingerprint: str) -> Path:
        return self.folder / "records" / f"{fingerprint}.jsonl"

    # -- artifacts -------------------------------------------------------------------------------------------------------------

    @contextmanager
    def writing_artifact(self, fingerprint: str) -> Iterator[Path]:
        """A scratch folder to write a model into; call `finish_artifact` with it."""
        with self.place.preparing(f"artifacts/{fingerprint}") as scratch:
            yield scratch

    def finish_artifact(self, fingerprint: str, scratch: Path, about: dict[str, Any]) -> None:
        """Hash what is in `scratch`, describe it in artifact.json and make it visible in one step."""
        hashes = {str(p.relative_to(scratch)): _sha256(p.read_bytes()) for p in sorted(scratch.rglob("*")) if p.is_file()}
        data = _json(sealed(about | {"format": FORMAT, "files": hashes}), indent=1)
        self.place.publish(scratch, f"artifacts/{fingerprint}", hashes, "artifact.json", data)

    def read_artifact(self, fingerprint: str) -> tuple[Path, dict[str, Any]] | None:
        """A local folder with a trained model, and its artifact.json, every file checked against its hash; None if there is none. A damaged one is set aside
        with a warning."""
        key = f"artifacts/{fingerprint}"
        name = f"{self.address}/{key}"
        try:
            about = _unsealed(self.place.read(f"{key}/artifact.json"), f"{name}/artifact.json")
            files = about.get("files")
            if not isinstance(files, dict) or not all(isinstance(h, str) and _inside(n) and _inside(h) for n, h in files.items()):
                raise Damaged(f"{name}/artifact.json does not list its files")
            folder = self.place.fetch(key, files)
            for file, expected in files.items():
                if not (folder / file).is_file():
                    raise Damaged(f"{name}/{file} is missing")
                if _sha256((folder / file).read_bytes()) != expected:
                    raise Damaged(f"{name}/{file} does not have the hash it was written with")
        except FileNotFoundError:
            return None
        except Damaged as damage:
            self.set_aside(key, str(damage))
            return None
        return folder, about

    # -- the rest --------------------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time, and given up when that process ends, however it ends."""
        with self.place.lock(name):
            yield

    def set_aside(self, key: str, why: str) -> None:
        """Move what is under `key` to STORE/aside and warn."""
        to = f"aside/{PurePosixPath(key).name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{uuid.uuid4().hex[:12]}"
        try:
            self.place.move(key, to)
        except FileNotFoundError:  # another process found it damaged too, and was quicker
            return
        self.warnings.append(f"{why}; it was moved to {self.address}/{to} and will be made again")

    def checkpoint_folder(self, fingerprint: str) -> Path:
        """Where the state of a training is, in a store that is a folder."""
        return self.folder / "checkpoints" / fingerprint


def record_key(fingerprint: str) -> str:
    return f"records/{fingerprint}.jsonl"


def parse_record(data: bytes | Path, name: str = "") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and items of a record's bytes, or of the file with them. Raises Damaged saying what does not fit, FileNotFoundError if there is no such file."""
    if isinstance(data, Path):
        data, name = data.read_bytes(), str(data)
    head, _, body = data.partition(b"\n")
    header = _unsealed(head, name)
    if _sha256(body.removesuffix(b"\n")) != header.get("sha256"):
        raise Damaged(f"{name} is not as it was written (its items do not have their hash)")
    return header, [_json_object(line, name) for line in body.splitlines()]


def sealed(header: dict[str, Any]) -> dict[str, Any]:
    """`header` with a hash of its own JSON, so that a changed digit in a cost is found too."""
    return header | {"seal": _sha256(_json(header))}


def _unsealed(data: bytes, name: str) -> dict[str, Any]:
    """What `sealed` was given. Raises Damaged for what is no JSON object, was changed, or has another format. (Stores written before 2026-11-25 have no seals.)"""
    header = _json_object(data, name)
    if header.get("format") != FORMAT:
        raise Damaged(f"{name} has format {header.get('format')!r}, this version reads {FORMAT}")
    seal = header.pop("seal", None)
    if seal is not None and seal != _sha256(_json(header)):
        raise Damaged(f"{name} is not as it was written (it does not have its own hash)")
    return header


def _json(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "surrogatepass")


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name} has a line that is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Damaged(f"{name} has a line that holds no JSON object")
    return value


def _inside(name: str) -> bool:
    """Whether `name` is a path that stays within its folder."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
