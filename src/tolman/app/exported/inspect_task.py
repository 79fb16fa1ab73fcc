# pyright: reportMissingImports=false
"""The questions of this folder as tasks of inspect_ai; README.md beside this file says how to run them."""

import importlib.util
from pathlib import Path
from types import ModuleType

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

MAX_TOKENS = 8


def _beside(name: str) -> ModuleType:
    """The module in the file `name`.py of this folder, wherever the folder is."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge = _beside("judge")


@scorer(metrics=[accuracy(), stderr(cluster="fact")])
def exact() -> Scorer:
    """Whether the answer's first words are an accepted answer."""

    async def score(state: TaskState, target: Target) -> Score:
        right = judge.right(state.output.completion, state.metadata)
        return Score(value=CORRECT if right else INCORRECT, answer=state.output.completion)

    return score


@task
def rendered(kind: str | None = None) -> Task:
    """Each question as the taught model read it, its template included. The model's tokenizer must pass the text on as it stands (the folder `tokenizer`)."""
    return _task(kind, "text")


@task
def asked(kind: str | None = None) -> Task:
    """Each question as a message to any model that chats, the passages quoted in it."""
    return _task(kind, "message")


def _task(kind: str | None, field: str) -> Task:
    samples = [
        Sample(input=row[field], target=row["answers"], id=row["id"], metadata={name: row[name] for name in ("kind", "fact", "answers", "answer_words")})
        for row in judge.questions(kind)
    ]
    # top_k 1 is greedy wherever temperature 0 is refused
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=exact(), config=GenerateConfig(max_tokens=MAX_TOKENS, temperature=1.0, top_k=1))
