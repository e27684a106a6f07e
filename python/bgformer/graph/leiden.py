"""Leiden communities of a weighted graph, by igraph."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import igraph
import numpy as np

_ITERATIONS = 10
"""Maximum number of Leiden iterations. Leiden can cycle between equivalent partitions for ever."""
_UNCHANGED = 2
"""Number of iterations without a change after which Leiden ends. After a single one, it can still
find a better partition."""


def graph_of(links: np.ndarray) -> igraph.Graph:
    """Return the graph with these weights, m x m and symmetric, on its edges."""
    rows, columns = np.nonzero(np.triu(links))
    graph = igraph.Graph(n=len(links), edges=np.column_stack([rows, columns]).tolist())
    graph.es["weight"] = links[rows, columns].tolist()
    return graph


def communities(graph: igraph.Graph, resolution: float, seed: int) -> np.ndarray:
    """Return Leiden communities by modularity, shape (m,) (Traag et al. 2019)."""
    found: list[int] | None = None

    def iterated() -> list[int]:
        clustering = graph.community_leiden(
            "modularity",
            weights="weight",
            resolution=resolution,
            n_iterations=1,
            initial_membership=found,
        )
        membership: list[int] = clustering.membership
        return membership

    # igraph uses Python's generator, in each thread the one that was set there; a private one
    # leaves the caller's state unchanged. Python handles signals in the main thread alone: inside
    # igraph, a handler that raises an error would end the process, because igraph then frees
    # memory twice.
    own = random.Random(seed)
    try:
        with ThreadPoolExecutor(
            1, initializer=igraph.set_random_number_generator, initargs=(own,)
        ) as another:
            unchanged = 0
            for _ in range(_ITERATIONS):
                before, found = found, another.submit(iterated).result()
                unchanged = unchanged + 1 if found == before else 0
                if unchanged == _UNCHANGED:
                    break
    finally:
        igraph.set_random_number_generator(random)
    return np.array(found)
