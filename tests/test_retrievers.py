"""BM25 against the formula in NumPy, static embeddings against the library that they come from, rank fusion against the closed form; what a copy of a document counts for."""

import importlib.util
import io
import json
import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.numpy import load_file

import report_frames
from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question
from tolman.core.discovery import component
from tolman.core.errors import UserError
from tolman.datasets.reversals import Reversals
from tolman.datasets.two_hop import TwoHop
from tolman.memory import dense
from tolman.memory.bm25 import Bm25, words
from tolman.memory.dense import Dense
from tolman.memory.hybrid import Hybrid
from tolman.memory.oracle import Oracle
from tolman.models.bigram import Bigram
from tolman.report import _table, summary, terminal
from tolman.run.cell import Cell
from tolman.run.execute import answer
from tolman.run.frames import Frames, recall
from tolman.run.plan import result_rows
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.testing import smallest
from tolman.testing._world import world
from tolman.train_time.untrained import Untrained


def corpus(texts: list[str], *prompts: str, support: tuple[str, ...] = ()) -> Corpus:
    questions = tuple(Question(str(i), "k", p, ("x",), str(i), support) for i, p in enumerate(prompts))
    return Corpus(tuple(Document(str(i), text) for i, text in enumerate(texts)), questions, {"k": Kind("a kind")})


def ids(retriever: Component, made: Corpus) -> list[list[int]]:
    """Positions of what is found, best first."""
    return [[int(d.id) for d in reversed(found)] for found in retriever.retrieve(made, made.questions, seed=0)]  # type: ignore[attr-defined]


# -- BM25 -------------------------------------------------------------------------------------------------------------------------------------------------


def robertson(texts: list[str], prompt: str, k1: float, b: float) -> np.ndarray:
    """Robertson and Zaragoza 2009, equation 3.15, with ln(1 + (N - n + .5) / (n + .5)) for the idf; occurrences in the question count each."""
    tokens = [text.lower().split() for text in texts]
    length = np.array([len(t) for t in tokens], float)
    score = np.zeros(len(texts))
    for word in prompt.lower().split():
        tf = np.array([t.count(word) for t in tokens], float)
        n = (tf > 0).sum()
        score += math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) * tf / (k1 * (1 - b + b * length / length.mean()) + tf)
    return score


WORDS = st.lists(st.sampled_from(["Bade", "Kilo", "Mu", "q", "inside", "owned_by", "the", "f01"]), min_size=1, max_size=8).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12), WORDS, st.sampled_from([0.3, 0.9, 1.5]), st.sampled_from([0.0, 0.75, 1.0]))
def test_bm25_ranks_by_the_formula(texts, prompt, k1, b):
    expected = robertson(texts, prompt, k1, b)
    order = [i for i in sorted(range(len(texts)), key=lambda i: (-round(expected[i], 6), i)) if expected[i] > 0]
    assert ids(Bm25(k=5, k1=k1, b=b), corpus(texts, prompt)) == [order[:5]]


def test_bm25_sees_whole_words_of_any_kind():
    assert words("B inside A-1, Öl: owned_by_Ş!") == ["b", "inside", "a", "1", "öl", "owned_by_ş"]
    made = corpus(["A contains B", "C contains D", "B_2 contains E", "the b"], "b inside", "who contains?", "zzz", "?", "The THE")
    assert ids(Bm25(k=9), made) == [[3, 0], [0, 1, 2], [], [], [3]]


def test_without_any_word_nothing_is_found():
    assert ids(Bm25(), corpus(["!!", "..."], "B inside")) == [[]]
    assert ids(Bm25(), corpus([], "B inside")) == [[]]


def test_ties_go_to_the_earlier_document_whatever_the_order_of_words():
    texts = ["Ulm feeds Vik", "Vik feeds Ulm", "feeds Vik Ulm"] * 3
    for retriever in (Bm25(k=9), Dense(k=9), Hybrid(first=Bm25(k=9), second=Dense(k=9), k=9)):
        assert ids(retriever, corpus(texts, "Vik feeds")) == [list(range(9))], retriever


