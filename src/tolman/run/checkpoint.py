"""The state of a training that is under way, in one safetensors file that is replaced whole."""

import json
import os
import shutil
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tolman.core.errors import UserError
from tolman.run.store import Store


class FileCheckpoints:
    """Saves so often that it costs at most `share` of the time: a killed training of a small model loses a step or two, of a large one about 20 saves' time."""

    def __init__(self, store: Store, fingerprint: str, share: float = 0.05) -> None:
        self.store, self.share = store, share
        self.folder = store.checkpoint_folder(fingerprint)
        self.path = self.folder / "state.safetensors"
        self.stop = False
        """Set to be asked for a save at the next step, before stopping."""
        self._took_s = 0.0
        self._saved_at = perf_counter()

    def load(self) -> Mapping[str, Any] | None:
        """The last state, or None. A damaged file is set aside with a warning."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                skeleton = json.loads(file.metadata()["state"])
                return _unflatten(skeleton, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except Exception as error:  # safetensors raises its own bare error
            self.store.set_aside(self.path, f"the checkpoint {self.path} cannot be read ({error})")
            return None

    def due(self) -> bool:
        return self.stop or perf_counter() - self._saved_at >= self._took_s / self.share

    def save(self, state: Mapping[str, Any]) -> None:
        began = perf_counter()
        tensors: dict[str, torch.Tensor] = {}
        skeleton = _flatten(state, "", tensors)
        scratch = self.folder / f".state.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, scratch, {"state": json.dumps(skeleton)})
            os.replace(scratch, self.path)
        except (OSError, RuntimeError) as error:  # safetensors wraps the system's error
            scratch.unlink(missing_ok=True)
            raise UserError(f"cannot write the checkpoint {self.path}: {error}; what was finished before is intact") from error
        self._saved_at = perf_counter()
        self._took_s = self._saved_at - began

    def clear(self) -> None:
        """The training is done and its artifact written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _flatten(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().contiguous()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"dict": [[key, _flatten(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    assert value is None or isinstance(value, bool | int | float | str), f"a checkpoint cannot hold a {type(value).__name__} (at {path})"
    return {"value": value}


def _unflatten(skeleton: Any, tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unflatten(item, tensors) for key, item in content}
    if kind == "list":
        return [_unflatten(item, tensors) for item in content]
    return content
