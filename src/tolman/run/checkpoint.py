"""The state of a training that is under way, in one safetensors file that is replaced whole."""

import hashlib
import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tolman.run.store import Store


class FileCheckpoints:
    """Saves so often that it costs at most `share` of the time: a killed training of a small model loses a step or two, of a large one about 20 saves' time."""

    def __init__(self, store: Store, fingerprint: str, share: float = 0.05) -> None:
        self.store, self.share = store, share
        self.key = f"checkpoints/{fingerprint}/state.safetensors"
        self.path = store.checkpoint_folder(fingerprint) / "state.safetensors"
        """Where the state is, in a store that is a folder."""
        self.seal = ""
        """Hash of the state that was loaded; empty if there was none."""
        self.stop = False
        """Set to be asked for a save at the next step, before stopping."""
        self._took_s = 0.0
        self._saved_at = perf_counter()

    def load(self) -> Mapping[str, Any] | None:
        """The last state, or None. A damaged file is set aside with a warning."""
        try:
            with safe_open(self.store.place.file(self.key), "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about.get("sha256", (found := _hash(about["state"], tensors))) != found:  # states written before 2026-11-25 have none
                raise ValueError("it is not as it was written")
            state = _unflatten(json.loads(about["state"]), tensors)
            if not isinstance(state, dict):
                raise ValueError("it holds no state")
            self.seal = found
            return state
        except FileNotFoundError:
            return None
        except Exception as error:  # safetensors raises its own bare error
            self.store.set_aside(self.key, f"the checkpoint {self.store.address}/{self.key} cannot be read ({error})")
            return None

    def due(self) -> bool:
        return self.stop or perf_counter() - self._saved_at >= self._took_s / self.share

    def save(self, state: Mapping[str, Any]) -> None:
        began = perf_counter()
        tensors: dict[str, torch.Tensor] = {}
        skeleton = json.dumps(_flatten(state, "", tensors))
        with self.store.place.replacing(self.key) as scratch:
            save_file(tensors, scratch, {"state": skeleton, "sha256": _hash(skeleton, tensors)})
        self._saved_at = perf_counter()
        self._took_s = self._saved_at - began

    def clear(self) -> None:
        """The training is done and its artifact written."""
        self.store.place.remove(self.key.rpartition("/")[0])


def _hash(skeleton: str, tensors: Mapping[str, torch.Tensor]) -> str:
    content = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        content.update(tensors[name].cpu().reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _flatten(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous()
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
    if kind != "value":
        raise ValueError(f"it holds a {kind!r}")
    return content