def test_the_index_is_built_once_for_a_corpus(monkeypatch):
    built = []
    plain = Bm25._index
    monkeypatch.setattr(Bm25, "_index", lambda self, documents: (built.append(self.b), plain(self, documents))[1])
    made, other = world(), world(1)
    for k in (1, 3):
        for question in made.asked():
            Bm25(k=k).retrieve(made, [question], seed=0)
    assert built == [0.75]
    Bm25(b=0.5).retrieve(made, made.asked(), seed=0)
    Bm25().retrieve(other, other.asked(), seed=0)
    assert built == [0.75, 0.5, 0.75]
    assert replace(made, facts={}).digest() == made.digest() and made == world(), "an index is no part of what a corpus is"


# -- dense ------------------------------------------------------------------------------------------------------------------------------------------------

TEXTS = ["Ada lives in Ulm.", "Bade contains Kilomu", "", "the sea is salt water, and so on " * 40, "Öl 北京"]


def test_static_embeddings_are_those_of_wordllama(monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # its import would set up logging for the whole process
    from tokenizers import Tokenizer
    from wordllama.inference import WordLlamaInference

    (package,) = importlib.util.find_spec("wordllama").submodule_search_locations
    vectors = load_file(f"{package}/weights/l2_supercat_256.safetensors")["embedding.weight"]
    its = WordLlamaInference(vectors, Tokenizer.from_file(f"{package}/tokenizers/l2_supercat_tokenizer_config.json")).embed(TEXTS)
    assert np.allclose(dense.embedder("wordllama", "")(TEXTS), its, atol=1e-6) and np.abs(its[0]).max() > 0.01


def test_dense_ranks_by_cosine():
    made = corpus([t for t in TEXTS if t], "ocean", "where does Ada live?", "Kilomu inside")
    vectors = dense.embedder("wordllama", "")([d.text for d in made.documents])
    expected = []
    for question in made.questions:
        (query,) = dense.embedder("wordllama", "")([question.prompt])
        cosine = [float(v @ query / np.sqrt((v @ v) * (query @ query))) for v in vectors]
        expected.append(sorted(range(len(cosine)), key=lambda i: -cosine[i])[:3])
    assert ids(Dense(k=3), made) == expected and [best[0] for best in expected] == [2, 0, 1]


def test_an_empty_text_is_similar_to_nothing():
    assert ids(Dense(k=2), corpus(["", "water", "sea"], "ocean"))[0][-1] != 0
    assert ids(Dense(k=3), corpus(["a", "", "b"], "")) == [[0, 1, 2]]


def test_a_model2vec_folder_is_used(tmp_path):
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "east": 1, "north": 2, "dawn": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    StaticModel(np.array([[0, 0], [1, 0], [0, 1], [1, 0.1]], np.float32), tokenizer).save_pretrained(tmp_path)
    retriever = Dense(k=3, library="model2vec", model=str(tmp_path))
    assert ids(retriever, corpus(["north", "dawn", "east"], "east", "north")) == [[2, 1, 0], [0, 1, 2]]
    assert retriever.fingerprint() != Dense(k=3).fingerprint()


def test_what_is_missing_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"cannot load model = .*nothing.* with model2vec"):
        Dense(library="model2vec", model=str(tmp_path / "nothing")).retrieve(world(), [], seed=0)
    with pytest.raises(UserError, match="library = model2vec needs a model"):
        Dense(library="model2vec")
    with pytest.raises(UserError, match="leave model empty, or set library"):
        Dense(model="minishlab/potion-base-8M")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in ("bm25s", "sentence_transformers") else found(name, *a))
    with pytest.raises(UserError, match=r"needs the package sentence-transformers: pip install sentence-transformers"):
        Dense(library="sentence_transformers", model="x").retrieve(world(), [], seed=0)
    with pytest.raises(UserError, match="memory/bm25 needs the package bm25s"):
        Bm25().retrieve(world(), [], seed=0)


