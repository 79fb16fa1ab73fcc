"""Every component that can be found keeps its contract; and a component with a fault planted in it does not."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import altair as alt
import polars as pl
import pytest

import report_frames
from endpoint_server import served
from planted import FAULTS, Planted
from planted_components import (
    FAULTY_METHODS,
    FAULTY_MODELS,
    FAULTY_RETRIEVERS,
    FAULTY_SCORINGS,
    FAULTY_SHOWINGS,
    Faulty,
    FaultyBigram,
    FaultyRetriever,
    FaultyShowing,
    Lenient,
    SaysNot,
)
from tolman.core.component import FOLDERS, Component
from tolman.core.discovery import component, module, names
from tolman.core.errors import UserError
from tolman.models.tiny import Tiny
from tolman.testing import (
    check_augment,
    check_component,
    check_corpus,
    check_dataset,
    check_figure,
    check_model,
    check_retriever,
    check_scoring,
    check_test_time,
    check_train_time,
    smallest,
)
from tolman.testing._world import walks, world

CHECKS = {
    "datasets": check_dataset, "models": check_model, "train_time": check_train_time, "test_time": check_test_time, "memory": check_retriever,
    "scoring": check_scoring, "augment": check_augment,
}  # fmt: skip
FOUND = [f"{folder}/{name}" for folder in FOLDERS for name in names(folder)]
FIGURES = list(names("report/figures"))
MOST_DOCUMENTS = 5000
"""A dataset's smallest form must not have more: its contract judges each question many times."""


# -- everything that can be found ---------------------------------------------------------------------------------------------------------------------


def test_discovery_finds_what_there_is():
    assert {"datasets/reversals", "models/tiny", "models/bigram", "models/scripted", "train_time/pretrain", "scoring/exact", "memory/oracle"} <= set(FOUND)


@pytest.mark.parametrize("address", FOUND)
def test_component_keeps_its_contract(address, tmp_path):
    found = smallest(component(address))
    check_component(found)
    folder = address.split("/")[0]
    if folder == "datasets":
        size = len(found.build(0).documents)
        assert size <= MOST_DOCUMENTS, f"{address} builds {size} documents at its smallest: give the class an `example` with smaller fields"
    if folder in CHECKS:
        with served(found, tmp_path) as ready:
            CHECKS[folder](ready)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_keeps_its_contract(name):
    check_figure(module("report/figures", name), report_frames.for_figure(name))


@pytest.mark.parametrize("corpus", [world(), walks()], ids=["world", "walks"])
def test_the_worlds_of_the_contracts_keep_the_contract_of_datasets(corpus):
    check_corpus("world", corpus)


# -- faults planted in a dataset ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_dataset_is_caught(fault, monkeypatch):
    monkeypatch.setattr(sys, "path", [os.path.dirname(__file__), *sys.path])  # the other process imports this file
    with pytest.raises(AssertionError, match=FAULTS[fault][1]):
        check_dataset(Planted(fault=fault))


def test_a_dataset_without_the_faults_passes(monkeypatch):
    monkeypatch.setattr(sys, "path", [os.path.dirname(__file__), *sys.path])
    check_dataset(Planted())


# -- faults planted in a scoring ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", FAULTY_SCORINGS)
def test_a_faulty_scoring_is_caught(cls):
    with pytest.raises(AssertionError, match=FAULTY_SCORINGS[cls]):
        check_scoring(cls())


def test_a_strict_reading_of_whole_answers_passes():
    check_scoring(Lenient())


# -- faults planted in a model --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTY_MODELS)
def test_a_faulty_model_is_caught(fault):
    with pytest.raises(AssertionError, match=FAULTY_MODELS[fault]):
        check_model(FaultyBigram(fault=fault))


def test_a_wrapped_model_without_the_faults_passes():
    check_model(FaultyBigram())


# -- faults planted in a train-time method --------------------------------------------------------------------------------------------------------------

SMALL = Tiny(layers=1, width=16, heads=1, kv_heads=1, head_width=16, hidden=16, context_tokens=64)


@pytest.mark.parametrize("fault", FAULTY_METHODS)
def test_a_faulty_train_time_method_is_caught(fault):
    with pytest.raises(AssertionError, match=FAULTY_METHODS[fault]):
        check_train_time(smallest(Faulty).replace("fault", fault), SMALL)


def test_a_method_that_trains_though_it_says_not_is_caught():
    with pytest.raises(AssertionError, match="declares that it does not train"):
        check_train_time(smallest(SaysNot), SMALL)


# -- faults planted in a test-time method, a retriever, a figure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTY_SHOWINGS)
def test_a_faulty_test_time_method_is_caught(fault):
    with pytest.raises(AssertionError, match=FAULTY_SHOWINGS[fault]):
        check_test_time(FaultyShowing(fault=fault))


def test_a_test_time_method_without_the_faults_passes():
    check_test_time(FaultyShowing())


@pytest.mark.parametrize("fault", FAULTY_RETRIEVERS)
def test_a_faulty_retriever_is_caught(fault):
    with pytest.raises(AssertionError, match=FAULTY_RETRIEVERS[fault]):
        check_retriever(FaultyRetriever(fault=fault))


def _bars(rows: pl.DataFrame) -> alt.Chart:
    return alt.Chart(rows).mark_bar().encode(x="x:Q")


def _figure(doc: str | None = "A title.", **functions: Any) -> Any:
    return SimpleNamespace(__name__="tolman.report.figures.planted", __doc__=doc, **({"rows": lambda table: table.select("x"), "draw": _bars} | functions))


@pytest.mark.parametrize(
    "figure, message",
    [
        (_figure(None), "has no title"),
        (_figure(rows=None), "has no function rows"),
        (_figure(rows=lambda table: table["x"].to_list()), "not a polars DataFrame"),
        (_figure(rows=lambda table: table.with_columns(y=table["x"].to_list()[0])), "fails on no record"),
        (_figure(draw=lambda rows: _bars(rows).encode(x=alt.X("x:Q", scale=alt.Scale(domain=[1, float("nan")])))), "is no JSON|fails"),
        (_figure(draw=lambda rows: alt.Chart("data.csv").mark_bar()), "from elsewhere"),
        (_figure(rows=lambda table: table.clear()), "no rows for the records"),
    ],
)
def test_a_faulty_figure_is_caught(figure, message):
    with pytest.raises(AssertionError, match=message):
        check_figure(figure, pl.DataFrame({"x": [1.0, 2.0]}))


def test_a_figure_without_the_faults_passes():
    check_figure(_figure(), pl.DataFrame({"x": [1.0, 2.0]}))


# -- faults planted in a configuration ------------------------------------------------------------------------------------------------------------------


class Undocumented(Component):
    """A field without a docstring."""

    n: int = 1


class Unbuildable(Component):
    """A field without a default, and no example."""

    n: int
    """A number."""


def test_a_faulty_component_is_caught():
    with pytest.raises(AssertionError, match="n has no docstring"):
        check_component(Undocumented())
    with pytest.raises(AssertionError, match="give the class an `example`"):
        smallest(Unbuildable)
    with pytest.raises(UserError, match="needs the field 'n'"):
        Unbuildable()
