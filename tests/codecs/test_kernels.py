"""The compiled loops are bit-identical to their NumPy versions."""

import platform
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ehrpose.codecs import AssociativeEmbedding, fast_decoding, grouping, heatmap, sides
from ehrpose.codecs.accelerator import kernel, kernels
from ehrpose.structures import Maps, People

compiled = pytest.importorskip("ehrpose.codecs.compiled.kernels", reason="numba is not installed")
numba = pytest.importorskip("numba")
assign = pytest.importorskip("ehrpose.codecs.compiled.grouping_kernels").assign
fill_kernels = pytest.importorskip("ehrpose.codecs.compiled.fill_kernels")
peak_kernels = pytest.importorskip("ehrpose.codecs.compiled.peak_kernels")

SEEDS = range(12)
changed_sides = []


def random_maps(seed, num_types=5, num_tags=1):
    """Maps with flat parts, negative values and few levels, so that there are ties; not square."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 80, 2)
    heat = rng.normal(0, 0.2, (num_types, height, width)).astype(np.float32)
    if seed % 3 == 0:
        heat = np.round(heat * 8) / 8
    if seed % 4 == 0:
        heat[:, : height // 2] = rng.choice([0.0, 0.5, 1.0])
    tags = rng.normal(0, 2, (num_tags, num_types, height, width)).astype(np.float32)
    return heat, np.round(tags) if seed % 2 else tags


def both_ways(monkeypatch, function):
    """Results of ``function`` with and without the compiled loops."""
    answers = []
    for switch, module in (("1", compiled), ("0", None)):
        monkeypatch.setenv("EHRPOSE_NUMBA", switch)
        kernels.cache_clear()
        assert kernels() is module
        answers.append(function())
    monkeypatch.undo()
    kernels.cache_clear()
    return answers


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a, b)


def test_every_loop_is_asked_for_by_its_name():
    sources = "".join(path.read_text() for path in Path(heatmap.__file__).parent.glob("*.py"))
    assert sorted(re.findall(r'kernel\("(\w+)"\)', sources)) == sorted(compiled.__all__)
    assert all(kernel(name) is getattr(compiled, name) for name in compiled.__all__)


def test_the_switch_leaves_numpy(monkeypatch):
    monkeypatch.setenv("EHRPOSE_NUMBA", "0")
    kernels.cache_clear()
    assert all(kernel(name) is None for name in compiled.__all__)
    monkeypatch.undo()
    kernels.cache_clear()


@pytest.mark.parametrize("num_tags", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_people(monkeypatch, seed, num_tags):
    heat, tags = random_maps(seed, num_tags=num_tags)
    peaks = heatmap.find_peaks(heat, 5, min_score=[0.1, -0.1][seed % 2], max_peaks=[30, 3][seed % 2])
    peak_tags = tags[:, peaks.types, peaks.ys, peaks.xs].T

    def run():
        order = np.arange(len(heat))[::-1]
        people = grouping.group_candidates(peaks.scores, peak_tags, peaks.offsets, order, max_tag_dist=1.0)
        return [people.candidate, people.tags]

    assert_same(*both_ways(monkeypatch, run))


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_local_maxima(monkeypatch, seed, reach):
    heat, _ = random_maps(seed)
    least = np.float32([0.1, 0.3, -0.1][seed % 3])
    assert_same(*both_ways(monkeypatch, lambda: [heatmap._local_maxima(heat, reach, least)]))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for an x86 instruction")
@pytest.mark.parametrize("loop", [fill_kernels._highest, peak_kernels._highest], ids=["fill", "peaks"])
def test_the_maximum_of_a_row_is_taken_in_vector_registers(loop):
    anew = numba.njit(loop.py_func)
    row = np.zeros(100, np.float32)
    anew(*[row, row, np.float32(0)][: 3 if loop is fill_kernels._highest else 1])
    (assembly,) = anew.inspect_asm().values()
    assert "maxps" in assembly


@pytest.mark.parametrize("num_tags", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_best_in_windows(seed, num_tags):
    heat, tags = random_maps(seed, num_tags=num_tags)
    rng = np.random.default_rng(seed)
    sides = np.array(heat.shape[:0:-1])
    number = 4
    low = (rng.random((number, 2)) * sides).astype(np.int64)
    high = np.minimum(low + rng.integers(1, 40, (number, 2)), sides)
    owners, types = (a.ravel() for a in np.meshgrid(np.arange(number), np.arange(len(heat)), indexing="ij"))
    person_tags = rng.normal(0, 2, (number, num_tags)).astype(np.float32)
    arguments = heat, tags, person_tags, owners, types, low, high
    assert_same(fast_decoding._best_in_windows(*arguments), compiled.best_in_windows(*arguments))


@pytest.mark.parametrize("num_tags", [1, 2, 9])
@pytest.mark.parametrize("seed", range(40))
def test_separate_sides(monkeypatch, seed, num_tags):
    """People and candidates on a coarse grid, so that pairs share places and scores are equal; some lack a keypoint."""
    rng = np.random.default_rng(seed)
    number, pairs = int(rng.integers(0, 6)), ((2, 3, 0, 1), (4, 5, 2, 3))
    keypoints = (rng.integers(0, 8, (number, 6, 2)) * 6).astype(np.float32)
    keypoint_scores = (rng.integers(0, 6, (number, 6)) / 5).astype(np.float32)
    keypoint_scores[rng.random((number, 6)) < 0.9] += 0.1
    tags = np.round(rng.normal(0, 0.6, (number, num_tags)), 1).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 6))])
    candidates = offsets[-1]
    positions = rng.integers(0, 8, (candidates, 2)) * 6 + np.round(rng.normal(0, 1, (candidates, 2)), 1)
    scores = (rng.integers(1, 9, candidates) / 8).astype(np.float32)
    candidate_tags = np.round(rng.normal(0, 0.6 / num_tags, (candidates, num_tags)), 1).astype(np.float32)
    sigmas = np.full(6, 0.08)

    def run():
        people = People(keypoints.copy(), keypoint_scores.copy(), np.ones(number), tags)
        sides.separate_sides(
            people, positions, scores, candidate_tags, offsets, pairs, sigmas, 1.0, [0.5, 0.0][seed % 2], 0.3
        )
        return [people.keypoints, people.keypoint_scores]

    one, other = both_ways(monkeypatch, run)
    assert_same(one, other)
    changed_sides.append(bool((one[0] != keypoints).any()))


def test_sides_changed_in_many_of_these():
    assert not changed_sides or np.mean(changed_sides) > 0.3


@pytest.mark.parametrize("levels", [None, 2, 5])
@pytest.mark.parametrize("seed", range(40))
def test_assignment_chooses_as_scipy_does(seed, levels):
    rng = np.random.default_rng(seed)
    cost = rng.normal(0, 100, rng.integers(1, 12, 2))
    if levels:
        cost = np.round(cost / 100 * levels)
    rows, columns = linear_sum_assignment(cost)
    expected = np.full(len(cost), -1)
    expected[rows] = columns
    np.testing.assert_array_equal(assign(cost), expected)


@pytest.mark.parametrize("mode", ["fast", "paper"])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_decoding(monkeypatch, five_keypoints, seed, mode, unbiased):
    codec = AssociativeEmbedding(64, five_keypoints, unbiased=unbiased, mode=mode)
    rng = np.random.default_rng(seed)
    sizes = {"heat4": 16, "tag4": 16, "heat2": 32}
    maps = Maps(
        **{name: rng.normal(0, 0.2, (5, side, side)).astype(np.float32) for name, side in sizes.items()}
    )

    def run():
        people = codec.decode(maps)
        return [people.scores, people.keypoints, people.keypoint_scores, people.tags]

    assert_same(*both_ways(monkeypatch, run))
