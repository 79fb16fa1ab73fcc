"""Training on practice questions: each is read as a test-time method asks it, what they share is read once, and that changes nothing."""

import numpy as np
import pytest
import torch

from tolman.core.data import Corpus, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import BRANCH, Example, pack
from tolman.models.hf import Hf, HfModel
from tolman.models.tiny import Tiny
from tolman.test_time.in_context import InContext
from tolman.testing._world import world
from tolman.testing.train_time import Interrupted, MemoryCheckpoints, Silent
from tolman.train_time.practice import Practice, examples

DOCUMENTS = ("Ada lives in Ulm.", "Bo lives in North Bray.")
PROMPTS = [Prompt("Ada lives in", DOCUMENTS), Prompt("Bo lives in", DOCUMENTS), Prompt("Who lives in Ulm?", DOCUMENTS)]
ANSWERS = ["Ulm", "North Bray", "Ada"]


@pytest.fixture(params=["random", pytest.param("SmolLM2-135M-Instruct", marks=pytest.mark.slow)])
def model(request) -> HfModel:
    """Without and with a chat template."""
    try:
        return Hf(path=request.param, dtype="float32").create(world(), seed=0)
    except UserError as error:
        pytest.skip(str(error))


def loss_and_gradient(model: HfModel, rows: list[Example]) -> tuple[float, torch.Tensor]:
    model.network.zero_grad()
    loss = model.loss(pack(rows, sum(map(len, rows))))
    loss.backward()
    return float(loss.detach()), next(p for p in model.network.parameters() if p.ndim == 2).grad.clone()  # type: ignore[union-attr]


def test_answers_that_share_a_beginning_are_learned_as_each_for_itself(model):
    shared = model.answered(PROMPTS, ANSWERS)
    apart = [model.answered([p], [a]) for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    assert len(shared) < 0.7 * sum(map(len, apart)) and shared.weight.sum() == sum(e.weight.sum() for e in apart)
    (loss, gradient), (loss_apart, gradient_apart) = (loss_and_gradient(model, rows) for rows in ([shared], apart))
    assert loss == pytest.approx(loss_apart, rel=1e-5)
    assert torch.allclose(gradient, gradient_apart, atol=1e-5 * float(gradient_apart.abs().max()))
    beside, _ = loss_and_gradient(model, [shared, *apart])
    assert beside == pytest.approx(loss, rel=1e-5), "branches are blind to what else is in their row"


@torch.no_grad()
def test_what_is_learned_is_what_is_scored(model):
    """The likelihood of an answer, and of the end after it, is that of a plain forward pass; `score` gives that of the answer."""
    nats = model.score(PROMPTS, [[a] for a in ANSWERS])
    for prompt, answer, (scored,) in zip(PROMPTS, ANSWERS, nats, strict=True):
        example = model.answered([prompt], [answer])
        logprob = model.network(torch.tensor(example.token[None])).logits[0].log_softmax(-1)
        at = np.flatnonzero(example.weight)
        each = [float(logprob[i - 1, example.token[i]]) for i in at]
        assert sum(each[:-1]) == pytest.approx(scored, abs=1e-3) and example.token[-1] == model.template.end
        assert float(model.loss(pack([example], len(example)))) == pytest.approx(-sum(each) / len(each), rel=1e-4)


def test_branches_have_segments_of_their_own():
    first = Example(np.arange(1, 6), np.ones(5, np.float32), branch=np.array([0, 0, 1, 2, 2]))
    batch = pack([first, Example(np.arange(6, 9), np.ones(3, np.float32))], 10)
    assert batch.segment.tolist() == [[1, 1, 1 + BRANCH, 1 + 2 * BRANCH, 1 + 2 * BRANCH, 2, 2, 2, 0, 0]] and batch.tokens == 8


def test_practice_reads_practice_questions_only_and_all_of_them():
    corpus = world()
    model = Hf(path="random", dtype="float32").create(corpus, seed=0)
    asked = corpus.asked(split="practice")
    method = Practice(test_time=InContext(documents=3))
    streams, share = method.streams(model, corpus, 0)
    (stream,) = streams.values()
    assert share == {"practice": 1.0} and sum((e.weight > 0).sum() for e in stream.examples) == sum(
        len(model.answered([Prompt(q.prompt)], [q.answers[0]]).token) - len(model.encode([model.render(Prompt(q.prompt))])[0]) for q in asked
    )
    everything = examples(model, InContext().prompts(model, corpus, asked, seed=0), asked)
    assert len(everything) == 1 and everything[0].branch.max() == len(asked), "all ask about the same documents"  # type: ignore[union-attr]
    words = Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=256).create(corpus, seed=0)
    assert len(examples(words, InContext().prompts(words, corpus, asked, seed=0), asked)) == len(asked), "a model that shares nothing reads each for itself"


