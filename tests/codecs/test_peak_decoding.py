"""Candidates decode to the people of whole maps without filling, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.fast_decoding import without_copies
from ehrpose.codecs.heatmap import draw_gaussians, find_peaks
from ehrpose.deploy.export.peaks import PeakExtractor
from ehrpose.structures import Maps, PeakMaps


def random_maps(rng, k, height, width, num_tags, fine, quantised):
    def heat(factor):
        shape = (k, height * factor, width * factor)
        field = rng.normal(0, 0.15, shape) + (rng.random(shape) < 0.05) * rng.random(shape)
        return (np.round(field * 4) / 4 if quantised else field).astype(np.float32)

    tags = rng.normal(0, 2, (num_tags * k, height, width)).astype(np.float32)
    return Maps(heat(1), tags, heat(2) if fine else None)


def extract(maps, max_candidates):
    fields = [None if field is None else torch.from_numpy(field)[None] for field in maps]
    peaks = PeakExtractor(max_candidates, len(maps.heat4))(Maps(*fields))
    return PeakMaps(*(field[0].numpy() for field in peaks))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("fine", "num_tags"), [(True, 1), (True, 2), (False, 1)])
def test_candidates_give_the_same_people(five_keypoints, seed, unbiased, fine, num_tags):
    rng = np.random.default_rng(seed)
    strides = (4, 2) if fine else (4,)
    options = (
        {"place_weight": 1.5, "score_power": 2.0, "score_size": 0.25, "max_spread": 3.0} if seed % 2 else {}
    )
    codec = AssociativeEmbedding(
        32,
        five_keypoints,
        strides=strides,
        unbiased=unbiased,
        fill_missing=False,
        max_candidates=20,
        **options,
    )
    maps = random_maps(rng, 5, 8, 10, num_tags, fine, quantised=seed % 3 == 2)
    wanted = codec.decode(maps)
    # A top-k may choose any of equal values: for these maps all pixels are candidates.
    found = codec.decode_peaks(extract(maps, 20 if seed % 3 != 2 else maps.heat4[0].size), (40, 32))
    assert len(wanted) > 3
    for name in ("keypoints", "keypoint_scores", "scores", "tags"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


def test_maps_without_a_peak_have_no_people(five_keypoints):
    codec = AssociativeEmbedding(32, five_keypoints)
    empty = Maps(*(np.zeros((5, 8 * s, 8 * s), np.float32) for s in (1, 1, 2)))
    assert len(codec.decode_peaks(extract(empty, 30), (32, 32))) == 0
    assert len(codec.decode_peaks(extract(empty, 30), [32, np.int64(32)])) == 0


def test_what_does_not_fit_is_refused(five_keypoints):
    empty = Maps(*(np.zeros((5, 8 * s, 8 * s), np.float32) for s in (1, 1, 2)))
    peaks = extract(empty, 30)
    codec = AssociativeEmbedding(32, five_keypoints)
    with pytest.raises(ValueError, match="peak_cross: expected shape"):
        codec.decode_peaks(peaks._replace(peak_cross=peaks.peak_cross[:, :, :3]), (32, 32))
    with pytest.raises(ValueError, match="peak_heat contains NaN"):
        codec.decode_peaks(peaks._replace(peak_heat=peaks.peak_heat * np.nan), (32, 32))
    with pytest.raises(ValueError, match="mode 'fast'"):
        AssociativeEmbedding(32, five_keypoints, mode="paper").decode_peaks(peaks, (32, 32))


def people_between_pixels(side=24, num_people=4):
    """Maps of people whose keypoints lie about halfway between pixels, with clear tags."""
    rng = np.random.default_rng(3)
    heat4, heat2, tags = (np.zeros((5, side * s, side * s), np.float32) for s in (1, 2, 1))
    for person in range(num_people):
        at = 8 + 10 * np.array([person % 2, person // 2]) + rng.integers(-1, 2, (5, 2))
        fine = 2 * at + rng.choice([0, 0.5], (5, 2)) + rng.choice([-1e-3, 1e-3], (5, 2))
        draw_gaussians(heat2, fine, np.arange(5), 2.5)
        draw_gaussians(heat4, (fine + 0.5) / 2 - 0.5, np.arange(5), 1.5)
        for k, (x, y) in enumerate(at):
            tags[k, y - 3 : y + 4, x - 3 : x + 4] = 10 * person
    return Maps(heat4, tags, heat2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_flat_tops_of_rounded_maps_are_one_keypoint(five_keypoints, dtype):
    codec = AssociativeEmbedding(96, five_keypoints, fill_missing=False)
    exact = people_between_pixels()
    rounded = Maps(*(None if m is None else torch.from_numpy(m).to(dtype).float().numpy() for m in exact))
    # The input shows what it has to: rounded maps have more pixels that no neighbour exceeds.
    assert (extract(rounded, 30).peak_scores > 0.5).sum() > (extract(exact, 30).peak_scores > 0.5).sum() == 20
    wanted = codec.decode(exact)
    assert len(wanted) == 4
    for found in (codec.decode(rounded), codec.decode_peaks(extract(rounded, 30), (96, 96))):
        assert len(found) == 4
        distance = np.linalg.norm(found.keypoints[:, None] - wanted.keypoints, axis=-1).max(axis=-1)
        assert distance.min(axis=1).max() < 0.3
        assert sorted(distance.argmin(axis=1)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        (["##", "##"], 1),
        (["###"], 1),
        ([".#", "#."], 1),
        (["#.", ".#"], 1),
        (["#.#"], 2),
        (["#", ".", "#"], 2),
    ],
)
@pytest.mark.parametrize("at", [(0, 0), (0, 13), (13, 0), (5, 5)])
def test_pixels_of_one_flat_top_count_once(rows, number, at):
    heat = np.zeros((3, 16, 16), np.float32)
    for y, row in enumerate(rows):
        for x, pixel in enumerate(row):
            heat[1, at[0] + y, at[1] + x] = 0.5 * (pixel == "#")
    heat[0, 15, 15] = heat[2, 0, 0] = heat[2, 0, 9] = 0.5  # of other types, next to it in memory
    peaks = without_copies(find_peaks(heat, 3, 0.1, 30))
    assert np.diff(peaks.offsets).tolist() == [1, number, 2]
    assert peaks.types.tolist() == [0] + [1] * number + [2, 2]
    first = np.argwhere(heat[1])[0]
    assert (peaks.ys[1], peaks.xs[1]) == tuple(first)
