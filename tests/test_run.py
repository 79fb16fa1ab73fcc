"""The run store, the runner and the engines: nothing is lost, nothing damaged is used, nothing is done twice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tolman import UserError, component, measure
from tolman.core.cost import Cost, Meter
from tolman.datasets.reversals import Reversals
from tolman.memory.oracle import Oracle
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell, cell_from_config, override
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.engines import ready
from tolman.run.execute import Stopped, execute
from tolman.run.frames import CELLS, ITEMS, TRAININGS, Frames
from tolman.run.plan import Plan, read_plan, result_rows
from tolman.run.store import Store, parse_record, write_atomically
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL

WORLD = {"entities": 12, "relations": 2, "held_out": 4, "episode_count": 60, "asked": 6, "options": 4, "episode_facts": 3, "copies": 2}


def tiny_cells(steps: int = 8, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    """Two ways of asking one small training, for each seed."""
    shared = {
        "dataset": Reversals(**WORLD),
        "model": Tiny(layers=1, width=16, heads=1, kv_heads=1, hidden=16),
        "train_time": Pretrain(steps=steps, batch_tokens=128),
        "training": "fresh",
    }
    return [
        Cell(**shared, seed=seed, test_time=test_time, scoring=Exact(), asking=asking, curve=("heldout_reversal",))
        for seed in seeds
        for test_time, asking in ((ClosedBook(), "closed book"), (Retrieval(retriever=Oracle(distractors=2)), "oracle"))
    ]


def weights(store: Store, cell: Cell) -> dict[str, torch.Tensor]:
    path = store.folder / "artifacts" / cell.train_fingerprint() / "model.safetensors"
    return {name: tensor.clone() for name, tensor in load_file(path).items()}  # load_file maps the file


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def run_all(store: Store, cells: list[Cell]) -> list[dict]:
    events: list[dict] = []
    Plan("demo", "quick", tuple(cells), store).run(events.append)
    return events


def test_cells_share_their_training_and_finished_ones_are_not_run_again(tmp_path: Path) -> None:
    cells = tiny_cells()
    assert len({c.train_fingerprint() for c in cells}) == 1 and len({c.fingerprint() for c in cells}) == 2
    events = run_all(Store(tmp_path), cells)
    assert [e["event"] for e in events if e["event"] != "step"] == ["building", "trained", "asked", "asked", "group"]
    assert run_all(Store(tmp_path), cells) == []
    extra = cells[0].replace("scoring.max_tokens", 3)
    events = run_all(Store(tmp_path), [*cells, extra])
    assert [e["event"] for e in events] == ["building", "asked", "group"], "the weights are there: only the new cell is asked"


def test_labels_are_no_part_of_identity_and_every_field_is() -> None:
    cell = tiny_cells()[0]
    assert cell.model_copy(update={"training": "other", "asking": "other", "curve": ()}).fingerprint() == cell.fingerprint()
    for path, value in {
        "dataset.entities": 14, "model.width": 32, "train_time.steps": 9, "scoring.max_tokens": 2,
    }.items():  # fmt: skip
        assert cell.replace(path, value).fingerprint() != cell.fingerprint(), path
    assert cell.replace("model.device", "cuda").fingerprint() == cell.fingerprint(), "where it runs is no part of what is measured"
    assert cell.model_copy(update={"seed": 1}).condition() == cell.condition()
    assert cell_from_config(json.loads(json.dumps(cell.config()))) == cell


def test_override_reaches_the_cells_that_have_the_field() -> None:
    cells = override(tiny_cells(), {"test_time.retriever.distractors": 1, "train_time.steps": 3})
    assert [c.train_time.steps for c in cells] == [3, 3]  # type: ignore[attr-defined]
    assert cells[1].test_time.retriever.distractors == 1  # type: ignore[attr-defined]
    for path, says in (("train_time.stps", "did you mean 'steps'"), ("traintime.steps", "did you mean 'train_time'"), ("steps", "write PART.FIELD=VALUE")):
        with pytest.raises(UserError, match=says):
            override(tiny_cells(), {path: 3})


def test_a_record_holds_every_item_and_its_costs(tmp_path: Path) -> None:
    store, cells = Store(tmp_path), tiny_cells()
    run_all(store, cells)
    header, items = store.read_record(cells[1].fingerprint()) or pytest.fail("no record")
    corpus = cells[1].dataset.build(0)  # type: ignore[attr-defined]
    assert {i["question"] for i in items} == {q.id for q in corpus.asked()} and header["questions"] == len(items)
    shown = next(i for i in items if i["kind"] == "heldout_reversal")
    question = next(q for q in corpus.questions if q.id == shown["question"])
    assert shown["prompt"].endswith("\n" + question.prompt) and corpus.by_id[question.support[0]].text in shown["prompt"] and shown["support_shown"]
    assert header["costs"]["ask"]["tokens"] > header["questions"] and header["costs"]["train"]["flops"] > 0 and header["environment"]["versions"]["torch"]
    assert header["cell"] == cells[1].config() and header["leaks"] == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header", "format"])
def test_a_damaged_record_is_named_set_aside_and_made_again(tmp_path: Path, damage: str) -> None:
    store, cells = Store(tmp_path), tiny_cells()
    run_all(store, cells)
    path = store.record_path(cells[0].fingerprint())
    data = path.read_bytes()
    broken = {
        "flip": data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "cut": data[: len(data) // 2], "empty": b"",
        "header": b"{}x" + data, "format": data.replace(b'"format": 1', b'"format": 99', 1),
    }[damage]  # fmt: skip
    path.write_bytes(broken)
    events = run_all(Store(tmp_path), cells)
    warned = [e["text"] for e in events if e["event"] == "warning"]
    assert len(warned) == 1 and path.name in warned[0] and "aside" in warned[0]
    assert [e["event"] for e in events if e["event"] == "asked"] == ["asked"], "only the damaged cell is asked again"
    assert parse_record(path)[1] == [json.loads(line) for line in data.splitlines()[1:]]
    assert len(list((tmp_path / "aside").iterdir())) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "artifact.json"])
def test_a_damaged_artifact_is_never_used(tmp_path: Path, name: str) -> None:
    store, cells = Store(tmp_path), tiny_cells()
    run_all(store, cells)
    before = weights(store, cells[0])
    path = tmp_path / "artifacts" / cells[0].train_fingerprint() / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    store.record_path(cells[0].fingerprint()).unlink()
    events = run_all(Store(tmp_path), cells)
    assert any(e["event"] == "warning" and name in e["text"] for e in events) and any(e["event"] == "trained" for e in events)
    assert same(weights(store, cells[0]), before)


def test_stopping_at_any_step_and_going_on_gives_the_same_weights_curve_and_costs(tmp_path: Path) -> None:
    import threading

    cells = tiny_cells(steps=12)
    whole = Store(tmp_path / "whole")
    run_all(whole, cells)
    parts, stop, stops = Store(tmp_path / "parts"), threading.Event(), 0

    def report(event: dict) -> None:
        if event["event"] == "step":
            stop.set()

    while True:
        stop.clear()
        try:
            execute(parts, cells, report, stop)
            break
        except Stopped:
            stops += 1
            assert stops < 30, "no progress between stops"
    assert stops >= 2
    assert same(weights(whole, cells[0]), weights(parts, cells[0]))
    one, two = (s.read_artifact(cells[0].train_fingerprint()) or pytest.fail("no artifact") for s in (whole, parts))
    assert [{k: v for k, v in p.items() if k not in ("seconds", "loss")} for p in one[1]["curve"]] == [
        {k: v for k, v in p.items() if k not in ("seconds", "loss")} for p in two[1]["curve"]
    ]
    assert one[1]["costs"]["train"]["tokens"] == two[1]["costs"]["train"]["tokens"]
    items = [s.read_record(c.fingerprint())[1] for s in (whole, parts) for c in cells]  # type: ignore[index]
    assert items[:2] == items[2:]
    assert not list((tmp_path / "parts" / "checkpoints").iterdir()), "checkpoints are cleared when the artifact is there"


def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    checkpoints = FileCheckpoints(store, "abc")
    state = {
        "step": 3,
        "tensors": [torch.arange(4), {"x": torch.ones(2)}],
        "groups": {"lr": 0.1, "betas": (0.9, 0.95), "none": None},
        "keys": {0: torch.zeros(1)},
    }
    checkpoints.save(state)
    loaded = FileCheckpoints(store, "abc").load()
    assert loaded is not None and loaded["step"] == 3 and torch.equal(loaded["tensors"][0], torch.arange(4)) and 0 in loaded["keys"]
    checkpoints.path.write_bytes(checkpoints.path.read_bytes()[:50])
    assert FileCheckpoints(store, "abc").load() is None and "aside" in store.warnings[0]


SCRIPT = """
import sys; from pathlib import Path; sys.path.insert(0, {tests!r})
from test_run import tiny_cells; from tolman.run.plan import Plan; from tolman.run.store import Store
if __name__ == "__main__":
    plan = Plan("demo", "quick", tuple(tiny_cells(steps={steps}, seeds=(0, 1))), Store(Path({store!r})))
    plan.run(lambda e: print(e, flush=True), workers={workers})
