"""The persistent store of episodes: a LanceDB table in a folder, searched by words and by vectors, the two fused by reciprocal rank.

Every change is one commit of LanceDB: whoever opens the folder finds all of it or nothing, whenever a writer was killed, and a reader in another process sees it
at its next search. Adding costs what is added; indexes are brought up to date now and then, and what they do not hold yet is searched without them.

Shapes: N texts, D dimensions of an embedding.
"""

import asyncio
import importlib.util
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tolman.core.errors import UserError
from tolman.memory._ranking import DECIMALS
from tolman.memory.dense import Library, embedder, unit

Way = Literal["both", "words", "vectors"]
TABLE = "episodes"
UNINDEXED = 500
"""Rows that are searched by words without an index before it is built anew (or a thirtieth of all rows, where that is more): a thousand cost 4 ms a search."""
FRAGMENTS = 64
"""Parts of the table, one for each adding, before they are put together."""
KEPT = timedelta(seconds=30)
"""So long the files of earlier versions stay, for searches under way in other processes (each search looks at the latest version)."""
INDEXED = 2_000
"""From so many rows on the vectors have an index (IVF), in which they lie packed: to compare 1,000 costs .07 ms there, and 1 ms in the table."""
PARTITION = 4_096
"""Vectors in a part of that index. With the 632 parts of 160 that 100,000 rows usually get, 24 of them hold .45 of the 40 nearest of words drawn at random."""
PROBES = 25
"""Parts that are looked into: up to 100,000 rows all of them, so that every vector is compared; beyond, those of the 100,000 likeliest."""
QUERY_WORDS = 64
"""So many different words of a question are looked up; a longer text is no question."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Episode:
    """A passage: characters `begin` to `end` of the text of `file`, in the section of that title."""

    id: str
    file: str
    section: str
    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """An episode with its fused score, and what it rests on: the rank among those that share words with the question, the cosine similarity (nan: not among the nearest)."""

    episode: Episode
    score: float
    word_rank: int | None
    similarity: float


class _Ranked(NamedTuple):
    """A row with what `Found` says of its episode."""

    row: int
    score: float
    word_rank: int | None
    similarity: float


os.environ.setdefault("LANCEDB_LOG", "error")  # read when LanceDB is imported; it warns of each partition that it splits, on standard error


class Episodes:
    """The store in `folder`, made if there is none. Raises UserError where LanceDB is missing or the folder holds something else."""

    def __init__(self, folder: Path, *, library: Library = "wordllama", model: str = "") -> None:
        if importlib.util.find_spec("lancedb") is None:
            raise UserError("a persistent memory needs the package lancedb: pip install lancedb")
        import lancedb

        self._reader: Any = None
        self._turn = asyncio.Lock()
        """Held by one search at a time: the ids of rows hold for the version that the reader is at."""
        self.folder, self.embed = folder, embedder(library, model)
        try:
            self.database = lancedb.connect(str(folder))
            self.table: Any = self.database.create_table(TABLE, schema=self._schema(), exist_ok=True)
            self._tend()
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{folder} holds no memory that can be opened: {str(error).splitlines()[0]}") from error

    def __len__(self) -> int:
        self.table.checkout_latest()
        return self.table.count_rows()

    # -- changing --------------------------------------------------------------------------------------------------------------

    def add(self, episodes: Sequence[Episode]) -> None:
        """Put in `episodes`; whatever was there of their files goes. One commit. Ids must be unique."""
        assert len({e.id for e in episodes}) == len(episodes), "two episodes have one id"
        if not episodes:
            return
        files, rows = {e.file for e in episodes}, self._rows(episodes)
        if self.table.count_rows(_among(files)):
            job = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            job.when_not_matched_by_source_delete(_among(files)).execute(rows)
        else:
            self.table.add(rows)
        self._tend()

    def forget(self, files: Iterable[str]) -> int:
        """Delete all of `files`: no search finds it from the commit on. Then the table is written anew, so that the folder's bytes do not hold it either.
        How many episodes went."""
        before, files = len(self), set(files)
        if not files:
            return 0
        self.table.delete(_among(files))
        if gone := before - len(self):
            self.table = self.database.create_table(TABLE, self.table.to_arrow(), mode="overwrite")
            self._tend()
            with warnings.catch_warnings():  # LanceDB's: a search under way in another process may fail; `search` begins again
                warnings.simplefilter("ignore")
                self.table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        return gone

    def _tend(self) -> None:
        """Make the indexes that are worth having, and bring them up to date where much is not in them. All of it together costs a constant factor on adding."""
        from lancedb.index import FTS, IvfFlat

        rows, indexed = len(self), {column for index in self.table.list_indices() for column in index.columns}
        missing = {column: self.table.index_stats(f"{column}_idx").num_unindexed_rows for column in indexed}
        if missing.get("vector", 0) > rows // 10 or self.table.stats()["fragment_stats"]["num_fragments"] > FRAGMENTS:
            self.table.optimize(cleanup_older_than=KEPT)
        elif missing.get("text", UNINDEXED + rows) > max(UNINDEXED, rows // 30):
            # words are compared whole, without case, as memory/bm25 does; English words that stand everywhere are left out. Built anew: 15 ms for 1,000 rows,
            # a third of what `optimize` takes, which moves the rows as well
            self.table.create_index("text", config=FTS(with_position=False, stem=False, remove_stop_words=True, ascii_folding=False), replace=True)
        if rows > INDEXED and "vector" not in indexed:  # LanceDB parts and joins its parts later, as the table grows
            parts = math.ceil(rows / PARTITION)
            self.table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=parts, sample_rate=64, max_iterations=20))

    # -- looking up ------------------------------------------------------------------------------------------------------------

    def search(self, text: str, *, k: int, way: Way = "both", candidates: int = 40, constant: float = 60.0, least_similarity: float = 0.0) -> list[Found]:
        """The `k` best episodes for `text`, best first. Score: the sum of 1 / (constant + rank) over the rankings by words (BM25) and by vectors (cosine), of
        `candidates` each; ties go to what was put in first. What shares no word with the text must be `least_similarity` like it."""
        words, vector_D = " ".join(list(dict.fromkeys(_WORD.findall(text)))[:QUERY_WORDS]), self._vectors([text])[0]
        asked = (words if way != "vectors" else "", vector_D if way != "words" and vector_D.any() else None)

        def best(by_words: dict[int, float], by_vectors: dict[int, float]) -> list[_Ranked]:
            return _fused(by_words, by_vectors, constant, least_similarity)[:k]

        return self._surely(lambda: asyncio.run_coroutine_threadsafe(self._search(*asked, candidates, best), _loop()).result())

    def _surely(self, search: Callable[[], list[Found]]) -> list[Found]:
        """`search`, begun again where another process has just put away the version that was looked into, or has not yet made its index."""
        for _ in range(20):
            try:
                return search()
            except (OSError, RuntimeError, ValueError):
                time.sleep(0.05)
        return search()

    async def _search(
        self, words: str, vector_D: np.ndarray | None, candidates: int, best: Callable[[dict[int, float], dict[int, float]], list["_Ranked"]]
    ) -> list[Found]:
        """Look for the words and for the vector at once, choose the best by their row ids and scores, and only then read their rows."""
        from lancedb.query import MatchQuery

        async def scores(query: Any, name: str) -> dict[int, float]:
            found = await query.limit(candidates).select([name]).with_row_id().to_arrow()
            return dict(zip(found["_rowid"].to_pylist(), found[name].to_pylist(), strict=True))

        async def nothing() -> dict[int, float]:
            return {}

        async with self._turn:
            if self._reader is None:
                self._reader = await (await _connect(self.folder)).open_table(TABLE)
            await self._reader.checkout_latest()
            query = self._reader.query
            by_words = scores(query().nearest_to_text(MatchQuery(words, "text")), "_score") if words else nothing()  # type: ignore[call-arg]
            near = scores(query().nearest_to(vector_D).distance_type("dot").nprobes(PROBES), "_distance") if vector_D is not None else nothing()
            ranked = best(*await asyncio.gather(by_words, near))
            if not ranked:
                return []
            rows = (await self._reader.take_row_ids([r.row for r in ranked]).select(_COLUMNS).with_row_id().to_arrow()).to_pylist()
        by_id = {row["_rowid"]: _episode(row) for row in rows}
        return [Found(by_id[r.row], r.score, r.word_rank, r.similarity) for r in ranked]

    def files(self) -> dict[str, int]:
        """How many episodes each file has, by name."""
        counts: dict[str, int] = {}
        for name in self.table.search().select(["file"]).limit(max(1, len(self))).to_arrow()["file"].to_pylist():
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))

    def all(self) -> Iterator[Episode]:
        """Every episode, in the order of files and places."""
        rows = self.table.search().select(_COLUMNS).limit(max(1, len(self))).to_list()
        yield from map(_episode, sorted(rows, key=_place))

    # -- rows ------------------------------------------------------------------------------------------------------------------

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (N, D), float32."""
        return unit(self.embed(texts)).astype(np.float32)

    def _schema(self) -> Any:
        import pyarrow as pa

        names, place = ("id", "file", "section", "text"), ("begin", "end")
        vector = pa.list_(pa.float32(), self._vectors(["a"]).shape[1])
        return pa.schema([*((n, pa.string()) for n in names), *((n, pa.int64()) for n in place), ("vector", vector)])

    def _rows(self, episodes: Sequence[Episode]) -> Any:
        import pyarrow as pa

        vector_ND = self._vectors([e.text for e in episodes])
        columns = {name: [getattr(e, name) for e in episodes] for name in _COLUMNS}
        return pa.table(columns | {"vector": pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.ravel()), vector_ND.shape[1])}, schema=self._schema())


