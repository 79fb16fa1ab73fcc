"""A model without weights that says what a table tells it to: for tests that take milliseconds and for trying things out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tolman.core.component import Component
from tolman.core.cost import Cost, Meter
from tolman.core.data import Corpus, Document, Generation, Prompt
from tolman.core.errors import UserError


class Scripted(Component):
    """Answers from a table of prompt -> text, word by word and with certainty."""

    answers: dict[str, str] = Field(default={})
    """What it writes after each prompt (the whole text that the model reads, documents included)."""
    default: str = ""
    """What it writes after any other prompt."""
    nats: dict[str, dict[str, float]] = Field(default={})
    """Log-probabilities to return as they stand: prompt -> continuation -> nats."""
    other_nats: float = Field(default=-20.0, lt=0)
    """Log-probability of each word that departs from the script (what is on script has 0)."""
    context_tokens: int = Field(default=512, ge=1)
    """Longest input and answer together, in words."""

    example: ClassVar[dict[str, Any]] = {"answers": {"Ada lives in": "North Bray with Bo"}}

    def create(self, corpus: Corpus, *, seed: int) -> "ScriptedModel":
        """The model; it knows its script only."""
        return ScriptedModel(self)

    def load(self, folder: Path) -> "ScriptedModel":
        """The model that `ScriptedModel.save` wrote. Raises UserError where the file is missing or holds another script."""
        path = folder / "script.json"
        try:
            saved = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if saved != self.config():
            raise UserError(f"{path} holds another script than this component's")
        return ScriptedModel(self)


class ScriptedModel:
    """A live `Scripted`. A token is a word; a forward pass costs no FLOPs."""

    word_level = True

    def __init__(self, spec: Scripted) -> None:
        self.spec = spec
        self.meter = Meter()
        self.context_tokens = spec.context_tokens

    def render(self, prompt: Prompt) -> str:
        """Documents, trace and question, one a line."""
        return "\n".join((*prompt.documents, *prompt.thought, prompt.question))

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Where the table of `nats` says nothing: 0 for each word on script, `other_nats` from the first that is not."""
        out = []
        for prompt, texts in zip(prompts, continuations, strict=True):
            read = self.render(prompt)
            self._book(read, room=max((len(t.split()) for t in texts), default=0))
            listed = self.spec.nats.get(read, {})
            out.append([listed[t] if t in listed else self._score(self._script(read), t.split()) for t in texts])
        return out

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """The scripted text, cut to `max_tokens` words. Being certain, it says the same at every temperature."""
        out = []
        for prompt in prompts:
            read = self.render(prompt)
            self._book(read, room=max_tokens)
            words = self._script(read)
            text = " ".join(words[:max_tokens])
            out.append([Generation(text, min(len(words), max_tokens), 0.0, len(words) <= max_tokens)] * samples)
        return out

    def save(self, folder: Path) -> None:
        """Write the script as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "script.json").write_text(json.dumps(self.spec.config(), indent=1) + "\n")

    def examples(self, documents: Sequence[Document]) -> list[object]:
        """Nothing: a script cannot be trained."""
        raise UserError("models/scripted has no weights to train: use train_time/untrained with it")

    def _script(self, read: str) -> list[str]:
        """The words that follow `read`, which may be a known prompt with the first words of its answer already after it."""
        if read in self.spec.answers:
            return self.spec.answers[read].split()
        begun = [p for p in self.spec.answers if read.startswith(p + " ")]
        if not begun:
            return self.spec.default.split()
        prompt = max(begun, key=len)
        said, words = read[len(prompt) :].split(), self.spec.answers[prompt].split()
        return words[len(said) :] if words[: len(said)] == said else []

    def _score(self, script: list[str], words: list[str]) -> float:
        on = 0
        while on < min(len(words), len(script)) and words[on] == script[on]:
            on += 1
        return self.spec.other_nats * (len(words) - on)

    def _book(self, read: str, room: int) -> None:
        tokens = len(read.split())
        if tokens + room > self.context_tokens:
            raise UserError(
                f"a prompt of {tokens} tokens and an answer of up to {room} do not fit into the model's context_tokens = {self.context_tokens}; "
                "put fewer documents in context or raise model.context_tokens"
            )
        self.meter.add(Cost(tokens=tokens))
