from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from ehrpose.data_sample import PoseDataSample
from ehrpose.engine.hooks.badcase import BadCaseHook, photo_oks
from ehrpose.engine.visualizer import PoseVisualizer
from ehrpose.keypoint_meta import KeypointMeta

K = 5
BASE = np.array([[20, 10], [10, 30], [30, 30], [15, 60], [25, 60]], np.float32)


def sample(img_id, truth, found, visible=None, **meta):
    """A sample with people at offsets from one pose."""
    result = PoseDataSample(metainfo={"img_id": img_id, "ori_shape": (80, 100), "warp": np.eye(2, 3), **meta})
    people = np.array([BASE + offset for offset in truth], np.float32).reshape(-1, K, 2)
    result.gt_instances = InstanceData(
        keypoints=people,
        visible=np.full(people.shape[:2], 2) if visible is None else np.array(visible),
        areas=np.full(len(people), 1000.0),
    )
    keypoints = np.array([BASE + offset for offset in found], np.float32).reshape(-1, K, 2)
    result.pred_instances = InstanceData(
        keypoints=keypoints,
        keypoint_scores=np.ones(keypoints.shape[:2]),
        bbox_scores=np.ones(len(keypoints)),
    )
    return result


@pytest.fixture
def sigmas(five_keypoints):
    return KeypointMeta.build(five_keypoints).sigmas.astype(np.float64)


def test_perfect_missing_and_extra_people(sigmas):
    assert photo_oks(sample(1, [0], [0]), sigmas) == pytest.approx(1)
    assert photo_oks(sample(1, [0, 40], [40]), sigmas) == pytest.approx(0.5, abs=1e-3)
    assert photo_oks(sample(1, [0], []), sigmas) == 0
    assert photo_oks(sample(1, [0], [70, 0, 40]), sigmas) == pytest.approx(1)
    assert photo_oks(sample(1, [], [0]), sigmas) is None
    assert photo_oks(sample(1, [0], [0], visible=[[0] * K]), sigmas) is None


def test_it_is_cocos_similarity(sigmas):
    """A shift of one pixel, by the formula of the COCO evaluation."""
    shift = np.array([1.0, 0.0])
    visible = [[2, 1, 0, 2, 0]]
    wanted = np.exp(-1 / (2 * 1000.0 * (2 * sigmas[[0, 1, 3]]) ** 2)).mean()
    assert photo_oks(sample(1, [0], [shift], visible), sigmas) == pytest.approx(wanted)


def test_people_are_assigned_for_the_greatest_sum(sigmas):
    # The first prediction fits both a little, the second only the left one: in order, one would be left over.
    truth, found = [0, 6], [np.array([3.0, 0]), np.array([-1.0, 0])]
    direct = photo_oks(sample(1, truth, found), sigmas)
    assert direct == pytest.approx(photo_oks(sample(1, truth[::-1], found[::-1]), sigmas))
    single = [photo_oks(sample(1, [t], [f]), sigmas) for t, f in zip(truth, found[::-1])]
    assert direct == pytest.approx(sum(single) / 2)


@pytest.fixture
def run(tmp_path, five_keypoints):
    """Run the hook over samples in batches of two; return the folder."""

    def run(samples, count=3):
        hook = BadCaseHook(str(tmp_path / "bad"), five_keypoints, count)
        runner = SimpleNamespace(
            visualizer=PoseVisualizer("bad_cases", keypoints=five_keypoints),
            iter=0,
            logger=logging.getLogger("badcase"),
        )
        hook.before_test_epoch(runner)
        for i in range(0, len(samples), 2):
            inputs = [torch.full((3, 80, 100), 10 * s.img_id, dtype=torch.uint8) for s in samples[i : i + 2]]
            hook.after_test_iter(runner, i, {"inputs": inputs}, samples[i : i + 2])
        hook.after_test_epoch(runner)
        return tmp_path / "bad"

    return run


def test_the_worst_are_drawn_and_listed(run, tmp_path):
    cv2.imwrite(str(tmp_path / "real.png"), np.full((80, 100, 3), 200, np.uint8))
    samples = [sample(i, [0], [np.array([float(i), 0])]) for i in (1, 9, 4, 2)]
    samples += [sample(7, [], [0]), sample(8, [0], [], img_path=str(tmp_path / "real.png"))]
    folder = run(samples)
    listed = json.loads((folder / "badcases.json").read_text())
    assert [case["img_id"] for case in listed] == [8, 9, 4]
    assert listed[0] == {"oks": 0, "img_id": 8, "num_people": 1, "num_found": 0, "file": "0.000_real.jpg"}
    assert listed[0]["oks"] <= listed[1]["oks"] <= listed[2]["oks"]
    assert sorted(p.name for p in folder.glob("*.jpg")) == sorted(case["file"] for case in listed)
    # Annotations left, predictions right; the photo from its file, or from the input if there is none.
    for case, level in zip(listed, (200, 90, 40)):
        picture = cv2.imread(str(folder / case["file"]))
        assert picture.shape == (80, 200, 3)
        assert abs(int(picture[2, 2, 0]) - level) < 4


def test_fewer_photos_than_asked_for(run):
    folder = run([sample(1, [0], [0])], count=50)
    assert [case["img_id"] for case in json.loads((folder / "badcases.json").read_text())] == [1]


def test_nobody_annotated_lists_nothing(run):
    assert json.loads((run([sample(1, [], [0])]) / "badcases.json").read_text()) == []


def test_a_count_below_one_is_an_error(five_keypoints):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        BadCaseHook("x", five_keypoints, 0)
