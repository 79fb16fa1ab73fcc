"""Learned recall: reinforcement learning teaches a model to write what it knows before it answers (after Chaudhry et al. 2026, arXiv 2604.01430).

Three phases. The knowledge is trained into the weights; a few traces that lead to right answers show what thinking looks like; then the model writes traces and answers
of its own to practice questions, and what was right, judged by the scoring that will measure it, becomes likelier. The paper's settings are not known: ours are choices.

Shapes: Q questions of a step, G samples of each, R = Q x G rollouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from tolman.core.component import Added, Component, Nested
from tolman.core.data import Corpus, Generation, Prompt, Question
from tolman.core.errors import UserError
from tolman.core.packing import Example, Stream, pack
from tolman.core.protocols import Checkpoints, TrainableModel, Watch
from tolman.core.seeds import derive, rng
from tolman.core.thinking import Puzzle, recalled, statements
from tolman.train_time._advantages import ADVANTAGES, kl_nats, policy_weights
from tolman.train_time._lora import Masters, with_lora
from tolman.train_time._parallel import Team
from tolman.train_time._phases import Phase, after, restore, wearing, weights
from tolman.train_time._rollouts import Sampled

REPLAYED = 2000
"""Documents of each role to draw from in the bootstrap."""
SOLVED = 0.95
"""A mean reward from which it is no fault that all samples of every question fare alike."""


class RecallRL(Component):
    """Knowledge, a bootstrap on a few traces, then policy gradients on practice questions: rewards relative to a group, a penalty on leaving the start policy."""

    first: Nested
    """How the facts are learned: another train-time method, such as `train_time/pretrain`. Methods that begin alike share this training."""
    thinking: Nested | None
    """How the model thinks: `test_time/thinking`, with its budget. None: it answers at once (a control)."""
    scoring: Nested
    """What judges an answer, such as `scoring/exact`: the reward is 1 if it is correct."""
    kinds: tuple[str, ...] | None = None
    """The kinds of practice question; None: all that there are."""
    bootstrap_traces: int = Field(default=16, ge=0)
    """Traces to learn from before the practice, as many of each kind: the dataset's own, else the model's, written with the answer in sight. Kept are those after
    which the model gives the right answer."""
    bootstrap_steps: int = Field(default=30, ge=0)
    """Optimiser steps on the traces, all of them in each."""
    bootstrap_by: Literal["dataset", "model"] = Added("dataset")
    """Whose traces these are: the dataset's where it has some, or always the model's own."""
    replay_tokens: int = Field(default=1024, ge=0)
    """Tokens of documents beside the traces in each step of the bootstrap, half of them exercises."""
    steps: int = Field(default=160, ge=1)
    """Steps of practice."""
    questions: int = Field(default=16, ge=1)
    """Practice questions in a step."""
    samples: int = Field(default=8, ge=2)
    """Attempts at each: a group."""
    temperature: float = Field(default=1.0, gt=0)
    """At which traces and answers are sampled."""
    advantages: Literal["group", "centred", "leave_one_out"] = "group"
    """What a reward is measured against: its group's mean, in the group's standard deviations or as it is; or the mean of the others in the group."""
    kl: float = Field(default=0.01, ge=0)
    """Price, per token and nat, of leaving the policy that the practice began with (as in GRPO; its gradient is that of KL(start || now), see `_advantages`)."""
    lr: float = Field(default=2e-4, gt=0)
    """Learning rate of AdamW in practice."""
    bootstrap_lr: float = Field(default=3e-4, gt=0)
    """Learning rate of AdamW in the bootstrap."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    window: int = Field(default=8, ge=1)
    """Steps over which the reward is averaged to tell the best weights, which are kept at the end."""
    collapse: float = Field(default=0.5, ge=0, lt=1)
    """Practice stops when the averaged reward falls below this share of the best."""
    weights: Literal["lora", "full"] = Added("lora")
    """What the bootstrap and practice change of a pretrained model: low-rank adapters (those of `first`, if it trained some), or all weights. Of one from scratch: all."""
    rank: int = Added(16, ge=1)
    """Rank of the adapters."""
    scale: float = Added(2.0, gt=0)
    """What the adapters' product is multiplied with (alpha / rank)."""
    patience: int = Field(default=40, ge=1)
    """Steps in a row in which no group's rewards differ, though they are not all right, before practice stops with a complaint."""

    example: ClassVar[dict[str, Any]] = {
        "first": {"is": "train_time/pretrain", "steps": 24, "batch_tokens": 256}, "thinking": {"is": "test_time/thinking", "budget_tokens": 4},
        "scoring": {"is": "scoring/exact"}, "bootstrap_traces": 0, "steps": 6, "questions": 4, "samples": 4,
    }  # fmt: skip

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """Change `model` in place. A run that goes on from a checkpoint ends with the same weights to the bit as one never interrupted."""
        self.practice(corpus)  # complains before anything is trained
        state = after(self.first, "knowledge", self._before("practice") + self.steps, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)
        self._go_on(state, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def go_on(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """The rest of `train`, on a model that `first` has trained."""
        self._go_on(checkpoints.load(), model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def _go_on(self, state: Any, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        pool = self.practice(corpus)
        if self.imitates and (state is None or state["phase"] == "bootstrap"):
            self.bootstrap(model, corpus, pool, seed=seed, phase=self.phase("bootstrap", checkpoints, watch, state))
        self.rehearse(model, corpus, pool, seed=seed, phase=self.phase("practice", checkpoints, watch, state))

    @property
    def imitates(self) -> bool:
        """Whether there is a bootstrap."""
        return self.thinking is not None and self.bootstrap_traces > 0 and self.bootstrap_steps > 0

    def phase(self, name: str, checkpoints: Checkpoints, watch: Watch, state: Any) -> Phase:
        """`bootstrap` or `practice`, its steps counted on from those of the phases before it."""
        return Phase(name, checkpoints, watch, state=state, before=self._before(name), total=self._before("practice") + self.steps)

    def _before(self, name: str) -> int:
        """Steps of the phases before this one."""
        return getattr(self.first, "steps", 0) + (self.bootstrap_steps if name == "practice" and self.imitates else 0)

    def practice(self, corpus: Corpus) -> tuple[Question, ...]:
        """The practice questions. Raises UserError where there are none, or where they share a cluster with the test."""
        pool = corpus.asked(self.kinds, split="practice")
        if not pool:
            kinds = f" of the kinds {', '.join(self.kinds)}" if self.kinds else ""
            raise UserError(
                f"there is nothing to practise on: the dataset has no questions{kinds} with split = practice; set its practice_share, or another train_time.kinds"
            )
        if shared := {q.cluster for q in pool} & {q.cluster for q in corpus.asked()}:
            raise UserError(
                f"practice and test share the cluster {sorted(shared)[0]!r}: what is practised would be measured; give each cluster to one split of the dataset"
            )
        return pool

    def learner(self, model: Any, lr: float, seed: int) -> "Learner":
        """The optimiser; a pretrained model gets its adapters first, if it has none."""
        if self.weights == "lora" and hasattr(model.network, "get_output_embeddings"):
            model.network = with_lora(model.network, rank=self.rank, scale=self.scale, seed=seed)
        return Learner(model, lr)

    # -- a few traces to begin with ------------------------------------------------------------------------------------------------------------------

    def bootstrap(self, model: TrainableModel, corpus: Corpus, pool: Sequence[Question], *, seed: int, phase: Phase) -> None:
        """Imitate traces that lead to right answers, and the answers after them, among documents: alone, a few traces would efface what is known (LOG.md)."""
        learner, state = self.learner(model, self.bootstrap_lr, seed), phase.load()
        roles = {role: [d for d in corpus.documents if d.role == role][:REPLAYED] for role in ("experience", "exercise")}
        streams = {role: Stream(found, seed, f"replay {role}") for role, documents in roles.items() if (found := model.examples(documents))}
        if state is None:
            kept, begin = self.thoughts(model, pool, seed), 0
        else:
            kept, begin = [(i, trace) for i, trace in state["kept"]], state["step"]
            learner.resume(state)
            for role, stream in streams.items():
                stream.state = state["streams"][role]
        examples = [e for i, trace in kept for e in self.imitated(model, pool[i], trace)]
        row_tokens, team = max(map(len, [*examples, *(e for s in streams.values() for e in s.examples)])), Team(model)
        for step in range(begin, self.bootstrap_steps):
            replayed = [e for s in streams.values() for e in s.take(self.replay_tokens // len(streams))]
            part, share = team.part(pack([*examples, *replayed], row_tokens))
            loss = learner.descend(team, share * model.loss(part), self.clip)
            phase.step(step + 1, self.bootstrap_steps, loss=loss)
            if phase.due():
                places = {role: s.state for role, s in streams.items()}
                phase.save({"step": step + 1, "kept": [list(pair) for pair in kept], "streams": places, **learner.snapshot()})

    def thoughts(self, model: TrainableModel, pool: Sequence[Question], seed: int) -> list[tuple[int, str]]:
        """(index in `pool`, trace) for traces after which the model gives the right answer, as many of each kind. Raises UserError where none does."""
        by_kind: dict[str, list[int]] = {}
        for i in rng(seed, "recall_rl", "bootstrap").permutation(len(pool)).tolist():
            by_kind.setdefault(pool[i].kind, []).append(i)
        chosen = [i for row in zip_longest(*by_kind.values()) for i in row if i is not None][: self.bootstrap_traces]
        told = [(i, q.trace) for i in chosen if isinstance(q := pool[i], Puzzle) and self.bootstrap_by == "dataset"]
        tried = list(told)
        if alone := [i for i in chosen if i not in dict(told)]:
            hinted = [Prompt(pool[i].prompt, (f"{pool[i].prompt} {pool[i].answers[0]}",)) for i in alone]
            drawn = self.thinking.traces(model, hinted, samples=self.samples, temperature=self.temperature, seed=derive(seed, "recall_rl", "hinted"))  # type: ignore[union-attr]
            tried += [(i, t.text) for i, traces in zip(alone, drawn, strict=True) for t in traces if t.finished and t.text]
        budget = self.thinking.budget_tokens  # type: ignore[union-attr]
        if told and (least := min(len(model.spelled(trace)) for _, trace in told)) > budget:
            raise UserError(
                f"thinking.budget_tokens = {budget} is shorter than the shortest right trace: raise it to {least} or more, here and where the cell asks"
            )
        prompts = [self.recalling(pool[i], trace) for i, trace in tried]
        answers = self.scoring.judge(model, prompts, [pool[i] for i, _ in tried])  # type: ignore[attr-defined]
        kept = [pair for pair, a in zip(tried, answers, strict=True) if a.verdict == "correct"]
        if not kept:
            raise UserError(
                f"the bootstrap keeps no trace: after none of {len(tried)} did the model answer right; train the knowledge for longer (train_time.first.steps), "
                "or let the dataset show traces in its in-context sequences"
            )
        return kept

    def recalling(self, question: Question, trace: str) -> Prompt:
        """The question after this trace."""
        (prompt,) = self.thinking.after(Prompt(question.prompt), [Generation(trace, 0, 0.0, finished=True)])  # type: ignore[union-attr]
        return prompt

    def imitated(self, model: TrainableModel, question: Question, trace: str) -> list[Example]:
        """The trace after the request for it, and the answer after the trace."""
        asked = self.thinking.asked(Prompt(question.prompt))  # type: ignore[union-attr]
        recalling = self.recalling(question, trace)
        return [model.continued(asked, model.spelled(trace, asked)), model.continued(recalling, model.spelled(question.answers[0], recalling))]

    # -- practice ------------------------------------------------------------------------------------------------------------------------------------

    def rehearse(self, model: TrainableModel, corpus: Corpus, pool: Sequence[Question], *, seed: int, phase: Phase) -> None:
        """Sample, judge, and make likelier what did better than its group. Ends with the weights whose averaged reward was best."""
        learner, state, team = self.learner(model, self.lr, seed), phase.load(), Team(model)
        told = {s for d in corpus.experiences for s in statements(d.text)}
        start, rewards, dull, begin = weights(model), [], 0, 0
        best: dict[str, Any] = {"reward": -1.0, "network": weights(model)}
        if state is not None:
            start, rewards, dull, begin, best = (state[name] for name in ("start", "rewards", "dull", "step", "best"))
            learner.resume(state)

        for step in range(begin, self.steps):
            asked = team.mine([pool[i] for i in self.order(len(pool), step, seed)])
            tries = self.attempt(model, asked, derive(seed, "recall_rl", "rollout", step))
            reward_QG = tries.reward_R.reshape(len(asked), self.samples)
            batch, credit = tries.packed(ADVANTAGES[self.advantages](reward_QG).ravel())
            now = model.logprobs(batch)
            with wearing(model, start):
                then = model.logprobs(batch)
            chosen = batch.weight != 0
            weight = np.where(chosen, policy_weights(credit, now, then, kl=self.kl), 0.0).astype(np.float32)
            loss, counted, all_chosen = 0.0, int(np.count_nonzero(weight)), team.total(chosen.sum())
            if team.total(counted):  # the model divides by the tokens that have a weight, the policy gradient by all that were chosen
                total = model.loss(replace(batch, weight=weight)) * (counted / all_chosen) if counted else torch.zeros(())
                loss = learner.descend(team, total, self.clip)
            team.count()

            flat = team.mean(reward_QG.std(axis=1) == 0)
            rewards = [*rewards, team.mean(reward_QG)][-self.window :]
            average = sum(rewards) / len(rewards)
            dull = dull + 1 if flat == 1 and average < SOLVED else 0
            if len(rewards) == self.window and average > best["reward"]:
                best = {"reward": average, "network": weights(model)}
            phase.step(
                step + 1, self.steps, loss=loss, reward=rewards[-1], flat=flat, kl=team.mean(kl_nats(now, then)[chosen]), entropy=team.mean(-now[chosen]),
                trace_tokens=team.mean(tries.trace_tokens), recalled=team.mean([any(recalled(text, told)) for text in tries.traces]),
            )  # fmt: skip
            if dull == self.patience:
                raise UserError(
                    f"in {dull} steps of practice no question was answered differently by any two of its samples (reward {average:.2f}): there is nothing to learn from; "
                    "raise train_time.bootstrap_traces, train_time.samples or train_time.temperature, or train the knowledge for longer"
                )
            if len(rewards) == self.window and average < self.collapse * best["reward"]:
                break
            if phase.due():
                phase.save({"step": step + 1, "start": start, "rewards": rewards, "dull": dull, "best": best, **learner.snapshot()})
        if best["reward"] >= 0:
            restore(model, best["network"])

    def order(self, n: int, step: int, seed: int) -> list[int]:
        """Which of n questions are asked at `step`: pass after pass, each in a new order."""
        places = range(step * self.questions, (step + 1) * self.questions)
        passes = {p: rng(seed, "recall_rl", "order", p).permutation(n) for p in {at // n for at in places}}
        return [int(passes[at // n][at % n]) for at in places]

    def attempt(self, model: TrainableModel, asked: Sequence[Question], seed: int) -> "Tries":
        """`samples` traces and answers for each question, and what the scoring says of them."""
        plain = [Prompt(q.prompt) for q in asked]
        traces, examples, owner = [""] * (len(asked) * self.samples), [], []
        prompts = [p for p in plain for _ in range(self.samples)]
        if self.thinking is not None:
            drawn = self.thinking.traces(model, plain, samples=self.samples, temperature=self.temperature, seed=derive(seed, "trace"))  # type: ignore[attr-defined]
            prompts = [after for p, group in zip(plain, drawn, strict=True) for after in self.thinking.after(p, group)]  # type: ignore[attr-defined]
            written = [t for group in drawn for t in group]
            traces = [t.text for t in written]
            requests = [self.thinking.asked(p) for p in plain for _ in range(self.samples)]  # type: ignore[attr-defined]
            examples = [model.continued(request, t.ids) for request, t in zip(requests, written, strict=True)]
            owner = list(range(len(written)))
        view = Sampled(model, temperature=self.temperature, seed=derive(seed, "answer"))
        answers = self.scoring.judge(view, prompts, [q for q in asked for _ in range(self.samples)])  # type: ignore[attr-defined]
        for r, prompt in enumerate(prompts):
            if (answer := view.written(prompt)) is not None:
                examples.append(model.continued(prompt, answer.ids))
                owner.append(r)
        reward_R = np.asarray([a.verdict == "correct" for a in answers], float)
        return Tries(traces, reward_R, examples, np.asarray(owner))


@dataclass(frozen=True)
class Tries:
    """The rollouts of a step. `examples` hold what was written, weight 1 on it: `owner` says for each to which rollout it belongs."""

    traces: list[str]
    reward_R: np.ndarray
    examples: list[Example]
    owner: np.ndarray

    @property
    def trace_tokens(self) -> list[int]:
        """Words of each trace."""
        return [len(text.split()) for text in self.traces]

    def packed(self, advantage_R: np.ndarray) -> tuple[Any, np.ndarray]:
        """A batch with weight 1 on every token that the model chose, and, in its shape, the advantage of the rollout that each belongs to."""
        row_tokens = max(map(len, self.examples))
        credited = [Example(e.token, e.weight * np.float32(a)) for e, a in zip(self.examples, advantage_R[self.owner], strict=True)]
        return pack(self.examples, row_tokens), pack(credited, row_tokens).weight  # packing looks at lengths only, so both are laid out alike


class Learner:
    """AdamW on what may be trained of `model`, in float32, without decay: staying near the start is the business of the KL term."""

    def __init__(self, model: TrainableModel, lr: float) -> None:
        self.masters = Masters(list(model.network.parameters()))
        self.optimizer = torch.optim.AdamW(self.masters.masters, lr=lr, weight_decay=0.0)

    def descend(self, team: Team, loss: torch.Tensor, clip: float) -> float:
        """One step down the gradient of the loss that the processes of `team` have parts of, its norm clipped; returns that loss."""
        if loss.requires_grad:
            loss.backward()
        whole = team.add_up(loss)
        self.masters.take_gradients()
        torch.nn.utils.clip_grad_norm_(self.masters.masters, clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.masters.put_back()
        return whole

    def snapshot(self) -> dict[str, Any]:
        """What a phase needs to go on."""
        return {"masters": self.masters.masters, "optimizer": self.optimizer.state_dict()}

    def resume(self, state: Any) -> None:
        """Where `snapshot` left off."""
        self.masters.load(state["masters"])
        self.optimizer.load_state_dict(state["optimizer"])
