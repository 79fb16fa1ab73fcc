"""Learned recall: advantages and loss against TRL and finite differences, bandits with a known best policy, and what stops a run."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from tolman.core.component import Component
from tolman.core.data import Answer, Corpus, Document, Kind, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.core.packing import Batch
from tolman.core.thinking import Puzzle, joined, recalled, statements
from tolman.models.bigram import Bigram
from tolman.models.tiny import Tiny
from tolman.scoring.exact import Exact
from tolman.test_time.thinking import Thinking
from tolman.testing import MemoryCheckpoints, Silent
from tolman.testing._world import world
from tolman.testing.train_time import check_resume, fresh, weights
from tolman.train_time._advantages import ADVANTAGES, kl_nats, policy_weights
from tolman.train_time._rollouts import Sampled
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL
from tolman.train_time.untrained import Untrained

SMALL = Tiny(layers=1, width=16, heads=1, kv_heads=1, head_width=16, hidden=16, context_tokens=64)
ARMS = ("ada", "bo", "dov", "edda", "finn")
REWARDS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0.25]])


def bandit(right: str = "ada", practice: int = 1) -> Corpus:
    """One question with five possible answers, to practise on; another of another cluster to test."""
    text = " ".join(ARMS)
    asked = [Question(f"pull:{i}", "pull", f"pull {'again ' * i}".strip(), (right,), f"p{i}", split="practice", answer_words=1) for i in range(practice)]
    test = Question("test", "pull", "push", (right,), "t", answer_words=1)
    return Corpus((Document("arms", f"pull {text}"), Document("push", "push again")), (*asked, test), {"pull": Kind("an arm", candidates=ARMS)})


def method(**fields) -> RecallRL:
    given = {"first": Untrained(), "thinking": None, "scoring": Exact(), "questions": 1, "samples": 32, "steps": 60, "lr": 0.003, "kl": 0.0}
    return RecallRL(**(given | fields))


def trained(method: RecallRL, corpus: Corpus, model=None, **given):
    model = model or SMALL.create(corpus, seed=0)
    watch = given.pop("watch", None) or Silent()
    method.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=watch)
    return model, watch


def probabilities(model, question: str = "pull") -> np.ndarray:
    return np.exp(model.score([Prompt(question)], [ARMS])[0])


# -- formulas -----------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_group_advantages_are_those_of_trl():
    """GRPOTrainer._generate_and_score_completions: rewards - mean, over TRL's own nanstd + 1e-4."""
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    reward = torch.from_numpy(REWARDS)
    expected = (reward - reward.nanmean(1, keepdim=True)) / (nanstd(reward, dim=1).reshape(-1, 1) + 1e-4)
    assert ADVANTAGES["group"](REWARDS) == pytest.approx(expected.numpy(), abs=1e-6)
    assert ADVANTAGES["centred"](REWARDS) == pytest.approx((reward - reward.mean(1, keepdim=True)).numpy())


def test_leave_one_out_measures_each_against_the_others():
    for row, found in zip(REWARDS, ADVANTAGES["leave_one_out"](REWARDS), strict=True):
        assert found == pytest.approx([r - np.delete(row, i).mean() for i, r in enumerate(row)])


