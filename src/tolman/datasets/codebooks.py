"""Codebooks: every symbol is defined, but under each codebook some symbols never occur in an encoded sequence.

After the codebooks of Lampinen et al. 2025 (arXiv 2509.16189): definition sequences, encoding sequences under a named codebook, and for each codebook symbols
that are defined there but never encoded. That paper's sizes are not known to us: every size here is our choice, at scale `paper` too.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question, uncollected
from tolman.core.seeds import rng
from tolman.datasets._worlds import MOST_WORDS, Filler, Line, blocks, few_of_two, in_context, invented, others, shuffle, shuffled, told

MOST_ENCODINGS = 3
"""Up to this many encodings in one in-context sequence."""


class Codebooks(Component):
    """Codebooks that give each symbol a code: definitions of all symbols, encoded sequences of all but the latent ones."""

    books: int = Field(default=4, ge=2, le=10_000)
    """Number of codebooks, each with codes of its own for the same symbols."""
    symbols: int = Field(default=24, ge=4, le=MOST_WORDS)
    """Number of symbols."""
    codes: int = Field(default=12, ge=2, le=10_000)
    """Number of codes. Several symbols share a code, and the code of every latent symbol is also that of a trained one."""
    latent: int = Field(default=6, ge=1)
    """Symbols of each codebook that are defined but never encoded under it (they are under another one)."""
    longest: int = Field(default=3, ge=2, le=50)
    """Encoded sequences have 1 to this many symbols; questions always have this many."""
    cue: Literal["symbol_first", "book_first"] = "symbol_first"
    """Order of a definition's cue, "symbol BOOK means code" or "BOOK symbol means code". Encodings name the book first: with the same order in both, a small
    model computes both alike, and what it learned of the one serves the other."""
    filler_words: int = Field(default=50, ge=1, le=10_000)
    """Number of filler words for the random prefixes and suffixes."""
    max_filler: int = Field(default=5, ge=0, le=20)
    """Up to this many random filler words stand before and after each statement."""
    copies: int = Field(default=8, ge=1)
    """Documents for each definition, each with its own filler."""
    encodings: int = Field(default=600, ge=1)
    """Documents with an encoded sequence, for each codebook."""
    episodes: Literal["none", "trained", "fresh"] = "fresh"
    """In-context sequences, definitions followed by encodings: none, of trained symbols with their true codes, or of any symbols with fresh random codes."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    episode_definitions: int = Field(default=6, ge=1, le=50)
    """Up to this many definitions in one in-context sequence."""
    one_book_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the in-context sequences that have one book only, so that the symbol alone tells which definition is asked for."""
    asked: int = Field(default=60, ge=1)
    """Questions of each kind about trained symbols (about each latent symbol every question is asked)."""
    options: int = Field(default=10, ge=2)
    """Candidates of a question for likelihood choice, the answer among them."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {},
        "small": {"books": 12, "symbols": 80, "codes": 40, "latent": 8, "encodings": 2000, "asked": 200, "episode_count": 60_000},
        "paper": {"books": 20, "symbols": 200, "codes": 100, "latent": 10, "encodings": 8000, "asked": 200, "episode_count": 200_000},
    }

    example: ClassVar[dict[str, Any]] = {
        "books": 3, "symbols": 12, "codes": 6, "latent": 2, "copies": 2, "encodings": 60,
        "episode_count": 150, "episode_definitions": 3, "asked": 12, "options": 4,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        trained = self.symbols - self.latent
        if 2 * self.latent > self.symbols:
            raise ValueError(f"latent = {self.latent} is more than half of symbols = {self.symbols}: a symbol could be latent under every codebook")
        if self.codes > trained:
            raise ValueError(f"codes = {self.codes} are more than the {trained} trained symbols of a codebook, so some code would never be written")
        if self.options > self.codes:
            raise ValueError(f"options = {self.options} needs at least as many codes, not {self.codes}")
        if self.encodings < trained:
            raise ValueError(f"encodings = {self.encodings} is too few to encode each of the {trained} trained symbols of a codebook once")
        if 4 * self.asked > self.books * trained**self.longest:
            raise ValueError(f"asked = {self.asked} leaves too few of the {self.books * trained**self.longest} sequences to train on; ask at most a quarter")
        if self.asked > self.books * trained:
            raise ValueError(f"asked = {self.asked} is more than the {self.books * trained} definitions of trained symbols")
        return self

    @uncollected()
    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`: the same to the byte on every machine."""
        return _World(self, seed).corpus()


class _World:
    """One sampled set of codebooks, and the ways of writing about it. Books, symbols and codes are indices; a pair is (book, symbol)."""

    def __init__(self, spec: Codebooks, seed: int) -> None:
        self.spec, self.seed = spec, seed
        draw = rng(seed, "codebooks", "names")
        self.symbols = invented(spec.symbols, draw)
        self.books = [name.capitalize() for name in invented(spec.books, draw, taken=self.symbols)]
        self.codes = [f"x{i:02d}" for i in range(spec.codes)]
        self.filler = Filler(spec.filler_words, spec.max_filler, rng(seed, "codebooks", "filler pool"))
        self.code, self.trained = self.tables(rng(seed, "codebooks", "codes"))
        self.latent = [(b, s) for b, known in enumerate(self.trained) for s in np.setdiff1d(np.arange(spec.symbols), known).tolist()]
        self.known_questions, self.latent_questions = self.sequences(rng(seed, "codebooks", "sequences"))
        self.truth: list[list[int]] = self.code.tolist()
        self.forbidden = {self.encoding(b, symbols)[0] for b, symbols, _ in (*self.known_questions, *self.latent_questions)}

    def tables(self, draw: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
        """Code of each (book, symbol), and the trained symbols of each book. Latent symbols go round, so that none is latent under two neighbouring books.

        The trained symbols of a book have all the codes between them: that a code is missing from the encodings never points to a latent symbol.
        """
        n, m = self.spec.symbols, self.spec.latent
        code, trained = np.zeros((self.spec.books, n), int), []
        around = draw.permutation(n)
        for b in range(self.spec.books):
            latent = around[np.arange(b * m, (b + 1) * m) % n]
            known = draw.permutation(np.setdiff1d(np.arange(n), latent))
            code[b, known] = np.arange(n - m) % self.spec.codes
            code[b, latent] = draw.integers(0, self.spec.codes, m)
            trained.append(np.sort(known))
        return code, trained

    def sequences(self, draw: np.random.Generator) -> tuple[list[tuple[int, tuple[int, ...], int]], list[tuple[int, tuple[int, ...], int]]]:
        """What is asked, as (book, symbols, place that wrong candidates change): sequences of trained symbols, and such with one latent symbol, at `place`."""
        long = self.spec.longest
        known: dict[tuple[int, tuple[int, ...], int], None] = {}
        seen = set()
        while len(known) < self.spec.asked:
            b = int(draw.integers(self.spec.books))
            symbols = tuple(draw.choice(self.trained[b], long).tolist())
            if (b, symbols) not in seen:
                seen.add((b, symbols))
                known[b, symbols, int(draw.integers(long))] = None
        latent = []
        for b, s in self.latent:
            symbols, place = draw.choice(self.trained[b], long).tolist(), int(draw.integers(long))
            symbols[place] = s
            latent.append((b, tuple(symbols), place))
        return list(known), latent

    def definition(self, book: int, symbol: int, code: int | None = None) -> Line:
        word = self.codes[self.truth[book][symbol] if code is None else code]
        first, second = self.books[book], self.symbols[symbol]
        if self.spec.cue == "symbol_first":
            first, second = second, first
        return f"{first} {second} means {word}", len(word)

    def encoding(self, book: int, symbols: Sequence[int], code: Mapping[int, int] | None = None) -> Line:
        """`code` gives the code of each symbol, by default the codebook's."""
        table = self.truth[book] if code is None else code
        words = " ".join([self.codes[table[s]] for s in symbols])
        return f"{self.books[book]} encodes {' '.join([self.symbols[s] for s in symbols])} as {words}", len(words)

    def corpus(self) -> Corpus:
        documents = tuple(chain(self.definitions(), self.encodings(), self.episodes()))
        questions = tuple(self.questions())
        asked = {q.kind for q in questions}
        kinds = {name: Kind(**about, **self.guesses(name, questions)) for name, about in KINDS.items() if name in asked}
        return Corpus(documents, questions, kinds, tuple(sorted(self.forbidden)), facts={"latent": len(self.latent), "definitions": self.code.size})

    def guesses(self, kind: str, questions: tuple[Question, ...]) -> dict[str, Any]:
        """Candidates and chance: codes, or all encoded sequences that stand among the choices of the kind's questions."""
        encodings = dict.fromkeys(c for q in questions if q.kind == kind for c in q.choices)
        pool = tuple(encodings) if kind.endswith(("encode", "book")) else tuple(self.codes)
        return {"candidates": pool, "chance": 1 / len(pool)}

    def definitions(self) -> Iterator[Document]:
        lines = [(f"definition:{b}-{s}", self.definition(b, s)) for b in range(self.spec.books) for s in range(self.spec.symbols)]
        for copy in range(self.spec.copies):
            yield from told(lines, self.filler, rng(self.seed, "codebooks", "definitions", copy), copy=copy)

    def encodings(self) -> Iterator[Document]:
        """Sequences of trained symbols; the first symbols go through all of them in turn. One that is asked loses its last symbol."""
        spec = self.spec
        for b, known in enumerate(self.trained):
            draw = rng(self.seed, "codebooks", "encodings", b)
            rows = draw.choice(known, (spec.encodings, spec.longest))
            rows[:, 0] = np.resize(draw.permutation(known), spec.encodings)
            lengths = draw.integers(1, spec.longest + 1, spec.encodings).tolist()
            lines = [(f"encoding:{b}:{i}", self.unasked(b, row[:n])) for i, (row, n) in enumerate(zip(rows.tolist(), lengths, strict=True))]
            yield from told(lines, self.filler, draw)

    def unasked(self, book: int, symbols: Sequence[int], code: Mapping[int, int] | None = None) -> Line:
        """The encoding, without its last symbol if the whole is under test (questions all have `longest` symbols, so a shorter one is not)."""
        line = self.encoding(book, symbols, code)
        return line if line[0] not in self.forbidden else self.encoding(book, symbols[:-1], code)

    def episodes(self) -> Iterator[Document]:
        if self.spec.episodes != "none":
            draw = rng(self.seed, "codebooks", "episode filler")
            yield from in_context(self.sequences_in_context(), self.filler, draw, f"episode:{self.spec.episodes}")

    def sequences_in_context(self) -> Iterator[list[Line]]:
        """Definitions, then the definitions again and encodings that follow from them: only their codes are targets.

        One book is in play, or few books and few symbols, so that the book never tells two definitions apart. Fresh codes of a latent symbol are never its true one.
        """
        spec, draw = self.spec, rng(self.seed, "codebooks", "episodes")
        most = spec.episode_definitions
        is_latent = np.zeros(self.code.shape, bool)
        is_latent[tuple(np.array(self.latent).T)] = True
        for n in blocks(spec.episode_count):
            known = spec.symbols - spec.latent
            book, symbol = few_of_two(spec.books, spec.symbols if spec.episodes == "fresh" else known, (n, most, most), spec.one_book_share, draw)
            if spec.episodes == "fresh":
                code = draw.integers(0, spec.codes, (n, most))
                truth = is_latent[book, symbol] & (code == self.code[book, symbol])
                code = np.where(truth, (code + 1) % spec.codes, code)
            else:
                symbol = np.stack([self.trained[b] for b in range(spec.books)])[book, symbol]
                code = self.code[book, symbol]
            size = draw.integers(1, most + 1, n).tolist()
            asked = draw.integers(0, 1 << 30, (n, MOST_ENCODINGS, spec.longest + 2)).tolist()
            lines = draw.integers(1, MOST_ENCODINGS + 1, n).tolist()
            for k, books, symbols, codes, a, picks in zip(size, book.tolist(), symbol.tolist(), code.tolist(), lines, asked, strict=True):
                yield self.in_context(books[:k], symbols, codes, picks[:a])

    def in_context(self, books: list[int], symbols: list[int], codes: list[int], picks: list[list[int]]) -> list[Line]:
        """One sequence: definitions (of a pair drawn twice the first code holds), then these again and an encoding for each of `picks`, random numbers."""
        tables: dict[int, dict[int, int]] = {b: {} for b in books}
        asked = []
        for i, b in enumerate(books):
            table, s, c = tables[b], symbols[i], codes[i]
            if s not in table:
                table[s] = c
                asked.append(self.definition(b, s, c))
        shown = [(line, 0) for line, _ in asked]
        for which, length, *at in picks:
            b = books[which % len(books)]
            here = list(tables[b])
            asked.append(self.unasked(b, [here[i % len(here)] for i in at[: 1 + length % len(at)]], tables[b]))
        return shown + shuffle(asked, picks[0], skip=12)

    def questions(self) -> Iterator[Question]:
        spec, draw = self.spec, rng(self.seed, "codebooks", "questions")
        known = [(b, int(s)) for b, symbols in enumerate(self.trained) for s in symbols]
        for kind, pairs in (("definition", [known[i] for i in sorted(draw.permutation(len(known))[: spec.asked])]), ("latent_definition", self.latent)):
            for b, s in pairs:
                answer = self.codes[self.code[b, s]]
                choices = shuffled([answer, *others(self.codes, (answer,), spec.options - 1, draw)], draw)
                prompt = self.definition(b, s)[0].rpartition(" ")[0]
                yield Question(f"{kind}:{b}-{s}", kind, prompt, (answer,), f"{b}-{s}", self.support(b, (s,)), choices, answer_words=1)
        for kind, asked in (("known_encode", self.known_questions), ("latent_encode", self.latent_questions)):
            for i, (b, symbols, place) in enumerate(asked):
                cluster = f"{b}-{symbols[place]}" if kind == "latent_encode" else f"sequence:{i}"
                yield self.sequence_question(f"{kind}:{i}", (b, symbols, place), b, cluster, draw)
                if kind == "latent_encode":
                    yield self.next_question(f"latent_next:{i}", b, symbols[: place + 1], cluster, draw)
        for i, (b, symbols, place) in enumerate(self.known_questions):
            wrong = [o for o in range(spec.books) if (self.code[o, list(symbols)] != self.code[b, list(symbols)]).all()]
            if wrong:
                yield self.sequence_question(f"wrong_book:{i}", (b, symbols, place), wrong[int(draw.integers(len(wrong)))], f"sequence:{i}", draw)

    def sequence_question(self, id: str, asked: tuple[int, tuple[int, ...], int], codebook: int, cluster: str, draw: np.random.Generator) -> Question:
        """How does the asked book encode the symbols? Answered by `codebook`. Wrong candidates have at `place` a code that it gives to another symbol."""
        book, symbols, place = asked
        words = [self.codes[c] for c in self.code[codebook, list(symbols)]]
        wrong = others(self.codes, (words[place],), self.spec.options - 1, draw)
        answer, *rest = (" ".join([*words[:place], word, *words[place + 1 :]]) for word in (words[place], *wrong))
        prompt = self.encoding(book, symbols)[0].partition(" as ")[0] + " as"
        support = self.support(book, symbols) if book == codebook else ()
        choices = shuffled([answer, *rest], draw)
        return Question(id, id.partition(":")[0], prompt, (answer,), cluster, support, choices, answer_words=len(words))

    def next_question(self, id: str, book: int, symbols: tuple[int, ...], cluster: str, draw: np.random.Generator) -> Question:
        """The code of the last of `symbols`, the codes before it given."""
        prompt, _, answer = self.encoding(book, symbols)[0].rpartition(" ")
        choices = shuffled([answer, *others(self.codes, (answer,), self.spec.options - 1, draw)], draw)
        return Question(id, "latent_next", prompt, (answer,), cluster, self.support(book, symbols[-1:]), choices, answer_words=1)

    def support(self, book: int, symbols: tuple[int, ...]) -> tuple[str, ...]:
        """The definitions of all the symbols."""
        return tuple(f"definition:{book}-{s}:0" for s in dict.fromkeys(symbols))


KINDS: dict[str, dict[str, Any]] = {
    "definition": {"description": "the definition of a symbol that is also encoded"},
    "latent_definition": {"description": "the definition of a symbol that is never encoded under this codebook: proof that it was learned"},
    "known_encode": {"description": "a new sequence of symbols that are encoded elsewhere"},
    "latent_encode": {
        "description": "a sequence with one symbol that is defined but never encoded under this codebook",
        "latent": True,
        "beside": "latent_definition",
    },
    "latent_next": {
        "description": "the code of such a symbol at the end of a sequence, the codes before it given: chance is one code in all",
        "latent": True,
        "beside": "latent_definition",
    },
    "wrong_book": {"description": "a sequence asked under one codebook, answered by another: nothing ever said so", "control": True, "beside": "known_encode"},
}
