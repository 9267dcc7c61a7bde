"""Candidates decode to the people of whole maps without filling, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.codecs import AssociativeEmbedding
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
