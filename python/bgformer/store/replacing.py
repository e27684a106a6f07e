"""Files and folders written beside their final name, which replace what is there as a whole."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgformer.data.cells import PARTS

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PREFIX, _OWNER = ".bgformer-", "owner.json"
"""Names of our temporary folders, and of the file in each that tells whose it is."""
_OLD = "old"
"""Name of what is being replaced, inside the temporary folder."""
_PATIENCE = 7 * 24 * 3600
"""Seconds after which a temporary folder of another machine is taken for abandoned. A network
disk may not show this machine the other one's lock."""
_OF_ZARR = {"zarr.json", ".zattrs", ".zgroup", ".zmetadata"}


@contextmanager
def written_beside(
    target: Path,
    like: Path | None = None,
    *,
    foreign: Callable[[Path], str | None] | None = None,
) -> Iterator[Path]:
    """Give a name beside the target to write to, and rename it when all has succeeded.

    Whatever interrupts this leaves neither a part of the file nor a changed target. What killed
    runs have left in the same folder is removed. The name is in a new folder that other users
    cannot read.

    Parameters
    ----------
    target
        The final name. A link stays a link.
    like
        The input. A new target is readable by those who can read the input; an existing one keeps
        its permissions.
    foreign
        Returns why a folder may not be replaced, or None if it may; by default `not_a_store`.

    Raises
    ------
    OSError
        At once, and not when there is something to write, if nothing can be written there.
    FileExistsError
        If the target is a folder that may not be replaced.
    """
    target = real(target)
    foreign = foreign or not_a_store
    check_replaceable(target, foreign)
    remove_abandoned(target.parent)
    with _own_folder(target.parent, target.name) as folder:
        partial = folder / f"new{target.suffix}"
        yield partial
        _permit(partial, target, like, fresh=(folder / _OWNER).stat().st_mode)
        _put(partial, target, folder / _OLD, foreign)


def real(path: Path) -> Path:
    """Return a path with its links followed, as far as it exists."""
    return Path(os.path.realpath(path))  # Path.resolve() raises if links form a circle


def check_replaceable(target: Path, foreign: Callable[[Path], str | None]) -> None:
    """Raise unless a folder that has this name may be replaced."""
    if not os.path.isdir(target):  # Path.is_dir() raises in a folder that is closed to us
        return
    reason = foreign(target)
    if reason:
        raise FileExistsError(f"'{target}' exists and {reason}; choose another name.")
    if not os.access(target, os.W_OK | os.X_OK):
        raise PermissionError(f"'{target}' is write-protected; choose another name.")


def check_writable(target: Path) -> None:
    """Raise OSError unless a folder can be made under this name, with those it is in."""
    parent = real(target).parent
    while not os.path.exists(parent):
        parent = parent.parent
    with _own_folder(parent, target.name):
        pass


def not_a_store(folder: Path) -> str | None:
    """Return why a folder is not a .zarr store of anndata and nothing else; None if it is."""
    if not any(_is_of_anndata(folder / name) for name in ("zarr.json", ".zattrs")):
        return "is not a .zarr store that anndata wrote"
    others = set(os.listdir(folder)) - PARTS - _OF_ZARR
    return f"also holds '{min(others)}', which anndata did not write" if others else None


def _is_of_anndata(path: Path) -> bool:
    """Tell whether the attributes at the root of a store, in either format, are anndata's."""
    described = read_json(path)
    attributes = described.get("attributes") if path.name == "zarr.json" else described
    return isinstance(attributes, dict) and attributes.get("encoding-type") == "anndata"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _own_folder(parent: Path, target: str) -> Iterator[Path]:
    """Make a folder that only this user can read, and remove it in the end.

    A lock on a file in it shows other runs that it is in use. The lock ends with the process,
    however that ends.
    """
    folder, owner = _made(parent, target)
    try:
        yield folder
    finally:
        _empty(folder)
        os.close(owner)  # Windows removes no open file
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a temporary folder, even if after an error zarr's threads still write into it."""
    for seconds in (0, 0.1, 0.3, 1):
        time.sleep(seconds)
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return


