"""How fast `tiny` trains, beside a plain PyTorch loop and `transformers.Trainer`, measured in one run on this machine.

    python benchmarks/train_tiny.py [--threads 2] [--seconds 20] [--json]

All contenders have the same architecture (the plain network is loaded with our weights first and must give our loss), the same documents in the same
proportion (reversals, quick, with fresh in-context sequences) and the same target positions. Tokens are those of whole documents, padding not counted;
what ours leaves out because nothing after it is a target counts for all alike.

- `ours`: `Pretrain` on `Tiny`, default settings.
- `plain`: a loop in the manner of nanoGPT: float32, AdamW, warm-up, clipping, SDPA with the causal flag, logits at every position. The documents of a step are
  sorted by length and cut into padded micro-batches, as a competent user would: as many as are fastest here. Its learning rate is the fastest of three.
- `trainer`: `transformers.Trainer` on `Qwen3ForCausalLM`, float32, with its padding collator and batches of similar lengths.

Each contender runs in a process of its own, one after another; peak memory is that process's. Writes benchmarks/results/train_tiny.json.
On a machine that others use too, BENCHMARK_CLOCK=cpu with --threads 1 measures seconds of CPU time.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_loop import WARM_STEPS, PlainLoop, now, recall, setting, steps_of_documents, tokens_of

from tolman.core.data import Corpus
from tolman.core.packing import pack
from tolman.models.tiny import TinyModel

RESULTS = Path(__file__).parent / "results" / "train_tiny.json"
RECALL, EVERY = 0.99, 10
"""The recall to reach, and after how many steps it is looked at (off the clock)."""
LEARNING_RATES = (1e-3, 3e-3, 6e-3)
"""Of the plain loop: the fastest to reach RECALL counts."""
CUTS = (1, 2, 3, 4)
"""Micro-batches of a step of the plain loop."""


# -- ours --------------------------------------------------------------------------------------------------------------------------------------------


class Done(Exception):
    """Raised from within the loop when enough has been seen."""


class Clock:
    """A `Watch` that stops training after `seconds`, or, with `goal`, once the facts are recalled (looking is off the clock)."""

    def __init__(self, model: TinyModel, corpus: Corpus, seconds: float, goal: bool) -> None:
        self.model, self.corpus, self.seconds, self.goal = model, corpus, seconds, goal
        self.began = now()
        self.spent = self.flops = 0.0
        self.begin_step = self.steps = 0
        self.recall = float("nan")

    def step(self, step: int, steps: int, **values: float) -> None:
        if not self.goal and step == WARM_STEPS:
            self.began, self.begin_step, self.flops = now(), step, self.model.meter.get("train").flops
        self.spent, self.steps = now() - self.began, step
        if self.goal and step % EVERY == 0:
            self.recall = recall(self.model, self.corpus)
            self.began = now() - self.spent
            if self.recall >= RECALL:
                raise Done
        if self.spent > self.seconds and step > self.begin_step:
            self.flops = self.model.meter.get("train").flops - self.flops
            raise Done


class NoCheckpoints:
    def load(self) -> None:
        return None

    def due(self) -> bool:
        return False


def run_ours(seconds: float, goal: bool) -> dict[str, float]:
    corpus, model, method = setting()
    clock = Clock(model, corpus, seconds, goal)
    with suppress(Done):
        method.train(model, corpus, seed=0, checkpoints=NoCheckpoints(), watch=clock)  # type: ignore[arg-type]
    if goal:
        return {"seconds_to_recall": clock.spent if clock.recall >= RECALL else float("nan"), "recall": clock.recall, "steps": clock.steps}
    documents = steps_of_documents(corpus, model, method)
    sizes = [tokens_of(next(documents)) for _ in range(clock.steps)]
    return {
        "tokens_per_s": sum(sizes[clock.begin_step :]) / clock.spent,
        "flops_per_s": clock.flops / clock.spent,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "steps": clock.steps,
    }


def check_plain() -> None:
    """The plain network's loss on one step's documents is that of ours."""
    loop = PlainLoop(0.0, 2)
    documents = next(loop.documents)
    loop.tiny.trained_dtype = torch.float32  # type: ignore[misc]
    ours = float(loop.tiny.loss(pack(documents, max(map(len, documents)))).detach())
    assert abs(loop.step(documents) - ours) < 1e-4, "the plain network is not the same architecture"


def run_plain_cuts(seconds: float) -> dict[str, float]:
    """The fastest number of micro-batches."""
    check_plain()
    speed = {cuts: PlainLoop(1e-3, cuts).throughput(seconds / len(CUTS)) for cuts in CUTS}
    return {"cuts": max(speed, key=lambda c: speed[c])}


def run_plain_recall(seconds: float, cuts: int) -> dict[str, float]:
    """Seconds to recall at the best of LEARNING_RATES; each has until `seconds`, or until the best so far was done."""
    best_s, best_lr, best_recall = float("nan"), float("nan"), 0.0
    for lr in LEARNING_RATES:
        loop, spent = PlainLoop(lr, cuts), 0.0
        while spent < (seconds if np.isnan(best_s) else best_s):
            began = now()
            for _ in range(EVERY):
                loop.step(next(loop.documents))
            spent += now() - began
            reached = loop.recall()
            best_recall = max(best_recall, reached)
            if reached >= RECALL:
                best_s, best_lr = spent, lr
                break
    return {"seconds_to_recall": best_s, "lr": best_lr, "recall": best_recall}


# -- transformers.Trainer ----------------------------------------------------------------------------------------------------------------------------


def run_trainer(seconds: float) -> dict[str, float]:
    from transformers import (
        DataCollatorForSeq2Seq,
        PreTrainedTokenizerFast,
        Qwen3Config,
        Qwen3ForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    corpus, model, method = setting()
    steps = steps_of_documents(corpus, model, method)
    documents = list(chain.from_iterable(next(steps) for _ in range(200)))
    rows = [{"input_ids": e.token.tolist(), "labels": np.where(e.weight > 0, e.token, -100).tolist()} for e in documents]

    class Timer(TrainerCallback):
        began = spent = 0.0
        tokens = at_start = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == WARM_STEPS:
                self.began, self.at_start = now(), counted[0]
            elif state.global_step > WARM_STEPS:
                self.spent, self.tokens = now() - self.began, counted[0] - self.at_start
                control.should_training_stop = self.spent > seconds

    counted = [0]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model.words.tokenizer, pad_token="<|pad|>")
    pad = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)

    def collate(features: list[dict[str, Any]]) -> Any:
        counted[0] += sum(len(f["input_ids"]) for f in features)
        return pad(features)

    arguments = TrainingArguments(
        output_dir="unused", use_cpu=True, per_device_train_batch_size=len(documents) // 200, train_sampling_strategy="group_by_length", max_steps=100_000,
        learning_rate=1e-3, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, seed=0,
    )  # fmt: skip
    network = Qwen3ForCausalLM(Qwen3Config(**{k: v for k, v in model.hf_config().items() if k not in ("architectures", "model_type")}))
    timer = Timer()
    Trainer(model=network, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[timer]).train()  # type: ignore[arg-type]
    return {"tokens_per_s": timer.tokens / timer.spent, "documents_per_batch": len(documents) // 200}


# -- the machine, and putting it together ------------------------------------------------------------------------------------------------------------


def run_peak() -> dict[str, float]:
    """The best rate of matrix products found here, in FLOP/s."""
    best = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        rates = []
        for n in (512, 1024, 2048):
            a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
            for _ in range(12):
                began = now()
                a @ b
                rates.append(2 * n**3 / (now() - began))
        best[name] = max(rates)
    return best


def contender(name: str, threads: int, seconds: float, cuts: int) -> dict[str, float]:
    """One contender in a process of its own, with its peak memory."""
    command = [sys.executable, __file__, "--contender", name, "--threads", str(threads), "--seconds", str(seconds), "--cuts", str(cuts)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(threads: int, seconds: float) -> dict[str, Any]:
    load = os.getloadavg()[0]
    peak = contender("peak", threads, seconds, 0)
    cuts = int(contender("plain_cuts", threads, seconds, 0)["cuts"])
    ours, plain, trainer = (contender(name, threads, seconds, cuts) for name in ("ours", "plain", "trainer"))
    ours_recall, plain_recall = (contender(name, threads, 6 * seconds, cuts) for name in ("ours_recall", "plain_recall"))
    return {
        "date": date.today().isoformat(),
        "environment": {
            "cpu": _cpu(), "cores": os.cpu_count(), "threads": threads, "load_before": round(load, 2),
            "clock": os.environ.get("BENCHMARK_CLOCK", "wall"), "python": platform.python_version(), "torch": torch.__version__,
        },
        "peak_flops_per_s": {k: peak[k] for k in ("float32", "bfloat16")},
        "share_of_peak": {k: ours["flops_per_s"] / peak[k] for k in ("float32", "bfloat16")},
        "ours": ours | {"seconds_to_recall": ours_recall["seconds_to_recall"], "recall": ours_recall["recall"]},
        "plain": plain | {k: plain_recall[k] for k in ("seconds_to_recall", "lr", "recall")},
        "trainer": trainer,
        "ratio": {
            "tokens_per_s_over_plain": ours["tokens_per_s"] / plain["tokens_per_s"],
            "tokens_per_s_over_trainer": ours["tokens_per_s"] / trainer["tokens_per_s"],
            "seconds_to_recall_under_plain": plain_recall["seconds_to_recall"] / ours_recall["seconds_to_recall"],
        },
    }  # fmt: skip


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def describe(result: dict[str, Any]) -> str:
    ratio, share = result["ratio"], result["share_of_peak"]
    rows = [f"{'':10}{'tokens/s':>10}{'s to recall':>13}{'peak memory':>14}"]
    for name in ("ours", "plain", "trainer"):
        r = result[name]
        rows.append(f"{name:10}{r['tokens_per_s']:>10,.0f}{r.get('seconds_to_recall', float('nan')):>13.1f}{r['peak_memory_bytes'] / 2**20:>10,.0f} MiB")
    return "\n".join(
        [
            *rows,
            f"ours / plain: {ratio['tokens_per_s_over_plain']:.2f} x tokens/s, {ratio['seconds_to_recall_under_plain']:.2f} x sooner at recall >= {RECALL}",
            f"ours / trainer: {ratio['tokens_per_s_over_trainer']:.2f} x tokens/s",
            f"ours runs at {share['bfloat16']:.0%} of this machine's bfloat16 GEMM peak ({share['float32']:.0%} of the float32 one), everything included",
            f"load before: {result['environment']['load_before']} (others at work make every number worse)",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each throughput is measured")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--cuts", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.contender is None:
        result = measure(options.threads, options.seconds)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write((json.dumps(result) if options.json else describe(result)) + "\n")
        return
    runs = {
        "peak": run_peak,
        "ours": lambda: run_ours(options.seconds, goal=False),
        "ours_recall": lambda: run_ours(options.seconds, goal=True),
        "plain_cuts": lambda: run_plain_cuts(options.seconds),
        "plain": lambda: {"tokens_per_s": PlainLoop(1e-3, options.cuts).throughput(options.seconds), "cuts": options.cuts},
        "plain_recall": lambda: run_plain_recall(options.seconds, options.cuts),
        "trainer": lambda: run_trainer(options.seconds),
    }
    found = runs[options.contender]()
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
