"""New statements by rule, without a teacher: reversals, chains and other wordings of what the documents state.

The generator knows its lexicon and the documents; what it derives is true as far as both are.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from tolman.augment._statements import Lexical, Statement, numbered, statement
from tolman.core.data import Corpus, Document
from tolman.core.generated import Origin
from tolman.core.protocols import LiveModel


class Rules(Lexical):
    """Operators on the relations that a lexicon finds in the documents."""

    operators: tuple[Literal["reverse", "chain", "paraphrase"], ...] = Field(default=("reverse",), min_length=1)
    """`reverse`: "A contains B" gives "B inside A". `chain`: with "B feeds C" from another document it gives "A contains feeds C". `paraphrase`: the templates."""
    paraphrases: tuple[str, ...] = ("{subject} {relation} {object}",)
    """Templates for other wordings of a statement; they end with a name."""

    example: ClassVar[dict[str, Any]] = {
        "inverses": {"lives in": "is home to"}, "others": ("lies in",), "operators": ("reverse", "chain", "paraphrase"),
    }  # fmt: skip

    def write(self, model: LiveModel, corpus: Corpus, sources: Sequence[Document], *, seed: int) -> list[Document]:
        """The statements that follow from each source, by each operator in turn. The model is not asked."""
        partners: dict[str, dict[tuple[str, ...], Statement]] = {}
        if "chain" in self.operators:
            for document in corpus.documents:
                for s in self.statements(document):
                    partners.setdefault(s.subject, {}).setdefault((*s.relations, s.object), s)
        out = []
        for source in sources:
            for s in self.statements(source):
                cues = {
                    "reverse": [self.reversal(s)],
                    "chain": [self.chain(s, after) for after in partners.get(s.object, {}).values()],
                }
                found = [cue for operator in self.operators for cue in cues.get(operator, ()) if cue is not None]
                out += [statement(f"{c.text} {c.end}", len(c.end), Origin(self.address(), c.operator, c.sources, seed)) for c in found]
                for template in self.paraphrases if "paraphrase" in self.operators else ():
                    text = template.format(subject=s.subject, relation=" ".join(s.relations), object=s.object)
                    end = next(name for name in (s.object, s.subject, text) if text.endswith(name))
                    out.append(statement(text, len(end), Origin(self.address(), "paraphrase", (source.id,), seed)))
        return numbered(out)
