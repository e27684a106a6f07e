"""UMAP of a latent: of all cells if they are few, else of landmarks that the others join.

Everything runs on one thread or is independent of the threads, so that a seed always gives the
same picture.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from bgformer.graph.landmarks import choose_landmarks
from bgformer.runtime import block_sizes
from bgformer.runtime.threads import at_once, one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_DIST, SPREAD = 0.5, 1.0
"""Shape of the attraction, as in scanpy."""
_MOST_PLAIN = 10_000
"""Maximum number of cells that are all optimised together."""
_UPDATES = 2_000_000
"""Cells times epochs: few cells have more epochs, from ..."""
_EPOCHS = (200, 500)
"""... to so many, umap-learn's defaults for many and for few cells."""
NEIGHBOURS = 15
"""As in scanpy, the cell itself counted."""
_LANDMARKS, _LANDMARK_EPOCHS = 3000, 300
_JOINED_NEIGHBOURS, _JOINED_EPOCHS, _JOINED_ALPHA = 10, 20, 0.25
"""Of cells that join landmarks: the landmarks that attract them, epochs, and the learning rate of
umap-learn's ``transform``."""
_NEGATIVE_RATE = 5
_SIDE, _NOISE = 10.0, 1e-4
"""Side of the square that the optimisation starts in, and noise that separates identical cells, as
in umap-learn."""
_LEAST = 4
"""Fewer cells are drawn along their principal axes, as they have hardly any neighbours."""
_HALVINGS = 40
_LEAST_BANDWIDTH = 1e-3
"""Minimum bandwidth relative to the mean distance, as in umap-learn."""
_SEARCHED = 8192
"""Cells whose neighbours are searched at a time. A constant, so that results do not depend on the
number of threads."""


