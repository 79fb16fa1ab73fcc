"""A store in an object store: a real S3 server over HTTP (moto's, in this process), through s3:// addresses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
from s3_server import S3Server, s3_server
from test_cli import SETTINGS
from test_places import child, content, outcome, records, run_all, scripted_cells
from tolman.cli import make_plan
from tolman.core.errors import UserError
from tolman.run.cell import Cell
from tolman.run.places import Bucket
from tolman.run.store import Store

TOLMAN = [sys.executable, "-c", "from tolman.cli import main; main()"]
URL = "s3://bucket/runs"
CHANGES = ("PUT", "POST", "DELETE")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that this process and those it begins find at s3://bucket."""
    from s3fs import S3FileSystem

    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield server
        S3FileSystem.clear_instance_cache()


def test_two_commands_at_once_on_s3_then_a_changed_byte_and_a_report(server: S3Server, tmp_path: Path) -> None:
    """Every training and every record is written once, by one of them; records are those of a folder; what was changed over there is named and made again."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200", "NO_COLOR": "1"}
    processes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [*TOLMAN, "run", "reversals", "--seeds", "1", "--workers", "1", "--json", *SETTINGS, "--out", URL]
        processes.append(subprocess.Popen(command, cwd=tmp_path / name, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outputs = [p.communicate() for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] and len(outputs[0][0].splitlines()) == 3 * (8 + 8 + 4 + 4)
    plan, _ = make_plan("reversals", "quick", 1, SETTINGS[1::2], URL)
    local, _ = make_plan("reversals", "quick", 1, SETTINGS[1::2], str(tmp_path / "local"))
    assert plan.unfinished() == []
    assert server.written("records") == {f"/bucket/runs/records/{c.fingerprint()}.jsonl": 1 for c in plan.cells}, "no cell was run twice"
    trainings = [group[0].train_fingerprint() for group in plan.groups()]
    assert {k: n for k, n in server.written("artifacts").items() if k.endswith(".json")} == {f"/bucket/runs/artifacts/{t}/artifact.json": 1 for t in trainings}
    local.run(lambda event: None)
    before = records(plan.store, plan.cells)
    assert before == records(local.store, local.cells)

    about = (plan.store.read_artifact(trainings[0]) or pytest.fail("no artifact"))[1]
    key = f"artifacts/{trainings[0]}/{about['files']['model.safetensors']}"
    data = plan.store.place.read(key)
    plan.store.place.write(key, data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    plan.store.place.move(f"records/{plan.cells[0].fingerprint()}.jsonl", "aside/was")
    events: list[dict] = []
    make_plan("reversals", "quick", 1, SETTINGS[1::2], URL)[0].run(events.append)
    assert [e["event"] for e in events if e["event"] in ("trained", "asked", "warning")] == ["trained", "asked", "warning"]
    assert "model.safetensors does not have the hash" in events[-2]["text"] and f"moved to {URL}/aside/" in events[-2]["text"]
    assert records(Store(URL), plan.cells) == before

    done = subprocess.run([*TOLMAN, "report", "runs/reversals-quick"], cwd=tmp_path / "one", env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "report: " in done.stdout and (tmp_path / "one" / "runs" / "reversals-quick" / "report.html").exists(), done.stderr


@pytest.mark.slow
def test_uploads_that_break_off_now_and_then_cost_nothing(server: S3Server) -> None:
    count = 0

    def every_second(method: str, path: str) -> bool:
        nonlocal count
        count += method == "PUT"
        return method == "PUT" and count % 2 == 0

    server.fault = every_second
    cells = scripted_cells(range(1))
    run_all(Store(URL), cells)
    server.fault = lambda method, path: False
    assert count > 9 and len(records(Store(URL), cells)) == 2 * len(cells)


@pytest.mark.parametrize("part", [*(pytest.param(part, marks=pytest.mark.slow) for part in ("locks", "artifacts", "artifact.json")), "records"])
def test_an_upload_that_is_cut_short_is_one_sentence_and_the_same_command_goes_on(part: str, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    server.fault = lambda method, path: method == "PUT" and part in path and not path.endswith("000000")
    if part == "locks":
        server.fault = lambda method, path: method == "PUT" and part in path
    cells = scripted_cells(range(1))
    with pytest.raises(UserError, match=rf"cannot (write|lock) {URL}/.*; what was finished before is intact, and the same command goes on from there") as info:
        run_all(Store(URL), cells)
    assert "\n" not in str(info.value)
    server.fault = lambda method, path: False
    events = run_all(Store(URL), cells)
    assert not [e for e in events if e["event"] == "warning"]
    records(Store(URL), cells)


def test_a_bucket_that_is_not_there_and_a_server_that_is_gone_are_one_sentence(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    with pytest.raises(UserError, match="cannot open the store s3://nosuch/runs: The specified bucket does not exist"):
        Store("s3://nosuch/runs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match=r"cannot open the store s3://bucket/runs: .*http://127.0.0.1:1"):
        Store(URL)


def test_a_lease_is_created_by_one_only(server: S3Server) -> None:
    """The promise of S3 that a lock rests on: a key is created once."""
    one, two = Store(URL), Store(URL)
    with one.lock("x"):
        with pytest.raises(FileExistsError), two.place.files.open("bucket/runs/locks/x/000000", "xb") as file:  # type: ignore[attr-defined]
            file.write(b"mine")
        assert json.loads(two.place.read("locks/x/000000"))["process"] == os.getpid()
    assert json.loads(two.place.read("locks/x/000000")) == {"free": True}


def run_at(environment: dict[str, str], store: str, cells: list[Cell]) -> None:
    os.environ.update(environment)
    run_all(Store(store), cells)


class KillAt:
    """Kills `victim` in the middle of its n-th request that changes something."""

    def __init__(self, n: int) -> None:
        self.left, self.victim = n, 0

    def __call__(self, method: str, path: str) -> bool:
        self.left -= method in CHANGES
        if method in CHANGES and self.left == 0:
            os.kill(self.victim, signal.SIGKILL)
            return True
        return False


@pytest.mark.slow
def test_kill_9_in_the_middle_of_every_upload_loses_no_record(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bucket, "patience_s", 0.3)
    cells, whole = scripted_cells(range(1)), Store(tmp_path)
    run_all(whole, cells)
    for n in range(1, 100):
        store, kill = f"s3://bucket/killed{n}", KillAt(n)
        with server.lock:  # no request before we know whom to kill
            victim = child(run_at, server.environment, store, cells)
            kill.victim, server.fault = victim.pid, kill
        ended = outcome(victim)
        server.fault = lambda method, path: False
        if ended == 0:
            assert kill.left == 1 and n > 6, "killed at each of its uploads: lease, model and what it is, two records, lease given back"
            return
        assert ended == -signal.SIGKILL
        warnings = [e["text"] for e in run_all(Store(store), cells) if e["event"] == "warning"]
        assert not warnings, f"upload {n}: {warnings}: a kill leaves nothing damaged"
        assert records(Store(store), cells) == [content(r) for r in records(whole, cells)], f"killed at upload {n}"
    raise AssertionError("the run never ended")
