"""What a run will take, before it is run: floating-point operations of the trainings over the speed of this machine, and the memory of one training."""

import os
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tolman.core.component import Component
from tolman.run.cell import Cell
from tolman.run.ranks import beginnings

SHARE_OF_PEAK, SHARE_OF_PEAK_LARGE, LARGE = 0.2, 0.6, 20e6
"""Share of the processor's peak that trainings reach (measured on 2 cores: small ones 0.15 to 0.3, benchmarks/train_tiny.py; the embedded model of 135 million weights
0.68, benchmarks/finetune.py), and from how many weights on a model is large."""
LIBRARIES_BYTES = 450e6
"""Memory that Python, torch and a corpus take before anything is trained."""
WEIGHT_BYTES, TRAINED_BYTES = 4, 16
"""Memory of a weight in float32, and with its gradient and AdamW's two moments."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected seconds and peak bytes of one training with the questions after it; None where a component does not say."""

    seconds: float | None
    memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class Resources:
    """What one training needs of a machine while it runs."""

    cpus: int
    gpus: int
    memory_bytes: int | None
    """None where the components do not say."""


def resources(cells: Sequence[Cell], *, cpus: int = 1) -> Resources:
    """For cells that share one training: a GPU if the model's `device` is one, and the memory that its sizes come to."""
    memory = memory_bytes(cells)
    return Resources(cpus, int(str(getattr(cells[0].model, "device", "cpu")).startswith("cuda")), None if memory is None else round(memory))


def memory_bytes(cells: Sequence[Cell]) -> float | None:
    """Peak memory of one training: weights, gradients and optimiser state (of a method that leaves them `frozen` the weights alone), activations of one batch,
    libraries. None where the model does not say how large it is."""
    model, methods = cells[0].model, stages(cells[0].train_time)
    if (weights := parameters(model)) is None:
        return None
    of_weight = WEIGHT_BYTES if all(getattr(m, "frozen", False) for m in methods) else TRAINED_BYTES
    activation = getattr(model, "activation_bytes_per_token", None)
    return LIBRARIES_BYTES + of_weight * weights + (activation() if activation else 0) * max(getattr(m, "batch_tokens", 0) for m in methods)


def parameters(model: Any) -> int | None:
    """The number of a model component's weights; None where it does not say."""
    count = getattr(model, "parameter_count", None)
    return count() if count else None


def stages(method: Component) -> list[Component]:
    """The trainings that `method` consists of; itself, if it holds no other."""
    inner = [value for name in type(method).model_fields if hasattr(value := getattr(method, name), "train")]
    return [stage for value in inner for stage in stages(value)] or [method]


def peak_flops() -> float:
    """bfloat16 matrix products of this machine, in FLOPs per second, measured for about a fifth of a second."""
    import torch

    a, b = torch.ones(2048, 512).bfloat16(), torch.ones(512, 512).bfloat16()
    _ = a @ b
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < 0.2:
        _ = a @ b
        n += 1
    return 2 * 2048 * 512 * 512 * n / (time.perf_counter() - began)


def expected(cells: Sequence[Cell], peak: float, made: Container[str] = ()) -> Expected:
    """For cells that share one training, which goes on from those it begins with where they are `made` (fingerprints). Asking is taken as a tenth of training: a rough
    guess, said so where it is printed."""
    tokens, weights = getattr(cells[0].train_time, "train_tokens", None), parameters(cells[0].model)
    if tokens is None or weights is None:
        return Expected(None, None)
    before = sum(getattr(inner.train_time, "train_tokens", int)() for inner in beginnings(cells[0]) if inner.train_fingerprint() in made)
    flops = (4 if all(getattr(m, "frozen", False) for m in stages(cells[0].train_time)) else 6) * weights  # frozen weights need no gradient of their own
    seconds = 1.1 * flops * (tokens() - before) / (peak * (SHARE_OF_PEAK if weights < LARGE else SHARE_OF_PEAK_LARGE))
    return Expected(seconds, memory_bytes(cells))


def expected_each(groups: Iterable[Sequence[Cell]], peak: float) -> Iterator[Expected]:
    """For each of some groups of cells, a training that several of them begin with counted once."""
    made: set[str] = set()
    for cells in groups:
        yield expected(cells, peak, made)
        made |= made_by(cells[0])


def made_by(cell: Cell) -> set[str]:
    """Fingerprints of its training and of those that it begins with."""
    return {cell.train_fingerprint()}.union(*(made_by(inner) for inner in beginnings(cell)))


def default_workers() -> int:
    """One process for every two cores, at least one."""
    return max(1, (os.cpu_count() or 1) // 2)
