"""The index of many records: the tables that records give one by one, in a second or two, and never instead of what a record says now."""

import json
import time
from pathlib import Path

import polars as pl
import pytest

from test_places import run_all, scripted_cells
from tolman.run import index
from tolman.run.frames import ABSENT, Frames
from tolman.run.plan import Plan
from tolman.run.store import Store


def one_by_one(plan: Plan) -> Frames:
    """The tables by the other way: each record parsed, all rows made in Python."""
    records = []
    for cell in plan.cells:
        header, items = plan.store.read_record(cell.fingerprint()) or pytest.fail("no record")
        header["cell"] |= {"training": cell.training, "asking": cell.asking}
        records.append((header, items))
    return Frames.of(plan.study, plan.scale, records, [])


def copies(store: Store, fingerprint: str, n: int) -> list[str]:
    """`n` more records like one, each under a fingerprint of its own."""
    header, items = store.read_record(fingerprint) or pytest.fail("no record")
    names = [f"{i:016x}" for i in range(n)]
    for name in names:
        store.write_record(name, header | {"fingerprint": name, "seed": 1}, items)
    return names


@pytest.mark.parametrize("worth", [1, 3, 1000])
def test_indexed_tables_are_those_of_the_records(worth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH_A_SEGMENT", worth)
    store, cells = Store(tmp_path), scripted_cells(range(3))
    run_all(store, cells)
    reworded = [cells[0].model_copy(update={"asking": "otherwise"}), *cells[1:], cells[2]]
    plan = Plan("demo", "quick", tuple(reworded), store)
    for _ in range(2):  # the second time from segments, where there are some
        frames, expected = plan.frames(), one_by_one(plan)
        assert frames.cells.equals(expected.cells) and frames.items.equals(expected.items)
        assert json.loads(frames.cells["config"][0])["asking"] == "otherwise"
    assert len(list((tmp_path / "index").glob("*"))) == (worth < 1000)


def test_a_changed_or_damaged_record_is_read_anew_and_a_damaged_segment_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH_A_SEGMENT", 2)
    store, cells = Store(tmp_path), scripted_cells(range(2))
    run_all(store, cells)
    names = [c.fingerprint() for c in cells]
    before = index.rows(store, names)
    path = store.record_path(names[1])
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"wrong", b"right", 1))
    assert index.finished(store, names) == {names[0], *names[2:]} and "is not as it was written" in store.warnings.pop()
    path.write_bytes(whole)
    assert index.rows(store, names).drop("stamp").equals(before.drop("stamp"))
    (segment,) = (tmp_path / "index").iterdir()
    data = segment.read_bytes()
    segment.write_bytes(data[:-30] + bytes([data[-30] ^ 1]) + data[-29:])
    assert not list(index.segments(store, ["stamp"])) and index.rows(store, names).drop("stamp").equals(before.drop("stamp"))
    assert len(list((tmp_path / "index").iterdir())) == 2, "a new segment beside it"
    path.unlink()
    assert index.finished(store, names) == {names[0], *names[2:]}, "a copy is no record"


def test_records_that_lack_something_are_set_aside(tmp_path: Path) -> None:
    store, (cell, *_) = Store(tmp_path), scripted_cells()
    run_all(store, [cell])
    header, items = store.read_record(cell.fingerprint()) or pytest.fail("no record")
    broken = {
        "another's": (header | {"fingerprint": "0" * 16}, items), "no costs": ({k: v for k, v in header.items() if k != "costs"}, items),
        "costs of another shape": (header | {"costs": [1]}, items), "an item without a verdict": (header, [{"question": "q"}]),
    }  # fmt: skip
    for what, (head, rows) in broken.items():
        store.write_record(cell.fingerprint(), head, rows)
        assert index.finished(store, [cell.fingerprint()]) == set() and len(store.warnings) == 1, what
        store.warnings.clear()


@pytest.mark.slow
def test_ten_thousand_records_are_listed_and_tabled_many_times_faster_than_one_by_one(tmp_path: Path) -> None:
    """Relative, so that it holds on a slow machine; benchmarks/scale.py measures 100,000."""
    store, (cell, *_) = Store(tmp_path), scripted_cells()
    run_all(store, [cell])
    names = copies(store, cell.fingerprint(), 10_000)
    began = time.process_time()
    first = index.rows(store, names)
    build = time.process_time() - began
    again = index.rows(store, names)
    assert time.process_time() - began - build < build / 8
    assert isinstance(first, pl.DataFrame) and first.equals(again) and len(again) == 10_000


def test_records_of_an_earlier_version_count_as_they_are(tmp_path: Path) -> None:
    """Fields that came later are filled, not missed: nothing is set aside and asked again."""
    store, cells = Store(tmp_path), scripted_cells(range(2))
    run_all(store, cells)
    whole = Plan("demo", "quick", tuple(cells), store).frames()
    for cell in cells:
        header, items = store.read_record(cell.fingerprint()) or pytest.fail("no record")
        store.write_record(cell.fingerprint(), header, [{k: v for k, v in item.items() if k not in ABSENT} for item in items])
    again = Plan("demo", "quick", tuple(cells), Store(tmp_path))
    assert again.unfinished() == [] and not again.store.warnings
    assert again.frames().items.equals(whole.items)
