"""Learned recall: the model writes what it recalls, within a budget of tokens, and then answers with that before it.

The trace is written here and becomes part of the prompt; the answer is written and judged by the scoring, as for every other way of asking.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, field_validator

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus, Generation, Prompt, Question
from tolman.core.protocols import LiveModel
from tolman.core.seeds import derive
from tolman.core.thinking import ASK


class Thinking(Component):
    """A trace before the answer: one, written greedily, or several, sampled, whose answers `scoring/vote` puts to the vote."""

    budget_tokens: int = Field(default=32, ge=1)
    """Longest trace. One that has not ended by then is cut, and counts as truncated: there is no answer."""
    samples: int = Field(default=1, ge=1)
    """Traces for each question."""
    temperature: float = Field(default=0.0, ge=0)
    """0 writes the likeliest trace; several samples need more than 0."""
    ask: str = ASK
    """How the model is asked to think; `{question}` stands for the question."""
    context: Nested | None = None
    """Another test-time method whose documents stand before the trace, such as `test_time/retrieval`; None: none."""

    example: ClassVar[dict[str, Any]] = {"budget_tokens": 6}

    @field_validator("ask")
    @classmethod
    def _has_question(cls, ask: str) -> str:
        if ask.count("{question}") != 1 or "{" in ask.replace("{question}", ""):
            raise ValueError("it must hold {question} once, and no other field")
        return ask

    @field_validator("temperature")
    @classmethod
    def _samples_differ(cls, temperature: float, info: Any) -> float:
        if not temperature and info.data.get("samples", 1) > 1:
            raise ValueError(f"samples = {info.data['samples']} are all the same at temperature 0: set a temperature, such as 1")
        return temperature

    def prompts(self, model: LiveModel, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[Prompt]:
        """The question after its trace; with several samples, `Prompt.samples` holds them all."""
        plain = [Prompt(q.prompt) for q in questions] if self.context is None else self.context.prompts(model, corpus, questions, seed=seed)  # type: ignore[attr-defined]
        thought = self.traces(model, plain, samples=self.samples, temperature=self.temperature, seed=derive(seed, "thinking"))
        return [
            replace(prompts[0], samples=tuple(prompts) if len(prompts) > 1 else ())
            for prompts in (self.after(p, t) for p, t in zip(plain, thought, strict=True))
        ]

    def traces(self, model: LiveModel, plain: Sequence[Prompt], *, samples: int, temperature: float, seed: int) -> list[list[Generation]]:
        """`samples` traces for each prompt. Each question's draws depend on the seed and on what it is shown."""
        return model.generate([self.asked(p) for p in plain], max_tokens=self.budget_tokens, samples=samples, temperature=temperature, seed=seed)

    def asked(self, prompt: Prompt) -> Prompt:
        """The prompt that asks for a trace."""
        return replace(prompt, question=self.ask.format(question=prompt.question))

    def after(self, prompt: Prompt, traces: Sequence[Generation]) -> list[Prompt]:
        """The prompt with each of the traces before its question."""
        return [replace(prompt, request=self.asked(prompt).question, trace=t.text, cut=not t.finished) for t in traces]
