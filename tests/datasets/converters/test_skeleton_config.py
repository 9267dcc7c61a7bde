from __future__ import annotations

import pytest
from mmengine.config import Config

from ehrpose.datasets.converters.skeleton_config import (
    guess_keypoints,
    load_keypoints,
    mirror_pairs,
    write_keypoints,
)


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
    with pytest.raises(FileNotFoundError, match="keypoint config not found"):
        load_keypoints(tmp_path / "absent.py")
    (tmp_path / "other.py").write_text("phi = 1\n")
    with pytest.raises(ValueError, match="has no variable named keypoints"):
        load_keypoints(tmp_path / "other.py")
    with pytest.raises(ValueError, match="distinct"):
        write_keypoints(guess_keypoints("twice", ["nose", "nose"]), tmp_path / "k.py")
    assert not (tmp_path / "k.py").exists()
