"""Marker genes of each cluster."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bgformer._version import __version__
from bgformer.arguments import flag, text_or_none
from bgformer.data.moments import Moments
from bgformer.graph.marker_tests import Tests, tests_of, without_held_out
from bgformer.messages import InputError
from bgformer.store.naming import check_name, foreign
from bgformer.store.results import check_storable, copy_of
from bgformer.tl.profiling import ENTRY, HELD_OUT_P, clusters_in, fingerprint, read_profiles

if TYPE_CHECKING:
    from anndata import AnnData

_KINDS = {
    "names": object,
    "scores": np.float32,
    "logfoldchanges": np.float32,
    "pvals": np.float64,
    "pvals_adj": np.float64,
}
"""The tables of scanpy's results, and what they hold."""
_LEAST = 1e-9
"""What scanpy adds to both sides of a fold change."""
_OF_GENES = ("t", "log2_fold_change", "p", "p_adjusted", "detected", "detected_rest")
"""What `table_of` has of each gene in a cluster."""
_FEWEST = 2
"""A cluster has a variance, and so a test, from this number of cells on."""
_MOST_NAMED = 10
"""A warning names no more clusters than this."""


def markers(
    adata: AnnData,
    cluster_name: str = "bgformer",
    *,
    profiles: AnnData | None = None,
    layer: str | None = None,
    key_added: str = "rank_genes_groups",
    copy: bool = False,
) -> AnnData | None:
    """Find the marker genes of each cluster, from the raw counts of all genes.

    Each gene is compared between the cells of a cluster and all other cells by Welch's t-test on
    log(1 + counts), with the counts of each cell scaled to a total of 10,000. The counts are read
    once, a block of cells at a time if they are on disk. Except for the p-values, the results are
    those of ``scanpy.tl.rank_genes_groups(method="t-test", pts=True)``, but the order of the genes
    is not: it is by t times the relative difference of the shares of cells with a count. Ribosomal
    and other genes that all cells express are therefore not on top. A cluster of a single cell is
    not tested, with a warning; its cell is one of the other cells of all other clusters.

    The p-values are from held-out counts, because clusters differ in the counts that they were
    found on, even if all cells are of one type. The counts of each cell are dealt into two random
    halves (data thinning; Neufeld et al. 2024, JMLR 25(57)). The first half places the cell among
    the anchors, and it gets the cluster with most weight on the nearest anchor. The second half
    tests whether a gene has the same share of all counts in the cells of the cluster as in all
    other cells. The test is a binomial one, corrected for the gene's dispersion within the
    clusters. Unlike a t-test, it finds no differences between clusters that differ only in the
    total counts of their cells.

    This needs results of bgformer for these cells. Of groups that bgformer did not find, the
    anchors must be able to tell the cells: not of donors or treatments. Otherwise, the p-values
    are those of the t-test, which are too small for clusters that were found on the same counts;
    use them for ranking only.

    The test compares cells, not samples or donors. A small p-value says that clusters differ, not
    that they are different types; see ``uns["bgformer"]["evidence"]`` for this.

    Parameters
    ----------
    adata
        Cells x genes with raw counts, in memory or backed.
    cluster_name
        Column of ``obs`` with the clusters: of :func:`cluster`, :func:`recluster` or
        :func:`subcluster`, or any other. Clusters that you renamed have these names.
    profiles
        What :func:`bgformer.tl.profiles` returned for these cells and clusters; the counts are
        then not read.
    layer
        Layer that holds the counts; None for the one that the clustering used, or ``X``.
    key_added
        Entry of ``uns`` for the results. The default is where scanpy looks for them.
    copy
        Return a copy with the results instead of changing `adata`.

    Returns
    -------
    None, or the copy if `copy` is True. ``adata.uns[key_added]`` is a dictionary like scanpy's, so
    :func:`scanpy.get.rank_genes_groups_df` and scanpy's plots take it. For each cluster, with
    genes in the same order, it has

    "names"
        Genes, the best marker first.
    "scores"
        Welch's t, of all counts.
    "logfoldchanges"
        log2 of the ratio of ``expm1`` of the two means; very large if the other cells lack the
        gene.
    "pvals", "pvals_adj"
        Two-sided p-value from held-out counts, and the same after Benjamini and Hochberg's
        adjustment. They are 1 for clusters that the first half gives fewer than two cells, with a
        warning.
    "pts", "pts_rest"
        Share of cells with a count, in the cluster and in all other cells; genes x clusters, in
        the order of ``adata.var_names``. Left out if a cluster's name contains "/", because
        AnnData cannot write such a table into a file.
    "params"
        Dictionary with the settings. "held_out" is False if the p-values are those of the t-test.

    Raises
    ------
    CountsError, ValueError
        If there is no such column, or it holds floating-point numbers; fewer than two clusters of
        two cells or more; counts that cannot be used; `profiles` of other cells, clusters or
        genes; or an entry of ``uns`` that is not from bgformer.
    TypeError
        If `adata` is not an AnnData.

    Examples
    --------
    >>> bgf.tl.markers(adata)
    >>> sc.get.rank_genes_groups_df(adata, "0").head(10)
    """
    check_storable(adata)
    check_name(adata, key_added, "key_added", "the results")
    layer, copy = text_or_none("layer", layer), flag("copy", copy)
    if key_added in adata.uns and not _is_ours(adata.uns[key_added]):
        raise foreign("uns", key_added, "key_added")
    if profiles is not None and layer is not None:
        raise InputError(
            "layer-and-profiles",
            "give {name[layer]} or {name[profiles]}, not both: profiles are of one layer already.",
        )
    if profiles is None:
        profiles = read_profiles(adata, cluster_name, layer)
    else:
        _check_profiles(profiles, adata, cluster_name)
    found = tests_in(profiles)
    adata = copy_of(adata) if copy else adata
    adata.uns[key_added] = _as_in_scanpy(profiles, found, cluster_name)
    return adata if copy else None


