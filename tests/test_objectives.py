"""What training predicts from what: masks, masked copies, reversed text; and the bidirectional model that fills blanks."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3ForCausalLM

from tolman.core.data import Document, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import Example, pack
from tolman.core.seeds import rng
from tolman.datasets.reversals import Reversals
from tolman.models.tiny import Tiny
from tolman.testing.train_time import MemoryCheckpoints, Silent, check_resume, weights
from tolman.train_time._objectives import backwards, masked, masked_copies
from tolman.train_time.pretrain import Objective, Pretrain

SMALL = Tiny(layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=48, context_tokens=64)
BOTH_WAYS = SMALL.replace("attention", "bidirectional")
WORLD = Reversals(entities=12, relations=2, held_out=4, max_filler=0, copies=1, episodes="none", asked=4, options=4)
MARKS = {"mask": 3, "reversed": 4, "line break": 5}
EXAMPLE = Example(np.array([1, 10, 11, 12, 13]), np.array([0, 0, 0, 0, 1], np.float32))


def test_masked_hides_at_a_uniform_rate_and_asks_for_what_it_hides():
    shares = []
    for one in masked([EXAMPLE] * 4000, MARKS, rng(0, "test"), everywhere=True):
        hidden = one.token == 3
        assert not hidden[0] and hidden.any()
        assert (one.weight == hidden).all() and (one.target == EXAMPLE.token).all()
        assert (one.token[~hidden] == EXAMPLE.token[~hidden]).all()
        shares.append(hidden.sum())
    counts = np.bincount(shares, minlength=5)[1:]
    # of four tokens at a rate uniform on [0, 1], each number 0..4 is equally likely; none becomes one
    assert counts / 4000 == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=0.03)


def test_only_targets_are_masked_where_asked():
    for one in masked([EXAMPLE] * 50, MARKS, rng(0, "test"), everywhere=False):
        assert one.token.tolist() == [1, 10, 11, 12, 3] and one.weight.tolist() == [0, 0, 0, 0, 1]
    for one in masked_copies([EXAMPLE] * 50, MARKS, rng(0, "test"), everywhere=False):
        assert one.token.tolist() == [1, 10, 11, 12, 3, 5, 10, 11, 12, 13]
        assert np.flatnonzero(one.weight).tolist() == [9]


def test_masked_copies_restore_what_they_hide():
    seen = set()
    for one in masked_copies([EXAMPLE] * 200, MARKS, rng(1, "test"), everywhere=True):
        copy, clean = one.token[:5], one.token[6:]
        assert one.token[5] == 5 and clean.tolist() == [10, 11, 12, 13] and one.target is None
        hidden = copy[1:] == 3
        assert (one.weight[6:] == np.maximum(hidden, [0, 0, 0, 1])).all() and not one.weight[:6].any()
        seen.add(tuple(hidden.tolist()))
    assert len(seen) == 15  # every way of hiding at least one of four


def test_backwards_keeps_names_and_takes_the_loss_on_the_other_name():
    document = Document("a", "Bado Melu contains Rila Sepo", "world", ((19, 28),))
    kept, single = next(backwards([document], whole_names=True, mark="<|reversed|>")), next(backwards([document], whole_names=False))
    assert kept.text == "<|reversed|> Rila Sepo contains Bado Melu"
    assert [kept.text[a:b] for a, b in kept.targets or ()] == ["Bado Melu"]
    assert single.text == "Sepo Rila contains Melu Bado"
    assert [single.text[a:b] for a, b in single.targets or ()] == ["Melu Bado"]
    assert kept.id != document.id and next(backwards([Document("b", "All of it.", "world", None)], whole_names=True)).targets is None


@pytest.fixture(scope="module")
def corpus():
    return WORLD.build(0)


def test_a_bidirectional_model_sees_both_sides_and_equals_transformers(corpus):
    model = BOTH_WAYS.create(corpus, seed=0)
    ids = torch.randint(5, model.words.size, (2, 9), generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    ours = model.network.logits(model.network(ids, torch.arange(9).expand(2, 9), everywhere))
    peer = Qwen3ForCausalLM(Qwen3ForCausalLM.config_class(**(model.hf_config() | {"model_type": "qwen3"}))).eval()
    peer.load_state_dict(model.network.state_dict(), strict=False)
    with torch.no_grad():
        theirs = peer(ids, attention_mask=torch.zeros(2, 1, 9, 9)).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    changed = ids.clone()
    changed[:, -1] = 5 + (changed[:, -1] - 4) % (model.words.size - 5)
    assert not torch.allclose(
        model.network(changed, torch.arange(9).expand(2, 9), everywhere)[:, 0], model.network(ids, torch.arange(9).expand(2, 9), everywhere)[:, 0]
    )


def test_the_masked_loss_is_that_of_the_tokens_behind_the_masks(corpus):
    model = BOTH_WAYS.create(corpus, seed=0)
    model.trained_dtype = torch.float32
    documents = model.examples(corpus.experiences[:5])
    shown = masked(documents, model.marks, rng(0, "test"), everywhere=True)
    total, n = 0.0, 0
    for one in shown:
        T = len(one)
        hidden = model.network(torch.from_numpy(one.token)[None], torch.arange(T)[None], torch.ones(1, 1, T, T, dtype=torch.bool))
        nats = -model.network.logits(hidden)[0].log_softmax(-1)
        for t in np.flatnonzero(one.weight):
            total, n = total + float(nats[t, one.target[t]].detach()), n + 1
    assert float(model.loss(pack(shown, 64))) == pytest.approx(total / n, abs=1e-4)


def test_blanks_are_filled_from_left_to_right(corpus):
    model = BOTH_WAYS.create(corpus, seed=0)
    words = [w for w in corpus.kinds["trained_forward"].candidates][:3]
    prompt = Prompt("Bado contains")
    ids = torch.from_numpy(model.words.encode([model.render(prompt)])[0])
    [[nats]] = model.score([prompt], [[" ".join(words[:2])]])
    given = model.words.encode([" ".join(words[:2])])[0][1:].tolist()
    by_hand = 0.0
    for i in range(2):
        input = torch.tensor([[*ids.tolist(), *given[:i], *[model.words.mask] * (2 - i)]])
        T = input.shape[1]
        logits = model.network.logits(model.network(input, torch.arange(T)[None], torch.ones(1, 1, T, T, dtype=torch.bool)))
        by_hand += float(logits[0, T - 2 + i].log_softmax(-1)[given[i]])
    assert nats == pytest.approx(by_hand, abs=1e-4)
    [[written]] = model.generate([prompt], max_tokens=2)
    assert len(model.words.encode([written.text])[0]) == 3


def test_transformers_refuses_a_bidirectional_model(corpus, tmp_path):
    BOTH_WAYS.create(corpus, seed=0).save(tmp_path)
    with pytest.raises((ValueError, KeyError)):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    assert BOTH_WAYS.load(tmp_path).causal is False


@pytest.mark.parametrize("objective", Objective.__args__)
def test_every_objective_resumes_to_the_bit(objective, corpus):
    method = Pretrain(objective=objective, steps=16, batch_tokens=128)
    spec = BOTH_WAYS if objective == "masked" else SMALL
    model = spec.create(corpus, seed=0)
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    check_resume(objective, method, spec, corpus, weights(model), planned=16)


def test_training_with_copying_resumes_to_the_bit_and_reads_no_more_tokens(corpus):
    method = Pretrain(copying_share=0.5, steps=16, batch_tokens=128)
    model = SMALL.create(corpus, seed=0)
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    check_resume("copying", method, SMALL, corpus, weights(model), planned=16)
    streams, share = method.streams(model, {role: model.examples([d for d in corpus.documents if d.role == role]) for role in ("experience", "exercise")}, 0)
    assert set(share) == set(streams) >= {"copying"} and sum(share.values()) == pytest.approx(1) and share["copying"] == 0.5


@pytest.mark.parametrize(("objective", "spec"), [("masked", SMALL), ("next_token", BOTH_WAYS)])
def test_masks_and_bidirectional_attention_need_each_other(objective, spec, corpus):
    with pytest.raises(UserError, match="need each other"):
        Pretrain(objective=objective, steps=1).train(spec.create(corpus, seed=0), corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())


def test_making_a_model_leaves_the_global_random_generator_alone(corpus):
    before = torch.get_rng_state()
    SMALL.create(corpus, seed=0)
    assert torch.equal(before, torch.get_rng_state())
