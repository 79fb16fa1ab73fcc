"""A teacher reads a document among others and writes what follows from them together: connections and inferences.

As in Lampinen et al. 2025 (arXiv 2505.00661), where the others are all documents; here a window of them, for contexts are finite. Their prompt is not public; ours
stands in prompts/global.txt.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tolman.augment._statements import Cue, Lexical, Windows, completed, instructed, instruction, numbered
from tolman.core.data import Corpus, Document
from tolman.core.protocols import LiveModel


class Global(Lexical):
    """A window of documents in context, and the model connects one of them to the others."""

    how: Literal["complete", "instruct"] = "complete"
    """`complete`: it completes chains that begin in the document and go on in the window. `instruct`: it follows the written prompt."""
    window: int = Field(default=6, ge=2)
    """Documents in context, the one to be connected among them."""
    related: int = Field(default=4, ge=0)
    """So many of the others go on from the document (or share a name with it, where none does); the rest are random."""
    windows: int = Field(default=1, ge=1)
    """Windows for each document, each drawn anew."""
    samples: int = Field(default=1, ge=1)
    """Texts for each beginning or prompt."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the most likely words; otherwise they are drawn."""
    words: int = Field(default=1, ge=1)
    """Most words of a completion."""
    max_tokens: int = Field(default=400, ge=1)
    """Most tokens of an instructed text."""

    example: ClassVar[dict[str, Any]] = {"inverses": {"lives in": "is home to"}, "others": ("lies in",), "window": 4, "related": 3}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.related >= self.window:
            raise ValueError(f"related = {self.related} leaves no room for the document itself in a window of {self.window}")
        return self

    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """What the model makes of each source within its window."""
        windows = Windows(self, corpus.documents)
        around = [(d, n, windows.around(d, self.window, related=self.related, seed=seed, draw=n)) for d in sources for n in range(self.windows)]
        how = {"temperature": self.temperature, "samples": self.samples, "seed": seed}
        if self.how == "instruct":
            told = [instruction("global", source, window, n) for source, n, window in around]
            return numbered(instructed(self.address(), model, told, max_tokens=self.max_tokens, split=True, **how))
        asked = [(cue, tuple(d.text for d in window), n) for source, n, window in around for cue in connections(self, source, window)]
        return numbered(completed(self.address(), model, asked, words=self.words, **how))


def connections(lexicon: Lexical, source: Document, window: Sequence[Document]) -> list[Cue]:
    """The chains that begin with a statement of `source` and end with one of another document in `window`, each beginning once."""
    ahead = [s for d in window if d.id != source.id for s in lexicon.statements(d)]
    cues = [cue for s in lexicon.statements(source) for after in ahead if (cue := lexicon.chain(s, after)) is not None]
    return list({cue.text: cue for cue in cues}.values())
