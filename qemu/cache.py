"""The cache folder: everything built, once for each set of inputs, safe against concurrent and interrupted builds."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

# Entries of one kind that are kept; the least recently used ones beyond that are removed.
KEPT_ENTRIES = 24
DRAFT = ".draft"


def folder() -> Path:
    """`$XDG_CACHE_HOME/homeport`, by default `~/.cache/homeport`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "homeport"
    path.mkdir(parents=True, exist_ok=True)
    return path


class Digest:
    """Hash of everything that a build reads. Names are hashed with contents, so that no two sets of inputs collide."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def text(self, name: str, value: str) -> "Digest":
        return self._add(name, value.encode())

    def file(self, name: str, path: Path) -> "Digest":
        with path.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        return self._add(name, f"{path.stat().st_mode:o} ".encode() + content)

    def tree(self, name: str, root: Path) -> "Digest":
        for path in sorted(root.rglob("*")):
            if "__pycache__" in path.parts:
                continue
            inner = f"{name}/{path.relative_to(root)}"
            if path.is_symlink():
                self.text(inner, os.readlink(path))
            elif path.is_file():
                self.file(inner, path)
        return self

    def short(self) -> str:
        return self._hash.hexdigest()[:16]

    def _add(self, name: str, value: bytes) -> "Digest":
        self._hash.update(f"{name}\0{len(value)}\0".encode() + value)
        return self


def entry(kind: str, digest: Digest, make: Callable[[Path], None], *, prune: bool = True) -> Path:
    """The folder `<kind>-<digest>`, filled by `make` if it does not exist yet.

    `make` fills a temporary folder that is renamed when complete: a build that was killed leaves nothing that looks
    finished. Concurrent callers wait for the one that builds.
    """
    done = folder() / f"{kind}-{digest.short()}"
    with locked(done.name):
        if not done.exists():
            draft = folder() / f"{done.name}{DRAFT}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                make(draft)
                draft.rename(done)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        os.utime(done)
    if prune:
        _prune(kind)
    return done


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds the lock of that name. The kernel releases it when the process dies, however it dies."""
    with _lock_file(name) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prune(kind: str) -> None:
    entries = [path for path in folder().glob(f"{kind}-*") if path.is_dir()]
    for draft in [path for path in entries if path.suffix == DRAFT]:
        with _lock_file(draft.stem) as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Nobody is building it: its builder was killed.
            shutil.rmtree(draft, ignore_errors=True)
    done = [path for path in entries if path.suffix != DRAFT]
    done.sort(key=_last_use, reverse=True)
    for path in done[KEPT_ENTRIES:]:
        with locked(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _last_use(path: Path) -> float:
    # Somebody else may just have removed it.
    return path.stat().st_mtime if path.exists() else 0.0


def _lock_file(name: str) -> IO[str]:
    return (folder() / f"{name}.lock").open("w")
