"""Fine-tuning on the answers to practice questions, each asked just as a test-time method asks it: what is learned is how to use what that method shows."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from tolman.core.component import Added, Nested
from tolman.core.data import Corpus, Prompt, Question
from tolman.core.errors import UserError
from tolman.core.packing import Example, Stream
from tolman.core.protocols import Checkpoints, TrainableModel, Watch
from tolman.core.seeds import derive
from tolman.train_time import _general
from tolman.train_time._phases import Phase, after
from tolman.train_time.finetune import Finetune


class Practice(Finetune):
    """The training of `finetune`, on practice questions in place of documents, with the loss on the answers. `split` and `loss_on` do nothing."""

    test_time: Nested
    """How the questions are asked, such as `test_time/in_context`."""

    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps, the last ones, over which the learning rate falls to zero. Before them it stays at its peak, so that a training can be made longer."""
    first: Nested | None = Added(None)
    """A training of the same weights that this one goes on from, such as an earlier `practice`. None: it begins with the model as it is."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {}
    example: ClassVar[dict[str, Any]] = Finetune.example | {"test_time": {"is": "test_time/in_context", "documents": 3}}

    @model_validator(mode="after")
    def _changes_the_same(self) -> Self:
        def changed(method: Any) -> tuple[Any, ...]:
            return tuple(getattr(method, field, None) for field in ("weights", "rank", "scale"))

        if self.first is not None and (self.weights == "osf" or changed(self.first) != changed(self)):
            raise ValueError("first must change what this training changes: the same weights, rank and scale, and not osf, which leaves a plain network behind")
        return self

    def train(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        if self.first is None:
            super().train(model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)
            return
        state = after(self.first, "first", self._before + self.steps, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)
        self._then(state, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def go_on(self, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        """The rest of `train`, on a model that `first` has trained."""
        self._then(checkpoints.load(), model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)

    def _then(self, state: Any, model: TrainableModel, corpus: Corpus, *, seed: int, checkpoints: Checkpoints, watch: Watch) -> None:
        phase = Phase("then", checkpoints, watch, state=state, before=self._before, total=self._before + self.steps)
        super().train(model, corpus, seed=derive(seed, "practice", "then"), checkpoints=phase, watch=phase)

    @property
    def _before(self) -> int:
        """Steps of the training before this."""
        return getattr(self.first, "steps", 0)

    def train_tokens(self) -> int:
        """Tokens that this training and the one before it will read."""
        return super().train_tokens() + (self.first.train_tokens() if self.first is not None else 0)  # type: ignore[attr-defined]

    def streams(self, model: TrainableModel, corpus: Corpus, seed: int) -> tuple[dict[str, Stream], dict[str, float]]:
        """Practice questions (and, with `replay`, general text), and which share of a batch's tokens comes from where."""
        questions = corpus.asked(split="practice")
        if not questions:
            raise UserError("there is nothing to practise: the dataset has no practice questions (most have a field `practice` for them)")
        prompts = self.test_time.prompts(model, corpus, questions, seed=derive(seed, "practice"))  # type: ignore[attr-defined]
        streams = {"practice": Stream(examples(model, prompts, questions), seed, "practice")}
        if not self.replay:
            return streams, {"practice": 1.0}
        streams["replay"] = Stream(model.examples(_general.passages("replay")), seed, "replay")
        return streams, {"practice": 1 - self.replay, "replay": self.replay}

    def schedule(self, step: int) -> float:
        """Factor on the learning rate at `step`: linear warm-up, constant, linear decay to zero."""
        rising, falling = (max(1, round(share * self.steps)) for share in (self.warmup, self.decay))
        return min((step + 1) / rising, 1.0, (self.steps - step) / falling)


def examples(model: Any, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Example]:
    """Each prompt with its answer; one example for all questions about the same documents where the model can share a beginning (`answered`)."""
    if not hasattr(model, "answered"):
        return [model.continued(p, model.spelled(q.answers[0], p)) for p, q in zip(prompts, questions, strict=True)]
    groups: dict[tuple[str, ...], list[tuple[Prompt, str]]] = {}
    for prompt, question in zip(prompts, questions, strict=True):
        groups.setdefault(prompt.documents, []).append((prompt, question.answers[0]))
    return [model.answered(*zip(*group, strict=True)) for group in groups.values()]
