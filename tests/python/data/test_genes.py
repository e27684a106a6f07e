"""Which genes are kept, and where they are in new cells."""

import numpy as np
from scipy import sparse

from bgformer.data import checks, genes


def test_residual_variance_is_scanpys(pbmc700):
    import scanpy as sc

    counts = checks.read_counts(pbmc700)
    sc.experimental.pp.highly_variable_genes(
        pbmc700, flavor="pearson_residuals", n_top_genes=100, theta=100
    )
    theirs = pbmc700.var["residual_variances"]
    np.testing.assert_allclose(genes.residual_variance(counts), theirs, rtol=5e-4)


def test_residual_variance_of_a_gene_that_varies_by_counting_alone_is_one():
    rng = np.random.default_rng(0)
    depth = rng.lognormal(0, 0.5, size=(2000, 1))
    counts = rng.poisson(depth * rng.uniform(0.05, 5, 200))
    found = genes.residual_variance(sparse.csr_matrix(counts.astype(np.float32)))
    np.testing.assert_allclose(found, 1, atol=0.2)


def test_residual_variance_of_a_gene_without_counts_is_zero(cells):
    counts = checks.read_counts(cells)
    blank = sparse.csr_matrix((counts.shape[0], 1), dtype=np.float32)
    assert genes.residual_variance(sparse.hstack([counts, blank]).tocsr())[-1] == 0


def test_genes_that_vary_most_for_their_mean_are_chosen():
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(0, 1, 400))
    counts = rng.poisson(mean, size=(500, 400))
    planted = np.sort(rng.choice(400, 20, replace=False))
    on = rng.random((500, 20)) < 0.3
    counts[:, planted] = rng.poisson(np.where(on, 4, 0.2) * mean[planted] + 0.3)
    chosen = genes.select_genes(sparse.csr_matrix(counts.astype(np.float32)), 20)
    assert len(np.intersect1d(chosen, planted)) >= 18


def test_genes_that_differ_between_batches_alone_are_not_chosen():
    rng = np.random.default_rng(0)
    batch = np.repeat([0, 1], 250)
    counts = rng.poisson(rng.uniform(1, 8, 300), size=(500, 300))
    counts[:, :10] = rng.poisson(np.where(batch[:, None] == 0, 1, 9), size=(500, 10))
    counts[:, 10:20] = rng.poisson(np.where(rng.random((500, 10)) < 0.5, 1, 5))
    counts = sparse.csr_matrix(counts.astype(np.float32))
    assert set(range(10)) <= set(genes.select_genes(counts, 20))
    assert set(genes.select_genes(counts, 10, batch)) == set(range(10, 20))


def test_blocks_of_cells_change_no_choice(pbmc700, monkeypatch):
    counts = checks.read_counts(pbmc700)
    batch = np.random.default_rng(0).integers(0, 3, counts.shape[0])
    variance = genes.residual_variance(counts)
    chosen = [genes.select_genes(counts, 100), genes.select_genes(counts, 100, batch)]
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 64)
    np.testing.assert_allclose(genes.residual_variance(counts), variance, rtol=1e-12)
    np.testing.assert_array_equal(genes.select_genes(counts, 100), chosen[0])
    np.testing.assert_array_equal(genes.select_genes(counts, 100, batch), chosen[1])


def test_genes_seen_in_too_few_cells_change_no_choice(pbmc700):
    counts = checks.read_counts(pbmc700)
    rare = sparse.csr_matrix(([500.0], ([3], [0])), shape=(700, 1), dtype=np.float32)
    with_rare = sparse.hstack([counts, rare]).tocsr()
    chosen = genes.select_genes(with_rare, 100)
    np.testing.assert_array_equal(chosen, genes.select_genes(counts, 100))


def test_all_usable_genes_are_kept_when_they_are_few(cells):
    counts = checks.read_counts(cells)
    seen_in = np.diff(counts.tocsc().indptr)
    chosen = genes.select_genes(counts, 10_000)
    np.testing.assert_array_equal(chosen, np.flatnonzero(seen_in >= genes.MIN_CELLS_PER_GENE))


def test_cut_genes_orders_by_name_and_leaves_missing_ones_empty():
    counts = sparse.csr_matrix(np.arange(12, dtype=np.float32).reshape(3, 4))
    cut = genes.cut_genes(counts, np.array([2, -1, 0]))
    np.testing.assert_array_equal(cut.toarray(), [[2, 0, 0], [6, 0, 4], [10, 0, 8]])
