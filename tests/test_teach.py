"""Teaching: the method that the data recommend, a directory that is whole or not there, adding and forgetting at once, and teaching again."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from test_taught import ASK, TEXTS, taught
from tolman.app import _again, _directory, remember, teach
from tolman.app._lesson import base
from tolman.app.compare import PER_KIND
from tolman.app.taught import NOTHING, Taught
from tolman.cli import app
from tolman.core.errors import UserError
from tolman.datasets.folder import Folder
from tolman.memory.episodic import Episodic
from tolman.models.hf import Hf
from tolman.models.scripted import Scripted
from tolman.run.plan import Plan
from tolman.test_time.retrieval import Retrieval

SETTINGS = {
    "model.path": "random", "model.dtype": "float32", "train_time.weights": "full", "train_time.steps": 3, "train_time.batch_tokens": 96, "dataset.asked": 9,
}  # fmt: skip
NEW = "# The Tide Bell\n\nThe Tide Bell was cast by Hedwig Sorley in 1920. The Tide Bell was hung by Emil Roskam."


def go(plan: Plan) -> None:
    plan.run(lambda event: None)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(text)
    return tmp_path / "docs"


def teaching(docs: Path, method: str, settings: dict[str, Any], *, model: str = "hf", out: str = "taught") -> teach.Teaching:
    runs = docs.parent / "runs"
    return teach.prepare(docs, out=docs.parent / out, model=model, method=method, questions=None, scoring="exact", settings=settings, store=runs)


def again(out: Path, docs: Path | None = None, **settings: Any) -> _again.Again:
    return _again.prepare(out, docs=docs, given={}, settings=settings, store=out.parent / "runs")


def scripted(docs: Path, *, right: bool) -> dict[str, Any]:
    """Settings of a scripted model that knows the answers with the passages before it that the persistent memory finds, and without them nothing."""
    dataset = Folder(path=docs)
    corpus = dataset.build(0)
    prompts = Retrieval(retriever=Episodic(k=2)).prompts(None, corpus, corpus.asked(), seed=0)  # type: ignore[arg-type]
    answers = {"\n".join((*p.documents, p.question)): q.answers[0] for p, q in zip(prompts, corpus.asked(), strict=True)}
    return {"model.answers": answers if right else {}, "model.default": "nothing", "model.context_tokens": 260}


# -- teaching ---------------------------------------------------------------------------------------------------------------------------------------


def test_the_recommended_method_is_taught_and_the_directory_says_all_of_it(docs, monkeypatch):
    monkeypatch.setattr("tolman.app.compare.FOUND", 2)
    work = teaching(docs, teach.RECOMMENDED, scripted(docs, right=True), model="scripted")
    assert [teach.method_of(c) for c in work.plan.cells] == ["untuned, closed book", "untuned, everything in context", "untuned, retrieval, episodic"]
    guess = work.expected()
    assert guess["cells"] == 3 and guess["ask_tokens"] > 1000 and guess["train_tokens"] == 0 and not work.out.exists()
    scores = work.run(go)
    assert work.expected()["cells"] == 0, "what was run is not run again"
    out, about = work.out, _directory.read(work.out)
    assert {p.name for p in out.iterdir()} == {"README.md", "taught.json", "scores.json", "questions.jsonl", "weights", "memory", "documents"}
    assert (
        about["method"] == scores["method"] == "untuned, retrieval, episodic"
        and "Best of 3 methods is untuned, retrieval, episodic: 100 %" in about["recommendation"]
    )
    assert {p.relative_to(out / "documents").as_posix(): p.read_text() for p in (out / "documents").rglob("*.md")} == TEXTS
    assert about["test_time"]["retriever"]["is"] == "memory/episodic" and about["format"] == 1 and about["trains"] is False
    again_asked = Folder(path=out / "documents", questions=out / "questions.jsonl").build(0)
    built = Folder(path=docs, per_kind=PER_KIND).build(0)
    assert [(q.prompt, q.answers, q.split, q.support) for q in again_asked.asked(["recall"])] == [
        (q.prompt, q.answers, q.split, q.support) for q in built.asked(["recall"])
    ]
    card = (out / "README.md").read_text()
    for part in ("untuned, retrieval, episodic", "| recall | 100 [", "| sub/animals.md | 1 |", "give no orders", "tolman forget taught"):
        assert part in card, part
    assert not any(text.split("\n")[2] in (out / "scores.json").read_text() for text in TEXTS.values()), "scores hold no text of the documents"
    assert Taught.open(out).reply(ASK, max_tokens=4).sources[-1].file == "prism.md"


def test_data_that_recommend_nothing_teach_nothing_unless_a_method_is_named(docs):
    nothing = scripted(docs, right=False)
    with pytest.raises(UserError, match="recommend nothing.*name it with --method: untuned, closed book; untuned, everything in context; untuned"):
        teaching(docs, teach.RECOMMENDED, nothing, model="scripted").run(go)
    assert not (docs.parent / "taught").exists()
    with pytest.raises(UserError, match="there is no method 'untuned, closed bok' to teach here; did you mean 'untuned, closed book'"):
        teaching(docs, "untuned, closed bok", nothing, model="scripted")
    with pytest.raises(UserError, match="no method 'untuned, retrieval, bm25'"):
        teaching(docs, "untuned, retrieval, bm25", nothing, model="scripted")
    teaching(docs, "untuned, closed book", nothing, model="scripted").run(go)
    assert _directory.read(docs.parent / "taught")["method"] == "untuned, closed book"


def test_what_is_no_taught_directory_is_never_written_over(docs):
    with pytest.raises(UserError, match="was not taught by Tolman: it is left alone"):
        teaching(docs, "untuned, closed book", {}, model="bigram", out="docs")
    (docs.parent / "file").write_text("mine")
    with pytest.raises(UserError, match="it is left alone"):
        teaching(docs, "untuned, closed book", {}, model="bigram", out="file")
    assert (docs.parent / "file").read_text() == "mine"


def test_a_directory_of_another_version_or_damaged_says_what_to_do(docs):
    out = taught(docs)
    about = json.loads((out / "taught.json").read_text())
    for change, says in (
        ({"format": 0}, r"has format 0 \(made by Tolman 0.1.0\), this Tolman .* reads 1: install that version, or teach the documents in .*documents again"),
        ({"format": "2"}, "has format '2'"),
        ({"weights": "../elsewhere"}, "is damaged: its weights lie elsewhere"),
        ({"files": {"weights/gone.json": "00"}}, "gone.json is missing; teach the documents again"),
        ({"files": {"../secret": "00"}}, "is missing"),
        ({"files": {"weights/script.json": "00"}}, "its hash differs"),
    ):
        (out / "taught.json").write_text(json.dumps(about | change))
        with pytest.raises(UserError, match=says):
            Taught.open(out)
    for text, says in (("[]", "has format None"), ("{", "cannot be read"), ('{"format": 1}', "is damaged: it has no")):
        (out / "taught.json").write_text(text)
        with pytest.raises(UserError, match=says):
            Taught.open(out)
    with pytest.raises(UserError, match="was not taught: there is no taught.json; make such a directory with: tolman teach DOCS"):
        Taught.open(docs)


# -- adding and forgetting --------------------------------------------------------------------------------------------------------------------------


def test_added_files_are_found_at_once_and_forgotten_ones_are_not(docs):
    out = taught(docs)
    it, bell = Taught.open(out), [{"role": "user", "content": "Who cast the Tide Bell?"}]
    assert it.reply(bell, max_tokens=4).text == NOTHING
    (docs.parent / "bell.md").write_text(NEW)
    done = remember.add(out, [docs.parent / "bell.md"])
    assert done.passages == {"bell.md": 1} and done.replaced == () and it.reply(bell, max_tokens=4).sources[-1].file == "bell.md"
    assert "| bell.md | 1 | added since |" in (out / "README.md").read_text()
    gone = remember.forget(out, ["bell.md", "docs/prism.md"])
    questions = (out / "questions.jsonl").read_text()
    assert gone.files == ("bell.md", "prism.md") and gone.passages == 2 and gone.questions_dropped > 0 and gone.in_weights == () and gone.weights(out) == ""
    assert it.reply(bell, max_tokens=4).text == NOTHING and all(s.file != "prism.md" for s in it.reply(ASK, max_tokens=4).sources)
    assert "prism.md:" not in questions and "korvin.md:" in questions and not (out / "documents" / "prism.md").exists()
    assert set(_directory.read(out)["forgotten"]) == {"bell.md", "prism.md"}
    left = [p for p in out.rglob("*") if p.is_file() and b"Tide Bell" in p.read_bytes()]
    assert left == [], "no byte of it is left"


def test_a_changed_file_replaces_the_old_one_and_its_questions_go(docs):
    out = taught(docs)
    (docs / "prism.md").write_text(TEXTS["prism.md"].replace("Ilse Korvin in 1902", "Hedwig Sorley in 1903"))
    done = remember.add(out, [docs / "prism.md"])
    assert done.replaced == ("prism.md",) and done.questions_dropped > 0
    reply = Taught.open(out).reply(ASK, max_tokens=4)
    assert "Hedwig Sorley" in reply.sources[-1].text and not any("1902" in s.text for s in reply.sources)


def test_unknown_and_unreadable_files_are_named(docs):
    out = taught(docs)
    for name, says in (("prsm.md", "did you mean 'prism.md'"), ("zzz", "there is: korvin.md, prism.md, rooms.md, sub/animals.md")):
        with pytest.raises(UserError, match=f"no file '{name}' is remembered; {says}"):
            remember.forget(out, [name])
    assert remember.forget(out, ["animals.md"]).files == ("sub/animals.md",)
    (docs / "empty.md").write_text("")
    with pytest.raises(UserError, match="no text to read: empty.md is empty"):
        remember.add(out, [docs / "empty.md"])
    with pytest.raises(UserError, match="there is no folder"):
        remember.add(out, [docs / "nowhere.md"])
    (docs / "sub" / "prism.md").write_text("Another text of the same name.")
    with pytest.raises(UserError, match="two files are called prism.md"):
        remember.add(out, [docs / "prism.md", docs / "sub" / "prism.md"])
    assert remember.add(out, [docs]).problems == ("empty.md is empty",)


def test_what_one_who_was_killed_left_undone_is_done(docs):
    out = taught(docs)
    memory = Episodic().open(out / "memory")
    memory.forget(["prism.md"])  # and killed
    assert remember.forget(out, ["prism.md"]).questions_dropped > 0 and not (out / "documents" / "prism.md").exists()
    shutil.copy(docs / "prism.md", out / "documents" / "prism.md")  # one who added, killed before the memory was written
    memory.add([e for e in memory.all() if e.file == "rooms.md"][:0])
    remember.settle(out)
    assert memory.files() == {"korvin.md": 1, "prism.md": 1, "rooms.md": 1, "sub/animals.md": 1}


def test_one_changes_a_directory_at_a_time(docs, monkeypatch):
    out = taught(docs)
    monkeypatch.setattr(_directory, "PATIENCE_S", 0.1)
    with _directory.changing(out), pytest.raises(UserError, match="is being changed by another process"):
        remember.forget(out, ["prism.md"])
    assert "prism.md" in Episodic().open(out / "memory").files() and remember.forget(out, ["prism.md"]).passages == 1


def test_a_base_model_in_a_folder_is_named_from_the_root_on(docs, monkeypatch):
    monkeypatch.chdir(docs.parent)
    Path("base").mkdir()
    assert base(Hf(path="base")) == Hf(path=str(docs.parent / "base")) and base(Hf()) == Hf() and base(Scripted()) == Scripted()


# -- teaching again ---------------------------------------------------------------------------------------------------------------------------------


def weights(out: Path) -> bytes:
    return (out / _directory.read(out)["weights"] / "model.safetensors").read_bytes()


def test_weights_are_trained_on_with_what_was_added_and_anew_without_what_was_forgotten(docs):
    work = teaching(docs, "fine-tuned, closed book", SETTINGS)
    work.run(go)
    out, first = work.out, weights(work.out)
    nothing = again(out)
    assert not any(nothing.changes.values())
    (docs.parent / "bell.md").write_text(NEW)
    remember.add(out, [docs.parent / "bell.md"])
    more = again(out)
    assert more.changes == {"added": ["bell.md"], "replaced": [], "forgotten": []} and not more.anew
    assert more.expected()["train_tokens"] == 3 * 96 and "the old documents replayed" in more.says()
    more.run(go)
    about = _directory.read(out)
    (event,) = about["history"]
    assert weights(out) != first and about["weights"] == "weights-2" and not (out / "weights").exists() and set(about["documents"]) == {*TEXTS, "bell.md"}
    assert set(event["scores"]) == {"when taught", "before", "now"} and "unanswerable" not in event["scores"]["now"]
    assert event["scores"]["before"]["recall"]["n"] == event["scores"]["now"]["recall"]["n"] > 0
    assert "| old questions | when taught | before | now |" in (out / "README.md").read_text()
    assert not any(again(out).changes.values()), "nothing is left to do"

    gone = remember.forget(out, ["prism.md"])
    assert gone.in_weights == ("prism.md",) and "trained on prism.md" in gone.weights(out) and f"tolman teach --out {out}" in gone.weights(out)
    assert "trained on prism.md, forgotten since" in (out / "README.md").read_text()
    less = again(out, docs)
    assert less.incoming == [], "what was forgotten is not taken in again from the folder it came from"
    assert less.changes == {"added": [], "replaced": [], "forgotten": ["prism.md"]} and less.anew
    less.run(go)
    assert "prism.md" not in _directory.read(out)["documents"] and "trained on prism.md" not in (out / "README.md").read_text()
    (docs / "prism.md").unlink()
    shutil.copy(docs.parent / "bell.md", docs / "bell.md")
    fresh = teaching(docs, "fine-tuned, closed book", SETTINGS, out="fresh")
    fresh.run(go)
    assert weights(out) == weights(fresh.out), "as if it had never been there, to the bit"
    Taught.open(out).reply(ASK, max_tokens=3)


class Killed(BaseException):
    """Nothing that the code catches."""


@pytest.mark.parametrize(("where", "what"), [("_again", "copy_weights"), ("_directory", "write_questions"), ("_directory", "write")])
def test_a_second_teaching_that_is_killed_leaves_a_directory_that_answers_and_goes_on(docs, monkeypatch, where, what):
    """Killed right after the step: what answers then is wholly the old or wholly the new, and the same command ends as if nothing had happened."""
    out, module = taught(docs), {"_again": _again, "_directory": _directory}[where]
    remember.add(out, [write_bell(docs)])
    done = getattr(module, what)

    def step(*arguments: Any) -> None:
        done(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, what, step)
        with pytest.raises(Killed):
            again(out).run(go)
    assert Taught.open(out).reply(ASK, max_tokens=4).sources[-1].file == "prism.md"
    assert (_directory.read(out)["weights"] != "weights") is (what == "write")
    last = again(out)
    assert any(last.changes.values()) is (what != "write")
    if what != "write":
        last.run(go)
    about = _directory.read(out)
    assert not any(again(out).changes.values()) and len(about["history"]) == 1 and set(about["documents"]) == {*TEXTS, "bell.md"}
    assert {p.name for p in out.iterdir() if p.name.startswith("weights")} >= {about["weights"]}
    Taught.open(out)


def write_bell(docs: Path) -> Path:
    (docs.parent / "bell.md").write_text(NEW)
    return docs.parent / "bell.md"


def test_teaching_a_folder_again_takes_in_what_is_new_there(docs):
    out = taught(docs)
    (docs / "bell.md").write_text(NEW)
    (docs / "prism.md").write_text(TEXTS["prism.md"].replace("1902", "1903"))
    work = again(out, docs)
    assert sorted(work.incoming) == ["bell.md", "prism.md"] and work.changes == {"added": ["bell.md"], "replaced": ["prism.md"], "forgotten": []}
    work.run(go)
    assert set(_directory.read(out)["documents"]) == {*TEXTS, "bell.md"} and Episodic().open(out / "memory").files()["bell.md"] == 1
    (event,) = _directory.read(out)["history"]
    assert set(event["scores"]) == {"when taught", "now"} and "no weights to train" in event["says"]


def test_a_directory_keeps_to_what_it_was_taught_with(docs):
    out = taught(docs)
    for given in ({"method": "fine-tuned, closed book"}, {"model": "hf"}):
        with pytest.raises(UserError, match=f"is taught already.*leave out --{next(iter(given))}"):
            _again.prepare(out, docs=None, given=given, settings={}, store=out.parent / "runs")
    _again.prepare(out, docs=None, given={"method": "untuned, retrieval, episodic", "model": None}, settings={}, store=out.parent / "runs")


# -- the command line -------------------------------------------------------------------------------------------------------------------------------


def test_the_verbs(docs, monkeypatch):
    monkeypatch.chdir(docs.parent)
    monkeypatch.setenv("COLUMNS", "200")

    def tolman(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    words = ["teach", "docs", "--out", "mine", "--model", "scripted", "--method", "untuned, retrieval, episodic", "--set", "model.default=[bold]so[/bold]"]
    words += ["--set", "model.context_tokens=900"]
    assert "1 to measure, 1 to train" in (said := tolman(*words, "--dry-run")) and "time: unknown" in said and not Path("mine").exists()
    assert json.loads(tolman(*words, "--dry-run", "--json"))["cells"] == 1
    assert json.loads(tolman(*words, "--json"))["method"] == "untuned, retrieval, episodic"
    said = tolman("ask", "mine", ASK[0]["content"])
    assert said.startswith("[bold]so[/bold]\n") and "[1] prism.md, The Long Prism" in said and "    The Long Prism was designed by Ilse Korvin in 1902." in said
    assert json.loads(tolman("ask", "mine", "Quel est le plus haut sommet ?", "--json")) == {
        "text": NOTHING, "sources": [], "trace": "", "prompt_tokens": 0, "completion_tokens": 0, "finish_reason": "stop",
    }  # fmt: skip
    Path("bell.md").write_text(NEW)
    assert "added bell.md: 1 passage" in tolman("add", "mine", "bell.md")
    assert "would bring mine up to date: added bell.md" in tolman("teach", "--out", "mine", "--dry-run")
    assert "forgot bell.md: 1 passage" in tolman("forget", "mine", "bell.md")
    assert tolman("teach", "--out", "mine") == "mine: nothing was added or forgotten: nothing to do\n"
    assert tolman("export", "mine", "--to", "lm-eval").startswith("mine-lm-eval has ") and Path("mine-lm-eval", "questions.jsonl").is_file()
    with pytest.raises(UserError, match="other was not taught yet: name the documents"):
        CliRunner().invoke(app, ["teach", "--out", "other"], catch_exceptions=False)


@pytest.mark.slow
def test_the_commands_of_the_page_work_one_after_the_other(tmp_path, monkeypatch):
    """With a model that needs no time, and without the comparison."""
    root = Path(__file__).parents[1]
    page = (root / "docs" / "teach.md").read_text()
    commands = [shlex.split(line, comments=True)[1:] for block in re.findall(r"```bash\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert [c[0] for c in commands] == ["teach", "teach", "ask", "add", "ask", "forget", "teach"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(root / "examples")
    shutil.copy(root / "CONTRIBUTING.md", tmp_path)
    quick = ["--model", "scripted", "--method", "untuned, retrieval, episodic", "--set", "model.context_tokens=2000", "--set", "dataset.asked=5"]
    for command in commands:
        done = CliRunner().invoke(app, [*command, *(quick if "examples/docs" in command else [])], catch_exceptions=False)
        assert done.exit_code == 0 and done.stdout.strip(), done.output
        if command[0] == "ask":
            assert ("03-instruments.txt" if "--json" not in command else "CONTRIBUTING.md") in done.stdout
    (python,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert subprocess.run([sys.executable, "-c", python], cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}).returncode == 0
