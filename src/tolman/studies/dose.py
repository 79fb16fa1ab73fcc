"""Which share of facts must be seen reversed before held-out facts reverse from the weights?

The talk behind this software leaves it open: at 99 % the papers still see none (arXiv 2509.16189). Tiny transformers learn worlds of facts of which a share is stated in
both directions and the rest forward only; asked are reversals of facts stated both ways and of facts that never were. The share rises from none to 99.9 %, for three
sizes of world (the largest is the paper's: 1,000 entities x 20 relations, 200 facts held out), two of model and two lengths of training (the longer with ten times the
weight decay), and for names that share their words.
"""

import json
from collections.abc import Sequence

import polars as pl

from tolman.datasets.reversals import Reversals
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.scoring.exact import Exact
from tolman.studies._study import Check, Outcome, Picture, accuracy, at_least, at_most
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.pretrain import Pretrain

scales = {"quick": 1, "small": 3}

BASE, LARGE, PAPER, WIDE, LONG, SHARED, EPISODES = (
    "1,000 facts", "10,000 facts", "20,000 facts", "model 4 times as large", "training 5 times as long", "names that share words", "with in-context sequences",
)  # fmt: skip
SHARES = {
    "quick": {BASE: (0.0, 0.5, 0.9, 0.99)},
    "small": {
        BASE: (0.0, 0.5, 0.9, 0.99), WIDE: (0.9, 0.99), LONG: (0.9, 0.99), SHARED: (0.9, 0.99), EPISODES: (0.99,), LARGE: (0.99, 0.999),
        PAPER: (0.99,),
    },
}  # fmt: skip
"""Condition -> shares of all facts that are stated in both directions."""
ASKED = {PAPER: 200}
"""At most so many held-out facts are asked; 100 where nothing is said."""
_KINDS = ("trained_forward", "trained_reversed", "heldout_forward", "heldout_reversal")


def cells(scale: str, seeds: Sequence[int]) -> list[Cell]:
    """Conditions x shares x seeds, each asked closed book."""
    return [cell(condition, share, seed) for seed in seeds for condition, shares in SHARES[scale].items() for share in shares]


def cell(condition: str, share: float, seed: int) -> Cell:
    """One point of the curve."""
    entities, relations = {LARGE: (1000, 10), PAPER: (1000, 20)}.get(condition, (200, 5))
    facts = entities * relations
    asked = ASKED.get(condition, 100)
    held_out = max(1, min(asked, round((1 - share) * facts)))
    world = Reversals(
        entities=entities, relations=relations, held_out=held_out, reversed_share=min(1.0, share * facts / (facts - held_out)), asked=asked,
        max_filler=0, copies=1, episodes="fresh" if condition == EPISODES else "none", name_words=2 if condition == SHARED else 1,
    )  # fmt: skip
    model = Tiny(width=256, hidden=768, layers=2, heads=8, kv_heads=8) if condition == WIDE else Tiny()
    train = Pretrain(
        steps={LARGE: 900, PAPER: 4000, LONG: 1500, EPISODES: 1000}.get(condition, 300),
        batch_tokens=3072 if condition in (LARGE, PAPER) else 2048 if condition == EPISODES else 1024,
        weight_decay=0.1 if condition == LONG else 0.01,
    )
    return Cell(
        dataset=world, model=model, train_time=train, test_time=ClosedBook(), scoring=Exact(), seed=seed, asking="closed book",
        training=f"{condition}, {100 * share:g} % reversed", kinds=_KINDS if share else tuple(k for k in _KINDS if k != "trained_reversed"),
    )  # fmt: skip


def doses(frames: Frames) -> pl.DataFrame:
    """The items, each with its `setting` and the `share` of all facts that its world states in both directions."""
    rows = []
    for fingerprint, training, config in frames.cells.select("fingerprint", "training", "config").iter_rows():
        d = json.loads(config)["dataset"]
        facts = d["entities"] * d["relations"]
        both = round(d["reversed_share"] * (facts - d["held_out"]))
        rows.append({"fingerprint": fingerprint, "setting": training.rpartition(", ")[0], "share": both / facts})
    return frames.items.join(pl.DataFrame(rows), on="fingerprint")


