"""Where trainings run: in this process, or in worker processes of this machine."""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tolman.core.errors import UserError
from tolman.run.cell import Cell, cell_from_config
from tolman.run.execute import Report, Stopped, execute
from tolman.run.ranks import beginnings, together
from tolman.run.store import Store


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that work can stop at the next step with its state saved; a second Ctrl-C ends at once (but under torchrun, which
    passes on every signal that the terminal has sent to all; it kills what has not ended after 30 s)."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(signum: int, frame: object) -> None:
        if stop.is_set() and not together():
            raise KeyboardInterrupt
        stop.set()

    previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)


def run_here(store: Store, groups: Sequence[Sequence[Cell]], report: Report) -> None:
    """Each group in turn, in this process, with all its cores. Raises Stopped when interrupted."""
    with stopping() as stop:
        for cells in groups:
            execute(store, cells, report, stop)
            report({"event": "group", "training": cells[0].train_fingerprint()})


def run_workers(store: Store, groups: Sequence[Sequence[Cell]], report: Report, workers: int) -> None:
    """Groups shared out to `workers` processes, each with its share of the cores. A group that goes on from a training under way begins after it.

    A worker that dies (killed, out of memory) is replaced once for the group it had; a second death of the same group is an error that names it.
    """
    context = multiprocessing.get_context("spawn")
    waiting = [(i, 0) for i in range(len(groups))]
    running: dict[int, tuple[Any, Any, int, int]] = {}
    number = 0
    with stopping() as stop:
        try:
            while waiting or running:
                while len(running) < workers and not stop.is_set() and (able := ready(groups, waiting, [group for *_, group, _ in running.values()])):
                    waiting.remove(able[0])
                    group, attempt = able[0]
                    threads = max(1, (os.cpu_count() or 1) // min(workers, len(running) + len(able)))
                    mine, its = context.Pipe()
                    configs = [cell.config() for cell in groups[group]]
                    process = context.Process(target=_work, args=(store.address, configs, its, threads, os.getpid()), daemon=True)
                    process.start()
                    its.close()
                    running[number] = (process, mine, group, attempt)
                    number += 1
                if stop.is_set():
                    for process, *_ in running.values():
                        if process.pid is not None and process.is_alive():
                            os.kill(process.pid, signal.SIGTERM)
                for key in list(running):
                    process, pipe, group, attempt = running[key]
                    outcome = _drain(pipe, report)
                    if outcome is None and process.is_alive():
                        continue
                    outcome = outcome or _drain(pipe, report)
                    process.join()
                    del running[key]
                    waiting += conclude(outcome, groups[group], group, attempt, f"exit code {process.exitcode}", report, stop.is_set())
                if stop.is_set() and not running:
                    raise Stopped
                time.sleep(0.02)
        finally:
            for process, *_ in running.values():
                process.terminate()


def ready(groups: Sequence[Sequence[Cell]], waiting: Sequence[tuple[int, int]], running: Sequence[int]) -> list[tuple[int, int]]:
    """Those of `waiting` that do not go on from a training that is `running` or comes before them: a worker would only wait for it, and keep cores from it."""
    begun = {groups[group][0].train_fingerprint() for group in running}
    able = []
    for group, attempt in waiting:
        first = groups[group][0]
        if not begun & {inner.train_fingerprint() for inner in beginnings(first)}:
            able.append((group, attempt))
        begun.add(first.train_fingerprint())
    return able


def conclude(outcome: Any, cells: Sequence[Cell], group: int, attempt: int, how: str, report: Report, stopped: bool) -> list[tuple[int, int]]:
    """What a finished worker means: nothing more to do, an error to raise, or the group to be tried again. `how` it ended, if it left no outcome."""
    if outcome == ("done",):
        report({"event": "group", "training": cells[0].train_fingerprint()})
        return []
    if stopped or outcome == ("stopped",):
        return []
    if outcome is not None:
        raise UserError(outcome[1]) if outcome[0] == "user error" else RuntimeError(outcome[1])
    name = f"{cells[0].training or cells[0].dataset.address()}, seed {cells[0].seed}"
    if attempt:
        raise UserError(f"the worker for {name!r} died twice ({how}); if memory ran out, use fewer --workers; finished cells are kept")
    report({"event": "warning", "text": f"the worker for {name!r} died ({how}); a new one goes on from its checkpoint"})
    return [(group, attempt + 1)]


def _drain(pipe: Any, report: Report) -> Any:
    """Pass on what a worker reported; its outcome if it sent one."""
    try:
        while pipe.poll():
            message = pipe.recv()
            if isinstance(message, tuple):
                return message
            report(message)
    except (EOFError, OSError):
        return None
    return None


def _work(address: str, configs: list[dict[str, Any]], pipe: Any, threads: int, parent: int) -> None:
    """A worker's life: one group. It ends itself when the process that began it is gone."""
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    lock = threading.Lock()

    def report(event: dict[str, Any]) -> None:
        with lock:
            pipe.send(event)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent passes it on as SIGTERM
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    outcome = outcome_of(address, configs, report, stop)
    with suppress(BrokenPipeError):  # the error of another worker has ended the run, and has been said
        pipe.send(outcome)


def outcome_of(address: str, configs: list[dict[str, Any]], report: Report, stop: threading.Event) -> tuple[str, ...]:
    """Run a group in the store at `address`; how that ended, in a form that every engine can send to its driver."""
    try:
        execute(Store(address), [cell_from_config(c) for c in configs], report, stop)
    except Stopped:
        return ("stopped",)
    except UserError as error:
        return ("user error", str(error))
    except Exception as error:
        return ("error", f"{error!r} in a worker\n{traceback.format_exc()}")
    return ("done",)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
