"""Files and stores that are written: copies of others, and what a full disk does to them."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import h5py

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk (quota) is used up",
    errno.EFBIG: "a file may not become that large there (see 'ulimit -f')",
}
_LARGEST_KEPT = 2**23
"""Bytes of a write that HDF5 may read again: larger ones are values of arrays."""


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Raise what the system says against writing as a sentence that names the output.

    Raises
    ------
    OSError
        If the system raised one inside.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # already a sentence
            raise
        reason = _NO_ROOM.get(error.errno, error.strerror)
        remedy = "free some room, or " * (error.errno in _NO_ROOM)
        raise OSError(
            f"'{output}' cannot be written, because {reason}; {remedy}choose another folder for "
            f"the output."
        ) from error


def check_room(source: Path, output: Path) -> None:
    """Raise OSError if there is no room for a copy of a file or a store."""
    files = (
        [source] if source.is_file() else (path for path in source.rglob("*") if path.is_file())
    )
    size = sum(path.stat().st_size for path in files)
    folder = output.resolve().parent
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < size:  # some file systems tell neither
        raise OSError(
            f"'{output}' cannot be written, because it needs more than {size / 1e6:,.1f} MB and "
            f"{disk.free / 1e6:,.1f} MB are free in '{folder}'; free some room, or choose another "
            f"folder for the output."
        )


class _Unfailing(io.FileIO):
    """A file that raises no error of writing, but keeps the first.

    HDF5 crashes if it cannot finish a file, or reads what it could not write. So it must never
    learn of a full disk: from then on, what it writes is kept in memory, until it has stopped.

    Attributes
    ----------
    failed
        Why nothing is written any more; None if all is written.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.failed: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        """Write all bytes."""
        at, left = self.tell(), memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.failed is None:  # the system may take a part at a time
                left = left[super().write(left) :]
        except OSError as error:
            self.fail(error)
        if self.failed is not None and size <= _LARGEST_KEPT:
            self._kept.append((at, bytes(data)))
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        try:
            if self.failed is None:
                return super().truncate(size)
        except OSError as error:
            self.fail(error)
        return size or 0

    def fail(self, error: OSError) -> None:
        """Write nothing from now on."""
        self.failed = self.failed or error
        self.readinto = self._read_kept  # type: ignore[method-assign]

    def _read_kept(self, buffer: Any) -> int:
        """Read what would be in the file."""
        start, into = self.tell(), memoryview(buffer).cast("B")
        there = self.read(len(into)) or b""
        into[:] = there.ljust(len(into), b"\0")
        for at, data in self._kept:
            first, last = max(at, start), min(at + len(data), start + len(into))
            if first < last:
                into[first - start : last - start] = data[first - at : last - at]
        return len(into)


class Hdf5:
    """An HDF5 file that is written by a thread of its own.

    HDF5 calls Python to write, where a signal could raise an exception; but Python runs the
    handlers of signals in the main thread only.

    Parameters
    ----------
    path
        The file.
    mode
        "r+" for one that exists, "w" for a new one.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self._file = _Unfailing(path, "r+" if mode == "r+" else "w+")
        self._thread = ThreadPoolExecutor(1)
        self.root: Any = self._thread.submit(h5py.File, self._file, mode).result()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do something with the file and return its result; raise OSError if it is not written."""
        try:
            return self._thread.submit(function, *arguments).result()
        finally:
            self._raise_failure()

    def close(self, *, complete: bool) -> None:
        """Close the file; what is not written yet is left out if it will not be `complete`."""
        if not complete:
            self._file.fail(InterruptedError())
        try:
            self._thread.submit(self.root.close).result()
        except Exception:  # of what could not be written, HDF5 can miss something
            if self._file.failed is None:
                raise
        finally:
            self._thread.shutdown()
            self._file.close()
        if complete:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._file.failed is not None:
            raise self._file.failed


class Zarr:
    """A .zarr store that is written.

    Parameters
    ----------
    path
        The store, which exists.
    """

    def __init__(self, path: Path) -> None:
        import zarr

        self._path = path
        # A consolidated listing could not be changed; `close` writes it again.
        self.root: Any = zarr.open_group(path, mode="r+", use_consolidated=False)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do something with the store and return its result."""
        return function(*arguments)

    def close(self, *, complete: bool) -> None:
        """List all that is in the store in one place, as anndata does."""
        if complete:
            import zarr

            zarr.consolidate_metadata(self._path)


def copied(source: Path, copy: Path) -> Hdf5 | Zarr:
    """Copy a file or store and open the copy, which can be written even if the source cannot."""
    if not source.is_dir():
        shutil.copyfile(source, copy)
        return Hdf5(copy, "r+")
    for folder, _, names in os.walk(source, followlinks=True, onerror=_raise):
        target = copy / Path(folder).relative_to(source)
        target.mkdir(exist_ok=True)
        target.chmod(Path(folder).stat().st_mode | stat.S_IRWXU)
        for name in names:
            shutil.copyfile(Path(folder, name), target / name)
            (target / name).chmod(Path(folder, name).stat().st_mode | stat.S_IRUSR | stat.S_IWUSR)
    return Zarr(copy)


def _raise(error: OSError) -> NoReturn:
    """Raise what `os.walk` would pass over."""
    raise error
