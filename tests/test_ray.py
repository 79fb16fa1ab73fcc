"""The Ray engine on a real cluster of this machine: the records of a local run, and nothing lost when a worker or the driver dies."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from test_cli import SETTINGS
from test_parallel import free_port
from test_places import content, records, scripted_cells
from test_run import tiny_cells
from tolman.cli import make_plan
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.models.scripted import Scripted, ScriptedModel
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
# Ray's workers have niceness 15 by default, and are killed when the machine's memory is full, whoever filled it
ENV = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1", "COLUMNS": "400", "NO_COLOR": "1", "RAY_worker_niceness": "0", "RAY_memory_monitor_refresh_ms": "0",
}  # fmt: skip


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of this machine with two CPUs and, as it believes, a GPU."""
    folder = Path("/tmp") / f"ray-{os.getpid()}"  # sockets have short names
    command = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    start = ["start", "--head", "--port=0", "--num-cpus=2", "--num-gpus=1", "--include-dashboard=false", "--object-store-memory=80000000", "--block"]
    start += [f"--temp-dir={folder}", *(f"--{of}-port={free_port()}" for of in ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent"))]
    for _ in range(4):  # Ray gives itself 30 s to start, which a busy machine exceeds (less often where it need not look for ports)
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


def holding(folder: Path) -> list[int]:
    """Other processes that have a file in `folder` open. (Ray renames its processes, which overwrites their command line and environment in /proc.)"""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:  # it has ended, or is another user's
            continue
        if any(link.startswith(f"{folder}/") for link in links) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def task_processes(store: Path) -> list[int]:
    """Ray workers that have a lock of `store` open: those that train."""
    return holding(store / "locks")


class Placed(Scripted):
    """Writes down what Ray gave the task in which it is made."""

    device: str = "cuda"
    note: str = ""

    def parameter_count(self) -> int:
        return 1_000_000

    def create(self, corpus: Corpus, *, seed: int) -> ScriptedModel:
        import ray
        import torch

        given = ray.get_runtime_context().get_assigned_resources() | {"threads": torch.get_num_threads(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}
        Path(f"{self.note}.{seed}").write_text(json.dumps(given))
        return super().create(corpus, seed=seed)


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


def test_tolman_run_on_ray_gives_the_records_of_a_local_run_though_a_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    settings = [*SETTINGS, "--set", "train_time.steps=150"]
    command = [sys.executable, "-c", "from tolman.cli import main; main()", "run", "reversals", "--seeds", "1", "--json", *settings]
    command += ["--engine", "ray", "--address", cluster, "--out", str(tmp_path / "ray")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    while not list((tmp_path / "ray").glob("checkpoints/*/state.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(task_processes(tmp_path / "ray")[0], signal.SIGKILL)
    local, _ = make_plan("reversals", "quick", 1, settings[1::2], str(tmp_path / "local"))
    local.run(lambda event: None)
    output, shown = process.communicate()
    assert process.returncode == 0, shown
    assert re.search(r"warning: the worker for '.*, seed 0' died \(.*\); a new one goes on from its checkpoint", shown), shown
    assert re.search(r"\d+ % of 3 trainings|started", shown), "progress as in a local run"
    rows = [json.loads(line) for line in output.splitlines()]
    assert {r["fingerprint"] for r in rows} == {c.fingerprint() for c in local.cells}
    assert records(Store(tmp_path / "ray"), local.cells) == records(local.store, local.cells)


@pytest.mark.slow
def test_a_task_is_given_what_its_components_declare(cluster: str, tmp_path: Path) -> None:
    cells = [c.model_copy(update={"model": Placed(note=str(tmp_path / "given"))}) for c in scripted_cells(range(2))]
    cells[2:] = [c.replace("model.device", "cpu") for c in cells[2:]]
    Plan("demo", "quick", tuple(cells), Store(tmp_path / "store")).run(lambda event: None, 1, engine="ray", address=cluster)
    with_gpu, without = (json.loads((tmp_path / f"given.{seed}").read_text()) for seed in (0, 1))
    need = resources(cells[:1], cpus=2)
    assert with_gpu == {"CPU": 2.0, "GPU": 1.0, "memory": need.memory_bytes, "threads": 2, "visible": "0"} and need.memory_bytes == 450e6 + 4e6
    assert "GPU" not in without and without["CPU"] == 2.0
    large = tiny_cells()[0].replace("train_time.batch_tokens", 10**9)
    with pytest.raises(UserError, match="no machine of the cluster has 1 CPUs, 0 GPUs and .* GiB for one training"):
        Plan("demo", "quick", (large,), Store(tmp_path / "store")).run(lambda event: None, None, engine="ray", address=cluster)


@pytest.mark.slow
def test_ray_gives_the_records_of_a_local_run_at_any_address(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=30, seeds=(0, 1))
    local = Store(tmp_path / "local")
    events: list[dict[str, Any]] = []
    Plan("demo", "quick", tuple(cells), local).run(events.append)
    for store in (str(tmp_path / "folder"), f"file://{tmp_path}/url"):
        process = start(tmp_path, cluster, store, steps=30)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        assert records(Store(store), cells) == records(local, cells)
        for event in ("building", "trained", "asked", "group"):
            assert output.count(f"'event': '{event}'") == sum(e["event"] == event for e in events), event
    headers = [(s.read_record(cells[0].fingerprint()) or pytest.fail("no record"))[0] for s in (local, Store(tmp_path / "folder"))]
    assert content(headers[0]) == content(headers[1]) and headers[0]["costs"]["train"]["tokens"] == headers[1]["costs"]["train"]["tokens"]


@pytest.mark.slow
def test_a_killed_mailbox_is_replaced_and_a_worker_killed_twice_is_one_sentence(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=100, seeds=(0, 1))
    process = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    until(process, step_of(cells[0].train_fingerprint()))
    (mailbox,) = [pid for pid in holding(Path("/tmp") / f"ray-{os.getpid()}") if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Mailbox")]
    os.kill(mailbox, signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0 and output.count("'event': 'group'") == 2, output
    records(Store(tmp_path / "store"), cells)

    process = start(tmp_path, cluster, str(tmp_path / "other"), steps=100_000)
    until(process, step_of(tiny_cells(steps=100_000)[0].train_fingerprint()))
    for _ in range(2):
        before = set(task_processes(tmp_path / "other"))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        while process.poll() is None and not set(task_processes(tmp_path / "other")) - before:
            time.sleep(0.2)
    output, _ = process.communicate()
    assert process.returncode == 1 and re.search(
        r"UserError: the worker for 'fresh, seed \d' died twice \(.*\); if memory ran out, use fewer --workers", output
    ), output


@pytest.mark.slow
def test_when_the_driver_is_killed_its_tasks_end_and_the_same_command_goes_on(cluster: str, tmp_path: Path) -> None:
    cells = tiny_cells(steps=100, seeds=(0, 1))
    process = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    until(process, step_of(cells[0].train_fingerprint()))
    time.sleep(1)
    process.kill()
    process.wait()
    again = start(tmp_path, cluster, str(tmp_path / "store"), steps=100)
    output, _ = again.communicate()
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
    output, _ = process.communicate()
    assert process.returncode == 1 and "Stopped" in output and "died" not in output, output
    assert (tmp_path / "store" / "checkpoints" / cells[0].train_fingerprint() / "state.safetensors").exists()
    assert not task_processes(tmp_path / "store")


@pytest.mark.slow
def test_two_ray_drivers_on_one_store_train_once(cluster: str, tmp_path: Path) -> None:
    processes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        processes.append(start(tmp_path / name, cluster, str(tmp_path / "store"), steps=60))
    outputs = [p.communicate()[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sum(o.count("'trained'") for o in outputs) == 2 and sum(o.count("'asked'") for o in outputs) == 4


@pytest.mark.slow
def test_an_address_without_a_cluster_is_one_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, "127.0.0.1:1", str(tmp_path / "store"), steps=3)
    output, _ = process.communicate()
    assert process.returncode == 1 and "UserError: no Ray cluster answers at 127.0.0.1:1" in output, output


def patiently(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`ray start`, up to four times: Ray gives itself 30 s for it, which a busy machine exceeds."""
    for _ in range(3):
        if (done := subprocess.run(command, env=env, capture_output=True, text=True)).returncode == 0:
            return done
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_the_commands_of_the_page_join_two_machines_and_a_bucket(tmp_path: Path) -> None:
    """`ray start` on a first and a second machine (here one), then the study with its store on S3, all as docs/cluster.md has it."""
    pytest.importorskip("moto.server")
    from s3_server import s3_server

    page = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text()
    block = next(b for b in re.findall(r"```sh\n(.*?)```", page, re.S) if "ray start" in b)
    first, second, run = (shlex.split(line, comments=True) for line in block.strip().splitlines())
    assert first == ["ray", "start", "--head"] and second[:2] == ["ray", "start"] and run[:2] == ["tolman", "run"]
    folder = Path("/tmp") / f"ray-page-{os.getpid()}"
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    tolman = [sys.executable, "-c", "from tolman.cli import main; main()"]
    small = ["--object-store-memory=80000000", "--num-cpus=1", "--disable-usage-stats"]
    with s3_server() as server:
        env = ENV | server.environment | {"RAY_TMPDIR": str(folder)}
        begun = patiently([*ray, *first[1:], "--port=0", *small], env)
        address = re.search(r"--address='?([\d.]+:\d+)", begun.stdout) or pytest.fail(begun.stdout + begun.stderr)
        env |= {"RAY_ADDRESS": address[1]}
        try:
            joined = patiently([*ray, "start", f"--address={address[1]}", *small], env)
            assert joined.returncode == 0 and second[2].startswith("--address="), joined.stdout + joined.stderr
            done = subprocess.run([*tolman, *run[1:], "--seeds", "1", *SETTINGS], env=env, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0 and "report: " in done.stdout and (tmp_path / "runs" / "reversals-quick" / "report.html").exists(), done.stderr
            assert len(server.written("records")) == 12
        finally:
            while left := holding(folder):  # a daemon that lives may begin another
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.2)
