"""What results can be called, and what is said of a name that is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgformer.messages import InputError

if TYPE_CHECKING:
    from anndata import AnnData

    from bgformer.data.source import StoredCells

_LONGEST_NAME = 200
"""Bytes. Most disks allow 255 for a file in a .zarr store, and endings are added to a name."""


def outlier_name(key: str) -> str:
    """Return the column of ``obs`` that says how unlike the cells of the fit new cells are."""
    return f"{key}_outlier"


def check_name(cells: AnnData | StoredCells, name: str, argument: str, what: str) -> None:
    """Raise InputError for a name under which AnnData could not store a column."""
    if not isinstance(name, str) or not name:
        raise InputError(
            "wrong-value",
            f"{{name[{argument}]}} is {{given!r}}; give the name of {what} as a string.",
            given=name,
        )
    obs: Any = cells.obs
    index = obs.index_name if hasattr(obs, "index_name") else obs.index.name
    is_text = "\0" not in name and _as_bytes(name) is not None
    # zarr keeps names that start with these for itself
    is_of_zarr = name.startswith((".", "__")) or name == "zarr.json"
    if "/" in name or is_of_zarr or not is_text or name in ("_index", index):
        raise InputError(
            "wrong-name",
            f"{{name[{argument}]}} is {{given!r}}, which cannot name a column of "
            "{name[adata.obs]} ('/', '_index', the name of its index, and what starts with '.' or "
            "'__' cannot); choose another.",
            given=name,
        )
    if len(_as_bytes(name) or b"") > _LONGEST_NAME:
        raise InputError(
            "long-name",
            f"{{name[{argument}]}} has {{length}} characters; choose a name of at most {{most}}.",
            length=len(name),
            most=_LONGEST_NAME,
        )


def _as_bytes(name: str) -> bytes | None:
    """Return a name as a file holds it; None if it is not Unicode, as from a shell."""
    try:
        return name.encode()
    except UnicodeEncodeError:
        return None


def foreign(place: str, name: str, argument: str) -> InputError:
    """Return the error that something is there that bgformer did not write."""
    what = "a column" if place == "obs" else "an entry"
    return InputError(
        "not-ours",
        f"{{name[adata.{place}]}} has {what} '{{there}}' that is not from bgformer and would be "
        f"overwritten; choose another {{name[{argument}]}}, or remove it.",
        there=name,
    )


def renamed(key: str) -> InputError:
    """Return the error that clusters of stored results have other names than bgformer wrote."""
    return InputError(
        "renamed-clusters",
        "the clusters '{given}' in {name[adata.obs]} have been renamed or changed since, and "
        "would be overwritten; choose another {name[key_added]}, or copy that column to another "
        "name and remove it.",
        given=key,
    )
