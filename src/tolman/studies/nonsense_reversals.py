"""Comparisons of nonsense nouns and their reversals, by a pretrained model: untrained, in context, fine-tuned, augmented by itself, distilled.

After Lampinen et al. 2025 (arXiv 2505.00661), with a small model on a small world. The same facts about everyday nouns show what it costs that words mean nothing; what holds
fine-tuning back is compared by what is left of general knowledge.
"""

import json
from collections.abc import Sequence
from typing import Any

from tolman.core.component import Component
from tolman.core.stats import Estimate, estimate, say
from tolman.datasets.nonsense_reversals import NonsenseReversals
from tolman.memory.oracle import Oracle
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._benchmark import CLOSED
from tolman.studies._pretrained import (
    ASKS,
    AUGMENTED,
    CONTEXT,
    LR,
    MODELS_AT,
    STEPS,
    TUNED,
    UNTRAINED,
    asked,
    augmented,
    hardly_tried,
    kept,
    label,
    models_in,
    reversal_curse,
    share,
    tuned,
)
from tolman.studies._study import Check, Outcome, at_least, at_most, gain_difference, select, surely_above
from tolman.studies._usable import gained, usable
from tolman.studies.augmentation import derived, ratio
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.distil import Distil
from tolman.train_time.untrained import Untrained

scales = {"quick": 1, "small": 3}

