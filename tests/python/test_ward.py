"""Ward's tree over the anchors: which merge first, and what a cut gives."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from bgformer.ward import cut, merges

RNG = np.random.default_rng(0)
ANCHORS = RNG.normal(size=(40, 5))
N_CELLS = RNG.integers(1, 9, size=40)


@pytest.mark.parametrize("k", [1, 2, 7, 25, 40])
def test_with_one_cell_each_it_is_the_tree_of_scipy(k):
    found = cut(merges(ANCHORS, np.ones(40)), k)
    theirs = fcluster(linkage(ANCHORS, "ward"), k, "maxclust")
    assert adjusted_rand_score(found, theirs) == 1


@pytest.mark.parametrize("k", [2, 7, 25])
def test_an_anchor_counts_as_often_as_it_has_cells(k):
    cells = np.repeat(np.arange(40), N_CELLS)
    found = cut(merges(ANCHORS, N_CELLS), k)
    theirs = fcluster(linkage(ANCHORS[cells], "ward"), k, "maxclust")
    assert adjusted_rand_score(found[cells], theirs) == 1


def test_an_anchor_without_cells_goes_to_the_nearest():
    n_cells = N_CELLS.copy()
    n_cells[3] = 0
    nearest = np.square(ANCHORS - ANCHORS[3]).sum(axis=1).argsort()[1]
    assert set(merges(ANCHORS, n_cells)[0]) == {3, nearest}


def test_a_cut_gives_as_many_clusters_as_it_says():
    order = merges(ANCHORS, N_CELLS)
    for k in range(1, 41):
        assert len(np.unique(cut(order, k))) == k
