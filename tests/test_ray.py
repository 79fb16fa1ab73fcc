"""The Ray engine on a real cluster of this machine: the records of a local run, and nothing lost when a worker or the driver dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from test_places import content, records, scripted_cells
from test_run import tiny_cells
from tolman.core.errors import UserError
from tolman.run.estimate import Resources, memory_bytes, resources
from tolman.run.plan import Plan
from tolman.run.store import Store

pytest.importorskip("ray")
from tolman.run.ray_engine import Mailbox, check_room

DRIVER = """
import sys; from pathlib import Path; sys.path.insert(0, {tests!r})
from test_run import tiny_cells; from tolman.run.plan import Plan; from tolman.run.store import Store
if __name__ == "__main__":
    plan = Plan("demo", "quick", tuple(tiny_cells(steps={steps}, seeds=(0, 1))), Store({store!r}))
    plan.run(lambda e: print(e, flush=True), workers=None, engine="ray", address={address!r})
"""
ENV = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0",  # by default 15: starved on a busy machine
}  # fmt: skip


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of this machine with two CPUs."""
    folder = Path("/tmp") / f"ray-{os.getpid()}"  # sockets have short names
    command = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    start = ["start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false", "--object-store-memory=80000000", f"--temp-dir={folder}", "--block"]
    for _ in range(4):  # Ray gives itself 30 s to start, which a busy machine exceeds
        process = subprocess.Popen([sys.executable, "-c", command, *start], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        seen = ""
        while (line := process.stdout.readline()) and not (address := re.search(r"--address='?([\d.]+:\d+)", line)):
            seen += line
        if line:
            break
        process.wait()
    else:
        raise AssertionError(f"Ray does not start here: {seen[-800:]}")
    assert address is not None
    yield address[1]
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def start(tmp_path: Path, address: str, store: str, steps: int) -> subprocess.Popen[str]:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(tests=str(Path(__file__).parent), store=store, address=address, steps=steps))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENV)


def until(process: subprocess.Popen[str], *wanted: str) -> str:
    """The output up to the line in which the last of `wanted` was seen."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if all(w in seen for w in wanted):
            return seen
    raise AssertionError(seen)


def task_processes(store: Path) -> list[int]:
    """Ray workers that have a lock of `store` open: those that train."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(str(store / "locks")) for link in links):
            found.append(int(folder.name))
    return found


def step_of(fingerprint: str) -> str:
    return f"'event': 'step', 'training': '{fingerprint}', 'step': 2"


def test_resources_are_what_the_components_declare() -> None:
    (cell, *_) = tiny_cells()
    need = resources([cell], cpus=2)
    assert need.cpus == 2 and need.gpus == 0 and need.memory_bytes == round(memory_bytes([cell]) or 0) > 4e8
    assert resources([cell.replace("model.device", "cuda:0")]).gpus == 1
    wide = resources([cell.replace("train_time.batch_tokens", 100_000)])
    assert (wide.memory_bytes or 0) - need.memory_bytes == (100_000 - 128) * cell.model.activation_bytes_per_token()  # type: ignore[attr-defined]
    assert resources([scripted_cells()[0]]).memory_bytes is None, "unknown is not zero"


def test_a_training_that_fits_on_no_machine_is_refused_before_anything_waits() -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0, "memory": 8e9}}, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}}]
    check_room(nodes, [Resources(4, 0, int(8e9)), Resources(1, 0, None)])
    for need in (Resources(5, 0, None), Resources(1, 1, None), Resources(1, 0, int(9e9))):
        with pytest.raises(UserError, match="no machine of the cluster has"):
            check_room(nodes, [need])


def test_the_mailbox_loses_no_event_and_tells_all_to_stop() -> None:
    box = Mailbox()
    assert not box.deliver(0, [{"n": 1}]) and not box.deliver(3, [{"n": 2}, {"n": 3}])
    assert box.collect(False) == ([{"n": 1}, {"n": 2}, {"n": 3}], {0, 3}) and box.collect(True) == ([], {0, 3})
    assert box.deliver(0, []) and box.collect(False) == ([], {0, 3}) and box.deliver(1, []), "once asked to stop, always"


@pytest.mark.slow
def test_ray_gives_the_records_of_a_local_run_at_any_address(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=30, seeds=(0, 1))
    local = Store(tmp_path / "local")
    events: list[dict[str, Any]] = []
    Plan("demo", "quick", tuple(cells), local).run(events.append)
    for store in (str(tmp_path / "folder"), f"file://{tmp_path}/url"):
        process = start(tmp_path, cluster, store, steps=30)
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output
        assert records(Store(store), cells) == records(local, cells)
        for event in ("building", "trained", "asked", "group"):
            assert output.count(f"'event': '{event}'") == sum(e["event"] == event for e in events), event
    headers = [(s.read_record(cells[0].fingerprint()) or pytest.fail("no record"))[0] for s in (local, Store(tmp_path / "folder"))]
    assert content(headers[0]) == content(headers[1]) and headers[0]["costs"]["train"]["tokens"] == headers[1]["costs"]["train"]["tokens"]


@pytest.mark.slow
def test_a_killed_ray_worker_is_replaced_and_goes_on(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=100, seeds=(0, 1))
    process = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    until(process, step_of(cells[0].train_fingerprint()))
    os.kill(task_processes(tmp_path / "store")[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert re.search(r"the worker for 'fresh, seed \d' died \(.*\); a new one goes on from its checkpoint", output), output
    records(Store(tmp_path / "store"), cells)


@pytest.mark.slow
def test_when_the_driver_is_killed_its_tasks_end_and_the_same_command_goes_on(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=100, seeds=(0, 1))
    process = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    until(process, step_of(cells[0].train_fingerprint()))
    time.sleep(1)
    process.kill()
    process.wait()
    again = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    output, _ = again.communicate(timeout=280)
    assert again.returncode == 0, output
    store, whole = Store(tmp_path / "store"), Store(tmp_path / "whole")
    Plan("demo", "quick", tuple(cells), whole).run(lambda e: None)
    assert records(store, cells) == records(whole, cells)
    deadline = time.monotonic() + 30
    while task_processes(tmp_path / "store") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not task_processes(tmp_path / "store"), "no task outlives the driver and the run after it"


@pytest.mark.slow
def test_ctrl_c_saves_and_stops_on_ray_as_locally(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=100_000, seeds=(0, 1))
    process = start(tmp_path, cluster, str(tmp_path / "store"), steps=100_000)
    until(process, step_of(cells[0].train_fingerprint()))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "Stopped" in output and "died" not in output, output
    assert (tmp_path / "store" / "checkpoints" / cells[0].train_fingerprint() / "state.safetensors").exists()
    assert not task_processes(tmp_path / "store")


@pytest.mark.slow
def test_two_ray_drivers_on_one_store_train_once(cluster: str, tmp_path: Path) -> None:
    processes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        processes.append(start(tmp_path / name, cluster, str(tmp_path / "store"), steps=60))
    outputs = [p.communicate(timeout=280)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sum(o.count("'trained'") for o in outputs) == 2 and sum(o.count("'asked'") for o in outputs) == 4


@pytest.mark.slow
def test_an_address_without_a_cluster_is_one_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, "127.0.0.1:1", str(tmp_path / "store"), steps=3)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 1 and "UserError: no Ray cluster answers at 127.0.0.1:1" in output, output
