"""No training at all: the control."""

from typing import ClassVar

from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.protocols import Checkpoints, TrainableModel, Watch


class Untrained(Component):
    """Leaves the model as it is."""

    trains: ClassVar[bool] = False
    frozen: ClassVar[bool] = True

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        return None
