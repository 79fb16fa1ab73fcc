"""What comes from files may be anything: it is read, or refused with one sentence. Nothing that is read is ever run."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from test_places import run_all, scripted_cells
from tolman.cli import parse_setting
from tolman.core.component import Component
from tolman.core.discovery import from_config
from tolman.core.errors import UserError
from tolman.datasets._jsonl import read_rows
from tolman.models._words import Words
from tolman.run import index
from tolman.run.cell import Cell, cell_from_config
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.frames import Frames
from tolman.run.plan import read_plan
from tolman.run.store import Damaged, Store, parse_record, sealed

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
DEEP = b"[" * 100_000
FILES = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Cell, bytes]:
    """A store with a finished cell, and the bytes of its record."""
    store, (cell, *_) = Store(tmp_path_factory.mktemp("store")), scripted_cells()
    run_all(store, [cell])
    return store, cell, store.record_path(cell.fingerprint()).read_bytes()


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_record_are_damaged(data: bytes) -> None:
    for junk in (data, data + DEEP, b'{"format": 1, "sha256": "' + b"0" * 64 + b'"}\n' + data):
        with pytest.raises(Damaged, match=r"^here "):
            parse_record(junk, "here")


@given(part=st.data())
def test_a_record_in_which_anything_was_replaced_is_damaged(part: st.DataObject, store: tuple[Store, Cell, bytes]) -> None:
    _, _, data = store
    at = part.draw(st.integers(0, len(data) - 1))
    new = data[:at] + part.draw(st.binary(max_size=3)) + data[at + part.draw(st.integers(0, 3)) :]
    try:
        read = parse_record(new, "here")
    except Damaged:
        return
    assert read == parse_record(data, "here"), "what is accepted says what was written"


@FILES
@given(key=st.sampled_from(["cell", "costs", "kinds", "environment", "questions", "leaks", "seed", "identity", "fingerprint", "condition"]), value=ANY_JSON)
def test_a_sealed_record_of_any_shape_is_tabled_or_set_aside(key: str, value: Any, store: tuple[Store, Cell, bytes]) -> None:
    place, cell, data = store
    header, items = parse_record(data, "here")
    place.write_record(cell.fingerprint(), header | {key: value}, items)
    table = index.rows(place, [cell.fingerprint()])
    assert len(table) == 1 - len(place.warnings) and all("aside" in w for w in place.warnings)
    place.warnings.clear()
    place.write_record(cell.fingerprint(), header, [{**items[0], "verdict": value}, *items[1:]])
    assert len(index.rows(place, [cell.fingerprint()])) == 1 - len(place.warnings)
    place.warnings.clear()


@FILES
@given(about=ANY_JSON, files=ANY_JSON)
def test_an_artifact_of_any_shape_is_refused(about: Any, files: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for value in (about, sealed({"format": 1, "files": files}), {"format": 1, "files": {"config.json": files}}):
        store.place.write("artifacts/abc/artifact.json", json.dumps(value).encode())
        found = store.read_artifact("abc")
        assert found is None or found[1]["files"] == {}, "it holds nothing or it is set aside"
        store.warnings.clear()
    (tmp_path / "artifacts" / "abc").mkdir(exist_ok=True)
    store.place.write("artifacts/abc/artifact.json", DEEP)
    assert store.read_artifact("abc") is None


@FILES
@given(data=st.binary(max_size=300), state=ANY_JSON)
def test_a_state_of_any_shape_is_set_aside(data: bytes, state: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    checkpoints = FileCheckpoints(store, "abc")
    checkpoints.path.parent.mkdir(exist_ok=True)
    checkpoints.path.write_bytes(data)
    assert checkpoints.load() is None and "cannot be read" in store.warnings.pop()
    if not (isinstance(state, dict) and set(state) & {"value", "list", "dict", "tensor"}):
        save_file({"x": torch.ones(2)}, checkpoints.path, {"state": json.dumps(state)})
        assert checkpoints.load() is None and "cannot be read" in store.warnings.pop()


@FILES
@given(config=ANY_JSON, address=st.text(max_size=12))
def test_a_configuration_of_any_shape_is_a_component_or_one_sentence(config: Any, address: str, store: tuple[Store, Cell, bytes]) -> None:
    _, cell, _ = store
    fields = config if isinstance(config, dict) else {"x": config}
    for bad in ({"is": address}, {"is": config}, {"is": "models/tiny", "layers": config}, {"is": "datasets/reversals", **fields}):
        try:
            assert isinstance(from_config(bad), Component)
        except UserError as error:
            assert str(error)
    for part in ("dataset", "model", "seed", "kinds", "curve", "unknown"):
        try:
            assert isinstance(cell_from_config(cell.config() | {part: config}), Cell)
        except UserError as error:
            assert str(error)


@pytest.mark.parametrize("address", ["os:system", "subprocess:run", "builtins:exec", "nosuch:Thing", "os:nothing", ":x", "pathlib:Path"])
def test_a_configuration_calls_nothing_but_components(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no component|there is no component at"):
        from_config({"is": address, "command": f"touch {tmp_path}/was_here", "args": ["touch", f"{tmp_path}/was_here"]})
    assert not list(tmp_path.iterdir())


@FILES
@given(lines=st.lists(st.binary(max_size=40) | ANY_JSON.map(lambda v: json.dumps(v).encode()), max_size=4))
def test_json_lines_of_any_shape_are_rows_or_one_sentence(lines: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for data in (b"\n".join(lines), DEEP, b'{"prompt": "\\ud800", "completion": "x"}', b'{"prompt": "a", "completion": ' + b"1" * 5000 + b"}"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"rows\.jsonl"):
            read_rows(path)
    path.write_bytes(b'{"prompt": "a", "completion": "b"}')
    assert read_rows(path)[0].text == "a b"


@FILES
@given(text=st.text(max_size=60), other=st.text(max_size=60))
def test_any_text_is_tokens_and_targets_begin_where_they_should(text: str, other: str) -> None:
    words = Words.of([text])
    ids, known = words.encode([other, text])
    assert ids[0] == words.document and ids.max() < words.size and words.unknown not in known[1:]
    (_, weight) = words.encode_with_targets([text], [((0, len(text)),)])[0]
    assert weight[0] == 0 and len(weight) == len(known) and weight[1:].all()


@FILES
@given(data=st.binary(max_size=100), value=ANY_JSON)
def test_files_of_a_run_of_any_shape_are_one_sentence(data: bytes, value: Any, tmp_path: Path) -> None:
    for content in (data, json.dumps(value).encode(), DEEP):
        (tmp_path / "plan.json").write_bytes(content)
        try:
            assert isinstance(read_plan(tmp_path), dict)
        except UserError as error:
            assert "plan.json" in str(error)
        for name in ("cells", "items", "trainings"):
            (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(UserError, match=r"cells\.parquet cannot be read"):
            Frames.read(tmp_path)
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(UserError, match="tokenizer"):
            Words.read(tmp_path / "tokenizer.json")


@FILES
@given(text=st.text(max_size=40))
def test_a_setting_is_a_path_and_a_value_or_one_sentence(text: str) -> None:
    for setting in (text, f"model.width={text}", f"model.width={DEEP.decode()}"):
        try:
            path, _ = parse_setting(setting)
            assert "." in path
        except UserError as error:
            assert "PART.FIELD=VALUE" in str(error)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self.command,)


def test_a_hostile_pickle_in_any_place_is_refused_and_not_run(tmp_path: Path) -> None:
    """In the state of a training, the weights of an artifact, a record, a segment of the index: none of them is unpickled."""
    from tolman.models.bigram import Bigram
    from tolman.models.tiny import Tiny

    hostile = pickle.dumps(Hostile(f"touch {tmp_path}/was_here"))
    store, (cell, *_) = Store(tmp_path / "store"), scripted_cells()
    run_all(store, [cell])
    for key in ("checkpoints/abc/state.safetensors", f"records/{cell.fingerprint()}.jsonl", f"artifacts/{cell.train_fingerprint()}/artifact.json"):
        store.place.write(key, hostile)
    store.place.write("index/x.parquet", hostile)
    assert FileCheckpoints(store, "abc").load() is None and store.read_record(cell.fingerprint()) is None
    assert store.read_artifact(cell.train_fingerprint()) is None and not list(index.segments(store, ["stamp"])) and len(store.warnings) == 3
    for name in ("model.safetensors", "pytorch_model.bin", "tokenizer.json", "model.npz", "bigram.npz", "counts.npz"):
        (tmp_path / name).write_bytes(hostile)
    for model in (Tiny(), Bigram()):
        with pytest.raises(UserError):
            model.load(tmp_path)
    assert not (tmp_path / "was_here").exists()
    pickle.loads(hostile)  # noqa: S301
    assert (tmp_path / "was_here").exists(), "it is hostile indeed"


def test_the_source_unpickles_and_evaluates_nothing() -> None:
    """test_architecture.py looks at what is called; this looks at the text, so that no other way of writing it slips through."""
    import re

    words = re.compile(
        r"\b(import|from) +(pickle|cPickle|cloudpickle|dill|marshal|shelve|joblib)\b|\bpickle\.|torch\.load\b|yaml\.load\b|\beval\(|\bexec\(|allow_pickle=True|weights_only=False"
    )
    found = []
    for path in sorted((Path(__file__).parents[1] / "src").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if words.search(re.sub(r"\.eval\(", "", line.split("#")[0])):
                found.append(f"{path.name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)
    assert words.search("data = pickle.loads(x)") and words.search("torch.load(path)") and words.search("yaml.load(s)") and words.search("eval(text)")
