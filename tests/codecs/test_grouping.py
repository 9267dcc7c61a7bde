from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrpose.codecs.grouping import group_by_tag


def brute_force_pairs(cost):
    """Return the minimum total cost of a maximum matching of rows with columns."""
    rows, columns = cost.shape
    if rows > columns:
        return brute_force_pairs(cost.T)
    return min(
        sum(cost[r, c] for r, c in enumerate(choice))
        for choice in itertools.permutations(range(columns), rows)
    )


def test_two_people_are_told_apart_by_their_tags():
    tags = [np.array([[0.0], [5.0]]), np.array([[5.1], [0.1]]), np.array([[4.9]])]
    groups = group_by_tag([np.array([0.9, 0.8]), np.array([0.7, 0.6]), np.array([0.5])], tags, (0, 1, 2))
    assert groups.candidate.tolist() == [[0, 1, -1], [1, 0, 0]]
    np.testing.assert_allclose(groups.tags[:, 0], [0.05, 5.0], atol=1e-9)


@pytest.mark.parametrize(
    ("distance", "num_people"),
    [(0.99, 1), (1.0, 1), (1.01, 2)],
    ids=["within joins", "at the limit joins", "beyond starts a new person"],
)
def test_the_tag_distance_limit(distance, num_people):
    groups = group_by_tag(
        [np.array([0.9]), np.array([0.9])], [np.zeros((1, 1)), np.full((1, 1), distance)], (0, 1)
    )
    assert len(groups) == num_people


def test_equal_tags_of_one_type_are_two_people():
    groups = group_by_tag([np.array([0.9, 0.8])], [np.zeros((2, 1))], (0,))
    assert groups.candidate.tolist() == [[0], [1]]


def test_the_higher_score_wins_among_equal_tags():
    scores = [np.array([0.9]), np.array([0.2, 0.8])]
    groups = group_by_tag(scores, [np.zeros((1, 1)), np.zeros((2, 1))], (0, 1))
    assert groups.candidate.tolist() == [[0, 1], [-1, 0]]


def test_order_decides_who_starts_people():
    scores, tags = [np.array([0.5]), np.array([0.5])], [np.array([[0.0]]), np.array([[0.9]])]
    assert group_by_tag(scores, tags, (1, 0)).candidate.tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="order"):
        group_by_tag(scores, tags, (0, 0))


def test_no_candidates_no_people():
    groups = group_by_tag([np.zeros(0)] * 3, [np.zeros((0, 2))] * 3, (0, 1, 2))
    assert len(groups) == 0
    assert groups.candidate.shape == (0, 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_matching_has_the_least_total_cost(data):
    people, candidates = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    values = st.lists(st.floats(0, 4), min_size=1, max_size=1)
    first = np.array(data.draw(st.lists(values, min_size=people, max_size=people)))
    second = np.array(data.draw(st.lists(values, min_size=candidates, max_size=candidates)))
    score = np.array(data.draw(st.lists(st.floats(0.1, 1), min_size=candidates, max_size=candidates)))
    groups = group_by_tag([np.full(people, 0.5), score], [first, second], (0, 1), max_tag_dist=np.inf)
    cost = np.round(np.abs(second - first.T)) * 100 - score[:, None]
    both = groups.candidate[(groups.candidate >= 0).all(axis=1)]
    assert len(both) == min(people, candidates)
    assert sum(cost[c, p] for p, c in both) == pytest.approx(brute_force_pairs(cost))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
def test_every_candidate_belongs_to_exactly_one_person(seed, num_types, most):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, num_types)
    groups = group_by_tag(
        [rng.random(n) for n in counts], [rng.normal(0, 2, (n, 2)) for n in counts], range(num_types)
    )
    for k, n in enumerate(counts):
        members = groups.candidate[:, k]
        assert sorted(members[members >= 0]) == list(range(n))
