"""A component is its configuration: fields, overrides, records and fingerprints from one class; and what a user is told who got one wrong."""

import json
import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from tolman.core.component import Added, Component, Nested, Operational, digest
from tolman.core.discovery import component, components, from_config, module, names, summary
from tolman.core.errors import UserError, suggest
from tolman.core.seeds import derive, rng


class Inner(Component):
    """Held by another."""

    size: int = Field(3, ge=1)
    """A number."""
    label: str = "x"
    """A word."""
    table: dict[str, float] = Field({})
    """Numbers by name."""


class Outer(Component):
    """Holds another."""

    inner: Nested = Inner()
    """What it holds."""
    rate: float = 0.5
    """A share."""
    steps: int | None = None
    """A number, or none."""
    workers: int = Operational(1, ge=1)
    """How fast."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {"rate": 0.1}, "small": {"rate": 0.2, "inner": {"is": "test_component:Inner", "size": 9}}}


class Renamed(Inner):
    """The same fields under another name."""


class Revised(Inner):
    """The same fields, meaning something else."""

    revision = 2


# -- configurations come back -------------------------------------------------------------------------------------------------------------------------

INNERS = st.builds(
    Inner, size=st.integers(1, 10**12), label=st.text(max_size=20), table=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False))
)
OUTERS = st.builds(Outer, inner=INNERS, rate=st.floats(-1e9, 1e9), steps=st.none() | st.integers(), workers=st.integers(1, 64))


@given(OUTERS)
def test_a_configuration_comes_back_from_json(outer):
    again = from_config(json.loads(json.dumps(outer.config())))
    assert again == outer and type(again) is Outer and type(again.inner) is Inner
    assert again.fingerprint() == outer.fingerprint() == digest(outer.identity())


@given(OUTERS, st.integers(1, 64))
def test_operational_fields_alone_stay_out_of_the_fingerprint(outer, workers):
    assert outer.replace("workers", workers).fingerprint() == outer.fingerprint()
    assert outer.replace("rate", outer.rate + 1 if outer.rate < 1e8 else 0.0).fingerprint() != outer.fingerprint()
    assert outer.replace("inner.size", outer.inner.size + 1).fingerprint() != outer.fingerprint()


def test_class_and_revision_are_part_of_the_identity():
    assert len({cls().fingerprint() for cls in (Inner, Renamed, Revised)}) == 3
    assert Inner().identity() == {"is": "test_component:Inner", "revision": 1, "size": 3, "label": "x", "table": {}}


class Grown(Inner):
    """The same, with a field that came later."""

    depth: int = Added(0, ge=0)
    """How deep."""


def test_an_added_field_is_part_of_the_identity_only_off_its_default():
    assert Grown().identity() == Inner().identity() | {"is": "test_component:Grown"} == Grown(depth=0).identity()
    assert Grown(depth=1).identity() == Grown().identity() | {"depth": 1}
    assert from_config(Grown(depth=2).config()).depth == 2 and "depth" in Grown().config()


def test_fingerprints_are_equal_in_every_process():
    program = "import test_component as t; print(t.Outer(inner=t.Inner(table={'b': 1.5, 'a': 2})).fingerprint())"
    found = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | environment).stdout
        for environment in ({"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])} for seed in "12")
    }
    assert found == {Outer(inner=Inner(table={"a": 2, "b": 1.5})).fingerprint() + "\n"}


def test_components_are_frozen():
    with pytest.raises(ValidationError):
        Inner().size = 4


# -- building and changing --------------------------------------------------------------------------------------------------------------------------------


def test_scales_and_overrides():
    assert Outer.at("quick").rate == 0.1
    assert Outer.at("small").inner == Inner(size=9)
    assert Outer.at("small", rate=0.7).rate == 0.7
    assert Outer().replace("inner.size", 5).inner.size == 5
    assert Outer().replace("inner", Renamed(size=4)).inner == Renamed(size=4)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: Inner(sise=1), "test_component:Inner has no field 'sise'; did you mean 'size'?"),
        (lambda: Inner(size=0), "test_component:Inner.size = 0: input should be greater than or equal to 1"),
        (lambda: Inner(size="many"), "test_component:Inner.size = 'many': input should be a valid integer"),
        (lambda: Outer(inner={"is": "test_component:Inner", "size": 0}), "test_component:Inner.size = 0: input should be"),
        (lambda: Outer.at("quik"), "test_component:Outer has no scale 'quik'; did you mean 'quick'?"),
        (lambda: Outer().replace("rat", 1), "has no field 'rat'; did you mean 'rate'?"),
        (lambda: Outer().replace("rate.x", 1), "test_component:Outer.rate holds no component, so it has no field 'x'"),
        (lambda: Outer().replace("inner.siz", 1), "test_component:Inner has no field 'siz'; did you mean 'size'?"),
        (lambda: from_config({"size": 1}), "needs 'is'"),
        (lambda: Inner(**{"is": "test_component:Outer"}), "this configures test_component:Outer, not test_component:Inner"),
        (lambda: component("dataset/reversals"), "there is no kind of component 'dataset'; did you mean 'datasets'?"),
        (lambda: component("datasets/reversal"), "there is no 'reversal' in datasets; did you mean 'reversals'?"),
        (lambda: component("test_time/retrieval")(), "test_time/retrieval needs the field 'retriever'"),
    ],
)
def test_a_user_is_told_in_one_sentence_what_is_wrong(wrong, message):
    with pytest.raises(UserError) as caught:
        wrong()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_suggestions():
    assert suggest("entites", ["entities", "relations"]) == "did you mean 'entities'?"
    assert suggest("zzz", ["b", "a"]) == "there is: a, b"
    assert suggest("zzz", []) == "there is none"


# -- discovery --------------------------------------------------------------------------------------------------------------------------------------------


def test_a_file_is_a_component():
    assert component("datasets/reversals").address() == "datasets/reversals"
    assert components("scoring").keys() >= {"choice", "exact"}
    assert all(not name.startswith("_") for name in names("models"))
    assert "without it" not in summary("tolman.scoring.exact") and summary("tolman.scoring.exact").startswith("The model writes its answer")
    assert module("scoring", "exact").Exact is component("scoring/exact")


def test_listing_imports_nothing():
    program = "import sys; from tolman.core.discovery import names, summary; [summary(m) for m in names('models').values()]; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.stdout == "False\n"


# -- random streams ---------------------------------------------------------------------------------------------------------------------------------------


def test_streams_are_the_same_everywhere_and_for_ever():
    """These numbers were written down once: if they change, every world changes."""
    assert derive(0, "reversals", "names") == 1646020309845391446
    assert rng(7, "a").integers(0, 100, 5).tolist() == rng(7, "a").integers(0, 100, 5).tolist()


@given(st.integers(0, 2**31), st.text(max_size=8), st.text(max_size=8))
def test_streams_with_other_names_are_others(seed, first, second):
    assert 0 <= derive(seed, first) < 2**63
    assert (derive(seed, first) == derive(seed, second)) == (first == second)
    assert derive(seed, first) != derive(seed + 1, first)
