"""A fitted model as a folder or as bytes: tensors as safetensors, everything else as JSON."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file

from bgformer.messages import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

FORMAT = 3
"""Version of the format; raised when what is written changes, so that a model is never misread."""
_DAMAGE = (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RuntimeError)
"""What reading a damaged file has been seen to raise."""
TENSORS, DESCRIPTION = "model.safetensors", "model.json"


def write(
    directory: str | Path,
    tensors: dict[str, torch.Tensor],
    description: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write a model folder beside its final name and move it there once complete.

    Raises
    ------
    FileExistsError
        If `directory` exists, unless it is a saved model and may be overwritten.
    OSError
        If it cannot be written.
    """
    target = Path(directory)
    check_target(target, overwrite=overwrite)
    try:
        _write(target, tensors, description)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"the model cannot be saved as '{target}': {reason}.") from error


def _write(target: Path, tensors: dict[str, torch.Tensor], description: dict[str, Any]) -> None:
    """Write the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        save_file({name: t.contiguous() for name, t in tensors.items()}, partial / TENSORS)
        (partial / DESCRIPTION).write_text(_as_text(description), encoding="utf-8")
        # mkdtemp and safetensors make what their owner alone can read.
        partial.chmod(0o777 & ~_umask())
        (partial / TENSORS).chmod(0o666 & ~_umask())
        put(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put(partial: Path, target: Path) -> None:
    """Move a complete file or folder to its final name, replacing what is there."""
    if not (partial.is_dir() and target.exists()):
        os.replace(partial, target)
        return
    old = partial.with_name(f"{partial.name}-old")  # a folder cannot replace one with contents
    os.replace(target, old)
    try:
        os.replace(partial, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old)


def check_target(directory: str | Path, *, overwrite: bool) -> None:
    """Raise FileExistsError if a path exists, unless it is a saved model to be overwritten."""
    if not Path(directory).exists():
        return
    if not holds_model(directory):
        raise FileExistsError(
            f"'{directory}' exists and is not a saved model; choose another name."
        )
    if not overwrite:
        raise FileExistsError(
            f"'{directory}' holds a saved model; choose another name, or replace it with "
            f"overwrite=True."
        )


def holds_model(directory: str | Path) -> bool:
    """Tell whether a path is a folder with a saved model."""
    return (Path(directory) / DESCRIPTION).is_file()


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read(directory: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the description of a saved model.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    InputError
        If a file is damaged or of another format.
    """
    folder = Path(directory)
    for name in (DESCRIPTION, TENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"there is no saved model in '{folder}' ({name} is missing).")
    with damage_reported(folder):
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
    description = _from_text(text, folder)
    with damage_reported(folder):
        return load_file(folder / TENSORS), description


def packed(tensors: dict[str, torch.Tensor], description: dict[str, Any]) -> bytes:
    """Return a model as the bytes of a safetensors file with the description in its header."""
    contiguous = {name: t.contiguous() for name, t in tensors.items()}
    return save(contiguous, metadata={DESCRIPTION: _as_text(description)})


def unpacked(model: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the description that `packed` took; `where` is for messages.

    Raises
    ------
    InputError
        If the bytes are damaged or of another format.
    """
    with damage_reported(where):
        # safetensors reads the header's text from files only: its length comes first, 8 bytes
        header = json.loads(model[8 : 8 + int.from_bytes(model[:8], "little")])
        text = header["__metadata__"][DESCRIPTION]
    description = _from_text(text, where)
    with damage_reported(where):
        return load(model), description


def _as_text(description: dict[str, Any]) -> str:
    return json.dumps({"format": FORMAT} | description, indent=1)


def _from_text(text: str, where: str | Path) -> dict[str, Any]:
    """Return a description, unless this version cannot read what it describes."""
    with damage_reported(where):
        description = json.loads(text)
        found = int(description["format"])
    if found < FORMAT:
        raise InputError(
            "older-model",
            "the model in '{where}' was saved by an older bgformer (format {found}, this one "
            "reads {read}); fit it again with this version.",
            where=where,
            found=found,
            read=FORMAT,
        )
    if found > FORMAT:
        raise InputError(
            "newer-model",
            "the model in '{where}' was saved by a newer bgformer (format {found}, this one "
            "reads {read}); update bgformer to load it.",
            where=where,
            found=found,
            read=FORMAT,
        )
    return description


def section(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names start with "prefix.", by the rest of their names."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


@contextmanager
def damage_reported(where: str | Path) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into one sentence."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            "damaged-model",
            "the model in '{where}' is damaged ({reason}); save it again from a fitted model.",
            where=where,
            reason=reason,
        ) from error
