"""Several processes for one training: the loss curve, the weights and the cost of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from test_places import child, outcome
from test_run import tiny_cells
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.run.store import Store
from tolman.train_time._parallel import Team

STEPS = 12


class Curve:
    """Keeps nothing and writes down the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def load(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def save(self, state: object) -> None:
        raise AssertionError

    def step(self, step: int, steps: int, **values: float) -> None:
        self.losses.append(values["loss"])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


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


def train() -> tuple[list[float], dict[str, torch.Tensor], tuple[int, float]]:
    """Losses, weights and (tokens, FLOPs) of a small training in float32, where sums in another order differ by rounding only."""
    cell = tiny_cells(steps=STEPS)[0].replace("train_time.batch_tokens", 512)
    corpus, curve = cell.dataset.build(0), Curve()  # type: ignore[attr-defined]
    model = cell.model.create(corpus, seed=0)  # type: ignore[attr-defined]
    model.trained_dtype = torch.float32
    cell.train_time.train(model, corpus, seed=0, checkpoints=curve, watch=curve)  # type: ignore[attr-defined]
    spent = model.meter.get("train")
    return curve.losses, {n: p.detach() for n, p in model.network.named_parameters()}, (spent.tokens, spent.flops)


@pytest.mark.parametrize("size", [2, 3])
def test_gloo_processes_give_the_loss_curve_weights_and_tokens_of_one(size: int, tmp_path: Path) -> None:
    port = free_port()

    def work(rank: int) -> None:
        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
        losses, weights, spent = train()
        result = {"losses": losses, "spent": spent, "weights": {n: p.tolist() for n, p in weights.items()}}
        result["gradient"] = {n: g.tolist() for n, g in gradient().items()}
        (tmp_path / f"{rank}.json").write_text(json.dumps(result))

    assert [outcome(pid) for pid in [child(lambda r=r: work(r)) for r in range(size)]] == [0] * size
    losses, weights, (tokens, flops) = train()
    ranks = [json.loads((tmp_path / f"{r}.json").read_text()) for r in range(size)]
    assert all(r["weights"] == ranks[0]["weights"] and r["losses"] == ranks[0]["losses"] for r in ranks), "the processes agree to the bit"
    assert len(losses) == STEPS and losses[-1] < 0.9 * losses[0]
    assert ranks[0]["losses"] == pytest.approx(losses, rel=1e-4)
    for name, whole in gradient().items():
        assert torch.allclose(torch.tensor(ranks[0]["gradient"][name]), whole, rtol=1e-4, atol=1e-6), name
    for name, weight in weights.items():  # Muon orthogonalises in bfloat16, which makes 1e-3 of a rounding
        assert torch.allclose(torch.tensor(ranks[0]["weights"][name]), weight, atol=0.02), name
    assert ranks[0]["spent"][0] == tokens, "rank 0 books what all computed"
    assert 0.6 * flops < ranks[0]["spent"][1] <= flops, "the same, but for padding: a part's rows differ less in length than a batch's"


def test_a_part_holds_its_share_of_the_weighted_tokens_and_one_process_all_rows() -> None:
    cell = tiny_cells()[0]
    corpus = cell.dataset.build(0)  # type: ignore[attr-defined]
    model = cell.model.create(corpus, seed=0)  # type: ignore[attr-defined]
    examples = model.examples(corpus.experiences[:12])
    batch, team = pack(examples, max(map(len, examples))), Team(model)
    assert team.part(batch) == (batch, 1.0) and team.add_up(torch.tensor(2.5)) == 2.5
    shares, rows = [], 0
    for rank in range(3):
        team.size, team.rank = 3, rank
        part, share = team.part(batch)
        shares.append(share)
        rows += len(part.token)
        assert share == pytest.approx((part.weight[:, 1:] != 0).sum() / (batch.weight[:, 1:] != 0).sum()) and 0 < share < 1
    assert sum(shares) == pytest.approx(1) and rows == len(batch.token)
    team.size = len(batch.token) + 1
    with pytest.raises(UserError, match=r"rows cannot be shared by .* processes: raise train_time.batch_tokens"):
        team.part(batch)


@pytest.mark.slow
def test_torchrun_runs_a_study_with_two_processes_for_each_training(tmp_path: Path) -> None:
    """Records as of one process: same questions, same cost in tokens; interrupted, it goes on."""
    from test_cli import SETTINGS

    arguments = ["run", "reversals", "--json", "--seeds", "2", *SETTINGS, "--set", "train_time.batch_tokens=512"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    (tmp_path / "run_tolman.py").write_text("from tolman.cli import main; main()")
    alone = subprocess.run(
        [sys.executable, str(tmp_path / "run_tolman.py"), *arguments, "--workers", "1", "--out", str(tmp_path / "alone")],
        env=env,
        capture_output=True,
        text=True,
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), str(tmp_path / "run_tolman.py")]
    both = subprocess.run([*torchrun, *arguments, "--out", str(tmp_path / "both")], env=env, capture_output=True, text=True, timeout=280)
    assert alone.returncode == 0 and both.returncode == 0, alone.stderr + both.stderr
    one, two = ([json.loads(line) for line in done.stdout.splitlines()] for done in (alone, both))
    assert [(r["fingerprint"], r["kind"], r["train_tokens"]) for r in one] == [(r["fingerprint"], r["kind"], r["train_tokens"]) for r in two]
    header, _ = Store(tmp_path / "both").read_record(two[0]["fingerprint"]) or pytest.fail("no record")
    assert header["costs"]["train"]["tokens"] == two[0]["train_tokens"] > 0
