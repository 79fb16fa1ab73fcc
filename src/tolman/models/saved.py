"""A model as a training of ours left it: an artifact of a store, to be asked again or trained on."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel


class Saved(Component):
    """The weights in `folder`, read by the component that wrote them."""

    folder: Path
    """What the model's `save` wrote, such as runs/artifacts/FINGERPRINT. Results depend on what is in it, not on where it is."""
    model: Nested
    """The component that reads it."""

    example: ClassVar[dict[str, Any]] = {
        "folder": Path(__file__).parent / "_saved_example",
        "model": {"is": "models/scripted", "answers": {"Ada lives in": "North Bray with Bo"}},
    }

    def create(self, corpus: Corpus, *, seed: int) -> LiveModel:
        """The model in `folder`, whatever the corpus. Raises UserError where there is none."""
        return self.load(self.folder)

    def load(self, folder: Path) -> LiveModel:
        """The model that was saved in `folder`, this one or what a further training made of it."""
        return self.model.load(folder)  # type: ignore[attr-defined]

    def identity(self) -> dict[str, Any]:
        """The bytes of the files stand for their place."""
        return super().identity() | {"folder": self.contents()}

    def contents(self) -> str:
        """Hash of all files in `folder`, from artifact.json where it has them. Raises UserError where there is no such folder."""
        about = self.folder / "artifact.json"
        try:
            files = json.loads(about.read_bytes())["files"] if about.exists() else _hashes(self.folder)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{about} is damaged: {error}") from error
        if not files:
            raise UserError(f"{self.folder} holds no model: there is no file in it")
        return hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=8).hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    return {path.relative_to(folder).as_posix(): _hash(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, time_ns: int) -> str:
    """Of a file that was not written since it was hashed, from memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