def tests_in(profiles: AnnData) -> Tests:
    """Return the tests of those clusters of some profiles that have two cells or more.

    Warn if a cluster has a single cell, or too few held-out cells. A single cell is one of the
    other cells of all other clusters.

    Raises
    ------
    InputError
        If there are fewer than two clusters, or fewer than two of two cells or more.
    """
    names, n_cells = list(profiles.obs_names), profiles.obs["n_cells"].to_numpy()
    if len(names) < 2:
        raise InputError(
            "one-cluster",
            "all cells are in one cluster, '{cluster}', so there are no others to compare it "
            "with; markers need at least two clusters.",
            cluster=names[0],
        )
    alone = [name for name, n in zip(names, n_cells, strict=True) if n < _FEWEST]
    if len(_tested(profiles)) < 2:
        raise InputError(
            "one-cell",
            "cluster '{cluster}' has a single cell, too few for a test, and there are not two "
            "larger clusters to compare; put it into another cluster.",
            cluster=alone[0],
        )
    if alone:
        warnings.warn(
            "clusters with a single cell have no markers, because a test needs two cells: "
            f"{_listed(alone)}.",
            stacklevel=3,
        )
    _warn_of_untested(profiles)
    return tests_without_checks(profiles)


def tests_without_checks(profiles: AnnData) -> Tests:
    """Return what `tests_in` returns of two clusters or more, without warnings."""
    n_cells = profiles.obs["n_cells"].to_numpy()
    found = Moments(
        n_cells,
        np.expm1(profiles.X),
        profiles.layers["mean"],
        np.where(n_cells[:, None] < _FEWEST, 0, profiles.layers["variance"]),
        profiles.layers["detected"],
    )
    tests, tested = tests_of(found, profiles.layers.get(HELD_OUT_P)), _tested(profiles)
    return Tests(*(values[tested] for values in tests))


def _warn_of_untested(profiles: AnnData) -> None:
    """Warn of clusters with markers whose held-out counts cannot be tested."""
    if HELD_OUT_P not in profiles.layers:
        return
    few = without_held_out(profiles.obs["n_held_out"].to_numpy())
    lacking = [profiles.obs_names[cluster] for cluster in _tested(profiles) if few[cluster]]
    if lacking:
        warnings.warn(
            "the p-values of these clusters are 1, because half of the counts find fewer than two "
            f"cells of them again: {_listed(lacking)}.",
            stacklevel=4,
        )


