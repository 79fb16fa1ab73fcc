"""A model whose answers are drawn instead of taken greedily, so that the scoring that measures can judge samples too, and what was drawn is kept."""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from tolman.core.data import Generation, Prompt
from tolman.core.protocols import LiveModel


class Sampled:
    """A view of `model` that writes at `temperature`. Equal prompts are read once and get draws of their own."""

    def __init__(self, model: LiveModel, *, temperature: float, seed: int) -> None:
        self._model, self._temperature, self._seed = model, temperature, seed
        self._written: dict[Prompt, deque[Generation]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """One draw for each prompt, whatever temperature and seed the scoring asks for."""
        assert samples == 1, "a scoring that samples itself cannot be the reward"
        count = Counter(prompts)
        drawn = self._model.generate(list(count), max_tokens=max_tokens, samples=max(count.values(), default=1), temperature=self._temperature, seed=self._seed)
        rows = {prompt: iter(row) for prompt, row in zip(count, drawn, strict=True)}
        out = [next(rows[prompt]) for prompt in prompts]
        for prompt, written in zip(prompts, out, strict=True):
            self._written.setdefault(prompt, deque()).append(written)
        return [[written] for written in out]

    def written(self, prompt: Prompt) -> Generation | None:
        """What was written for `prompt`: of equal prompts the first not yet taken, in the order they were asked in. None where nothing was."""
        return self._written[prompt].popleft() if self._written.get(prompt) else None
