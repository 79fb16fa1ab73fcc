"""Control answerers: live models that say one fixed thing, so that what a scoring makes of it is known beforehand."""

import math
from collections.abc import Sequence

import numpy as np

from tolman.core.component import Component
from tolman.core.cost import Cost, Meter
from tolman.core.data import Answer, Corpus, Generation, Kind, Prompt, Question
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.core.world import Task, Walk
from tolman.scoring.exact import normalise

CONTROLS = ("oracle", "mute", "parrot", "swapped", "dump")


class Answerer:
    """A live model that writes `text` whatever it is asked, or the rest of it where the prompt ends with its beginning (a rollout under way).

    It finds a continuation likely that equals `text`, less so one that `text` contains, and no other possible.
    """

    word_level = False

    def __init__(self, text: str, asked: str = "") -> None:
        self.text, self.asked = text, asked
        self.meter = Meter()
        self.context_tokens = 1_000_000

    def render(self, prompt: Prompt) -> str:
        return "\n".join((*prompt.documents, prompt.trace, prompt.question))

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        self.meter.add(Cost(tokens=len(prompts)))
        return [[self._nats(text) for text in texts] for texts in continuations]

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        self.meter.add(Cost(tokens=len(prompts)))
        texts = [self._rest(prompt.question) for prompt in prompts]
        return [[Generation(text, len(text.split()), 0.0, True)] * samples for text in texts]

    def _rest(self, question: str) -> str:
        if self.asked and question.startswith(f"{self.asked} "):
            said = question[len(self.asked) + 1 :]
            if self.text.startswith(f"{said} "):
                return self.text[len(said) + 1 :]
        return self.text

    def _nats(self, continuation: str) -> float:
        mine, its = normalise(self.text), normalise(continuation)
        if mine == its:
            return -1.0
        return -2.0 if its and f" {its} " in f" {mine} " else -math.inf


class Broken(Answerer):
    """A model whose weights went wrong: it writes nothing, and its log-probabilities are not numbers, all of them or (`only`) one."""

    def __init__(self, only: int | None = None) -> None:
        super().__init__("")
        self.only = only

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        return [[math.nan if self.only in (None, i) else -1.0 - i for i in range(len(texts))] for texts in continuations]


def says(control: str, at: int, questions: Sequence[Question], kind: Kind) -> str:
    """What the control answerer called `control` says to `questions[at]`; all `questions` are of `kind`."""
    question = questions[at]
    if control == "oracle":
        return question.answers[0]
    if control == "mute":
        return ""
    if control == "parrot":
        return question.prompt
    if control == "swapped":
        if len(questions) == 1:
            return ""
        # a random other question: a neighbour could hide (or feign) success where questions come in a pattern
        step = 1 + int(rng(0, "swapped", question.id).integers(len(questions) - 1))
        return questions[(at + step) % len(questions)].answers[0]
    assert control == "dump", control
    return " ".join(kind.candidates or question.choices)


def judge_text(scoring: Component, question: Question, text: str) -> Answer:
    """The verdict of `scoring` on a model that says `text` to `question`."""
    (answer,) = scoring.judge(Answerer(text, question.prompt), [Prompt(question.prompt)], [question])  # type: ignore[attr-defined]
    return answer


def reads_text(scoring: Component, question: Question) -> bool:
    """Whether a guesser must write an open answer (rather than pick among choices): then the kind's chance is the scoring's."""
    return math.isnan(scoring.chance(question, math.nan))  # type: ignore[attr-defined]


def applicable(scoring: Component, questions: Sequence[Question]) -> list[Question]:
    """The questions that `scoring` can judge: likelihood choice needs choices, and a task is judged by acting, not by its transcript."""
    able = []
    for question in questions:
        try:
            answer = judge_text(scoring, question, question.answers[0])
        except UserError:
            continue
        if isinstance(question, Task) == isinstance(answer, Walk):
            able.append(question)
    return able


def slack(p: float, n: int) -> float:
    """How far a share of `n` draws may lie from `p` before chance is no explanation: 4 standard errors of a binomial, and one draw for small n."""
    return 4 * math.sqrt(p * (1 - p) / n) + 1 / n


