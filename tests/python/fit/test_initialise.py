"""Where training starts: both heads are projections on principal components of the cells."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from bgformer.data import checks
from bgformer.data.counts import log_normalised, with_size_factors
from bgformer.fit.embedding import embed, raw_heads
from bgformer.fit.initialise import network_for
from bgformer.fit.metric import calibrate
from bgformer.runtime.sparse_rows import SparseRows


def counted(adata, batch=None):
    batch = np.zeros(adata.n_obs, dtype=np.int64) if batch is None else batch
    return with_size_factors(checks.read_counts(adata), batch)


@pytest.fixture(scope="module")
def data(_pbmc700):
    return counted(_pbmc700)


def start(data, seed=0, n_batches=1, **sizes):
    sizes = {"n_anchors": 20, "n_latent": 16} | sizes
    return network_for(data, n_batches=n_batches, seed=seed, **sizes).eval()


def test_the_linear_head_is_the_pca_of_scaled_log_counts(data):
    scaled = log_normalised(data, 1e4).toarray()
    scaled = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0, ddof=1)
    expected = PCA(3, svd_solver="full").fit_transform(scaled.clip(-10, 10))
    linear, _ = raw_heads(start(data), data)
    for given, found in zip(expected.T, linear.T, strict=False):
        assert abs(np.corrcoef(given, found)[0, 1]) > 0.995


def test_the_learned_head_is_nearly_the_pca_of_residuals_of_deviation_one(data):
    network = start(data)
    size_factors = torch.from_numpy(data.size_factors)[:, None]
    counts = SparseRows.on_device(data.counts, torch.device("cpu"))
    seen = network.residuals(counts, size_factors).dense().numpy()
    expected = PCA(3, svd_solver="full").fit_transform(seen)
    _, learned = raw_heads(network, data)
    for given, found in zip(expected.T, learned.T, strict=False):
        assert abs(np.corrcoef(given, found)[0, 1]) > 0.99
    assert np.sqrt(learned.var(axis=0).mean()) == pytest.approx(1, abs=0.1)


def test_the_same_seed_gives_the_same_network(data):
    one, same, other = (start(data, seed).state_dict() for seed in (0, 0, 1))
    for name, value in one.items():
        torch.testing.assert_close(same[name], value, rtol=0, atol=0)
    assert not torch.equal(one["encoder_in"], other["encoder_in"])


def test_the_generator_of_the_caller_is_left_alone(data):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    start(data)
    torch.testing.assert_close(torch.get_rng_state(), before)


def test_the_offset_of_a_batch_is_the_log_ratio_of_its_counts(two_types):
    batch = np.arange(two_types.n_obs) % 2
    counts = two_types.X.toarray()
    stronger = counts.sum(axis=0).argmax()  # one gene of many, so that totals hardly change
    counts[batch == 1, stronger] *= 4
    data = with_size_factors(sparse.csr_matrix(counts), batch)
    offset = start(data, n_batches=2).batch_offset.numpy()
    assert offset.shape == (2, two_types.n_vars)
    assert offset[1, stronger] - offset[0, stronger] == pytest.approx(np.log(4), abs=0.3)
    others = np.delete(offset[1] - offset[0], stronger)
    assert np.median(np.abs(others)) < 0.3


def test_a_gene_that_a_batch_has_hardly_seen_keeps_a_small_offset(two_types):
    batch = np.arange(two_types.n_obs) % 2
    counts = two_types.X.toarray()
    counts[:, 7] = 0
    counts[0, 7] = 1  # in batch 0 alone
    data = with_size_factors(sparse.csr_matrix(counts), batch)
    assert np.abs(start(data, n_batches=2).batch_offset[:, 7]).max() < np.log(2)


def test_a_single_batch_has_no_offset(data):
    assert (start(data).batch_offset == 0).all()


def test_fewer_cells_than_dimensions(cells):
    data = counted(cells[:20])
    network = start(data, n_latent=100)
    calibrate(network, data, seed=0)
    found = embed(network, data)
    assert found.shape == (20, 100)
    assert np.isfinite(found).all()


def test_cells_that_are_all_the_same_start_from_any_axes():
    same = with_size_factors(
        sparse.csr_matrix(np.full((256, 300), 2, dtype=np.float32)), np.zeros(256, dtype=int)
    )
    for head in raw_heads(start(same), same):
        np.testing.assert_allclose(head, np.broadcast_to(head[0], head.shape), atol=1e-4)
