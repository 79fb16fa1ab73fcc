"""A cell is one measured point: dataset x model x train-time method x test-time method x scoring x seed. A record is its outcome."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tolman.core.component import Nested, digest
from tolman.core.errors import UserError, suggest

PARTS = ("dataset", "model", "train_time", "test_time", "scoring")


class Cell(BaseModel):
    """One point to measure. Its labels (`training`, `asking`) and `curve` are for people and figures; they are no part of its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: Nested
    """What is to be learned and asked."""
    model: Nested
    """Who learns."""
    train_time: Nested
    """How the weights change."""
    test_time: Nested
    """What is put before the question."""
    scoring: Nested
    """How an answer is judged."""
    seed: int
    """Seed of the world, of the first weights and of every draw."""
    kinds: tuple[str, ...] | None = None
    """The kinds of question to ask; None asks all."""
    training: str = ""
    """Label of dataset, model and train-time method in figures."""
    asking: str = ""
    """Label of the test-time method and scoring in figures."""
    curve: tuple[str, ...] = ()
    """Kinds to ask now and then while the model trains, for the learning curves."""

    def train_identity(self) -> dict[str, Any]:
        """What the weights depend on."""
        return {part: getattr(self, part).identity() for part in ("dataset", "model", "train_time")} | {"seed": self.seed}

    def identity(self) -> dict[str, Any]:
        """What the record depends on."""
        return self.train_identity() | {
            "test_time": self.test_time.identity(), "scoring": self.scoring.identity(), "kinds": sorted(self.kinds) if self.kinds else None,
        }  # fmt: skip

    def train_fingerprint(self) -> str:
        return digest(self.train_identity())

    def fingerprint(self) -> str:
        return digest(self.identity())

    def condition(self) -> str:
        """Fingerprint without the seed: cells of one condition differ in their seed only."""
        return digest({k: v for k, v in self.identity().items() if k != "seed"})

    def config(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def replace(self, path: str, value: Any) -> Self:
        """A copy in which `dataset.entities` or the like has `value`. Raises UserError for an unknown part or field."""
        part, _, rest = path.partition(".")
        if part not in PARTS or not rest:
            raise UserError(f"{path!r} names no field: write PART.FIELD=VALUE, where PART is one of {', '.join(PARTS)}; {suggest(part, PARTS)}")
        return self.model_copy(update={part: getattr(self, part).replace(rest, value)})


def cell_from_config(config: dict[str, Any]) -> Cell:
    """The cell that `Cell.config` described. Raises UserError naming what does not fit."""
    try:
        return Cell(**config)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"this describes no cell: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def override(cells: list[Cell], settings: dict[str, Any]) -> list[Cell]:
    """`cells` with each `part.field = value` set wherever a cell's component has that field. Raises UserError for one that no cell has."""
    for path, value in settings.items():
        changed, first_error, hits = [], None, 0
        for cell in cells:
            try:
                changed.append(cell.replace(path, value))
                hits += 1
            except UserError as error:
                first_error = first_error or error
                if "has no field" not in str(error) and "holds no component" not in str(error):
                    raise
                changed.append(cell)
        if not hits:
            assert first_error is not None
            raise first_error
        cells = changed
    return cells


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a cell, as it was asked and answered. `prompt` is the full text that the model read."""

    question: str
    kind: str
    cluster: str
    question_text: str
    prompt: str
    answer: str
    expected: list[str]
    choices: list[str]
    verdict: str
    correct: bool
    scores_nats: list[float]
    support_shown: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
