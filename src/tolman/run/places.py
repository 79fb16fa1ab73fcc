"""Where the bytes of a store are: a folder of this machine, or anything that fsspec has a URL for (s3://, gs://, abfs://, sftp://, memory://, file://).

Keys are paths with slashes: `records/FINGERPRINT.jsonl`. Both places promise the same: what stands under a key is whole, and a lock has one holder.
"""

import fcntl
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from tolman.core.errors import UserError

FREE = b'{"free": true}'
WHOLE = ("s3", "s3a")
"""Protocols whose uploads appear whole or not at all, and where there are no folders to make: what is written goes to its place at once (a fifth of the requests)."""
FOREIGN = ("safetensors", "botocore", "aiohttp", "google", "gcsfs", "azure", "paramiko")
"""Packages whose errors are no OSErrors."""
KEPT = "what was finished before is intact, and the same command goes on from there"


class Place(Protocol):
    """What a store asks of the place it is in. A key that is not there is a FileNotFoundError; what the place refuses is a UserError."""

    def read(self, key: str) -> bytes: ...

    def write(self, key: str, data: bytes) -> None:
        """Put `data` under `key`: at any moment a reader finds the old bytes or all of the new ones."""
        ...

    def listing(self, folder: str) -> dict[str, str]:
        """Name -> stamp of the files in `folder`; a stamp changes when the file does. Unfinished files are left out."""
        ...

    def move(self, key: str, to: str) -> None:
        """Move a file, or a folder with all that is in it."""
        ...

    def remove(self, folder: str) -> None:
        """Remove a folder and all that is in it, if it is there."""
        ...

    def replacing(self, key: str) -> AbstractContextManager[Path]:
        """A scratch file of this machine, which takes the place of `key` when the block ends without an error."""
        ...

    def file(self, key: str) -> Path:
        """A file of this machine with what is under `key`."""
        ...

    def preparing(self, key: str) -> AbstractContextManager[Path]:
        """A scratch folder of this machine, in which to prepare the files of the folder `key`; gone when the block ends."""
        ...

    def publish(self, scratch: Path, key: str, files: Mapping[str, str], last: str, data: bytes) -> None:
        """Make the prepared `files` (name -> SHA-256) visible under `key` in one step, with `data` in the file `last`."""
        ...

    def fetch(self, key: str, files: Mapping[str, str]) -> Path:
        """A folder of this machine with the published `files` of `key`; those that are gone are missing in it."""
        ...

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Held by one process at a time; given up when its holder ends, however that ends."""
        ...


class Folder:
    """A folder of this machine (or of a shared file system with flock and atomic rename)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for name in ("artifacts", "records", "checkpoints", "locks"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error

    def read(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, data)

    def listing(self, folder: str) -> dict[str, str]:
        out = {}
        try:
            with os.scandir(self.folder / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        about = entry.stat()
                        out[entry.name] = f"{about.st_size}-{about.st_mtime_ns}"
        except FileNotFoundError:
            return {}
        return out

    def move(self, key: str, to: str) -> None:
        with saying("move", self.folder / key):
            (self.folder / to).parent.mkdir(exist_ok=True)
            os.rename(self.folder / key, self.folder / to)

    def remove(self, folder: str) -> None:
        shutil.rmtree(self.folder / folder, ignore_errors=True)

    @contextmanager
    def replacing(self, key: str) -> Iterator[Path]:
        path = self.folder / key
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with saying("write", path):
                path.parent.mkdir(exist_ok=True)
                yield scratch
                os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)

    def file(self, key: str) -> Path:
        path = self.folder / key
        if not path.exists():
            raise FileNotFoundError(path)
        return path

    @contextmanager
    def preparing(self, key: str) -> Iterator[Path]:
        path = self.folder / key
        for left in path.parent.glob(f".{path.name}.*"):  # by one that was killed: whoever prepares holds the lock
            shutil.rmtree(left, ignore_errors=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with saying("write", scratch):
            scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def publish(self, scratch: Path, key: str, files: Mapping[str, str], last: str, data: bytes) -> None:
        write_atomically(scratch / last, data)
        place = self.folder / key
        with saying("write", place):
            for name in files:
                _sync(scratch / name)
            if place.exists():
                shutil.rmtree(place)
            os.rename(scratch, place)
            _sync(place.parent)

    def fetch(self, key: str, files: Mapping[str, str]) -> Path:
        return self.folder / key

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """By flock: the system releases it when the process ends."""
        path = self.folder / "locks" / name
        with saying("lock", path):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class Bucket:
    """Any fsspec URL. What is written goes to a temporary key first and is then moved to its own (but see WHOLE); a folder becomes visible by its last file.

    There is no flock: who works holds a *lease*, an object that it renews every `beat_s`. A lease that has not changed for `patience_s`, by the clock of who
    waits for it, is stale and is taken over. Its holder, if it was only asleep, then does the same work beside the other: the same bytes are written twice.
    """

    beat_s: float = 5.0
    patience_s: float = 45.0

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self.files, self.root = fsspec.core.url_to_fs(url.rstrip("/"), use_listings_cache=False)
            self.whole = url.partition("://")[0] in WHOLE
            if self.whole:  # `exists` and `ls` take a server that does not answer for a bucket that is not there
                self.files.call_s3("list_objects_v2", Bucket=self.root.partition("/")[0], MaxKeys=1)
            self.listing("records")
        except Exception as error:  # every backend has errors of its own
            raise UserError(f"cannot open the store {url}: {_reason(error)}") from error
        self.url = url
        self._cache = tempfile.TemporaryDirectory(prefix="tolman-")

    def read(self, key: str) -> bytes:
        with saying("read", self._name(key)):
            return self.files.cat_file(self._at(key))

    def write(self, key: str, data: bytes) -> None:
        with saying("write", self._name(key)):
            self._appear(key, lambda at: self.files.pipe_file(at, data))

    def listing(self, folder: str) -> dict[str, str]:
        try:
            found = self.files.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return {}
        stamps = {
            PurePosixPath(f["name"]).name: "-".join(str(f.get(k, "")) for k in ("size", "ETag", "mtime", "created")) for f in found if f["type"] == "file"
        }
        return {name: stamp for name, stamp in stamps.items() if not name.startswith(".")}

    def move(self, key: str, to: str) -> None:
        """File by file: fsspec's own `mv` of a folder asks an object store for the folder itself, which has none."""
        with saying("move", self._name(key)):
            if not (found := self.files.find(self._at(key))):
                raise FileNotFoundError(key)
            for path in found:
                self.files.cp_file(path, self._made(to + path.removeprefix(self._at(key))))
            self.files.rm(self._at(key), recursive=True)

    def remove(self, folder: str) -> None:
        with saying("remove", self._name(folder)):
            if self.files.exists(self._at(folder)):
                self.files.rm(self._at(folder), recursive=True)

    @contextmanager
    def replacing(self, key: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tolman-") as folder, saying("write", self._name(key)):
            scratch = Path(folder) / PurePosixPath(key).name
            yield scratch
            self._appear(key, lambda at: self.files.put_file(str(scratch), at))

    def file(self, key: str) -> Path:
        path = Path(self._cache.name) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with saying("read", self._name(key)):
            self.files.get_file(self._at(key), str(path))
        return path

    @contextmanager
    def preparing(self, key: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tolman-") as folder:
            yield Path(folder)

    def publish(self, scratch: Path, key: str, files: Mapping[str, str], last: str, data: bytes) -> None:
        """Each file under its hash, then `last`, which names them."""
        with saying("write", self._name(key)):
            for name, content in files.items():
                self.files.put_file(str(scratch / name), self._made(f"{key}/{content}"))
        self.write(f"{key}/{last}", data)

    def fetch(self, key: str, files: Mapping[str, str]) -> Path:
        folder = Path(self._cache.name) / key
        with saying("read", self._name(key)):
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if self.files.exists(self._at(f"{key}/{content}")):
                    self.files.get_file(self._at(f"{key}/{content}"), str(folder / name))
        return folder

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """By a lease: the object `locks/NAME/N` with the highest N, made exclusively. Numbers are never used again, so no late comer can hold an old one."""
        who = {"owner": uuid.uuid4().hex, "host": os.uname().nodename, "process": os.getpid()}
        lease, ended = self._made(f"locks/{name}/{self._acquire(f'locks/{name}', who):06d}"), threading.Event()
        beats = threading.Thread(target=self._beat, args=(lease, who, ended), daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with saying("write", lease):
                self.files.pipe_file(lease, FREE)

    def _acquire(self, folder: str, who: Mapping[str, Any]) -> int:
        """The number of the lease that is ours from now on; waits until the one before is free or stale."""
        mine, seen, since = json.dumps(who).encode(), (-1, FREE), time.monotonic()
        while True:
            last = max((int(n) for n in self.listing(folder) if n.isdecimal()), default=-1)
            found = (last, self.read(f"{folder}/{last:06d}") if last >= 0 else FREE)
            if found != seen:
                seen, since = found, time.monotonic()
            if found[1] == FREE or time.monotonic() - since > self.patience_s:
                key = f"{folder}/{last + 1:06d}"
                try:
                    with saying("lock", self._name(folder)), self.files.open(self._made(key), "xb") as file:
                        file.write(mine)
                    if self.read(key) == mine:  # for a backend that overwrites where it should refuse
                        return last + 1
                except FileExistsError:  # another was quicker
                    continue
            time.sleep(min(self.beat_s, 0.5) / 2)

    def _beat(self, lease: str, who: Mapping[str, Any], ended: threading.Event) -> None:
        beat = 0
        while not ended.wait(self.beat_s):
            beat += 1
            try:
                self.files.pipe_file(lease, json.dumps({**who, "beat": beat}).encode())
            except Exception:  # the network, perhaps: the next beat tries again, and if none gets through the lease is taken over, which costs no result
                continue

    def _appear(self, key: str, put: Callable[[str], Any]) -> None:
        """Let `put` write a temporary key, then move that to `key`; or write `key` itself, where that is seen only when it is whole."""
        if self.whole:
            put(self._at(key))
            return
        path = PurePosixPath(key)
        scratch = self._made(str(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")))
        put(scratch)
        self.files.mv(scratch, self._at(key))

    def _made(self, key: str) -> str:
        """The backend's path of `key`, with the folder it is in made where there are folders."""
        if not self.whole:
            self.files.makedirs(self._at(str(PurePosixPath(key).parent)), exist_ok=True)
        return self._at(key)

    def _at(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _name(self, key: str) -> str:
        return f"{self.url}/{key}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that at any moment `path` holds either the old bytes or all of the new ones, on disk. Raises UserError when the disk refuses."""
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with saying("write", path):
            with open(scratch, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
            _sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def saying(verb: str, what: object) -> Iterator[None]:
    """Turns what the system or a backend refuses into one sentence. That a file is not there (or is there already) is passed on."""
    try:
        yield
    except Exception as error:
        passed_on = isinstance(error, UserError) or (isinstance(error, FileNotFoundError | FileExistsError) and not verb.startswith("write"))
        if passed_on or not (isinstance(error, OSError) or type(error).__module__.split(".")[0] in FOREIGN):
            raise
        raise UserError(f"cannot {verb} {what}: {_reason(error)}; {KEPT}") from error


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()[0]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
