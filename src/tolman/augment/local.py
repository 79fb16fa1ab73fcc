"""A teacher reads one document and writes what it says in other words and other directions.

As in Lampinen et al. 2025 (arXiv 2505.00661), whose local prompt is not public; ours stands in prompts/local.txt.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from tolman.augment._statements import Cue, Lexical, completed, instructed, instruction, numbered
from tolman.core.component import Added
from tolman.core.data import Corpus, Document
from tolman.core.protocols import LiveModel


class Local(Lexical):
    """One document in context, and the model writes."""

    how: Literal["complete", "instruct"] = "complete"
    """`complete`: it completes statements that the operators begin, as a model trained from scratch can. `instruct`: it follows the written prompt."""
    prompt: Literal["local", "plain", "narrow"] = Added("local")
    """What it is told for `instruct` (prompts/): to say the same in other words and from the other end; only to write more; or to say it from the other end in one form alone."""
    operators: tuple[Literal["reverse", "restate"], ...] = Field(default=("reverse",), min_length=1)
    """What to begin for `complete`: "B inside" after "A contains B" (reverse), or "A contains" once more (restate)."""
    samples: int = Field(default=1, ge=1)
    """Texts for each beginning or prompt."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the most likely words; otherwise they are drawn."""
    words: int = Field(default=1, ge=1)
    """Most words of a completion."""
    max_tokens: int = Field(default=400, ge=1)
    """Most tokens of an instructed text."""

    example: ClassVar[dict[str, Any]] = {"inverses": {"lives in": "is home to"}, "operators": ("reverse", "restate")}

    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """What the model makes of each source by itself."""
        how = {"temperature": self.temperature, "samples": self.samples, "seed": seed}
        if self.how == "instruct":
            told = [instruction(self.prompt, d, [d], 0) for d in sources]
            return numbered(instructed(self.address(), model, told, max_tokens=self.max_tokens, split=True, **how))
        asked = [(cue, (d.text,), 0) for d in sources for cue in self.cues(d)]
        return numbered(completed(self.address(), model, asked, words=self.words, **how))

    def cues(self, document: Document) -> list[Cue]:
        """What to complete after `document`."""
        out = []
        for s in self.statements(document):
            for operator in self.operators:
                cue = self.reversal(s) if operator == "reverse" else Cue(f"{s.subject} {' '.join(s.relations)}", "restate", (s.document,), s.object)
                out += [cue] if cue else []
        return out
