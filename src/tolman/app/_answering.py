"""Who answers behind the server: a taught directory, or a model by itself."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tolman.app.audit import model_at
from tolman.app.taught import Reply, Taught
from tolman.core.data import Corpus, Generation, Prompt
from tolman.test_time.closed_book import ClosedBook


class Attended(Taught):
    """A taught directory that asks after every token whether it is enough. For one thread."""

    _enough: Callable[[], bool] = staticmethod(lambda: False)

    def stream(  # type: ignore[override]
        self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0, seed: int = 0, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[str | Reply]:
        """As `Taught.stream`, until it is enough."""
        self._enough = enough
        return super().stream(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def _write(self, prompt: Prompt, max_tokens: int, temperature: float, seed: int) -> Iterator[Generation]:
        for written in super()._write(prompt, max_tokens, temperature, seed):
            yield written
            if self._enough():
                return


class Alone(Attended):
    """A model by itself, whatever `--model` names: nothing stands before the question but what was said."""

    def __init__(self, place: str, **operational: Any) -> None:
        self.model: Any = model_at(place.removeprefix("models/"), operational).create(Corpus((), (), {}), seed=0)  # type: ignore[attr-defined]
        self.folder, self.name, self.about = Path(place), Path(place).name, {}
        self.chats, self.thinking, self.test_time = getattr(self.model, "chats", False), None, ClosedBook()
        self.way, self._turn = self.test_time, threading.Lock()


def who(folder: Path | None, model: str | None) -> tuple[Attended, str]:
    """Who answers, and the name by which clients call it."""
    assert (folder is None) != (model is None), "one of the two"
    answerer = Attended.open(folder) if folder is not None else Alone(str(model))
    return answerer, answerer.name
