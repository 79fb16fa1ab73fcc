"""The contract of train-time methods: they learn, they repeat to the bit, an interruption changes nothing, and they never look at the test."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.discovery import from_config
from tolman.core.errors import UserError
from tolman.core.protocols import Checkpoints, Watch
from tolman.testing._world import world
from tolman.testing.component import alternatives

if TYPE_CHECKING:
    import torch


class Interrupted(Exception):
    """The training was stopped on purpose."""


class MemoryCheckpoints:
    """Checkpoints in memory, due at every `every`-th step (0: never). States are copied when saved and when loaded, so later steps cannot reach them."""

    def __init__(self, every: int = 0) -> None:
        self.every, self.saves = every, 0
        self._state: Any = None
        self._asked = 0

    def load(self) -> Mapping[str, Any] | None:
        return None if self._state is None else _copied(self._state)

    def due(self) -> bool:
        self._asked += 1
        return self.every > 0 and self._asked % self.every == 0

    def save(self, state: Mapping[str, Any]) -> None:
        self._state = _copied(state)
        self.saves += 1


class Silent:
    """A watch that keeps every step's losses and all notes, and raises Interrupted after step `until`."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.steps: list[int] = []
        self.planned: set[int] = set()
        self.losses: list[float] = []
        self.kept: dict[str, Any] = {}

    def keep(self, name: str, value: Any, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        self.kept[name] = value

    def step(self, step: int, steps: int, **values: float) -> None:
        self.steps.append(step)
        self.planned.add(steps)
        self.losses.append(values.get("loss", float("nan")))
        if step == self.until:
            raise Interrupted


def check_train_time(method: Component, model: Component | None = None, corpus: Corpus | None = None) -> None:
    """Everything that a train-time method promises, for `model` (None: the class's `example_model`, else a tiny one) on `corpus` (None: a small world). The method should
    take few steps."""
    me, corpus = method.address(), corpus or world()
    model = model or _example_model(method)
    before, (after, watch) = weights(fresh(model, corpus)), _trained(method, model, corpus)
    if not getattr(type(method), "trains", True):
        assert same(before, after), f"{me} declares that it does not train, yet changes weights"
        return
    assert not same(before, after), f"{me} changes no weight (a method that does not train says so: trains = False)"
    _check_watch(me, watch)
    again, _ = _trained(method, model, corpus)
    assert same(after, again), f"{me} is not deterministic: two runs with one seed end with different weights"
    other, _ = _trained(method, model, corpus, seed=1)
    assert not same(after, other), f"{me} ignores its seed"
    blind = replace(corpus, questions=tuple(q for q in corpus.questions if q.split != "test"))
    unseen, _ = _trained(method, model, blind, created_on=corpus)
    assert same(after, unseen), f"{me} trains on the test: without its test questions the corpus gives other weights"
    check_resume(me, method, model, corpus, after, planned=len(watch.steps))
    check_operational(method, model, corpus)
    empty = replace(corpus, documents=(), questions=())
    try:
        _trained(method, model, empty, created_on=corpus)
    except UserError:
        return
    raise AssertionError(f"{me} trains on an empty corpus without complaint")


def check_resume(me: str, method: Component, model: Component, corpus: Corpus, uninterrupted: "Mapping[str, torch.Tensor]", *, planned: int) -> None:
    """A run that is killed between checkpoints and goes on, even twice, ends with the same weights to the bit."""
    checkpoints = MemoryCheckpoints(every=max(1, planned // 5))
    for until in (planned // 2, 3 * planned // 4):
        try:
            _trained(method, model, corpus, checkpoints=checkpoints, watch=Silent(until=until))
        except Interrupted:
            continue
        raise AssertionError(f"{me} does not report step {until} to its watch after an interruption")
    assert checkpoints.saves, f"{me} never saved a checkpoint though one was due every {checkpoints.every} steps"
    watch = Silent()
    resumed, _ = _trained(method, model, corpus, checkpoints=checkpoints, watch=watch)
    assert watch.steps[0] > planned // 2, f"{me} begins anew instead of going on from its checkpoint"
    changed = [name for name in uninterrupted if not same({name: uninterrupted[name]}, {name: resumed[name]})]
    assert not changed, (
        f"{me}: interrupted and resumed, it ends with other weights than uninterrupted ({len(changed)} of {len(resumed)} tensors, such as {changed[0]})"
    )


def check_operational(method: Component, model: Component, corpus: Corpus) -> None:
    """Operational fields leave the weights as they are, but for rounding: compared after training in float32."""
    import torch

    fields = list(alternatives(method))
    if not fields:
        return
    base, _ = _trained(method, model, corpus, dtype=torch.float32)
    for field, value in fields:
        varied, _ = _trained(method.replace(field, value), model, corpus, dtype=torch.float32)
        for name, tensor in base.items():
            off = float((tensor - varied[name]).abs().max())
            assert off <= 1e-3, f"{method.address()}.{field} is operational, yet {value!r} changes {name} by {off:.2g}"


def fresh(model: Component, corpus: Corpus) -> Any:
    """The untrained model."""
    return model.create(corpus, seed=0)  # type: ignore[attr-defined]


def weights(model: Any) -> "dict[str, torch.Tensor]":
    """A copy of all weights."""
    return {name: tensor.detach().clone() for name, tensor in model.network.state_dict().items()}


def same(first: "Mapping[str, torch.Tensor]", second: "Mapping[str, torch.Tensor]") -> bool:
    """Equal to the bit."""
    import torch

    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def _trained(
    method: Component,
    model: Component,
    corpus: Corpus,
    *,
    seed: int = 0,
    created_on: Corpus | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    dtype: Any = None,
) -> tuple[Any, Any]:
    """The weights after training, and the watch."""
    live, watch = fresh(model, created_on or corpus), watch or Silent()
    if dtype is not None:
        live.trained_dtype = dtype
    method.train(live, corpus, seed=seed, checkpoints=checkpoints or MemoryCheckpoints(), watch=watch)  # type: ignore[attr-defined]
    return weights(live), watch


def _check_watch(me: str, watch: Silent) -> None:
    assert watch.steps, f"{me} reports no step to its watch"
    assert watch.steps == list(range(1, len(watch.steps) + 1)), f"{me} does not number its steps 1, 2, 3, ...: {watch.steps[:5]}"
    assert watch.planned == {len(watch.steps)}, f"{me} announced {sorted(watch.planned)} steps and took {len(watch.steps)}"
    assert len(watch.steps) >= 10, f"{me} takes {len(watch.steps)} steps: too few to see whether it learns (give the class an `example` with 20 or more)"
    fifth = len(watch.losses) // 5
    first, last = (sum(part) / fifth for part in (watch.losses[:fifth], watch.losses[-fifth:]))
    assert last < 0.9 * first, f"{me}: the loss does not fall on a small corpus: {first:.3f} nats at first, {last:.3f} at last"


def _example_model(method: Component) -> Component:
    """The model that the method's class names for those that a tiny one does not suit, as a configuration; else a tiny one."""
    if (config := getattr(type(method), "example_model", None)) is not None:
        return from_config(config)
    from tolman.models.tiny import Tiny

    return Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=64)


def _copied(state: Any) -> Any:
    """A deep copy of a state. Raises AssertionError for what a checkpoint file could not hold."""
    import torch

    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_copied(value) for value in state]
    assert state is None or isinstance(state, bool | int | float | str), f"a checkpoint cannot hold a {type(state).__name__}"
    return state
