"""Tables from a run's records: an estimate for every condition and kind, and differences between conditions that were asked the same."""

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import polars as pl

from tolman.core.data import Verdict
from tolman.core.stats import Estimate, paired
from tolman.run.frames import LATER, Frames, measured, recall

GROUPS = ("trained", "latent", "control")
"""What a kind is: asked in the form that was trained, in a form that never was, or a control that should fail. Figures keep this order."""
COSTS = ("tokens", "flops", "s")
_BARE = ("test_time/closed_book", "test_time/thinking")
"""Ways of asking that show nothing of themselves; what thinks may do so over what another shows."""
_LIGHT = ("condition", "seed", "question", "kind", "cluster", "support_shown", "verdict", "correct")
"""Columns of items that hold no texts."""
_LABELS = ("condition", "study", "scale", "dataset", "model", "train_time", "test_time", "scoring", "training", "asking")

T = TypeVar("T")


def once(work: Callable[[Frames], T]) -> Callable[[Frames], T]:
    """`work`, done once for the same frames: every figure of a page asks for it."""
    done: WeakKeyDictionary[Frames, T] = WeakKeyDictionary()

    @functools.wraps(work)
    def known(frames: Frames) -> T:
        if frames not in done:
            done[frames] = work(frames)
        return done[frames]

    return known


@once
def conditions(frames: Frames) -> pl.DataFrame:
    """One row per condition, in the order of the study: its components' addresses, labels and mean costs.

    `training` and `asking` together name the condition: where two would read the same, the scoring's name is appended, then the condition itself.
    `ask_*` are per question, `train_*` and `generate_*` per trained model (mean over seeds). `kinds` is JSON of the kinds asked, chance averaged over seeds.
    """
    once = [pl.col(f"{phase}_{cost}").mean() for phase in ("train", "generate") for cost in COSTS]
    per_question = [(pl.col(f"ask_{cost}").sum() / pl.col("n_questions").sum()).alias(f"ask_{cost}") for cost in COSTS]
    seeds = pl.col("seed").n_unique().alias("seeds")
    first, kept = [pl.col(c).first() for c in _LABELS[1:]], [pl.col(c).mean() for c in LATER]
    cells = frames.cells.group_by("condition", maintain_order=True).agg(*first, seeds, *per_question, *once, *kept, pl.col("kinds"))
    kinds = pl.Series("kinds", [json.dumps(_average_chance(texts)) for texts in cells["kinds"].to_list()], dtype=pl.String)
    return _distinct(cells.with_columns(kinds))


@once
def estimates(frames: Frames) -> pl.DataFrame:
    """One row per condition and kind: accuracy with its 95 % interval, chance, recall@k (nan where nothing was put in context), the share of each verdict, and costs.

    Rows stand in the order of the study, kinds by group (`trained`, `latent`, `control`) and then in the order of the dataset. `label` is the kind in words.
    """
    rows = []
    for condition in conditions(frames).iter_rows(named=True):
        kinds = json.loads(condition.pop("kinds"))
        del condition["seeds"]  # of all its cells; a kind's own number comes with its estimate
        mine = items_of(frames, condition["condition"]).partition_by("kind", as_dict=True)
        for kind in sorted(kinds, key=lambda k: GROUPS.index(group(kinds[k]))):
            items = mine.get((kind,))
            if items is None:
                continue
            info = kinds[kind]
            about = {"kind": kind, "label": words(kind), "group": group(info), "description": info["description"], "beside": info["beside"]}
            found = accuracy(items).to_dict()
            del found["level"]
            shown = recall(items)
            found |= {"recall": shown.mean, "recall_low": shown.low, "recall_high": shown.high}
            shares = {f"share_{v}": float((items["verdict"] == str(v)).mean()) for v in Verdict}  # type: ignore[arg-type]
            rows.append(condition | about | found | {"chance": info["chance"]} | shares)
    return pl.DataFrame(rows, schema=_SCHEMA)


