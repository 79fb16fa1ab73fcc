"""`tolman export`: what was taught, for the tools of others. A model directory of Hugging Face, or the built questions as a task of an evaluation harness.

Questions are exported as the taught model reads them: its template, and the passages that its memory finds for each, are part of the text, so that another tool that
scores the same text with the same weights must come to the same answers.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tolman.app._lesson import appearing
from tolman.app.taught import Taught
from tolman.core.data import Chat, Prompt, Question
from tolman.core.errors import UserError, suggest
from tolman.datasets._folder_own import read_questions
from tolman.models._template import CUT

KINDS = ("hf", "lm-eval", "inspect")
LONGEST_ANSWER = 8
"""Tokens of an answer where the taught directory's scoring does not say."""


def export(folder: Path, to: str, out: Path) -> str:
    """Write the taught directory `folder` for `to` (hf, lm-eval or inspect) into `out`, whole or not at all; what to do with it, in one line.

    Raises UserError for an unknown tool, a folder that is none or cannot be exported, and an `out` that is there already.
    """
    if to not in KINDS:
        raise UserError(f"--to {to!r}: {suggest(to, KINDS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: name another directory with --out, or remove it")
    taught = _open(folder)
    with appearing(out) as scratch:
        if to == "hf":
            write_hf(taught, scratch)
            return f'{out} is a model that transformers reads: AutoModelForCausalLM.from_pretrained("{out}")'
        export = questions_of(taught)
        write = {"lm-eval": write_lm_eval, "inspect": write_inspect}[to]
        write(taught, export, scratch)
    left = f"; {export.left_out} left out, whose thought was cut" if export.left_out else ""
    return f"{out} has {len(export.rows)} questions{left}; {out / 'README.md'} says how to run them"


def _open(folder: Path) -> Taught:
    """The directory, in full precision where its model has one to choose."""
    from tolman.app import _directory

    precise = {"dtype": "float32"} if _directory.read(folder)["model"]["is"] == "models/hf" else {}
    return Taught.open(folder, **precise)


# -- weights --------------------------------------------------------------------------------------------------------------------------------------------


def write_hf(taught: Taught, to: Path) -> None:
    """Weights with the adapter merged into them, tokenizer, model card. Raises UserError for a model without weights here."""
    network = getattr(taught.model, "network", None)
    if network is None:
        raise UserError(f"{taught.folder} was taught with {taught.about['model']['is']}, whose weights are not here: there is nothing to export to hf")
    if hasattr(network, "peft_config"):
        network = network.merge_and_unload()
    if hasattr(taught.model, "tokenizer"):
        network.save_pretrained(to)
        taught.model.tokenizer.save_pretrained(to)
    else:
        taught.model.save(to)
    (to / "README.md").write_text(_card(taught), "utf-8")


def _card(taught: Taught) -> str:
    memory = "" if _closed(taught) else (
        "\nIt was asked with passages of its documents before each question. Those are not in these weights: without them it answers otherwise than `tolman serve` does.\n"
    )  # fmt: skip
    return f"""# {taught.name}

Exported by Tolman {taught.about["tolman"]} from a directory that was taught by: {taught.about["method"]}. Weights in float32, an adapter merged into them.
{memory}
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```
"""


def _closed(taught: Taught) -> bool:
    return taught.way.address() == "test_time/closed_book"


# -- questions ------------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exported:
    """The rows of questions.jsonl, and how many questions have none because the model's thought before the answer was cut."""

    rows: list[dict[str, Any]]
    left_out: int = 0

    def kinds(self, *, with_choices: bool = False) -> list[str]:
        """Kinds in order, or those that have questions with candidates."""
        return list(dict.fromkeys(row["kind"] for row in self.rows if row["choices"] or not with_choices))


def questions_of(taught: Taught) -> Exported:
    """The test questions of a taught directory, as its model reads them. Raises UserError where there are none."""
    from tolman.app._directory import QUESTIONS

    passages: dict[str, list[str]] = {}
    for episode in taught.memory.all():
        passages.setdefault(episode.file, []).append(episode.id)
    questions = [q for q in read_questions(taught.folder / QUESTIONS, passages) if q.split != "practice"]
    if not questions:
        raise UserError(f"{taught.folder / QUESTIONS} holds no question to test with: there is nothing to export")
    prompts = taught.prompts(questions)
    rows = [row(taught.model, q, p) for q, p in zip(questions, prompts, strict=True) if not p.cut]
    return Exported(rows, len(questions) - len(rows))


def row(model: Any, question: Question, prompt: Prompt) -> dict[str, Any]:
    """One line of questions.jsonl. `text` is all that the model reads before it writes; `stem` the same before a candidate, with the space that parts them, which the
    model would write itself; `message` the same for a model that chats."""
    separator = model.template.separator(prompt) if hasattr(model, "template") else " "
    text = model.render(prompt).replace(CUT, " ")  # other programs know no cuts: a space keeps what spells a special token from being one
    return {
        "id": question.id, "kind": question.kind, "fact": question.cluster, "prompt": question.prompt, "text": text, "stem": text + separator, "message": message(prompt),
        "answers": list(question.answers), "choices": list(question.choices),
        "gold": question.choices.index(question.answers[0]) if question.choices else -1, "answer_words": question.answer_words,
    }  # fmt: skip


