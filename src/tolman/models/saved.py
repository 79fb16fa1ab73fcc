"""A model as a training of ours left it: an artifact of a store, to be asked again or trained on."""

from pathlib import Path
from typing import Any, ClassVar

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus
from tolman.core.protocols import LiveModel
from tolman.models._contents import contents


class Saved(Component):
    """The weights in `folder`, read by the component that wrote them."""

    folder: Path
    """What the model's `save` wrote, such as runs/artifacts/FINGERPRINT. Results depend on what is in it, not on where it is."""
    model: Nested
    """The component that reads it."""

    example: ClassVar[dict[str, Any]] = {
        "folder": Path(__file__).parent / "_saved_example",
        "model": {"is": "models/scripted", "answers": {"Ada lives in": "North Bray with Bo"}},
    }

    def create(self, corpus: Corpus, *, seed: int) -> LiveModel:
        """The model in `folder`, whatever the corpus. Raises UserError where there is none."""
        return self.load(self.folder)

    def load(self, folder: Path) -> LiveModel:
        """The model that was saved in `folder`, this one or what a further training made of it."""
        return self.model.load(folder)  # type: ignore[attr-defined]

    def identity(self) -> dict[str, Any]:
        """The bytes of the files stand for their place."""
        return super().identity() | {"folder": contents(self.folder)}
