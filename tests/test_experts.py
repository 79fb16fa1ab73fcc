"""The sparse feed-forward layer of the tiny transformer: against one token at a time, and transformers' balancing loss. What it shares with the dense one
(logits, packing, resuming, FLOPs) is in test_tiny.py."""

import numpy as np
import pytest
import torch

from test_tiny import SPECS, made
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.datasets.reversals import Reversals
from tolman.models._experts import Experts, balance
from tolman.models._qwen3 import MLP, Shape
from tolman.models.tiny import Tiny
from tolman.testing import check_model


@pytest.fixture(scope="module")
def corpus():
    return Reversals(**Reversals.example).build(0)


def made_experts(generator: torch.Generator) -> Experts:
    layer = Experts([MLP(Shape(0, 1, 16, 1, 1, 16, 12)) for _ in range(5)], 2, 16)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_experts_compute_what_one_token_at_a_time_gives(dtype):
    generator = torch.Generator().manual_seed(0)
    layer = made_experts(generator).to(dtype)
    x = torch.randn(3, 67, 16, generator=generator).to(dtype).requires_grad_()
    expected = torch.zeros_like(x)
    for b, t in np.ndindex(3, 67):
        probability = (layer.gate.weight @ x[b, t]).float().softmax(0)
        weight, chosen = probability.topk(2)
        for w, e in zip(weight / weight.sum(), chosen.tolist(), strict=True):
            expected[b, t] += layer.experts[e](x[b, t]) * w.to(dtype)
    out = layer(x)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.02}
    assert torch.allclose(out, expected, **close)
    grads = [torch.autograd.grad(y.float().square().sum(), [x, *layer.parameters()]) for y in (out, expected)]
    for mine, its in zip(*grads, strict=True):
        assert (mine - its).float().norm() < (1e-4 if dtype == torch.float32 else 0.05) * its.float().norm()
    assert layer.rows == 3 * 67 * 2 if dtype == torch.float32 else layer.rows % 32 == 0 and 402 < layer.rows <= 402 + 5 * 31


def test_the_balancing_loss_is_that_of_transformers(corpus, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = made(corpus, SPECS["experts"])
    model.save(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    examples = model.examples(corpus.documents[-6:])
    ids = torch.zeros(6, max(map(len, examples)), dtype=torch.int64)
    real = torch.zeros_like(ids)
    for row, example in enumerate(examples):
        ids[row, : len(example)], real[row, : len(example)] = torch.from_numpy(example.token), 1
    assert 0 < real.float().mean() < 1
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=real, output_router_logits=True).aux_loss
        model.network(ids, torch.arange(ids.shape[1]).expand_as(ids))
    routed = [experts.routed for experts in model.network.experts()]
    assert float(balance([(r, real.flatten() > 0) for r in routed])) == pytest.approx(float(expected), rel=1e-4)


def test_balance_adds_to_the_gradient_of_the_routers_but_not_to_the_loss(corpus):
    batch, grads, losses = pack(made(corpus).examples(corpus.documents[:40]), 64), [], []
    for weight in (0.0, 1.0):
        model = made(corpus, SPECS["experts"].replace("balance", weight))
        loss = model.loss(batch)
        loss.backward()
        losses.append(float(loss.detach()))
        grads.append(torch.cat([experts.gate.weight.grad for experts in model.network.experts()]))
    assert losses[0] == losses[1] and (grads[1] - grads[0]).norm() > 0.01 * grads[0].norm()


def test_balancing_evens_out_the_use_of_experts():
    generator = torch.Generator().manual_seed(0)
    layer, used = made_experts(generator), []
    x = torch.randn(400, 16, generator=generator) + 1.0
    everything = torch.ones(400, dtype=torch.bool)
    for _ in range(100):
        layer(x)
        used.append(layer.routed.expert_NK.flatten().bincount(minlength=5) / 800)
        (gradient,) = torch.autograd.grad(balance([(layer.routed, everything)]), [layer.gate.weight])
        layer.gate.weight.data -= 0.1 * gradient
    assert used[0].min() < 0.1 and used[-1].min() > 0.15, f"a fifth each is even: {used[0]}, then {used[-1]}"


def test_a_model_with_experts_keeps_the_contract_of_models():
    check_model(SPECS["experts"])


def test_active_parameters_are_those_of_the_dense_model():
    dense, sparse = (Tiny(experts=n).parameter_count(300, active=True) for n in (0, 8))
    assert sparse - dense == 2 * 128 * 8, "only the routers come on top"
    assert Tiny(experts=8).parameter_count(300) - sparse == 2 * 3 * 128 * (192 * 6)
    assert Tiny(experts=8).fingerprint() != Tiny().fingerprint()
    assert "experts" not in Tiny().identity(), "records of dense models that were kept before there were experts must stay valid"
    for wrong in ({"experts": 1}, {"experts": 8, "experts_per_token": 5}):
        with pytest.raises(UserError, match="must be at most experts"):
            Tiny(**wrong)