FORWARD, REVERSAL = "forward", "reversal"
KINDS = (FORWARD, REVERSAL)
DISTILLED, REAL = "distilled", ", everyday nouns"
ORACLE = "retrieval, oracle + 3"
HELD = {"replay": {"replay": 0.3}, "KL to the base": {"kl": 1.0}, "L2 to the base": {"l2": 0.01}}
"""What holds fine-tuning back -> the fields that do."""
_SIZES: dict[str, dict[str, Any]] = {"quick": {"facts": 20, "dimensions": 10, "copies": 4}, "small": {"facts": 60, "dimensions": 28, "copies": 6}}
_SUBSPACE = "orthogonal subspace"
CHANCE = 0.5


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Each model untrained, fine-tuned and augmented by itself; the base also with each regulariser, distilled, and on everyday nouns."""
    world, everyday = (NonsenseReversals(**_SIZES[scale], nouns=nouns) for nouns in ("nonsense", "everyday"))
    out = []
    for seed in seeds:
        for model in MODELS_AT[scale]:
            trainings: dict[str, Component] = {UNTRAINED: Untrained(), TUNED: tuned(scale), AUGMENTED: augmented(scale, sources=_SIZES[scale]["facts"])}
            for training, method in trainings.items():
                asks = ASKS | {ORACLE: Retrieval(retriever=Oracle(distractors=3))} if training == UNTRAINED else {CLOSED: ASKS[CLOSED]}
                out += asked(seed, world, model, training, method, kinds=KINDS, asks=asks)
            out += asked(seed, everyday, model, UNTRAINED + REAL, Untrained(), kinds=KINDS, asks=ASKS)
        closed = {CLOSED: ASKS[CLOSED]}
        held = {held_back(name): tuned(scale, **fields) for name, fields in HELD.items()}
        if scale != "quick":  # its decompositions alone take minutes
            held[held_back(_SUBSPACE)] = tuned(scale, weights="osf")
        distilled = Distil(steps=STEPS[scale], batch_tokens=256, lr=LR, each=1, max_tokens=16)
        for training, method in {**held, DISTILLED: distilled}.items():
            out += asked(seed, world, "base", training, method, kinds=KINDS, asks=closed)
    return out


def held_back(name: str) -> str:
    """Label of the fine-tuning that `name` holds back."""
    return f"{TUNED}, {name}"


def headline(frames: Frames) -> str:
    """The finding in one sentence for each model."""

    def told(model: str) -> str:
        def shares(training: str, asking: str = CLOSED) -> str:
            return " and ".join(say(share(frames, model, training, kind, asking)) for kind in KINDS)

        return (
            f"{model}: of facts as trained and of their reversals {shares(UNTRAINED)} are right untrained, {shares(UNTRAINED, CONTEXT)} with everything in context, "
            f"{shares(TUNED)} fine-tuned, {shares(AUGMENTED)} on documents that it augmented itself (a guess: 50 %)"
        )

    return ". ".join(told(model) for model in models_in(frames)) + "."


def c02(frames: Frames) -> Outcome:
    """For each model: untrained at chance (.5 within the interval); fine-tuned surely above it as trained, at or below it reversed; reversed, everything in context
    beats fine-tuned by more than .2 (whole interval). The wrong candidate is the contradiction of the right one, so there is one pool."""
    return Outcome(tuple(c for model in models_in(frames) for c in reversal_curse(frames, model, (FORWARD,), (REVERSAL,), CHANCE)))


def c17(frames: Frames) -> Outcome:
    """For each model: augmentation surely raises the usable bits about latent answers over fine-tuning on the documents alone; what it was written from was the documents and no
    statement under test (no leak in any prompt); and the teacher had no more than them (the bits of everything in context are shown)."""
    checks, notes = [], []
    for model in models_in(frames):
        before, after = (select(frames, training=label(model, t), asking=CLOSED, kind=REVERSAL) for t in (TUNED, AUGMENTED))
        leaks = [
            json.loads(n)["generated"]["leaks_in_prompts"] for n in frames.cells.filter(training=label(model, AUGMENTED)).unique("train_fingerprint")["notes"]
        ]
        told = estimate([float(n) for n in leaks], clusters=range(len(leaks)), seeds=range(len(leaks)), bounds=None)
        checks += [
            surely_above(f"{model}: usable bits on reversals, augmented - fine-tuned", gained(after, before), 0.0),
            at_most(f"{model}: statements under test in the prompts that wrote", told, 0.0),
        ]
        context = usable(select(frames, training=label(model, UNTRAINED), asking=CONTEXT, kind=REVERSAL))
        notes.append(
            f"{model}: {_bits(usable(before))} fine-tuned, {_bits(usable(after))} augmented, {_bits(context)} with everything in context (1 bit is all there is), "
            f"{derived(frames, label(model, AUGMENTED))} reversals under test written"
        )
    return Outcome(tuple(checks), note=f"Usable bits for each reversal: {'; '.join(notes)}.", open=hardly_tried(frames))


def c24(frames: Frames) -> Outcome:
    """Writing and training on it >= 10 times the fine-tuning alone; then asking costs what it costs after that (<= 1.05); retrieval trains nothing and costs >= 2 times as much
    to ask."""

    def flops(training: str, asking: str) -> dict[str, list[float]]:
        mine = frames.cells.filter(training=label("base", training), asking=asking).sort("seed")
        ask = (mine["ask_flops"] / mine["n_questions"]).to_list()
        return {"once": (mine["train_flops"] + mine["generate_flops"]).to_list(), "ask": ask}

    offline, plain, none, online = flops(AUGMENTED, CLOSED), flops(TUNED, CLOSED), flops(UNTRAINED, CLOSED), flops(UNTRAINED, ORACLE)
    pays = [(a - b) / (c - d) for a, b, c, d in zip(offline["once"], online["once"], online["ask"], offline["ask"], strict=True)]
    return Outcome(
        (
            at_least("(writing + fine-tuning) / fine-tuning, FLOPs", ratio(offline["once"], plain["once"]), 10.0),
            at_most("a question after augmentation / after fine-tuning alone, FLOPs", ratio(offline["ask"], plain["ask"]), 1.05),
            at_least("a question with retrieval / without, FLOPs", ratio(online["ask"], none["ask"]), 2.0),
        ),
        note=f"Pretrained, nonsense reversals: writing and training pay off against retrieval after {sum(pays) / len(pays):,.0f} questions (figure break_even).",
    )


def c28(frames: Frames) -> Outcome:
    """For each model: what everything in context adds to the untrained model closed book is surely larger with everyday nouns than with nonsense (same facts, both kinds)."""

    def gain(model: str, kinds: tuple[str, ...]) -> Estimate:
        real, nonsense = (
            tuple(select(frames, training=label(model, UNTRAINED + words), asking=asking, kind=kinds) for asking in (CONTEXT, CLOSED)) for words in (REAL, "")
        )
        return gain_difference(real, nonsense)  # type: ignore[arg-type]

    models = models_in(frames)
    apart = "; ".join(f"{model}: {', '.join(f'{kind} {gain(model, (kind,))}' for kind in KINDS)}" for model in models)
    return Outcome(
        tuple(surely_above(f"{model}: use of context, everyday - nonsense nouns", gain(model, KINDS), 0.0) for model in models),
        note=f"By kind: {apart}. Where a model cannot use its context at all, or answers everything from it, no difference can show.",
    )


def c30(frames: Frames) -> Outcome:
    """Fine-tuning loses >= .05 nats per token on general prose; each of replay, KL and L2 (and, at scale small, an orthogonal subspace) loses at most half of that, and recalls the
    facts as well within .1."""
    plain, facts = kept(frames, label("base", TUNED)), share(frames, "base", TUNED, FORWARD)
    checks: list[Check] = [at_least("nats per token of general prose lost by fine-tuning", plain, 0.05)]
    questions = [f"fine-tuning {_points(kept(frames, label('base', TUNED), 'general_accuracy'))}"]
    for name in (*HELD, _SUBSPACE):
        training = held_back(name)
        if frames.cells.filter(training=label("base", training)).is_empty():
            continue
        checks += [
            at_most(f"{name}: nats lost", kept(frames, label("base", training)), plain.mean / 2),
            at_least(f"{name}: facts as trained", share(frames, "base", training, FORWARD), facts.mean - 0.1),
        ]
        questions.append(f"{name} {_points(kept(frames, label('base', training), 'general_accuracy'))}")
    return Outcome(
        tuple(checks),
        note=f"General questions no longer answered, in points: {', '.join(questions)}. Low-rank adapters throughout; facts as trained after fine-tuning: {say(facts)}.",
    )


def _points(lost: Estimate) -> str:
    return f"{100 * lost.mean:.1f}"


def _bits(found: Estimate) -> str:
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


claims = {"C02": c02, "C17": c17, "C24": c24, "C28": c28, "C30": c30}
