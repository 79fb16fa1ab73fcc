"""The tiny transformer against what does not share its code: transformers' Qwen3, recomputation without a cache, one document at a time, a FLOP counter."""

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tolman.core.data import Document, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import Example, pack
from tolman.core.seeds import rng
from tolman.datasets.reversals import Reversals
from tolman.models._words import DOCUMENT, UNKNOWN, Words
from tolman.models.tiny import Tiny, TinyModel
from tolman.testing import MemoryCheckpoints, Silent
from tolman.train_time.pretrain import Pretrain

GROUPED = Tiny(layers=2, width=32, heads=4, kv_heads=2, head_width=8, hidden=48, context_tokens=128)
SPECS = {
    "grouped": GROUPED,
    "wide heads": Tiny(layers=1, width=24, heads=2, kv_heads=2, head_width=20, hidden=40, context_tokens=128),
    "experts": Tiny(layers=2, width=32, heads=4, kv_heads=2, head_width=8, hidden=48, experts=5, context_tokens=128),
    "one expert a token": Tiny(layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, experts=4, experts_per_token=1, context_tokens=128),
    "one head": Tiny(layers=3, width=16, heads=1, kv_heads=1, head_width=16, hidden=8, rope_base=100.0),
}


@pytest.fixture(scope="module")
def corpus():
    return Reversals(**Reversals.example).build(0)


def made(corpus, spec: Tiny = GROUPED) -> TinyModel:
    """A model whose every weight is random, gains too, in float32 throughout."""
    model = spec.create(corpus, seed=1)
    model.trained_dtype = torch.float32
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.network.parameters():
            scale = 0.3 if parameter.ndim == 1 else 0.15
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return model


@torch.no_grad()
def logprobs(model: TinyModel, ids: np.ndarray) -> torch.Tensor:
    """Log-probabilities (T, V) after each token, by one pass without a cache."""
    token_BT = torch.from_numpy(ids)[None]
    hidden_BTD = model.network(token_BT, torch.arange(len(ids))[None])
    return model.network.logits(hidden_BTD[0]).log_softmax(-1)


