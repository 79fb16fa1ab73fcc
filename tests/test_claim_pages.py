"""The pages of the claims: everything in them comes from the records, and new records reach them by writing the documentation anew."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from report_frames import by_hand, contrasts, doses
from tolman.core.errors import UserError
from tolman.run.frames import Frames
from tolman.studies import dose
from tolman.studies._ledger import LEDGER
from tolman.studies._settle import flattened, known, largest, settle, sizes

ROOT = Path(__file__).parents[1]
TRAININGS = len(dose.cells("small", range(3)))


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/claim_pages.py, writing into an empty folder."""
    spec = importlib.util.spec_from_file_location("claim_pages", ROOT / "docs" / "claim_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "claims")
    return module


def store(results: Path, *runs: Frames, scale: str = "small") -> None:
    """Each study's part of `runs` as a run's folder."""
    for run in runs:
        for study in run.cells["study"].unique():
            cells = run.cells.filter(study=study)
            folder = results / f"{study}-{scale}"
            Frames(cells, run.items.join(cells, on="fingerprint", how="semi"), run.trainings).write(folder)
            (folder / "plan.json").write_text(json.dumps({"study": study, "scale": scale, "seeds": cells["seed"].unique().to_list()}))


def test_a_page_is_written_from_records_drawn_checked_and_taken_away(pages: ModuleType, tmp_path: Path) -> None:
    results = tmp_path / "results"
    store(results, doses(), contrasts())
    written = {p.name for p in pages.write_claims(results, check=False)}
    assert {"C07.md", "C07.svg", "C09.md", "C09.svg"} <= written
    assert pages.write_claims(results, check=True) == [], "what was written is what the records say"
    page, drawing = (pages.FOLDER / "C07.md").read_text(), (pages.FOLDER / "C07.svg").read_text()
    (verdict,) = settle(results, ["C07"])
    assert f"**Verdict: {verdict.verdict}.**" in page and "![" in page
    for c in verdict.outcome.checks:
        assert f"| {c.what} | {c.measured} | {c.must} | {c.measured.n:,} | {c.measured.clusters:,} | 3 | {'yes' if c.holds else '**no**'} |" in page
    assert f"{TRAININGS} trainings of 0.5 to 0.6 M parameters" in page and "`tolman run dose --scale small --seeds 3`" in page
    assert re.search(r"\| 10,000 facts, 99\.9 % reversed \| 1000 \| 10 \|", page), "what differs from training to training"
    for text in ("How many facts must be seen reversed", "next token + masked copy", "retrieval, oracle + 3", "10,000 facts"):
        assert text in drawing, f"{text!r} is not in the figure"
    assert all(path.stat().st_size < 100_000 for path in pages.FOLDER.glob("*.svg"))

    (pages.FOLDER / "C09.md").write_text(page)
    (pages.FOLDER / "C07.svg").write_text(drawing.replace("drawn from ", "drawn from 0"))
    assert {p.name for p in pages.write_claims(results, check=True)} == {"C09.md", "C07.svg"}
    store(tmp_path / "fewer", contrasts())
    assert {"C07.md", "C07.svg"} <= {p.name for p in pages.write_claims(tmp_path / "fewer", check=False)}
    assert not (pages.FOLDER / "C07.md").exists() and (pages.FOLDER / "C09.md").read_text() != page


def test_the_index_holds_the_whole_ledger(pages: ModuleType, tmp_path: Path) -> None:
    store(tmp_path, doses())
    rows = re.findall(r"^\| (?:\[(C\d\d)\]\(claims/\1\.md\)|(C\d\d)) \| (.*?) \| (.*?) \|", pages.index(tmp_path), re.M)
    assert [linked or plain for linked, plain, _, _ in rows] == list(LEDGER)
    assert [(linked, verdict != "not run") for linked, _, _, verdict in rows if linked] == [("C07", True)]


def test_limits_say_what_the_records_lack(pages: ModuleType, tmp_path: Path) -> None:
    run = doses()
    first = Frames(*(t.filter(pl.col("seed") == 0) for t in (run.cells, run.items, run.trainings)))
    first = Frames(
        first.cells.filter(pl.col("training").str.starts_with("1,000 facts")),
        first.items.filter(pl.col("training").str.starts_with("1,000 facts")),
        first.trainings,
    )
    store(tmp_path, first, scale="quick")
    (verdict,) = settle(tmp_path, ["C07"])
    said = " ".join(pages.limits(verdict))
    assert "Scale `quick`" in said and "`tolman run dose --scale small` would be larger" in said and "1 of 3 seeds" in said
    assert "more settings than these records have: 10,000 facts" in said.replace("model 4 times as large; ", "") or "10,000 facts" in said
    assert verdict.verdict.endswith("but 1 of 3 seeds")


def test_thresholds_are_located_in_each_setting_or_absent() -> None:
    assert set(dose.thresholds(dose.doses(doses())).values()) == {None}
    at = dose.thresholds(dose.doses(doses(0.99)))
    assert at["1,000 facts"] == pytest.approx(0.99) and at["with in-context sequences"] == pytest.approx(0.99) and len(at) == 7
    outcome = dose.c07(doses(0.99))
    assert "held-out facts reverse from 99 % on (1,000 facts)" in outcome.verdict and not all(c.holds for c in outcome.checks)
    assert "no threshold up to 99.9 % in any of 7 settings" in dose.c07(doses()).verdict
    assert "Relation by relation" in outcome.note


def test_runs_tell_their_size_and_cost(tmp_path: Path) -> None:
    store(tmp_path, doses())
    (ran,) = settle(tmp_path, ["C07"])[0].runs
    trainings = doses().cells.unique("train_fingerprint")
    assert (ran.seeds, ran.trainings, ran.questions) == (3, TRAININGS, doses().cells["n_questions"].sum())
    assert ran.train_flops == pytest.approx(trainings["train_flops"].sum()) and ran.train_s == pytest.approx(trainings["train_s"].sum())
    assert ran.parameters == (doses().cells["parameters"].min(), doses().cells["parameters"].max())
    common, differing = sizes(doses())
    assert common["model.layers"] == 2 and "dataset.reversed_share" not in common and "model.device" not in common
    assert dict(differing)["model 4 times as large, 90 % reversed"]["model.width"] == 256 and len(differing) == TRAININGS // 3
    assert largest(tmp_path, "dose") == tmp_path / "dose-small" and largest(tmp_path, "mazes") is None
    assert settle(tmp_path, ["C07"], scale="quick")[0].verdict == "not run"


def test_fields_of_components_within_are_named_one_by_one(pages: ModuleType) -> None:
    within = {"steps": 3, "first": {"is": "train_time/pretrain", "steps": 9, "of": {"inverses": {"a": "b"}}}, "last": None}
    assert dict(flattened(within)) == {"steps": 3, "first": "pretrain", "first.steps": 9, "first.of.inverses.a": "b", "last": None}
    few = [("one", {"dataset.a": 1, "model.b": 0.5}), ("two", {"dataset.a": None, "model.b": 2.0})]
    assert list(pages.differences(few)) == ["", "| training | a | b |", "|---|---:|---:|", "| one | 1 | 0.5 |", "| two |  | 2 |"]
    many = [(name, {f"dataset.f{i}": None if i == skipped else i for i in range(15)}) for name, skipped in (("one", 2), ("two", 8))]
    assert list(pages.differences(many))[1] == f"  - one: {', '.join(f'f{i} {i}' for i in range(15) if i != 2)}."


@pytest.mark.parametrize(("given", "nearest"), [("C4", "C04"), ("c39", "C38"), ("7", "C07"), ("Cxx", "there is: C01")])
def test_unknown_claims_name_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"there is no claim '{given}'.*{nearest}"):
        known([given])
    assert known(["c04", "C19"]) == ["C04", "C19"]


def test_a_study_that_is_no_more_is_left_alone(tmp_path: Path) -> None:
    store(tmp_path, by_hand({("t", "closed book", "a", 0): "cw"}))
    assert all(v.verdict == "not run" for v in settle(tmp_path, list(LEDGER)))
