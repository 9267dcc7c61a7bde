"""Drawn shapes and scikit-learn's digits."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ehrpose.datasets.classification import Digits, DrawnShapes
from ehrpose.datasets.classification.drawn_shapes import CLASSES, SHAPES, TEXTURES, _outline


def test_images_depend_on_seed_and_index_alone():
    first, second = DrawnShapes(length=60), DrawnShapes(length=60)
    assert len(CLASSES) == len(set(CLASSES)) == 20
    assert [first.get_data_info(i)["gt_label"] for i in range(20)] == list(range(20))
    assert np.array_equal(first[33]["img"], second[33]["img"])
    assert not np.array_equal(first[33]["img"], DrawnShapes(length=60, seed=1)[33]["img"])
    assert not np.array_equal(first[33]["img"], first[53]["img"])
    assert first[0]["img"].shape == (64, 64, 3)
    assert first[0]["img"].dtype == np.uint8


def test_shapes_have_the_areas_of_their_formulas():
    wanted = {"disc": np.pi, "square": 2, "triangle": 3 * 3**0.5 / 4}
    for shape, area in wanted.items():
        found = _outline(shape, np.array([100.0, 100.0]), 80, 0.3, 200).sum() / 80**2
        assert found == pytest.approx(area, rel=0.03), shape
    areas = [_outline(shape, np.array([100.0, 100.0]), 80, 0.3, 200).sum() for shape in SHAPES]
    assert len(set(areas)) == len(SHAPES)


def test_textures_have_two_colours_and_plain_has_one():
    dataset = DrawnShapes(length=20, image_size=128, size=(0.9, 0.9), clutter=0)
    spread = [dataset[i]["img"][44:84, 44:84].std() for i in range(20)]
    plain = [value for i, value in enumerate(spread) if TEXTURES[i % 4] == "plain"]
    assert max(plain) < min(value for i, value in enumerate(spread) if TEXTURES[i % 4] != "plain")


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"seed": -1}, {"image_size": 8}, {"size": (0.9, 0.5)}, {"clutter": 2}]
)
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected"):
        DrawnShapes(**wrong)


def test_digits_are_split_in_five():
    pytest.importorskip("sklearn", reason="scikit-learn is optional")
    train, test = Digits(), Digits("test", image_size=16)
    assert (len(train), len(test)) == (1438, 359)
    assert train[0]["img"].shape == (32, 32, 3)
    assert test[0]["img"].shape == (16, 16, 3)
    # The first digits are 0, 1, 2, ...: the fifth one is the first of the test.
    assert [train[i]["gt_label"] for i in range(5)] == [0, 1, 2, 3, 5]
    assert test[0]["gt_label"] == 4
    with pytest.raises(ValueError, match="'train' or 'test'"):
        Digits("val")


def test_digits_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        Digits()
