"""Damage to files, to the parts of HDF5 files and zarr stores, and to saved models."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

BYTES = ("flip", "flip many", "cut", "empty", "zeros", "text", "swap", "remove", "double")
"""Damage to the bytes of any file."""
ARRAYS = ("index too large", "index negative", "pointers fall", "pointers beyond", "shape", "type")
ARRAYS += ("part removed", "part renamed", "attribute removed", "part cut", "value NaN")
"""Damage to the parts of an HDF5 file or a zarr store."""
NUMBERS = (0, -5, None, "x", 1e300, [], {}, 10**30)
"""Put in the place of values of a model's description."""


def damage(source: Path, form: str, kind: str, rng: random.Random) -> str:
    """Damage a file or a folder and say how."""
    if kind in BYTES:
        files = sorted(p for p in source.rglob("*") if p.is_file()) or [source]
        file = rng.choice(files)
        _damage_bytes(file, rng.choice(files), kind, rng)
        return f"{kind} in {file.relative_to(source.parent)}"
    if kind == "entry":
        return _damage_entry(source, rng)
    if kind == "description":
        return _damage_description(source / "model.json", rng)
    if form == "model":
        return _damage_tensor(source / "model.safetensors", kind, rng)
    return _damage_array(source, kind, rng)


def _damage_bytes(file: Path, other: Path, kind: str, rng: random.Random) -> None:
    data = bytearray(file.read_bytes() if kind != "swap" else other.read_bytes())
    at = rng.randrange(max(1, len(data)))
    if kind in ("flip", "flip many"):
        for _ in range(1 if kind == "flip" else 50):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "empty":
        data.clear()
    elif kind == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif kind == "text":
        data = bytearray(b"nothing of the kind\n")
    elif kind == "double":
        data = data * 2
    if kind == "remove":
        file.unlink()
    else:
        file.write_bytes(data)


def _damage_entry(folder: Path, rng: random.Random) -> str:
    """Change a line of one of the three files of a matrix-market folder."""
    file = rng.choice(sorted(folder.iterdir()))
    is_zipped = file.suffix == ".gz"
    raw = gzip.decompress(file.read_bytes()) if is_zipped else file.read_bytes()
    lines = raw.decode().splitlines()
    at = rng.randrange(len(lines))
    odd = ["0 0 0", "999 1 1", "1 999 1", "-1 1 1", "1 1 -3", "1 1 nan", "x", "", "1 1 1.5", "1\t"]
    lines[at : at + 1] = rng.choice([[], [lines[at]] * 2, [rng.choice(odd)]])
    text = ("\n".join(lines) + "\n").encode()
    file.write_bytes(gzip.compress(text) if is_zipped else text)
    return f"line {at + 1} of {file.name}"


def _damage_description(file: Path, rng: random.Random) -> str:
    """Change or remove one value of a model's description."""
    described = json.loads(file.read_text())
    place = rng.choice([described, described["settings"]])
    name = rng.choice(sorted(place))
    value = place[name]
    if isinstance(value, list) and rng.random() < 0.6:
        rng.choice([value.pop, value.reverse, lambda: value.append("more")])()
    elif rng.random() < 0.2:
        del place[name]
    else:
        place[name] = rng.choice(NUMBERS)
    file.write_text(json.dumps(described))
    return f"'{name}' of model.json"


def _damage_tensor(file: Path, kind: str, rng: random.Random) -> str:
    """Change one tensor of a model."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    if kind == "tensor cut":
        tensors[name] = tensor[:-1] if tensor.ndim else torch.zeros(0)
    elif kind == "tensor NaN" and tensor.is_floating_point():
        tensor.view(-1)[:1] = float("nan")
    else:
        tensors[name] = tensor + 1
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    return f"{kind} of {name}"


def _damage_array(source: Path, kind: str, rng: random.Random) -> str:
    """Change one part of an HDF5 file or a zarr store by its own library."""
    import h5py
    import zarr

    is_zarr = source.is_dir()
    store = zarr.open_group(source, mode="r+") if is_zarr else h5py.File(source, "r+")
    matrix = store["X" if "X" in store else "matrix"]
    try:
        if kind.startswith("index"):
            part, value = "indices", 10**6 if kind == "index too large" else -(10**5)
        elif kind.startswith("pointers"):
            part, value = "indptr", 1 if kind == "pointers fall" else 10**7
        else:
            return _damage_part(source, store, kind, rng)
        at = rng.randrange(1, matrix[part].shape[0])
        matrix[part][at] = value
        return f"{part}[{at}] is {value}"
    finally:
        if not is_zarr:
            store.close()


def _damage_part(source: Path, store: Any, kind: str, rng: random.Random) -> str:
    """Change any part: remove, rename, cut or replace it."""
    names: list[str] = []

    def walk(group: Any, prefix: str) -> None:
        for name in sorted(group):
            names.append(prefix + name)
            if hasattr(group[name], "keys"):
                walk(group[name], f"{prefix}{name}/")

    walk(store, "")
    arrays = [name for name in names if not hasattr(store[name], "keys")]
    name = rng.choice(arrays if kind in ("part cut", "type", "value NaN") else names)
    part = store[name]
    if kind == "shape" and "X" in store:
        store["X"].attrs["shape"] = [rng.choice([-1, 0, 59, 10**6]), rng.choice([1, 49, 10**6])]
        return "X.attrs['shape']"
    if kind == "attribute removed" and len(part.attrs):
        attribute = rng.choice(sorted(part.attrs))
        del part.attrs[attribute]
        return f"{attribute} of {name} removed"
    if kind in ("part cut", "type", "value NaN") and part.ndim == 1 and part.shape[0] > 1:
        values, attrs = np.asarray(part[:]), dict(part.attrs)
        if source.is_dir() and values.dtype.kind in ("O", "T"):
            values = values.astype("U")
        if kind == "part cut":
            values = values[:-1]
        elif kind == "type" or values.dtype.kind not in "iuf":
            values = np.arange(len(values)) if values.dtype.kind in "OSU" else values.astype("S9")
        else:
            values = values.astype(float)
            values[rng.randrange(len(values))] = np.nan
        del store[name]
        store[name] = values
        store[name].attrs.update(attrs)
        return f"{kind}: {name}"
    if kind == "part renamed":
        if source.is_dir():
            (source / name).rename(source / f"{name}2")
        else:
            store.move(name, f"{name}2")
        return f"{name} renamed"
    del store[name]
    return f"{name} removed"