# -- transformers -------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_transformers_computes_the_same_logits(corpus, tmp_path, name):
    transformers = pytest.importorskip("transformers")
    model = made(corpus, SPECS[name])
    model.save(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert type(theirs).__name__ == ("Qwen3MoeForCausalLM" if SPECS[name].experts else "Qwen3ForCausalLM")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [d.text for d in corpus.documents[-5:]]
    for text, ids in zip(texts, model.words.encode(texts), strict=True):
        assert tokenizer(text)["input_ids"] == ids.tolist()
        assert tokenizer.decode(ids[1:]) == model.words.decode(ids[1:])
        with torch.no_grad():
            expected = theirs(input_ids=torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
        assert (logprobs(model, ids) - expected).abs().max() < 2e-4
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in model.network.parameters())


def test_transformers_generates_the_same_text(corpus, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = made(corpus)
    model.save(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    for question in corpus.questions[:4]:
        (ids,) = model.words.encode([question.prompt])
        written = theirs.generate(torch.from_numpy(ids)[None], max_new_tokens=4, do_sample=False, eos_token_id=None)[0, len(ids) :]
        ((mine,),) = model.generate([Prompt(question.prompt)], max_tokens=4)
        assert model.words.decode(written.tolist()).startswith(mine.text)
        assert mine.finished or len(mine.text.split()) == 4


def test_names_and_shapes_are_those_of_transformers(corpus):
    transformers = pytest.importorskip("transformers")
    model = made(corpus)
    with torch.device("meta"):
        theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**model.hf_config()))
    mine = {name: p.shape for name, p in model.network.named_parameters()}
    assert mine == {name: p.shape for name, p in theirs.named_parameters()}


# -- the cache ------------------------------------------------------------------------------------------------------------------------------------------


def test_scores_with_the_cache_equal_recomputation(corpus):
    model = made(corpus)
    texts = [d.text.split("\n")[0] for d in corpus.experiences[:6]]
    prompts = [Prompt(q.prompt, tuple(texts[: i % 4])) for i, q in enumerate(corpus.questions[:8])]
    continuations = [("Ada",) if i == 3 else (texts[i % 3], q.answers[0], f"{q.answers[0]} {texts[i % 5]}") for i, q in enumerate(corpus.questions[:8])]
    for prompt, options, scores in zip(prompts, continuations, model.score(prompts, continuations), strict=True):
        (before,) = model.words.encode([model.render(prompt)])
        for option, nats in zip(options, scores, strict=True):
            (after,) = model.words.encode([option])
            ids = np.concatenate([before, after[1:]])
            whole = logprobs(model, ids)
            expected = sum(float(whole[t - 1, ids[t]]) for t in range(len(before), len(ids)))
            assert nats == pytest.approx(expected, abs=1e-3)


def test_generation_with_the_cache_equals_recomputation(corpus):
    model = made(corpus)
    texts = [d.text for d in corpus.experiences[:3]]
    prompts = [Prompt(q.prompt, tuple(texts[: i % 3])) for i, q in enumerate(corpus.questions[:6])]
    stops = {model.words.document, model.words.pad, model.words.tokenizer.token_to_id("\n")}
    for prompt, (written,) in zip(prompts, model.generate(prompts, max_tokens=7), strict=True):
        (ids,) = model.words.encode([model.render(prompt)])
        ids, nats, finished, begin = ids.tolist(), 0.0, False, len(ids)
        while len(ids) < begin + 7 and not finished:
            last = logprobs(model, np.asarray(ids))[-1]
            token = int(last.argmax())
            nats += float(last[token])
            finished = token in stops
            ids.append(token)
        assert written.text == model.words.decode(ids[begin : len(ids) - finished])
        assert (written.tokens, written.finished) == (len(ids) - begin, finished)
        assert written.nats == pytest.approx(nats, abs=1e-3)


def test_samples_follow_the_models_distribution(corpus):
    model = made(corpus)
    prompt = Prompt(corpus.questions[0].prompt)
    (ids,) = model.words.encode([prompt.question])
    expected = (logprobs(model, ids)[-1] / 1.5).softmax(-1)
    (drawn,) = model.generate([prompt], max_tokens=1, samples=4000, temperature=1.5, seed=3)
    stops = [model.words.document, model.words.pad, model.words.tokenizer.token_to_id("\n")]
    counts = torch.zeros(model.words.size)
    for generation in drawn:
        counts[model.words.encode([generation.text])[0][1] if generation.text else stops[0]] += 1
    merged = expected.clone()
    merged[stops[0]], merged[stops[1:]] = expected[stops].sum(), 0.0
    off = (counts / 4000 - merged).abs()
    assert (off <= 4.5 * (merged * (1 - merged) / 4000).sqrt() + 1e-4).all()


# -- packing and targets --------------------------------------------------------------------------------------------------------------------------------


def _weighted(examples: list[Example], name: str) -> list[Example]:
    """The same tokens with random weights, as advantages are: some negative, some 0."""
    draw = rng(0, "test_tiny", name)
    out = []
    for example in examples:
        weight = np.where(draw.random(len(example)) < 0.6, draw.normal(size=len(example)), 0.0).astype(np.float32)
        weight[0], weight[-1] = 0.0, 1.5
        out.append(Example(example.token, weight))
    return out


@pytest.mark.parametrize("name", ["grouped", "experts"])
@pytest.mark.parametrize("weights", ["targets", "advantages"])
def test_packed_documents_do_not_see_each_other(corpus, weights, name):
    model = made(corpus, SPECS[name].replace("balance", 0.0))  # balance is no matter of single documents
    examples = model.examples([*corpus.documents[:12], *corpus.documents[-4:]])
    if weights == "advantages":
        examples = _weighted(examples, weights)
    row_tokens = max(map(len, examples)) + 20
    batch = pack(examples, row_tokens)
    assert (batch.segment.max(1) > 1).any(), "nothing shares a row: the test is empty"
    model.loss(batch).backward()
    packed = {name: p.grad.clone() for name, p in model.network.named_parameters()}
    model.network.zero_grad()
    count = sum(int((e.weight[1:] != 0).sum()) for e in examples)
    total = 0.0
    for example in examples:
        part = model.loss(pack([example], len(example))) * int((example.weight[1:] != 0).sum()) / count
        part.backward()
        total += float(part.detach())
    assert float(model.loss(batch).detach()) == pytest.approx(total, rel=1e-5)
    for name, parameter in model.network.named_parameters():
        assert torch.allclose(packed[name], parameter.grad, rtol=1e-3, atol=1e-6), name


def test_the_loss_is_the_mean_log_probability_of_the_targets(corpus):
    model = made(corpus)
    examples = model.examples(corpus.documents[:5])
    nats = [float(logprobs(model, e.token)[t - 1, e.token[t]]) for e in examples for t in range(1, len(e)) if e.weight[t]]
    assert float(model.loss(pack(examples, 64)).detach()) == pytest.approx(-np.mean(nats), rel=1e-5)


def test_leaving_out_what_follows_the_last_target_changes_nothing(corpus):
    model = made(corpus)
    documents = [d for d in corpus.documents if d.targets is not None and d.targets[-1][1] < len(d.text)][:6]
    assert len(documents) == 6
    whole = [Example(t, w) for t, w in model.words.encode_with_targets([d.text for d in documents], [d.targets for d in documents])]
    short = model.examples(documents)
    assert sum(map(len, short)) < sum(map(len, whole))
    assert float(model.loss(pack(short, 80)).detach()) == pytest.approx(float(model.loss(pack(whole, 80)).detach()), rel=1e-6)


def test_examples_put_weight_on_targets_only(corpus):
    model = made(corpus)
    text = "Ada contains Bo f01\nBo inside Ada f02"
    (everything,) = model.examples([Document("a", text)])
    assert everything.weight.tolist() == [0.0] + [1.0] * 10 and everything.token[-1] == everything.token[0] == model.words.document
    (some,) = model.examples([Document("b", text, targets=((13, 15), (text.rindex("Ada"), text.rindex("Ada") + 3)))])
    assert some.weight.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 1] and len(some) == 9
    assert model.examples([Document("c", text, targets=())]) == []


