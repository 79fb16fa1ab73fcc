"""What something cost. Costs add; what is unknown is `nan`, never 0."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from time import perf_counter
from typing import Self

PHASES = ("generate", "train", "ask", "probe")
"""generate = writing training data; train = changing weights; ask = answering the questions that are measured;
probe = looking at a model while it trains (not part of any method's price)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens through a model, floating-point operations, wall-clock seconds and dollars. `a + b` adds each."""

    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    dollars: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def per(self, n: int) -> "Cost":
        """This cost shared over `n` questions (tokens are rounded)."""
        return Cost(round(self.tokens / n), self.flops / n, self.seconds / n, self.dollars / n)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, float]) -> Self:
        return cls(**data)  # type: ignore[arg-type]


class Meter:
    """Counts what a live model does, by phase. Every live model owns one and adds to it in its forward pass, so no method can forget to count."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}
        self._phase = "train"
        self._since: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book what happens inside, seconds included, under `name`. Phases nest: the inner one's time is not the outer one's."""
        assert name in PHASES, f"{name!r} is none of the phases {PHASES}"
        self._book_seconds()
        outer, was_running = self._phase, self._since is not None
        self._phase, self._since = name, perf_counter()
        try:
            yield
        finally:
            self._book_seconds()
            self._phase, self._since = outer, perf_counter() if was_running else None

    def add(self, cost: Cost) -> None:
        """Book `cost` under the current phase."""
        self.costs[self._phase] = self.costs.get(self._phase, Cost()) + cost

    def get(self, phase: str) -> Cost:
        """What was spent on `phase`, the time until now included if it is under way."""
        self._book_seconds()
        return self.costs.get(phase, Cost())

    def _book_seconds(self) -> None:
        if self._since is not None:
            now = perf_counter()
            self.add(Cost(seconds=now - self._since))
            self._since = now