def items_of(frames: Frames, condition: str) -> pl.DataFrame:
    """The items of a condition in their order, without their texts, which are heavy to move."""
    return _by_condition(frames).get((condition,), frames.items.select(_LIGHT).clear())


@once
def _by_condition(frames: Frames) -> dict[tuple[Any, ...], pl.DataFrame]:
    return frames.items.select(_LIGHT).partition_by("condition", as_dict=True)


def accuracy(items: pl.DataFrame) -> Estimate:
    """Share of `items` answered correctly, clustered on facts and seeds."""
    return measured(items, "correct")


def difference(frames: Frames, first: str, second: str, kinds: Sequence[str] | None = None) -> Estimate:
    """Accuracy of condition `first` minus that of `second`, paired question by question, over what both were asked (of `kinds`; None: of all).

    Nothing asked in common gives an Estimate of n = 0 and nan, not zero.
    """
    wanted = frames.items if kinds is None else frames.items.filter(pl.col("kind").is_in(list(kinds)))
    a, b = (wanted.filter(pl.col("condition") == c).select("seed", "question", "cluster", pl.col("correct").cast(pl.Float64)) for c in (first, second))
    both = a.join(b, on=["seed", "question"], suffix="_second", maintain_order="left")
    return paired(both["correct"].to_list(), both["correct_second"].to_list(), clusters=both["cluster"].to_list(), seeds=both["seed"].to_list())


def open_book(frames: Frames) -> set[str]:
    """The conditions in which documents stand before the question."""

    def shows(test_time: Mapping[str, Any] | None) -> bool:
        return test_time is not None and (test_time["is"] not in _BARE or shows(test_time.get("context")))

    cells = frames.cells.select("condition", "config").unique("condition", maintain_order=True)
    return {condition for condition, config in cells.iter_rows() if shows(json.loads(config)["test_time"])}


def group(info: dict[str, object]) -> str:
    """Which of GROUPS a kind belongs to."""
    return "control" if info["control"] else "latent" if info["latent"] else "trained"


def words(kind: str) -> str:
    """A kind's name as words: `heldout_reversal` -> `held-out reversal`."""
    return kind.replace("_", " ").replace("heldout", "held-out")


def naturally(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which `oracle + 7` precedes `oracle + 15`."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", text))


_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(_LABELS, pl.String),
    **{f"{phase}_{cost}": pl.Float64 for phase in ("ask", "train", "generate") for cost in COSTS},
    **dict.fromkeys(("kind", "label", "group", "description", "beside"), pl.String),
    **dict.fromkeys(("mean", "low", "high", "recall", "recall_low", "recall_high"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
    "chance": pl.Float64,
    **LATER,
    **{f"share_{v}": pl.Float64 for v in Verdict},
}
"""The columns of `estimates`."""


def _average_chance(texts: Sequence[str]) -> dict[str, dict[str, object]]:
    """The kinds of a condition's cells (JSON, one per seed), each with the mean of its chance."""
    merged: dict[str, dict[str, object]] = {}
    chances: dict[str, list[float]] = {}
    for text, cells in Counter(texts).items():  # nearly all say the same
        for kind, info in json.loads(text).items():
            merged.setdefault(kind, dict(info))
            chances.setdefault(kind, []).extend([info["chance"]] * cells)
    return {kind: info | {"chance": sum(chances[kind]) / len(chances[kind])} for kind, info in merged.items()}


def _distinct(cells: pl.DataFrame) -> pl.DataFrame:
    again, apart = pl.struct("training", "asking").is_duplicated(), pl.struct("training", "asking", "scoring").is_unique()
    suffix = pl.when(apart).then(pl.col("scoring").str.split("/").list.last()).otherwise(pl.col("condition").str.head(8))
    return cells.with_columns(pl.when(again).then(pl.format("{} ({})", "asking", suffix)).otherwise("asking").alias("asking"))