def check_controls(me: str, scoring: Component, corpus: Corpus) -> None:
    """The oracle is always right; mute, parrot, swapped answers and dump-everything are right no more often than chance, in every kind."""
    for name, kind in corpus.kinds.items():
        questions = applicable(scoring, [q for q in corpus.questions if q.kind == name])
        if not questions:
            continue
        chance = float(np.mean([scoring.chance(q, kind.chance) for q in questions]))  # type: ignore[attr-defined]
        clusters = len({q.cluster for q in questions})  # what was sampled: the answers of questions about one fact are no separate draws
        for control in CONTROLS:
            right = [judge_text(scoring, q, says(control, i, questions, kind)).verdict == "correct" for i, q in enumerate(questions)]
            if control == "oracle":
                wrong = next((q for q, r in zip(questions, right, strict=True) if not r), None)
                assert wrong is None, f"{me}: under {scoring.address()} the right answer {wrong.answers[0]!r} to question {wrong.id!r} is not accepted"  # type: ignore[union-attr]
            else:
                share = float(np.mean(right))
                assert share <= chance + slack(chance, clusters), (
                    f"{me}: under {scoring.address()} the control answerer {control!r} is right in {share:.3f} of the questions of kind {name!r}, "
                    f"above chance {chance:.3f}"
                )


def check_chance(me: str, scoring: Component, corpus: Corpus, draws: int = 3000) -> None:
    """A guesser (of candidates where the answer is open, of choices where they are given) is right as often as stated, kind by kind.

    Where questions have several right answers the stated chance of an open answer may be an upper bound, though not above twice what is measured.
    """
    for name, kind in corpus.kinds.items():
        questions = applicable(scoring, [q for q in corpus.questions if q.kind == name])
        if not questions:
            continue
        if isinstance(questions[0], Task):
            _check_walk(me, name, kind.chance, [q for q in questions if isinstance(q, Task)], draws)
            continue
        open_answers = reads_text(scoring, questions[0])
        if open_answers and not kind.candidates:
            assert kind.chance == 0, f"{me}: kind {name!r} states chance {kind.chance:g} for open answers, but no candidates to guess from"
            continue
        stated = float(np.mean([scoring.chance(q, kind.chance) for q in questions]))  # type: ignore[attr-defined]
        measured = _guess(scoring, questions, kind.candidates if open_answers else None, rng(0, "guesser", me, name), draws)
        off = slack(max(stated, measured), draws)
        bound = open_answers and any(len(q.answers) > 1 for q in questions)
        low = stated / 2 if bound else stated
        assert low - off <= measured <= stated + off, (
            f"{me}: kind {name!r} states chance {stated:.4f} under {scoring.address()}, but a guesser is right in {measured:.4f} of {draws} draws"
        )


def _guess(scoring: Component, questions: Sequence[Question], candidates: Sequence[str] | None, draw: np.random.Generator, draws: int) -> float:
    """Share of random guesses that `scoring` accepts."""
    known: dict[tuple[int, str], bool] = {}
    hits = 0
    for i in draw.permutation(np.arange(draws) % len(questions)).tolist():
        pool = questions[i].choices if candidates is None else candidates
        guess = pool[int(draw.integers(len(pool)))]
        if (i, guess) not in known:
            known[i, guess] = judge_text(scoring, questions[i], guess).verdict == "correct"
        hits += known[i, guess]
    return hits / draws


def _check_walk(me: str, name: str, stated: float, tasks: Sequence[Task], draws: int) -> None:
    """A walker that turns back only in dead ends arrives no more often than stated (other walkers that know nothing may do better and set the level)."""
    draw = rng(0, "walker", me, name)
    hits = 0
    for i in range(draws):
        task = tasks[i % len(tasks)]
        state, before = task.start, None
        for _ in range(task.budget_steps):
            exits = [task.world.move(state, action) for action in task.world.legal(state)]
            ways = [way for way in exits if way != before] or exits
            before, state = state, ways[int(draw.integers(len(ways)))]
            if state == task.goal:
                hits += 1
                break
    measured = hits / draws
    assert measured <= stated + slack(stated, draws), (
        f"{me}: kind {name!r} states chance {stated:.4f}, but a walker that knows nothing arrives in {measured:.4f} of {draws} tries"
    )
