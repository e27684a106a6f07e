"""Mergers of groups by their links, on graphs small enough to reckon by hand."""

import numpy as np
import pytest

from bgformer.graph.mergers import link_values, links_between, mergers, numbered, without_leaving


@pytest.fixture
def chain():
    """Four anchors in a row: links of 4, 1 and 2."""
    links = np.zeros((4, 4))
    for i, weight in enumerate((4, 1, 2)):
        links[i, i + 1] = links[i + 1, i] = weight
    return links


def test_links_between_clusters_are_shares_of_all(chain):
    between = links_between(chain, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(between, np.array([[8, 1], [1, 4]]) / 14)


def test_the_two_with_most_links_for_their_size_are_merged_first(chain):
    values, levels = zip(*mergers(chain, np.arange(4), 0.5), strict=True)
    assert [len(np.unique(level)) for level in levels] == [3, 2, 1]
    np.testing.assert_array_equal(numbered(levels[1]), [0, 0, 1, 1])
    assert values[-1] == pytest.approx(1 / np.sqrt(9 * 5))


def test_mergers_stay_within_coarser_clusters(chain):
    within = np.array([0, 0, 0, 1])
    levels = [level for _, level in mergers(chain, np.arange(4), 1, within)]
    np.testing.assert_array_equal(numbered(levels[-1]), within)


def test_groups_without_links_have_a_value_of_zero():
    assert (link_values(np.zeros((3, 3)), 1) == 0).all()


def test_a_group_that_most_links_lead_out_of_joins_its_neighbour(chain):
    joined = without_leaving(chain, np.arange(4))
    np.testing.assert_array_equal(numbered(joined), [0, 0, 1, 1])
