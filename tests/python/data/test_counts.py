"""Counts in: what is accepted, what is refused and how, and which genes are kept."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import bgformer as bgf
from bgformer.data import checks, matrices
from bgformer.data.counts import CountData, log_moments, log_normalised


def bad(change):
    """Name a change to good cells that makes them bad, for a parametrised test."""
    return pytest.param(change, id=change.__name__)


def put(value):
    def change(adata):
        adata.X = adata.X.astype(np.float64)
        adata.X.data[5] = value

    return change


def negative(adata):
    put(-1)(adata)
    return r"X holds negative values \(-1 in cell '\S+', gene '\S+'\), so it is not raw counts"


def nan(adata):
    put(np.nan)(adata)
    return "X holds values that are NaN or infinite"


def infinite(adata):
    put(np.inf)(adata)
    return "X holds values that are NaN or infinite"


def beyond_float32(adata):
    put(1e300)(adata)
    return r"X holds values above 16,777,216, the largest that is exact \(1e\+300 in cell"


def fractional(adata):
    put(1.5)(adata)
    return "not whole numbers.*give the raw counts, before normalisation and logarithm"


def log_normalised_with_a_layer(adata):
    adata.layers["raw_counts"] = adata.X.copy()
    adata.X = adata.X.astype(np.float64).log1p()
    return "not whole numbers.*; layer 'raw_counts' looks like counts: use layer='raw_counts'"


def log_normalised_with_raw(adata):
    adata.raw = adata.copy()
    adata.X = adata.X.astype(np.float64).log1p()
    return r"not whole numbers.*; adata.raw looks like counts: use adata.raw.to_adata\(\)"


def no_matrix_but_a_layer(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.X = None
    return "adata.X is empty; layer 'counts' looks like counts"


def no_matrix(adata):
    adata.X = None
    return "adata.X is empty; give the raw counts"


def cells_without_counts(adata):
    keep = np.ones(adata.n_obs)
    keep[[3, 7]] = 0
    adata.X = sparse.csr_matrix(sparse.diags(keep) @ adata.X)
    return f"2 of 150 cells have no counts in X .the first: '{adata.obs_names[3]}'.; remove them"


def same_cell_twice(adata):
    adata.obs_names = [*adata.obs_names[:-1], adata.obs_names[0]]
    return "1 cell names are duplicated .the first: .*obs_names_make_unique"


def same_gene_twice(adata):
    adata.var_names = [*adata.var_names[:-1], adata.var_names[0]]
    return "1 gene names are duplicated .the first: .*var_names_make_unique"


@pytest.mark.filterwarnings("ignore:.*names are not unique")
@pytest.mark.parametrize(
    "make",
    [
        bad(negative),
        bad(nan),
        bad(infinite),
        bad(beyond_float32),
        bad(fractional),
        bad(log_normalised_with_a_layer),
        bad(log_normalised_with_raw),
        bad(no_matrix),
        bad(no_matrix_but_a_layer),
        bad(cells_without_counts),
        bad(same_cell_twice),
        bad(same_gene_twice),
    ],
)
def test_what_is_not_counts_is_refused_in_one_sentence(cells, unchanged, make):
    message = make(cells)
    with unchanged(cells), pytest.raises(bgf.CountsError, match=message) as caught:
        bgf.tl.cluster(cells, max_steps=3, verbose=False)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


def test_a_layer_that_is_not_counts_names_x(cells, unchanged):
    cells.layers["log"] = cells.X.astype(np.float64).log1p()
    with (
        unchanged(cells),
        pytest.raises(bgf.CountsError, match="X looks like counts: leave layer out"),
    ):
        bgf.tl.cluster(cells, layer="log", verbose=False)


def test_a_missing_layer_is_named_with_those_there(cells, unchanged):
    cells.layers["spliced"] = cells.X.copy()
    with (
        unchanged(cells),
        pytest.raises(bgf.CountsError, match=r"layer 'counts' .*there: 'spliced'"),
    ):
        bgf.tl.cluster(cells, layer="counts", verbose=False)


@pytest.mark.parametrize("shape", [(0, 5), (50, 0), (0, 0)])
def test_an_empty_matrix(shape):
    empty = AnnData(sparse.csr_matrix(shape, dtype=np.float32))
    with pytest.raises(
        bgf.CountsError, match=rf"the matrix is empty \({shape[0]} cells x {shape[1]} genes\)"
    ):
        bgf.tl.cluster(empty, verbose=False)


def test_too_few_cells(cells, unchanged):
    few = cells[:19].copy()
    with (
        unchanged(few),
        pytest.raises(bgf.CountsError, match=r"19 cells are too few.*at least 20"),
    ):
        bgf.tl.cluster(few, verbose=False)


def test_no_gene_left(unchanged):
    lonely = AnnData(sparse.identity(60, dtype=np.float32, format="csr"))  # a gene per cell
    with (
        unchanged(lonely),
        pytest.raises(bgf.CountsError, match="no gene is left after selection"),
    ):
        bgf.tl.cluster(lonely, verbose=False)


def test_a_missing_batch_column_is_named_with_those_there(cells, unchanged):
    with (
        unchanged(cells),
        pytest.raises(ValueError, match=r"batch_key 'donor' .*there: 'cell_type'"),
    ):
        bgf.tl.cluster(cells, batch_key="donor", verbose=False)


def test_a_column_of_names_is_not_taken_for_batches(cells, unchanged):
    cells.obs["name"] = cells.obs_names
    with unchanged(cells), pytest.raises(ValueError, match=f"has {cells.n_obs} batches for"):
        bgf.tl.cluster(cells, batch_key="name", verbose=False)


def test_batches_with_missing_values(cells, unchanged):
    cells.obs["donor"] = pd.Categorical(["a", "b", None] * 50)
    with unchanged(cells), pytest.raises(ValueError, match=r"column 'donor' .* missing values"):
        bgf.tl.cluster(cells, batch_key="donor", verbose=False)


def read_only(adata):
    for array in (adata.X.data, adata.X.indices, adata.X.indptr):
        array.flags.writeable = False


def unsorted(adata):
    for row in range(adata.n_obs):
        part = slice(adata.X.indptr[row], adata.X.indptr[row + 1])
        adata.X.indices[part] = adata.X.indices[part][::-1].copy()
        adata.X.data[part] = adata.X.data[part][::-1].copy()
    adata.X.has_sorted_indices = False


def with_stored_zeros(adata):
    full = adata.X.tolil()
    full[0, :] = np.maximum(full[0, :].toarray(), 0.5)
    adata.X = full.tocsr()
    adata.X.data[adata.X.data == 0.5] = 0


def read_only_dense(adata):
    adata.X = adata.X.toarray()
    adata.X.flags.writeable = False


def set_x(make):
    def change(adata):
        adata.X = make(adata.X)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(set_x(lambda x: x.astype(np.int64)), id="int64"),
        pytest.param(set_x(lambda x: x.astype(np.float64)), id="float64"),
        pytest.param(set_x(lambda x: x.astype(np.uint16)), id="uint16"),
        pytest.param(set_x(sparse.csc_matrix), id="CSC"),
        pytest.param(set_x(sparse.csr_array), id="csr_array"),
        pytest.param(set_x(lambda x: x.toarray()), id="dense"),
        pytest.param(set_x(lambda x: np.asfortranarray(x.toarray())), id="dense by column"),
        pytest.param(read_only, id="read-only"),
        pytest.param(read_only_dense, id="read-only dense"),
        pytest.param(unsorted, id="unsorted indices"),
        pytest.param(with_stored_zeros, id="stored zeros"),
    ],
)
def test_every_kind_of_matrix_gives_the_same_clusters(cells, unchanged, change, expected):
    cells.X = cells.X.astype(np.float32)
    change(cells)
    with unchanged(cells):
        found = bgf.BGFormer(max_steps=6, verbose=False).fit(cells)
    np.testing.assert_array_equal(found.partition_.labels, expected.partition_.labels)
    np.testing.assert_array_equal(found.latent_, expected.latent_)


@pytest.fixture(scope="module")
def expected(_pbmc700):
    cells = _pbmc700[:150].copy()
    cells.X = cells.X.astype(np.float32)
    return bgf.BGFormer(max_steps=6, verbose=False).fit(cells)


@pytest.mark.parametrize("kind", ["CSR", "CSC", "dense"])
def test_counts_on_disk_give_the_same_clusters(cells, expected, kind, tmp_path):
    import anndata

    cells.X = {"CSR": cells.X, "CSC": cells.X.tocsc(), "dense": cells.X.toarray()}[kind]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    found = bgf.BGFormer(max_steps=6, verbose=False).fit(backed)
    np.testing.assert_array_equal(found.partition_.labels, expected.partition_.labels)
    backed.file.close()


def test_normalised_and_rounded_counts_are_noticed(cells):
    cells.X = sparse.csr_matrix(np.round(cells.X / cells.X.sum(axis=1) * 1e4))
    with pytest.warns(UserWarning, match="all cells have about 100.. counts, as after norm"):
        checks.read_counts(cells)


def test_a_matrix_the_wrong_way_round_is_noticed(cells, unchanged):
    turned = cells.T.copy()
    with (
        unchanged(turned),
        pytest.raises(matrices.CountsError, match="wrong way round; transpose it"),
    ):
        checks.read_counts(turned)


def test_a_layer_gives_the_same_clusters_as_x(cells, expected):
    cells.layers["counts"] = cells.X
    cells.X = cells.X.astype(np.float64).log1p()
    found = bgf.BGFormer(max_steps=6, verbose=False).fit(cells, layer="counts")
    np.testing.assert_array_equal(found.partition_.labels, expected.partition_.labels)


def test_read_counts_is_canonical(cells):
    with_stored_zeros(cells)
    counts = checks.read_counts(cells)
    assert counts.dtype == np.float32
    assert counts.has_canonical_format
    assert counts.data.all()
    np.testing.assert_array_equal(counts.toarray(), cells.X.toarray())


def test_log_moments_are_those_of_the_dense_matrix(cells):
    counts = checks.read_counts(cells)
    size = np.random.default_rng(0).uniform(0.5, 2, cells.n_obs).astype(np.float32)
    data = CountData(counts, size, np.zeros(cells.n_obs, dtype=np.int64), 1.0)
    dense = np.log1p(counts.toarray() / size[:, None].astype(np.float64))
    np.testing.assert_allclose(log_normalised(data).toarray(), dense, rtol=1e-5)
    mean, scale = log_moments(data)
    np.testing.assert_allclose(mean, dense.mean(0), rtol=1e-5)
    assert (scale > 0).all()
    varies = dense.std(0) > np.median(dense.std(0))
    np.testing.assert_allclose(scale[varies], dense.std(0)[varies], rtol=1e-4)
