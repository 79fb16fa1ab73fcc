"""Process: a second implementation of the calculus that knows only the general rules as documents state them; combinations held out and nowhere to be read."""

import re
from collections import Counter

import pytest

from language_pages import check_page, check_practice
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.core.seeds import rng
from tolman.datasets.process import BINARY, OPERATORS, UNARY, WORDINGS, Calculus, Process, operand_slots, text

SMALL = Process.at("quick")
RULE = re.compile(r"For every f(?: and g)?, the transform of (\w+) f(?: g)? is (.+)\.")


class Reader:
    """The calculus as `texts` (the documents) state it: a table of functions and rewriting rules, applied to words."""

    def __init__(self, texts):
        self.rules = {m[1]: m[2].split() for t in texts if (m := RULE.fullmatch(t))}
        self.table = {}
        for t in texts:
            said = statement(t)
            if said and len(said[0]) == 1:
                self.table[said[0][0]] = said[1][0]

    def take(self, words):
        """The first whole expression of `words`, and the rest."""
        head, rest = words[0], words[1:]
        parts = [head]
        for _ in range(2 if head in BINARY else 1 if head in UNARY else 0):
            operand, rest = self.take(rest)
            parts += operand
        return parts, rest

    def transform(self, words):
        if len(words) == 1:
            return [self.table[words[0]]]
        rest, operands = words[1:], {}
        for letter in "fg"[: 2 if words[0] in BINARY else 1]:
            operands[letter], rest = self.take(rest)
        assert not rest
        out, todo = [], list(self.rules[words[0]])
        while todo:
            word = todo.pop(0)
            if word == "transform":
                out += self.transform(operands[todo.pop(0)])
            else:
                out += operands.get(word, [word])
        return out


def statement(line):
    """(expression, transform) of a document or of a question with its answer, as words; None for a general rule."""
    for wording in WORDINGS:
        if match := re.fullmatch(re.escape(wording).replace(r"\{\}", r"([a-z ]+)") + r" ([a-z ]+?)\.?", line):
            return match[1].split(), match[2].split()
    return None


def shape(words):
    """The operators of an expression, with the operand that the inner ones stand in: ('sum',), ('sum', 0, 'mirror')."""
    found = [(i, w) for i, w in enumerate(words) if w in OPERATORS]
    if len(found) < 2:
        return tuple(w for _, w in found)
    (_, outer), (at, inner) = found
    return outer, 0 if at == 1 else 1, inner


@pytest.fixture(scope="module")
def corpus():
    return SMALL.build(0)


def test_every_statement_and_every_answer_follows_from_functions_and_rules(corpus):
    reader = Reader([d.text for d in corpus.documents])
    assert set(reader.rules) == set(OPERATORS) and len(reader.table) == 12 == len(set(reader.table.values()))
    assert all(a != b for a, b in reader.table.items())
    for line in [d.text for d in corpus.documents] + [f"{q.prompt} {q.answers[0]}" for q in corpus.questions]:
        said = statement(line)
        assert said is not None or RULE.fullmatch(line), line
        assert said is None or reader.transform(said[0]) == said[1], line


def test_support_alone_gives_the_answer(corpus):
    for question in corpus.questions:
        reader = Reader([corpus.by_id[id].text for id in question.support])
        (expression, answer) = statement(f"{question.prompt} {question.answers[0]}")
        assert reader.transform(expression) == answer
        assert question.answer_words == len(answer) <= 8, "a model that reads word by word writes it within the default limit of scoring/exact"


def test_held_out_combinations_stand_nowhere_and_every_rule_stands_in_a_trained_one(corpus):
    trained = Counter(shape(said[0]) for d in corpus.documents if (said := statement(d.text)))
    pairs = {s for s in trained if len(s) == 3}
    held = {shape(statement(f"{q.prompt} {q.answers[0]}")[0]) for q in corpus.asked(["heldout_combination"])}
    assert len(held) == 8 and not held & pairs and {(op,) for op in OPERATORS} <= set(trained)
    assert {outer for outer, _, _ in pairs} >= {outer for outer, _, _ in held} and {inner for _, _, inner in pairs} >= {inner for _, _, inner in held}
    calculus = Calculus(12, 0)
    assert held | pairs == {(p.outer, p.slot, p.inner) for p in calculus.pairs()}
    assert {shape(statement(f"{q.prompt} {q.answers[0]}")[0]) for q in corpus.asked(["trained_combination"])} == pairs
    assert not find_leaks(corpus.documents, corpus.forbidden)


