"""The persistent memory at 100,000 passages: adding (is it linear?), searching (p50, p99), what the vectors miss, bytes; beside BM25 in memory, built anew.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--passages 100000] [--searches 200]

Passages are 60 words, drawn as often as they stand in this repository's prose, with two made-up names each; questions name one of them, and five common words.
Milliseconds are of the wall clock, with the processor's (`cpu_ms`) beside them: on a machine that others use too, these say more. Searching is measured
after adding, and when still more was added; how much is in no index then, and is searched without one, stands beside it. Writes benchmarks/results/memory.json.
"""

import argparse
import json
import os
import re
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tolman.core.data import Corpus, Document, Question
from tolman.core.seeds import rng
from tolman.memory._episodes import Episode, Episodes
from tolman.memory.bm25 import Bm25

ROOT = Path(__file__).parents[1]
BATCH = 1_000
REPORTED = (10_000, 50_000, 100_000)
NEAREST = 40
"""So many of the nearest vectors are compared with those that an exact search finds: as many as are fused."""
RESULTS = Path(__file__).parent / "results" / "memory.json"


def vocabulary() -> tuple[list[str], np.ndarray]:
    """The words of the prose in the repository, and how often each stands there."""
    texts = [
        p.read_text(encoding="utf-8")
        for folder in ("docs", "src/tolman/train_time/general")
        for p in sorted((ROOT / folder).rglob("*"))
        if p.suffix in (".md", ".txt", ".jsonl")
    ]
    counts = Counter(word for text in texts for word in re.findall(r"[a-z]{1,15}", text.lower()))
    words, n = zip(*counts.most_common(), strict=True)
    return list(words), np.asarray(n, float) / sum(n)


def name(i: int) -> str:
    """A made-up name of its own for each number."""
    syllables = "ba co du fe gi ho ju ka le mi no pu ra se ti vo".split()
    return "".join(syllables[i >> shift & 15] for shift in (16, 12, 8, 4, 0)).capitalize()


def passages(n: int) -> list[Episode]:
    draw, (words, share) = rng(0, "benchmark", "memory"), vocabulary()
    drawn = draw.choice(len(words), (n, 60), p=share)
    texts = (f"{name(i)} met {name(2 * i + 1)}. {' '.join(words[j] for j in row)}." for i, row in enumerate(drawn.tolist()))
    return [Episode(f"file{i // 50}:{i % 50 + 1}", f"file{i // 50}", "", text, 0, len(text)) for i, text in enumerate(texts)]


def questions(n: int, searches: int) -> list[tuple[str, int]]:
    draw, (words, share) = rng(1, "benchmark", "memory"), vocabulary()
    chosen = draw.choice(n, searches, replace=False).tolist()
    drawn = draw.choice(len(words), (searches, 5), p=share).tolist()
    return [(f"Who met {name(2 * i + 1)} when {' '.join(words[j] for j in row)}?", i) for i, row in zip(chosen, drawn, strict=True)]


def timed(ask: Callable[[str], bool], asked: list[tuple[str, int]]) -> dict[str, float]:
    """Milliseconds of a search and the share that found what was asked for, after five searches to warm up."""
    for text, _ in asked[:5]:
        ask(text)
    spent, found, cpu = [], 0, time.process_time()
    for text, i in asked:
        began = time.perf_counter()
        found += ask(f"{text}\0{i}")
        spent.append(1000 * (time.perf_counter() - began))
    return {
        "p50_ms": float(np.percentile(spent, 50)),
        "p99_ms": float(np.percentile(spent, 99)),
        "cpu_ms": 1000 * (time.process_time() - cpu) / len(asked),
        "found": found / len(asked),
    }


def resident_mib() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


said: list[dict[str, object]] = []


