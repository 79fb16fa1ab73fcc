"""The store in a folder and at URLs: the same records everywhere, one holder of a lock, nothing damaged is used, and no moment at which dying loses anything."""

import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from test_run import WORLD, tiny_cells
from tolman.core.errors import UserError
from tolman.datasets.reversals import Reversals
from tolman.models.scripted import Scripted
from tolman.run import engines
from tolman.run.cell import Cell
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.places import Bucket
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.untrained import Untrained

VARYING = {"created", "environment", "seconds", "train_s", "loss"}
"""What may differ between two runs of one cell: when, where and how long. (The loss of a curve's point is a mean since the last interruption.)"""


def scripted_cells(seeds: range = range(2)) -> list[Cell]:
    """Cells that take milliseconds: nothing is trained."""
    shared = {"dataset": Reversals(**WORLD), "model": Scripted(), "train_time": Untrained(), "test_time": ClosedBook(), "training": "none"}
    return [Cell(**shared, seed=seed, scoring=Exact(max_tokens=n), asking=f"{n} words") for seed in seeds for n in (1, 2)]


def run_all(store: Store, cells: list[Cell]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    Plan("demo", "quick", tuple(cells), store).run(events.append)
    return events


def content(value: Any) -> Any:
    """`value` without what may vary."""
    if isinstance(value, dict):
        return {k: content(v) for k, v in value.items() if k not in VARYING}
    return [content(v) for v in value] if isinstance(value, list | tuple) else value


def records(store: Store, cells: list[Cell]) -> list[Any]:
    """What is in the store about `cells`, records and curves; fails if something is missing or damaged."""
    found = [store.read_record(c.fingerprint()) for c in cells] + [(store.read_artifact(c.train_fingerprint()) or (0, None))[1] for c in cells]
    assert all(found) and not store.warnings, store.warnings
    return [content(f) for f in found]


SERVER = multiprocessing.get_context("forkserver")
"""Processes are forked off one that has imported everything and done nothing: off this one, in which polars has threads, they would wait for ever."""
SERVER.set_forkserver_preload(
    ["pytest", "torch", "tolman.run.plan", "tolman.run.checkpoint", "tolman.datasets.reversals", "tolman.models.tiny", "tolman.train_time.pretrain"]
)


def child(work: Callable[..., object], *arguments: Any) -> Any:
    """A process that does `work` and ends, with the patience that leases have here."""
    process = SERVER.Process(target=begin, args=(Bucket.beat_s, Bucket.patience_s, work, arguments), daemon=True)
    process.start()
    return process


def begin(beat_s: float, patience_s: float, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    Bucket.beat_s, Bucket.patience_s = beat_s, patience_s
    work(*arguments)


def outcome(process: Any) -> int:
    process.join()
    return process.exitcode


@pytest.fixture(params=["folder", "file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store can be."""
    return {"folder": str(tmp_path / "store"), "file": f"file://{tmp_path}/store", "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "beat_s", 0.05)
    monkeypatch.setattr(Bucket, "patience_s", 0.6)


def test_every_place_gives_the_records_weights_and_curves_of_a_folder(address: str, tmp_path: Path) -> None:
    here, there, cells = Store(tmp_path / "here"), Store(address), tiny_cells()
    run_all(here, cells)
    events = run_all(there, cells)
    assert [e["event"] for e in events if e["event"] != "step"] == ["building", "trained", "asked", "asked", "group"]
    assert records(here, cells) == records(there, cells)
    paths = [(s.read_artifact(cells[0].train_fingerprint()) or pytest.fail("no artifact"))[0] / "model.safetensors" for s in (here, there)]
    one, two = map(load_file, paths)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    assert run_all(Store(address), cells) == [], "finished cells are found again"
    extra = cells[0].replace("scoring.max_tokens", 3)
    assert [e["event"] for e in run_all(Store(address), [*cells, extra])] == ["building", "asked", "group"], "the weights are loaded from there"
    assert set(there.record_stamps()) == {c.fingerprint() for c in (*cells, extra)}


def test_a_state_is_kept_and_cleared_everywhere(address: str) -> None:
    store = Store(address)
    state = {"step": 3, "tensors": [torch.arange(4), {"x": torch.ones(2, dtype=torch.bfloat16), "s": torch.tensor(2.0)}]}
    assert FileCheckpoints(store, "abc").load() is None
    for step in (3, 4):
        FileCheckpoints(store, "abc").save(state | {"step": step})
    loaded = FileCheckpoints(Store(address), "abc").load()
    assert loaded is not None and loaded["step"] == 4 and loaded["tensors"][1]["x"].dtype == torch.bfloat16 and float(loaded["tensors"][1]["s"]) == 2.0
    FileCheckpoints(store, "abc").clear()
    assert FileCheckpoints(store, "abc").load() is None and not store.warnings


def there(store: Store, key: str) -> bool:
    try:
        return bool(store.place.read(key))
    except FileNotFoundError:
        return False


def test_a_worker_whose_run_has_ended_ends_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The error of another worker was said in one sentence: a traceback after it would be said to nobody's use."""
    ours, its = multiprocessing.Pipe()
    ours.close()
    config = scripted_cells(range(1))[0].config()
    worker = multiprocessing.get_context("spawn").Process(target=engines._work, args=(str(tmp_path), [config], its, 1, os.getpid()))
    worker.start()
    its.close()
    worker.join(60)
    assert worker.exitcode == 0 and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["records", "artifacts", "checkpoints"])
def test_a_flipped_bit_anywhere_is_found_set_aside_and_made_again(address: str, kind: str) -> None:
    """Headers, costs, curves, weights, optimiser states: whatever byte it is, the content read is the content written or it is named and made again."""
    store, cells = Store(address), scripted_cells(range(1)) if kind != "checkpoints" else []
    run_all(store, cells) if cells else None
    FileCheckpoints(store, "abc").save({"step": 3, "weights": torch.arange(40.0)})
    key = {
        "records": f"records/{cells[0].fingerprint()}.jsonl" if cells else "",
        "artifacts": f"artifacts/{cells[0].train_fingerprint()}/artifact.json" if cells else "",
        "checkpoints": "checkpoints/abc/state.safetensors",
    }[kind]
    read = {
        "records": lambda: store.read_record(cells[0].fingerprint()),
        "artifacts": lambda: (store.read_artifact(cells[0].train_fingerprint()) or (0, None))[1],
        "checkpoints": lambda: (lambda s: None if s is None else {**s, "weights": s["weights"].tolist()})(FileCheckpoints(store, "abc").load()),
    }[kind]
    script = (f"{key.rpartition('/')[0]}/{name}" for name in ("script.json", *((read() or {}).get("files", {}).values() if kind == "artifacts" else ())))
    beside = {k: store.place.read(k) for k in script if there(store, k)}  # is set aside with it
    data, before, found = store.place.read(key), read(), 0
    whole = dict.fromkeys(range(0, len(data), max(1, len(data) // 60)))
    for at in whole:
        store.place.write(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        after = read()
        assert after in (None, before), f"byte {at}, {data[max(0, at - 20) : at + 1]!r}, was changed and not found"
        found += after is None
        assert len(store.warnings) == (after is None) and all("aside" in w for w in store.warnings)
        store.warnings.clear()
        for k, kept in {**beside, key: data}.items():
            store.place.write(k, kept)
    assert found > 0.8 * len(whole)
    if cells and kind == "records":
        store.place.write(key, data[: len(data) // 2])
        events = run_all(store, cells)
        assert [e["event"] for e in events if e["event"] in ("asked", "warning")] == ["warning", "asked"]
        assert content(read()) == content(before)


def test_a_changed_weight_is_found_and_the_model_trained_again(address: str, tmp_path: Path) -> None:
    store, cells = Store(address), tiny_cells()
    run_all(store, cells)
    before = records(store, cells)
    fingerprint = cells[0].train_fingerprint()
    about = (store.read_artifact(fingerprint) or pytest.fail("no artifact"))[1]
    name = "model.safetensors" if address.startswith(str(tmp_path)) else about["files"]["model.safetensors"]
    data = store.place.read(f"artifacts/{fingerprint}/{name}")
    store.place.write(f"artifacts/{fingerprint}/{name}", data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    store.place.move(f"records/{cells[0].fingerprint()}.jsonl", "aside/was")
    events = run_all(Store(address), cells)
    assert [e["event"] for e in events if e["event"] in ("warning", "trained", "asked")] == ["trained", "asked", "warning"]
    assert any("model.safetensors does not have the hash" in e.get("text", "") for e in events)
    assert records(Store(address), cells) == before


def test_a_hostile_artifact_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    store, (cell, *_) = Store(f"file://{tmp_path}/store"), scripted_cells()
    run_all(store, [cell])
    key = f"artifacts/{cell.train_fingerprint()}/artifact.json"
    for name in ("../../../stolen", "/etc/stolen", "a/../../b"):
        about = json.loads(store.place.read(key))
        del about["seal"]
        store.place.write(key, json.dumps(about | {"files": {name: "0" * 64}}).encode())
        assert store.read_artifact(cell.train_fingerprint()) is None and "does not list its files" in store.warnings.pop()
        run_all(store, [cell.replace("scoring.max_tokens", 3 + len(name))])


def count_up(address: str, path: Path) -> None:
    store = Store(address)
    for _ in range(5):
        with store.lock("one"):
            n = int(path.read_text())
            time.sleep(0.002)
            path.write_text(str(n + 1))


def hold(address: str, ready: Path) -> None:
    with Store(address).lock("one"):
        ready.touch()
        time.sleep(600)


def drive(address: str, cells: list[Cell], asked: Path) -> None:
    asked.write_text("\n".join(e["cell"] for e in run_all(Store(address), cells) if e["event"] == "asked"))


# -- one holder --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_many_processes_on_one_lock_hold_it_one_at_a_time(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    assert [outcome(p) for p in [child(count_up, f"{scheme}{tmp_path}/store", tmp_path / "count") for _ in range(4)]] == [0] * 4
    assert (tmp_path / "count").read_text() == "20"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "half written"])
def test_a_stale_lease_is_taken_over_and_a_living_one_is_not(how: str, tmp_path: Path, impatient: None) -> None:
    store = Store(f"file://{tmp_path}/store")
    if how == "half written":
        store.place.write("locks/one/000000", b"")
    else:
        holder = child(hold, store.address, tmp_path / "ready")
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        waiter = child(hold, store.address, tmp_path / "held too")
        time.sleep(2 * Bucket.patience_s)
        assert waiter.is_alive() and not (tmp_path / "held too").exists(), "it waits as long as the holder's heart beats"
        for process in (waiter, holder):
            process.kill()
            assert outcome(process) == -signal.SIGKILL
    began = time.monotonic()
    with store.lock("one"):
        assert time.monotonic() - began > 0.8 * Bucket.patience_s, "not before the lease is stale"
    assert json.loads(store.place.read("locks/one/000001")) == {"free": True}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_two_drivers_on_one_store_run_no_cell_twice(scheme: str, tmp_path: Path) -> None:
    cells = scripted_cells(range(6))
    drivers = [child(drive, f"{scheme}{tmp_path}/store", cells, tmp_path / f"asked.{n}") for n in range(2)]
    assert [outcome(d) for d in drivers] == [0, 0]
    asked = [line for path in tmp_path.glob("asked.*") for line in path.read_text().split()]
    assert sorted(asked) == sorted(c.fingerprint() for c in cells), "each cell by one of them"
    records(Store(f"{scheme}{tmp_path}/store"), cells)


# -- dying at any moment -------------------------------------------------------------------------------------------------------------------------------


def die_at(n: int, folder: Path) -> None:
    """From now on, this process is killed at its n-th attempt to open for writing, make, rename or remove something in `folder`."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if any(str(a).startswith(str(folder)) for a in arguments[:2]):
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run_until_killed(n: int, folder: Path, address: str, cells: list[Cell], every_step: bool) -> None:
    if every_step:
        FileCheckpoints.due = lambda self: True  # type: ignore[method-assign]
    die_at(n, folder)
    run_all(Store(address), cells)


def kill_everywhere(scheme: str, tmp_path: Path, cells: list[Cell], *, every_step: bool = False) -> int:
    """Kill a run at every write; each time a second run must end with the records of one that was never killed. Returns how many writes there are."""
    whole = Store(tmp_path / "whole")
    run_all(whole, cells)
    expected = records(whole, cells)
    for n in range(1, 500):
        folder = tmp_path / f"killed{n}"
        if (ended := outcome(child(run_until_killed, n, folder, f"{scheme}{folder}", cells, every_step))) == 0:
            return n - 1
        assert ended == -signal.SIGKILL
        store = Store(f"{scheme}{folder}")
        warnings = [e["text"] for e in run_all(store, cells) if e["event"] == "warning"]
        assert not warnings, f"write {n}: {warnings}: a kill leaves nothing damaged"
        assert records(store, cells) == expected, f"killed at write {n}"
    raise AssertionError("the run never ended")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_kill_9_at_every_write_loses_no_record(scheme: str, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "patience_s", 0.1)
    assert kill_everywhere(scheme, tmp_path, scripted_cells(range(1))) >= 12


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_kill_9_at_every_write_of_a_training_loses_no_record(scheme: str, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint at every step."""
    monkeypatch.setattr(Bucket, "patience_s", 0.2)
    assert kill_everywhere(scheme, tmp_path, tiny_cells(steps=4), every_step=True) >= 24


def run_on_a_full_disk(limit_bytes: int, folder: Path, cells: list[Cell]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    with pytest.raises(UserError, match=r"cannot write .*; what was finished before is intact, and the same command goes on from there") as info:
        run_all(Store(folder), cells)
    assert "\n" not in str(info.value) and re.search("File too large|27", str(info.value)), info.value


# -- a full disk ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [300, 3_000, 30_000])
def test_a_disk_that_takes_no_more_is_one_sentence_and_the_run_goes_on_when_it_does(limit_bytes: int, tmp_path: Path) -> None:
    """RLIMIT_FSIZE: writes beyond it fail as on a full disk, in whatever library they happen; a record, a checkpoint and the weights are cut short in turn."""
    cells = tiny_cells()
    assert outcome(child(run_on_a_full_disk, limit_bytes, tmp_path / "store", cells)) == 0
    left = [p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.parent.name != "locks"]
    assert not [p for p in left if p.name.startswith(".")], "no scratch is left to fill the disk"
    events = run_all(Store(tmp_path / "store"), cells)
    assert not [e for e in events if e["event"] == "warning"] and sum(e["event"] == "asked" for e in events) == 2


@pytest.mark.slow
def test_a_full_tmpfs_is_one_sentence(tmp_path: Path) -> None:
    """ENOSPC itself, where root may mount a file system of 200 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=200k tmpfs {place} 2>/dev/null"):
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(UserError, match=r"cannot write .*[Nn]o space left.*; what was finished before is intact"):
            run_all(Store(place / "store"), tiny_cells(steps=30, seeds=tuple(range(12))))
    finally:
        os.system(f"umount {place}")


def test_an_address_that_leads_nowhere_is_one_sentence() -> None:
    for url, says in (("nosuch://bucket/x", "cannot open the store nosuch://bucket/x: Protocol not known"), ("gs://bucket/x", "gcsfs")):
        with pytest.raises(UserError, match=says):
            Store(url)
