"""`torchrun --nproc-per-node 2 --no-python tolman run STUDY` (or `accelerate launch`): several processes for each training.

Rank 0 runs the plan as ever: it alone holds locks, asks questions and writes. The others wait to be summoned and join its trainings; they leave no trace.
A method shares its batches by `train_time/_parallel.Team`; one that does not trains on every rank alike, and rank 0's weights count.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tolman.core.errors import UserError
from tolman.run.cell import Cell
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.store import Store

END = 0
"""What rank 0 says when there is no training any more; else it says which."""
PATIENCE = timedelta(days=30)
"""How long a process waits for the others: rank 0 asks questions and waits for locks in between. (One that dies is noticed at once.)"""
ELSEWHERE = "the processes of one training do not find the same in the store: --out must be a folder or URL that all of them reach"


def together() -> bool:
    """Whether torchrun or accelerate began this process as one of several."""
    return {"RANK", "MASTER_ADDR"} <= set(os.environ) and int(os.environ.get("WORLD_SIZE", "1")) > 1


def begin() -> int:
    """Meet the other processes; our rank."""
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    return dist.get_rank()


def end() -> None:
    """Rank 0: let the others go."""
    import torch.distributed as dist

    _say(END)
    dist.destroy_process_group()


def summon(fingerprint: str) -> None:
    """Rank 0: have the others join the training that begins now. One process alone has nobody to summon."""
    if together():
        _say(_number(fingerprint))


def loaded(seal: str) -> None:
    """Rank 0, when it has read its checkpoint (and set a damaged one aside): which it goes on from. It waits until the others have read the same."""
    if together():
        import torch.distributed as dist

        _say(_number(seal))
        dist.barrier()


def join(store: Store, groups: Sequence[Sequence[Cell]]) -> None:
    """What the ranks but 0 do: every training that rank 0 begins. Ctrl-C is for rank 0 to handle; when that is gone unasked, torch raises."""
    import torch.distributed as dist

    asked_to_stop: list[int] = []
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda number, frame: asked_to_stop.append(number))
    first = {_number(cell.train_fingerprint()): cell for cells in groups for cell in (cells[0], *beginnings(cells[0]))}
    try:
        while (number := _say(END)) != END:
            take_part(store, first[number])
    except RuntimeError:
        if not asked_to_stop:
            raise
        return  # rank 0 has saved and is gone
    dist.destroy_process_group()


def take_part(store: Store, cell: Cell) -> None:
    """One training, as rank 0 begins it."""
    corpus = cell.dataset.build(cell.seed)  # type: ignore[attr-defined]
    if before := beginnings(cell):
        if (found := store.read_artifact(before[0].train_fingerprint())) is None:
            raise UserError(ELSEWHERE)
        model, go = cell.model.load(found[0]), cell.train_time.go_on  # type: ignore[attr-defined]
    else:
        model, go = cell.model.create(corpus, seed=cell.seed), cell.train_time.train  # type: ignore[attr-defined]
    silent = Silent(FileCheckpoints(store, cell.train_fingerprint()))
    go(model, corpus, seed=cell.seed, checkpoints=silent, watch=silent)


def beginnings(cell: Cell) -> list[Cell]:
    """The cell of the training that `cell` begins with, for a method of two stages."""
    method = getattr(cell.train_time, "first", None)
    return [] if method is None else [cell.model_copy(update={"train_time": method})]


class Silent:
    """Checkpoints and watch of the ranks but 0: they go on from rank 0's state and say nothing."""

    def __init__(self, inner: FileCheckpoints) -> None:
        self.inner = inner

    def load(self) -> Mapping[str, Any] | None:
        import torch.distributed as dist

        seal = _say(END)
        state = self.inner.load()
        if seal != _number(self.inner.seal):
            raise UserError(ELSEWHERE)
        dist.barrier()
        return None if state is None else state["method"]

    def due(self) -> bool:
        return False

    def save(self, state: Mapping[str, Any]) -> None:
        """Rank 0 saves."""

    def step(self, step: int, steps: int, **values: float) -> None:
        pass

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        pass


def _number(fingerprint: str) -> int:
    return (int(fingerprint[:16] or "0", 16) >> 1) or 1  # 63 bits and not END


def _say(number: int) -> int:
    """Rank 0 says `number`, and every rank hears it."""
    import torch
    import torch.distributed as dist

    said = torch.tensor([number], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.broadcast(said, src=0)
    return int(said[0])