def test_a_model_learns_to_answer_what_it_practises():
    corpus = world()
    model = Hf(path="random", dtype="float32").create(corpus, seed=0)
    asked = corpus.asked(["recall"], split="practice")
    method = Practice(test_time=InContext(), weights="full", steps=60, batch_tokens=256, lr=0.01)
    prompts = InContext().prompts(model, corpus, asked, seed=0)
    before = model.score(prompts, [q.answers for q in asked])
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    after = model.score(prompts, [q.answers for q in asked])
    assert sum(map(sum, before)) < -5 and sum(map(sum, after)) > -1
    assert [row[0].text for row in model.generate(prompts, max_tokens=5)] == [q.answers[0] for q in asked]


def test_a_dataset_without_practice_questions_is_refused():
    corpus = world()
    model = Hf(path="random", dtype="float32").create(corpus, seed=0)
    none = Corpus(corpus.documents, corpus.asked(), corpus.kinds, corpus.forbidden)
    with pytest.raises(UserError, match="no practice questions"):
        Practice(test_time=InContext()).train(model, none, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())


def test_a_longer_training_begins_as_a_shorter_one():
    """So that one that was stopped before its last fifth can be made longer, or ended early, from its checkpoint."""
    short, long = (Practice(test_time=InContext(), steps=n, warmup=6 / n) for n in (65, 400))
    assert [short.schedule(s) for s in range(52)] == [long.schedule(s) for s in range(52)]
    assert short.schedule(0) == pytest.approx(1 / 6) and short.schedule(51) == 1.0 and short.schedule(64) == pytest.approx(1 / 13)
    falling = [short.schedule(s) for s in range(52, 65)]
    assert falling == sorted(falling, reverse=True) and len(set(falling)) == 13


def test_a_second_round_goes_on_from_the_first_wherever_that_was_trained():
    """At one go, from the store's copy of the first round, and stopped in between: the same weights to the bit, other questions than in the first round."""
    corpus = world()
    first = Practice(test_time=InContext(), rank=2, steps=4, batch_tokens=64, lr=0.01)
    method = first.model_copy(update={"first": first, "steps": 3})

    def run(
        method: Practice, how: str = "train", model: HfModel | None = None, checkpoints: MemoryCheckpoints | None = None, until: int | None = None
    ) -> HfModel:
        model = model or Hf(path="random", dtype="float32").create(corpus, seed=0)
        getattr(method, how)(model, corpus, seed=0, checkpoints=checkpoints or MemoryCheckpoints(), watch=Silent(until))
        return model

    def lora(model: HfModel) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in model.network.named_parameters() if p.requires_grad}

    def same(some: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return some.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in some.items())

    whole, once = lora(run(method)), run(first)
    after_first = lora(once)
    assert same(whole, lora(run(method, "go_on", once))) and not same(whole, after_first)
    for until in (2, 6):
        checkpoints = MemoryCheckpoints(every=1)
        with pytest.raises(Interrupted):
            run(method, checkpoints=checkpoints, until=until)
        assert checkpoints.saves and same(whole, lora(run(method, checkpoints=checkpoints)))
    assert method.train_tokens() == 7 * 64 and first.fingerprint() != method.fingerprint()
    assert "first" not in first.identity(), "records of trainings in one round stay valid"
    with pytest.raises(UserError, match="first must change what this training changes"):
        Practice(test_time=InContext(), rank=4, first=first)
