"""Fine-tuning: adapters and all weights keep the contract of methods; texts are cut as said; what holds a model back does; a failed step is undone."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from tolman import Cell
from tolman.core.component import Component
from tolman.core.data import Document
from tolman.core.discovery import component
from tolman.core.errors import UserError
from tolman.core.packing import Example, pack
from tolman.models._pretrained import with_adapter
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.report.summary import estimates
from tolman.report.terminal import results_table
from tolman.run.frames import LATER, Frames
from tolman.run.plan import Plan
from tolman.run.retention import retention
from tolman.run.store import Store
from tolman.testing import MemoryCheckpoints, Silent, check_train_time
from tolman.testing._world import world
from tolman.testing.train_time import Interrupted, same, weights
from tolman.train_time import _general
from tolman.train_time._lora import merged_osf, squared_shift, with_lora, with_osf
from tolman.train_time._texts import pack_evenly, sentences, texts
from tolman.train_time.finetune import Finetune
from tolman.train_time.untrained import Untrained

LLAMA = Hf(path="random", dtype="float32")
TINY = Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=256)
LORA = Finetune(rank=4, steps=12, batch_tokens=64, lr=0.05)


def trained(method: Finetune, model: Component = LLAMA, **given):
    live = model.create(world(), seed=0)
    watch = given.pop("watch", Silent())
    method.train(live, world(), seed=0, checkpoints=given.pop("checkpoints", MemoryCheckpoints()), watch=watch)
    return live, watch


def moved(method: Finetune) -> float:
    """How far `method` moves the next-token distribution on general text, in nats."""
    live, _ = trained(method)
    base = LLAMA.create(world(), seed=0)
    batch = pack_evenly(base.examples(_general.passages("replay")), 128)
    with torch.no_grad():
        before, after = base.logits(batch).log_softmax(-1), live.logits(batch).log_softmax(-1)
    return float((before.exp() * (before - after)).sum(-1).mean())


def test_adapters_keep_the_contract_of_methods():
    check_train_time(LORA, LLAMA)


@pytest.mark.parametrize("method", [LORA, Finetune(weights="full", steps=8, batch_tokens=96, lr=0.01, kl=0.1, l2=0.01, replay=0.2)], ids=["lora", "full"])
def test_an_interruption_changes_nothing_in_bfloat16(method):
    spec = Hf(path="random", dtype="bfloat16")
    whole, _ = trained(method, spec)
    assert whole.network.dtype == torch.bfloat16 and not same(weights(whole), weights(spec.create(world(), seed=0)))
    checkpoints = MemoryCheckpoints(every=3)
    with pytest.raises(Interrupted):
        trained(method, spec, checkpoints=checkpoints, watch=Silent(until=5))
    resumed, watch = trained(method, spec, checkpoints=checkpoints)
    assert watch.steps[0] == 4 and same(weights(whole), weights(resumed))


def test_masters_keep_steps_that_bfloat16_would_lose():
    """At this rate a single step is below half a unit in the last place of most weights; twenty are not."""
    live, _ = trained(Finetune(weights="full", steps=20, batch_tokens=96, lr=1e-4), Hf(path="random", dtype="bfloat16"))
    before = weights(Hf(path="random", dtype="bfloat16").create(world(), seed=0))
    gains = "model.layers.0.input_layernorm.weight"  # 1.0: the next bfloat16 below is 0.4 % away, 40 steps' worth
    maps = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights(live)[gains], before[gains])
    assert (weights(live)[maps] != before[maps]).float().mean() > 0.3


def test_tiny_can_be_fine_tuned_in_full_and_not_with_adapters():
    tiny = Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=64)
    _, watch = trained(Finetune(weights="full", steps=12, batch_tokens=96, lr=0.01, loss_on="targets"), tiny)
    assert watch.losses[-1] < watch.losses[0]
    with pytest.raises(UserError, match="set train_time.weights=full"):
        trained(LORA, tiny)


# -- what holds it back ---------------------------------------------------------------------------------------------------------------------------------


def test_divergence_distance_and_replay_hold_the_model_back():
    free = moved(LORA)
    assert moved(LORA.replace("kl", 3.0)) < 0.5 * free
    assert moved(LORA.replace("l2", 0.1)) < 0.5 * free
    full = Finetune(weights="full", steps=15, batch_tokens=96, lr=0.01)
    assert moved(full.replace("l2", 0.05)) < 0.8 * moved(full)


def test_the_shift_of_adapted_maps_is_that_of_their_products():
    model = LLAMA.create(world(), seed=0)
    network = with_lora(model.network, rank=3, scale=1.5, seed=0)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 1, generator=draw)
    changes = [m.get_delta_weight("default") for m in network.modules() if hasattr(m, "lora_A")]
    assert len(changes) == 14
    assert float(squared_shift(network).detach()) == pytest.approx(float(sum((c**2).sum() for c in changes).detach()), rel=1e-5)


def test_adapters_begin_as_nothing_and_draw_from_their_own_stream():
    model = LLAMA.create(world(), seed=0)
    before = torch.get_rng_state()
    first, other = (with_lora(LLAMA.create(world(), seed=0).network, rank=4, scale=2.0, seed=s) for s in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert not torch.equal(dict(first.named_parameters())[name], dict(other.named_parameters())[name])
    ids = torch.arange(6)[None]
    assert torch.equal(first(ids).logits, model.network(ids).logits)


def test_a_model_with_an_adapter_is_trained_on_with_it(tmp_path):
    """One adapter remains, which says all: around a second one PEFT's saving would have lost the first."""
    model = LLAMA.create(world(), seed=0)
    method = Finetune(steps=4, batch_tokens=64, rank=2, lr=0.01)
    states = []
    for seed in (0, 1):
        method.train(model, world(), seed=seed, checkpoints=MemoryCheckpoints(), watch=Silent())
        states.append({n: p.detach().clone() for n, p in model.network.named_parameters() if "lora_" in n})
    assert states[0].keys() == states[1].keys() and any(not torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert [n for n, p in model.network.named_parameters() if p.requires_grad] == list(states[0])
    model.save(tmp_path)
    ids = torch.arange(6)[None]
    loaded = with_adapter(LLAMA.create(world(), seed=0).network, tmp_path)
    assert torch.equal(loaded(ids).logits, model.network(ids).logits)
    with pytest.raises(UserError, match="has an adapter of rank 2 and scale 2 already"):
        with_lora(loaded, rank=3, scale=2.0, seed=0)


def test_the_divergence_from_itself_is_defined_for_a_model_from_scratch():
    method = Finetune(weights="full", steps=12, batch_tokens=96, lr=0.01)

    def shift(live):
        return sum(float((a - b).square().sum()) for a, b in zip(weights(live).values(), weights(TINY.create(world(), seed=0)).values(), strict=True))

    held, _ = trained(method.replace_all({"kl": 20.0}), TINY)
    free, _ = trained(method, TINY)
    assert 0 < shift(held) < shift(free)


# -- orthogonal subspaces -------------------------------------------------------------------------------------------------------------------------------

OSF = Finetune(weights="osf", preserved=0.75, steps=12, batch_tokens=64, lr=0.01)


def test_orthogonal_subspaces_keep_the_contract_of_methods():
    check_train_time(OSF.replace("l2", 0.001), LLAMA)


def test_the_strongest_directions_are_not_written_to(monkeypatch):
    """With plain gradient steps, whose direction the projection fixes, a map's change lies at right angles to its first singular vectors; and it is large elsewhere."""
    monkeypatch.setattr(torch.optim, "AdamW", lambda weights, lr, weight_decay, betas, fused: torch.optim.SGD(weights, lr=lr))
    live, _ = trained(OSF.replace("lr", 0.5))
    before = dict(LLAMA.create(world(), seed=0).network.named_parameters())
    seen = 0
    for name, weight in live.network.named_parameters():
        if "proj" not in name:
            assert torch.equal(weight, before[name]), f"{name} is no linear map"
            continue
        change = (weight - before[name]).detach()
        u, _, v = torch.linalg.svd(before[name].detach(), full_matrices=False)
        kept = int(0.75 * min(weight.shape))
        assert change.norm() > 1e-3 and max((u[:, :kept].T @ change).norm(), (change @ v[:kept].T).norm()) < 1e-3 * change.norm(), name
        seen += 1
    assert seen == 14


def test_the_shift_and_the_flops_of_split_maps_are_as_computed():
    model = LLAMA.create(world(), seed=0)
    first = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    model.network = with_osf(model.network, preserved=0.75)
    with torch.no_grad():
        for p in model.network.parameters():
            if p.requires_grad:
                p.mul_(1.1)
    shift = float(squared_shift(model.network).detach())
    batch = pack(model.examples(world().documents), 32)
    before = model.meter.get("train").flops
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = model.loss(batch)
        loss.backward()
    assert model.meter.get("train").flops - before == pytest.approx(counter.get_total_flops(), rel=0.1)
    model.network = merged_osf(model.network)
    assert float(model.loss(batch).detach()) == pytest.approx(float(loss.detach()), abs=1e-5)
    assert shift == pytest.approx(sum(float((p.detach() - first[name]).square().sum()) for name, p in model.network.named_parameters()), rel=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_split_maps_learned_is_saved(tmp_path):
    LLAMA.create(world(), seed=0).save(tmp_path / "published")
    spec = Hf(path=str(tmp_path / "published"), dtype="float32")
    live, _ = trained(OSF, spec)
    live.save(tmp_path / "trained")
    assert same(weights(spec.load(tmp_path / "trained")), weights(live)) and not same(weights(live), weights(spec.create(world(), seed=0)))


def test_subspaces_of_an_adapted_model_are_refused():
    live, _ = trained(LORA)
    with pytest.raises(UserError, match="was trained with one before"):
        OSF.train(live, world(), seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())


def test_a_loss_that_is_no_number_stops_and_keeps_the_state_before():
    checkpoints = MemoryCheckpoints()
    model = LLAMA.create(world(), seed=0)
    with pytest.raises(UserError, match=r"at step \d+: lower train_time.lr"):
        Finetune(weights="full", steps=20, batch_tokens=96, lr=1e30, warmup=0).train(model, world(), seed=0, checkpoints=checkpoints, watch=Silent())
    state = checkpoints.load()
    assert state is not None and all(t.isfinite().all() for t in state["masters"])


# -- what it keeps --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_retention_is_measured_before_and_after_and_stands_in_the_tables(tmp_path):
    LLAMA.create(world(), seed=0).save(tmp_path / "published")
    model = Hf(path=str(tmp_path / "published"), dtype="float32")
    parts = {
        "dataset": component("datasets/syllogisms").at("quick"),
        "test_time": component("test_time/closed_book")(),
        "scoring": component("scoring/choice")(),
    }
    cells = [Cell(model=model, train_time=t, seed=0, kinds=("premises",), **parts) for t in (Finetune(steps=3, batch_tokens=64, lr=0.05), Untrained())]
    plan = Plan("syllogisms", "quick", tuple(cells), Store(tmp_path / "runs"))
    plan.run(lambda event: None)
    frames = plan.write_folder({})
    tuned, untrained = frames.cells.to_dicts()
    assert untrained["general_nats"] == untrained["general_nats_before"] == tuned["general_nats_before"] != tuned["general_nats"]
    live = model.create(world(), seed=0)
    total = tokens = 0.0
    for example in live.examples(_general.passages("measure")):
        logprob = live.network(torch.from_numpy(example.token)[None]).logits[0].log_softmax(-1).detach()
        total -= float(logprob[range(len(example) - 1), example.token[1:]].sum())
        tokens += len(example) - 1
    assert tuned["general_nats_before"] == pytest.approx(total / tokens, abs=1e-4)
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(results_table(estimates(frames).to_dicts(), "title"))
    shown = console.export_text()
    assert f"{tuned['general_nats']:.2f} ({tuned['general_nats'] - tuned['general_nats_before']:+.2f})" in shown and "(+0.00)" in shown
    frames.cells.drop(*LATER).write_parquet(plan.folder / "cells.parquet")
    assert Frames.read(plan.folder).cells["general_nats"].to_list() == [None, None], "tables from before retention was measured can still be read"


# -- what it reads --------------------------------------------------------------------------------------------------------------------------------------

TEXT = "Ada lives in Ulm. Bo does not!\nWho knows 3.5 towns?"


def test_texts_are_cut_into_sentences():
    assert [TEXT[a:b] for a, b in sentences(TEXT)] == ["Ada lives in Ulm.", "Bo does not!", "Who knows 3.5 towns?"]
    assert sentences("one line") == [(0, 8)] and sentences("  \n ") == []
    document = Document("d", TEXT, targets=((13, 16), (40, 43)))
    (whole,) = texts(document, split="none", everywhere=True)
    assert whole.text == TEXT and whole.targets is None
    alone = list(texts(document, split="independent", everywhere=True))
    assert [d.text for d in alone] == ["Ada lives in Ulm.", "Bo does not!", "Who knows 3.5 towns?"] and all(d.targets is None for d in alone)
    grown = list(texts(document, split="cumulative", everywhere=True))
    assert [d.text for d in grown] == ["Ada lives in Ulm.", "Ada lives in Ulm. Bo does not!", TEXT]
    assert [[d.text[a:b] for a, b in d.targets or ()] for d in grown] == [["Ada lives in Ulm."], ["Bo does not!"], ["Who knows 3.5 towns?"]]
    marked = list(texts(document, split="independent", everywhere=False))
    assert [(d.text, [d.text[a:b] for a, b in d.targets or ()]) for d in marked] == [("Ada lives in Ulm.", ["Ulm"]), ("Who knows 3.5 towns?", [TEXT[40:43]])]


def test_batches_have_little_padding_and_lose_nothing():
    draw = np.random.Generator(np.random.PCG64(0))
    examples = [Example(np.full(n, n), np.ones(n, np.float32)) for n in draw.integers(12, 60, 30).tolist()]
    batch = pack_evenly(examples, 128)
    assert sorted(batch.token[batch.segment > 0].tolist()) == sorted(t for e in examples for t in e.token.tolist())
    assert batch.tokens / batch.token.size > 0.95 and batch.tokens / batch.token.size >= batch.tokens / pack(examples, 128).token.size
    assert pack_evenly([Example(np.ones(300, int), np.ones(300, np.float32))], 128).token.shape == (1, 304)


def test_general_text_to_measure_and_to_replay_are_different_texts():
    measure, replay = _general.passages("measure"), _general.passages("replay")
    assert len(measure) >= 5 and len(replay) >= 5 and not {d.text for d in measure} & {d.text for d in replay}
    questions = _general.questions()
    assert len(questions) == 40 and all(len(set(q.choices)) == 4 and q.choices[0] == q.answers[0] for q in questions)


# -- the embedded model ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_embedded_model_learns_facts_and_keeps_most_of_what_it_knew(tmp_path):
    corpus = world()
    spec = Hf(dtype="bfloat16")
    model = spec.create(corpus, seed=0)
    asked = corpus.asked(["recall"])
    choose = component("scoring/choice")()
    closed = component("test_time/closed_book")()

    def accuracy(live):
        answers = choose.judge(live, closed.prompts(live, corpus, asked, seed=0), asked)
        return sum(a.verdict == "correct" for a in answers) / len(answers)

    before, known = accuracy(model), retention(model)
    Finetune(steps=40, batch_tokens=256, lr=1e-3).train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    kept = retention(model)
    after = accuracy(model)
    assert after >= 0.85 and after > before + 0.3
    assert known is not None and kept is not None and known["general_accuracy"] > 0.8
    assert known["general_nats"] < kept["general_nats"] < known["general_nats"] + 3
    model.save(tmp_path / "adapter")
    assert {p.name for p in (tmp_path / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    assert accuracy(spec.load(tmp_path / "adapter")) == after


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "gib"), [("lora", 3), ("full", 5)])
def test_fine_tuning_the_embedded_model_takes_little_memory(weights, gib):
    """The peak of a process of its own, everything included: a few steps of 1,024 tokens in bfloat16."""
    script = f"""
import resource
from tolman.core.discovery import component
from tolman.datasets.celebrities import Celebrities
from tolman.models.hf import Hf
from tolman.testing import MemoryCheckpoints, Silent
corpus = Celebrities(people=10, paraphrases=10).build(0)
watch = Silent()
component("train_time/finetune")(weights={weights!r}, steps=3, lr=2e-5).train(
    Hf(dtype="bfloat16").create(corpus, seed=0), corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=watch)
print(len(watch.steps), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    steps, peak_kib = map(int, done.stdout.split())
    sys.stdout.write(f"{weights}: {peak_kib / 2**20:.2f} GiB\n")
    assert steps == 3 and 2**20 < peak_kib * 2**10 < gib * 2**30, f"{peak_kib / 2**20:.2f} GiB"
