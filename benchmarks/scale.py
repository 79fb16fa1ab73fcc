"""How much a run costs beside its trainings, and how far a store carries.

    python benchmarks/scale.py [cells] [engines] [store] [--records 100000] [--out FILE]

- `cells`: cells per hour with 1 and 2 workers of one thread each: small trainings of reversals, asked twice.
- `engines`: seconds per cell of each engine for cells that do nothing (the scripted model, nothing trained), its start apart.
- `store`: records written per second; then a store of 100,000 records (10 questions each): the time to list which are finished and to make the tables of all of
  them, the first time (each record read and checked, the index written) and every later time; and for the report page with its figures from these tables.

Seconds are of the wall clock, with the seconds of CPU of this process and of those that it started beside them: on a machine that others use too, these say
more. Writes benchmarks/results/scale.json.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tolman.core.errors import UserError
from tolman.datasets.reversals import Reversals
from tolman.models.scripted import Scripted
from tolman.models.tiny import Tiny
from tolman.report.page import write_report
from tolman.run import index
from tolman.run.cell import Cell
from tolman.run.engines import run_here, run_workers
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.untrained import Untrained

RESULTS = Path(__file__).parent / "results" / "scale.json"
WORLD = {"entities": 12, "relations": 2, "held_out": 4, "episode_count": 60, "asked": 6, "options": 4, "episode_facts": 3, "copies": 2}
ITEMS = 10


def timed(work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), _cpu_s()
    work()
    return {"seconds": round(time.perf_counter() - wall, 3), "cpu_s": round(_cpu_s() - cpu, 3)}


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def trained_cells(seeds: int, steps: int) -> list[Cell]:
    """Two ways of asking each training."""
    shared = {
        "dataset": Reversals(**WORLD),
        "model": Tiny(layers=1, width=64),
        "train_time": Pretrain(steps=steps, batch_tokens=512),
        "test_time": ClosedBook(),
    }
    return [Cell(**shared, scoring=Exact(max_tokens=n), seed=seed) for seed in range(seeds) for n in (2, 3)]


def empty_cells(seeds: int) -> list[Cell]:
    shared = {"dataset": Reversals(**WORLD), "model": Scripted(), "train_time": Untrained(), "test_time": ClosedBook(), "scoring": Exact()}
    return [Cell(**shared, seed=seed) for seed in range(seeds)]


def groups_of(cells: list[Cell], store: Store) -> list[list[Cell]]:
    return Plan("benchmark", "quick", tuple(cells), store).groups()


def cells(folder: Path) -> dict[str, Any]:
    """Cells per hour with one and two workers of one thread."""
    made = trained_cells(seeds=4, steps=100)
    out = {}
    for workers in (1, 2):
        store = Store(folder / f"cells{workers}")
        spent = timed(lambda workers=workers, store=store: run_workers(store, groups_of(made, store), lambda event: None, workers))
        out[f"{workers} workers"] = spent | {"cells": len(made), "cells_per_hour": round(3600 * len(made) / spent["seconds"])}
    return out


def engines(folder: Path) -> dict[str, Any]:
    """Seconds per cell that does nothing, from the difference of a long and a short run; the rest is the engine's start."""
    from tolman.run.ray_engine import run_ray

    runs = {
        "this process": lambda store, groups: run_here(store, groups, lambda event: None),
        "local, 1 worker": lambda store, groups: run_workers(store, groups, lambda event: None, 1),
        "ray, 1 worker": lambda store, groups: run_ray(store, groups, lambda event: None, workers=1),
    }
    out = {}
    for name, run in runs.items():
        seconds, many = {}, 8 if name == "local, 1 worker" else 40
        for n in (2, many):
            store = Store(folder / f"{name}{n}")
            seconds[n] = timed(lambda run=run, store=store, n=n: run(store, groups_of(empty_cells(n), store)))["seconds"]
        each = (seconds[many] - seconds[2]) / (many - 2)
        out[name] = {"seconds_per_cell": round(each, 3), "start_s": round(seconds[2] - 2 * each, 3)}
    return out


def store(folder: Path, records: int) -> dict[str, Any]:
    """Writing, listing and tabling; the latter in a process of its own."""
    place = Store(folder / "store")
    (cell,) = empty_cells(1)
    run_here(place, [[cell]], lambda event: None)
    header, items = place.read_record(cell.fingerprint()) or (_ for _ in ()).throw(UserError("the cell has no record"))
    names = [f"{i:016x}" for i in range(records)]
    one = place.record_path(cell.fingerprint())
    synced = min(1000, records)
    out: dict[str, Any] = {"records": records, "questions_each": ITEMS}
    out["write"] = timed(lambda: [place.write_record(n, header | {"fingerprint": n}, items[:ITEMS]) for n in names[:synced]])
    out["write"]["records_per_second"] = round(synced / out["write"]["seconds"])
    os.fsync, kept = (lambda handle: None), os.fsync  # the others are only there to be read
    for n in names[synced:]:
        place.write_record(n, header | {"fingerprint": n}, items[:ITEMS])
    os.fsync = kept
    out["bytes_per_record"] = place.record_path(names[0]).stat().st_size
    one.unlink()
    out["first listing"] = timed(lambda: index.finished(place, names))
    with get_context("spawn").Pool(1) as pool:  # as a user does who asks for a report: this process has a heap full of records
        return out | pool.apply(read_again, (folder, names))


def read_again(folder: Path, names: list[str]) -> dict[str, Any]:
    """Listing and tabling what is there."""
    place, records, out = Store(folder / "store"), len(names), {}
    out["listing"] = timed(lambda: index.finished(place, names))
    labels = [(n, "", "") for n in names]
    curves = Plan("benchmark", "quick", (), place).frames().trainings
    tables = []
    out["tables"] = timed(lambda: tables.append(index.frames(index.rows(place, names), labels, curves, study="benchmark", scale="quick")))
    assert len(tables[0].cells) == records and len(tables[0].items) == ITEMS * records
    out["report page"] = timed(lambda: write_report(folder / "report", tables[0], headline="", plan={"study": "benchmark", "scale": "quick", "seeds": [0]}))
    few = names[:: max(1, records // 300)][:300]
    out["tables of 300 of them"] = timed(lambda: index.rows(place, few))
    out["index_bytes"] = sum(p.stat().st_size for p in (folder / "store" / "index").iterdir())
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["cells", "engines", "store"])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tolman-scale-"))
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    try:
        for part in given.parts:
            found = {"cells": cells, "engines": engines, "store": lambda f: store(f, given.records)}[part](folder)
            results[part] = found | {
                "date": str(date.today()),
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 1),
                "python": platform.python_version(),
            }
            print(json.dumps({part: results[part]}, indent=1))
            given.out.parent.mkdir(exist_ok=True)
            given.out.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
