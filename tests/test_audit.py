"""The audit: where facts stand with models whose knowledge is known beforehand, on the records of ordinary cells."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tolman.app.audit import CLOSED, OPEN, Audit, Standing, expected, facts_tables, kinds_table, model_at, prepare
from tolman.app.ingest import coverage
from tolman.cli import main
from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.datasets.folder import SAMPLE, Folder
from tolman.models.bigram import Bigram
from tolman.models.saved import Saved
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.run.plan import measure, read_plan
from tolman.scoring.choice import Choice
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.untrained import Untrained

CORPUS = Folder(practice_share=0).build(0)


def script(*, closed: set[str], in_context: set[str]) -> dict[str, str]:
    """Right answers to the questions of these kinds, asked from the weights and with their passages in context."""
    answers = {}
    for q in CORPUS.questions:
        if q.kind in closed:
            answers[q.prompt] = q.answers[0]
        if q.kind in in_context:
            for order in (q.support, q.support[::-1]):
                answers["\n".join([*(CORPUS.by_id[s].text for s in order), q.prompt])] = q.answers[0]
    return answers


def audited(tmp_path: Path, answers: dict[str, str], **fields: Any) -> Audit:
    settings = {"model.answers": answers, "model.context_tokens": 4000, "model.default": "nothing"}
    plan = prepare(SAMPLE, "scripted", **({"questions": None, "scoring": "exact", "settings": settings, "store": tmp_path} | fields))
    plan.run(lambda event: None)
    return Audit(plan.frames(), plan.cells[0].dataset.build(0))  # type: ignore[attr-defined]


KINDS = set(CORPUS.kinds)


@pytest.mark.parametrize(
    "closed, in_context, with_forms",
    [
        ({"recall"}, KINDS, Standing.LATENT),
        ({"recall", "two_hop", "reversal"}, KINDS, Standing.LATENT),
        ({"recall"}, {"recall"}, Standing.STUCK),
        (KINDS, {"recall"}, Standing.USABLE),
        (set(), KINDS, Standing.UNKNOWN),
        (KINDS - {"recall"}, KINDS, Standing.UNKNOWN),
    ],
)
def test_facts_stand_where_the_model_puts_them(tmp_path, closed, in_context, with_forms):
    audit = audited(tmp_path, script(closed=closed, in_context=in_context))
    facts = list(audit.facts())
    assert len(facts) == len(CORPUS.asked(["recall"])) and len({f["statement"] for f in facts}) == len(facts)
    for fact in facts:
        forms = {f["kind"]: f for f in fact["forms"].values()}
        if "rephrase" in forms:
            assert fact["standing"] == with_forms, fact
        elif len(forms) == 1:
            assert fact["standing"] == (Standing.RECALLED if "recall" in closed else Standing.UNKNOWN)
        assert all(f["closed_book"] == (f["kind"] in closed) and f["in_context"] == (f["kind"] in in_context) for f in forms.values())
        file, begin, end = fact["place"]
        source = next(s for s in Folder().read()[0].sources if s.file == file)
        assert source.text[begin:end].startswith(fact["statement"])


def test_a_chain_of_which_one_fact_is_unknown_is_unknown(tmp_path):
    answers = script(closed={"recall"}, in_context=KINDS)
    chain = CORPUS.asked(["two_hop"])[0]
    second, first = (next(q for q in CORPUS.questions if q.id == id) for id in CORPUS.facts["beside"][chain.id])
    del answers[first.prompt]
    standing = audited(tmp_path, answers).standing
    assert standing[chain.id] == Standing.UNKNOWN and second.prompt in answers
    assert standing[f"rephrase:{second.id.split(':')[1]}"] == Standing.LATENT


def test_shares_by_kind_have_intervals_and_what_luck_would_make(tmp_path):
    audit = audited(tmp_path, script(closed={"recall"}, in_context=KINDS))
    rows = {row["kind"]: row for row in audit.kinds()}
    assert set(rows) == KINDS and rows["recall"]["latent"] is None and rows["unanswerable"]["latent"] is None
    for kind in ("rephrase", "reversal", "two_hop"):
        row = rows[kind]
        assert row["latent"]["mean"] == 1 > row["latent"]["low"] > 0.3 and row["closed_book"]["mean"] == 0 and row["in_context"]["mean"] == 1
        chance = CORPUS.kinds[kind].chance
        assert row["chance"] == pytest.approx(chance) and row["latent_by_luck"] == pytest.approx(CORPUS.kinds["recall"].chance * (1 - chance) * chance)
    found = audit.to_dict()
    json.dumps(found, allow_nan=False)
    assert sum(found["standing"].values()) == len(found["facts"]) and found["model"]["is"] == "models/scripted"
    assert kinds_table(list(rows.values())).row_count == 5 and sum(1 for _ in facts_tables(found["facts"])) > 8
    assert f"{len(found['facts'])} are recalled from the weights; of these {found['standing']['latent']} are latent" in audit.headline()


def test_an_audit_resumes_and_its_records_are_those_of_cells(tmp_path):
    settings = {"model.smoothing": 0.5, "dataset.asked": 5}
    fields: dict[str, Any] = {"questions": None, "scoring": "choice", "settings": settings, "store": tmp_path}
    plan = prepare(SAMPLE, "bigram", **fields)
    assert expected(plan, plan.cells[0].dataset.build(0))["finished"] is False  # type: ignore[attr-defined]
    plan.run(lambda event: None)
    again = prepare(SAMPLE, "bigram", **fields)
    assert again.unfinished() == [] and again.folder == plan.folder
    frames = plan.write_folder({})
    assert Frames.read(plan.folder).items.equals(frames.items)
    cell = plan.cells[0]
    assert isinstance(cell.scoring, Choice) and [c.asking for c in plan.cells] == [CLOSED, OPEN]
    same = measure(cell, store=tmp_path)
    assert set(same) == set(frames.items["kind"]) and plan.store.read_record(cell.fingerprint()) is not None


def test_own_questions_are_audited_too(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [
        {"prompt": "Ivo Lambert was born in", "answer": "Brenholm", "kind": "recall", "fact": "ivo", "support": ["2-people.md:2"]},
        {"prompt": "Who was born in Brenholm?", "answer": "Ivo Lambert", "kind": "reversal", "fact": "ivo", "support": ["2-people.md:2"]},
        {"prompt": "What is the cape called?", "answer": "nobody says"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    text = "\n".join((CORPUS.by_id["2-people.md:2"].text, "Who was born in Brenholm?"))
    settings = {"model.answers": {"Ivo Lambert was born in": "Brenholm", text: "Ivo Lambert"}, "model.context_tokens": 4000}
    audit = audited(tmp_path, {}, questions=path, settings=settings)
    (fact,) = audit.facts()
    assert fact["standing"] == Standing.LATENT and fact["place"] is None and set(fact["forms"]) == {"recall:1", "reversal:2"}
    assert {row["kind"]: row["latent"] is None for row in audit.kinds()} == {"recall": True, "reversal": False, "asked": True}


# -- which model ----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bigram model that has read the sample, in a store."""
    store = tmp_path_factory.mktemp("store")
    cell = Cell(dataset=Folder(), model=Bigram(smoothing=0.3), train_time=Untrained(), test_time=ClosedBook(), scoring=Choice(), seed=0)
    measure(cell, store=store)
    return store / "artifacts" / cell.train_fingerprint()


