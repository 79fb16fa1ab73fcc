"""A calculus that turns expressions into expressions by unusual rules: does a model that knows each rule put two together that it never saw together?

After the process knowledge of Lampinen et al. 2025 (arXiv 2505.00661, appendix): a pseudo-mathematical transform of functions into functions, like
differentiation with unusual rules, some combinations of rules held out. Nothing more was known to us: calculus, notation and every size are our choice.

Expressions are in prefix notation, operator first, so that they need no brackets: "sum zorm mirror telk" is the sum of zorm and the mirror image of telk.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle, islice, product
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, answer_words, kinds_asked, one_right, with_practice
from tolman.datasets._pseudowords import lexicon, pseudowords

Expression = tuple[Any, ...]
"""(function,) or (operator, operand, ...), the operands expressions themselves."""
BINARY, UNARY = ("sum", "product", "quotient", "chain"), ("mirror", "shift")
OPERATORS = (*BINARY, *UNARY)
PATTERNS = ("Df Dg", "Dg Df", "Df g", "f Dg", "g Df", "Dg f")
"""What may become of two operands: each is used once, and D marks those that are transformed in turn."""
WORDINGS = ("The transform of {} is", "Transforming {} gives", "Applying the transform to {} yields", "Q: What is the transform of {}? A:")
RESERVED = 0.25
"""Share of the expressions of a rule, or of a combination, that training leaves to the tests."""


class Rule(NamedTuple):
    """What an operator turns into: `result`, with `operands` such as ("g", "Df")."""

    operator: str
    result: str
    operands: tuple[str, ...]


class Pair(NamedTuple):
    """A combination of rules: the operator `inner` stands in operand number `slot` of `outer`, which `outer` transforms in turn."""

    outer: str
    slot: int
    inner: str

    @property
    def name(self) -> str:
        return f"{self.outer}-{self.slot}-{self.inner}"


class Process(Component):
    """Expressions and their transforms by unusual rules; combinations of two rules that training never showed together are tested."""

    functions: int = Field(default=16, ge=6)
    """Number of elementary functions. Each is turned into another one."""
    copies: int = Field(default=4, ge=1)
    """Documents for each elementary function and for each general rule."""
    examples: int = Field(default=60, ge=1)
    """Up to this many examples of each rule alone. A quarter of what can be said with a rule, or with a combination, is left to the tests."""
    pair_examples: int = Field(default=40, ge=1)
    """Up to this many examples of each trained combination of two rules."""
    held_out: int = Field(default=12, ge=1)
    """Number of combinations of two rules that training never shows."""
    asked: int = Field(default=3, ge=1)
    """Questions for each combination, and for each rule in it."""
    options: int = Field(default=4, ge=2)
    """Candidates of a question, the answer among them. The others are transforms of similar expressions."""
    practice: float = Field(default=0.0, ge=0, lt=1)
    """Share of the combinations whose questions are set aside for practice."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"functions": 12, "examples": 40, "pair_examples": 20, "held_out": 8},
        "small": {},
        "paper": {"functions": 24, "examples": 200, "pair_examples": 100, "asked": 5},
    }
    example: ClassVar[dict[str, Any]] = {"functions": 8, "copies": 1, "examples": 12, "pair_examples": 6, "held_out": 4, "asked": 1}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.functions > len(lexicon()):
            raise ValueError(f"functions = {self.functions} is more than the {len(lexicon())} nonsense words that exist")
        if self.asked > round(RESERVED * self.functions):
            raise ValueError(f"asked = {self.asked} needs functions = {self.functions} to be at least {round(self.asked / RESERVED)}")
        return self

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`. Raises UserError, naming the field, for more held-out combinations than leave each rule in a trained one."""
        calculus = Calculus(self.functions, seed)
        held = _hold_out(calculus.pairs(), self.held_out, seed)
        drill = Drill(self, calculus, held, seed)
        documents = list(drill.documents())
        questions = with_practice(drill.questions(), self.practice, seed, "process")
        forbidden = [f"{wording.format(text(e))} {text(calculus.transform(e))}" for e in drill.tested for wording in WORDINGS]
        counts = {"trained combinations": len(calculus.pairs()) - len(held), "held-out combinations": len(held)}
        return Corpus(tuple(documents), questions, kinds_asked(KINDS, questions), tuple(forbidden), counts)


class Calculus:
    """The functions and rules of one world."""

    def __init__(self, functions: int, seed: int) -> None:
        draw = rng(seed, "process", "calculus")
        draws = Draws(draw)
        self.functions = pseudowords(functions, draw)
        ring = draws.shuffle(self.functions)
        self.turns = dict(zip(ring, [*ring[1:], ring[0]], strict=True))
        patterns, results = draws.shuffle(PATTERNS), draws.shuffle(BINARY)
        around = {op: results[(results.index(op) + 1) % len(results)] for op in BINARY}
        self.rules: dict[str, Rule] = {op: Rule(op, around[op], tuple(pattern.split())) for op, pattern in zip(BINARY, patterns, strict=False)}
        grows, swaps = draws.shuffle(UNARY)
        self.rules[grows] = Rule(grows, draws.pick(BINARY), ("f", "Df"))
        self.rules[swaps] = Rule(swaps, grows, ("Df",))

    def transform(self, expression: Expression) -> Expression:
        """The transform of `expression`."""
        if len(expression) == 1:
            return (self.turns[expression[0]],)
        rule = self.rules[expression[0]]
        operands: Mapping[str, Expression] = dict(zip("fg", expression[1:], strict=False))
        return (rule.result, *(self.transform(operands[what[1]]) if what[0] == "D" else operands[what] for what in rule.operands))

    def pairs(self) -> list[Pair]:
        """Every combination of two rules in which both are used."""
        return [
            Pair(op, slot, inner)
            for op in OPERATORS
            for slot in range(len(operand_slots(op)))
            if f"D{'fg'[slot]}" in self.rules[op].operands
            for inner in OPERATORS
        ]  # fmt: skip

    def transformed(self, expression: Expression) -> list[str]:
        """The functions in `expression` that are turned into others on the way."""
        if len(expression) == 1:
            return [expression[0]]
        used = [expression["fg".index(what[1]) + 1] for what in self.rules[expression[0]].operands if what[0] == "D"]
        return [function for operand in used for function in self.transformed(operand)]

    def rule_text(self, operator: str) -> str:
        """The general rule for `operator` in words."""
        rule, letters = self.rules[operator], " ".join("fg"[: len(operand_slots(operator))])
        became = " ".join(f"transform {what[1]}" if what[0] == "D" else what for what in rule.operands)
        return f"For every {letters.replace(' ', ' and ')}, the transform of {operator} {letters} is {rule.result} {became}."


def operand_slots(operator: str) -> tuple[int, ...]:
    """The numbers of the operands of `operator`."""
    return (0, 1) if operator in BINARY else (0,)


def text(expression: Expression) -> str:
    """`expression` in prefix notation."""
    return " ".join((expression[0], *map(text, expression[1:])))


def parts(expression: Expression) -> Iterator[str]:
    """The texts of `expression` and of everything in it. Whatever is a whole expression within a text in prefix notation is one of these."""
    yield text(expression)
    for operand in expression[1:]:
        yield from parts(operand)


def _hold_out(pairs: list[Pair], count: int, seed: int) -> set[Pair]:
    """`count` of `pairs`, such that every rule is still trained as outer and as inner one. Raises UserError where that cannot be."""
    left = dict.fromkeys(Draws(rng(seed, "process", "held out")).shuffle(pairs))
    held: set[Pair] = set()
    for pair in list(left):
        rest = [other for other in left if other != pair]
        if len(held) < count and any(o.outer == pair.outer for o in rest) and any(o.inner == pair.inner for o in rest):
            held.add(pair)
            del left[pair]
    if len(held) < count:
        raise UserError(f"process.held_out = {count} is more than the {len(held)} of {len(pairs)} combinations that leave every rule in a trained one")
    return held


class Drill:
    """Which expressions are trained and which are asked, and the texts about them."""

    def __init__(self, spec: Process, calculus: Calculus, held: set[Pair], seed: int) -> None:
        self.spec, self.calculus, self.held = spec, calculus, held
        self.draws = Draws(rng(seed, "process", "drill"))
        atoms = [(function,) for function in calculus.functions]
        self.trained: dict[str, list[Expression]] = {}
        self.left: dict[str, list[Expression]] = {}
        for op in OPERATORS:
            self._divide(op, [(op, *operands) for operands in product(atoms, repeat=len(operand_slots(op)))], spec.examples)
        for pair in calculus.pairs():
            self._divide(pair.name, self._sampled(pair), 0 if pair in held else spec.pair_examples)
        self.seen = {part for of in self.trained.values() for e in of for made in (e, calculus.transform(e)) for part in parts(made)} | set(calculus.functions)
        self.made: dict[int, list[str]] = {}
        for made in dict.fromkeys(text(calculus.transform(e)) for of in self.trained.values() for e in of):
            self.made.setdefault(len(made.split()), []).append(made)
        self.tested: dict[Expression, None] = {}

    def _divide(self, name: str, expressions: list[Expression], examples: int) -> None:
        order = self.draws.shuffle(expressions)
        kept = max(self.spec.asked, round(RESERVED * len(order)))
        self.left[name], self.trained[name] = order[:kept], order[kept : kept + examples]

    def _sampled(self, pair: Pair) -> list[Expression]:
        """Different expressions of the combination, as many as are needed."""
        need = 2 * (self.spec.pair_examples + self.spec.asked)
        pick, found = self.draws.pick, dict[Expression, None]()
        for _ in range(4 * need):
            inner = (pair.inner, *((pick(self.calculus.functions),) for _ in operand_slots(pair.inner)))
            found[(pair.outer, *(inner if slot == pair.slot else (pick(self.calculus.functions),) for slot in operand_slots(pair.outer)))] = None
            if len(found) == need:
                break
        return list(found)

    def documents(self) -> Iterator[Document]:
        """The functions, the general rules, and examples of rules and of trained combinations, in random order."""
        calculus, written = self.calculus, []
        for copy in range(self.spec.copies):
            written += [(f"function:{function}:{copy}", self._says((function,)), "function") for function in calculus.functions]
            written += [(f"rule:{op}:{copy}", calculus.rule_text(op), "rule") for op in OPERATORS]
        for name, expressions in self.trained.items():
            provenance = "example" if name in OPERATORS else "combination"
            written += [(f"{provenance}:{name}:{i}", self._says(e), provenance) for i, e in enumerate(expressions)]
        return (Document(*parts) for parts in self.draws.shuffle(written))

    def _says(self, expression: Expression) -> str:
        return f"{self.draws.pick(WORDINGS).format(text(expression))} {text(self.calculus.transform(expression))}."

    def questions(self) -> Iterator[Question]:
        """Each rule of a held-out combination on operands that it was never shown with; new expressions of trained combinations; held-out combinations."""
        turns = {name: cycle(left) for name, left in self.left.items()}
        for pair in sorted(self.held):
            for op in sorted({pair.outer, pair.inner}):
                yield from self._ask("trained_rule", pair, op, islice(turns[op], self.spec.asked))
        for pair in self.calculus.pairs():
            kind = "heldout_combination" if pair in self.held else "trained_combination"
            yield from self._ask(kind, pair, "whole", islice(turns[pair.name], self.spec.asked))

    def _ask(self, kind: str, pair: Pair, about: str, expressions: Iterable[Expression]) -> Iterator[Question]:
        for number, expression in enumerate(expressions):
            self.tested[expression] = None
            right = text(self.calculus.transform(expression))
            wrong = self._wrong(expression, right)
            choices = tuple(self.draws.shuffle((right, *wrong)))
            operators = [word for word in text(expression).split() if word in OPERATORS]
            support = [f"rule:{op}:0" for op in operators] + [f"function:{function}:0" for function in self.calculus.transformed(expression)]
            prompt = self.draws.pick(WORDINGS).format(text(expression))
            id = f"{kind}:{pair.name}:{about}:{number}"
            question = Question(id, kind, prompt, (right,), pair.name, tuple(dict.fromkeys(support)), choices, answer_words=answer_words((right,)))
            yield one_right(question, {right})

    def _wrong(self, expression: Expression, right: str) -> list[str]:
        """Transforms of similar expressions. Where the right answer stands somewhere in training, so do they. Raises UserError if there are too few."""
        found = dict.fromkeys(text(self.calculus.transform(other)) for other in self.draws.shuffle(self._similar(expression)))
        found.pop(right, None)
        if right in self.seen:
            common = [answer for answer in found if answer in self.seen]
            alike = self.draws.sample(self.made.get(len(right.split()), ()), 2 * self.spec.options)
            found = dict.fromkeys([*common, *(answer for answer in alike if answer != right)])
        if len(found) < self.spec.options - 1:
            raise UserError(
                f"process.options = {self.spec.options} needs {self.spec.options - 1} wrong candidates, but {text(expression)!r} has only {len(found)}"
            )
        return list(found)[: self.spec.options - 1]

    def _similar(self, expression: Expression) -> list[Expression]:
        """`expression` with another operator, with its operands swapped, or with one operand replaced by something similar."""
        operator, *operands = expression
        if not operands:
            return [(self.draws.pick(self.calculus.functions),) for _ in range(4)]
        same = BINARY if operator in BINARY else UNARY
        found: list[Expression] = [(other, *operands) for other in same if other != operator]
        found.append((operator, *reversed(operands)))
        for slot, operand in enumerate(operands):
            found += [(operator, *operands[:slot], other, *operands[slot + 1 :]) for other in self._similar(operand)]
        return found


KINDS: dict[str, dict[str, Any]] = {
    "trained_rule": {"description": "a rule that a held-out combination uses, alone, on operands that it was never shown with"},
    "trained_combination": {"description": "a new expression of a combination of two rules that training shows"},
    "heldout_combination": {"description": "an expression of a combination of two rules that training never shows", "latent": True, "beside": "trained_rule"},
}
