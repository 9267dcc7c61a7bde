"""Crops, mirroring, lighting and RandAugment of classifiers."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from ehrpose.datasets.transforms import (
    CenterSquare,
    PackLabel,
    PcaLighting,
    RandAugment,
    RandomMirror,
    RandomResizedCrop,
)
from ehrpose.datasets.transforms.rand_augment import OPERATIONS
from ehrpose.image_warp import warp_points


def photo(height=60, width=100):
    """Blue is the column, green the row."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def test_the_middle_is_cut_out():
    found = CenterSquare(30, share=0.5).transform({"img": photo()})
    # The middle 30 px of the height of 60, unscaled: columns 35 to 64, rows 15 to 44.
    assert np.array_equal(found["img"], photo()[15:45, 35:65])
    whole = CenterSquare(60, share=1.0).transform({"img": photo(60, 60)})
    assert np.array_equal(whole["img"], photo(60, 60))


def test_random_crops_show_what_their_warp_says():
    random.seed(0)
    crop = RandomResizedCrop(32, scale=(0.3, 0.9), rotate=20)
    ratios = []
    for _ in range(20):
        found = crop.transform({"img": photo()})
        assert found["img"].shape == (32, 32, 3)
        linear = found["warp"][:, :2]
        ratios.append(32**2 / (abs(np.linalg.det(linear)) * 6000))
        back = np.linalg.inv(np.vstack([found["warp"], [0, 0, 1]]))[:2]
        x, y = warp_points(np.array([[16.0, 16.0]]), back)[0]
        assert found["img"][16, 16, :2] == pytest.approx([x, y], abs=1.5)
    assert 0.29 < min(ratios) < 0.5 < max(ratios) < 0.91


def test_a_crop_that_does_not_fit_is_the_largest_from_the_middle():
    found = RandomResizedCrop(10, scale=(1.0, 1.0), aspect=(1.0, 1.0)).transform({"img": photo(20, 100)})
    assert found["warp"] == pytest.approx(np.array([[0.5, 0, 4.5 - 49.5 / 2], [0, 0.5, -0.25]]))


def test_mirroring_twice_changes_nothing():
    found = RandomMirror(1.0).transform({"img": photo()})
    assert np.array_equal(found["img"], photo()[:, ::-1])
    again = RandomMirror(1.0).transform(found)
    assert np.array_equal(again["img"], photo())
    assert again["warp"] == pytest.approx(np.eye(2, 3))
    assert again["flip"] is False
    assert RandomMirror(0.0).transform({"img": photo()})["img"] is not None


def test_lighting_shifts_all_pixels_alike():
    random.seed(1)
    found = PcaLighting(0.5).transform({"img": np.full((4, 4, 3), 100, np.uint8)})["img"]
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 1
    # Nearly all of natural photos' variation is in their brightness.
    shift = found[0, 0].astype(int) - 100
    assert np.abs(shift).max() > 2
    assert np.ptp(shift) < np.abs(shift).max()
    assert np.array_equal(PcaLighting(0).transform({"img": photo()})["img"], photo())


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_of_randaugment_keeps_the_form(name):
    noisy = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8), (5, 5), 1)
    before = noisy.copy()
    changed = [OPERATIONS[name](noisy, strength) for strength in (-1.0, 0.5, 1.0)]
    assert np.array_equal(noisy, before), "the input is not written to"
    for image in changed:
        assert (image.shape, image.dtype) == ((40, 50, 3), np.uint8)
    assert all(np.array_equal(image, noisy) for image in changed) == (name == "identity")


def test_randaugment_is_seeded():
    def draw(seed):
        random.seed(seed)
        return RandAugment(3, 8).transform({"img": photo()})["img"]

    assert np.array_equal(draw(4), draw(4))
    assert len({draw(seed).tobytes() for seed in range(8)}) > 4
    assert np.array_equal(RandAugment(0).transform({"img": photo()})["img"], photo())


def test_packing_keeps_label_and_path():
    item = {"img": photo(), "img_id": 3, "img_path": "a.jpg", "gt_label": 7, "width": 200, "height": 120}
    packed = PackLabel().transform(item)
    sample = packed["data_samples"]
    assert (sample.gt_label, sample.img_id, sample.img_path) == (7, 3, "a.jpg")
    assert (sample.ori_shape, sample.input_shape) == ((120, 200), (60, 100))
    assert np.array_equal(packed["inputs"].numpy(), photo().transpose(2, 0, 1))
    assert "gt_label" not in PackLabel().transform({"img": photo()})["data_samples"]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (RandomResizedCrop, {"size": 0}, "size from 1"),
        (RandomResizedCrop, {"size": 8, "scale": (0, 1)}, "scale must be"),
        (RandomResizedCrop, {"size": 8, "aspect": (2, 1)}, "aspect must be"),
        (CenterSquare, {"size": 8, "share": 0}, "share above 0"),
        (RandomMirror, {"prob": 2}, "prob must be"),
        (PcaLighting, {"deviation": -1}, "deviation must be"),
        (RandAugment, {"magnitude": 11}, "magnitude from 0"),
    ],
)
def test_values_out_of_range(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)
