# pyright: reportMissingImports=false
"""The questions of this folder as tasks of inspect_ai; README.md beside this file says how to run them."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

MAX_TOKENS = 8


@task
def rendered(weights: str, kind: str | None = None) -> Task:
    """Each question as the taught model reads it, its template and its passages included, answered by the weights in the folder `weights`."""
    return _task("text", written_by(weights), kind)


@task
def asked(kind: str | None = None) -> Task:
    """Each question as a message to any model that chats, the passages quoted in it."""
    return _task("message", generate(), kind)


def _task(field: str, answers: Solver, kind: str | None) -> Task:
    samples = [
        Sample(input=row[field], target=row["answers"], id=row["id"], metadata={name: row[name] for name in ("kind", "fact", "answers", "answer_words")})
        for row in judge().questions(kind)
    ]
    return Task(dataset=MemoryDataset(samples), solver=answers, scorer=exact(), config=GenerateConfig(max_tokens=MAX_TOKENS, temperature=0.0))


@solver
def written_by(model: str) -> Solver:
    """The model in the folder `model` goes on with each text as it stands, greedily, in float32: no template is put around it, no special token added."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content(model, go_on(model, state.input_text))
        return state

    return solve


def go_on(model: str, text: str) -> str:
    """What the model writes after `text`."""
    import torch

    network, tokenizer = loaded(model)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=MAX_TOKENS, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@cache
def loaded(model: str) -> tuple[Any, Any]:
    """Network and tokenizer of the folder `model`, relative to this file's."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = (Path(__file__).parent / Path(model).expanduser()).resolve()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)


@scorer(metrics=[accuracy(), stderr(cluster="fact")])
def exact() -> Scorer:
    """Whether the answer's first words are an accepted answer."""

    async def score(state: TaskState, target: Target) -> Score:
        right = judge().right(state.output.completion, state.metadata)
        return Score(value=CORRECT if right else INCORRECT, answer=state.output.completion)

    return score


@cache
def judge() -> ModuleType:
    """judge.py of this folder, wherever the folder is."""
    spec = importlib.util.spec_from_file_location("judge", Path(__file__).with_name("judge.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
