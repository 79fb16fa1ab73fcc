"""What a comparison or a teaching will take, before it is run."""

from typing import Any

from tolman.core.data import Corpus
from tolman.run.estimate import SHARE_OF_PEAK, peak_flops
from tolman.run.plan import Plan

TOKENS_A_WORD = 1.3


def expected(plan: Plan, corpus: Corpus, parameters: int | None) -> dict[str, Any]:
    """What is not finished yet: trainings, tokens to train on, tokens to read for the questions, and seconds (None where a model does not say what it computes).

    A token is taken as 1.3 to a word; what all prompts begin with counts once. Seconds are right within a factor of about three.
    """
    training = asking = 0
    unfinished = plan.unfinished()
    for group in unfinished:
        training += getattr(group[0].train_time, "train_tokens", lambda: 0)()
        for cell in group:
            prompts = cell.test_time.prompts(None, corpus, corpus.asked(), seed=0)  # type: ignore[attr-defined]
            shared = prompts[0].documents if all(p.documents == prompts[0].documents for p in prompts) else ()
            words = sum(len(text.split()) for text in shared)
            words += sum(len(text.split()) for p in prompts for text in (*(() if shared else p.documents), p.question))
            asking += round(TOKENS_A_WORD * words)
    seconds = 2 * parameters * (3 * training + asking) / (peak_flops() * SHARE_OF_PEAK) if parameters else None
    return {"trainings": len(unfinished), "cells": sum(map(len, unfinished)), "train_tokens": training, "ask_tokens": asking, "seconds": seconds}


def said(guess: dict[str, Any], time: str) -> str:
    """`expected` as a sentence."""
    return (
        f"{guess['cells']} to measure, {guess['trainings']} to train: about {guess['train_tokens']} tokens to train on and "
        f"{guess['ask_tokens']} to read for the questions; time: {time}"
    )