def say(what: str, **values: object) -> None:
    said.append({"what": what, **{k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}})
    print(json.dumps(said[-1]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    n, load = given.passages, os.getloadavg()[0]
    everything, asked = passages(n + n // 50), questions(n, given.searches)
    folder = Path(tempfile.mkdtemp(prefix="tolman-"))
    try:
        store = Episodes(folder)
        add(store, everything[:n])
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        say("memory", resident_mib=resident_mib(), disk_mib=size / 2**20, raw_text_mib=sum(len(e.text) for e in everything[:n]) / 2**20)
        for way in ("both", "words", "vectors"):
            say(f"search, {way}", passages=n, in_no_index=unindexed(store), **timed(by_store(store, everything, way), asked))
        say(f"the {NEAREST} nearest vectors", found=recall(store, [text for text, _ in asked]))
        store.add(everything[n:])
        for way in ("both", "words", "vectors"):
            say(f"search, {way}, after more was added", in_no_index=unindexed(store), **timed(by_store(store, everything, way), asked))
        began, cpu = time.perf_counter(), time.process_time()
        gone = store.forget(["file7"])
        say("forgot a file, bytes included", passages=gone, seconds=time.perf_counter() - began, cpu_s=time.process_time() - cpu)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    peers(everything[:n], asked)
    machine = {"date": datetime.now(UTC).date().isoformat(), "cores": os.cpu_count(), "load_before": round(load, 2), "load_after": round(os.getloadavg()[0], 2)}
    given.out.write_text(json.dumps(machine | {"said": said}, indent=1) + "\n")


def add(store: Episodes, episodes: Sequence[Episode]) -> None:
    """Add `episodes` in batches, and say how long it took."""
    spent, last, at, cpu = 0.0, 0.0, 0, time.process_time()
    for done in range(BATCH, len(episodes) + BATCH, BATCH):
        began = time.perf_counter()
        store.add(episodes[done - BATCH : done])
        spent += time.perf_counter() - began
        if done in REPORTED or done >= len(episodes):
            say("added", passages=done, seconds=spent, per_s_since_last=(done - at) / (spent - last), per_s=done / spent, cpu_s=time.process_time() - cpu)
            last, at = spent, done


def by_store(store: Episodes, everything: Sequence[Episode], way: str) -> Callable[[str], bool]:
    """A search for a question, which says whether the passage whose number follows it was found."""

    def ask(text: str) -> bool:
        question, _, wanted = text.partition("\0")
        found = store.search(question, k=4, way=way, least_similarity=0.25)  # type: ignore[arg-type]
        return bool(wanted) and any(f.episode.id == everything[int(wanted)].id for f in found)

    return ask


def unindexed(store: Episodes) -> dict[str, int]:
    """Column -> rows that its index does not hold."""
    return {i.columns[0]: store.table.index_stats(i.name).num_unindexed_rows for i in store.table.list_indices()}


def recall(store: Episodes, texts: Sequence[str]) -> float:
    """The share of the nearest vectors, all compared by NumPy, that the store finds."""
    table = store.table.search().select(["id", "vector"]).limit(len(store)).to_arrow().combine_chunks()
    ids, vector_ND = np.asarray(table["id"].to_pylist()), np.asarray(table["vector"].chunk(0).values).reshape(len(table), -1)
    shares = []
    for text in texts:
        nearest = set(ids[np.argsort(-(vector_ND @ store._vectors([text])[0]))[:NEAREST]].tolist())
        found = store.search(text, k=NEAREST, way="vectors", candidates=NEAREST, least_similarity=-1)
        shares.append(len(nearest & {f.episode.id for f in found}) / NEAREST)
    return float(np.mean(shares))


def peers(everything: list[Episode], asked: list[tuple[str, int]]) -> None:
    """BM25 in memory, built anew; vectors in NumPy, all compared."""
    corpus = Corpus(tuple(Document(e.id, e.text) for e in everything), (), {})
    retriever = Bm25()
    began, cpu = time.perf_counter(), time.process_time()
    retriever.retrieve(corpus, [Question("", "", "nobody", (), "")], seed=0)
    say(
        "peer memory/bm25: build anew",
        passages=len(everything),
        seconds=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        resident_mib=resident_mib(),
    )

    def by_bm25(text: str) -> bool:
        question, _, wanted = text.partition("\0")
        (found,) = retriever.retrieve(corpus, [Question("", "", question, (), "")], seed=0)
        return bool(wanted) and any(d.id == everything[int(wanted)].id for d in found)

    say("peer memory/bm25: search", **timed(by_bm25, asked))


if __name__ == "__main__":
    main()