def _made(parent: Path, target: str) -> tuple[Path, int]:
    """Make a temporary folder, and open and lock the file in it that tells whose it is."""
    about = {"written_by": "bgformer", "host": socket.gethostname(), "target": target}
    text, made = json.dumps(about).encode(), None
    try:
        while made is None:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            made = _owned(folder, text)
    except OSError as error:
        raise OSError(
            f"nothing can be written in '{parent}' ({error.strerror}); choose another folder."
        ) from error
    return folder, made


def _owned(folder: Path, about: bytes) -> int | None:
    """Open and lock a new file in a folder; None if another run has removed the empty folder."""
    owner = None
    try:
        owner = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        locked(owner)
        os.write(owner, about)
        if os.fstat(owner).st_nlink:
            return owner
        os.close(owner)
    except (FileNotFoundError, BlockingIOError):
        if owner is not None:
            os.close(owner)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return None


def locked(owner: int) -> bool:
    """Lock a file; return whether that is possible here.

    Raises
    ------
    BlockingIOError
        If another process has locked it.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _empty(folder: Path) -> None:
    """Remove all but the file that shows that a folder is ours, which has to go last."""
    for path in folder.iterdir():
        if path.name == _OWNER:
            continue
        with suppress(OSError):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
                continue
            path.chmod(0o700)
            for at, folders, _ in os.walk(path):  # what a write-protected folder holds cannot go
                for name in folders:
                    if not (Path(at) / name).is_symlink():
                        (Path(at) / name).chmod(0o700)
            shutil.rmtree(path)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of ours whose process was killed."""
    with suppress(OSError):
        for folder in list(parent.glob(f"{_PREFIX}*")):
            # Nothing here is this run's concern: what cannot be removed stays.
            with suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    """Remove a temporary folder if it is ours and its process is gone."""
    if folder.is_symlink() or (folder / _OWNER).is_symlink():
        return
    with suppress(FileNotFoundError):
        owner = os.open(folder / _OWNER, os.O_RDWR)
        try:
            if not locked(owner):
                return
            if os.fstat(owner).st_size:
                _remove_if_ours(folder, os.fstat(owner).st_mtime)
                return
            if os.listdir(folder) == [_OWNER]:
                (folder / _OWNER).unlink()
        finally:
            os.close(owner)
    folder.rmdir()  # killed before anything was in it; fails if something is


def _remove_if_ours(folder: Path, started: float) -> None:
    """Remove a temporary folder that no process of this machine has locked."""
    about = read_json(folder / _OWNER)
    target = about.get("target")
    if about.get("written_by") != "bgformer" or not isinstance(target, str):
        return
    if about.get("host") != socket.gethostname() and time.time() - started < _PATIENCE:
        return
    # It was killed between the two renames of `_put`.
    final = folder.parent / Path(target).name
    if (folder / _OLD).exists() and not os.path.lexists(final):
        os.replace(folder / _OLD, final)
    _empty(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _permit(partial: Path, target: Path, like: Path | None, fresh: int) -> None:
    """Give what was written the permissions of what it replaces, or at most those of the input.

    Parameters
    ----------
    partial, target, like
        See `written_beside`.
    fresh
        Mode of a new file.
    """
    if target.exists():
        keep_permissions(partial, target)
        return
    own = 0o700 if partial.is_dir() else 0o600
    mode = stat.S_IMODE(fresh)
    if partial.is_dir():
        mode |= (mode & 0o444) >> 2  # who may read it may enter it
    if like is not None:
        mode &= like.stat().st_mode
    inherited = partial.stat().st_mode & (stat.S_ISGID | stat.S_ISVTX)
    partial.chmod(mode | own | inherited)


def keep_permissions(new: Path, old: Path) -> None:
    """Give a file or folder the group and the mode of the one that it replaces."""
    before = old.stat()
    mode = stat.S_IMODE(before.st_mode)
    if sys.platform != "win32" and new.stat().st_gid != before.st_gid:
        try:
            os.chown(new, -1, before.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG  # else another group than before could read it
    new.chmod(mode)


def _put(partial: Path, target: Path, old: Path, foreign: Callable[[Path], str | None]) -> None:
    """Move what is complete to its final name; `old` is where a folder goes meanwhile."""
    if not (partial.is_dir() and target.is_dir()):
        os.replace(partial, target)
        return
    check_replaceable(target, foreign)  # once more: hours may have passed
    try:
        os.replace(target, old)  # a folder cannot replace one with contents
        os.replace(partial, target)
    except BaseException:
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise
