"""A fitted model as a folder or as bytes: tensors as safetensors, everything else as JSON."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file

from bgformer.messages import InputError
from bgformer.store.replacing import (
    check_replaceable,
    keep_permissions,
    read_json,
    real,
    written_beside,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

FORMAT = 4
"""Version of the format; raised when what is written changes, so that a model is never misread."""
_DAMAGE = (
    SafetensorError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    ArithmeticError,
    RuntimeError,
)
"""What reading a damaged file has been seen to raise."""
TENSORS, DESCRIPTION = "model.safetensors", "model.json"
FILES = (DESCRIPTION, TENSORS)
UNFINISHED, TRAINED = "unfinished", "trained.npz"
"""Name of the folder with the progress of the run that is to make the model, and of the file in it
without which there is none; see `store.checkpoint`."""
OF_A_RUN = re.compile(
    r"(trained|cells-\d{12})\.npz(\.partial)?|ending|lock|finished|\.bgformer-.*"
)
"""Names of what that folder can hold."""
_OF_ANY_FORMAT = {"format", "version", "settings", "genes"}
"""What the description of a model has had in every version."""
_BLOCK = 2**20
"""Bytes that the checksum reads at once."""
_LONGEST_HEADER = 10**8
"""Bytes; safetensors allows no more."""


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
    InputError
        If `directory` is not a path.
    FileExistsError
        If `directory` exists, unless it is a saved model and may be overwritten.
    OSError
        If it cannot be written.
    """
    target = _path(directory)
    check_target(target, overwrite=overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(target, foreign=not_a_model) as partial:
            _write(partial, real(target), tensors, description)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        reason = reason.rstrip(".")
        raise OSError(f"the model cannot be saved as '{target}': {reason}.") from error


def _write(
    folder: Path, target: Path, tensors: dict[str, torch.Tensor], description: dict[str, Any]
) -> None:
    """Write the folder that will be `target`."""
    folder.mkdir()
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / TENSORS)
    with (folder / TENSORS).open("rb") as stream:
        text = _as_text(description, stream)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    shutil.copymode(folder / DESCRIPTION, folder / TENSORS)  # only its owner can read it
    for name in FILES:
        if (target / name).exists():
            keep_permissions(folder / name, target / name)


def check_target(directory: str | Path, *, overwrite: bool) -> None:
    """Raise FileExistsError if a path exists, unless it is a saved model to be overwritten."""
    target = Path(directory)
    if not os.path.exists(target):  # Path.exists() raises in a folder that is closed to us
        return
    if not target.is_dir():
        raise FileExistsError(f"'{target}' exists and is not a saved model; choose another name.")
    check_replaceable(target, not_a_model)
    if not overwrite:
        raise FileExistsError(
            f"'{target}' holds a saved model; choose another name, or replace it with "
            f"overwrite=True."
        )


def holds_model(directory: str | Path) -> bool:
    """Tell whether a path is a folder with the description of a model, whole or damaged."""
    return (Path(directory) / DESCRIPTION).is_file()


def not_a_model(folder: Path) -> str | None:
    """Return why a folder is not a saved or unfinished model and nothing else; None if it is."""
    is_model = _OF_ANY_FORMAT <= read_json(folder / DESCRIPTION).keys()
    if not is_model and not (folder / UNFINISHED).is_dir():
        return "is not a saved model"
    others = {path.name for path in folder.iterdir() if path.name not in FILES or path.is_dir()}
    others.discard(UNFINISHED)
    run = folder / UNFINISHED
    if run.is_dir() and not run.is_symlink():
        others |= {name for name in os.listdir(run) if not OF_A_RUN.fullmatch(name)}
        if (run / "finished").is_dir():
            others |= set(os.listdir(run / "finished")) - set(FILES)
    return f"also holds '{min(others)}', which is not part of a model" if others else None


def is_unfinished(directory: str | Path) -> bool:
    """Tell whether a folder holds the progress of a run that is to make a model."""
    return (Path(directory) / UNFINISHED / TRAINED).is_file()


