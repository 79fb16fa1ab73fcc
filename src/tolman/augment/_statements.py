"""What augmenters share: statements read from documents with a lexicon, the operators on them, and documents made of what was written.

A statement is a name, one or more relations of the lexicon, and a name: "f03 A contains B f17" says (A, contains, B). Names are runs of capitalised words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any, NamedTuple

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Document, Prompt
from tolman.core.generated import Origin
from tolman.core.protocols import LiveModel
from tolman.core.seeds import rng

NAME = r"[A-ZÀ-Þ]\w*(?: [A-ZÀ-Þ]\w*)*"


class Statement(NamedTuple):
    """`subject relations object`, as document `document` says it."""

    subject: str
    relations: tuple[str, ...]
    object: str
    document: str


class Cue(NamedTuple):
    """The beginning of a statement to be completed, with the operator that proposes it, the ids of the documents that it follows from, and its true end."""

    text: str
    operator: str
    sources: tuple[str, ...]
    end: str


class Lexical(Component):
    """An augmenter with a lexicon: what it knows of the language. Of the world it knows what the documents say."""

    inverses: dict[str, str] = Field(default={})
    """Relation -> its inverse, such as contains -> inside: "A contains B" and "B inside A" say the same."""
    others: tuple[str, ...] = ()
    """Relations without an inverse."""

    @cached_property
    def inverse(self) -> dict[str, str]:
        """The inverse of every relation that has one, both ways."""
        return self.inverses | {back: forward for forward, back in self.inverses.items()}

    @cached_property
    def forward(self) -> frozenset[str]:
        """The relations that may be chained: no inverses."""
        return frozenset((*self.inverses, *self.others))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = "|".join(re.escape(word) for word in sorted({*self.inverse, *self.others}, key=len, reverse=True))
        return re.compile(rf"({NAME}) ((?:(?:{words}) )+)({NAME})" if words else r"(?!)()()()")

    @cached_property
    def _relation(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(word) for word in sorted({*self.inverse, *self.others}, key=len, reverse=True)))

    def statements(self, document: Document) -> list[Statement]:
        """The statements that `document` makes, in order."""
        return [
            Statement(m[1], tuple(self._relation.findall(m[2])), m[3], document.id) for line in document.text.splitlines() for m in self._pattern.finditer(line)
        ]

    def reversal(self, s: Statement) -> Cue | None:
        """ "A contains B" as "B inside", to be ended by A."""
        if len(s.relations) != 1 or s.relations[0] not in self.inverse:
            return None
        return Cue(f"{s.object} {self.inverse[s.relations[0]]}", "reverse", (s.document,), s.subject)

    def chain(self, s: Statement, after: Statement) -> Cue | None:
        """ "A teaches B" and "B feeds C" as "A teaches feeds", to be ended by C; None for what makes no chain, or one that leads back."""
        linked = s.object == after.subject and s.subject != after.object and len(s.relations) == len(after.relations) == 1
        if not linked or not self.forward.issuperset(s.relations + after.relations):
            return None
        return Cue(f"{s.subject} {s.relations[0]} {after.relations[0]}", "chain", (s.document, after.document), after.object)


def completed(
    by: str, model: LiveModel, asked: Sequence[tuple[Cue, tuple[str, ...], int]], *, words: int, temperature: float, samples: int, seed: int
) -> list[Document]:
    """What `model` makes of each (cue, documents shown before it, number of the draw): the cue with up to `words` words that it wrote, which are the target.

    Where it wrote nothing there is no document.
    """
    prompts = [Prompt(cue.text, shown) for cue, shown, _ in asked]
    limit = words if getattr(model, "word_level", False) else 8 * words
    out = []
    for (cue, _, draw), texts in zip(asked, model.generate(prompts, max_tokens=limit, samples=samples, temperature=temperature, seed=seed), strict=True):
        for i, written in enumerate(texts):
            end = " ".join(written.text.strip().split("\n")[0].split()[:words])
            if end:
                out.append(statement(f"{cue.text} {end}", len(end), Origin(by, cue.operator, cue.sources, seed, draw + i)))
    return out


def instruction(name: str, source: Document, window: Sequence[Document], draw: int) -> tuple[str, tuple[str, ...], int]:
    """What to tell a model: prompts/`name`.txt about `source` among `window`, with the ids of these documents and the number of the draw."""
    prompt = files("tolman.augment").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    parts = {"{window}": "\n".join(d.text for d in window), "{document}": source.text}
    text = re.sub("|".join(parts), lambda m: parts[m[0]], prompt)  # in one pass: a document may hold braces
    return text, (source.id, *(d.id for d in window if d.id != source.id)), draw


def instructed(
    by: str, model: LiveModel, asked: Sequence[tuple[str, tuple[str, ...], int]], *, max_tokens: int, temperature: float, samples: int, seed: int, split: bool
) -> list[Document]:
    """What `model` writes when told (instruction, ids of the documents in it, number of the draw): each line a document if `split`, else the whole text.

    Some models stop at a line break. Of several lines the last, if the limit of tokens cut it, is left out, and so is what a model makes up after a heading of the
    instruction's ("Text:"), which begins another example.
    """
    prompts = [Prompt(text) for text, _, _ in asked]
    how: dict[str, Any] = {"one_line": False} if split and getattr(model, "many_lines", False) else {}
    out = []
    for (told, sources, draw), texts in zip(
        asked, model.generate(prompts, max_tokens=max_tokens, samples=samples, temperature=temperature, seed=seed, **how), strict=True
    ):
        for i, written in enumerate(texts):
            text = written.text.strip()
            if how and not written.finished and "\n" in text:
                text = text.rpartition("\n")[0]
            text = _before_another(text, told) if how else text
            lines = list(tidy(text)) if split else [text] if text else []
            out += [Document("", line, str(Origin(by, "instruct", sources, seed, draw + i))) for line in lines]
    return out


def _before_another(text: str, instruction: str) -> str:
    """`text` up to the first line that begins as a labelled line of the instruction does."""
    labels = tuple(set(re.findall(r"^\w+:", instruction, re.MULTILINE)))
    lines = text.split("\n")
    return "\n".join(lines[: next((i for i, line in enumerate(lines) if line.startswith(labels)), len(lines))])


def tidy(text: str) -> Iterator[str]:
    """The lines of a list without their bullets and numbers; headings (which end in a colon) and empty lines left out."""
    for line in text.splitlines():
        bare = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()
        if bare and not bare.endswith(":"):
            yield bare


def statement(text: str, end: int, origin: Origin) -> Document:
    """A generated statement whose last `end` characters are the target."""
    return Document("", text, str(origin), ((len(text) - end, len(text)),))


def numbered(documents: Iterable[Document]) -> list[Document]:
    """`documents` with ids of their own: by whom, from which first source, and the how manieth from it."""
    seen: dict[str, int] = {}
    out = []
    for d in documents:
        origin = Origin.of(d)
        key = f"{origin.by}:{origin.sources[0]}"
        seen[key] = seen.get(key, -1) + 1
        out.append(Document(f"{key}:{seen[key]}", d.text, d.provenance, d.targets, d.role))
    return out


class Windows:
    """Documents to show beside one: some that go on from it, and random others."""

    def __init__(self, lexicon: Lexical, documents: Sequence[Document]) -> None:
        self.lexicon, self.documents = lexicon, documents
        self.naming: dict[str, list[int]] = {}
        self.telling: dict[str, list[tuple[int, Statement]]] = {}
        for i, d in enumerate(documents):
            for name in set(re.findall(NAME, d.text)):
                self.naming.setdefault(name, []).append(i)
            for s in lexicon.statements(d):
                self.telling.setdefault(s.subject, []).append((i, s))

    def around(self, source: Document, size: int, *, related: int, seed: int, draw: int) -> list[Document]:
        """Up to `size` documents with `source` somewhere among them; `related` of the others are `near` it, where there are so many, the rest random."""
        generator = rng(seed, "window", source.id, draw)
        near = self.near(source)
        chosen = [near[i] for i in generator.permutation(len(near))[:related].tolist()]
        for i in generator.integers(0, len(self.documents), 4 * size).tolist():
            if len(chosen) < size - 1 and i not in chosen and self.documents[i].id != source.id:
                chosen.append(i)
        beside = [self.documents[i] for i in chosen[: size - 1]] + [source]
        return [beside[i] for i in generator.permutation(len(beside)).tolist()]

    def near(self, source: Document) -> list[int]:
        """The documents with which a statement of `source` makes a chain; where there are none, those that share a name with it."""
        mine = self.lexicon.statements(source)
        linked = [i for s in mine for i, after in self.telling.get(s.object, ()) if self.lexicon.chain(s, after) is not None]
        named = linked or [i for name in sorted(set(re.findall(NAME, source.text))) for i in self.naming[name]]
        return [i for i in dict.fromkeys(named) if self.documents[i].id != source.id]