"""


def start(tmp_path: Path, store: str, workers: int = 1, steps: int = 60) -> subprocess.Popen[str]:
    script = tmp_path / f"script_{store}_{workers}.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), store=str(tmp_path / store), workers=workers, steps=steps))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def test_kill_9_loses_nothing_that_was_finished_and_a_second_run_goes_on(tmp_path: Path) -> None:
    first = start(tmp_path, "killed")
    assert first.stdout is not None
    seen = ""
    for line in first.stdout:
        seen += line
        if "'step'" in line and "'step': 1" not in line and "building" in seen and seen.count("building") == 2:
            break  # the first training is done, the second under way
    first.send_signal(signal.SIGKILL)
    first.wait()
    store, cells = Store(tmp_path / "killed"), tiny_cells(steps=60, seeds=(0, 1))
    assert store.read_record(cells[0].fingerprint()) and store.read_record(cells[1].fingerprint()), "what was finished is kept"
    assert (store.checkpoint_folder(cells[2].train_fingerprint()) / "state.safetensors").exists(), "what was under way has a checkpoint"
    second = start(tmp_path, "killed")
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert output.count("'building'") == 1, "only the interrupted training goes on"
    whole = Store(tmp_path / "whole")
    run_all(whole, cells)
    assert same(weights(store, cells[2]), weights(whole, cells[2]))


def test_ctrl_c_saves_and_stops(tmp_path: Path) -> None:
    process = start(tmp_path, "stopped", steps=4000)
    assert process.stdout is not None
    for line in process.stdout:
        if (step := re.search(r"'step': (\d+)", line)) and int(step[1]) >= 10:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "Stopped" in output
    state = FileCheckpoints(Store(tmp_path / "stopped"), tiny_cells(steps=4000)[0].train_fingerprint()).load()
    assert state is not None and state["method"]["step"] >= 10


def test_workers_give_the_records_of_one_process_and_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    process = start(tmp_path, "workers", workers=2, steps=400)
    assert process.stdout is not None
    killed, seen = False, ""
    for line in process.stdout:
        seen += line
        if not killed and "'step'" in line:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            workers = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
            os.kill(workers[0], signal.SIGKILL)
            killed = True
    assert process.wait(timeout=120) == 0, seen
    assert killed and "died (exit code -9)" in seen
    store, cells = Store(tmp_path / "workers"), tiny_cells(steps=400, seeds=(0, 1))
    assert all(store.read_record(c.fingerprint()) for c in cells)


def test_what_goes_on_from_a_training_under_way_waits_for_it_and_leaves_it_the_cores() -> None:
    knows = tiny_cells(seeds=(0,))[0]
    more = knows.model_copy(update={"train_time": RecallRL(first=knows.train_time, thinking=None, scoring=Exact())})
    other = tiny_cells(seeds=(1,))[0]
    groups = [[knows], [more], [other]]
    waiting = [(0, 0), (1, 0), (2, 0)]
    assert ready(groups, waiting, []) == [(0, 0), (2, 0)] and ready(groups, waiting[1:], [0]) == [(2, 0)]
    assert ready(groups, [(1, 0)], []) == ready(groups, [(1, 0)], [2]) == [(1, 0)], "nothing waits for what is not under way"


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    process = start(tmp_path, "orphans", workers=2, steps=100_000)
    assert process.stdout is not None
    next(line for line in process.stdout if "'step'" in line)
    children = [int(c) for c in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{c}").exists() for c in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{c}").exists() for c in children)


def test_two_drivers_on_one_store_train_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, "shared", workers=1, steps=60) for _ in range(2)]
    outputs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sum(o.count("'trained'") for o in outputs) == 2, "two seeds, each trained by one of the drivers"


def test_a_full_disk_and_a_read_only_folder_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept.json"
    write_atomically(kept, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*kept.json: No space left on device; what was finished before is intact"):
        write_atomically(kept, b"new")
    assert kept.read_bytes() == b"old" and list(tmp_path.iterdir()) == [kept], "the old file stands and no scratch is left"
    monkeypatch.undo()
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="choose another folder with --out"):
        Store(blocked / "store")


def test_a_cell_that_cannot_be_asked_says_so(tmp_path: Path) -> None:
    cell = tiny_cells()[0].model_copy(update={"kinds": ("heldout_reversl",)})
    with pytest.raises(UserError, match="no questions of kind 'heldout_reversl'"):
        run_all(Store(tmp_path), [cell])
    long = tiny_cells()[1].replace("test_time.retriever.distractors", 50).replace("model.context_tokens", 128)
    with pytest.raises(UserError, match=r"distractors = 50 needs more documents|put fewer documents in context"):
        run_all(Store(tmp_path), [long])


def test_frames_round_trip_and_say_what_is_missing(tmp_path: Path) -> None:
    store, cells = Store(tmp_path), tiny_cells(seeds=(0, 1))
    run_all(store, cells)
    plan = Plan("reversals", "quick", tuple(cells), store)
    frames = plan.write_folder({"title": "t"})
    read = Frames.read(plan.folder)
    for name, schema in (("cells", CELLS), ("items", ITEMS), ("trainings", TRAININGS)):
        assert getattr(read, name).equals(getattr(frames, name)) and dict(getattr(read, name).schema) == schema
    assert len(read.cells) == 4 and read_plan(plan.folder)["seeds"] == [0, 1]
    rows = list(result_rows(read))
    wanted = (
        "study scale seed dataset model train_time test_time kind n chance accuracy low high train_flops train_tokens train_s ask_flops ask_tokens fingerprint"
    ).split()
    assert len(rows) == 4 * 8 and all(set(wanted) <= set(r) for r in rows)
    mine = [r for r in rows if r["fingerprint"] == cells[0].fingerprint() and r["kind"] == "heldout_reversal"]
    items = read.items.filter((read.items["fingerprint"] == cells[0].fingerprint()) & (read.items["kind"] == "heldout_reversal"))
    assert mine[0]["n"] == 4 and mine[0]["accuracy"] == items["correct"].mean() and mine[0]["low"] <= mine[0]["accuracy"] <= mine[0]["high"]
    (plan.folder / "items.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"items.parquet cannot be read"):
        Frames.read(plan.folder)
    (plan.folder / "items.parquet").unlink()
    with pytest.raises(UserError, match=r"items.parquet is missing"):
        Frames.read(plan.folder)
    with pytest.raises(UserError, match=r"plan.json is missing"):
        read_plan(tmp_path / "nowhere")


def test_measure_from_python(tmp_path: Path) -> None:
    cells = tiny_cells(seeds=(0, 1))
    accuracy = measure(cells[0], cells[2], store=tmp_path)
    assert accuracy["heldout_reversal"].seeds == 2 and accuracy["heldout_reversal"].n == 8
    with pytest.raises(UserError, match="differ in their seed only"):
        measure(*cells, store=tmp_path)


def test_a_component_class_of_the_users_own_runs(tmp_path: Path) -> None:
    assert component("datasets/reversals") is Reversals
    with pytest.raises(UserError, match="did you mean 'reversals'"):
        component("datasets/reversal")


def test_meter_books_nested_phases_apart() -> None:
    meter = Meter()
    with meter.phase("train"):
        time.sleep(0.02)
        meter.add(Cost(tokens=5))
        with meter.phase("probe"):
            time.sleep(0.05)
            meter.add(Cost(tokens=7, flops=1.0))
        time.sleep(0.02)
    train, probe = meter.get("train"), meter.get("probe")
    assert (train.tokens, probe.tokens) == (5, 7) and probe.flops == 1.0
    assert 0.04 <= train.seconds < 0.09 <= train.seconds + probe.seconds and probe.seconds >= 0.05
