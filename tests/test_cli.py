"""The command line: what it prints, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tolman.cli import main

SMALL = [
    "dataset.entities=12", "dataset.relations=2", "dataset.held_out=4", "dataset.episode_count=40", "dataset.asked=4", "dataset.options=4",
    "dataset.episode_facts=3", "dataset.copies=1", "model.width=16", "model.heads=1", "model.kv_heads=1", "model.hidden=16", "model.layers=1",
    "train_time.steps=4", "train_time.batch_tokens=128",
]  # fmt: skip
SETTINGS = [part for setting in SMALL for part in ("--set", setting)]


def tolman(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from tolman.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=120)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """A store with a finished quick run of a much smaller world, and what --json printed."""
    store = tmp_path_factory.mktemp("store")
    done = tolman("run", "reversals", "--out", store, "--json", "--workers", 1, *SETTINGS)
    assert done.returncode == 0, done.stderr
    return store, [json.loads(line) for line in done.stdout.splitlines()]


def test_list_and_help_load_neither_torch_nor_transformers_nor_polars() -> None:
    code = "import sys; from tolman.cli import main; sys.argv = ['tolman', 'list']\ntry: main()\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'transformers', 'polars', 'altair', 'numpy', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "reversals" in done.stdout and "oracle" in done.stdout and "pretrain" in done.stdout
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tolman"], check=True)
    imported = time.perf_counter() - began
    assert subprocess.run([sys.executable, "-c", "import tolman, sys; assert 'pydantic' not in sys.modules"]).returncode == 0, imported


def test_show_prints_fields_scales_samples_and_a_studys_cells() -> None:
    done = tolman("show", "reversals")
    assert done.returncode == 0, done.stderr
    for part in (
        "datasets/reversals",
        "Number of facts that training shows forward only.",
        "scale paper: entities=1000",
        "heldout_reversal (latent)",
        "studies/reversals",
    ):
        assert part in done.stdout, part
    assert "only says where or how fast to run" in tolman("show", "models/tiny").stdout


def test_run_json_has_one_object_per_cell_and_kind(finished: tuple[Path, list[dict]]) -> None:
    _, rows = finished
    wanted = (
        "study scale seed dataset model train_time test_time kind n chance accuracy low high train_flops train_tokens train_s ask_flops ask_tokens fingerprint"
    ).split()
    assert all(set(wanted) <= set(row) for row in rows)
    assert len({row["fingerprint"] for row in rows}) == 12 and len({(row["fingerprint"], row["kind"]) for row in rows}) == len(rows) == 3 * (8 + 8 + 4 + 4)
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 and row["train_flops"] > 0 for row in rows)


def test_a_second_run_does_nothing_again_and_the_report_is_written_from_tables(finished: tuple[Path, list[dict]], tmp_path: Path) -> None:
    store, rows = finished
    again = tolman("run", "reversals", "--out", store, *SETTINGS)
    assert again.returncode == 0 and "3 of 3 trainings are finished already" in again.stderr, again.stderr
    assert "report: " in again.stdout and (store / "reversals-quick" / "report.html").stat().st_size > 10_000
    assert "heldout" in again.stdout and "per cent correct" in again.stdout
    done = tolman("report", store / "reversals-quick", "--out", tmp_path)
    assert done.returncode == 0 and (tmp_path / "report.html").exists(), done.stderr


def test_dry_run_lists_trainings_with_time_and_memory_and_runs_nothing(tmp_path: Path) -> None:
    done = tolman("run", "reversals", "--out", tmp_path, "--dry-run")
    assert done.returncode == 0 and "12 cells, 3 trainings" in done.stdout and "GiB of memory" in done.stdout, done.stderr
    assert not list((tmp_path / "records").iterdir())
    rows = [json.loads(line) for line in tolman("run", "reversals", "--out", tmp_path, "--dry-run", "--json").stdout.splitlines()]
    assert len(rows) == 3 and all(r["seconds"] > 1 and r["memory_bytes"] > 1e8 and not r["finished"] for r in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "reversls"], "there is no 'reversls' in studies; did you mean 'reversals'?"),
        (["run", "reversals", "--scale", "smal"], "reversals has no scale 'smal'; did you mean 'small'?"),
        (["run", "reversals", "--set", "train_time.stps=3"], "train_time/pretrain has no field 'stps'; did you mean 'steps'?"),
        (["run", "reversals", "--set", "dataset.entities=two"], "datasets/reversals.entities = 'two': input should be a valid integer"),
        (["run", "reversals", "--set", "dataset.held_out=9999"], "held_out = 9999 leaves nothing to train both ways"),
        (["run", "reversals", "--set", "steps=3"], "write PART.FIELD=VALUE"),
        (["run", "reversals", "--set", "dataset.episodes=frsh"], "datasets/reversals.episodes = 'frsh': input should be 'none', 'trained' or 'fresh'"),
        (["show", "orcle"], "there is no study or component 'orcle'; did you mean 'oracle'?"),
        (["report", "nowhere"], "nowhere holds no run: plan.json is missing"),
        (["claims", "C4"], "there is no claim 'C4'; did you mean 'C"),
        (["claims", "C36", "--quick"], "no study decides C36 yet"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tolman", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and says in said and len(said.strip().splitlines()) == 1, said


def test_bad_input_ends_the_process_so() -> None:
    done = tolman("run", "reversls")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "did you mean 'reversals'?" in done.stderr


def test_claims_prints_the_whole_ledger_and_decides_from_records(finished: tuple[Path, list[dict]]) -> None:
    store, _ = finished
    rows = {r["id"]: r for r in map(json.loads, tolman("claims", "--results", store, "--json").stdout.splitlines())}
    assert len(rows) == 38 and rows["C36"]["verdict"] == "not run"
    assert rows["C04"]["verdict"] == "open: not as claimed, but 1 of 3 seeds", "four steps of training recall nothing"
    assert {c["what"] for c in rows["C04"]["checks"]} >= {"held-out facts, forward", "held-out reversals, in context"}
    one = tolman("claims", "C19", "--results", store)
    assert one.returncode == 0 and "Rule: " in one.stdout and "oracle + 3" in one.stdout and "n = " in one.stdout
    assert {run["name"] for run in rows["C04"]["runs"]} == {"reversals-quick"} and rows["C04"]["runs"][0]["train_flops"] > 0
    assert rows["C04"]["studies"] == ["reversals"] and rows["C36"]["runs"] == []


def test_the_ledger_reads_at_80_columns(finished: tuple[Path, list[dict]]) -> None:
    store, _ = finished
    env = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "from tolman.cli import main; main()", "claims", "--results", str(store)]
    lines = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120).stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [line[:3] for line in lines if line[:1] == "C"] == [f"C{i:02}" for i in range(1, 39)], "every claim has its block"
    held = next(line for line in lines if "held-out facts, forward" in line)
    assert held.split()[0] == "no" and "[" in held and ">= 0.99" in held
    assert any(line.startswith("38 claims: ") and "not run" in line for line in lines)