def umap_of(
    latent: np.ndarray, weights: sparse.csr_matrix, anchors: np.ndarray, seed: int
) -> np.ndarray:
    """Return a two-dimensional UMAP (McInnes et al. 2018, arXiv:1802.03426) of a latent.

    Up to 10,000 cells are optimised together. Of more, 3,000 landmarks are; every other cell
    starts at the weighted mean of its nearest landmarks, and is optimised with the landmarks
    fixed, as by umap-learn's ``transform``. So it takes time in proportion to the number of cells.

    Parameters
    ----------
    latent
        Cells, n x d.
    weights
        Weights of the cells on the anchors, CSR n x m.
    anchors
        Anchors, m x d.
    seed
        Seed.

    Returns
    -------
    Places of the cells, n x 2 float32. Fewer than four cells are along their principal axes.
    """
    latent = np.ascontiguousarray(latent, dtype=np.float32)
    n = len(latent)
    with one_thread():
        if n < _LEAST:
            return _start(latent, seed)
        if n <= _MOST_PLAIN:
            return _of_all(latent, int(np.clip(_UPDATES // n, *_EPOCHS)), seed)
        landmarks = choose_landmarks(latent, weights, np.asarray(anchors), _LANDMARKS, seed)
        fixed = _of_all(latent[landmarks], _LANDMARK_EPOCHS, seed)
        places = np.concatenate(list(_joined(latent, latent[landmarks], fixed, seed)))
        places[landmarks] = fixed
        return places


def _of_all(latent: np.ndarray, n_epochs: int, seed: int) -> np.ndarray:
    """Return the UMAP of cells that are all optimised together, n x 2 float32."""
    places = _start(latent, seed)
    k = min(NEIGHBOURS, len(latent))
    distance, nearest = (part[:, 1:] for part in _neighbours(latent, latent, k))
    graph = _as_graph(_strengths(distance), nearest, len(latent))
    graph = graph + graph.T - graph.multiply(graph.T)
    return _optimised(places, places, graph, n_epochs, 1.0, seed, move_other=True)


def _joined(
    latent: np.ndarray, landmarks: np.ndarray, fixed: np.ndarray, seed: int
) -> Iterator[np.ndarray]:
    """Yield the places of cells among landmarks, in blocks; one cell's depend on no other's."""
    for start in range(0, len(latent), block_sizes.WEIGHTS):
        cells = latent[start : start + block_sizes.WEIGHTS]
        distance, nearest = _neighbours(cells, landmarks, _JOINED_NEIGHBOURS)
        strengths = _strengths(distance)
        shares = strengths / strengths.sum(axis=1, keepdims=True)
        places = np.einsum("ck,ckd->cd", shares, fixed[nearest]).astype(np.float32)
        graph = _as_graph(strengths, nearest, len(landmarks))
        yield _optimised(places, fixed, graph, _JOINED_EPOCHS, _JOINED_ALPHA, seed)


def _start(latent: np.ndarray, seed: int) -> np.ndarray:
    """Return the cells along their first two principal axes, in a square, n x 2 float32.

    The spectral start that is umap-learn's default needs a connected graph, which well separated
    cells do not have.
    """
    centred = latent - latent.mean(axis=0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    at = centred @ (axes * np.sign(largest))  # the sign of an axis is not defined
    at = _SIDE * (at - at.min(axis=0)) / np.maximum(np.ptp(at, axis=0), np.finfo(float).tiny)
    noise = np.random.default_rng(seed).normal(scale=_NOISE, size=at.shape)
    return np.ascontiguousarray(at + noise, dtype=np.float32)


def _neighbours(cells: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances to the k nearest of some cells, and which these are, n x k each."""
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among)
    blocks = [cells[start : start + _SEARCHED] for start in range(0, len(cells), _SEARCHED)]
    distance, nearest = zip(*at_once(search.kneighbors, blocks), strict=True)
    return np.concatenate(distance), np.concatenate(nearest)


def _strengths(distance: np.ndarray) -> np.ndarray:
    """Return how strongly cells are linked to their k neighbours, 1 to the nearest, n x k.

    These are ``exp(-(d - d_1) / s)`` with s such that they sum to ``log2(k + 1)`` (section 3.1 of
    the paper). umap-learn's own function is compiled in every process, which takes longer than
    all else.
    """
    parts = [distance[start : start + _SEARCHED] for start in range(0, len(distance), _SEARCHED)]
    least = max(_LEAST_BANDWIDTH * distance.mean(), np.finfo(float).tiny)
    return np.concatenate(at_once(lambda part: _strengths_block(part, least), parts))


def _strengths_block(distance: np.ndarray, least: float) -> np.ndarray:
    """Find the bandwidths of some cells by halving; see `_strengths`."""
    further = distance - distance[:, :1]
    total = np.log2(distance.shape[1] + 1)
    low, high = np.zeros((len(distance), 1)), further.max(axis=1, keepdims=True) * 2 + least
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_wide = np.exp(-further / np.maximum(middle, least)).sum(axis=1, keepdims=True) > total
        low, high = np.where(is_wide, low, middle), np.where(is_wide, middle, high)
    return np.exp(-further / np.maximum(high, least))


def _as_graph(strengths: np.ndarray, nearest: np.ndarray, n_columns: int) -> sparse.csr_matrix:
    """Return links as a sparse matrix, cells x `n_columns`."""
    n, k = nearest.shape
    parts = (strengths.astype(np.float32).ravel(), nearest.ravel(), np.arange(0, n * k + 1, k))
    return sparse.csr_matrix(parts, shape=(n, n_columns))


def _optimised(
    places: np.ndarray,
    others: np.ndarray,
    graph: sparse.spmatrix,
    n_epochs: int,
    alpha: float,
    seed: int,
    *,
    move_other: bool = False,
) -> np.ndarray:
    """Return places after umap-learn's optimisation; it changes the arrays that it is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of its optional parts
        from umap.layouts import optimize_layout_euclidean  # takes seconds
        from umap.umap_ import find_ab_params
    links = graph.tocoo()
    strong = links.data >= 1 / n_epochs  # the strongest are 1; others would never be drawn
    head, tail = (part[strong].astype(np.int32) for part in (links.row, links.col))
    limits = np.iinfo(np.int32)
    state = np.random.RandomState(seed % 2**32).randint(limits.min + 1, limits.max, 3)
    a, b = find_ab_params(SPREAD, MIN_DIST)
    return np.asarray(
        optimize_layout_euclidean(
            places,
            others,
            head,
            tail,
            n_epochs,
            len(others),
            1 / links.data[strong].astype(np.float64),
            a,
            b,
            state.astype(np.int64),
            initial_alpha=alpha,
            negative_sample_rate=_NEGATIVE_RATE,
            move_other=move_other,
        )
    )
