"""The persistent memory: what it finds and in which order, that every change is whole, that what is forgotten is gone, from the bytes too."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tolman.core.errors import UserError
from tolman.memory import _episodes
from tolman.memory._episodes import Episode, Episodes
from tolman.memory.episodic import Episodic

STOP = {"the", "of", "a", "is", "in", "and", "to"}


def episode(file: str, text: str, n: int = 1) -> Episode:
    return Episode(f"{file}:{n}", file, "", text, n, n)


@pytest.fixture
def store(tmp_path: Path) -> Episodes:
    return Episodes(tmp_path / "memory")


def ids(found) -> list[str]:
    return [f.episode.id for f in found]


def test_what_is_added_is_found_and_what_is_forgotten_is_not_by_other_handles_too(store):
    other = Episodes(store.folder)
    assert other.search("zebra", k=3) == [] and len(other) == 0 and other.files() == {}
    store.add([episode("a.md", "The zebra eats grass."), episode("it's.md", "Kelp is a weed of the sea.")])
    assert ids(other.search("Who eats grass?", k=1)) == ["a.md:1"] and len(other) == 2 and other.files() == {"a.md": 1, "it's.md": 1}
    assert list(other.all()) == [episode("a.md", "The zebra eats grass."), episode("it's.md", "Kelp is a weed of the sea.")]
    store.add([episode("a.md", "The zebra sleeps."), episode("a.md", "It dreams of lions.", 2)])
    assert other.files() == {"a.md": 2, "it's.md": 1} and ids(other.search("grass", k=3, way="words")) == []
    assert store.forget(["it's.md", "unknown.md"]) == 1 and store.forget([]) == 0
    assert ids(other.search("weed of the sea", k=3, way="words")) == [] and other.files() == {"a.md": 2}
    store.add([episode("b.md", "Weed grows again.")])
    assert ids(other.search("weed", k=1)) == ["b.md:1"]


@pytest.mark.parametrize("text", ["", "   ", "the of and", '"AND" (OR) NOT: text:* ~^', "\u2603\u2603", "x" * 5000, "one " * 3000, "it's '; drop table"])
def test_any_text_can_be_looked_for(store, text):
    store.add([episode("a.md", "The zebra eats grass.")])
    assert all(0 <= f.score <= 2 / 61 for f in store.search(text, k=3))


def bm25(texts: list[str], query: str, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Robertson's formula with Lucene's idf, written down once more."""
    documents = [[w for w in re.findall(r"\w+", t.lower()) if w not in STOP] for t in texts]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        total = 0.0
        for w in dict.fromkeys(re.findall(r"\w+", query.lower())):
            n, tf = sum(w in d for d in documents), words.count(w)
            if tf and w not in STOP:
                total += math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(words) / mean))
        scores.append(total)
    return scores


def test_the_ranking_by_words_is_bm25_and_the_fused_one_is_by_reciprocal_ranks(store):
    draw = np.random.default_rng(0)
    vocabulary = "apple banana cherry date elder fig grape hazel iris juniper kiwi lemon".split()
    texts = [" ".join(draw.choice(vocabulary, draw.integers(4, 12))) for _ in range(25)]
    store.add([episode("a", t, i) for i, t in enumerate(texts)])
    query = "the cherry and hazel of juniper"
    wanted = sorted((i for i, s in enumerate(bm25(texts, query)) if s > 0), key=lambda i: (-round(bm25(texts, query)[i], 4), i))
    words = store.search(query, k=40, way="words", candidates=40)
    assert ids(words) == [f"a:{i}" for i in wanted] and [f.word_rank for f in words] == list(range(1, len(words) + 1))
    vectors = store.search(query, k=40, way="vectors", candidates=40, least_similarity=-1)
    unit = store._vectors([query, *texts])
    cosine = unit[1:] @ unit[0]
    assert ids(vectors) == [f"a:{i}" for i in np.argsort(-cosine.round(6), kind="stable")]
    assert [f.similarity for f in vectors] == pytest.approx(sorted(cosine, reverse=True), abs=1e-5)
    ranks = [{id: r for r, id in enumerate(ids(found), start=1)} for found in (words, vectors)]
    fused = {id: sum(1 / (60 + r[id]) for r in ranks if id in r) for id in ranks[1]}
    both = store.search(query, k=5, candidates=40, least_similarity=-1)
    assert [f.score for f in both] == pytest.approx(sorted(fused.values(), reverse=True)[:5])
    assert all(f.score == pytest.approx(fused[f.episode.id]) for f in both)


def test_what_shares_no_word_must_be_similar(store):
    store.add([episode("a", "The physician healed her patient."), episode("b", "Granite is a hard stone.")])
    (found,) = store.search("doctor", k=2, least_similarity=0.25)
    assert found.episode.id == "a:1" and found.word_rank is None and found.similarity > 0.25
    assert store.search("doctor", k=2, least_similarity=0.9) == []
    assert ids(store.search("stone doctor", k=2, least_similarity=0.9)) == ["b:1"]


