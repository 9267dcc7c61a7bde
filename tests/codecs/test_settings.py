"""Decoding options: one list of names, defaults and checks, for the codec and for configs."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding, DecodeSettings
from ehrpose.codecs.argument_checks import all_finite
from ehrpose.config import load_config
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import CODECS

# Every key that a config may set besides input_size and keypoints, with its default.
KEYS = {
    "strides": (4, 2), "tag_strides": (4,), "tag_dim": 1, "sigma": 2.0, "oks_sigma": 0.0, "max_people": 30,
    "unbiased": False, "cell_offset": 0.5, "mode": "fast", "max_candidates": 30, "min_score": 0.1, "max_tag_dist": 1.0,
    "fill_missing": True, "min_keypoints": 1, "max_spread": None, "nms_oks": None, "place_weight": 0.0,
    "score_power": 1.0, "score_size": 0.0, "pair_ratio": None, "limb_weight": 0.3, "max_limb": None,
    "dist_reweight": False, "scale_tags": "first", "resize": "direct", "refine": "quarter",
}  # fmt: skip


def test_the_signature_shows_every_key_with_its_default():
    parameters = inspect.signature(AssociativeEmbedding).parameters
    assert list(parameters) == ["input_size", "keypoints", *KEYS]
    assert {name: parameters[name].default for name in KEYS} == KEYS


def test_every_option_is_documented():
    for field in dataclasses.fields(DecodeSettings):
        assert f"        {field.name}: " in DecodeSettings.__doc__


def test_every_option_reaches_the_settings(five_keypoints):
    options = {
        "max_candidates": 7, "min_score": 0.2, "max_tag_dist": 2.0, "fill_missing": False, "min_keypoints": 3,
        "max_spread": 2.5, "nms_oks": 0.5, "place_weight": 1.5, "score_power": 2.0, "score_size": 0.25,
        "pair_ratio": 0.5, "limb_weight": 0.1, "max_limb": 2.0, "dist_reweight": True, "scale_tags": "all",
        "resize": "two_step", "refine": "dark",
    }  # fmt: skip
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints, "unbiased": True}
    settings = CODECS.build({**codec, **options}).settings
    assert {name: getattr(settings, name) for name in options} == options
    assert settings.unbiased
    assert settings.order == KeypointMeta.build(five_keypoints).order


def test_whole_numbers_become_floats(five_keypoints):
    settings = AssociativeEmbedding(64, five_keypoints, min_score=0, nms_oks=1, max_candidates=5.0).settings
    assert [type(v) for v in (settings.min_score, settings.nms_oks, settings.max_candidates)] == [
        float,
        float,
        int,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_candidates": 0}, "max_candidates: expected a whole number of at least 1, got 0"),
        ({"max_candidates": "9"}, "max_candidates: expected a whole number of at least 1, got '9'"),
        ({"min_keypoints": 0}, "min_keypoints: expected a whole number of at least 1, got 0"),
        ({"min_keypoints": 1.5}, "min_keypoints: expected a whole number of at least 1, got 1.5"),
        ({"min_score": float("nan")}, "min_score: expected a finite number, got nan"),
        ({"min_score": "0.1"}, "min_score: expected a finite number, got '0.1'"),
        ({"min_score": None}, "min_score: expected a finite number, got None"),
        ({"max_tag_dist": -1.0}, "max_tag_dist: expected a number of at least 0, got -1.0"),
        ({"max_spread": 1.0}, "max_spread: expected a number above 1, or None, got 1.0"),
        ({"nms_oks": 1.5}, "nms_oks: expected a number from 0 to 1, or None, got 1.5"),
        ({"place_weight": -1.0}, "place_weight: expected a finite number of at least 0, got -1.0"),
        ({"score_power": 0.0}, "score_power: expected a finite number above 0, got 0.0"),
        ({"score_size": float("inf")}, "score_size: expected a finite number of at least 0, got inf"),
        ({"pair_ratio": 1.5}, "pair_ratio: expected a number from 0 to 1, or None, got 1.5"),
        ({"pair_ratio": -0.1}, "pair_ratio: expected a number from 0 to 1, or None, got -0.1"),
        ({"limb_weight": -1.0}, "limb_weight: expected a finite number of at least 0, got -1.0"),
        ({"max_limb": 1}, "max_limb: expected a number above 1, or None, got 1"),
        ({"limb_weight": float("inf")}, "limb_weight: expected a finite number of at least 0, got inf"),
    ],
)
def test_values_out_of_range_are_named(five_keypoints, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        AssociativeEmbedding(64, five_keypoints, **options)
    assert str(error.value) == message


def test_an_unknown_option_is_refused_with_the_nearest_name(five_keypoints):
    with pytest.raises(TypeError, match="unknown codec option 'min_scores'; did you mean 'min_score'"):
        AssociativeEmbedding(64, five_keypoints, min_scores=0.2)
    with pytest.raises(
        TypeError, match="unknown codec option 'zzz'; expected one of max_candidates, min_score"
    ):
        AssociativeEmbedding(64, five_keypoints, zzz=1)


@pytest.mark.parametrize(("key", "nearest"), [("min_scores", "min_score"), ("pair_ratios", "pair_ratio"),
                                              ("unbiassed", "unbiased")])  # fmt: skip
def test_a_config_with_a_misspelt_key_is_refused_with_the_nearest_name(root, key, nearest):
    with pytest.raises(
        ValueError, match=f"AssociativeEmbedding has no argument '{key}'; did you mean '{nearest}'"
    ):
        load_config(root / "configs/ehrnet/h-4_coco-384.py", {f"codec.{key}": 1})


def test_every_key_may_be_set_in_a_config(root):
    options = {f"codec.{key}": value for key, value in KEYS.items()}
    assert load_config(root / "configs/ehrnet/h-4_coco-384.py", options).codec.limb_weight == 0.3


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(600,), (1, 600), (3, 10, 20)])
def test_values_that_are_not_finite_are_found(value, shape):
    maps = np.linspace(-3.4e38, 3.4e38, 600, dtype=np.float32)
    assert all_finite(maps.reshape(shape))
    assert all_finite(np.full(shape, 3.4e38, np.float32))
    maps[417] = value
    assert not all_finite(maps.reshape(shape))
    maps[3] = -value
    assert not all_finite(maps.reshape(shape))