def _fused(by_words: dict[int, float], by_vectors: dict[int, float], constant: float, least_similarity: float) -> list[_Ranked]:
    """Rows by reciprocal rank, the best first, from row -> BM25 and row -> 1 - cosine. Ties go to the row that was put in first."""
    word_rank = {row: rank for rank, row in enumerate(sorted(by_words, key=lambda row: (-round(by_words[row], DECIMALS), row)), start=1)}
    nearest = sorted(by_vectors, key=lambda row: (round(by_vectors[row], DECIMALS), row))
    similarity = {row: s for row in nearest if (s := 1 - by_vectors[row]) >= least_similarity or row in word_rank}
    score = dict.fromkeys((*word_rank, *similarity), 0.0)
    for ranks in (word_rank, {row: rank for rank, row in enumerate(similarity, start=1)}):
        for row, rank in ranks.items():
            score[row] += 1 / (constant + rank)
    return [_Ranked(row, score[row], word_rank.get(row), similarity.get(row, math.nan)) for row in sorted(score, key=lambda row: (-score[row], row))]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all searches, in a thread of its own: LanceDB's synchronous interface goes through one too, six times a search."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


async def _connect(folder: Path) -> Any:
    import lancedb

    return await lancedb.connect_async(str(folder))


_COLUMNS = ["id", "file", "section", "text", "begin", "end"]


def _episode(row: dict[str, Any]) -> Episode:
    return Episode(*(row[name] for name in _COLUMNS))


def _place(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["file"], row["begin"], row["id"]


def _among(files: Iterable[str]) -> str:
    """The condition, in SQL, that a row is of one of `files`."""
    return f"file in ({', '.join(chr(39) + name.replace(chr(39), chr(39) * 2) + chr(39) for name in sorted(set(files)))})"
