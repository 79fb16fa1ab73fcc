"""What a comparison or a teaching will take, before it is run."""

from typing import Any

from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.run.estimate import SHARE_OF_PEAK, peak_flops
from tolman.run.plan import Plan
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.thinking import Thinking

TOKENS_A_WORD = 1.3


def expected(plan: Plan, corpus: Corpus, parameters: int | None) -> dict[str, Any]:
    """What is not finished yet: trainings, tokens to train on, tokens to read for the questions, and seconds (None where a model does not say what it computes).

    A token is taken as 1.3 to a word; what all prompts begin with counts once. Seconds are right within a factor of about three.
    """
    training = asking = 0
    unfinished = plan.unfinished()
    read: dict[Component, int] = {}
    for group in unfinished:
        training += getattr(group[0].train_time, "train_tokens", lambda: 0)()
        for cell in group:
            if cell.test_time not in read:
                read[cell.test_time] = ask_tokens(cell.test_time, corpus)
            asking += read[cell.test_time]
    seconds = 2 * parameters * (3 * training + asking) / (peak_flops() * SHARE_OF_PEAK) if parameters else None
    return {"trainings": len(unfinished), "cells": sum(map(len, unfinished)), "train_tokens": training, "ask_tokens": asking, "seconds": seconds}


def ask_tokens(test_time: Any, corpus: Corpus) -> int:
    """Tokens to read for all questions. A trace is read before it and once more after it."""
    if isinstance(test_time, Thinking):
        asked = test_time.ask.partition("{question}")[0].split()
        inner = test_time.context or ClosedBook()
        return 2 * (ask_tokens(inner, corpus) + len(corpus.asked()) * (test_time.budget_tokens + round(TOKENS_A_WORD * len(asked))))
    prompts = test_time.prompts(None, corpus, corpus.asked(), seed=0)
    shared = prompts[0].documents if all(p.documents == prompts[0].documents for p in prompts) else ()
    words = sum(len(text.split()) for text in shared)
    words += sum(len(text.split()) for p in prompts for text in (*(() if shared else p.documents), p.question))
    return round(TOKENS_A_WORD * words)


def said(guess: dict[str, Any], time: str) -> str:
    """`expected` as a sentence."""
    return (
        f"{guess['cells']} to measure, {guess['trainings']} to train: about {guess['train_tokens']} tokens to train on and "
        f"{guess['ask_tokens']} to read for the questions; time: {time}"
    )