def _listed(names: list[str]) -> str:
    """Return the first names of clusters, and how many more there are."""
    named = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    return named + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _tested(profiles: AnnData) -> np.ndarray:
    """Return the numbers of the clusters that have tests."""
    return np.flatnonzero(profiles.obs["n_cells"] >= _FEWEST)


def table_of(profiles: AnnData, found: Tests, n_genes: int | None = None) -> dict[str, np.ndarray]:
    """Return the best genes of each tested cluster as columns of equal length, cluster by cluster.

    Parameters
    ----------
    profiles
        Of k clusters and g genes.
    found
        Their tests, from `tests_in`.
    n_genes
        Number of genes for each cluster; None for all.

    Returns
    -------
    "cluster" and "gene" (numbers from 0, among all of `profiles`), "t", "log2_fold_change", "p",
    "p_adjusted", "detected" and "detected_rest".
    """
    order, tested = found.order[:, :n_genes], _tested(profiles)
    rows, genes = np.repeat(np.arange(len(order)), order.shape[1]), order.ravel()
    values = {**found._asdict(), "detected": profiles.layers["detected"][tested]}
    return {
        "cluster": tested[rows],
        "gene": genes,
        **{name: values[name][rows, genes] for name in _OF_GENES},
    }


def empty_table() -> dict[str, np.ndarray]:
    """Return what `table_of` would return of no clusters."""
    numbers = {name: np.empty(0, dtype=np.int64) for name in ("cluster", "gene")}
    return numbers | {name: np.empty(0) for name in _OF_GENES}


def _is_ours(there: object) -> bool:
    """Tell whether an entry of ``uns`` is from `markers`."""
    params = there.get("params") if isinstance(there, Mapping) else None
    return isinstance(params, Mapping) and "bgformer" in params


def _check_profiles(profiles: Any, adata: AnnData, cluster_name: str) -> None:
    """Raise InputError unless profiles are of these cells, clusters and genes."""
    now = fingerprint(clusters_in(adata, cluster_name), adata.var_names)
    entry = getattr(profiles, "uns", {}).get(ENTRY, {})
    shape = adata.obs[cluster_name].nunique(), adata.n_vars
    if entry.get("cells") != now or profiles.shape != shape:
        raise InputError(
            "other-profiles",
            "the profiles are not those of the clusters '{given}' of these cells, with all genes; "
            "call bgformer.tl.profiles(adata, '{given}') again.",
            given=cluster_name,
        )


def _as_in_scanpy(profiles: AnnData, found: Tests, cluster_name: str) -> dict[str, Any]:
    """Return the tests as `scanpy.tl.rank_genes_groups` would store them."""
    profiles = profiles[_tested(profiles)]
    clusters, genes = list(profiles.obs_names), profiles.var_names.to_numpy().astype(object)
    means = profiles.layers["mean"], found.mean_rest
    fold = np.divide(*(np.expm1(mean) + _LEAST for mean in means))
    by_gene = {
        "names": np.broadcast_to(genes, found.t.shape),
        "scores": found.t,
        "logfoldchanges": np.log2(fold),
        "pvals": found.p,
        "pvals_adj": found.p_adjusted,
    }
    tables = {}
    for name, values in by_gene.items():
        kind = _KINDS[name]
        rows = np.take_along_axis(values, found.order, axis=1).astype(kind)
        tables[name] = np.rec.fromarrays(list(rows), dtype=[(one, kind) for one in clusters])
    shares = {"pts": profiles.layers["detected"], "pts_rest": found.detected_rest}
    if any("/" in one for one in clusters):
        shares = {}
    params = {
        "groupby": cluster_name,
        "reference": "rest",
        "method": "t-test",
        "use_raw": False,
        "corr_method": "benjamini-hochberg",
        "held_out": HELD_OUT_P in profiles.layers,
        "bgformer": __version__,
    }
    layer = profiles.uns[ENTRY].get("layer")
    params |= {} if layer is None else {"layer": layer}
    return {
        "params": params,
        **tables,
        **{
            name: pd.DataFrame(share.T, index=profiles.var_names, columns=clusters)
            for name, share in shares.items()
        },
    }
