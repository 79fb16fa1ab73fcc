"""What many finished records say, in few files, so that a store of 100,000 is listed and reported in a second or two.

STORE/index/SHA256.parquet   a segment: one row per record, with its stamp, its row of the table of cells, and its items

Records are the truth and a segment is a copy: a row counts only while its record's stamp is the one it was copied from, and a segment whose bytes do not have the
hash that it is named by is not read. The folder may be deleted at any time.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    with ThreadPoolExecutor(1) as pool:  # segments are decoded while the records are listed
        reading = pool.submit(lambda: pl.concat([pl.DataFrame(schema=schema), *segments(store, list(schema))]))
        stamps = store.record_stamps()
        known = reading.result()
    texts = {"fingerprint": pl.String, "stamp": pl.String}
    present = pl.DataFrame({"fingerprint": list(stamps), "stamp": list(stamps.values())}, schema=texts)
    wanted = pl.DataFrame({"fingerprint": fingerprints}, schema={"fingerprint": pl.String}).join(present, on="fingerprint", maintain_order="left")
    found = places(wanted, known, ["fingerprint", "stamp"])
    missing = wanted.join(found, on="fingerprint", how="anti")
    if len(missing):
        made = (row for f, stamp in missing.iter_rows() if (row := read(store, f, stamp)) is not None)
        new = pl.concat([pl.DataFrame(schema=SEGMENT), *made], rechunk=True)  # or each column would be as many pieces as there are records
        if len(new) >= WORTH_A_SEGMENT:
            write(store, new)
        known = pl.concat([known, new.select(list(schema))])
        found = places(wanted, known, ["fingerprint", "stamp"])
    return take(known, found["at"])


def places(wanted: pl.DataFrame, table: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    """`wanted`, and `at` which row of `table` each of it stands, once; in its order, without what is not there. Only keys are joined: items are heavy to move."""
    keys = table.select(on).with_row_index("at").unique(on, keep="first")
    return wanted.join(keys, on=on, how="inner", maintain_order="left")


def take(table: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """The rows of `table` that are `at`; the table itself, if these are all in their order."""
    return table if len(at) == len(table) and (at == pl.int_range(len(at), eager=True)).all() else table[at]


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
    names = ("fingerprint", "training", "asking")
    plan = places(pl.DataFrame(list(labels), schema=dict.fromkeys(names, pl.String), orient="row"), table, ["fingerprint"])
    cells = take(table, plan["at"])
    reworded = (plan["training"] != cells["training"]) | (plan["asking"] != cells["asking"])
    if reworded.any():
        said = zip(cells["config"], plan["training"], plan["asking"], reworded, strict=True)
        config = [json.dumps(json.loads(c) | {"training": t, "asking": a}) if anew else c for c, t, a, anew in said]
        cells = cells.with_columns(pl.Series("config", config, pl.String), plan["training"], plan["asking"])
    cells = cells.with_columns(study=pl.lit(study), scale=pl.lit(scale))
    return Frames(cells.select(list(CELLS)), items_of(cells), curves)


def items_of(table: pl.DataFrame) -> pl.DataFrame:
    """The table of items of `rows`."""
    return table.select(*SHARED, "items").explode("items").unnest("items").select(list(ITEMS))
