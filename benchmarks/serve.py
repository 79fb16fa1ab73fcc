"""`tolman serve` beside `transformers serve`: time to the first token and tokens per second of the same embedded model, asked by the same client, in one run.

    python benchmarks/serve.py [--model FOLDER] [--short] [--rounds 5] [--tokens 64] [--threads 1] [--dtype bfloat16] [--json]

Both servers run at once and are asked in turn, one request at a time, greedily and streamed; only the one that is asked computes. Two prompts: a question, and a question
after about 900 tokens of passages. The first round only warms up. `first` is from sending the request to the first text, `rate` is of the tokens after it, as medians.
Seconds of CPU time of each server process stand beside those of the clock, for machines that others use too: the ratios to trust there. Writes benchmarks/results/serve.json.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import openai
import transformers

from tolman.models._pretrained import embedded

RESULTS = Path(__file__).parent / "results" / "serve.json"
QUESTION = "Write a long story about a lighthouse keeper and the sea. Describe every day of the year."
PASSAGE = "The observatory on the cliff was founded in the year 18{:02d}, and keeper number {} of the northern lamp lived there with a dog, two clocks and a library. "
PROMPTS = {"question": QUESTION, "after passages": "".join(PASSAGE.format(i, i) for i in range(24)) + "\n\n" + QUESTION}
OURS = """
import sys
from tolman.app._answering import Alone
from tolman.app.serve import Limits, Service, listen
listening = listen("127.0.0.1", int(sys.argv[1]))
Service(Alone(sys.argv[2], dtype=sys.argv[3]), name="model", limits=Limits(max_tokens=4096, default_tokens=256)).run(listening)
"""
THEIRS = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(model: str, dtype: str, threads: int) -> Iterator[dict[str, tuple[str, str, int]]]:
    """Name -> (address, name of the model there, process id) of both servers, ready to answer."""
    ports, env = [free_port(), free_port()], os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    commands = {
        "tolman": [sys.executable, "-c", OURS, str(ports[0]), model, dtype],
        "transformers": [sys.executable, "-c", THEIRS, "serve", model, "--host", "127.0.0.1", "--port", str(ports[1]), "--device", "cpu", "--dtype", dtype],
    }
    processes = {name: subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name, command in commands.items()}
    try:
        found = {}
        for (name, process), port in zip(processes.items(), ports, strict=True):
            wait(f"http://127.0.0.1:{port}/health", name, process)
            found[name] = (f"http://127.0.0.1:{port}/v1", "model" if name == "tolman" else model, process.pid)
        yield found
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(30)


def free_port() -> int:
    with socket.socket() as any_:
        any_.bind(("127.0.0.1", 0))
        return any_.getsockname()[1]


def wait(url: str, name: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"{name} serve does not start here")
        try:
            if httpx.get(url, timeout=300).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit(f"{name} serve was not ready within 5 minutes")


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ask(address: str, model: str, pid: int, prompt: str, tokens: int) -> dict[str, Any]:
    """Seconds (clock and CPU) to the first text and from there to the last, and the text."""
    client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=600)
    began, used = time.perf_counter(), cpu_s(pid)
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=tokens, stream=True)
    first, first_cpu, last, text = 0.0, 0.0, 0.0, ""
    for chunk in stream:
        if chunk.choices and (piece := chunk.choices[0].delta.content):
            last = time.perf_counter()
            if not text:
                first, first_cpu = last, cpu_s(pid)
            text += piece
    return {"first_s": first - began, "rest_s": last - first, "first_cpu_s": first_cpu - used, "rest_cpu_s": cpu_s(pid) - first_cpu, "text": text}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    folder = options.model or str(embedded())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    result: dict[str, Any] = {
        "date": date.today().isoformat(), "model": Path(folder).name, "transformers": transformers.__version__, "threads": options.threads, "dtype": options.dtype,
        "rounds": options.rounds, "tokens": options.tokens, "load_before": round(os.getloadavg()[0], 2), "prompts": {},
    }  # fmt: skip
    with servers(folder, options.dtype, options.threads) as both:
        for label, prompt in list(PROMPTS.items())[: 1 if options.short else None]:
            rounds = [{name: ask(*server, prompt, options.tokens) for name, server in both.items()} for _ in range(options.rounds + 1)][1:]
            found: dict[str, Any] = {name: summary([r[name] for r in rounds], tokenizer) for name in both}
            ours, theirs = found["tolman"], found["transformers"]
            result["prompts"][label] = found | {
                "prompt_tokens": len(tokenizer(prompt)["input_ids"]), "same_text": rounds[0]["tolman"]["text"] == rounds[0]["transformers"]["text"],
                "ratios": {
                    "first": theirs["first_s"] / ours["first_s"], "rate": ours["tokens_per_s"] / theirs["tokens_per_s"],
                    "first_cpu": theirs["first_cpu_s"] / ours["first_cpu_s"], "rate_cpu": ours["tokens_per_cpu_s"] / theirs["tokens_per_cpu_s"],
                },
            }  # fmt: skip
    return result | {"load_after": round(os.getloadavg()[0], 2)}


def summary(answers: list[dict[str, Any]], tokenizer: Any) -> dict[str, float]:
    """Medians over rounds. Tokens after the first text are counted in the text."""
    rest = [len(tokenizer(a["text"], add_special_tokens=False)["input_ids"]) - 1 for a in answers]
    return {
        "first_s": statistics.median(a["first_s"] for a in answers), "first_cpu_s": statistics.median(a["first_cpu_s"] for a in answers),
        "tokens_per_s": statistics.median(n / a["rest_s"] for n, a in zip(rest, answers, strict=True)),
        "tokens_per_cpu_s": statistics.median(n / a["rest_cpu_s"] for n, a in zip(rest, answers, strict=True)), "tokens": statistics.median(rest) + 1,
    }  # fmt: skip


def describe(r: dict[str, Any]) -> str:
    lines = [f"{r['dtype']}, {r['threads']} threads, {r['rounds']} rounds, load {r['load_before']} before and {r['load_after']} after"]
    for label, found in r["prompts"].items():
        lines.append(f"{label} ({found['prompt_tokens']} tokens; the texts are {'the same' if found['same_text'] else 'not the same'}):")
        for name in ("tolman", "transformers"):
            one = found[name]
            first, rest = (
                f"{one['first_s']:6.2f} s ({one['first_cpu_s']:.2f} s CPU)",
                f"{one['tokens_per_s']:6.1f} tokens/s ({one['tokens_per_cpu_s']:.1f} per CPU s)",
            )
            lines.append(f"  {name:13} first token {first}, then {rest}")
        ratios = found["ratios"]
        lines.append(
            f"  tolman is {ratios['first']:.2f} x as fast to the first token, {ratios['rate']:.2f} x in tokens/s; "
            f"in CPU time {ratios['first_cpu']:.2f} x and {ratios['rate_cpu']:.2f} x"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", help="folder of another model that has a chat template")
    parser.add_argument("--short", action="store_true", help="the question alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    result = measure(options)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if options.json else describe(result))


if __name__ == "__main__":
    main()
