# pyright: reportMissingImports=false
"""What the tasks of this folder ask of Python: their questions as data sets, and the judgement of written answers."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets


def _beside(name: str) -> ModuleType:
    """The module in the file `name`.py of this folder, wherever the folder is."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge = _beside("judge")


def load(kind: str, with_choices: bool, **_: Any) -> dict[str, datasets.Dataset]:
    """The questions of `kind` as the split `test`."""
    return {"test": datasets.Dataset.from_list(judge.questions(kind, with_choices=with_choices))}


def exact(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 for a right answer, else 0."""
    return {"exact": float(judge.right(results[0], doc))}