# -- hybrid -----------------------------------------------------------------------------------------------------------------------------------------------


class Listed(Component):
    """Finds documents in an order given beforehand, best first."""

    order: tuple[int, ...]
    """Positions."""

    def retrieve(self, corpus, questions, *, seed):
        return [[corpus.documents[i] for i in reversed(self.order)] for _ in questions]


ORDERS = st.lists(st.integers(0, 7), unique=True, max_size=8).map(tuple)


@given(ORDERS, ORDERS, st.sampled_from([0.0, 60.0]), st.integers(1, 8))
def test_fusion_adds_reciprocal_ranks(first, second, constant, k):
    score = {i: sum(1 / (constant + order.index(i) + 1) for order in (first, second) if i in order) for i in {*first, *second}}
    expected = sorted(score, key=lambda i: (-score[i], i))[:k]
    made = corpus([f"text {i}" for i in range(8)], "a")
    assert ids(Hybrid(first=Listed(order=first), second=Listed(order=second), k=k, constant=constant), made) == [expected]


def test_fusion_by_hand():
    made = corpus(["a", "b", "c", "d"], "?")
    fused = Hybrid(first=Listed(order=(0, 1, 2)), second=Listed(order=(2, 3)), k=4)
    # 2: 1/63 + 1/61 = .0323; 0: 1/61 = .0164; 1 and 3: 1/62, the earlier first
    assert ids(fused, made) == [[2, 0, 1, 3]]


def test_a_fusion_can_hold_any_retriever_and_is_its_fields():
    oracle = Hybrid(first=Oracle(distractors=0), second=Bm25(k=20), k=20)
    made = world()
    for question, found in zip(made.asked(["recall"]), oracle.retrieve(made, made.asked(["recall"]), seed=0), strict=True):
        assert question.support[0] in [d.id for d in found]
    assert oracle.replace("second.k", 3).fingerprint() != oracle.fingerprint()


# -- what the tiny worlds give to a retriever -------------------------------------------------------------------------------------------------------------


def test_in_a_reversal_only_the_entity_is_shared_and_in_two_hops_the_bridge_is_not():
    made = Reversals(max_filler=0, copies=1, episode_count=1).build(0)
    for question in made.asked(["heldout_reversal"]):
        assert len(set(words(question.prompt)) & set(words(made.by_id[question.support[0]].text))) == 1
    made = TwoHop(max_filler=0, copies=1, episode_count=1).build(0)
    for question in made.asked(["two_hop"]):
        start, first, second = words(question.prompt)
        one, two = (set(words(made.by_id[id].text)) for id in question.support)
        assert {start, first} <= one and second in two and start not in two
        found = Bm25(k=5).retrieve(made, [question], seed=0)[0]
        assert not made.supported(question, [d.text for d in found])


# -- recall -----------------------------------------------------------------------------------------------------------------------------------------------


def test_copies_say_the_same_in_other_filler():
    """What is called a copy names the first one, which is no copy itself; in the token worlds they are equal but for filler words."""
    for name in ("reversals", "two_hop", "codebooks", "co_occurrence", "cross_lingual", "nonsense_reversals", "syllogisms"):
        made = smallest(component(f"datasets/{name}")).build(0)
        copies = [d for d in made.documents if d.copy_of]
        assert copies and all(made.by_id[d.copy_of].copy_of == "" and d.copy_of != d.id for d in copies), name
        if name not in ("nonsense_reversals", "syllogisms"):
            plain = {d.id: re.sub(r"\bf\d\d+\b *", "", d.text).strip() for d in made.experiences}
            assert all(plain[d.id] == plain[d.copy_of] for d in copies), name


def test_a_copy_of_a_supporting_document_supports():
    made = Reversals(**(Reversals.example | {"copies": 3})).build(0)
    question = made.asked(["heldout_reversal"])[0]
    first = made.by_id[question.support[0]]
    copy = next(d for d in made.documents if d.copy_of == first.id)
    other = next(d for d in made.experiences if d.copy_of and d.copy_of != first.id)
    assert made.supported(question, [copy.text]) and made.supported(question, [other.text, first.text])
    assert not made.supported(question, [other.text]) and not made.supported(question, [])
    assert repr(copy) == repr(replace(copy, copy_of=""))  # digests stay those of before


