"""A balanced sample of a folder's test questions: so many of each kind, about the same facts."""

from collections import Counter
from collections.abc import Sequence

from tolman.core.data import Question
from tolman.core.seeds import rng


def sampled(questions: Sequence[Question], per_kind: int, seed: int) -> list[Question]:
    """The practice questions, and at most `per_kind` test questions of each kind.

    Facts that are asked about in many kinds, and in rare ones, come first; among equals chance decides. Other kinds than `recall` keep to the facts that are recalled,
    so that the proof that a fact was learned stands beside each of its forms; `unanswerable` takes others too where these do not suffice.
    """
    test = [q for q in questions if q.split == "test"]
    sizes = Counter(q.kind for q in test)
    rarity: Counter[str] = Counter()
    for cluster, kind in sorted({(q.cluster, q.kind) for q in test}):
        rarity[cluster] += 1 / sizes[kind]  # type: ignore[assignment]
    clusters = sorted(rarity)
    drawn = dict(zip(clusters, rng(seed, "folder", "sample").permutation(len(clusters)).tolist(), strict=True))
    ranked = {cluster: place for place, cluster in enumerate(sorted(clusters, key=lambda c: (-round(rarity[c], 9), drawn[c])))}
    recalled = {q.cluster for q in test if q.kind == "recall"}
    chosen = set(sorted(recalled, key=ranked.__getitem__)[:per_kind])
    kept: set[str] = set()
    for kind in sizes:
        turn: Counter[str] = Counter()
        order = []
        for q in test:
            if q.kind == kind and (kind == "unanswerable" or not recalled or q.cluster in chosen or q.cluster not in recalled):
                pair = 2 if kind == "unanswerable" else 1  # what is stated and what is not stand side by side, so that half of the answers are yes
                order.append((q.cluster not in chosen, turn[q.cluster] // pair, ranked[q.cluster], q.id))
                turn[q.cluster] += 1
        kept.update(id for *_, id in sorted(order)[:per_kind])
    return [q for q in questions if q.split != "test" or q.id in kept]
