"""How fast `finetune` trains adapters on short documents, beside TRL's SFTTrainer with and without packing, in one run on this machine.

    python benchmarks/finetune.py [--threads 2] [--steps 8] [--documents 32] [--json]

All have the embedded SmolLM2-135M-Instruct in bfloat16, adapters of rank 16 on every linear map, AdamW at the same constant rate, loss on all tokens, the same documents in the
same order (facts about made-up people, 20 to 45 tokens each). Tokens per second are those of documents, padding not counted; the first step is not timed.

- `ours`: `Finetune` on `Hf`, default settings. `ours_full`: the same with all weights (for its memory; nothing to compare it with).
- `trl`: `trl.SFTTrainer`, `--documents` documents a step, padded; bf16 autocast (its adapters are float32).
- `trl_packed`: the same with `packing=True` (rows of 512 tokens, two a step; its batches hold other documents, so only its mean loss can be compared).

Ours and `trl` take the same documents at each step, so their losses must agree step by step. Each contender runs in a process of its own, one after another; peak memory is
that process's. Writes benchmarks/results/finetune.json. On a machine that others use too, BENCHMARK_CLOCK=cpu with --threads 1 measures seconds of CPU time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Literal

import torch
from plain_loop import now

from tolman.core.data import Corpus
from tolman.core.discovery import component
from tolman.core.packing import Example
from tolman.models.hf import Hf, HfModel
from tolman.train_time.finetune import Finetune

RESULTS = Path(__file__).parent / "results" / "finetune.json"
MANY, LR, RANK, SCALE = 1000, 2e-4, 16, 2.0
"""Steps announced (so that the rate hardly falls in the few that are taken), learning rate, rank and scale of the adapters."""


class Done(Exception):
    """Raised from within the loop when enough has been seen."""


class InOrder:
    """As a `Stream`, but `count` documents at a time, in order."""

    state: dict[str, int] = {}

    def __init__(self, examples: list[Example], count: int) -> None:
        self.examples, self.count, self.at, self.taken = examples, count, 0, 0

    def take(self, tokens: int) -> Iterator[Example]:
        for _ in range(self.count):
            example = self.examples[self.at % len(self.examples)]
            self.at, self.taken = self.at + 1, self.taken + len(example)
            yield example


class Fixed(Finetune):
    """Finetune on given documents in a given order."""

    def streams(self, model: Any, corpus: Corpus, seed: int) -> Any:
        return {"documents": ORDER[0]}, {"documents": 1.0}


ORDER: list[InOrder] = []


class Clock:
    """Checkpoints that keep nothing, and a watch that stops after `steps`. The first step is not timed."""

    def __init__(self, steps: int) -> None:
        self.steps, self.began, self.seconds, self.begun_at = steps, 0.0, 0.0, 0
        self.losses: list[float] = []

    def load(self) -> None:
        return None

    def due(self) -> bool:
        return False

    def step(self, step: int, steps: int, **values: float) -> None:
        self.losses.append(values["loss"])
        if step == 1:
            self.began, self.begun_at = now(), ORDER[0].taken
        if step > self.steps:
            self.seconds = now() - self.began
            raise Done


def setting() -> tuple[HfModel, list[Example]]:
    model = Hf(dtype="bfloat16").create(Corpus((), (), {}), seed=0)
    corpus = component("datasets/celebrities").at("small").build(0)  # type: ignore[attr-defined]
    return model, model.examples(corpus.documents)


def run_ours(steps: int, documents: int, *, weights: Literal["lora", "full"] = "lora") -> dict[str, Any]:
    model, examples = setting()
    ORDER.append(InOrder(examples, documents))
    clock = Clock(steps)
    method = Fixed(weights=weights, steps=MANY, lr=LR if weights == "lora" else LR / 10, rank=RANK, scale=SCALE, warmup=0.0)
    with suppress(Done):
        method.train(model, Corpus((), (), {}), seed=0, checkpoints=clock, watch=clock)  # type: ignore[arg-type]
    tokens, flops = ORDER[0].taken - clock.begun_at, model.meter.get("train").flops
    return {"tokens_per_s": tokens / clock.seconds, "losses": clock.losses, "flops_per_s": flops / ORDER[0].taken * tokens / clock.seconds}


def run_trl(steps: int, documents: int, *, packed: bool) -> dict[str, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    model, examples = setting()
    count = (steps + 1) * documents * (3 if packed else 1)
    rows = Dataset.from_list([{"input_ids": examples[i % len(examples)].token.tolist()} for i in range(count)])

    class Timed(SFTTrainer):
        seen = taken = 0
        began = 0.0
        tokens = 0
        losses: list[float] = []

        def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
            if self.seen == 1:
                self.began, self.taken = now(), self.tokens
            mask = inputs.get("attention_mask")
            self.tokens += int(inputs["input_ids"].numel() if mask is None else mask.sum())
            loss = super().training_step(model, inputs, *rest)
            self.losses.append(float(loss))
            self.seen += 1
            self.control.should_training_stop = self.seen > steps
            return loss

    arguments = SFTConfig(
        output_dir="unused", use_cpu=True, bf16=True, per_device_train_batch_size=2 if packed else documents, max_steps=MANY, learning_rate=LR,
        lr_scheduler_type="linear", warmup_steps=0, adam_beta2=0.98, weight_decay=0.0, max_grad_norm=1.0, max_length=512, packing=packed,
        gradient_checkpointing=False, train_sampling_strategy="sequential", save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, seed=0,
    )  # fmt: skip
    lora = LoraConfig(r=RANK, lora_alpha=int(RANK * SCALE), lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    model.network.set_attn_implementation("sdpa")
    trainer = Timed(model=model.network, args=arguments, train_dataset=rows, peft_config=lora, processing_class=model.tokenizer)
    trainer.train()
    seconds = now() - trainer.began
    return {"tokens_per_s": (trainer.tokens - trainer.taken) / seconds, "losses": trainer.losses}


def run_peak() -> dict[str, Any]:
    """The best rate of bfloat16 matrix products found here, in FLOP/s."""
    best = 0.0
    for n in (512, 1024, 2048):
        a, b = torch.ones(n, n).bfloat16(), torch.ones(n, n).bfloat16()
        for _ in range(6):
            began = now()
            a @ b
            best = max(best, 2 * n**3 / (now() - began))
    return {"flops_per_s": best}


def contender(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One contender in a process of its own, with its peak memory."""
    command = [sys.executable, __file__, "--contender", name, "--threads", str(options.threads), "--steps", str(options.steps)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([*command, "--documents", str(options.documents)], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    load = os.getloadavg()[0]
    found = {name: contender(name, options) for name in ("peak", "ours", "ours_full", "trl", "trl_packed")}
    pairs = list(zip(found["ours"]["losses"], found["trl"]["losses"], strict=False))
    return {
        "date": date.today().isoformat(), "threads": options.threads, "steps": options.steps, "documents": options.documents, "load_before": round(load, 2),
        "clock": os.environ.get("BENCHMARK_CLOCK", "wall"), "torch": torch.__version__, **found,
        "share_of_peak": found["ours"]["flops_per_s"] / found["peak"]["flops_per_s"],
        "largest_loss_difference": max(abs(a - b) for a, b in pairs),
        "ratio": {name: found["ours"]["tokens_per_s"] / found[name]["tokens_per_s"] for name in ("trl", "trl_packed")},
    }  # fmt: skip


def describe(r: dict[str, Any]) -> str:
    rows = [f"{'':12}{'tokens/s':>10}{'peak memory':>14}   losses"]
    for name in ("ours", "ours_full", "trl", "trl_packed"):
        losses = " ".join(f"{loss:.3f}" for loss in r[name]["losses"])
        rows.append(f"{name:12}{r[name]['tokens_per_s']:>10,.0f}{r[name]['peak_memory_bytes'] / 2**20:>10,.0f} MiB   {losses}")
    ratio = r["ratio"]
    return "\n".join(
        [
            *rows,
            f"ours / trl: {ratio['trl']:.2f} x tokens/s without packing, {ratio['trl_packed']:.2f} x with; losses on the same documents within "
            f"{r['largest_loss_difference']:.3f} nats",
            f"ours runs at {r['share_of_peak']:.0%} of this machine's bfloat16 GEMM peak, everything included",
            f"{r['threads']} threads, {r['clock']} clock; load before: {r['load_before']} (others at work make every number worse)",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed")
    parser.add_argument("--documents", type=int, default=32, help="documents in a step")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.contender is None:
        result = measure(options)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write((json.dumps(result) if options.json else describe(result)) + "\n")
        return
    runs = {
        "peak": run_peak,
        "ours": lambda: run_ours(options.steps, options.documents),
        "ours_full": lambda: run_ours(options.steps, options.documents, weights="full"),
        "trl": lambda: run_trl(options.steps, options.documents, packed=False),
        "trl_packed": lambda: run_trl(options.steps, options.documents, packed=True),
    }
    found = runs[options.contender]()
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
