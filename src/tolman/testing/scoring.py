"""The contract of scorings: what is right is accepted, nothing else is, and no text or number makes them fail."""

import math
from collections.abc import Sequence

from tolman.core.component import Component
from tolman.core.data import Answer, Corpus, Generation, Prompt, Question, Verdict
from tolman.core.world import Task
from tolman.testing._controls import Answerer, Broken, applicable, check_chance, check_controls, judge_text, reads_text
from tolman.testing._world import walks, world

ODD = (
    "", " ", "\n", "\n\nAda", "\t", "\x00", "\ufeff", "\u202eadA", "a" * 10_000, "Ada " * 3000, "\ud7ff", "🦉", "İ", "ß", "...", "()[]{}\\^$*+?|", "%s{0}",
    "Ada (", "[Ada", r"\w+", r"\S+ ?\S*", "<|document|>", "<|pad|>", "nan", "None", "-1", "﷽", "Ａｄａ", "A\u0301da",
)  # fmt: skip
"""Texts that break careless code: empty, control characters, wide and bidirectional forms, regular expressions, special tokens, very long ones."""


class Together(Answerer):
    """Says to each prompt what `texts` says for it."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__("")
        self.texts = texts

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        return [Answerer(self._said(p)).score([p], [c])[0] for p, c in zip(prompts, continuations, strict=True)]

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        return [Answerer(self._said(p), self._asked(p)).generate([p], max_tokens=max_tokens, samples=samples)[0] for p in prompts]

    def _asked(self, prompt: Prompt) -> str:
        return max((q for q in self.texts if prompt.question.startswith(q)), key=len)

    def _said(self, prompt: Prompt) -> str:
        return self.texts[self._asked(prompt)]


def check_scoring(scoring: Component) -> None:
    """Everything that a scoring promises, on the questions of two small worlds that it can judge."""
    me = scoring.address()
    judged = 0
    for corpus in (world(), walks()):
        questions = applicable(scoring, corpus.asked())
        judged += len(questions)
        if questions:
            check_controls(me, scoring, corpus)
            check_chance(me, scoring, corpus)
            check_verdicts(me, scoring, questions)
            check_batch(me, scoring, questions)
            check_near_misses(me, scoring, corpus, questions)
            check_odd(me, scoring, questions)
    assert judged, f"{me} can judge none of the questions of the contract's worlds"
    assert scoring.judge(Answerer(""), [], []) == [], f"{me} judges what was not asked"  # type: ignore[attr-defined]


def check_verdicts(me: str, scoring: Component, questions: Sequence[Question]) -> None:
    """Every verdict is one of the enumeration; silence and numbers that are none are not passed off as an answer."""
    for question in questions:
        for text in (question.answers[0], "", question.prompt):
            answer = judge_text(scoring, question, text)
            assert isinstance(answer, Answer) and isinstance(answer.verdict, Verdict), f"{me} gives {answer!r}, not an Answer with a Verdict"
            assert len(answer.scores_nats) in (0, len(question.choices)), f"{me} keeps {len(answer.scores_nats)} scores for {len(question.choices)} choices"
        mute = judge_text(scoring, question, "").verdict
        assert mute not in (Verdict.CORRECT, Verdict.WRONG), f"{me} calls it {mute.value!r} when nothing was said to question {question.id!r}"
        for only in (None, *range(len(question.choices))):
            (answer,) = scoring.judge(Broken(only), [Prompt(question.prompt)], [question])  # type: ignore[attr-defined]
            assert answer.verdict not in (Verdict.CORRECT, Verdict.WRONG), f"{me} calls it {answer.verdict.value!r} when a log-probability is nan"
        level = scoring.chance(question, 0.25)  # type: ignore[attr-defined]
        assert 0 <= level < 1, f"{me} states the chance level {level} for question {question.id!r}"


def check_batch(me: str, scoring: Component, questions: Sequence[Question]) -> None:
    """Answers come in the order of the questions, and each is judged for itself."""
    asked = list({q.prompt: q for q in questions}.values())
    texts = {q.prompt: q.answers[0] if i % 2 else asked[i - 1].answers[0] for i, q in enumerate(asked)}
    together = scoring.judge(Together(texts), [Prompt(q.prompt) for q in asked], asked)  # type: ignore[attr-defined]
    alone = [judge_text(scoring, q, texts[q.prompt]) for q in asked]
    assert len(together) == len(asked), f"{me} judges {len(together)} of {len(asked)} questions"
    wrong = [q.id for q, a, b in zip(asked, together, alone, strict=True) if (a.text, a.verdict) != (b.text, b.verdict)]
    assert not wrong, f"{me}: asked with others, question {wrong and wrong[0]!r} is judged otherwise than alone"


def check_near_misses(me: str, scoring: Component, corpus: Corpus, questions: Sequence[Question]) -> None:
    """Open answers that contain the right one, or begin like it, are not it. (Where a question cuts answers, only what survives the cut counts.)"""
    for question in questions:
        if not reads_text(scoring, question) or isinstance(question, Task):
            continue
        answer, pool = question.answers[0], corpus.kinds[question.kind].candidates
        other = next(c for c in pool if c not in question.answers and answer not in c)
        misses = [f"not {answer}", f"{answer}x", f"x{answer}", answer[:-1], f"{other} or {answer}", f"{other} {answer}", answer[::-1] + "q"]
        if question.answer_words is None:
            misses += [f"{answer} or {other}", f"{answer} {other}", f"{answer}, {other}", " ".join(pool), ", ".join(pool)]
        for text in misses:
            verdict = judge_text(scoring, question, text).verdict
            assert verdict != Verdict.CORRECT, f"{me} accepts {text!r} for {answer!r} (question {question.id!r})"


def check_odd(me: str, scoring: Component, questions: Sequence[Question]) -> None:
    """No text makes it fail, and none of the odd ones is right."""
    question = questions[0]
    for text in ODD:
        try:
            verdict = judge_text(scoring, question, text).verdict
        except Exception as error:
            raise AssertionError(f"{me} fails on the text {text[:40]!r}: {error!r}") from error
        assert verdict != Verdict.CORRECT, f"{me} accepts {text[:40]!r} for {question.answers[0]!r}"
    assert math.isfinite(scoring.chance(question, 0.5)), f"{me} states no chance level"  # type: ignore[attr-defined]
