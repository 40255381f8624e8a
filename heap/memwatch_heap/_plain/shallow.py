"""Whose memory an engine's private array really is."""

import numpy as np
from numpy.typing import NDArray


def give_to_owners(
    first: NDArray[np.uint32],
    edge_type: NDArray[np.uint8],
    to: NDArray[np.uint32],
    private: NDArray[np.uint8],
    aloof: NDArray[np.uint8],
    weak: int,
    sizes: NDArray[np.int64],
) -> None:
    """Walks from each owner by itself and notes all whom a private node could belong to."""
    owners: dict[int, set[int]] = {}
    for owner in np.flatnonzero(private == 0).tolist():
        stack, seen = [owner], {owner}
        while stack:
            v = stack.pop()
            for e in range(int(first[v]), int(first[v + 1])):
                w = int(to[e])
                if edge_type[e] != weak and private[w] and w not in seen:
                    seen.add(w)
                    stack.append(w)
                    owners.setdefault(w, set()).add(owner)
    for node, found in owners.items():
        owner = min(found)
        if len(found) == 1 and not aloof[owner]:
            sizes[owner] += sizes[node]
            sizes[node] = 0
