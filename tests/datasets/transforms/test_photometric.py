from __future__ import annotations

import random

import numpy as np
import pytest

from ehrpose.datasets.transforms import PhotometricDistortion, RandomErase

OFF = {"brightness": 0, "contrast": (1, 1), "saturation": (1, 1), "hue": 0, "prob": 1}


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (40, 50, 3), np.uint8)


def distort(image: np.ndarray, **settings) -> np.ndarray:
    return PhotometricDistortion(**{**OFF, **settings})({"img": image})["img"]


@pytest.mark.parametrize(
    "settings", [{}, {"prob": 0, "brightness": 50, "hue": 90}], ids=["neutral", "prob 0"]
)
def test_nothing_changes_without_reason(settings):
    np.testing.assert_array_equal(distort(photo(), **settings), photo())


def test_brightness_shifts_all_alike():
    random.seed(1)
    difference = distort(photo(), brightness=32).astype(int) - photo()
    assert len(np.unique(difference)) == 1
    assert 0 < abs(difference[0, 0, 0]) <= 32


def test_contrast_turns_about_mid_grey():
    image = distort(photo(), contrast=(0.5, 0.5)).astype(float)
    np.testing.assert_allclose(image - 127.5, (photo().astype(float) - 127.5) * 0.5, atol=0.51)


def test_no_saturation_is_grey_and_hue_turns_colours():
    grey = distort(photo(), saturation=(0, 0))
    assert np.ptp(grey, axis=2).max() == 0
    random.seed(0)
    red = np.full((4, 4, 3), (0, 0, 255), np.uint8)
    turned = distort(red, hue=180)[0, 0].tolist()
    assert turned != [0, 0, 255]
    assert max(turned) == 255
    assert min(turned) == 0


def test_values_stay_in_8_bit_and_the_input_is_not_changed():
    random.seed(0)
    extremes = np.array([[[0, 0, 0], [255, 255, 255], [0, 255, 0]]], np.uint8)
    before = extremes.copy()
    for _ in range(50):
        image = distort(extremes, brightness=255, contrast=(0, 3), saturation=(0, 3), hue=180, prob=0.7)
        assert image.dtype == np.uint8
        assert image.shape == extremes.shape
    np.testing.assert_array_equal(extremes, before)


@pytest.mark.parametrize(
    "settings",
    [{"brightness": -1}, {"hue": 181}, {"prob": 1.1}, {"contrast": (2, 1)}, {"saturation": (1,)}],
    ids=str,
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be"):
        PhotometricDistortion(**settings)


def test_erased_rectangles_have_one_colour_and_stay_within_their_limits():
    random.seed(0)
    image = photo()
    before = image.copy()
    seen = 0
    for _ in range(20):
        results = RandomErase(prob=1.0, max_number=1, side=(0.2, 0.5))({"img": image, "keypoints": "kept"})
        changed = (results["img"] != image).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert len(rows) <= 0.5 * len(image) + 1
        assert len(columns) <= 0.5 * image.shape[1] + 1
        part = results["img"][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].reshape(-1, 3)
        assert (part == part[0]).all()
        assert results["keypoints"] == "kept"
        seen += changed.any()
    assert seen == 20
    np.testing.assert_array_equal(image, before)
    assert RandomErase(prob=0.0)({"img": image})["img"] is image


@pytest.mark.parametrize(
    "settings", [{"prob": 2}, {"max_number": 0}, {"side": (0.5, 0.2)}, {"side": (0, 0.5)}]
)
def test_bad_settings_of_erasing_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be .*, got"):
        RandomErase(**settings)
