"""Sparse rows as tensors: the same matrix and transpose in every form."""

import numpy as np
import pytest
import torch
from scipy import sparse

from bgformer.runtime import sparse_rows

CPU = torch.device("cpu")


@pytest.fixture
def matrix():
    return sparse.random(30, 50, 0.2, format="csr", dtype=np.float32, random_state=0)


def test_a_matrix_is_the_same_in_every_form(matrix):
    rows = sparse_rows.SparseRows.on_device(matrix, CPU)
    np.testing.assert_array_equal(rows.dense(), matrix.toarray())
    np.testing.assert_array_equal(rows.matrix().to_dense(), matrix.toarray())
    np.testing.assert_array_equal(rows.transposed_matrix().to_dense(), matrix.toarray().T)


def test_a_gpu_transposes_as_the_cpu_does(matrix):
    rows = sparse_rows.SparseRows.on_device(matrix, CPU)
    on_gpu, on_cpu = sparse_rows.transposed(rows.matrix()), rows.transposed_matrix()
    for part in ("crow_indices", "col_indices", "values"):
        np.testing.assert_array_equal(getattr(on_gpu, part)(), getattr(on_cpu, part)())
    np.testing.assert_array_equal(on_gpu @ torch.eye(30), matrix.toarray().T)


def test_columns_out_of_order_are_sorted(matrix):
    shuffled = matrix.copy()
    for first, last in zip(shuffled.indptr, shuffled.indptr[1:], strict=False):
        order = np.random.default_rng(0).permutation(last - first) + first
        shuffled.indices[first:last] = shuffled.indices[order]
        shuffled.data[first:last] = shuffled.data[order]
    shuffled.has_sorted_indices = False
    rows = sparse_rows.SparseRows.on_device(shuffled, CPU)
    np.testing.assert_array_equal(rows.columns, matrix.indices)
    np.testing.assert_array_equal(rows.values, matrix.data)
