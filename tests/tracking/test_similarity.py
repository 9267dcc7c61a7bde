from __future__ import annotations

import numpy as np
import pytest

from ehrpose.oks import keypoint_boxes, pairwise_oks
from ehrpose.tracking.similarity import box_areas, enlarged_boxes, pairwise_iou

SIGMAS = np.array([0.05, 0.1])


def test_oks_is_cocos_over_common_keypoints():
    pose, other = np.array([[[0.0, 0.0], [10.0, 0.0]]]), np.array([[[3.0, 4.0], [10.0, 0.0]]])
    every = np.ones((1, 2), bool)
    oks, common = pairwise_oks(pose, every, other, every, np.full((1, 1), 2500.0), SIGMAS, np.zeros(1))
    # 5 px away, tolerance 2 * 0.05 * 50 px = 5 px.
    assert oks[0, 0] == pytest.approx((np.exp(-0.5) + 1) / 2)
    assert common[0, 0] == 2
    oks, common = pairwise_oks(
        pose, np.array([[True, False]]), other, every, np.full((1, 1), 2500.0), SIGMAS, np.zeros(1)
    )
    assert (oks[0, 0], common[0, 0]) == (pytest.approx(np.exp(-0.5)), 1)


def test_uncertainty_raises_the_similarity():
    every = np.ones((1, 2), bool)
    pose = np.zeros((1, 2, 2))
    values = [
        pairwise_oks(pose, every, pose + 20, every, np.full((1, 1), 400.0), SIGMAS, np.array([v]))[0][0, 0]
        for v in (0.0, 100.0, 400.0)
    ]
    assert values[0] < values[1] < values[2] < 1


def test_nothing_in_common_is_zero():
    known, present = np.array([[True, False]]), np.array([[False, True]])
    oks, common = pairwise_oks(
        np.zeros((1, 2, 2)), known, np.zeros((1, 2, 2)), present, np.ones((1, 1)), SIGMAS, np.zeros(1)
    )
    assert oks[0, 0] == common[0, 0] == 0


def test_areas_are_never_zero():
    keypoints = np.array([[[5.0, 5.0], [5.0, 5.0]], [[0.0, 0.0], [0.0, 100.0]], [[0.0, 0.0], [50.0, 100.0]]])
    present = np.array([[True, False], [True, True], [True, True]])
    areas = box_areas(keypoint_boxes(keypoints, present))
    assert (areas > 0).all()
    assert areas[0] < 50 < 1000 < areas[1] < areas[2] == 0.53 * 5000
    assert (box_areas(keypoint_boxes(keypoints, np.zeros((3, 2), bool))) > 0).all()


def test_boxes_hold_present_keypoints_only():
    keypoints = np.array([[[1.0, 2.0], [9.0, 9.0], [3.0, 8.0]]] * 2)
    boxes = keypoint_boxes(keypoints, np.array([[True, False, True], [False] * 3]))
    assert boxes[0].tolist() == [1, 2, 3, 8]
    assert np.isnan(boxes[1]).all()
    assert keypoint_boxes(np.zeros((0, 3, 2)), np.zeros((0, 3), bool)).shape == (0, 4)


def test_overlap_of_boxes():
    boxes = np.array([[0.0, 0, 10, 10], [np.nan] * 4])
    others = np.array([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10], [3, 3, 3, 3]])
    np.testing.assert_allclose(pairwise_iou(boxes, others), [[1 / 3, 0, 1, 0], [0, 0, 0, 0]])


def test_enlarged_boxes_hold_the_box_and_are_never_thin():
    boxes = np.array([[10.0, 10, 10, 10], [0, 0, 0, 100], [0, 0, 40, 100], [np.nan] * 4])
    large = enlarged_boxes(boxes)
    sides = large[:, 2:] - large[:, :2]
    assert (large[:3, :2] < boxes[:3, :2]).all()
    assert (large[:3, 2:] > boxes[:3, 2:]).all()
    assert (sides[:3] > 5).all()
    assert sides[1, 0] > 35
    assert np.isnan(large[3]).all()
