"""How fast each dataset is built, and how its memory grows, beside a bare loop that writes as many documents.

    python benchmarks/build_datasets.py [DATASET ...] [--scales quick small] [--json]

Aims: 50,000 documents/s where documents are words in a row, 5,000/s where they are English texts, and memory that grows with the corpus, not with its square. No other
program builds these corpora, so the yardstick is `bare`: a loop that fills as many `Document`s, of as many words as these have on average, from a list of words.

Seconds are of CPU time (building uses one thread), so that other work on the machine does not count; each build runs in a process of its own, for its peak memory.
Datasets whose in-context sequences are off by default are built without and with them. Writes benchmarks/results/build_datasets.json.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path
from time import process_time
from typing import Any

from tolman.core.data import Document
from tolman.core.discovery import component, names

RESULTS = Path(__file__).parent / "results" / "build_datasets.json"
TOKEN_LEVEL = ("reversals", "codebooks", "two_hop", "co_occurrence", "cross_lingual", "mazes", "recall")
AIM = {True: 50_000, False: 5_000}
"""Documents per second: token-level, and language."""
FEW = 1000
"""With fewer documents a rate says little: it is mostly what happens once (such as deciding which syllogisms are valid)."""


def variants(name: str) -> list[dict[str, Any]]:
    """Field values to build a dataset with: as it is, and with in-context sequences where it has them but leaves them out."""
    fields = component(f"datasets/{name}").model_fields
    return [{}, {"episodes": "fresh"}] if "episodes" in fields and fields["episodes"].default == "none" else [{}]


def built(name: str, scale: str, fields: dict[str, Any]) -> dict[str, Any]:
    """One build, and the bare loop after it."""
    dataset = component(f"datasets/{name}").at(scale, **fields)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = process_time()
    corpus = dataset.build(0)  # type: ignore[attr-defined]
    seconds = process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    documents = len(corpus.documents)
    words = max(1, round(sum(d.text.count(" ") + d.text.count("\n") + 1 for d in corpus.documents) / documents))
    return {
        "dataset": name, "scale": scale, "fields": fields, "documents": documents, "questions": len(corpus.questions), "words": words, "seconds": seconds,
        "documents_per_s": documents / seconds, "bare_documents_per_s": documents / bare(documents, words), "aim": AIM[name in TOKEN_LEVEL],
        "memory_bytes": peak - before, "digest": corpus.digest(),
    }  # fmt: skip


def bare(documents: int, words: int) -> float:
    """Seconds in which a plain loop writes as many documents of as many words."""
    pool = [f"word{i}" for i in range(997)]
    began = process_time()
    made = [Document(f"document:{i}", " ".join(pool[(i * 31 + k * 7) % 997] for k in range(words))) for i in range(documents)]
    seconds = process_time() - began
    assert len(made) == documents
    return max(seconds, 1e-6)


def measure(datasets: list[str], scales: list[str]) -> dict[str, Any]:
    rows = []
    for name in datasets:
        for scale in component(f"datasets/{name}").scales:
            for fields in variants(name) if scale in scales else ():
                command = [sys.executable, __file__, "--one", name, scale, json.dumps(fields)]
                rows.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]))
                sys.stderr.write(line(rows[-1]) + "\n")
    return {"date": date.today().isoformat(), "python": platform.python_version(), "machine": platform.machine(), "clock": "cpu", "builds": rows}


def line(row: dict[str, Any]) -> str:
    what = f"{row['dataset']}, {row['scale']}" + (", in-context sequences" if row["fields"] else "")
    ratio, share = row["bare_documents_per_s"] / row["documents_per_s"], row["memory_bytes"] / row["documents"] / 1024
    slow = row["documents_per_s"] < row["aim"] and row["documents"] >= FEW
    reached = "  below the aim" if slow else ""
    return (
        f"{what:48}{row['documents']:>9,}{row['documents_per_s']:>11,.0f}/s{ratio:>8.1f} x bare{row['memory_bytes'] / 2**20:>8,.0f} MiB"
        f"{share:>7.1f} KiB each{reached}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("datasets", nargs="*", default=list(names("datasets")))
    parser.add_argument("--scales", nargs="+", default=["quick", "small", "large", "paper"])
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(built(options.one[0], options.one[1], json.loads(options.one[2]))) + "\n")
        return
    result = measure(options.datasets, options.scales)
    if options.datasets == list(names("datasets")):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write((json.dumps(result) if options.json else "\n".join(map(line, result["builds"]))) + "\n")


if __name__ == "__main__":
    main()
