"""Records as tables: one row per cell, per item, per point of a learning curve. These are what reports read and what is committed."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tolman.core.errors import UserError
from tolman.core.stats import Estimate, estimate
from tolman.run.retention import MEASURES
from tolman.run.store import Damaged, write_atomically

LATER: dict[str, Any] = {f"{measure}{when}": pl.Float64 for measure in MEASURES for when in ("_before", "")}
"""What a training left of general knowledge; null where it was not measured."""
CELLS: dict[str, Any] = {
    "fingerprint": pl.String, "condition": pl.String, "train_fingerprint": pl.String, "study": pl.String, "scale": pl.String, "seed": pl.Int64,
    "dataset": pl.String, "model": pl.String, "train_time": pl.String, "test_time": pl.String, "scoring": pl.String,
    "training": pl.String, "asking": pl.String, "config": pl.String, "kinds": pl.String,
    "train_tokens": pl.Int64, "train_flops": pl.Float64, "train_s": pl.Float64,
    "generate_tokens": pl.Int64, "generate_flops": pl.Float64, "generate_s": pl.Float64,
    "ask_tokens": pl.Int64, "ask_flops": pl.Float64, "ask_s": pl.Float64,
    "n_questions": pl.Int64, "parameters": pl.Int64, "leaks": pl.Int64, "environment": pl.String, "created": pl.String,
    "notes": pl.String, **LATER,
}  # fmt: skip
"""`notes` is JSON of what the training method kept, such as how many generated documents were false."""
ITEMS: dict[str, Any] = {
    "fingerprint": pl.String, "condition": pl.String, "seed": pl.Int64, "training": pl.String, "asking": pl.String, "scoring": pl.String,
    "question": pl.String, "kind": pl.String, "cluster": pl.String, "prompt": pl.String, "question_text": pl.String, "answer": pl.String,
    "expected": pl.List(pl.String), "choices": pl.List(pl.String), "support_shown": pl.Boolean, "verdict": pl.String, "correct": pl.Boolean,
    "scores_nats": pl.List(pl.Float32), "trace": pl.String, "trace_told": pl.List(pl.Boolean), "needed": pl.List(pl.String), "samples": pl.List(pl.String),
}  # fmt: skip
ABSENT: dict[str, Any] = {"notes": "{}", "trace": "", "trace_told": [], "needed": [], "samples": [], **dict.fromkeys(LATER)}
"""Columns that older tables do not have, and what stands for them."""
TRAININGS: dict[str, Any] = {
    "train_fingerprint": pl.String, "seed": pl.Int64, "training": pl.String, "step": pl.Int64, "tokens": pl.Int64, "seconds": pl.Float64,
    "flops": pl.Float64, "loss": pl.Float64, "kind": pl.String, "asking": pl.String, "accuracy": pl.Float64, "n": pl.Int64,
}  # fmt: skip
_SCHEMAS = {"cells": CELLS, "items": ITEMS, "trainings": TRAININGS}


@dataclass(frozen=True, eq=False)
class Frames:
    """The three tables of a run. `Frames.read(folder)` loads what `write` left there."""

    cells: pl.DataFrame
    items: pl.DataFrame
    trainings: pl.DataFrame

    @classmethod
    def of(cls, study: str, scale: str, records: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]], curves: Iterable[dict[str, Any]]) -> "Frames":
        """From records (header, items) and artifacts' artifact.json (each with its `train_fingerprint`)."""
        cells: list[dict[str, Any]] = []
        items: list[dict[str, Any]] = []
        for header, record_items in records:
            row = cell_row(study, scale, header)
            cells.append(row)
            shared = {name: row[name] for name in ("fingerprint", "condition", "seed", "training", "asking", "scoring")}
            items += [shared | item for item in record_items]
        trainings = [
            {"train_fingerprint": about["train_fingerprint"], "seed": about["seed"], "training": about["training"], **point}
            for about in curves
            for point in about["curve"]
        ]
        return cls(*(pl.DataFrame(rows, schema=_SCHEMAS[name]) for name, rows in (("cells", cells), ("items", items), ("trainings", trainings))))

    @classmethod
    def read(cls, folder: Path) -> "Frames":
        """Raises UserError where the folder holds no run, naming the file that is missing or damaged."""
        tables = []
        for name, schema in _SCHEMAS.items():
            path = folder / f"{name}.parquet"
            if not path.is_file():
                raise UserError(f"{folder} holds no run: {path.name} is missing (a run's folder has {', '.join(f'{n}.parquet' for n in _SCHEMAS)})")
            try:
                table = pl.read_parquet(path)
            except Exception as error:  # polars raises several unrelated errors on bad files
                raise UserError(f"{path} cannot be read as Parquet: {error}") from error
            table = table.with_columns(pl.lit(ABSENT[c], schema[c]).alias(c) for c in schema if c in ABSENT and c not in table.columns)
            if missing := set(schema) - set(table.columns):
                raise UserError(f"{path} lacks the column {sorted(missing)[0]!r}; run the study again to write it anew")
            tables.append(table)
        return cls(*tables)

    def write(self, folder: Path) -> None:
        """As Parquet files in `folder`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _SCHEMAS:
            buffer = io.BytesIO()
            getattr(self, name).write_parquet(buffer, compression="zstd", compression_level=12)
            write_atomically(folder / f"{name}.parquet", buffer.getvalue())

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Kind -> description, latent, control, beside, over all cells (chance differs by scoring: see the cells)."""
        merged: dict[str, dict[str, Any]] = {}
        for text in self.cells["kinds"].unique(maintain_order=True):
            for kind, info in json.loads(text).items():
                merged.setdefault(kind, info)
        return merged


