from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from ehrpose.datasets.converters.skeleton_config import (
    guess_keypoints,
    mirror_pairs,
    one_sided,
    write_keypoints,
)
from ehrpose.keypoint_files import load_keypoints


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["nose", "left_eye", "right_eye"], [("left_eye", "right_eye")]),
        (["R-Hand", "L-Hand", "tail"], [("L-Hand", "R-Hand")]),
        (["ear.r", "ear.l"], [("ear.l", "ear.r")]),
        (["LeftKnee", "RightKnee"], [("LeftKnee", "RightKnee")]),
        (["left_eye", "right_ear"], []),
        (["left", "right", "leg"], []),
    ],
)
def test_mirror_pairs(names, pairs):
    assert mirror_pairs(names) == pairs


def test_cocos_names_get_cocos_pairs_and_sigmas(coco_keypoints):
    guessed = guess_keypoints("coco", coco_keypoints["names"])
    assert guessed["swap"] == [tuple(pair) for pair in coco_keypoints["swap"]]
    assert guessed["sigmas"] == pytest.approx(coco_keypoints["sigmas"])


def test_what_is_written_is_read(tmp_path, five_keypoints):
    write_keypoints(
        guess_keypoints("five", five_keypoints["names"], [("nose", "left_wrist")]), tmp_path / "k.py"
    )
    meta = load_keypoints(tmp_path / "k.py")
    assert meta.names == tuple(five_keypoints["names"])
    assert meta.skeleton == ((0, 1),)
    assert Config.fromfile(str(tmp_path / "k.py")).keypoints.swap == [
        ("left_wrist", "right_wrist"),
        ("left_ankle", "right_ankle"),
    ]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="config file not found"):
        load_keypoints(tmp_path / "absent.py")
    (tmp_path / "other.py").write_text("phi = 1\n")
    with pytest.raises(ValueError, match="has no variable named keypoints"):
        load_keypoints(tmp_path / "other.py")
    with pytest.raises(ValueError, match="distinct"):
        write_keypoints(guess_keypoints("twice", ["nose", "nose"]), tmp_path / "k.py")
    assert not (tmp_path / "k.py").exists()


def sides(pattern: str, left: str = "left", right: str = "right"):
    return pattern.format(left), pattern.format(right)


@pytest.mark.parametrize(
    "pair",
    [
        *map(sides, ["leg_{}", "{}_leg", "rear_paw_{}", "lower_lip_{}", "ring_finger_{}", "back_{}_paw", "eye ({})"]),
        *map(sides, ["front-{}-thai", "knee{}", "ear{}2", "{}Eye", "{}eye", "p {} 1"]),
        *(sides(p, "L", "R") for p in ("rib.{}", "knee{}", "{}Knee", "{}_F_Paw", "{}1", "hip1{}", "{}leg")),
        *(sides(p, "l", "r") for p in ("little_finger_{}", "{}ear", "{}_rib", "{}rib")),
        *(sides(p, "Left", "Right") for p in ("shoulder{}", "{}Lip", "lip.{}.1")),
        ("FL_paw", "FR_paw"),
        ("L_claw_left", "R_claw_right"),
        ("Left_Eye", "right eye"),
    ],
)  # fmt: skip
def test_the_side_may_stand_anywhere(pair):
    left, right = pair
    others = ["nose", "tail_base", "rear", "lip", "leg"]
    assert mirror_pairs([left, *others, right]) == [(left, right)]
    assert mirror_pairs([right, *others, left]) == [(left, right)]
    assert one_sided([left, right, *others]) == []


def test_names_of_one_side_alone_are_told():
    assert one_sided(["left_eye", "right_eye", "tail_left", "R_fin", "nose"]) == ["tail_left", "R_fin"]


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["front", "rear", "lip", "rib", "knee", "lower", "paw", "arm"]), min_size=1, max_size=3),
    st.integers(0, 3),
    st.sampled_from([("left", "right"), ("l", "r"), ("L", "R"), ("Left", "Right"), ("LEFT", "RIGHT")]),
    st.sampled_from(["_", "-", ".", " ", "__"]),
)  # fmt: skip
def test_two_names_that_differ_only_in_the_side_are_a_pair(words, at, side, separator):
    left, right = (separator.join([*words[:at], s, *words[at:]]) for s in side)
    assert mirror_pairs([right, "nose", left]) == [(left, right)]