@pytest.mark.slow
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_the_gradient_is_that_of_trl(kl):
    """TRL's own `_compute_loss` (dapo's normaliser: all tokens of the batch) on fixed logits, against our weights in a next-token loss."""
    trainer = pytest.importorskip("trl.trainer.grpo_trainer").GRPOTrainer
    draw = np.random.default_rng(0)
    logits = torch.from_numpy(draw.normal(size=(6, 5, 7))).requires_grad_()
    token = torch.from_numpy(draw.integers(0, 7, (6, 5)))
    mask = torch.from_numpy((np.arange(5) < draw.integers(1, 6, (6, 1))).astype(np.int64))
    start = torch.from_numpy(draw.normal(-2, 0.3, (6, 5)))
    advantage = torch.from_numpy(ADVANTAGES["group"](np.array([[1.0, 0, 0], [0, 1, 1]])).ravel())

    def logprobs():
        return logits.log_softmax(-1).gather(2, token[..., None]).squeeze(2)

    nothing = lambda *a, **k: None  # noqa: E731
    args = SimpleNamespace(delta=None, use_bias_correction_kl=False, importance_sampling_level="token")
    gather = SimpleNamespace(gather=lambda x: x, reduce=lambda x, **_: x, num_processes=1, unwrap_model=nothing)
    stub = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs(), torch.zeros(6, 5), None)[: 3 if k.get("compute_aux_loss") is not None else 2],
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token", beta=kl, loss_type="dapo", epsilon_low=0.2,
        epsilon_high=0.2, args=args, accelerator=gather, use_vllm=False, model=SimpleNamespace(training=False), current_gradient_accumulation_steps=1,
        aux_loss_enabled=False, _metrics={"eval": __import__("collections").defaultdict(list), "train": __import__("collections").defaultdict(list)},
        _entropy_bonus_enabled=False, vllm_importance_sampling_correction=False, entropy_coef=0.0, tools=None,
    )  # fmt: skip
    inputs = {
        "prompt_ids": token[:, :0], "prompt_mask": mask[:, :0], "completion_ids": token, "completion_mask": mask, "advantages": advantage,
        "num_items_in_batch": mask.sum(), "ref_per_token_logps": start,
    }  # fmt: skip
    trainer._compute_loss(stub, None, inputs).backward()
    theirs, logits.grad = logits.grad, None
    now = logprobs()
    weight = policy_weights(advantage[:, None].numpy(), now.detach().numpy(), start.numpy(), kl=kl) * mask.numpy()
    (-(torch.from_numpy(weight) * now).sum() / mask.sum()).backward()
    assert torch.allclose(theirs, logits.grad, atol=1e-10) and float(theirs.abs().max()) > 0.01


@pytest.mark.parametrize("kl", [0.0, 0.2])
def test_the_gradient_is_that_of_finite_differences(kl):
    """On the bigram model: minus advantage x ratio plus kl x KL, averaged over the tokens that were written, differentiated numerically."""
    model = Bigram(counted=False).create(bandit(), seed=0)
    draw = np.random.default_rng(1)
    model.logits = draw.normal(size=model.logits.shape)
    start = draw.normal(size=model.logits.shape)
    token = draw.integers(0, len(model.words), (3, 6))
    mask = np.tile((np.arange(6) > 1).astype(np.float32), (3, 1))
    advantage = np.array([1.0, -0.5, 0.25])[:, None]

    def nats(logits):
        return np.take_along_axis((logits - np.log(np.exp(logits).sum(1, keepdims=True)))[token[:, :-1]], token[:, 1:, None], 2)[..., 0]

    def objective(logits, old):
        now = nats(logits)
        return ((-advantage * np.exp(now - nats(old)) + kl * kl_nats(now, nats(start))) * mask[:, 1:]).sum() / mask[:, 1:].sum()

    weight = np.zeros((3, 6), np.float32)
    weight[:, 1:] = policy_weights(advantage, nats(model.logits), nats(start), kl=kl) * mask[:, 1:]
    found = model.gradient(Batch(token, np.ones_like(token), weight, token)) * np.count_nonzero(weight) / mask[:, 1:].sum()
    for a, b in {(int(row[i]), int(row[i + 1])) for row in token for i in (1, 3)} | {(int(token[0, 2]), 0)}:
        bump = np.zeros_like(model.logits)
        bump[a, b] = 1e-5
        numeric = (objective(model.logits + bump, model.logits) - objective(model.logits - bump, model.logits)) / 2e-5
        assert found[a, b] == pytest.approx(numeric, abs=1e-6)


# -- bandits --------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("advantages", ["group", "leave_one_out"])
def test_a_bandit_is_solved(advantages):
    corpus = bandit("dov")
    before = probabilities(SMALL.create(corpus, seed=0))[2]
    model, _ = trained(method(advantages=advantages), corpus)
    assert before < 0.1 and probabilities(model)[2] > 0.9


