"""Several traces, one answer: what most of the sampled answers agree on (self-consistency, Wang et al. 2023, arXiv 2203.11171)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from tolman.core.component import Component, Nested
from tolman.core.data import Answer, Prompt, Question, Verdict
from tolman.core.protocols import LiveModel
from tolman.scoring.exact import normalise


class Vote(Component):
    """The most frequent answer among those that `scoring` can read; a tie goes to the one given first. Each sample's verdict is kept, for pass@N."""

    scoring: Nested
    """Judges each sample."""

    example: ClassVar[dict[str, Any]] = {"scoring": {"is": "scoring/exact"}}

    def judge(self, model: LiveModel, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Answer]:
        sampled = [prompt.samples or (prompt,) for prompt in prompts]
        asked = [q for q, mine in zip(questions, sampled, strict=True) for _ in mine]
        answers = iter(self.scoring.judge(model, [p for mine in sampled for p in mine], asked))  # type: ignore[attr-defined]
        return [elected(list(islice(answers, len(mine))), q) for q, mine in zip(questions, sampled, strict=True)]

    def chance(self, question: Question, kind_chance: float) -> float:
        return self.scoring.chance(question, kind_chance)  # type: ignore[attr-defined]


def elected(answers: Sequence[Answer], question: Question) -> Answer:
    """The winner, with the verdicts of all. Where none could be read, the first."""
    ballots = [(ballot(a, question), a) for a in answers if a.verdict in (Verdict.CORRECT, Verdict.WRONG)]
    winner = answers[0]
    if ballots:
        most = Counter(text for text, _ in ballots).most_common(1)[0][0]
        winner = next(a for text, a in ballots if text == most)
    return replace(winner, samples=tuple(a.verdict for a in answers) if len(answers) > 1 else ())


def ballot(answer: Answer, question: Question) -> str:
    """What counts as the same answer: its first line's words, as many as are judged."""
    words = normalise(answer.text.strip().split("\n")[0]).split()
    return " ".join(words[: question.answer_words])
