"""The training cells: all, or a sample that depends on the seed alone."""

import numpy as np
import pytest
from scipy import sparse

from bgformer.data import checks, source
from bgformer.data.counts import with_size_factors
from bgformer.data.genes import select_genes
from bgformer.data.sample import Sample
from bgformer.data.source import InMemory

BATCH = np.arange(150) % 2


@pytest.fixture
def counts(cells):
    return checks.read_counts(cells)


@pytest.fixture
def few(monkeypatch):
    """A sample of 40 of the 150 cells, read in blocks of 32."""
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 32)
    monkeypatch.setattr("bgformer.data.sample.LEAST", 0)


@pytest.fixture
def drawn(counts, few):
    return lambda seed: Sample(InMemory(counts), 100, BATCH, 40, seed)


def test_with_few_cells_all_are_taken(counts):
    sample = Sample(InMemory(counts), 100, BATCH, 1, 0)
    np.testing.assert_array_equal(sample.genes, select_genes(counts, 100, BATCH))
    expected = with_size_factors(counts[:, sample.genes], BATCH)
    assert sample.holds_all
    assert sample.n_cells == 150
    assert (sample.data.counts != expected.counts).nnz == 0
    np.testing.assert_array_equal(sample.data.size_factors, expected.size_factors)
    (block,) = sample.blocks()
    assert (block.counts != sample.data.counts).nnz == 0


def test_a_sample_selects_the_genes_and_sets_the_size_factors_of_all_cells(counts, drawn):
    sample = drawn(0)
    assert not sample.holds_all
    assert sample.n_cells == 150
    assert len(np.unique(sample.rows)) == 40
    np.testing.assert_array_equal(
        sample.genes, select_genes(counts[sample.rows], 100, BATCH[sample.rows])
    )
    expected = with_size_factors(counts[sample.rows][:, sample.genes], BATCH[sample.rows])
    assert (sample.data.counts != expected.counts).nnz == 0
    np.testing.assert_array_equal(sample.data.size_factors, expected.size_factors)
    np.testing.assert_array_equal(sample.data.batch, expected.batch)
    everything = with_size_factors(counts[:, sample.genes], BATCH, sample.median_counts)
    blocks = list(sample.blocks())
    assert [block.n_cells for block in blocks] == [32, 32, 32, 32, 22]
    assert (sparse.vstack([block.counts for block in blocks]) != everything.counts).nnz == 0
    factors = np.concatenate([block.size_factors for block in blocks])
    np.testing.assert_array_equal(factors, everything.size_factors)


def test_a_sample_from_a_file_is_that_from_memory(cells, few, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with source.opened(tmp_path / "cells.h5ad") as stored:
        from_file = Sample(source.source_of(stored), 100, BATCH, 40, 3)
    from_memory = Sample(source.source_of(cells), 100, BATCH, 40, 3)
    np.testing.assert_array_equal(from_file.genes, from_memory.genes)
    assert (from_file.data.counts != from_memory.data.counts).nnz == 0


def test_the_seed_decides_which_cells(drawn):
    np.testing.assert_array_equal(drawn(0).rows, drawn(0).rows)
    assert set(drawn(0).rows) != set(drawn(1).rows)
