"""Cartridges: as long as nothing is trained they are the documents in context; they are read as PEFT and transformers read them; the weights stay; what is saved is loaded."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tolman.core.data import Prompt
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.testing import MemoryCheckpoints, Silent
from tolman.testing._world import world
from tolman.train_time._self_study import answers, divergence, lessons
from tolman.train_time.cartridge import Cartridge

LLAMA = Hf(path="random", dtype="float32")
SMALL = Cartridge(tokens=16, documents=None, prompts="practice", each=4, max_tokens=3, steps=40, batch_tokens=128, lr=0.05)
ASKED = [Prompt("Ada lives in"), Prompt("Bo lives in", ("Bo lives in Vik.",)), Prompt("Ada")], [("Ulm", "North Bray"), ("Vik", "Ulm"), ("lives",)]


def trained(method=SMALL, spec=LLAMA):
    live, watch = spec.create(world(), seed=0), Silent()
    method.train(live, world(), seed=0, checkpoints=MemoryCheckpoints(), watch=watch)
    return live, watch


def inserted(tokens=16):
    import peft

    model = LLAMA.create(world(), seed=0)
    model.network = SMALL.replace("tokens", tokens).inserted(peft, model, world())
    return model


@torch.no_grad()
def test_untrained_it_is_the_beginning_of_the_documents_in_context():
    base, model = LLAMA.create(world(), seed=0), inserted()
    (read,) = base.encode([base.template.document("\n".join(d.text for d in world().experiences))])
    (asked,) = base.encode([base.render(Prompt("Ada lives in"))])
    plain = base.network(torch.tensor([read[:16] + asked])).logits[0, -1].log_softmax(-1)
    ids = [base.tokenizer.convert_tokens_to_ids(t) for t in ("Ulm", "Vik")]
    assert model.score([Prompt("Ada lives in")], [["Ulm", "Vik"]])[0] == pytest.approx([float(plain[i]) for i in ids], abs=1e-4)
    assert model.context_tokens == base.context_tokens - 16


def test_it_is_read_as_peft_reads_it():
    model, _ = trained()
    model.network.requires_grad_(False)
    scores = model.score(*ASKED)
    for prompt, row, wanted in zip(*ASKED, scores, strict=True):
        for continuation, nats in zip(row, wanted, strict=True):
            text = model.render(prompt)
            (ids,) = model.encode([f"{text} {continuation}"])
            begin = len(model.encode([text])[0])
            logprob = model.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            assert nats == pytest.approx(sum(float(logprob[i - 1, ids[i]]) for i in range(begin, len(ids))), abs=1e-4)
    examples = model.examples(world().documents)[:9]
    alone = [float(-model.network(input_ids=torch.from_numpy(e.token)[None]).logits[0].log_softmax(-1)[len(e) - 2, e.token[-1]]) for e in examples]
    single = [float(model.loss(pack([e], len(e)))) for e in examples]
    packed = float(model.loss(pack(examples, 40)))
    counts = [int((e.weight != 0).sum()) for e in examples]
    assert packed == pytest.approx(sum(n * x for n, x in zip(counts, single, strict=True)) / sum(counts), abs=1e-4)
    assert all(x == pytest.approx(y, abs=1e-4) for x, y, n in zip(alone, single, counts, strict=True) if n == 1) and 1 in counts


def test_it_learns_the_teachers_answers_and_leaves_the_weights_alone():
    model, watch = trained()
    base = LLAMA.create(world(), seed=0)
    studies, _ = SMALL.studied(base, world(), seed=0)
    read = lessons(base, world(), studies)
    with torch.no_grad():
        wanted = answers(base, [lesson.taught for lesson in read])
        begun, left = (float(divergence(wanted, answers(m, read))) for m in (inserted(), model))
    assert begun > 0.5 and left < 0.5 * begun
    assert watch.kept["distilled"]["lessons"] == len(studies) == 32
    for (name, mine), first in zip(base.network.named_parameters(), model.network.get_base_model().parameters(), strict=True):
        assert torch.equal(mine, first), f"{name} changed"
    encoder, before = model.network.prompt_encoder["default"], inserted().network.prompt_encoder["default"]
    assert torch.equal(encoder.frozen_embedding, before.frozen_embedding) and not torch.equal(encoder.trainable_embedding, before.trainable_embedding)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_it_is_saved_alone_and_can_be_worn(tmp_path):
    LLAMA.create(world(), seed=0).save(tmp_path / "published")
    spec = Hf(path=str(tmp_path / "published"), dtype="float32")
    model, _ = trained(spec=spec)
    model.save(tmp_path / "cartridge")
    assert {p.name for p in (tmp_path / "cartridge").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not (tmp_path / "cartridge" / "model.safetensors").exists()
    expected = model.score(*ASKED)
    assert spec.load(tmp_path / "cartridge").score(*ASKED) == expected != spec.create(world(), seed=0).score(*ASKED)
    assert spec.replace("adapter", str(tmp_path / "cartridge")).create(world(), seed=0).score(*ASKED) == expected
    loaded, prompts = spec.load(tmp_path / "cartridge"), ASKED[0]
    for how in ({}, {"samples": 2, "temperature": 1.0, "seed": 3}):
        written = [[g.text for g in row] for row in model.generate(prompts, max_tokens=4, **how)]
        assert written == [[g.text for g in row] for row in loaded.generate(prompts, max_tokens=4, **how)]


def test_its_cost_is_that_executed():
    model = inserted()
    before = model.meter.get("train").flops
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.score(*ASKED)
    assert model.meter.get("train").flops - before == pytest.approx(counter.get_total_flops(), rel=1e-9)
    before = model.meter.get("train").flops
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.loss(pack(model.examples(world().documents), 32)).backward()
    assert model.meter.get("train").flops - before == pytest.approx(
        counter.get_total_flops(), rel=0.1
    )  # the first layer's inputs, which need no gradient, are half of two


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match=r"needs a pretrained model \(models/hf\): take train_time/distil for this one"):
        trained(spec=Tiny(layers=1))
    with pytest.raises(UserError, match=r"tokens, fewer than train_time.tokens = 400"):
        trained(SMALL.replace("tokens", 400))
    from peft import PromptTuningConfig, get_peft_model

    model = LLAMA.create(world(), seed=0)
    with pytest.raises(UserError, match="PROMPT_TUNING adapters cannot be used here"):
        model.network = get_peft_model(model.network, PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