def test_forgotten_text_is_in_no_file_any_more(store):
    secret = "Quetzalcoatlus"
    store.add([episode("a", f"The {secret} was seen."), *(episode("b", f"number {i}", i) for i in range(50))])
    holds = lambda: [p for p in store.folder.rglob("*") if p.is_file() and secret.lower() in p.read_bytes().decode("latin-1").lower()]  # noqa: E731
    assert holds(), "the text should be readable in the files before it is forgotten"
    store.add([episode("a", f"The {secret} was seen again.")])
    store.forget(["a"])
    assert holds() == [] and len(store) == 50 and len(store.search("number 7", k=3)) == 3


def test_indexes_change_nothing_but_the_time(store, monkeypatch):
    """With indexes brought up to date after every few rows, the same is found (all partitions of the vectors looked into)."""
    draw = np.random.default_rng(1)
    texts = [" ".join(f"w{j}" for j in draw.integers(0, 200, 12)) for _ in range(400)]
    episodes = [episode(f"f{i // 20}", t, i) for i, t in enumerate(texts)]
    store.add(episodes)
    for name, value in (("UNINDEXED", 50), ("INDEXED", 300), ("PARTITION", 30), ("FRAGMENTS", 6), ("PROBES", 1000)):
        monkeypatch.setattr(_episodes, name, value)
    tended = Episodes(store.folder.with_name("tended"))
    for at in range(0, 400, 40):
        tended.add(episodes[at : at + 40])
    assert {c for i in tended.table.list_indices() for c in i.columns} == {"text", "vector"}
    for query in ("w3 w17 w99", "w150", "w7 w8 w9 w10 w11"):
        for way in ("vectors", "words"):
            plain, indexed = (ids(s.search(query, k=400, way=way, candidates=400, least_similarity=-1)) for s in (store, tended))
            # LanceDB weighs words by the part of the index that they are in, so their order may differ
            assert plain == indexed if way == "vectors" else set(plain) == set(indexed) and len(plain) > 20


def test_searches_of_several_threads_read_the_rows_that_they_found_while_rows_move(store, monkeypatch):
    """Row ids hold for one version of the table, and every addition here moves the rows to new ones."""
    monkeypatch.setattr(_episodes, "FRAGMENTS", 1)
    store.add([episode(f"f{i}", f"word{i} of many", i) for i in range(40)])
    ended, wrong = threading.Event(), []

    def look(first: int) -> None:
        while not ended.is_set():
            for i in range(first, 40, 3):
                found = store.search(f"word{i}", k=1, way="words")
                wrong.extend([(i, f.episode) for f in found if f.episode.text != f"word{i} of many"] if found else [(i, None)])

    threads = [threading.Thread(target=look, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    other = Episodes(store.folder)
    for n in range(8):
        other.add([episode(f"g{n}", f"more{n}", i) for i in range(5)])
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(store) == 80


WRITER = """
import sys
from pathlib import Path
from tolman.memory._episodes import Episode, Episodes
store = Episodes(Path(sys.argv[1]))
for n in range(1000):
    print("begin", n, flush=True)
    store.add([Episode(f"file{n % 40}:{i}", f"file{n % 40}", "", f"round {n} passage {i} zebra", i, i) for i in range(7)])
    if n % 5 == 4:
        store.forget([f"file{n % 40 - 2}"])
"""


@pytest.mark.parametrize("killed_at", [12])
def test_killed_in_mid_add_it_holds_all_of_a_file_or_nothing(tmp_path, killed_at):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "m")], stdout=subprocess.PIPE, text=True, env=env)
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.split() == ["begin", str(killed_at)]:
            time.sleep(0.004)  # an addition takes 20 ms and more
            writer.send_signal(signal.SIGKILL)
            break
    assert writer.wait() == -signal.SIGKILL
    store = Episodes(tmp_path / "m")
    assert set(store.files().values()) == {7}, store.files()
    rounds: dict[str, set[str]] = {}
    for e in store.all():
        rounds.setdefault(e.file, set()).add(e.text.split()[1])
    assert all(len(r) == 1 for r in rounds.values()), "a file of two versions"
    assert set(rounds) >= {f"file{n}" for n in range(killed_at)} - {f"file{n - 2}" for n in range(4, killed_at + 1, 5)}
    store.add([episode("after", "a quagga")])
    assert ids(store.search("quagga", k=1)) == ["after:1"] and len(store.search("zebra", k=5)) == 5


def test_what_cannot_be_opened_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="holds no memory that can be opened"):
        Episodes(tmp_path / "file")
    (tmp_path / "m" / "episodes.lance").mkdir(parents=True)
    (tmp_path / "m" / "episodes.lance" / "_versions").write_text("no table")
    with pytest.raises(UserError, match="holds no memory that can be opened"):
        Episodes(tmp_path / "m")
    monkeypatch.setattr(_episodes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install lancedb"):
        Episodic().open(tmp_path / "x")