def test_a_model_is_found_by_name_or_by_folder(artifact):
    assert model_at("bigram", {"smoothing": 0.7}) == Bigram(smoothing=0.7)
    found = model_at(str(artifact))
    assert isinstance(found, Saved) and found.model == Bigram(smoothing=0.3)
    live, first = found.create(Corpus((), (), {}), seed=0), Bigram(smoothing=0.3).load(artifact)
    assert (live.logits == first.logits).all() and live.words == first.words  # type: ignore[attr-defined]


def test_a_saved_model_is_what_is_in_its_folder(artifact, tmp_path):
    shutil.copytree(artifact, tmp_path / "copy")
    here, there = (Saved(folder=folder, model=Bigram(smoothing=0.3)) for folder in (artifact, tmp_path / "copy"))
    assert here.fingerprint() == there.fingerprint()
    (tmp_path / "copy" / "artifact.json").unlink()
    before = there.fingerprint()
    data = (tmp_path / "copy" / "bigram.npz").read_bytes()
    (tmp_path / "copy" / "bigram.npz").write_bytes(data + b"x")
    assert there.fingerprint() != before
    with pytest.raises(UserError, match="holds no model: there is no file in it"):
        Saved(folder=tmp_path / "nothing", model=Bigram()).fingerprint()


def test_folders_that_are_no_model_and_names_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match="did you mean 'bigram'"):
        model_at("bigramm")
    with pytest.raises(UserError, match=r"neither artifact\.json"):
        model_at(str(tmp_path))
    (tmp_path / "artifact.json").write_text('{"identity": {}}')
    with pytest.raises(UserError, match="is damaged"):
        model_at(str(tmp_path))


