"""A teacher thinks about each document several times, each time among other documents and by another draw.

One try may go wrong; of many, what they agree on is learned best. (In context, a question gets one try.)
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tolman.augment._statements import Lexical, Windows, completed, instructed, instruction, numbered
from tolman.augment.global_ import connections
from tolman.core.data import Corpus, Document
from tolman.core.protocols import LiveModel
from tolman.core.seeds import rng


class Traces(Lexical):
    """n sampled traces for each document, each in a window of its own."""

    how: Literal["complete", "instruct"] = "complete"
    """`complete`: a trace completes one statement, a reversal of the document or a chain that goes on in the window. `instruct`: it follows the written prompt."""
    operators: tuple[Literal["reverse", "chain"], ...] = Field(default=("reverse", "chain"), min_length=1)
    """What a trace may begin for `complete`."""
    traces: int = Field(default=4, ge=1)
    """Traces for each document."""
    window: int = Field(default=6, ge=1)
    """Documents in context, the one to think about among them."""
    related: int = Field(default=4, ge=0)
    """So many of the others go on from the document (or share a name with it, where none does); the rest are random."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the draws."""
    words: int = Field(default=1, ge=1)
    """Most words of a completion."""
    max_tokens: int = Field(default=400, ge=1)
    """Most tokens of an instructed trace."""

    example: ClassVar[dict[str, Any]] = {"inverses": {"lives in": "is home to"}, "others": ("lies in",), "traces": 2, "window": 4, "related": 3}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.related >= self.window:
            raise ValueError(f"related = {self.related} leaves no room for the document itself in a window of {self.window}")
        return self

    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """Each source's traces in turn. A trace for which its window offers no beginning is left out."""
        windows = Windows(self, corpus.documents)
        drawn = [(d, n, windows.around(d, self.window, related=self.related, seed=seed, draw=n)) for d in sources for n in range(self.traces)]
        how = {"temperature": self.temperature, "samples": 1, "seed": seed}
        if self.how == "instruct":
            told = [instruction("traces", source, window, n) for source, n, window in drawn]
            return numbered(instructed(self.address(), model, told, max_tokens=self.max_tokens, split=False, **how))
        asked = []
        for source, n, window in drawn:
            reversals = [self.reversal(s) for s in self.statements(source)] if "reverse" in self.operators else []
            cues = [cue for cue in reversals if cue is not None] + (connections(self, source, window) if "chain" in self.operators else [])
            if cues:
                asked.append((cues[int(rng(seed, "trace", source.id, n).integers(len(cues)))], tuple(d.text for d in window), n))
        return numbered(completed(self.address(), model, asked, words=self.words, **how))
