"""100 questions with 4 candidates each over one context of 2,000 tokens: `hf` beside lm-evaluation-harness's `hf` backend, in one run, item by item.

    python benchmarks/score_in_context.py [--questions 100] [--peer-questions 100] [--threads 2] [--dtype bfloat16] [--json]

Both have the embedded SmolLM2-135M-Instruct in the same precision and read the same token ids. The harness reads the context anew for every candidate (a batch is the candidates of
one question, in which it is fastest here); as it is slow, it may be given fewer questions, and its time for all is then taken in proportion (said in the output).

`unique` is what the tokens would cost if each were read once and nothing else: plain forward passes of 512 tokens, as many as there are unique tokens, that see no context.
On a machine that others use too, BENCHMARK_CLOCK=cpu with --threads 1 measures seconds of CPU time.
"""

import argparse
import importlib.util
import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch
from plain_loop import now

from tolman.core.data import Corpus, Prompt
from tolman.core.discovery import component
from tolman.models._forest import READ_TOKENS
from tolman.models.hf import Hf, HfModel

RESULTS = Path(__file__).parent / "results" / "score_in_context.json"
CANDIDATES = 4


def questions(model: HfModel, count: int, context_tokens: int) -> tuple[list[Prompt], list[tuple[str, ...]], list[int]]:
    """Prompts over one context of about `context_tokens` tokens, their candidates, and which of these is right: the people of celebrities, asked in both directions."""
    corpus = component("datasets/celebrities").at("small").build(0)  # type: ignore[attr-defined]
    asked = corpus.asked()
    texts: dict[str, int] = {}
    for question in asked:
        for id in question.support:
            texts.setdefault(corpus.by_id[id].text, len(model.encode([corpus.by_id[id].text + "\n"])[0]))
        if sum(texts.values()) >= context_tokens:
            break
    chosen = [q for q in asked if all(corpus.by_id[s].text in texts for s in q.support) and len(q.choices) >= CANDIDATES]
    chosen = [chosen[i % len(chosen)] for i in range(count)]
    rows = []
    for i, question in enumerate(chosen):
        others = [c for c in question.choices if c not in question.answers][: CANDIDATES - 1]
        rows.append((*others[: i % CANDIDATES], question.answers[0], *others[i % CANDIDATES :]))
    return [Prompt(q.prompt, tuple(texts)) for q in chosen], rows, [i % CANDIDATES for i in range(count)]


def run_peer(model: HfModel, prompts: list[Prompt], candidates: list[tuple[str, ...]], dtype: torch.dtype) -> tuple[list[list[float]], float]:
    """The harness's scores and seconds, with a network of its own in its default attention."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    from tolman.models._pretrained import embedded

    network = AutoModelForCausalLM.from_pretrained(embedded(), dtype=dtype).eval()
    harness = HFLM(pretrained=network, tokenizer=model.tokenizer, batch_size=CANDIDATES, device="cpu", max_length=model.context_tokens)
    requests = [
        Instance("loglikelihood", {}, (model.render(prompt), model.template.separator(prompt) + candidate), i)
        for i, (prompt, row) in enumerate(zip(prompts, candidates, strict=True))
        for candidate in row
    ]
    began = now()
    found = [nats for nats, _ in harness.loglikelihood(requests, disable_tqdm=True)]
    seconds = now() - began
    return [found[i : i + CANDIDATES] for i in range(0, len(found), CANDIDATES)], seconds


@torch.inference_mode()
def seconds_of_unique(model: HfModel, tokens: int) -> float:
    """Seconds of plain forward passes over as many tokens, measured on three passes."""
    token_1T = torch.arange(READ_TOKENS)[None] + 100
    model.network(token_1T, logits_to_keep=1)
    began = now()
    for _ in range(3):
        model.network(token_1T, logits_to_keep=1)
    return (now() - began) / 3 * tokens / READ_TOKENS


def measure(options: argparse.Namespace) -> dict[str, Any]:
    load = os.getloadavg()[0]
    model = Hf(dtype=options.dtype).create(Corpus((), (), {}), seed=0)
    prompts, candidates, right = questions(model, options.questions, options.context)
    model.score(prompts[:1], [row[:1] for row in candidates[:1]])  # warm
    before, began = model.meter.get("train").tokens, now()
    ours = model.score(prompts, candidates)
    seconds = now() - began
    unique_tokens = model.meter.get("train").tokens - before
    unique_s = seconds_of_unique(model, unique_tokens)
    peers = min(options.peer_questions, len(prompts))
    theirs, peer_seconds = run_peer(model, prompts[:peers], candidates[:peers], getattr(torch, options.dtype))
    best, their_best = ([max(range(CANDIDATES), key=row.__getitem__) for row in rows] for rows in (ours[:peers], theirs))
    margins = [sorted(row)[-1] - sorted(row)[-2] for row, a, b in zip(theirs, best, their_best, strict=True) if a != b]
    peer_all_s = peer_seconds * len(prompts) / peers
    return {
        "date": date.today().isoformat(), "threads": options.threads, "dtype": options.dtype, "load_before": round(load, 2),
        "clock": os.environ.get("BENCHMARK_CLOCK", "wall"), "torch": torch.__version__,
        "questions": len(prompts), "context_tokens": len(model.encode([model.render(prompts[0])])[0]), "unique_tokens": unique_tokens,
        "accuracy": sum(a == b for a, b in zip([max(range(CANDIDATES), key=row.__getitem__) for row in ours], right, strict=True)) / len(right),
        "seconds": seconds, "unique_s": unique_s, "peer_questions": peers, "peer_s": peer_seconds, "peer_all_s": peer_all_s,
        "same_answers": sum(a == b for a, b in zip(best, their_best, strict=True)), "largest_margin_where_not": max(margins, default=0.0),
        "largest_difference_nats": max(abs(a - b) for x, y in zip(ours[:peers], theirs, strict=True) for a, b in zip(x, y, strict=True)),
        "ratio": peer_all_s / seconds, "over_unique": seconds / unique_s,
    }  # fmt: skip


def describe(r: dict[str, Any]) -> str:
    proportion = "" if r["peer_questions"] == r["questions"] else f" (measured on {r['peer_questions']} questions: {r['peer_s']:.1f} s, the rest in proportion)"
    return "\n".join(
        [
            f"{r['questions']} questions x {CANDIDATES} candidates over {r['context_tokens']} tokens of context, {r['dtype']}, {r['threads']} threads, {r['clock']} clock",
            f"ours    {r['seconds']:8.1f} s, accuracy {r['accuracy']:.2f}",
            f"harness {r['peer_all_s']:8.1f} s{proportion}",
            f"ours is {r['ratio']:.0f} x as fast; {r['same_answers']} of {r['peer_questions']} answers are the same, log-probabilities within "
            f"{r['largest_difference_nats']:.4f} nats"
            + (f", answers differ by up to {r['largest_margin_where_not']:.3f} nats" if r["largest_margin_where_not"] else ""),
            f"{r['unique_tokens']} unique tokens would take {r['unique_s']:.1f} s if each saw no context: ours takes {r['over_unique']:.2f} x that",
            f"load before: {r['load_before']} (others at work make every number worse)",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--peer-questions", type=int, default=100, help="how many of them the harness is given")
    parser.add_argument("--context", type=int, default=2000, help="tokens of context")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    if importlib.util.find_spec("lm_eval") is None:
        sys.exit("the peer, lm-evaluation-harness, is not installed here: pip install lm-eval")
    torch.set_num_threads(options.threads)
    result = measure(options)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write((json.dumps(result) if options.json else describe(result)) + "\n")


if __name__ == "__main__":
    main()