# -- for people ------------------------------------------------------------------------------------------------------------------------------------------------


def test_coverage_counts_questions_by_file_and_names_what_was_left_out(tmp_path):
    for file in SAMPLE.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\0")
    folder = Folder(path=tmp_path)
    found = coverage(folder, folder.build(0))
    assert [row["file"] for row in found["files"]] == sorted(f.name for f in SAMPLE.iterdir()) and all(row["questions"] > 5 for row in found["files"])
    assert found["problems"] == [{"file": "a.bin", "says": found["problems"][0]["says"], "left_out": True}] and found["totals"]["passages"] == 6
    json.dumps(found, allow_nan=False)


@pytest.fixture
def tolman(tmp_path, monkeypatch, capsys):
    """Runs the command in this process (its exit code, standard output and standard error), in an empty folder."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tolman", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    for name, value in (("COLUMNS", "160"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return run


def test_the_command_prints_tables_writes_a_page_and_reports_it_again(tmp_path, tolman):
    code, said, complained = tolman("audit", SAMPLE, "--model", "bigram", "--set", "dataset.asked=6")
    assert code == 0, complained
    for part in ("3 files, 344 words", "by kind of question", "latent", "unknown: ", "facts asked as the documents state them", "report: "):
        assert part in said, part
    (run,) = (tmp_path / "runs").glob("audit-*")
    assert (run / "report.html").stat().st_size > 10_000
    plan = read_plan(run)
    assert plan["headline"] in said and "6 facts" in plan["headline"]


def test_json_is_one_object_and_a_dry_run_asks_nothing(tmp_path, tolman):
    _, said, _ = tolman("audit", SAMPLE, "--model", "bigram", "--set", "dataset.asked=6", "--json")
    found = json.loads(said)
    assert len(found["facts"]) == 6 == sum(found["standing"].values()) and found["coverage"]["totals"]["files"] == 3
    _, said, _ = tolman("audit", SAMPLE, "--model", "tiny", "--dry-run", "--json", "--out", "fresh")
    guess = json.loads(said)["expected"]
    assert (
        guess["prompts"] == 2 * guess["questions"] > 200
        and guess["tokens"] > 5000
        and guess["seconds"] > 0
        and not list((tmp_path / "fresh").glob("records/*"))
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["nowhere", "--model", "bigram"], "there is no folder nowhere"),
        ([SAMPLE, "--model", "bigrm"], "did you mean 'bigram'?"),
        ([SAMPLE, "--model", "bigram", "--scoring", "exakt"], "did you mean 'exact'?"),
        ([SAMPLE, "--model", "bigram", "--set", "dataset.askd=4"], "did you mean 'asked'?"),
    ],
)
def test_bad_input_is_one_sentence(tolman, arguments, says):
    code, _, complained = tolman("audit", *arguments)
    assert code == 2 and says in complained and len(complained.strip().splitlines()) == 1, complained


@pytest.mark.slow
def test_a_model_trained_on_the_documents_recalls_them_and_cannot_turn_them_round(tmp_path):
    """The reversal curse on ordinary prose, each sentence a passage of its own (in longer ones, sentences are recalled only after those before them: LOG.md)."""
    from tolman.models.tiny import Tiny
    from tolman.scoring.exact import Exact
    from tolman.train_time.pretrain import Pretrain

    folder, training = Folder(practice_share=0, passage_words=20), Pretrain(steps=24, batch_tokens=1024)
    cell = Cell(dataset=folder, model=Tiny(), train_time=training, test_time=ClosedBook(), scoring=Exact(), seed=0)
    found = measure(cell, store=tmp_path)
    assert found["recall"].mean > 0.6 and found["reversal"].mean < 0.2 and found["two_hop"].mean < 0.7
    trained = str(tmp_path / "artifacts" / cell.train_fingerprint())
    plan = prepare(SAMPLE, trained, questions=None, scoring="exact", settings={"dataset.passage_words": 20}, store=tmp_path)
    plan.run(lambda event: None)
    audit = Audit(plan.frames(), plan.cells[0].dataset.build(0))  # type: ignore[attr-defined]
    counts = Counter(f["standing"] for f in audit.facts())
    assert counts[Standing.UNKNOWN] < 0.4 * sum(counts.values()) and counts[Standing.STUCK] + counts[Standing.LATENT] > 0.4 * sum(counts.values())
