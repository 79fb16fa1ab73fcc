"""Several processes for one training: the loss curve, the weights and the cost of one."""

import json
import multiprocessing
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from test_run import tiny_cells
from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.datasets.recall import Recall
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.test_time.thinking import Thinking
from tolman.testing import MemoryCheckpoints
from tolman.testing._world import world
from tolman.train_time._parallel import Team
from tolman.train_time.finetune import Finetune
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL

STEPS = 12
TINY, LLAMA = Tiny(layers=1, width=32, heads=1, kv_heads=1, hidden=32), Hf(path="random", dtype="float32")
KNOWS = Finetune(weights="full", steps=40, batch_tokens=512, lr=0.01)
"""Not by Muon, which makes 1e-3 of a rounding: of a thousand draws one would fall otherwise."""
THINKING = Thinking(budget_tokens=12)
TRAININGS: dict[str, tuple[Component, Component]] = {
    "pretrain": (Pretrain(steps=STEPS, batch_tokens=512), TINY),
    "finetune, adapters, kl and l2": (Finetune(rank=4, steps=STEPS, batch_tokens=512, lr=0.02, kl=0.2, l2=0.01), LLAMA),
    "finetune, all weights, replay": (Finetune(weights="full", steps=STEPS, batch_tokens=512, lr=0.005, kl=0.2, l2=0.01, replay=0.3), LLAMA),
    "recall_rl, at once": (RecallRL(first=KNOWS, thinking=None, scoring=Exact(), steps=STEPS, questions=6, samples=8, lr=0.003), TINY),
    "recall_rl, after thinking": (
        RecallRL(first=KNOWS, thinking=THINKING, scoring=Exact(), steps=STEPS, questions=6, samples=8, lr=0.003, bootstrap_traces=64, bootstrap_steps=3),
        TINY,
    ),
}
TOLERANCE = {"pretrain": 1e-2, "finetune": 1e-3, "recall_rl": 2e-2}
"""Relative, of what is said of a step: the orthogonalisation of Muon and the first steps of AdamW make much of a rounding."""


class Curve:
    """Writes down what a training says of its steps."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def step(self, step: int, steps: int, **values: float) -> None:
        self.steps.append(values)

    def keep(self, name: str, value: Any, documents: Any = ()) -> None:
        raise AssertionError(name)


def corpus_for(name: str) -> Corpus:
    if name.startswith("recall_rl"):
        return Recall(**Recall.example).build(0)
    return tiny_cells()[0].dataset.build(0) if name == "pretrain" else world()  # type: ignore[attr-defined]


def train(name: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor], tuple[int, float]]:
    """Steps, weights and (tokens, FLOPs) of a small training in float32, where sums in another order differ by rounding only."""
    method, component = TRAININGS[name]
    corpus, curve = corpus_for(name), Curve()
    model = component.create(corpus, seed=0)  # type: ignore[attr-defined]
    model.trained_dtype = torch.float32
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=curve)  # type: ignore[attr-defined]
    spent = model.meter.get("train")
    return curve.steps, {n: p.detach() for n, p in model.network.named_parameters()}, (spent.tokens, spent.flops)


def gradient() -> dict[str, torch.Tensor]:
    """The gradient of one batch at the first weights, in float32."""
    cell = tiny_cells()[0]
    corpus = cell.dataset.build(0)  # type: ignore[attr-defined]
    model = cell.model.create(corpus, seed=0)  # type: ignore[attr-defined]
    model.trained_dtype = torch.float32
    team, examples = Team(model), model.examples(corpus.experiences[:12])
    part, share = team.part(pack(examples, max(map(len, examples))))
    loss = share * model.loss(part)
    loss.backward()
    team.add_up(loss)
    return {n: p.grad for n, p in model.network.named_parameters()}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def one_of(rank: int, size: int, port: int, folder: Path) -> None:
    """A process of several: every training, its outcome in a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    for number, name in enumerate(TRAININGS):
        steps, weights, spent = train(name)
        save_file({n: w.contiguous() for n, w in weights.items()}, folder / f"{rank}.{number}.safetensors")
        (folder / f"{rank}.{number}.json").write_text(json.dumps({"steps": steps, "spent": spent}))
    save_file(gradient(), folder / f"{rank}.gradient.safetensors")


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """What so many gloo processes made of every training."""
    folder, port, spawn = tmp_path_factory.mktemp("ranks"), free_port(), multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=one_of, args=(rank, request.param, port, folder)) for rank in range(request.param)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * request.param
    return request.param, folder


def test_a_batch_has_the_gradient_of_one_process(outcomes: tuple[int, Path]) -> None:
    _, folder = outcomes
    shared = load_file(folder / "0.gradient.safetensors")
    for name, whole in gradient().items():
        assert torch.allclose(shared[name], whole, rtol=1e-4, atol=1e-6) and whole.abs().max() > 1e-5, name


