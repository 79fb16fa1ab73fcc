"""What many finished records say, in few files, so that a store of 100,000 is listed and reported in a second or two.

STORE/index/SHA256.parquet   a segment: one row per record, with its stamp, its row of the table of cells, and its items

Records are the truth and a segment is a copy: a row counts only while its record's stamp is the one it was copied from, and a segment whose bytes do not have the
hash that it is named by is not read. The folder may be deleted at any time.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from tolman.run.frames import ABSENT, CELLS, ITEMS, Frames, cell_row
from tolman.run.store import Damaged, Store, record_key

WORTH_A_SEGMENT = 1000
"""Records beyond those in segments from which a new one is written; fewer are read one by one, which takes about a millisecond each."""

SHARED = ("fingerprint", "condition", "seed", "training", "asking", "scoring")
OWN = {name: kind for name, kind in ITEMS.items() if name not in SHARED}
_LATER = {name: value for name, value in ABSENT.items() if name in OWN}
"""What stands for fields that records written by earlier versions do not have."""
SEGMENT: dict[str, Any] = {"stamp": pl.String, **CELLS, "items": pl.List(pl.Struct(OWN))}


def finished(store: Store, fingerprints: Sequence[str]) -> set[str]:
    """Those of `fingerprints` that have a sound record. A damaged one is set aside with a warning."""
    return set(rows(store, fingerprints, items=False)["fingerprint"])


def rows(store: Store, fingerprints: Sequence[str], *, items: bool = True) -> pl.DataFrame:
    """A row of SEGMENT (without `items`, if these are not asked for) for each of `fingerprints` that has a sound record, once, in their order."""
    fingerprints = list(dict.fromkeys(fingerprints))
    schema = SEGMENT if items else {name: kind for name, kind in SEGMENT.items() if name != "items"}
    if len(fingerprints) < WORTH_A_SEGMENT:
        return pl.concat([pl.DataFrame(schema=SEGMENT), *(row for f in fingerprints if (row := read(store, f, "")) is not None)]).select(list(schema))
    stamps = store.record_stamps()
    wanted = pl.DataFrame([(f, stamps[f]) for f in fingerprints if f in stamps], schema={"fingerprint": pl.String, "stamp": pl.String}, orient="row")
    known = pl.concat([pl.DataFrame(schema=schema), *segments(store, list(schema))])
    known = wanted.join(known, on=["fingerprint", "stamp"], how="inner").unique("fingerprint")
    missing = wanted.join(known, on="fingerprint", how="anti")
    if len(missing):
        new = pl.concat([pl.DataFrame(schema=SEGMENT), *(row for f, stamp in missing.iter_rows() if (row := read(store, f, stamp)) is not None)])
        if len(new) >= WORTH_A_SEGMENT:
            write(store, new)
        known = pl.concat([known.select(list(schema)), new.select(list(schema))])
    return wanted.select("fingerprint").join(known, on="fingerprint", how="inner", maintain_order="left").select(list(schema))


def read(store: Store, fingerprint: str, stamp: str) -> pl.DataFrame | None:
    """The row of one record, or None. A record of another shape is set aside with a warning."""
    record = store.read_record(fingerprint)
    if record is None:
        return None
    header, items = record
    items = [_LATER | item for item in items]
    try:
        if header.get("fingerprint") != fingerprint or not all(OWN.keys() <= item.keys() for item in items):
            raise Damaged(f"the record {fingerprint} is another's, or its items lack a field")
        return pl.DataFrame([cell_row("", "", header) | {"stamp": stamp, "items": items}], schema=SEGMENT)
    except Exception as error:  # polars raises several unrelated errors on values of another type
        store.set_aside(record_key(fingerprint), str(error) if isinstance(error, Damaged) else f"the record {fingerprint} has another shape: {error}")
        return None


def segments(store: Store, columns: list[str]) -> Iterable[pl.DataFrame]:
    """The segments that are whole."""
    for name in store.place.listing("index"):
        try:
            data = store.place.read(f"index/{name}")
        except FileNotFoundError:
            continue
        if name != f"{hashlib.sha256(data).hexdigest()}.parquet":
            continue
        if {c: kind for c, kind in pl.read_parquet_schema(io.BytesIO(data)).items() if c in columns} == {c: pl.Schema(SEGMENT)[c] for c in columns}:
            yield pl.read_parquet(io.BytesIO(data), columns=columns)  # one of an earlier version is passed over: its records are read again


def write(store: Store, table: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    store.place.write(f"index/{hashlib.sha256(buffer.getvalue()).hexdigest()}.parquet", buffer.getvalue())


def frames(table: pl.DataFrame, labels: Sequence[tuple[str, str, str]], curves: pl.DataFrame, *, study: str, scale: str) -> Frames:
    """The tables of a run, from `rows` and its cells' (fingerprint, training, asking): labels may have been reworded since."""
    plan = pl.DataFrame(list(labels), schema={name: pl.String for name in ("fingerprint", "training", "asking")}, orient="row")
    old = table.rename({"training": "old_training", "asking": "old_asking"})
    cells = plan.join(old, on="fingerprint", how="inner", maintain_order="left").with_columns(study=pl.lit(study), scale=pl.lit(scale))
    reworded = (pl.col("training") != pl.col("old_training")) | (pl.col("asking") != pl.col("old_asking"))
    config = pl.struct("config", "training", "asking").map_elements(
        lambda c: json.dumps(json.loads(c["config"]) | {"training": c["training"], "asking": c["asking"]}), return_dtype=pl.String
    )
    cells = pl.concat([cells.with_row_index("n").filter(~reworded), cells.with_row_index("n").filter(reworded).with_columns(config=config)]).sort("n")
    return Frames(cells.select(list(CELLS)), items_of(cells), curves)


def items_of(table: pl.DataFrame) -> pl.DataFrame:
    """The table of items of `rows`."""
    return table.select(*SHARED, "items").explode("items").unnest("items").select(list(ITEMS))
