"""The training loop: its schedule, its batches, its optimisers, and its complaints. (That it learns, repeats and resumes is its contract.)"""

import math
from dataclasses import replace

import pytest
import torch

from tolman.core.data import Document
from tolman.core.errors import UserError
from tolman.models.tiny import Tiny
from tolman.testing import MemoryCheckpoints, Silent
from tolman.testing._world import world
from tolman.train_time._muon import Muon
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.untrained import Untrained

SMALL = Tiny(layers=1, width=16, heads=1, kv_heads=1, head_width=16, hidden=16, context_tokens=64)


def train(method, corpus, model=None):
    model, watch = model or SMALL.create(world(), seed=0), Silent()
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=watch)
    return model, watch


def test_the_schedule_rises_stays_and_falls():
    method = Pretrain(steps=100, warmup=0.1, decay=0.2)
    factors = [method.schedule(step) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert set(factors[10:81]) == {1.0}
    assert factors[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])
    assert [Pretrain(steps=3, warmup=0.0, decay=0.0).schedule(s) for s in range(3)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_batch_has_its_share_of_exercises(share):
    corpus = replace(world(), documents=tuple(replace(d, targets=None, text=d.text + (" exercise" if d.role == "exercise" else "")) for d in world().documents))
    model = SMALL.create(corpus, seed=0)
    mark, seen = model.words.encode(["exercise"])[0][1], {"all": 0, "exercises": 0, "batches": 0}
    loss = model.loss

    def watched(batch):
        for segments, tokens in zip(batch.segment, batch.token, strict=True):
            for s in range(1, segments.max() + 1):
                seen["all"] += int((segments == s).sum())
                seen["exercises"] += int((segments == s).sum()) * (mark in tokens[segments == s])
        seen["batches"] += 1
        return loss(batch)

    model.loss = watched
    train(Pretrain(steps=6, batch_tokens=512, exercise_share=share), corpus, model)
    assert seen["batches"] == 6 and 6 * 512 - 12 <= seen["all"] <= 6 * (512 + 2 * 12)
    assert seen["exercises"] / seen["all"] == pytest.approx(share, abs=0.02)


def test_a_corpus_without_exercises_trains_on_experiences_alone():
    corpus = replace(world(), documents=world().experiences)
    _, watch = train(Pretrain(steps=3, batch_tokens=128, exercise_share=0.9), corpus)
    assert len(watch.steps) == 3


@pytest.mark.parametrize(
    "documents, fields, message",
    [
        ((), {}, "there is nothing to train on: no document has a target"),
        ((Document("a", "Ada", targets=()),), {}, "no document has a target"),
        (world().experiences, {"exercise_share": 1.0}, "exercise_share = 1 and the corpus has no exercises"),
    ],
)
def test_nothing_to_train_on_is_said(documents, fields, message):
    with pytest.raises(UserError, match=message):
        train(Pretrain(steps=2, batch_tokens=64, **fields), replace(world(), documents=documents))


def test_a_diverging_run_is_stopped_and_says_what_to_lower():
    model = SMALL.create(world(), seed=0)
    with torch.no_grad():
        model.network.model.norm.weight.fill_(math.inf)
    with pytest.raises(UserError, match=r"at step 0: lower train_time\.lr or train_time\.matrix_lr"):
        train(Pretrain(steps=2, batch_tokens=64), world(), model)


def test_matrices_are_those_of_the_blocks():
    model = SMALL.create(world(), seed=0)
    chosen = {id(p) for p in model.matrices()}
    names = {name for name, p in model.network.named_parameters() if id(p) in chosen}
    assert len(names) == 7 and all(".layers.0." in name and name.endswith("proj.weight") for name in names)


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "weight_decay": 0.3, "momentum": 0.5}])
def test_muon_is_torchs_to_the_bit(options):
    """Tall, wide, square and alone: with torch's own optimiser on the same gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 24), (8, 24), (24, 8), (16, 16), (24, 8), (5, 7)]
    mine, theirs = ([torch.nn.Parameter(torch.randn(s, generator=torch.Generator().manual_seed(i))) for i, s in enumerate(shapes)] for _ in range(2))
    optimizers = [cls(parameters, lr=0.02, **options) for cls, parameters in ((Muon, mine), (torch.optim.Muon, theirs))]
    for _ in range(5):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert optimizers[0].state_dict()["param_groups"] == optimizers[1].state_dict()["param_groups"]


def test_untrained_books_nothing():
    model, watch = train(Untrained(), world())
    assert not watch.steps and model.meter.get("train").tokens == 0