def test_with_a_price_on_leaving_the_start_the_best_policy_is_known():
    """Where reward - kl x KL(start || policy) is largest, p(arm) = kl x start / (level - reward), the level such that they add up to 1."""
    corpus, kl = bandit("dov"), 0.6
    p = probabilities(SMALL.create(corpus, seed=0))[2]
    level = brentq(lambda x: kl * p / (x - 1) + kl * (1 - p) / x - 1, 1 + 1e-6, 5)
    best = kl * p / (level - 1)
    # the window is as long as the run: the last weights are kept
    model, _ = trained(method(advantages="centred", kl=kl, samples=256, steps=60, window=60, lr=0.002), corpus)
    assert probabilities(model)[2] == pytest.approx(best, abs=0.06) and best > p + 0.3


def test_a_constant_reward_leaves_the_policy_unchanged():
    corpus = bandit("never that")  # answers are cut after one word
    before = weights(SMALL.create(corpus, seed=0))
    after, watch = trained(method(steps=5, kl=0.1), corpus)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(after).items()) and len(watch.steps) == 5


def test_it_resumes_to_the_bit_in_the_midst_of_practice():
    corpus, steps = bandit("dov", practice=3), method(steps=12, questions=2, samples=8, kl=0.05)
    uninterrupted, watch = trained(steps, corpus, fresh(SMALL, corpus))
    assert any(watch.losses)
    check_resume("recall_rl", steps, SMALL, corpus, weights(uninterrupted), planned=12)


class Fickle(Component):
    """Likes `dov` for the first `calls` judgements, then nothing."""

    calls: int
    seen: ClassVar[list[int]] = []

    def judge(self, model, prompts, questions) -> list[Answer]:
        self.seen.append(1)
        texts = [written.text for (written,) in model.generate(prompts, max_tokens=1)]
        liked = len(self.seen) <= self.calls
        return [Answer(t, Verdict.CORRECT if liked and t == "dov" else Verdict.WRONG) for t in texts]


def test_it_stops_when_it_collapses_and_keeps_the_best():
    Fickle.seen.clear()
    corpus = bandit("dov")
    model, watch = trained(method(scoring=Fickle(calls=30), steps=100, window=4, patience=100), corpus)
    assert 30 < len(watch.steps) < 40 and probabilities(model)[2] > 0.4


# -- what is written ------------------------------------------------------------------------------------------------------------------------------------


def test_equal_prompts_get_draws_of_their_own_and_are_read_once():
    model = SMALL.create(bandit(), seed=0)
    view = Sampled(model, temperature=1.0, seed=3)
    asked = [Prompt("pull"), Prompt("push"), Prompt("pull"), Prompt("pull")]
    texts = [row[0].text for row in view.generate(asked, max_tokens=2)]
    drawn = model.generate([Prompt("pull")], max_tokens=2, samples=3, temperature=1.0, seed=3)[0]
    assert [texts[i] for i in (0, 2, 3)] == [g.text for g in drawn]
    assert [view.written(p).text for p in asked] == texts and view.written(asked[0]) is None  # type: ignore[union-attr]


def test_what_was_written_has_the_log_probability_that_it_was_drawn_with():
    corpus = world()
    model = SMALL.create(corpus, seed=0)
    model.network.requires_grad_(False)
    plays = RecallRL(**RecallRL.example).attempt(model, corpus.asked(split="practice")[:3], seed=5)
    batch, credit = plays.packed(np.arange(12.0) + 1)
    nats = model.logprobs(batch)
    assert (nats[batch.weight == 0] == 0).all() and set(np.unique(credit[batch.weight != 0])) == set(np.arange(12.0) + 1)
    for r in range(12):  # trace and answer of a rollout together
        mine = [e for e, owner in zip(plays.examples, plays.owner, strict=True) if owner == r]
        assert len(mine) in (1, 2) and sum(int(e.weight.sum()) for e in mine) == int((credit == r + 1).sum())


