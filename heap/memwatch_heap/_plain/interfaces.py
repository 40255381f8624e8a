"""Shapes of plain objects: which have the same properties, and which match a definition."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]


def _properties(
    first: U32, edge_type: U8, edge_name: U32, v: int, kind: int, skipped: int
) -> Iterator[tuple[int, int]]:
    """(edge, name) of a node's properties."""
    for e in range(int(first[v]), int(first[v + 1])):
        if edge_type[e] == kind and edge_name[e] != skipped:
            yield e, int(edge_name[e])


def group_shapes(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    nodes: U32,
    kind: int,
    skipped: int,
    width: U8,
    limit: int,
) -> tuple[U32, U32, U32, U32]:
    groups: dict[tuple[int, ...], int] = {}
    sample: list[int] = []
    ends: list[int] = []
    group: list[int] = []
    for v in nodes.tolist():
        shape: list[int] = []
        used, end = 1, int(first[v])
        for e, name in _properties(first, edge_type, edge_name, v, kind, skipped):
            if limit:
                if used > 1 and used + int(width[name]) > limit:
                    break
                used += int(width[name]) + (2 if used != 1 else 0)
            shape.append(name)
            end = e + 1
        if groups.setdefault(tuple(shape), len(sample)) == len(sample):
            sample.append(v)
            ends.append(end)
        group.append(groups[tuple(shape)])
    found = np.array(group, np.uint32)
    counts = np.bincount(found, minlength=len(sample)).astype(np.uint32)
    return found, np.array(sample, np.uint32), np.array(ends, np.uint32), counts


def match_shapes(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    nodes: U32,
    kind: int,
    skipped: int,
    token_of: I32,
    follower: I32,
    place: NDArray[np.int64],
    users: I32,
    needed: I32,
) -> NDArray[np.int64]:
    needs: list[set[int]] = [set() for _ in needed]
    for token in range(len(place) - 1):
        for d in users[place[token] : place[token + 1]].tolist():
            needs[d].add(token)
    best = np.full(len(nodes), -1, np.int64)
    for i, v in enumerate(nodes.tolist()):
        names = Counter(n for _, n in _properties(first, edge_type, edge_name, v, kind, skipped))
        tokens: set[int] = set()
        for name, times in names.items():
            token = int(token_of[name])
            for _ in range(times):
                if token >= 0:
                    tokens.add(token)
                    token = int(follower[token])
        fitting = [d for d, need in enumerate(needs) if need and need <= tokens]
        best[i] = min(fitting, key=lambda d: (-needed[d], d), default=-1)
    return best


def name_widths(data: U8, closing: NDArray[Any], wanted: U8, width: U8) -> None:
    low = 0
    for i, end in enumerate(closing.tolist()):
        text = data[low:end].tobytes()
        text = text[text.index(b'"') + 1 :]
        low = end + 1
        if wanted[i]:
            plain = text.isascii() and not set(text) & set(b"\\,'{}")
            width[i] = min(len(text), 254) if plain else 255


def mark_names(
    first: U32, edge_type: U8, edge_name: U32, nodes: U32, kind: int, wanted: U8
) -> None:
    for v in nodes.tolist():
        edges = slice(int(first[v]), int(first[v + 1]))
        wanted[edge_name[edges][edge_type[edges] == kind]] = 1
