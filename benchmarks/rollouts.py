"""How fast groups of traces are sampled, beside `transformers` generate with the same weights, measured in one run on this machine.

    python benchmarks/rollouts.py [--threads 2] [--rounds 5] [--no-embedded] [--step] [--json]

`tiny` in two settings on the world of `datasets/recall` (quick), up to 32 tokens at temperature 1: one group, 8 samples of one question; and a step of practice as in
`train_time/recall_rl`, 16 such groups. The weights are random, so that texts end at random lengths (about 15 tokens). And the embedded model, in the precision that
`models/hf` takes here: two groups, questions in its chat template, 2 rounds. With --step also a whole step of practice on these two groups: ours (`train_time/recall_rl`,
no trace before the answer) beside that of TRL's GRPOTrainer, both with adapters of rank 16 and a penalty on leaving the start policy, in tokens sampled per second.
`transformers` is given what suits it best: prompts of one length, so that it pads nothing, `num_return_sequences`, its default cache, and for the embedded model the
quicker of its two kinds of attention. Both have one precision. Tokens are counted up to the one that ends a text, included. Contenders take turns, and the ratio
is of their best rounds. The first round only warms up.
On a machine that others use too, BENCHMARK_CLOCK=cpu with --threads 1 measures seconds of CPU time. Writes benchmarks/results/rollouts.json.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from plain_loop import now
from transformers import AutoModelForCausalLM, PreTrainedModel, PrinterCallback

from tolman.core.component import Component
from tolman.core.data import Answer, Corpus, Prompt, Question, Verdict
from tolman.core.protocols import LiveModel
from tolman.core.thinking import ASK
from tolman.datasets.recall import Recall
from tolman.models import _pretrained
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.testing import MemoryCheckpoints, Silent
from tolman.train_time.recall_rl import RecallRL
from tolman.train_time.untrained import Untrained

RESULTS = Path(__file__).parent / "results" / "rollouts.json"
SAMPLES, TOKENS = 8, 32
SETTINGS = {"one group": 1, "16 groups": 16}
"""Name -> questions at a time."""


QUESTIONS = ("What is the capital of France, and what is it known for?", "What is the largest city of Italy, and why is it large?")
"""What the embedded model is asked."""
LR, KL, CLIP, RANK, SCALE = 2e-4, 0.01, 1.0, 16, 2.0
"""What a step of practice and its adapters take."""
Contender = Callable[[int], int]
"""Samples with a seed, and says how many tokens."""


def tiny_contenders(questions: int) -> dict[str, Contender]:
    """Our model, and `transformers`' with its weights, asked so many questions of one length."""
    corpus = Recall(episode_count=100).build(0)
    model = Tiny().create(corpus, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        other = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [Prompt(ASK.format(question=q.prompt)) for q in corpus.asked(["two_hop"], split="practice")[:questions]]
    token_BT = torch.tensor([ids.tolist() for ids in model.words.encode([model.render(p) for p in prompts])])
    stops = [model.words.pad, model.words.document, model.words.line_break]
    return {"tolman": lambda seed: ours(model, prompts, seed), "transformers": lambda seed: theirs(other, token_BT, stops, seed)}


def embedded_contenders() -> dict[str, Contender]:
    """The embedded model, ours and `transformers`'."""
    model = Hf().create(Corpus((), (), {}), seed=0)
    prompts = [Prompt(question) for question in QUESTIONS]
    token_BT = torch.tensor(model.encode([model.render(p) for p in prompts]))
    contenders: dict[str, Contender] = {"tolman": lambda seed: ours(model, prompts, seed, one_line=False)}
    for attention in ("sdpa", "eager"):
        other, _ = _pretrained.load(_pretrained.EMBEDDED, model.network.dtype)
        other.set_attn_implementation(attention)
        contenders[f"transformers, {attention}"] = lambda seed, other=other: theirs(other, token_BT, list(model.template.ends), seed)
    return contenders


def our_step() -> Contender:
    """A step of practice of the embedded model: sampling, judging, log-probabilities now and at the start, loss, gradient, optimiser."""
    questions = tuple(Question(q, "any", q, ("",), q, split="practice") for q in QUESTIONS)
    corpus, tokens = Corpus((), questions, {}), [0]

    class EvenLength(Component):
        """Right is an answer with an even number of characters, so that the samples of a group fare differently."""

        def judge(self, model: LiveModel, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Answer]:
            written = [w for (w,) in model.generate(prompts, max_tokens=TOKENS)]
            tokens.append(sum(w.tokens for w in written))
            return [Answer(w.text, Verdict.WRONG if len(w.text) % 2 else Verdict.CORRECT) for w in written]

    model: Any = Hf().create(corpus, seed=0)
    method = RecallRL(
        first=Untrained(), thinking=None, scoring=EvenLength(), questions=len(questions), samples=SAMPLES, steps=1, window=1, lr=LR, kl=KL, clip=CLIP,
        rank=RANK, scale=SCALE,
    )  # fmt: skip

    def run(seed: int) -> int:
        method.rehearse(model, corpus, questions, seed=seed, phase=method.phase("practice", MemoryCheckpoints(), Silent(), None))
        return tokens[-1]

    return run


def trl_step(attention: str) -> Contender:
    """The same by TRL, with its own choices where ours are not its options."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    template, tokens = Hf().create(Corpus((), (), {}), seed=0), [0]
    network, tokenizer = _pretrained.load(_pretrained.EMBEDDED, template.network.dtype)
    network.set_attn_implementation(attention)

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        return [float(len(text) % 2 == 0) for text in completions]

    arguments = GRPOConfig(
        output_dir="unused", use_cpu=True, bf16=network.dtype == torch.bfloat16, per_device_train_batch_size=len(QUESTIONS) * SAMPLES, num_generations=SAMPLES,
        max_completion_length=TOKENS, max_steps=1, learning_rate=LR, beta=KL, temperature=1.0, top_k=0, max_grad_norm=CLIP, weight_decay=0.0,
        gradient_checkpointing=False, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, seed=0,
    )  # fmt: skip
    lora = LoraConfig(r=RANK, lora_alpha=int(RANK * SCALE), lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    rows = Dataset.from_list([{"prompt": template.render(Prompt(q))} for q in QUESTIONS])
    trainer = GRPOTrainer(model=network, args=arguments, reward_funcs=reward, train_dataset=rows, peft_config=lora, processing_class=tokenizer)  # type: ignore[arg-type]
    trainer.remove_callback(PrinterCallback)

    def run(seed: int) -> int:
        trainer.train()
        return tokens[-1]

    return run


def ours(model: Any, prompts: list[Prompt], seed: int, **given: bool) -> int:
    """Tokens sampled."""
    return sum(t.tokens for row in model.generate(prompts, max_tokens=TOKENS, samples=SAMPLES, temperature=1.0, seed=seed, **given) for t in row)


def theirs(model: PreTrainedModel, token_BT: torch.Tensor, stops: Sequence[int], seed: int) -> int:
    """Tokens sampled."""
    torch.manual_seed(seed)
    out_NT = model.generate(  # type: ignore[operator]
        token_BT, attention_mask=torch.ones_like(token_BT), do_sample=True, temperature=1.0, top_k=0, max_new_tokens=TOKENS, num_return_sequences=SAMPLES,
        eos_token_id=stops, pad_token_id=stops[0],
    )[:, token_BT.shape[1] :]  # fmt: skip
    ended_NT = torch.isin(out_NT, torch.tensor(stops))
    return int((ended_NT.cumsum(1) - ended_NT.int() == 0).sum())


def measured(contenders: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """Tokens per second of each contender in its best round, and the ratio of ours to the best other's."""
    found = dict.fromkeys(contenders, 0.0)
    for seed in range(rounds + 1):
        for name, run in contenders.items():
            began = now()
            tokens = run(seed)
            if seed:
                found[name] = max(found[name], tokens / (now() - began))
    ratio = found["tolman"] / max(rate for name, rate in found.items() if name != "tolman")
    return {"tokens_per_s": {name: round(rate) for name, rate in found.items()}, "ratio": round(ratio, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--embedded", action=argparse.BooleanOptionalAction, default=True, help="measure the embedded model too (about a minute)")
    parser.add_argument("--step", action="store_true", help="measure a whole step of practice of the embedded model too (about two minutes; needs trl)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings: dict[str, tuple[Callable[[], dict[str, Contender]], int]] = {
        name: (partial(tiny_contenders, questions), given.rounds) for name, questions in SETTINGS.items()
    }
    if given.embedded:
        settings["embedded, 2 groups"] = (embedded_contenders, 2)
    if given.step:
        settings["embedded, a step of practice"] = (lambda: {"tolman": our_step(), "trl": trl_step("eager")}, 2)
    result: dict[str, Any] = {
        "date": date.today().isoformat(), "machine": platform.machine(), "torch": torch.__version__, "threads": given.threads, "rounds": given.rounds,
        "clock": os.environ.get("BENCHMARK_CLOCK", "wall"), "load_before": round(os.getloadavg()[0], 2), "samples": SAMPLES, "max_tokens": TOKENS, "settings": {},
    }  # fmt: skip
    for name, (contenders, rounds) in settings.items():
        found = result["settings"][name] = measured(contenders(), rounds)
        if not given.json:
            print(f"{name}: sampled tokens/s: {', '.join(f'{k} {v:,.0f}' for k, v in found['tokens_per_s'].items())}; ratio {found['ratio']}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
