"""Values that do not belong where they stand, for property tests of files of labels."""

from __future__ import annotations

import copy

from four_photos import RLE, K
from hypothesis import strategies as st

POINTS = [10, 8, 2] * K
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        ["", "0", "1", "x", "12.5", [], {}, [[]], [None], {"counts": [1], "size": [1, 1]}, 10**400]
    ),
    st.sampled_from([0, 1, 2, -3, 0.5, 1e300, float("nan"), float("inf"), RLE, [POINTS], POINTS]),
    st.integers(),
    st.floats(),
    st.lists(st.one_of(st.none(), st.integers(-5, 70), st.floats(), st.text(max_size=2)), max_size=6),
    st.dictionaries(st.sampled_from(["counts", "size", "id", "x"]), st.integers(-2, 9), max_size=2),
)
GONE = object()


def places(node, at=()) -> list[tuple]:
    """Return the paths of all values of a JSON content."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for key, value in pairs for path in ((*at, key), *places(value, (*at, key)))]


def mutated(content, path: tuple, value):
    """Return a copy of a JSON content with another value at a path; GONE deletes it."""
    content = copy.deepcopy(content)
    node = content
    for step in path[:-1]:
        node = node[step]
    if value is GONE:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return content