@pytest.mark.parametrize("name", ["grouped", "experts"])
def test_bfloat16_trains_on_nearly_the_same_loss(corpus, name):
    model = made(corpus, SPECS[name])
    batch = pack(model.examples(corpus.documents[:40]), 64)
    exact = float(model.loss(batch).detach())
    model.trained_dtype = torch.bfloat16
    assert float(model.loss(batch).detach()) == pytest.approx(exact, rel=0.03)


# -- price ----------------------------------------------------------------------------------------------------------------------------------------------


def _counted(model: TinyModel, work) -> tuple[float, float]:
    """FLOPs booked on the meter and FLOPs that torch counts. The attention kernels that torch does not count on CPU are kept out of the way."""
    before = model.meter.get("train").flops
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        work()
    return model.meter.get("train").flops - before, float(counter.get_total_flops())


@pytest.mark.parametrize("name", SPECS)
def test_booked_flops_are_those_that_torch_counts(corpus, name):
    model = made(corpus, SPECS[name])
    prompts = [Prompt(q.prompt, tuple(d.text for d in corpus.experiences[: i % 3])) for i, q in enumerate(corpus.questions[:5])]
    choices = [(*q.choices, "Ada contains Bo", "Ada inside Bo") for q in corpus.questions[:5]]
    batch = pack(model.examples(corpus.documents[::13]), 64)
    for what, work in {
        "score": lambda: model.score(prompts, choices),
        "generate": lambda: model.generate(prompts, max_tokens=5, samples=2, temperature=1.0),
        "loss and its gradient": lambda: model.loss(batch).backward(),
    }.items():
        booked, counted = _counted(model, work)
        assert booked == counted, what


@pytest.mark.parametrize("name", SPECS)
def test_parameters_are_counted_beforehand(corpus, name):
    model = made(corpus, SPECS[name])
    assert SPECS[name].parameter_count(model.words.size) == sum(p.numel() for p in model.network.parameters())


def test_tokens_are_those_of_documents_not_padding(corpus):
    model = made(corpus)
    examples = model.examples(corpus.documents[:7])
    model.loss(pack(examples, 100))
    assert model.meter.get("train").tokens == sum(map(len, examples))
    with model.meter.phase("ask"):
        model.generate([Prompt("Ada contains")], max_tokens=1)
    assert model.meter.get("ask").tokens == 3  # <|document|> Ada contains


# -- training -------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, until", [("grouped", 1), ("grouped", 7), ("grouped", 19), ("experts", 7)])
def test_a_run_resumed_after_any_step_ends_with_the_same_weights_to_the_bit(corpus, name, until):
    def trained(checkpoints, watch):
        model = SPECS[name].create(corpus, seed=0)
        Pretrain(steps=20, batch_tokens=256).train(model, corpus, seed=0, checkpoints=checkpoints, watch=watch)
        return model.network.state_dict()

    expected = trained(MemoryCheckpoints(), Silent())
    checkpoints = MemoryCheckpoints(every=1)
    with pytest.raises(Exception, match=r"^$"):
        trained(checkpoints, Silent(until=until))
    assert checkpoints.saves == until - 1
    resumed = trained(checkpoints, Silent())
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


# -- storage and complaints ---------------------------------------------------------------------------------------------------------------------------


def test_a_damaged_or_foreign_folder_is_named(corpus, tmp_path):
    model = made(corpus)
    model.save(tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors does not fit"):
        GROUPED.replace("hidden", 56).load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is no tokenizer file"):
        GROUPED.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        GROUPED.load(tmp_path)


def test_impossible_sizes_and_documents_are_refused(corpus):
    with pytest.raises(UserError, match=r"head_width = 7: .*multiple of 2"):
        Tiny(head_width=7)
    with pytest.raises(UserError, match="heads = 4 must be a multiple of kv_heads = 3"):
        Tiny(heads=4, kv_heads=3)
    with pytest.raises(UserError, match="document 'long' has 602 tokens"):
        Tiny().create(corpus, seed=0).examples([Document("long", "f01 " * 600)])


def test_the_configuration_is_what_transformers_reads(corpus, tmp_path):
    made(corpus).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"] and config["tie_word_embeddings"] and config["num_key_value_heads"] == 2


# -- words ----------------------------------------------------------------------------------------------------------------------------------------------


def test_words():
    words = Words.of(["Ada's book, isn't it?\nBo_1 42"])
    (ids,) = words.encode(["Ada's book, isn't it?\nBo_1 42"])
    assert words.decode(ids) == f"{DOCUMENT} Ada's book , isn't it ?\n Bo_1 42"
    assert len(ids) == 10 and ids[0] == words.document
    assert words.decode(words.encode(["Eve 42"])[0][1:]) == f"{UNKNOWN} 42"
    ((_, weight),) = words.encode_with_targets(["Ada's book, isn't it?"], [((0, 5), (18, 20))])
    assert weight.tolist() == [0, 1, 0, 0, 0, 1, 0]
