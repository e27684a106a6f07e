"""Names and colours of clusters: a user may change both, and clusters that stay keep them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from bgformer.graph.continuity import heirs, unchanged
from bgformer.graph.outliers import UNASSIGNED as LIMIT
from bgformer.graph.votes import vote_in_blocks
from bgformer.messages import InputError
from bgformer.store.naming import outlier_name
from bgformer.store.palette import GREY, colours, kept_colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from bgformer.pipeline.fitted import Fitted


UNASSIGNED = "unassigned"
"""Name of new cells that are of no cluster."""


class Looks(NamedTuple):
    """What k clusters are called and drawn in.

    Attributes
    ----------
    names
        A name for each; several may have one name. Numbers, as text, unless the user chose others.
    colours
        A colour for each, as "#rrggbb" or another name that matplotlib knows.
    others
        Colours of what cells are called that are of none, by name; None if there are none.
    """

    names: list[str]
    colours: list[str]
    others: Mapping[str, str] | None = None

    def of_heirs(self, before: Fitted, now: Fitted) -> Looks:
        """Return the looks that clusters have `now` if these are those of `before`."""
        partitions = before.partition.anchor_clusters, now.partition.anchor_clusters
        return self.inherited(*partitions, np.asarray(now.weights.sum(axis=0)).ravel())

    def inherited(self, before: np.ndarray, now: np.ndarray, mass: np.ndarray) -> Looks:
        """Return the looks of another clustering of the same anchors.

        A cluster with nearly the same cells keeps its name, and several of one name keep it if all
        have nearly the same cells. Others have their number as name. Each
        has the colour of the cluster whose heir it is, or a new one.

        Parameters
        ----------
        before, now, mass
            As in `graph.continuity.unchanged`; these are the looks of `before`.
        """
        names = numbers(int(now.max()) + 1)
        same = unchanged(before, now, mass)
        # of a name that several clusters have, a part would mean something else
        changed = {name for earlier, name in enumerate(self.names) if earlier not in same}
        for cluster, earlier in enumerate(same):
            if earlier >= 0 and self.names[earlier] not in changed:
                name = self.names[earlier]
                names[cluster] = names[cluster] if name.isdecimal() else name
        return self._replace(
            names=names, colours=kept_colours(self.colours, heirs(before, now, mass))
        )

    def column(
        self,
        labels: np.ndarray,
        unassigned: np.ndarray | None = None,
        called: np.ndarray | None = None,
    ) -> pd.Categorical:
        """Return the names of cells' clusters, shape (n,).

        Parameters
        ----------
        labels
            Number of each cell's cluster, shape (n,).
        unassigned
            True for cells of no cluster, shape (n,); None if all cells are of one.
        called
            What these are called, shape (n,); None, or missing values, for `UNASSIGNED`.
        """
        categories = list(dict.fromkeys(self.names))
        number = {name: code for code, name in enumerate(categories)}
        # numbers, not names: ten million names would take a gigabyte
        codes = np.array([number[name] for name in self.names], dtype=np.int32)[labels]
        if unassigned is not None and unassigned.any():
            own = pd.Series(UNASSIGNED if called is None else called[unassigned], dtype=object)
            own = own.where(own.notna(), UNASSIGNED).astype(str)
            categories = list(dict.fromkeys([*categories, *own.unique()]))
            number = {name: code for code, name in enumerate(categories)}
            codes[unassigned] = own.map(number)
        return pd.Categorical.from_codes(codes, categories)

    def colours_of(self, column: pd.Categorical) -> np.ndarray:
        """Return a colour for each category of `column`, as scanpy looks them up in ``uns``."""
        by_name = dict(zip(reversed(self.names), reversed(self.colours), strict=True))
        by_name = {UNASSIGNED: GREY, **(self.others or {}), **by_name}
        return np.array([by_name.get(name, GREY) for name in column.categories], dtype=object)


def colours_name(name: str) -> str:
    """Return the place in ``uns`` of the colours of a column of clusters, which is scanpy's."""
    return f"{name}_colors"


def numbers(n: int) -> list[str]:
    """Return the names that n clusters have unless the user chose others, "0" the largest."""
    return [str(cluster) for cluster in range(n)]


def new_looks(n: int) -> Looks:
    """Return the looks of n clusters that nobody has seen before."""
    return Looks(numbers(n), colours(n))


