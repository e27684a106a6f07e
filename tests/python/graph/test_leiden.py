"""Leiden: it ends, it leaves Python's generator alone, and it can be interrupted."""

import random
import signal
import threading

import igraph
import numpy as np
import pytest
from scipy import sparse

from bgformer.graph import leiden


def linked(n, each, seed=0):
    """A random graph of n vertices, with `each` edges per vertex."""
    ends = np.random.default_rng(seed).integers(n, size=(n * each // 2, 2))
    graph = igraph.Graph(n=n, edges=ends.tolist())
    graph.es["weight"] = np.random.default_rng(seed).random(len(ends)).tolist()
    return graph


@pytest.mark.parametrize("resolution", [0.3, 1.0, 5.0])
def test_iterations_one_by_one_are_all_at_once(resolution):
    graph = linked(300, 12)
    igraph.set_random_number_generator(random.Random(3))
    at_once = graph.community_leiden(
        "modularity", weights="weight", resolution=resolution, n_iterations=10
    )
    igraph.set_random_number_generator(random)
    found = leiden.communities(graph, resolution, seed=3)
    np.testing.assert_array_equal(found, at_once.membership)


def test_anchors_that_could_change_places_for_ever_come_to_an_end():
    links = sparse.block_diag([np.ones((40, 40))] * 3).toarray()  # every split is as good
    found = leiden.communities(leiden.graph_of(links), 1.0, seed=0)
    assert len(np.unique(found)) == 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timer")
def test_an_interrupt_at_any_moment_does_not_end_the_process():
    graph, rng = linked(4000, 30), np.random.default_rng(0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)

    def for_ever(graph):
        while True:
            leiden.communities(graph, 1.0, seed=0)

    try:
        for _ in range(20):
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.05))
            with pytest.raises(KeyboardInterrupt):
                for_ever(graph)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no such signals")
def test_an_interrupt_is_seen_between_iterations():
    class Interrupting(igraph.Graph):
        n_iterations = 0

        def community_leiden(self, *args, **kwargs):
            self.n_iterations += 1
            if self.n_iterations == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return super().community_leiden(*args, **kwargs)

    graph = linked(300, 12)
    interrupting = Interrupting(n=graph.vcount(), edges=graph.get_edgelist())
    interrupting.es["weight"] = graph.es["weight"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in a job, it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            leiden.communities(interrupting, 1.0, seed=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupting.n_iterations <= 2
