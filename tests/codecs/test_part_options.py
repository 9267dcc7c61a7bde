"""Skeletons of one's own for the part-affinity codec, its options, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ehrpose.codecs import PartAffinity
from ehrpose.structures import FieldMaps, People

SIDE = 160
MAPS = FieldMaps(np.zeros((19, 20, 20), np.float32), np.zeros((38, 20, 20), np.float32))


def codec_of(keypoints, **options):
    return PartAffinity(SIDE, keypoints, **{"parts": "coco-18", **options})


def test_a_skeleton_of_ones_own():
    five = {
        "dataset_name": "five", "names": ["head", "left", "right", "hip", "foot"], "swap": [["left", "right"]],
        "skeleton": [["head", "hip"], ["left", "head"], ["right", "head"], ["hip", "foot"]], "sigmas": [0.05] * 5,
    }  # fmt: skip
    keypoints = np.array([[[80, 40], [110, 60], [50, 60], [80, 90], [80, 130.0]]])
    middle = {"name": "middle", "mean": ["left", "right"]}
    for options in (
        {},
        {"parts": ["foot", "hip", middle, "head", "left", "right"],
         "limbs": [["middle", "head"], ["middle", "left"], ["middle", "right"], ["middle", "hip"], ["hip", "foot"]]},
    ):  # fmt: skip
        for mode in ("fast", "paper"):
            codec = PartAffinity(SIDE, five, mode=mode, **options)
            assert codec.num_parts == 5 + bool(options)
            people = codec.decode(codec.ideal_maps(keypoints, np.full((1, 5), 2), (SIDE, SIDE)))
            assert len(people) == 1
            np.testing.assert_allclose(people.keypoints, keypoints, atol=1.5)
            assert len(codec.mirror_rules()["field"].channels) == 2 * codec.num_limbs


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_scores": 0.2}, TypeError, "unknown codec option 'min_scores'; did you mean 'min_score'"),
        ({"tags": 1}, TypeError, "expected one of min_score, max_candidates"),
        ({"min_share": 1.5}, ValueError, "min_share: expected a number from 0 to 1, got 1.5"),
        ({"min_field": "a lot"}, ValueError, "min_field: expected a finite number of at least 0, got 'a lot'"),
        ({"num_samples": 1}, ValueError, "num_samples: expected a whole number of at least 2, got 1"),
        ({"max_candidates": 0}, ValueError, "max_candidates: expected a whole number of at least 1, got 0"),
        ({"sigma": 0}, ValueError, "sigma: expected a finite number above 0, got 0"),
        ({"field_width": float("nan")}, ValueError, "field_width: expected a finite number above 0"),
        ({"mode": "quick"}, ValueError, "mode: expected 'fast' or 'paper', got 'quick'"),
        ({"stride": 7}, ValueError, "input_size: expected a multiple of the stride, 7, got 160"),
        ({"parts": "coco-19"}, ValueError, r"parts: expected one of \['coco-18'\]"),
        ({"parts": ["nose"], "limbs": []}, ValueError, "expected at least one pair of parts"),
        ({"parts": ["nose", "nose"]}, ValueError, "expected different names, got 'nose' twice"),
        ({"parts": ["nos"]}, ValueError, "parts: unknown 'nos'; did you mean 'nose'"),
        ({"parts": [{"name": "neck"}]}, ValueError, "expected a name, or 'name' and 'mean'"),
        ({"parts": ["nose", "left_eye"], "limbs": [["nose", "left_eye"]]}, ValueError, "are missing"),
        ({"parts": None, "limbs": [["nose", "left_ey"]]}, ValueError, "limbs: unknown 'left_ey'; did you mean"),
        ({"parts": None, "limbs": [["nose", "nose"]]}, ValueError, "different pairs of different parts"),
        ({"parts": None, "limbs": ["nose"]}, ValueError, "expected pairs of names"),
        ({"limbs": [["nose", "neck"]]}, ValueError, "limbs: expected None with parts 'coco-18'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(coco_keypoints, options, error, message):
    with pytest.raises(error, match=message):
        codec_of(coco_keypoints, **options)


def test_flip_test_needs_mirror_images(coco_keypoints):
    with pytest.raises(ValueError, match="limbs: expected the mirror image of nose-left_eye too"):
        codec_of(coco_keypoints, parts=None, limbs=[["nose", "left_eye"]]).mirror_rules()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m._replace(heat=m.heat[:17]), r"heat: expected shape \(19, h, w\), got \(17, 20, 20\)"),
        (
            lambda m: m._replace(field=m.field[:, 1:]),
            r"field: expected shape \(38, 20, 20\), got \(38, 19, 20\)",
        ),
        (lambda m: m._replace(heat=m.heat * np.nan), "heat: expected values up to 1e\\+15, got NaN"),
        (lambda m: m._replace(field=m.field + 1e20), "field: expected values up to 1e\\+15"),
        (lambda m: m._replace(field=m.field.astype(str)), "field: expected an array of numbers"),
    ],
)
def test_broken_maps_are_refused(coco_keypoints, change, message):
    with pytest.raises(ValueError, match=message):
        codec_of(coco_keypoints).decode(change(MAPS))


def test_nobody(coco_keypoints):
    for mode in ("fast", "paper"):
        empty = FieldMaps(np.zeros((19, 5, 7), np.float32), np.zeros((38, 5, 7), np.float32))
        people = codec_of(coco_keypoints, mode=mode).decode(empty)
        assert isinstance(people, People)
        assert len(people) == 0
        assert people.keypoints.shape == (0, 17, 2)


def test_other_codecs_do_not_load_it():
    code = (
        "import sys; from ehrpose.registry import CODECS; CODECS.get('AssociativeEmbedding'); "
        "assert 'ehrpose.codecs.part_affinity' not in sys.modules; assert 'torch' not in sys.modules; "
        "CODECS.get('PartAffinity'); assert 'ehrpose.codecs.part_affinity' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