def looks_of(
    adata: AnnData, key: str, stored: Mapping[str, Any], weights: Any, *, overwritten: bool = False
) -> Looks:
    """Return what the clusters of stored results are called and drawn in now.

    Parameters
    ----------
    adata
        The cells, with their clusters in ``obs[key]``.
    key, stored
        Name of the results, and their entry of ``uns``.
    weights
        Weights of the cells on the anchors, n x m.
    overwritten
        The clusters are about to be overwritten.

    Raises
    ------
    InputError
        If they are about to be overwritten, and cells of one cluster have several names.
    """
    column, n_clusters = adata.obs[key], int(stored["n_clusters"])
    names = names_of(adata.obs, key, stored, weights)
    if names is None and overwritten:
        raise InputError(
            "changed-clusters",
            "the clusters '{given}' in {name[adata.obs]} have been changed cell by cell since, "
            "and would be overwritten; give {name[cluster_name]}, the name of another column.",
            given=key,
        )
    names = numbers(n_clusters) if names is None else names
    given = adata.uns.get(colours_name(key))
    found = colours(n_clusters)
    categories = list(column.cat.categories) if hasattr(column, "cat") else []
    if given is not None and len(given) == len(categories):
        of = dict(zip(map(str, categories), map(str, given), strict=True))
        found = [of.get(name, colour) for name, colour in zip(names, found, strict=True)]
        return Looks(names, found, {name: of[name] for name in of if name not in names})
    return Looks(names, found)


def unassigned_in(obs: Any, key: str, stored: Mapping[str, Any]) -> np.ndarray | None:
    """Return which cells of stored results are of no cluster, whatever they are called, (n,).

    None if no cell can be: a fit assigns all of its cells.
    """
    if not stored.get("predicted", False):
        return None
    found = np.asarray(obs[key] == UNASSIGNED)
    score = obs[outlier_name(key)] if outlier_name(key) in obs else found
    is_score = pd.api.types.is_float_dtype(score.dtype)
    return found | np.asarray(score > LIMIT) if is_score else found


def warn_of_lost_names(before: Looks, now: Looks) -> None:
    """Warn if names that a user gave are in none of the new clusters."""
    lost = [name for name in dict.fromkeys(before.names) if not name.isdecimal()]
    lost = [name for name in lost if name not in now.names]
    if lost:
        named = ", ".join(f"'{name}'" for name in lost)
        warnings.warn(
            f"no cluster has the same cells as these had, so their names are gone: {named}.",
            stacklevel=3,
        )


def names_of(
    obs: pd.DataFrame, key: str, stored: Mapping[str, Any], weights: Any
) -> list[str] | None:
    """Return the names that clusters have in a column; None if cells of one cluster have several.

    A number is not a name, because numbers are by size. A cluster without cells has the name that
    it was given by bgformer. Parameters are parts of those of `looks_of`.
    """
    apart = unassigned_in(obs, key, stored)
    column = obs[key] if apart is None else obs[key][~apart]
    weights = sparse.csr_matrix(weights if apart is None else weights[np.flatnonzero(~apart)])
    known = list(map(str, stored.get("names", numbers(int(stored["n_clusters"])))))
    of_anchors = np.asarray(stored["anchor_clusters"])
    labels = vote_in_blocks(weights, of_anchors)[0]
    there = column.cat.remove_unused_categories() if hasattr(column, "cat") else None
    if there is not None and _are(there, known):
        number = {name: cluster for cluster, name in reversed(list(enumerate(known)))}
        first = np.array([number[name] for name in known])  # of clusters with the same name
        of_categories = np.array([number[name] for name in there.cat.categories])
        codes = np.asarray(there.cat.codes)
        if (codes >= 0).all() and np.array_equal(of_categories[codes], first[labels]):
            return known
    names, own = list(known), numbers(len(known))
    pairs = pd.DataFrame({"cluster": labels, "name": column.astype(object).to_numpy()})
    pairs = pairs.drop_duplicates()
    if pairs["cluster"].duplicated().any() or pairs["name"].isna().any():
        return None
    for cluster, name in zip(pairs["cluster"], map(str, pairs["name"]), strict=True):
        names[cluster] = own[cluster] if name.isdecimal() else name
    return names


def _are(column: pd.Series, names: list[str]) -> bool:
    """Tell whether the categories of a column are some of these names, in their order."""
    categories = list(column.cat.categories)
    there = set(categories)
    return categories == [name for name in names if name in there]
