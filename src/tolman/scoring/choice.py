"""Which of the candidates does the model find most likely? The candidates are not shown to it."""

from collections.abc import Sequence
from typing import Literal

from tolman.core.component import Component
from tolman.core.data import Answer, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel


class Choice(Component):
    """The candidate of highest likelihood, all its tokens together (the scoring of Lampinen et al. 2025, arXiv 2505.00661)."""

    normalise: Literal["none", "characters"] = "none"
    """`characters` divides each candidate's log-likelihood by its length, for candidates of unequal lengths."""

    def judge(self, model: LiveModel, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Answer]:
        """Raises UserError for a question without candidates. A tie for the best is `unparsed`: the model did not choose. After a trace that was cut there is
        no choice: `truncated`."""
        for question in questions:
            if len(question.choices) < 2:
                raise UserError(f"question {question.id!r} has no choices: score it with scoring/exact")
        scores = model.score(prompts, [q.choices for q in questions])
        answers = [self.pick(question, nats) for question, nats in zip(questions, scores, strict=True)]
        return [Answer("", Verdict.TRUNCATED, a.scores_nats) if p.cut else a for p, a in zip(prompts, answers, strict=True)]

    def pick(self, question: Question, nats: Sequence[float]) -> Answer:
        size = [len(c) if self.normalise == "characters" else 1 for c in question.choices]
        rated = [n / s for n, s in zip(nats, size, strict=True)]
        best = max(rated)
        winners = [c for c, r in zip(question.choices, rated, strict=True) if r == best]
        if any(r != r for r in rated):  # nan
            return Answer("", Verdict.FAILED, tuple(nats))
        if len(winners) > 1:
            return Answer(" | ".join(winners), Verdict.UNPARSED, tuple(nats))
        return Answer(winners[0], Verdict.CORRECT if winners[0] in question.answers else Verdict.WRONG, tuple(nats))

    def chance(self, question: Question, kind_chance: float) -> float:
        return len(set(question.choices) & set(question.answers)) / len(question.choices)
