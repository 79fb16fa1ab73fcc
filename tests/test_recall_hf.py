"""Learned recall of pretrained models: what the policy gradient needs of `models/hf`, against plain forward passes; adapters; and the embedded model for a few steps."""

from typing import Any

import numpy as np
import pytest
import torch

from test_recall_rl import bandit, method, probabilities
from tolman.core.data import Prompt
from tolman.core.packing import Example, pack
from tolman.datasets.recall import Recall
from tolman.models._pretrained import RANDOM
from tolman.models.hf import Hf
from tolman.scoring.exact import Exact
from tolman.test_time.thinking import Thinking
from tolman.testing import MemoryCheckpoints, Silent, check_train_time
from tolman.testing._world import world
from tolman.train_time.finetune import Finetune
from tolman.train_time.recall_rl import RecallRL

SMALL = Hf(path=RANDOM, dtype="float32")


def test_logprobs_are_those_of_a_plain_forward_pass():
    model: Any = SMALL.create(bandit(), seed=0)
    examples = [Example(np.arange(3, 3 + n), np.asarray([0.0, *weights], np.float32)) for n, weights in ((4, (1, -2, 0)), (3, (0, 0.5)))]
    batch = pack(examples, 7)
    found = model.logprobs(batch)
    assert (found != 0).sum() == 3 and found.shape == batch.token.shape
    for example in examples:
        with torch.no_grad():
            logprob_TV = model.network(torch.from_numpy(example.token)[None]).logits[0].log_softmax(-1)
        for t in np.flatnonzero(example.weight):
            here = np.flatnonzero((batch.token[0] == example.token[t]) & (batch.weight[0] == example.weight[t]))
            assert found[0, here] == pytest.approx(float(logprob_TV[t - 1, example.token[t]]), abs=1e-5)


def test_what_is_spelled_is_what_is_scored_and_ends():
    corpus = world()
    model = SMALL.create(corpus, seed=0)
    prompt, text = Prompt("Ada lives in"), "North Bray"
    ids = model.spelled(text, prompt)
    assert ids[-1] == model.template.end and model.tokenizer.decode(ids[:-1]).strip() == text
    nats = model.logprobs(pack([model.continued(prompt, ids[:-1])], 32)).sum()
    assert nats == pytest.approx(model.score([prompt], [[text]])[0][0], abs=1e-4)


def test_adapters_learn_the_best_arm_and_nothing_else_changes():
    model: Any = SMALL.create(bandit(), seed=0)
    before = {name: p.clone() for name, p in model.network.named_parameters()}
    watch = Silent()
    method(lr=0.03, steps=25).train(model, bandit(), seed=0, checkpoints=MemoryCheckpoints(), watch=watch)
    assert probabilities(model).argmax() == 0 and probabilities(model)[0] > 0.9
    base = {name: p for name, p in model.network.get_base_model().named_parameters() if "lora" not in name}
    assert len(base) == len(before) and all(torch.equal(p, before[name.replace(".base_layer", "")]) for name, p in base.items())


def test_with_all_weights_the_contract_holds():
    corpus = world()
    given = RecallRL.example | {"first": Finetune(**Finetune.example).replace("steps", 6), "weights": "full", "steps": 4}
    check_train_time(RecallRL(**given), SMALL, corpus)


@pytest.mark.slow
def test_the_embedded_model_learns_facts_imitates_traces_and_practises():
    """Facts are learned with adapters; the practice goes on with these, and its steps say what was written (25 s of one core, 1.4 GiB)."""
    corpus = Recall(entities=8, relations=2, options=4, episode_count=10, asked=6).build(0)
    first = Finetune(steps=6, batch_tokens=96, lr=1e-3)
    small: dict[str, Any] = {"bootstrap_traces": 8, "bootstrap_steps": 2, "replay_tokens": 32, "steps": 2, "questions": 2, "samples": 4}
    model: Any = Hf().create(corpus, seed=0)
    watch = Silent()
    RecallRL(first=first, thinking=Thinking(budget_tokens=40), scoring=Exact(), **small).train(
        model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=watch
    )
    assert watch.steps == list(range(1, 11)) and not np.isnan(watch.losses).any()
    trained = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