def message(prompt: Prompt) -> str:
    """The prompt as one message to a model that chats."""
    said = [text for _, text in prompt.turns] if isinstance(prompt, Chat) else list(prompt.documents)
    begun = prompt.begun if isinstance(prompt, Chat) else prompt.question
    ask = "Write only the missing word or words." if begun and not begun.rstrip().endswith("?") else "Answer with the word or words asked for, nothing else."
    return "\n\n".join((*said, *([begun] if begun else []), *prompt.thought, ask))


def write_lm_eval(taught: Taught, export: Exported, to: Path) -> None:
    """Tasks for lm-evaluation-harness: for each kind one that chooses among candidates by likelihood, and one that writes; a group of each."""
    name, tasks = slug(taught.name), {"choice": export.kinds(with_choices=True), "exact": export.kinds()}
    for way, kinds in tasks.items():
        for kind in kinds:
            body = _YAML[way].format(task=f"{name}_{way}_{slug(kind)}", kind=json.dumps(kind), max_tokens=longest(taught))
            (to / f"{name}_{way}_{slug(kind)}.yaml").write_text(body, "utf-8")
        if kinds:
            group = {"group": f"{name}_{way}", "task": [f"{name}_{way}_{slug(kind)}" for kind in kinds], "metric": "acc" if way == "choice" else "exact"}
            (to / f"{name}_{way}.yaml").write_text(_GROUP.format(**group | {"task": json.dumps(group["task"])}), "utf-8")
    _copy(to, {"judge.py": "judge.py", "lm_eval_utils.py": "utils.py"}, export.rows)
    groups = ",".join(f"{name}_{way}" for way, kinds in tasks.items() if kinds)
    (to / "README.md").write_text(_README_LM_EVAL.format(name=taught.name, groups=groups, rows=len(export.rows)), "utf-8")


def write_inspect(taught: Taught, export: Exported, to: Path) -> None:
    """A task file for inspect_ai."""
    _copy(to, {"judge.py": "judge.py", "inspect_task.py": "task.py"}, export.rows)
    (to / "task.py").write_text((to / "task.py").read_text("utf-8").replace("MAX_TOKENS = 8", f"MAX_TOKENS = {longest(taught)}"), "utf-8")
    (to / "README.md").write_text(_README_INSPECT.format(name=taught.name, rows=len(export.rows)), "utf-8")


def longest(taught: Taught) -> int:
    """Most tokens of a written answer, as the scoring of the taught directory has it."""
    return taught.about["scoring"].get("max_tokens", LONGEST_ANSWER)


def slug(name: str) -> str:
    """`name` as a part of a task's name."""
    return re.sub(r"\W+", "_", name).strip("_") or "taught"


def _copy(to: Path, named: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    for source, name in named.items():
        (to / name).write_text((files("tolman.app.exported") / source).read_text("utf-8"), "utf-8")
    (to / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")


_YAML = {
    "choice": """task: {task}
custom_dataset: !function utils.load
dataset_kwargs:
  kind: {kind}
  with_choices: true
test_split: test
output_type: multiple_choice
doc_to_text: stem
doc_to_choice: choices
doc_to_target: gold
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
""",
    "exact": """task: {task}
custom_dataset: !function utils.load
dataset_kwargs:
  kind: {kind}
  with_choices: false
test_split: test
output_type: generate_until
doc_to_text: text
doc_to_target: ""
target_delimiter: ""
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: {max_tokens}
  do_sample: false
process_results: !function utils.exact
metric_list:
  - metric: exact
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
""",
}
_GROUP = """group: {group}
task: {task}
aggregate_metric_list:
  - metric: {metric}
    weight_by_size: true
"""
_README_LM_EVAL = """# {name}: tasks for lm-evaluation-harness

{rows} questions, as the taught model reads them: its template, and the passages that its memory found, are part of each text.

    lm_eval --include_path . --tasks {groups} --model hf --model_args pretrained=MODEL,dtype=float32

MODEL: what `tolman export DIR --to hf` wrote. No chat template is to be applied: it is in the texts.

- `..._choice_KIND`: the likeliest of the candidates. `acc` is Tolman's scoring/choice, `acc_norm` the same with `normalise=characters`.
- `..._exact_KIND`: the model writes, greedily; `exact` is Tolman's scoring/exact.
"""
_README_INSPECT = """# {name}: tasks for inspect_ai

{rows} questions. `rendered`: as the taught model reads them, its template and the passages that its memory found part of each text, answered by its weights:

    inspect eval task.py@rendered -T weights=MODEL --model mockllm/model

MODEL: what `tolman export DIR --to hf` wrote; plain transformers reads it. (Inspect wants some `--model`; that one is never asked, for its providers of local models would
put a chat template around texts that have one.) Right is what Tolman's scoring/exact calls right; `stderr` is clustered on facts. One kind only: `-T kind=recall`.

`asked`: the same questions as messages to any model that chats, such as

    inspect eval task.py@asked --model openai/gpt-4o-mini
"""
