"""The model acts in the question's world, one word at a time, until it reaches the goal or its budget of steps is spent.

Success is arriving; how directly is `Walk.ratio` (steps over shortest steps) and `Walk.spl` (Anderson et al. 2018, arXiv 1807.06757).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from tolman.core.component import Component
from tolman.core.data import Answer, Generation, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel
from tolman.core.world import Task, Walk, continued


class Rollout(Component):
    """Greedy actions, all questions in lockstep. The model is shown the prompt with everything that it did and saw so far, and writes its next action."""

    max_tokens: int = Field(default=4, ge=1)
    """Tokens in which a model must have written an action; its first word is taken. Word-level models write one."""

    def judge(self, model: LiveModel, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Answer]:
        """A `Walk` for each question. Raises UserError for a question that has no world to act in.

        `truncated`: the budget was spent. `unparsed`: a word that is no action, or none at all at the start. `wrong`: the model ended the episode elsewhere.
        An action that a wall forbids costs a step and leads nowhere.
        """
        runs = [_Run(prompt, question) for prompt, question in zip(prompts, questions, strict=True)]
        limit = 1 if getattr(model, "word_level", False) else self.max_tokens
        while going := [run for run in runs if run.verdict is None]:
            for run, (written, *_) in zip(going, model.generate([run.prompt for run in going], max_tokens=limit), strict=True):
                run.act(written)
        return [run.walk() for run in runs]

    def chance(self, question: Question, kind_chance: float) -> float:
        return kind_chance


class _Run:
    """One question being acted out. `verdict` is None while it goes on."""

    def __init__(self, prompt: Prompt, question: Question) -> None:
        if not isinstance(question, Task):
            raise UserError(f"question {question.id!r} has no world to act in: score it with scoring/exact or scoring/choice")
        assert question.start != question.goal and question.budget_steps >= 1, f"task {question.id!r} is over before it begins"
        self.prompt, self.task = prompt, question
        self.state = question.start
        self.words: list[str] = []
        self.steps = 0
        self.verdict: Verdict | None = None

    def act(self, written: Generation) -> None:
        if written.verdict is not None:
            self.verdict = written.verdict
            return
        word = next(iter(re.findall(r"\w+", written.text.split("\n")[0])), None)
        if word is None:
            self.verdict = Verdict.WRONG if self.steps and written.finished else Verdict.UNPARSED
            return
        self.words.append(word)
        action = next((action for action in self.task.world.actions if action.casefold() == word.casefold()), None)
        if action is None:
            self.verdict = Verdict.UNPARSED
            return
        text, self.state = continued(self.prompt.question, self.task.world, self.state, action)
        self.prompt = replace(self.prompt, question=text)
        self.steps += 1
        if self.state == self.task.goal:
            self.verdict = Verdict.CORRECT
        elif self.steps == self.task.budget_steps:
            self.verdict = Verdict.TRUNCATED

    def walk(self) -> Walk:
        assert self.verdict is not None, "the run goes on"
        return Walk(" ".join(self.words), self.verdict, steps=self.steps, shortest_steps=self.task.shortest_steps)
