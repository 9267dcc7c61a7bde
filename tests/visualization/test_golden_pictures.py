"""People are drawn as in the golden pictures of tests/data, and the comparison detects mistakes."""

from __future__ import annotations

import dataclasses

import cv2
import golden
import numpy as np
import pytest

from ehrpose.visualization import drawing, openpose_style

STYLES = drawing.STYLES


@pytest.fixture(scope="module")
def meta():
    return golden.load_meta()


@pytest.fixture(scope="module")
def goldens():
    return {style: cv2.imread(str(golden.path_of(style))) for style in STYLES}


@pytest.mark.parametrize("style", STYLES)
def test_people_are_drawn_as_they_were(style, meta, goldens):
    picture = golden.draw(style, meta)
    assert picture.shape == goldens[style].shape
    assert golden.is_same(picture, goldens[style])


def without_limb(skeleton, index):
    keep = [i for i in range(len(skeleton.skeleton)) if i != index]
    limbs = tuple(skeleton.skeleton[i] for i in keep)
    return dataclasses.replace(skeleton, skeleton=limbs, limb_colors=skeleton.limb_colors[keep])


@pytest.mark.parametrize("index", range(19))
def test_a_missing_limb_is_seen(index, meta, goldens):
    assert not golden.is_same(golden.draw("mmpose", without_limb(meta, index)), goldens["mmpose"])


@pytest.mark.parametrize("index", range(17))
def test_a_missing_limb_of_openpose_is_seen(index, meta, goldens, monkeypatch):
    def to_openpose(*people):
        keypoints, scores, skeleton = openpose_style.to_openpose(*people)
        return keypoints, scores, without_limb(skeleton, index)

    monkeypatch.setattr(drawing, "to_openpose", to_openpose)
    assert not golden.is_same(golden.draw("openpose", meta), goldens["openpose"])


@pytest.mark.parametrize("style", STYLES)
def test_mistakes_of_the_whole_picture_are_seen(style, goldens):
    right = goldens[style]
    assert not golden.is_same(right[..., ::-1].copy(), right), "the order of colours"
    assert not golden.is_same(np.roll(right, 1, axis=1), right), "one pixel to the right"
    assert not golden.is_same(np.roll(right, -1, axis=0), right), "one pixel up"


@pytest.mark.parametrize("style", STYLES)
def test_another_colour_of_one_limb_is_seen(style, meta, goldens, monkeypatch):
    def recolored(skeleton):
        colors = skeleton.limb_colors.copy()
        colors[3] = colors[3][::-1]
        return dataclasses.replace(skeleton, limb_colors=colors)

    monkeypatch.setattr(
        drawing,
        "to_openpose",
        lambda *a: (*openpose_style.to_openpose(*a)[:2], recolored(openpose_style.to_openpose(*a)[2])),
    )
    assert not golden.is_same(golden.draw(style, recolored(meta)), goldens[style])


def test_the_rounding_of_edges_is_allowed(goldens, rng):
    right = goldens["mmpose"]
    edges = cv2.Canny(right, 50, 100) > 0
    noise = rng.integers(-30, 31, right.shape) * edges[..., None]
    other = np.clip(right + noise, 0, 255).astype(np.uint8)
    assert (other != right).any()
    assert golden.is_same(other, right)
