"""The skeleton as a graph: hop distances and edge kinds along carriers, which bias the joint attention."""

from __future__ import annotations

import numpy as np

from ..carriers import descendants

HOPS = 8  # distance 7 and beyond, and other trees, share the last bucket
EDGES = 5  # self, ancestor, descendant, sibling, other


def skeleton_graph(carriers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """hop (J, J) and edge (J, J) int64 from carriers (J,) with -1 for roots.

    edge[i, j] says what j is to i: 0 itself, 1 an ancestor, 2 a descendant, 3 a sibling, 4 anything else.
    """
    count = len(carriers)
    distance = np.full((count, count), count + HOPS, np.int64)
    np.fill_diagonal(distance, 0)
    linked = np.flatnonzero(carriers >= 0)
    distance[linked, carriers[linked]] = distance[carriers[linked], linked] = 1
    for k in range(count):
        np.minimum(distance, distance[:, k : k + 1] + distance[k : k + 1], out=distance)

    ancestor = descendants(carriers).T
    sibling = (carriers[:, None] == carriers[None]) & (carriers[:, None] >= 0)
    edge = np.full((count, count), 4, np.int64)
    edge[sibling] = 3
    edge[ancestor.T] = 2
    edge[ancestor] = 1
    np.fill_diagonal(edge, 0)
    return np.minimum(distance, HOPS - 1), edge
