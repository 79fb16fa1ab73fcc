"""Who answers behind the server: a taught directory, or a model by itself."""

import threading
from pathlib import Path
from typing import Any

from tolman.app.audit import model_at
from tolman.app.taught import Taught
from tolman.core.data import Corpus
from tolman.test_time.closed_book import ClosedBook


class Alone(Taught):
    """A model by itself, whatever `--model` names: nothing stands before the question but what was said."""

    def __init__(self, place: str, **operational: Any) -> None:
        self.model: Any = model_at(place.removeprefix("models/"), operational).create(Corpus((), (), {}), seed=0)  # type: ignore[attr-defined]
        self.folder, self.name, self.about = Path(place), Path(place).name, {}
        self.chats, self.thinking, self.test_time = getattr(self.model, "chats", False), None, ClosedBook()
        self.way, self._turn = self.test_time, threading.Lock()


def who(folder: Path | None, model: str | None) -> tuple[Taught, str]:
    """Who answers, and the name by which clients call it."""
    assert (folder is None) != (model is None), "one of the two"
    answerer = Taught.open(folder) if folder is not None else Alone(str(model))
    return answerer, answerer.name
