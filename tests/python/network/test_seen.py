"""What the heads see, against the same matrices computed without any zeros left out."""

import numpy as np
import pytest
import torch
from scipy import sparse

from bgformer.network import seen
from bgformer.runtime.sparse_rows import SparseRows

N_CELLS, N_GENES = 300, 40
RNG = np.random.default_rng(0)
MEANS = RNG.lognormal(-1, 2, N_GENES)
SIZE_FACTORS = RNG.lognormal(0, 1.5, (N_CELLS, 1))
COUNTS = RNG.poisson(SIZE_FACTORS * MEANS)


def tensors(*arrays):
    return [torch.tensor(array, dtype=torch.float32) for array in arrays]


def residuals(most, cells=slice(None)):
    counts, size_factors = COUNTS[cells], SIZE_FACTORS[cells]
    rows = SparseRows.on_device(sparse.csr_matrix(counts.astype(np.float32)), torch.device("cpu"))
    return seen.residuals(rows, *tensors(size_factors, MEANS), most)


def dense_residuals(most):
    expected = SIZE_FACTORS * MEANS
    return ((COUNTS - expected) / np.sqrt(expected + expected**2 / 100)).clip(-most, most)


@pytest.fixture
def logs():
    counts, size_factors = tensors(COUNTS, SIZE_FACTORS)
    rows = SparseRows.on_device(sparse.csr_matrix(counts.numpy()), torch.device("cpu"))
    mean, deviation = tensors(np.linspace(0, 3, N_GENES), np.linspace(0.01, 2, N_GENES))
    found = seen.scaled_logs(rows, size_factors, torch.tensor(30.0), mean, deviation)
    scaled = (np.log1p(COUNTS / SIZE_FACTORS * 30) - mean.numpy()) / deviation.numpy()
    return found, scaled.clip(-10, 10)


@pytest.mark.parametrize("most", [1.0, 9.0, 17.3, 1000.0])
def test_residuals_of_any_size_factor_are_those_of_the_formula(most):
    # below 10, the bound also cuts residuals of zeros
    np.testing.assert_allclose(
        residuals(most).dense(), dense_residuals(most), rtol=1e-4, atol=1e-5
    )


def test_residuals_of_zeros_are_computed_at_a_few_levels():
    found = residuals(20.0)
    assert len(found.absent) < N_CELLS / 5
    np.testing.assert_allclose(found.shares.sum(1), 1, rtol=1e-5)


def test_residuals_of_a_cell_do_not_depend_on_the_others():
    alone = residuals(20.0, [7]).dense()
    some = residuals(20.0, list(range(5, 30))).dense()[2]
    np.testing.assert_allclose(alone[0], some, rtol=1e-5, atol=1e-6)


def test_scaled_logs_are_those_of_the_formula(logs):
    np.testing.assert_allclose(logs[0].dense(), logs[1], rtol=1e-4, atol=1e-4)


def test_a_product_is_that_of_the_dense_matrix(logs):
    (axes,) = tensors(RNG.normal(size=(N_GENES, 3)))
    for found, whole in (logs, (residuals(20.0), dense_residuals(20.0))):
        np.testing.assert_allclose(found.times(axes), whole @ axes.numpy(), rtol=1e-3, atol=1e-2)


def test_the_derivative_of_a_product_is_that_of_the_dense_matrix():
    found, (axes, slope) = (
        residuals(20.0),
        tensors(RNG.normal(size=(N_GENES, 3)), RNG.normal(size=(N_CELLS, 3))),
    )
    axes.requires_grad_()
    found.times(axes).backward(slope)
    np.testing.assert_allclose(axes.grad, found.dense().T @ slope, rtol=1e-3, atol=1e-3)


def test_genes_that_are_left_out_are_0():
    genes = torch.arange(N_GENES) % 3 > 0
    found = residuals(20.0)
    np.testing.assert_array_equal(found.of_genes(genes).dense(), found.dense() * genes)
