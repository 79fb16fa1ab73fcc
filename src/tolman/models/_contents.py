"""What a folder holds, as a hash: a model on this machine is known by its bytes, not by its place."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from tolman.core.errors import UserError


def contents(folder: Path) -> str:
    """Hash of all files in `folder`, from artifact.json where it has them. Raises UserError where there is no such folder."""
    about = folder / "artifact.json"
    try:
        files = json.loads(about.read_bytes())["files"] if about.exists() else _hashes(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{about} is damaged: {error}") from error
    if not files:
        raise UserError(f"{folder} holds no model: there is no file in it")
    return hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=8).hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    return {path.relative_to(folder).as_posix(): _hash(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, time_ns: int) -> str:
    """Of a file that was not written since it was hashed, from memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
