from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ehrpose.codecs.heatmap import (
    draw_gaussians,
    find_peaks,
    parabola_peak,
    quarter_shift,
    resize_maps,
    sample_bilinear,
)
from ehrpose.codecs.paper_decoding import find_by_tag


def gaussian(height, width, x, y, sigma=2.0):
    yy, xx = np.mgrid[:height, :width]
    return np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize(
    "xy",
    [(8, 9), (8.3, 9.7), (0, 0), (19, 15), (-2, 5), (30, 40)],
    ids=["whole", "fraction", "corner", "far corner", "outside but near", "far outside"],
)
def test_gaussians_equal_the_formula_within_their_radius(xy):
    heatmaps = np.zeros((2, 16, 20), np.float32)
    draw_gaussians(heatmaps, np.array([xy], np.float64), np.array([1]), 2.0)
    wanted = gaussian(16, 20, *xy)
    near = wanted > np.exp(-4.5)  # three sigma
    np.testing.assert_allclose(heatmaps[1][near], wanted[near], atol=1e-6)
    assert heatmaps[1][~near].max(initial=0) <= np.exp(-4.5) + 1e-6
    assert heatmaps[0].max() == 0


def test_parabola_is_exact_for_a_gaussian_and_quiet_at_the_border():
    for x, y in [(8.3, 9.7), (5.5, 5.49), (7, 7)]:
        heat = gaussian(16, 16, x, y)
        px, py = np.array([round(x)]), np.array([round(y)])
        np.testing.assert_allclose(parabola_peak(heat[None], np.array([0]), py, px), [[x, y]], atol=1e-4)
    edge = gaussian(16, 16, 0.4, 8.2)
    np.testing.assert_allclose(
        parabola_peak(edge[None], np.array([0]), np.array([8]), np.array([0])), [[0, 8.2]], atol=1e-4
    )
    np.testing.assert_array_equal(
        parabola_peak(np.ones((1, 4, 4), np.float32), np.array([0]), np.array([2]), np.array([1])), [[1, 2]]
    )


def test_peaks_are_sorted_limited_and_in_raster_order_on_ties():
    heat = np.zeros((12, 12), np.float32)
    heat[1, 1], heat[1, 9], heat[9, 1], heat[9, 9] = 0.5, 0.9, 0.5, 0.1
    peaks = find_peaks(heat[None], 5, 0.1, 30)
    assert list(zip(peaks.xs, peaks.ys)) == [(9, 1), (1, 1), (1, 9)]  # 0.1 is not above 0.1
    np.testing.assert_allclose(peaks.scores, [0.9, 0.5, 0.5])
    limited = find_peaks(np.stack([heat, heat]), 5, 0.1, 2)
    assert list(zip(limited.types, limited.xs, limited.ys)) == [(0, 9, 1), (0, 1, 1), (1, 9, 1), (1, 1, 1)]
    assert limited.offsets.tolist() == [0, 2, 4]


def test_quarter_shift_goes_to_the_higher_neighbour_and_down_on_a_tie():
    heat = np.zeros((5, 5), np.float32)
    heat[2, 2], heat[2, 3], heat[1, 2] = 1, 0.5, 0.5
    np.testing.assert_array_equal(
        quarter_shift(heat[None], np.array([0]), np.array([2]), np.array([2])), [[2.25, 1.75]]
    )
    np.testing.assert_array_equal(
        quarter_shift(np.ones((1, 5, 5), np.float32), np.array([0]), np.array([2]), np.array([2])),
        [[1.75] * 2],
    )


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("shape", [(6, 10), (8, 8)])
def test_resizing_equals_torch(rng, align_corners, shape):
    maps = rng.random((3, *shape)).astype(np.float32)
    size = (shape[1] * 4, shape[0] * 4)
    wanted = F.interpolate(
        torch.from_numpy(maps)[None], size=size[::-1], mode="bilinear", align_corners=align_corners
    )
    np.testing.assert_allclose(resize_maps(maps, size, align_corners), wanted[0].numpy(), atol=1e-6)


def test_bilinear_samples_lie_on_a_plane(rng):
    yy, xx = np.mgrid[:8, :9]
    plane = (2 * xx + 3 * yy).astype(np.float32)[None]
    maps, channels = np.concatenate([plane, -plane]), rng.integers(0, 2, 20)
    xy = rng.uniform(0, 7, (20, 2))
    wanted = (2 * xy[:, 0] + 3 * xy[:, 1]) * (1 - 2 * channels)
    np.testing.assert_allclose(sample_bilinear(maps, channels, xy), wanted, rtol=1e-5, atol=1e-5)
    corners = sample_bilinear(plane, np.array([0, 0]), np.array([[-5, -5], [50, 50]]))
    np.testing.assert_allclose(corners, [0, 2 * 8 + 3 * 7])


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("shape", [(3, 13, 17), (3, 12, 16), (3, 1, 1), (3, 2, 40), (3, 40, 1)])
@pytest.mark.parametrize("kind", ["sparse", "dense", "flat", "ties"])
def test_peaks_of_many_types_are_those_of_a_plain_search(rng, kind, shape, window):
    heat = rng.random(shape).astype(np.float32)
    if kind == "sparse":
        heat *= rng.random(heat.shape) < 0.05
    elif kind == "flat":
        heat[:] = 0.5
    elif kind == "ties":
        heat = np.round(heat * 3) / 3
    peaks = find_peaks(heat, window, 0.1, 30)
    (_, height, width), reach = shape, window // 2
    for k in range(3):
        padded, steps = np.pad(heat[k], reach), range(window)
        highest = np.max([padded[y : y + height, x : x + width] for y in steps for x in steps], axis=0)
        found = [(-heat[k, y, x], y, x) for y, x in np.argwhere((heat[k] == highest) & (heat[k] > 0.1))]
        mine = slice(peaks.offsets[k], peaks.offsets[k + 1])
        assert (peaks.types[mine] == k).all()
        got = list(zip(-peaks.scores[mine], peaks.ys[mine], peaks.xs[mine]))
        assert got == sorted(found)[:30]


@pytest.mark.parametrize("seed", range(40))
def test_filling_equals_the_scan_of_the_whole_map(seed):
    # Small numbers of pixels force the fallback; quantised values force ties; offsets exceed 0 to 1.
    rng = np.random.default_rng(seed)
    heat = rng.normal(0.2, 0.5 if seed % 2 else 2.0, (12, 13)).astype(np.float32)
    tags = rng.normal(0, 2, (1 + seed % 2, 12, 13)).astype(np.float32)
    if seed % 3 == 0:
        heat, tags = np.round(heat * 4) / 4, np.round(tags * 2) / 2
    people = rng.normal(0, 4, (5, len(tags)))
    got = find_by_tag(heat, tags, people, num_top=int(rng.integers(1, 200)))
    for n, tag in enumerate(people):
        distance = np.sqrt(((tags.astype(np.float64) - tag[:, None, None]) ** 2).sum(axis=0))
        assert got[n] == np.argmax(heat - np.round(distance))
