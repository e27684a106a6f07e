"""Sparse rows as tensors on a device, and their product with a dense matrix."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from scipy import sparse

if TYPE_CHECKING:
    import numpy as np


class SparseRows(NamedTuple):
    """A sparse b x g matrix in compressed rows (CSR), as tensors on one device.

    Attributes
    ----------
    indptr
        Place of the first stored value of each row, and the number of values, shape (b + 1,).
    columns, values
        Column and value of each stored value, in the order of the rows, shape (nnz,) each.
    n_columns
        Number of columns, g.
    """

    indptr: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    n_columns: int

    @classmethod
    def on_device(cls, rows: sparse.csr_matrix, device: torch.device) -> SparseRows:
        """Return a matrix of scipy on a device; to a GPU, it is copied through pinned memory.

        Values are in the order of the columns, as the last digits of a sum depend on its order.
        """
        if not rows.has_sorted_indices:
            rows = rows.sorted_indices()
        return cls(
            copied(rows.indptr.astype("int32", copy=False), device),
            copied(rows.indices.astype("int32", copy=False), device),
            copied(rows.data, device),
            rows.shape[1],
        )

    @property
    def n_rows(self) -> int:
        """Number of rows, b."""
        return len(self.indptr) - 1

    def of_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Repeat a value of each row, b or b x 1, for its stored values, shape (nnz,)."""
        lengths = self.indptr.diff()
        return values.ravel().repeat_interleave(lengths, output_size=len(self.values))

    def dense(self) -> torch.Tensor:
        """Return the matrix with its zeros, b x g."""
        full = self.values.new_zeros((self.n_rows, self.n_columns))
        full[self.of_rows(torch.arange(self.n_rows, device=full.device)), self.columns.long()] = (
            self.values
        )
        return full

    def matrix(self) -> torch.Tensor:
        """Return the matrix as a tensor of torch; on Apple's GPUs, which have no CSR, dense."""
        if self.values.device.type == "mps":
            return self.dense()
        shape = (self.n_rows, self.n_columns)
        return torch.sparse_csr_tensor(
            self.indptr, self.columns, self.values, shape, check_invariants=False
        )

    def transposed_matrix(self) -> torch.Tensor:
        """Return the transpose (g x b) as a tensor of torch, as `matrix` does."""
        if self.values.device.type == "mps":
            return self.dense().T
        if self.values.device.type == "cpu":  # scipy takes a tenth of torch's time
            parts = (self.values.numpy(), self.columns.numpy(), self.indptr.numpy())
            by_row = sparse.csr_matrix(parts, shape=(self.n_rows, self.n_columns))
            return SparseRows.on_device(by_row.T.tocsr(), self.values.device).matrix()
        return transposed(self.matrix())


def transposed(matrix: torch.Tensor) -> torch.Tensor:
    """Return the transpose of a CSR tensor as a CSR tensor, on its device."""
    by_column = matrix.to_sparse_csc()
    return torch.sparse_csr_tensor(
        by_column.ccol_indices(),
        by_column.row_indices(),
        by_column.values(),
        matrix.shape[::-1],
        check_invariants=False,
    )


def copied(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on the device; for the CPU, they share memory."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


with warnings.catch_warnings():  # torch says once in each process that its CSR is in beta
    warnings.simplefilter("ignore")
    torch.zeros((1, 1)).to_sparse_csr()
