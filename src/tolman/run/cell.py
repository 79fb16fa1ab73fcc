"""A cell is one measured point: dataset x model x train-time method x test-time method x scoring x seed. A record is its outcome."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tolman.core.component import Component, Nested, digest
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
        return self.replace_all({path: value})

    def replace_all(self, values: dict[str, Any]) -> Self:
        """A copy with several fields changed; those of one component at once."""
        by_part: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            part, rest = split(path)
            by_part.setdefault(part, {})[rest] = value
        return self.model_copy(update={part: getattr(self, part).replace_all(fields) for part, fields in by_part.items()})


def split(path: str) -> tuple[str, str]:
    """`dataset.entities` as its part and the path within. Raises UserError if it names no field of a part."""
    part, _, rest = path.partition(".")
    if part not in PARTS or not rest:
        raise UserError(f"{path!r} names no field: write PART.FIELD=VALUE, where PART is one of {', '.join(PARTS)}; {suggest(part, PARTS)}")
    return part, rest


def cell_from_config(config: dict[str, Any]) -> Cell:
    """The cell that `Cell.config` described. Raises UserError naming what does not fit."""
    try:
        return Cell(**config)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"this describes no cell: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def override(cells: list[Cell], settings: dict[str, Any]) -> list[Cell]:
    """`cells` with each `part.field = value` set wherever a cell's component has that field. Raises UserError for one that no cell has."""
    for path in settings:
        part, rest = split(path)
        if not any(has_field(getattr(cell, part), rest) for cell in cells):
            cells[0].replace(path, settings[path])  # says what is wrong
            raise UserError(f"no cell of the study has the field {path!r}")
    return [cell.replace_all({p: v for p, v in settings.items() if has_field(getattr(cell, split(p)[0]), split(p)[1])}) for cell in cells]


def has_field(component: Component, path: str) -> bool:
    """Whether `component` has a field at dotted `path`."""
    head, _, rest = path.partition(".")
    if head not in type(component).model_fields:
        return False
    inner = getattr(component, head)
    return not rest or (isinstance(inner, Component) and has_field(inner, rest))


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a cell, as it was asked and answered. `prompt` is the full text that the model read.

    `trace` is what it wrote before it answered, `trace_told` says of each statement in it whether a document states it, and `needed` holds the statements that the
    question needs. `samples` are the verdicts of the answers that were voted upon.
    """

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
    support_shown: bool | None
    """Whether every supporting document (or a copy of it) was put before the question; None where it needs none, or where nothing is put before any question."""
    trace: str = ""
    trace_told: list[bool] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
