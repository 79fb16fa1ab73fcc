"""Groups of cells as tasks of a Ray cluster. Nothing else imports Ray.

What Ray moves between the processes of a cluster (a group's configuration, events) it serialises with cloudpickle: a Ray cluster is one trusted party, and whoever
can reach it can run code on it. Nothing of that is stored: what is read from a store is JSON and safetensors.
"""

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from tolman.core.errors import UserError
from tolman.run.cell import Cell
from tolman.run.engines import conclude, outcome_of, stopping
from tolman.run.estimate import Resources, resources
from tolman.run.execute import Report, Stopped
from tolman.run.store import Store

POST_S = 0.2
"""How often a task sends what happened, and hears whether to stop."""


class Mailbox:
    """An actor beside the driver: tasks deliver events and learn whether to stop."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.started: set[int] = set()
        self.stopping = False

    def deliver(self, group: int, events: list[dict[str, Any]]) -> bool:
        """Keep `events` for the driver; whether the group should stop."""
        self.started.add(group)
        self.events += events
        return self.stopping

    def collect(self, stop: bool) -> tuple[list[dict[str, Any]], set[int]]:
        """The events since the last time, and the groups that ever began. `stop` asks all to stop."""
        events, self.events, self.stopping = self.events, [], self.stopping or stop
        return events, set(self.started)


def run_ray(store: Store, groups: Sequence[Sequence[Cell]], report: Report, *, address: str | None = None, workers: int | None = None) -> None:
    """Each group a task with the resources that its components need, `workers` at once (by default as many as the cluster has room for).

    Raises as the local engines do: Stopped when interrupted, UserError for what the user can mend. A task whose process or machine dies is run once more, and goes
    on from its checkpoint. The store must be one that every machine of the cluster reaches.
    """
    ray, ours = connect(address)
    with redirect_stdout(sys.stderr):  # Ray prints there how a worker died, and standard output is for results
        try:
            cpus = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers) if workers else 1
            needs = [resources(cells, cpus=cpus) for cells in groups]
            check_room(ray.nodes(), needs)
            mailbox = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Mailbox).remote()  # if it dies, some progress is not shown
            task = ray.remote(max_retries=0)(_work)

            def submit(group: int) -> Any:
                n = needs[group]
                placed = task.options(num_cpus=n.cpus, num_gpus=n.gpus, memory=n.memory_bytes, name=groups[group][0].training)
                return placed.remote(store.address, [cell.config() for cell in groups[group]], mailbox, group, n.cpus)

            with stopping() as stop:
                try:
                    drive(ray, mailbox, submit, groups, report, workers or len(groups), stop)
                finally:
                    ray.get(mailbox.collect.remote(True))
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            raise UserError(f"the Ray cluster failed: {_first_line(error)}; what was finished is kept, and the same command goes on from there") from error
        finally:
            if ours:
                ray.shutdown()


def drive(ray: Any, mailbox: Any, submit: Any, groups: Sequence[Sequence[Cell]], report: Report, most: int, stop: threading.Event) -> None:
    """Submit, pass on events, conclude; until all is done or what was under way has stopped."""
    waiting = [(group, 0) for group in range(len(groups))]
    running: dict[Any, tuple[int, int]] = {}
    while waiting or running:
        while waiting and len(running) < most and not stop.is_set():
            group, attempt = waiting.pop(0)
            running[submit(group)] = (group, attempt)
        ready, _ = ray.wait(list(running), timeout=POST_S) if running else ([], [])
        events, started = ray.get(mailbox.collect.remote(stop.is_set()))
        for event in events:
            report(event)
        for ref in ready:
            group, attempt = running.pop(ref)
            outcome, how = _outcome(ray, ref)
            if outcome == ("stopped",) and not stop.is_set():
                outcome, how = None, "it lost touch with this process"
            waiting += conclude(outcome, groups[group], group, attempt, how, report, stop.is_set())
        if stop.is_set() and not any(group in started for group, _ in running.values()):
            raise Stopped  # what is only queued is forgotten with the driver


def connect(address: str | None) -> tuple[Any, bool]:
    """Ray, connected to the cluster at `address`, or to one of this machine's cores that is begun now; and whether it is ours to shut down."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray needs Ray: pip install 'tolman[ray]'") from error
    if ray.is_initialized():
        return ray, False
    if address and (found := re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address)):  # Ray itself tries for minutes
        try:
            socket.create_connection((found[1], int(found[2])), timeout=10).close()
        except OSError as error:
            raise UserError(f"no Ray cluster answers at {address}: {error.strerror or error}; begin one with: ray start --head") from error
    try:
        ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:  # Ray raises bare ones too
        where = f"no Ray cluster answers at {address}" if address else "Ray does not start here"
        raise UserError(f"{where}: {_first_line(error)}; a cluster that asks for a token needs RAY_AUTH_MODE=token here") from error
    return ray, True


def check_room(nodes: Sequence[dict[str, Any]], needs: Sequence[Resources]) -> None:
    """Raises UserError if no machine is large enough for one of `needs`: Ray would wait for ever."""
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    for need in needs:
        wanted = {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory_bytes or 0.0}
        if not any(all(machine.get(name, 0) >= amount for name, amount in wanted.items()) for machine in machines):
            raise UserError(f"no machine of the cluster has {need.cpus} CPUs, {need.gpus} GPUs and {(need.memory_bytes or 0) / 2**30:.1f} GiB for one training")


def _outcome(ray: Any, ref: Any) -> tuple[Any, str]:
    """What a task returned, or None and how its process ended."""
    try:
        return ray.get(ref), ""
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        return None, f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _work(address: str, configs: list[dict[str, Any]], mailbox: Any, group: int, threads: int) -> tuple[str, ...]:
    """A task: one group. It stops, with its state saved, when the mailbox says so or is gone with the driver."""
    import ray.exceptions
    import torch

    torch.set_num_threads(threads)
    lock, stop, ended = threading.Lock(), threading.Event(), threading.Event()
    events: list[dict[str, Any]] = []

    def report(event: dict[str, Any]) -> None:
        with lock:
            events.append(event)

    def post() -> None:
        with lock:
            sent, events[:] = list(events), []
        try:
            if ray.get(mailbox.deliver.remote(group, sent)):
                stop.set()
        except ray.exceptions.RayError:
            stop.set()

    def keep_posting() -> None:
        while not ended.wait(POST_S):
            post()

    post()
    if stop.is_set():
        return ("stopped",)
    poster = threading.Thread(target=keep_posting, daemon=True)
    poster.start()
    outcome = outcome_of(address, configs, report, stop)
    ended.set()
    poster.join()
    post()
    return outcome