@pytest.mark.parametrize("name", TRAININGS)
def test_gloo_processes_give_the_loss_curve_weights_and_tokens_of_one(name: str, outcomes: tuple[int, Path]) -> None:
    size, folder = outcomes
    files = [folder / f"{rank}.{list(TRAININGS).index(name)}" for rank in range(size)]
    told = [json.loads(Path(f"{f}.json").read_text()) for f in files]
    ended = [load_file(f"{f}.safetensors") for f in files]
    steps, weights, (tokens, flops) = train(name)
    assert all(t["steps"] == told[0]["steps"] for t in told), "the processes agree to the bit"
    assert all(torch.equal(e[n], ended[0][n]) for e in ended for n in weights)
    assert len(told[0]["steps"]) == len(steps) >= STEPS and len({s["loss"] for s in steps}) > 0.8 * STEPS
    for mine, one in zip(told[0]["steps"], steps, strict=True):
        assert mine == pytest.approx(one, rel=TOLERANCE[name.partition(",")[0]], abs=1e-3)
        assert all(mine.get(of) == one.get(of) for of in ("reward", "flat", "trace_tokens", "recalled")), "every draw falls as it did"
    for n, weight in weights.items():  # Muon orthogonalises in bfloat16, which makes 1e-3 of a rounding
        assert torch.allclose(ended[0][n], weight, atol=0.02), n
    booked = tokens if name != "recall_rl, after thinking" else pytest.approx(tokens, rel=0.05)  # texts that are finished leave a batch several at a time
    assert all(t["spent"][0] == booked for t in told), "what all computed is booked"
    assert all(0.6 * flops < t["spent"][1] <= flops for t in told), "the same, but for padding: a part's rows differ less in length than a batch's"


def test_a_part_holds_its_share_of_the_weighted_tokens_and_one_process_all_rows() -> None:
    cell = tiny_cells()[0]
    corpus = cell.dataset.build(0)  # type: ignore[attr-defined]
    model = cell.model.create(corpus, seed=0)  # type: ignore[attr-defined]
    examples = model.examples(corpus.experiences[:12])
    batch, team = pack(examples, max(map(len, examples))), Team(model)
    assert team.part(batch) == (batch, 1.0) and team.add_up(torch.tensor(2.5)) == 2.5
    assert team.mine([1, 2, 3]) == [1, 2, 3] and team.total(4) == 4.0 and team.mean([1, 2]) == 1.5
    shares, rows, items = [], 0, []
    for rank in range(3):
        team.size, team.rank = 3, rank
        part, share = team.part(batch)
        shares.append(share)
        rows += len(part.token)
        items += team.mine(list(range(8)))
        assert share == pytest.approx((part.weight[:, 1:] != 0).sum() / (batch.weight[:, 1:] != 0).sum()) and 0 < share < 1
    assert sum(shares) == pytest.approx(1) and rows == len(batch.token) and sorted(items) == list(range(8))
    team.size = team.rank = len(batch.token) + 1
    assert team.rows(batch)[1] == 0.0
    with pytest.raises(UserError, match=r"rows cannot be shared by .* processes: raise train_time.batch_tokens"):
        team.part(batch)
    with pytest.raises(UserError, match=r"3 questions of a step cannot be shared by .* processes: raise train_time.questions"):
        team.mine([1, 2, 3])


# -- as torchrun and accelerate begin them --------------------------------------------------------------------------------------------------------------

