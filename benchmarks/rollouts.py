"""How fast `tiny` samples groups of traces, beside `transformers` generate with the same weights, measured in one run on this machine.

    python benchmarks/rollouts.py [--threads 2] [--rounds 5] [--json]

Two settings on the world of `datasets/recall` (quick), up to 32 tokens at temperature 1: one group, 8 samples of one question; and a step of practice as in
`train_time/recall_rl`, 16 such groups. The weights are random, so that texts end at random lengths (about 15 tokens). `transformers` is given what suits it best:
prompts of one length, so that it pads nothing, `num_return_sequences`, its default cache; both run in float32. Tokens are counted up to the one that ends a text,
included. Contenders take turns, and the ratio is of their best rounds.
On a machine that others use too, BENCHMARK_CLOCK=cpu with --threads 1 measures seconds of CPU time. Writes benchmarks/results/rollouts.json.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from plain_loop import now
from transformers import AutoModelForCausalLM, PreTrainedModel

from tolman.core.data import Prompt
from tolman.core.thinking import ASK
from tolman.datasets.recall import Recall
from tolman.models.tiny import Tiny, TinyModel

RESULTS = Path(__file__).parent / "results" / "rollouts.json"
SAMPLES, TOKENS = 8, 32
SETTINGS = {"one group": 1, "16 groups": 16}
"""Name -> questions at a time."""


def setting() -> tuple[TinyModel, PreTrainedModel, list[Prompt]]:
    """Our model, `transformers`' with its weights, and requests of one length."""
    corpus = Recall(episode_count=100).build(0)
    model = Tiny().create(corpus, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, theirs, [Prompt(ASK.format(question=q.prompt)) for q in corpus.asked(["two_hop"], split="practice")[: max(SETTINGS.values())]]


def ours(model: TinyModel, prompts: list[Prompt], seed: int) -> int:
    """Tokens sampled."""
    return sum(t.tokens for row in model.generate(prompts, max_tokens=TOKENS, samples=SAMPLES, temperature=1.0, seed=seed) for t in row)


def theirs(model: PreTrainedModel, token_BT: torch.Tensor, stops: list[int], seed: int) -> int:
    """Tokens sampled."""
    torch.manual_seed(seed)
    out_NT = model.generate(  # type: ignore[operator]
        token_BT, attention_mask=torch.ones_like(token_BT), do_sample=True, temperature=1.0, top_k=0, max_new_tokens=TOKENS, num_return_sequences=SAMPLES,
        eos_token_id=stops, pad_token_id=stops[0],
    )[:, token_BT.shape[1] :]  # fmt: skip
    ended_NT = torch.isin(out_NT, torch.tensor(stops))
    return int((ended_NT.cumsum(1) - ended_NT.int() == 0).sum())


def rates(model: TinyModel, other: PreTrainedModel, prompts: list[Prompt], rounds: int) -> dict[str, float]:
    """Tokens per second of each contender in its best round. The first round only warms up."""
    token_BT = torch.tensor([ids.tolist() for ids in model.words.encode([model.render(p) for p in prompts])])
    stops = [model.words.pad, model.words.document, model.words.line_break]
    contenders: dict[str, Callable[[int], int]] = {
        "tolman": lambda seed: ours(model, prompts, seed),
        "transformers": lambda seed: theirs(other, token_BT, stops, seed),
    }
    found = dict.fromkeys(contenders, 0.0)
    for seed in range(rounds + 1):
        for name, run in contenders.items():
            began = now()
            tokens = run(seed)
            if seed:
                found[name] = max(found[name], tokens / (now() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, other, prompts = setting()
    result: dict[str, Any] = {
        "date": date.today().isoformat(), "machine": platform.machine(), "torch": torch.__version__, "threads": given.threads, "rounds": given.rounds,
        "samples": SAMPLES, "max_tokens": TOKENS, "settings": {},
    }  # fmt: skip
    for name, questions in SETTINGS.items():
        found = rates(model, other, prompts[:questions], given.rounds)
        ratio = round(found["tolman"] / found["transformers"], 2)
        result["settings"][name] = {"tokens_per_s": {k: round(v) for k, v in found.items()}, "ratio": ratio}
        if not given.json:
            print(f"{name}: sampled tokens/s: {', '.join(f'{k} {v:,.0f}' for k, v in found.items())}; ratio {ratio}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
