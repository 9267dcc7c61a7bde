"""The assignment equals SciPy's, also where several are equally cheap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ehrpose.assignment import linear_sum_assignment

scipy_optimize = pytest.importorskip("scipy.optimize")
SIZES = st.tuples(st.integers(0, 9), st.integers(0, 9))


def assert_same(cost):
    for ours, theirs in zip(linear_sum_assignment(cost), scipy_optimize.linear_sum_assignment(cost)):
        np.testing.assert_array_equal(ours, theirs)


@given(arrays.arrays(np.float64, SIZES, elements=st.integers(-2, 2).map(float)))
def test_equal_costs_are_broken_alike(cost):
    assert_same(cost)


@given(arrays.arrays(np.float64, SIZES, elements=st.floats(-1e6, 1e6)))
def test_any_costs(cost):
    assert_same(cost)


@pytest.mark.parametrize("size", [(60, 60), (60, 25), (25, 60)])
def test_crowds(size):
    rng = np.random.default_rng(0)
    assert_same(rng.normal(size=size))
    assert_same(rng.integers(0, 3, size) * 100 - rng.random(size))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_infinite_costs_are_refused(value):
    with pytest.raises(ValueError, match="expected finite costs"):
        linear_sum_assignment(np.array([[0.0, value], [1.0, 2.0]]))