def computed(cells: pl.DataFrame) -> tuple[float, float]:
    """FLOPs and seconds that the trainings of `cells` took in all, each counted once: one that goes on from another of them holds that one's cost in its own."""
    trained = cells.unique("train_fingerprint", maintain_order=True)
    cost = trained.select((pl.col(f"train_{unit}") + pl.col(f"generate_{unit}")).alias(unit) for unit in ("flops", "s")).rows()
    flops, seconds = (sum(c[unit] for c in cost) for unit in (0, 1))
    if not trained["config"].str.contains('"first":', literal=True).any():
        return flops, seconds
    configs = [json.loads(text) for text in trained["config"]]

    def name(config: dict[str, Any], method: Any) -> str:
        return json.dumps([config["dataset"], config["model"], method, config["seed"]], sort_keys=True)

    at = {name(config, config["train_time"]): i for i, config in enumerate(configs)}
    begun = [i for config in configs if config["train_time"].get("first") and (i := at.get(name(config, config["train_time"]["first"]))) is not None]
    return flops - sum(cost[i][0] for i in begun), seconds - sum(cost[i][1] for i in begun)


def measured(items: pl.DataFrame, column: str) -> Estimate:
    """Mean of a column of `items` (true counts as 1), clustered on their facts and seeds."""
    cluster = items.select("cluster").with_row_index("at").select(pl.col("at").first().over("cluster")).to_series()  # where each first comes
    return estimate(items[column].cast(pl.Float64).to_numpy(), clusters=cluster.to_numpy(), seeds=items["seed"].to_numpy())


def recall(items: pl.DataFrame) -> Estimate:
    """Recall@k: the share of `items` with every supporting document in context, over those that need one and were asked with any document before them."""
    return measured(items.select("support_shown", "cluster", "seed").drop_nulls("support_shown"), "support_shown")


def cell_row(study: str, scale: str, header: dict[str, Any]) -> dict[str, Any]:
    """The row of CELLS for a record's header. Raises Damaged if it lacks something."""
    try:
        cell, costs = header["cell"], header["costs"]
        row = {name: header[name] for name in ("fingerprint", "condition", "train_fingerprint", "parameters", "created")}
        row |= {"study": study, "scale": scale, "seed": cell["seed"], "training": cell["training"], "asking": cell["asking"]}
        row |= {part: cell[part]["is"] for part in ("dataset", "model", "train_time", "test_time", "scoring")}
        row |= {"config": json.dumps(cell), "kinds": json.dumps(header["kinds"]), "environment": json.dumps(header["environment"])}
        row["notes"] = json.dumps(header.get("notes", {}))
        row |= {"n_questions": header["questions"], "leaks": len(header["leaks"])}
        for phase in ("train", "generate", "ask"):
            row |= {f"{phase}_tokens": costs[phase]["tokens"], f"{phase}_flops": costs[phase]["flops"], f"{phase}_s": costs[phase]["seconds"]}
        kept = header.get("retention") or {"before": {}, "after": {}}
        row |= {f"{m}{when}": kept[part].get(m) for m in MEASURES for when, part in (("_before", "before"), ("", "after"))}
    except (KeyError, TypeError) as error:
        raise Damaged(f"the record {header.get('fingerprint')} lacks {error}") from error
    return row
