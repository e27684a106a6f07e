"""Whether the parts of a loaded model are possible, and fit each other."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from bgformer.graph.evidence import Profiles
from bgformer.network.heads import head_anchors, head_columns

if TYPE_CHECKING:
    import torch


def check_state(tensors: dict[str, torch.Tensor], description: dict[str, Any]) -> None:
    """Raise ValueError unless a model can be made of what `state.to_state` returned.

    Shapes of the network are not checked here: loading it does.

    Parameters
    ----------
    tensors, description
        See `state.to_state`.
    """
    _check_description(description, tensors)
    for name, values in tensors.items():
        # A single cluster has no nearest one, and so no share of links with it.
        if name != "links" and values.is_floating_point() and not values.isfinite().all():
            raise ValueError(f"'{name}' holds values that are not finite")
    arrays = {name: values.numpy() for name, values in tensors.items() if "network" not in name}
    n_anchors = len(arrays["anchors"])
    n_clusters = check_clusters(arrays["anchor_clusters"], n_anchors)
    _check_shapes(arrays, len(description["genes"]), n_clusters)
    if not 0 <= arrays["anchor_support"].min() <= arrays["anchor_support"].max() <= 1:
        raise ValueError("'anchor_support' is not from 0 to 1")
    _check_range("nearest", arrays["nearest"], n_clusters)
    for name in ("nearest", "scored_nearest"):
        found = arrays[f"profiles.{name}"]
        _check_range(f"profiles.{name}", found, len(arrays["profiles.cells"]))
    _check_range("weights.indices", arrays["weights.indices"], n_anchors)
    starts = arrays["weights.indptr"]
    if starts[0] != 0 or starts[-1] != len(arrays["weights.data"]) or (np.diff(starts) < 0).any():
        raise ValueError("'weights.indptr' does not divide the weights into cells")


def check_clusters(of_anchors: np.ndarray, n_anchors: int) -> int:
    """Return the number of clusters of anchors, or raise ValueError unless they are 0 to k - 1."""
    if of_anchors.shape != (n_anchors,) or of_anchors.dtype.kind not in "iu":
        raise ValueError(f"'anchor_clusters' are not {n_anchors} whole numbers")
    found = np.unique(of_anchors)
    if not len(found) or (found != np.arange(len(found))).any():
        raise ValueError("'anchor_clusters' are not numbered from 0 without gaps")
    return len(found)


def check_profiles(
    profiles: dict[str, np.ndarray], n_anchors: int, n_latent: int, n_genes: int
) -> None:
    """Raise ValueError unless held-out counts have the shapes of `graph.evidence.Profiles`."""
    own, columns = head_anchors(n_anchors)[0], head_columns(n_latent)[0]
    m, width = own.stop, columns.stop
    n_cells, n_scored = len(profiles["nearest"]), len(profiles["scored_nearest"])
    shapes: list[tuple[int, ...]] = [(m,), (m, n_genes), (m, n_genes), (n_cells,)]
    shapes += [(n_cells, width), (n_cells, width), *4 * [(n_scored,)]]
    for name, shape in zip(Profiles._fields, shapes, strict=True):
        _check_shape(f"profiles.{name}", profiles[name], shape)


def _check_description(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless what is not a tensor is possible."""
    median = description["median_counts"]
    if not _is_positive(median):
        raise ValueError(f"'median_counts' is {median!r}")
    resolution = description["resolution"]
    if resolution is not None and not _is_positive(resolution):
        raise ValueError(f"'resolution' is {resolution!r}")
    for name, wanted in (("genes", "network.gene_mean"), ("batches", "network.batch_offset")):
        names = description[name]
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise ValueError(f"'{name}' are not a list of names")
        if len(set(names)) < len(names):
            raise ValueError(f"'{name}' has a name twice")
        if len(names) != len(tensors[wanted]):
            raise ValueError(
                f"'{name}' has {len(names)} names, but the network {len(tensors[wanted])}"
            )


def _is_positive(value: object) -> bool:
    """Tell whether a value is a finite number above 0."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]


def _check_shapes(arrays: dict[str, np.ndarray], n_genes: int, n_clusters: int) -> None:
    """Raise ValueError unless all shapes agree with each other."""
    (m, width), n_cells = arrays["anchors"].shape, len(arrays["latent"])
    expected: dict[str, tuple[int, ...]] = {
        "latent": (n_cells, width),
        "anchor_support": (m,),
        "nearest": (n_clusters,),
        "links": (n_clusters,),
        "weights.indptr": (n_cells + 1,),
        "weights.indices": arrays["weights.data"].shape,
    }
    expected |= {
        name: arrays["history.step"].shape for name in arrays if name.startswith("history.")
    }
    for name, shape in expected.items():
        _check_shape(name, arrays[name], shape)
    profiles = {name: arrays[f"profiles.{name}"] for name in Profiles._fields}
    check_profiles(profiles, m, width, n_genes)


def _check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has the shape."""
    if values.shape != shape:
        raise ValueError(f"'{name}' has the shape {values.shape}, not {shape}")


def _check_range(name: str, values: np.ndarray, end: int) -> None:
    """Raise ValueError unless all values are whole numbers from 0 to below `end`."""
    if values.dtype.kind not in "iu" or (
        values.size and not 0 <= values.min() <= values.max() < end
    ):
        raise ValueError(f"'{name}' holds values that are not whole numbers below {end}")