def test_recall_needs_every_supporting_document_and_is_unknown_where_there_is_none():
    made = world()
    cell = Cell(dataset=Reversals(), model=Bigram(), train_time=Untrained(), test_time=ClosedBook(), scoring=Exact(), seed=0)
    model = Bigram().create(made, seed=0)
    asked = made.asked(["recall", "two_hop", "nowhere"])
    shown = {
        name: [item.support_shown for item in answer(cell.model_copy(update={"test_time": method}), made, model, asked)]
        for name, method in {
            "closed": ClosedBook(), "oracle": Retrieval(retriever=Oracle(distractors=2)), "bm25": Retrieval(retriever=Bm25(k=1)),
        }.items()
    }  # fmt: skip
    kinds = [q.kind for q in asked]
    assert shown["closed"] == [None] * len(asked)
    assert shown["oracle"] == [None if kind == "nowhere" else True for kind in kinds]
    assert shown["bm25"] == [{"nowhere": None, "recall": True, "two_hop": False}[kind] for kind in kinds]  # one document cannot be two
    assert json.dumps(shown)


def test_recall_stands_beside_accuracy_in_every_table():
    frames = report_frames.build(seeds=2, trainings=(report_frames.FRESH,), askings=(report_frames.CLOSED, report_frames.ORACLE))
    hidden = pl.col("asking").eq(report_frames.ORACLE) & pl.col("kind").eq("heldout_reversal") & pl.col("cluster").hash(0).mod(2).eq(0)
    items = frames.items.with_columns(support_shown=pl.when(hidden).then(False).otherwise("support_shown"))
    frames = replace(frames, items=items)
    asked = items.filter(pl.col("asking") == report_frames.ORACLE, pl.col("kind") == "heldout_reversal")
    share = asked["support_shown"].sum() / len(asked)
    assert 0 < share < 1 and recall(asked).mean == pytest.approx(share) and recall(asked).low < share < recall(asked).high
    table = summary.estimates(frames)
    of = {(row["asking"], row["kind"]): row for row in table.to_dicts()}
    assert of[report_frames.ORACLE, "heldout_reversal"]["recall"] == pytest.approx(share)
    assert of[report_frames.ORACLE, "heldout_forward"]["recall"] == 1.0 and math.isnan(of[report_frames.CLOSED, "heldout_forward"]["recall"])
    rows = {(row["asking"], row["kind"], row["seed"]): row for row in result_rows(frames)}
    assert rows[report_frames.CLOSED, "heldout_forward", 0]["recall"] is None and rows[report_frames.ORACLE, "heldout_forward", 1]["recall"] == 1.0
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal.results_table(table.to_dicts(), "title"))
    text = console.export_text()
    assert f"found {100 * share:.0f}" in text and "found 100" in text and "(recall@k)" in text
    page = _table.table(table)
    assert "Recall@k" in page and f"{100 * share:.1f} %" in page and "Recall@k is the share" in _table.note(table)
    closed = table.filter(pl.col("asking") == report_frames.CLOSED)
    assert "Recall@k" not in _table.table(closed) and "Recall@k" not in _table.note(closed)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal.results_table(closed.to_dicts(), "title"))
    assert "found" not in console.export_text()


def test_results_are_readable_in_eighty_columns():
    """Every number with its interval stands whole on a line, whatever the width."""
    rows = summary.estimates(Frames.read(Path(__file__).parents[1] / "results" / "reversals-quick")).to_dicts()
    for width in (60, 80, 300):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(terminal.results(rows, "title", width=width))
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width and text.count("title") == 1
        for row in rows:
            assert terminal.percent(row["mean"], row["low"], row["high"]) in text and row["training"].split()[0] in text
