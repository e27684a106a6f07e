"""The two heads: each dimension of the latent and each anchor belongs to exactly one."""

import numpy as np
import pytest

from bgformer.network.heads import LEAST_LATENT, N_HEADS, head_anchors, head_columns


@pytest.mark.parametrize("n_latent", [*range(LEAST_LATENT, 70), 512])
def test_every_dimension_belongs_to_one_head_and_each_head_has_two(n_latent):
    columns = head_columns(n_latent)
    assert len(columns) == N_HEADS
    everything = np.concatenate([np.arange(n_latent)[part] for part in columns])
    np.testing.assert_array_equal(everything, np.arange(n_latent))
    assert min(part.stop - part.start for part in columns) >= 2


@pytest.mark.parametrize("n_anchors", [*range(N_HEADS, 70), 1024])
def test_every_anchor_belongs_to_one_head_and_both_have_as_many(n_anchors):
    linear, learned = (np.arange(n_anchors)[part] for part in head_anchors(n_anchors))
    np.testing.assert_array_equal(np.concatenate([linear, learned]), np.arange(n_anchors))
    assert len(learned) <= len(linear) <= len(learned) + 1


def test_of_32_dimensions_the_linear_head_has_20():
    assert head_columns(32) == (slice(0, 20), slice(20, 32))