PLUGIN = """
'''A study of every training that is shared, found as one of another package.'''
from tolman import Cell
from tolman.augment.rules import Rules
from tolman.datasets.recall import Recall
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.finetune import Finetune
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL

scales = {"quick": 1, "small": 1}

def cells(scale, seeds):
    knows, tiny = Pretrain(steps=20, batch_tokens=512), Tiny(layers=1, width=32, heads=1, kv_heads=1, hidden=32)
    recall = RecallRL(first=knows, thinking=None, scoring=Exact(), steps=6, questions=4, samples=4)
    if scale == "small":
        knows = Pretrain(steps=200, batch_tokens=512)
    trainings = {"pretrain": (tiny, knows), "recall_rl": (tiny, recall), "finetune": (Hf(path="random", dtype="float32"), Finetune(steps=8, batch_tokens=512, kl=0.1))}
    shared = {"dataset": Recall(**Recall.example), "test_time": ClosedBook(), "scoring": Exact(), "curve": ("two_hop",)}
    return [Cell(**shared, model=m, train_time=t, seed=s, training=name, asking="closed book")
            for s in seeds for name, (m, t) in trainings.items() if scale == "quick" or name == "pretrain"]
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which `tolman`, `torchrun` and `accelerate` are commands and the study `shared` exists."""
    commands, plugin = tmp_path / "bin", tmp_path / "plugin"
    for folder in (commands, plugin / "shared-1.dist-info"):
        folder.mkdir(parents=True)
    for name, code in {"tolman": "tolman.cli", "torchrun": "torch.distributed.run", "accelerate": "accelerate.commands.accelerate_cli"}.items():
        (commands / name).write_text(f"#!{sys.executable}\nimport sys\nfrom {code} import main\nsys.exit(main())\n")
        (commands / name).chmod(0o755)
    (plugin / "shared.py").write_text(PLUGIN)
    (plugin / "shared-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shared\nVersion: 1\n")
    (plugin / "shared-1.dist-info" / "entry_points.txt").write_text("[tolman.studies]\nshared = shared\n")
    path = os.pathsep.join([str(plugin), *sys.path])
    return os.environ | {"PYTHONPATH": path, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def launcher(name: str) -> list[str]:
    """The command that docs/cluster.md begins `tolman run` with, at a port of our own."""
    line = next(line for line in (Path(__file__).parents[1] / "docs" / "cluster.md").read_text().splitlines() if line.startswith(f"{name} "))
    command, port = shlex.split(line.partition(" tolman run ")[0]), str(free_port())
    return command[:1] + ["--master-port", port] + command[1:] if name == "torchrun" else command[:2] + ["--main_process_port", port] + command[2:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchrun", "accelerate"])
def test_a_launcher_runs_a_study_with_two_processes_for_each_training(name: str, env: dict[str, str], tmp_path: Path) -> None:
    """All three trainings; records as of one process: the same questions, the same cost in tokens. Reinforcement learning begins with the artifact of its knowledge."""
    arguments = ["run", "shared", "--json"]
    alone = subprocess.run(["tolman", *arguments, "--workers", "1", "--out", tmp_path / "alone"], env=env, capture_output=True, text=True)
    both = subprocess.run([*launcher(name), "tolman", *arguments, "--out", tmp_path / "both"], env=env, capture_output=True, text=True)
    assert alone.returncode == 0 and both.returncode == 0, alone.stderr + both.stderr
    one, two = ([json.loads(line) for line in done.stdout.splitlines()] for done in (alone, both))
    assert [(r["fingerprint"], r["kind"], r["n"]) for r in one] == [(r["fingerprint"], r["kind"], r["n"]) for r in two] and len(one) > 6
    tokens = [{r["training"]: r["train_tokens"] for r in rows} for rows in (one, two)]
    assert tokens[1] == pytest.approx(tokens[0], rel=0.02) and all(tokens[0][t] == tokens[1][t] > 0 for t in ("pretrain", "finetune")), tokens
    curves = []
    for where in ("alone", "both"):
        store = Store(tmp_path / where)
        about = [json.loads(p.read_text()) for p in (store.folder / "artifacts").glob("*/artifact.json")]
        assert len(about) == 3 and not list((store.folder / "checkpoints").iterdir())
        curves.append({a["training"]: [point["loss"] for point in a["curve"]] for a in about})
    for training, tolerance in (("pretrain", 0.02), ("finetune", 0.002)):  # tiny trains in bfloat16
        assert curves[1][training] == pytest.approx(curves[0][training], rel=tolerance) and len(curves[0][training]) > 5


def test_ray_under_torchrun_is_one_sentence(env: dict[str, str], tmp_path: Path) -> None:
    """Else each process would begin tasks on the cluster, none of which finds the others."""
    env |= {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}  # as torchrun does
    done = subprocess.run(["tolman", "run", "shared", "--engine", "ray", "--out", tmp_path / "store"], env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "store").exists()
    assert re.fullmatch(r"error: --engine ray does not go with torchrun, .*: begin `tolman run` without one of the two\n", done.stderr), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9 of one process"])
def test_a_training_of_two_processes_that_is_ended_goes_on_from_its_checkpoint(how: str, env: dict[str, str], tmp_path: Path) -> None:
    arguments = ["run", "shared", "--json", "--scale", "small"]
    command = ["tolman", *arguments, "--out", tmp_path / "both"]
    process = subprocess.Popen([*launcher("torchrun"), *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (states := list((tmp_path / "both" / "checkpoints").glob("*/state.safetensors"))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        ranks = [int(c) for c in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        os.kill(ranks[-1], signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode != 0 and states[0].exists(), errors
    step = (FileCheckpoints(Store(tmp_path / "both"), states[0].parent.name).load() or pytest.fail("no state"))["method"]["step"]
    assert 0 < step < 200
    if how == "Ctrl-C":
        assert "stopped" in errors, errors
    again = subprocess.run([*launcher("torchrun"), *command], env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    alone = subprocess.run(["tolman", *arguments, "--workers", "1", "--out", tmp_path / "alone"], env=env, capture_output=True, text=True)
    one, two = ([json.loads(line) for line in done.stdout.splitlines()] for done in (alone, again))
    key = ("fingerprint", "kind", "n", "train_tokens")
    assert [[r[k] for k in key] for r in one] == [[r[k] for k in key] for r in two], "no step was taken twice and none left out"
