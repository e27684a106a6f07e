"""The training cells: all, or a sample that depends on the seed alone."""

import numpy as np
import pytest
from scipy import sparse

from bgformer.data import checks
from bgformer.data.counts import cell_totals, with_size_factors
from bgformer.data.sample import Sample
from bgformer.data.source import InMemory

GENES = np.arange(0, 700, 7)


@pytest.fixture
def counts(cells):
    return checks.read_counts(cells)


@pytest.fixture
def drawn(counts, monkeypatch):
    """A sample of 40 of the 150 cells, read in blocks of 32."""
    monkeypatch.setattr("bgformer.runtime.block_sizes.COUNTS", 32)
    monkeypatch.setattr("bgformer.data.sample.LEAST", 0)
    return lambda seed: Sample(InMemory(counts), GENES, np.arange(150) % 2, 40, seed)


def test_with_few_cells_all_are_taken(counts):
    sample = Sample(InMemory(counts), GENES, np.zeros(150, dtype=np.int64), 1, 0)
    expected = with_size_factors(counts[:, GENES], np.zeros(150, dtype=np.int64))
    assert sample.holds_all
    assert (sample.data.counts != expected.counts).nnz == 0
    np.testing.assert_array_equal(sample.data.size_factors, expected.size_factors)
    (block,) = sample.blocks()
    assert (block.counts != sample.data.counts).nnz == 0


def test_a_sample_has_the_size_factors_of_all_cells(counts, drawn):
    sample = drawn(0)
    everything = with_size_factors(counts[:, GENES], np.arange(150) % 2)
    assert not sample.holds_all
    assert len(np.unique(sample.rows)) == 40
    expected = everything.rows(np.sort(sample.rows))
    assert (sample.data.counts != expected.counts).nnz == 0
    np.testing.assert_array_equal(sample.data.size_factors, expected.size_factors)
    np.testing.assert_array_equal(sample.data.batch, expected.batch)
    assert sample.data.median_counts == everything.median_counts
    np.testing.assert_array_equal(sample.totals, cell_totals(everything.counts))
    blocks = list(sample.blocks())
    assert [block.n_cells for block in blocks] == [32, 32, 32, 32, 22]
    assert (sparse.vstack([block.counts for block in blocks]) != everything.counts).nnz == 0
    factors = np.concatenate([block.size_factors for block in blocks])
    np.testing.assert_array_equal(factors, everything.size_factors)


def test_the_seed_decides_which_cells(drawn):
    np.testing.assert_array_equal(drawn(0).rows, drawn(0).rows)
    assert set(drawn(0).rows) != set(drawn(1).rows)