def test_asked_expressions_are_new_and_the_rules_of_a_combination_stand_beside_it(corpus):
    told = {tuple(said[0]) for d in corpus.documents if (said := statement(d.text))}
    rules: dict[str, set] = {}
    for question in corpus.questions:
        expression, _ = statement(f"{question.prompt} {question.answers[0]}")
        assert tuple(expression) not in told
        if question.kind == "trained_rule":
            rules.setdefault(question.cluster, set()).update(shape(expression))
    for question in corpus.asked(["heldout_combination"]):
        outer, _, inner = shape(statement(f"{question.prompt} {question.answers[0]}")[0])
        assert rules[question.cluster] == {outer, inner}


def test_wrong_candidates_are_transforms_of_other_expressions(corpus):
    reader, calculus = Reader([d.text for d in corpus.documents]), Calculus(12, 0)

    def tree(words):
        operands, rest = [], words[1:]
        while rest:
            operand, rest = reader.take(rest)
            operands.append(tree(operand))
        return (words[0], *operands)

    def is_a_transform(expression):
        """Whether some expression turns into `expression`: a rule has such a result, and what it transforms in turn is a transform itself."""
        head, *operands = expression
        if not operands:
            return head in calculus.turns.values()
        for rule in calculus.rules.values():
            if rule.result == head and len(rule.operands) == len(operands):
                made = [is_a_transform(o) for what, o in zip(rule.operands, operands, strict=True) if what.startswith("D")]
                if all(made) and (rule.operands != ("f", "Df") or calculus.transform(operands[0]) == operands[1]):
                    return True
        return False

    for question in corpus.questions:
        assert all(is_a_transform(tree(choice.split())) for choice in question.choices), question
    assert not is_a_transform(("mirror", ("mirror", ("sum",)))) and len(corpus.questions) > 100


@pytest.mark.parametrize("seed", range(4))
def test_the_rules_of_a_world_are_unusual_and_all_different(seed):
    calculus = Calculus(8, seed)
    assert len({rule.operands for op, rule in calculus.rules.items() if op in BINARY}) == 4
    assert all(rule.result != op and any(what.startswith("D") for what in rule.operands) for op, rule in calculus.rules.items())
    assert len({calculus.rule_text(op) for op in OPERATORS}) == 6
    draw = rng(seed, "test")
    functions = calculus.functions
    for pair in calculus.pairs():
        inner = (pair.inner, *((functions[int(draw.integers(8))],) for _ in operand_slots(pair.inner)))
        expression = (pair.outer, *(inner if slot == pair.slot else (functions[0],) for slot in operand_slots(pair.outer)))
        other = (pair.outer, *(((functions[1]),) if slot == pair.slot else (functions[0],) for slot in operand_slots(pair.outer)))
        assert len(calculus.transform(expression)) == len(calculus.transform(other)), "the outer rule decides the shape"
        assert text(calculus.transform(inner)) in text(calculus.transform(expression)), "the inner rule is used"


def test_practice_and_page():
    check_practice(SMALL)
    check_page(Process)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"functions": 4}, "functions = 4"),
        ({"functions": 10_000}, "functions = 10000 is more than the"),
        ({"functions": 8, "asked": 3}, "asked = 3 needs functions = 8 to be at least 12"),
        ({"held_out": 45}, r"held_out = 45 is more than the \d+ of \d+ combinations that leave every rule in a trained one"),
        ({"functions": 6, "asked": 1, "options": 30}, "options = 30"),
    ],
)
def test_impossible_sizes_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Process(**fields).build(0)