def headline(frames: Frames) -> str:
    """The finding in one sentence."""
    items = doses(frames)
    most = float(items["share"].max())  # type: ignore[arg-type]
    top = items.filter(pl.col("share") == most)
    held, forward, trained = (accuracy(top.filter(pl.col("kind") == kind)) for kind in ("heldout_reversal", "heldout_forward", "trained_reversed"))
    return (
        f"With {100 * most:.4g} % of the facts stated in both directions, held-out facts reverse in {100 * held.mean:.0f} % [{100 * held.low:.0f}, {100 * held.high:.0f}] "
        f"of cases from the weights, though the same facts are recalled forward in {100 * forward.mean:.0f} % and trained reversals in {100 * trained.mean:.0f} %; {found(items)}."
    )


def thresholds(items: pl.DataFrame) -> dict[str, float | None]:
    """Setting -> the smallest share from which on more than half of the held-out facts reverse; None where there is none."""
    out: dict[str, float | None] = {}
    for (setting,), mine in held_out(items).group_by("setting", maintain_order=True):
        rising = [share for (share,), part in sorted(mine.group_by("share"), reverse=True)]
        low = [accuracy(mine.filter(pl.col("share") == share)).mean <= 0.5 for share in rising]
        above = rising[: low.index(True)] if True in low else rising
        out[str(setting)] = above[-1] if above else None
    return out


def held_out(items: pl.DataFrame) -> pl.DataFrame:
    return items.filter(pl.col("kind") == "heldout_reversal")


def found(items: pl.DataFrame) -> str:
    """Where the curve rises, in words made from the numbers."""
    at, held = thresholds(items), held_out(items)
    if located := {setting: share for setting, share in at.items() if share is not None}:
        return "held-out facts reverse " + ", ".join(f"from {100 * share:.4g} % on ({setting})" for setting, share in located.items())
    most = accuracy(held.filter(pl.col("share") == held["share"].max()))
    top, upper = 100 * held["share"].max(), 100 * most.high  # type: ignore[operator]
    return f"no threshold up to {top:.4g} % in any of {len(at)} setting{'s' * (len(at) != 1)} (at {top:.4g} %, {100 * most.mean:.1f} % reverse, surely below {upper:.0f} %)"


def by_relation(items: pl.DataFrame) -> str:
    """The single relation, in a setting with all its shares, whose held-out facts reverse most often: is a mean of zero hiding a relation that reverses?"""
    parts = held_out(items).with_columns(relation=pl.col("cluster").str.split("-").list.get(1)).group_by("setting", "relation", maintain_order=True)
    best, setting, relation = max(((accuracy(part), str(setting), int(relation)) for (setting, relation), part in parts), key=lambda found: found[0].mean)
    return f"Relation by relation, held-out facts reverse most often in relation {relation} of {setting!r}: {best} over {best.n} questions."


def c07(frames: Frames) -> Outcome:
    """Of every setting, what was trained is recalled in its trained form (>= .95), over all its shares; held-out reversals, at each share, <= .05 where there is
    no threshold (none from which on more than half reverse); and so pooled over all settings and shares."""
    items = doses(frames)
    checks: list[Check] = [at_most("all settings and shares pooled: held-out reversals", accuracy(held_out(items)), 0.05)]
    for setting in items["setting"].unique(maintain_order=True):
        mine = items.filter(pl.col("setting") == setting)
        checks.append(at_least(f"{setting}: trained forms", accuracy(mine.filter(pl.col("kind") != "heldout_reversal")), 0.95))
        for (share,), part in held_out(mine).group_by("share", maintain_order=True):
            checks.append(at_most(f"{setting}: held-out reversals at {100 * share:.4g} %", accuracy(part), 0.05))
    missing = [setting for setting in SHARES["small"] if setting not in set(items["setting"])]
    asks = f" The rule asks for more settings than these records have: {'; '.join(missing)}." if missing else ""
    return Outcome(tuple(checks), measured=found(items), note=by_relation(items) + asks)


claims = {"C07": c07}
pictures = {"C07": Picture("dose", beside=("objectives", "reversals"))}
