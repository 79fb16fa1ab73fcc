"""What is exported gives, in the hands of other tools, what our own scorings gave: question by question."""

import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from taught_directories import CLOSED, RECALLED, teach
from tolman.app.export import LONGEST_ANSWER, export, questions_of
from tolman.app.exported import judge
from tolman.app.taught import Taught
from tolman.core.data import Corpus, Generation, Question, Verdict
from tolman.core.errors import UserError
from tolman.models.hf import Hf
from tolman.scoring.choice import Choice
from tolman.scoring.exact import Exact, grade

WORDS = st.lists(st.sampled_from(["Port", "port", "Amary", "in", "1871.", "'Ada'", "don't", "ﬁne", "\u00c9douard", "", "a-b", "\n"]), max_size=4).map(" ".join)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    return teach(tmp_path_factory.mktemp("adapted"), adapter=True)


@torch.no_grad()
def test_hf_is_a_model_that_transformers_loads_with_the_adapter_in_it(adapted, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert (adapted / "adapter" / "adapter_config.json").is_file()
    said = export(adapted, "hf", tmp_path / "out")
    assert str(tmp_path / "out") in said
    network, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    taught, untaught = Taught.open(adapted, dtype="float32"), AutoModelForCausalLM.from_pretrained(adapted.parent / "base")
    ids = tokenizer("Edda Vanloo was born in", return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert ids[0].tolist() == taught.model.encode(["Edda Vanloo was born in"])[0]
    ours = taught.model.network(ids).logits
    torch.testing.assert_close(network(ids).logits, ours, atol=1e-4, rtol=1e-4)
    assert (untaught(ids).logits - ours).abs().max() > 0.01, "the adapter changes something"
    assert not list((tmp_path / "out").glob("adapter*"))


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(adapted, tmp_path):
    with pytest.raises(UserError, match="did you mean 'lm-eval'"):
        export(adapted, "lm_eval", tmp_path / "out")
    with pytest.raises(UserError, match="was not taught"):
        export(tmp_path, "hf", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        export(adapted, "hf", tmp_path / "full")
    lines = (adapted / "questions.jsonl").read_text()
    try:
        (adapted / "questions.jsonl").write_text(lines.replace('"test"', '"practice"'))
        with pytest.raises(UserError, match="no question to test with"):
            export(adapted, "inspect", tmp_path / "out")
    finally:
        (adapted / "questions.jsonl").write_text(lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"] and (tmp_path / "full" / "file").read_text() == "mine"


def test_questions_are_what_the_model_reads(adapted, tmp_path):
    taught = Taught.open(adapted)
    export(adapted, "lm-eval", tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "questions.jsonl").read_text().splitlines()]
    assert rows == questions_of(taught).rows and len(rows) == 12
    assert rows[0]["text"] == taught.model.render(taught.prompts([question(rows[0])])[0]) and rows[0]["text"].endswith("Edda Vanloo was born in")
    assert rows[0]["stem"] == rows[0]["text"] + " ", "before a candidate; a model that writes begins with that space itself"
    assert [row["gold"] for row in rows if row["kind"] == "recall"] == [0, 1, 2, 3] and rows[1]["gold"] == -1
    names = {p.name for p in (tmp_path / "out").glob("*.yaml")}
    assert names == {f"my_model_{way}{kind}.yaml" for way in ("choice", "exact") for kind in ("", "_recall", "_rephrase")}


@given(WORDS, st.lists(WORDS, min_size=1, max_size=2), st.sampled_from([None, 1, 2]))
def test_the_judge_that_is_exported_is_ours(text, answers, answer_words):
    ours = grade(Generation(text, 1, 0.0, True), Question("q", "recall", "p", tuple(answers), "c", answer_words=answer_words))
    assert judge.right(text, {"answers": answers, "answer_words": answer_words}) == (ours.verdict == Verdict.CORRECT)


# -- the harnesses, for real ----------------------------------------------------------------------------------------------------------------------------


def question(row: dict) -> Question:
    return Question(row["id"], row["kind"], row["prompt"], tuple(row["answers"]), row["fact"], (), tuple(row["choices"]), "test", row["answer_words"])


@pytest.fixture(scope="module", params=["closed book", "with passages"])
def smol(request, tmp_path_factory):
    """(taught directory, its model exported, our verdicts: question -> written right, chosen right, scores)."""
    folder = tmp_path_factory.mktemp("smol")
    model = Hf(dtype="float32")
    try:
        model.create(Corpus((), (), {}), seed=0)
    except UserError as error:
        pytest.skip(str(error))
    taught = Taught.open(teach(folder, model=model, test_time=CLOSED if request.param == "closed book" else RECALLED), dtype="float32")
    asked = [q for q in taught_questions(taught) if q.split == "test"]
    prompts = taught.prompts(asked)
    written = [a.verdict == Verdict.CORRECT for a in Exact(max_tokens=LONGEST_ANSWER).judge(taught.model, prompts, asked)]
    choosing = [(q, p) for q, p in zip(asked, prompts, strict=True) if q.choices]
    chosen = Choice().judge(taught.model, [p for _, p in choosing], [q for q, _ in choosing])
    assert 0 < sum(written) < len(written) or request.param == "closed book", "some are right and some are wrong, or equality says little"
    export(taught.folder, "hf", folder / "hf")
    return taught.folder, folder / "hf", dict(zip([q.id for q in asked], written, strict=True)), {q.id: a for (q, _), a in zip(choosing, chosen, strict=True)}


def taught_questions(taught: Taught) -> list[Question]:
    from tolman.datasets._folder_own import read_questions

    passages: dict[str, list[str]] = {}
    for e in taught.memory.all():
        passages.setdefault(e.file, []).append(e.id)
    return read_questions(taught.folder / "questions.jsonl", passages)


def run(*command: str, cwd: str) -> str:
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "INSPECT_DISPLAY": "plain", "TQDM_DISABLE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_lm_eval_comes_to_the_same_answers(smol, tmp_path):
    pytest.importorskip("lm_eval")
    folder, model, written, chosen = smol
    asked = {q.id: q for q in taught_questions(Taught.open(folder, dtype="float32"))}
    export(folder, "lm-eval", tmp_path / "tasks")
    # the command that its README gives, with its items kept
    command = next(line.split() for line in (tmp_path / "tasks" / "README.md").read_text().splitlines() if line.startswith("    lm_eval "))
    command[command.index("--model_args") + 1] = f"pretrained={model},dtype=float32"
    run(sys.executable, "-m", *command, "--device", "cpu", "--output_path", str(tmp_path / "out"), "--log_samples", cwd=str(tmp_path / "tasks"))
    items = [json.loads(line) for file in (tmp_path / "out").rglob("samples_*.jsonl") for line in file.read_text().splitlines()]
    exact = {i["doc"]["id"]: bool(i["exact"]) for i in items if "exact" in i}
    choice = {i["doc"]["id"]: i for i in items if "acc" in i}
    by_length = {id: Choice(normalise="characters").pick(asked[id], a.scores_nats) for id, a in chosen.items() if id.startswith("recall")}
    assert {id: bool(choice[id]["acc_norm"]) for id in by_length} == {id: a.verdict == Verdict.CORRECT for id, a in by_length.items()}
    assert exact == written and len(exact) == 12 and choice.keys() == chosen.keys() and len(choice) == 8
    for id, ours in chosen.items():
        theirs = [float(response[0][0]) for response in choice[id]["resps"]]
        assert bool(choice[id]["acc"]) == (ours.verdict == Verdict.CORRECT), id
        # what stands before every candidate (a line break) counts there and not here: the same for all candidates
        differences = [a - b for a, b in zip(theirs, ours.scores_nats, strict=True)]
        assert max(differences) - min(differences) < 1e-3, id
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())["results"]
    assert results["my_model_exact"]["exact,none"] == pytest.approx(sum(written.values()) / 12)
    assert results["my_model_choice"]["acc,none"] == pytest.approx(sum(a.verdict == Verdict.CORRECT for a in chosen.values()) / 8)


@pytest.mark.slow
def test_inspect_comes_to_the_same_answers(smol, tmp_path):
    pytest.importorskip("inspect_ai")
    folder, model, written, _ = smol
    export(folder, "inspect", tmp_path / "task")
    command = next(line for line in (tmp_path / "task" / "README.md").read_text().splitlines() if line.startswith("    inspect eval task.py@rendered"))
    arguments = command.replace("MODEL", str(model)).split()[1:]
    main = "from inspect_ai._cli.main import main; main()"
    run(sys.executable, "-c", main, *arguments, "--log-dir", str(tmp_path / "logs"), "--log-format", "json", cwd=str(tmp_path / "task"))
    log = json.loads(next((tmp_path / "logs").glob("*.json")).read_text())
    assert log["status"] == "success"
    theirs = {sample["id"]: sample["scores"]["exact"]["value"] == "C" for sample in log["samples"]}
    assert theirs == written and len(theirs) == 12
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == pytest.approx(sum(written.values()) / 12)