def how_to_resume(folder: Path) -> str:
    """Return the command that continues the run in a folder."""
    return f"bgformer cluster --resume {shlex.quote(str(folder))}"


def read(directory: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the description of a saved model.

    Raises
    ------
    FileNotFoundError
        If there is no model.
    OSError
        If it cannot be read.
    InputError
        If `directory` is not a path, or a file is damaged or of another format.
    """
    folder = _path(directory)
    try:
        for name in FILES:
            if not (folder / name).is_file():
                if is_unfinished(folder):
                    raise FileNotFoundError(
                        f"the run of the model in '{folder}' is unfinished; to continue, run: "
                        f"{how_to_resume(folder)}"
                    )
                raise FileNotFoundError(
                    f"there is no saved model in '{folder}' ({name} is missing)."
                )
        if is_unfinished(folder):
            warnings.warn(
                f"this is the finished model in '{folder}', which also holds an unfinished run; "
                f"to continue that, run: {how_to_resume(folder)}",
                stacklevel=3,
            )
        with damage_reported(folder):
            text = (folder / DESCRIPTION).read_text(encoding="utf-8")
        with (folder / TENSORS).open("rb") as stream:
            description = _from_text(text, stream, folder)
        with damage_reported(folder):
            return load_file(folder / TENSORS), description
    except OSError as error:
        if error.strerror is None:  # a sentence of ours
            raise
        raise type(error)(f"the model in '{folder}' cannot be read: {error.strerror}.") from error


def _path(directory: object) -> Path:
    """Return the path of a model's folder, or raise InputError."""
    given = os.fspath(directory) if isinstance(directory, os.PathLike) else directory
    if not isinstance(given, str) or not given or "\0" in given:
        raise InputError(
            "wrong-value",
            "{name[directory]} is {given!r}; give the path of a model's folder.",
            given=directory,
        )
    return Path(given)


def packed(tensors: dict[str, torch.Tensor], description: dict[str, Any]) -> bytes:
    """Return a model as the bytes of a safetensors file with the description in its header."""
    contiguous = {name: t.contiguous() for name, t in tensors.items()}
    text = _as_text(description, io.BytesIO(save(contiguous)))
    return save(contiguous, metadata={DESCRIPTION: text})


def unpacked(model: bytes, where: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the description that `packed` took; `where` is for messages.

    Raises
    ------
    InputError
        If the bytes are damaged or of another format.
    """
    with damage_reported(where):
        # safetensors reads the header's text from files only
        text = _header(io.BytesIO(model))["__metadata__"][DESCRIPTION]
    description = _from_text(text, io.BytesIO(model), where)
    with damage_reported(where):
        return load(model), description


def _as_text(description: dict[str, Any], tensors: BinaryIO) -> str:
    """Return a description as JSON, with its format and the checksum of the whole model."""
    whole = {"format": FORMAT} | description
    return json.dumps(whole | {"checksum": _checksum(whole, tensors)}, indent=1)


def _from_text(text: str, tensors: BinaryIO, where: str | Path) -> dict[str, Any]:
    """Return a description, unless this version cannot read the model or it has changed."""
    with damage_reported(where):
        description: dict[str, Any] = json.loads(text)
        found = int(description["format"])
    _check_format(found, where)
    with damage_reported(where):
        if description.pop("checksum") != _checksum(description, tensors):
            raise ValueError("its contents do not match its checksum")
    return description


def _check_format(found: int, where: str | Path) -> None:
    """Raise unless this version reads the format."""
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


def _checksum(description: dict[str, Any], tensors: BinaryIO) -> str:
    """Return the SHA-256 of a description and the bytes of a safetensors file, however spaced."""
    header = _header(tensors)
    header.pop("__metadata__", None)  # where `packed` keeps the description
    digest = hashlib.sha256(json.dumps([description, header], sort_keys=True).encode())
    while block := tensors.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _header(tensors: BinaryIO) -> dict[str, Any]:
    """Read the header of a safetensors file: its length comes first, 8 bytes."""
    length = int.from_bytes(tensors.read(8), "little")
    header: dict[str, Any] = json.loads(tensors.read(min(length, _LONGEST_HEADER)))
    return header


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