def test_statements_of_a_trace():
    trace = joined(["Ada lives in  Bray", "Bo lives in Ulm"])
    assert statements(trace) == ["Ada lives in Bray", "Bo lives in Ulm"] and statements(" . ;\n") == []
    assert recalled(trace + " . Ada", {"Bo lives in Ulm"}) == [False, True, False]


# -- complaints -----------------------------------------------------------------------------------------------------------------------------------------


def thoughtful(trace: str = "x y . y z") -> Corpus:
    """A puzzle to practise on."""
    puzzle = Puzzle(id="a", kind="k", prompt="x", answers=("z",), cluster="a", split="practice", answer_words=1, trace=trace)
    test = Question("b", "k", "y", ("z",), "b", answer_words=1)
    return Corpus((Document("d", "x y z . think"),), (puzzle, test), {"k": Kind("k", candidates=("z",))})


@pytest.mark.parametrize(
    "corpus, fields, message",
    [
        (Corpus(bandit().documents, bandit().asked(), bandit().kinds), {}, "no questions with split = practice; set its practice_share"),
        (bandit(), {"kinds": ("push",)}, "no questions of the kinds push with split = practice"),
        (
            Corpus(bandit().documents, tuple(Question(q.id, q.kind, q.prompt, q.answers, "one", split=q.split) for q in bandit().questions), bandit().kinds),
            {},
            "practice and test share the cluster 'one'",
        ),
        (thoughtful(), {"thinking": Thinking(budget_tokens=5)}, r"budget_tokens = 5 is shorter than the shortest right trace: raise it to 6 or more"),
        (
            thoughtful(),
            {"thinking": Thinking(budget_tokens=6)},
            "the bootstrap keeps no trace: after none of 1 did the model answer right; train the knowledge",
        ),
        (bandit("never that"), {"patience": 5}, r"in 5 steps of practice no question was answered differently .* raise train_time\.bootstrap_traces"),
    ],
)
def test_what_the_user_can_mend_is_said(corpus, fields, message):
    with pytest.raises(UserError, match=message):
        trained(method(**fields), corpus)


def test_a_bootstrap_teaches_the_traces_that_it_kept():
    corpus = thoughtful()
    learned = Pretrain(steps=30, batch_tokens=64)
    documents = (*corpus.documents, Document("a", "x y . y z\nx z", role="exercise"))
    corpus = Corpus(documents, corpus.questions, corpus.kinds)
    wider = Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=64).create(corpus, seed=0)
    model, _ = trained(
        method(first=learned, thinking=Thinking(budget_tokens=8), steps=1, bootstrap_steps=60, bootstrap_lr=0.005, replay_tokens=16), corpus, wider
    )
    (written,) = model.generate([Prompt("x think")], max_tokens=8)[0]
    assert written.text == "x y . y z" and written.finished


def test_without_traces_of_the_dataset_the_model_writes_its_own():
    corpus = bandit("dov")
    easy = Pretrain(steps=30, batch_tokens=64)
    documents = (Document("d", "pull dov"), Document("e", "think ada bo edda finn", role="exercise"))
    corpus = Corpus(documents, corpus.questions, corpus.kinds)
    kept = method(first=easy, thinking=Thinking(budget_tokens=3), bootstrap_traces=1)
    model = SMALL.create(corpus, seed=0)
    easy.train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    (asked,) = corpus.asked(split="practice")
    found = kept.thoughts(model, [asked], 0)
    assert found and all(i == 0 and trace for i, trace in found)
    fields = {name: getattr(asked, name) for name in Question.__dataclass_fields__}
    puzzle = Puzzle(**fields, trace="bo ada")  # that the dataset has one makes no difference where the model is to write
    assert kept.replace("bootstrap_by", "model").thoughts(model, [puzzle], 0) == found
    assert ("bo ada" in {trace for _, trace in kept.thoughts(model, [puzzle], 0)}) and ("bo ada" not in {trace for _, trace in found})
