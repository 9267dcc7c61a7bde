"""Usual lengths of limbs, and option ``max_limb``: no limb is impossibly long for its person."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.limbs import GUESS, SLACK, far_parts
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.limbs import too_long, usual_lengths
from ehrpose.structures import Maps

SIDE = 256
SIGMA = 2.0
NAMES = ["head", "left_hand", "right_hand", "hip", "left_foot", "right_foot"]
LIMBS = [
    ["head", "left_hand"],
    ["head", "right_hand"],
    ["head", "hip"],
    ["hip", "left_foot"],
    ["hip", "right_foot"],
]
FIGURE = {
    "dataset_name": "figure",
    "names": NAMES,
    "swap": [["left_hand", "right_hand"], ["left_foot", "right_foot"]],
    "skeleton": LIMBS,
    "sigmas": [0.05] * 6,
    "limb_lengths": [1.0, 1.0, 1.5, 2.0, 2.0],
}
SKELETON = np.array([[NAMES.index(a), NAMES.index(b)] for a, b in LIMBS])
USUAL = np.array(FIGURE["limb_lengths"])
# Input px, relative to the head: limbs of 20, 20, 30, 40 and 40 px.
POSE = np.array([(0, 0), (20, 0), (-20, 0), (0, 30), (24, 62), (-24, 62)], float)
A, B = np.array([60, 60]), np.array([180, 60])  # 120 px apart


def maps_of(points, tag=0.0):
    """Maps at both strides with a Gaussian at each (type, place in input px, height); one tag for all."""
    maps = {}
    for stride in (4, 2):
        heat = np.zeros((6, SIDE // stride, SIDE // stride), np.float32)
        ys, xs = np.mgrid[: heat.shape[1], : heat.shape[2]]
        for kind, (x, y), height in points:
            bump = np.exp(-((xs - x / stride + 0.5) ** 2 + (ys - y / stride + 0.5) ** 2) / (2 * SIGMA**2))
            heat[kind] = np.maximum(heat[kind], height * bump)
        maps[f"heat{stride}"] = heat
    return Maps(tag4=np.full_like(maps["heat4"], tag), **maps)


def decode(points, **options):
    return AssociativeEmbedding(SIDE, FIGURE, **{"max_limb": 2.0, **options}).decode(maps_of(points))


def whole(at, types=range(6), height=0.9):
    return [(k, POSE[k] + at, height) for k in types]


def test_usual_lengths_are_found_whatever_the_size_of_people(rng):
    wanted = USUAL / USUAL.mean()
    points = POSE * rng.uniform(0.5, 20, (200, 1, 1)) + rng.uniform(0, 500, (200, 1, 2))
    present = rng.random((200, 6)) < 0.8
    np.testing.assert_allclose(usual_lengths(points, present, SKELETON), wanted, rtol=1e-6)
    noisy = points + rng.normal(0, 0.01, points.shape)
    noisy[:20, 4] += 1000  # a tenth of the labels is wrong
    np.testing.assert_allclose(usual_lengths(noisy, present, SKELETON), wanted, rtol=0.02)


def test_a_limb_that_nobody_has_has_no_length():
    present = np.ones((4, 6), bool)
    present[:, 5] = False
    found = usual_lengths(np.repeat(POSE[None], 4, 0), present, SKELETON)
    assert np.isnan(found).tolist() == [False] * 4 + [True]
    assert found[:4].mean() == pytest.approx(1)
    assert np.isnan(usual_lengths(np.zeros((0, 6, 2)), np.zeros((0, 6), bool), SKELETON)).all()


def test_too_long_is_judged_at_the_scale_of_each_person():
    points = np.stack([POSE, 3 * POSE, POSE])
    points[2, 1] = (100, 0)  # one hand far away: 100 px, where 20 are usual
    present = np.ones((3, 6), bool)
    assert too_long(points, present, SKELETON, USUAL, 2.0).tolist() == [
        [False] * 5,
        [False] * 5,
        [True] + [False] * 4,
    ]
    assert not too_long(points, present, SKELETON, USUAL, 5.1).any()
    assert not too_long(points, present, SKELETON, USUAL, 2.0, slack=61).any()
    assert too_long(points, present, SKELETON, USUAL, 2.0, slack=59).any()
    present[2, 3:] = False  # two limbs are left: too few to tell
    assert not too_long(points, present, SKELETON, USUAL, 2.0).any()


def test_the_part_with_more_score_stays():
    points = np.repeat(POSE[None], 2, 0)
    points[:, 3:] += (80, 0)  # hip and feet are far from the head
    scores = np.ones((2, 6))
    scores[1, 3:] = 1.1
    cut, part = far_parts(points, scores, SKELETON, USUAL, 2.0)
    assert cut.tolist() == [[False] * 3 + [True] * 3, [True] * 3 + [False] * 3]
    assert part[0].tolist() == [0, 0, 0, 3, 3, 3]


def test_a_keypoint_without_a_limb_to_the_others_is_not_judged():
    points = POSE[None].copy()
    points[0, 1] = (90, 0)
    points[0, 4] += (200, 200)
    scores = np.ones((1, 6))
    scores[0, 3] = 0  # no hip: the feet hang on nothing
    assert far_parts(points, scores, SKELETON, USUAL, 2.0)[0].tolist() == [[False] * 6]
    scores[0, 3] = 1
    assert far_parts(points, scores, SKELETON, USUAL, 2.0)[0].tolist() == [
        [False, True, False, False, True, False]
    ]


def test_one_skeleton_over_two_people_becomes_two():
    """Both have the same tag; of each type only one of the two was found."""
    points = [*whole(A, (0, 1, 2)), *whole(B, (3, 4, 5), 0.8)]
    one = decode(points, max_limb=None)
    assert len(one) == 1
    assert np.ptp(one.keypoints[0, :, 0]) > 90
    two = decode(points, fill_missing=False)
    assert (two.keypoint_scores > 0).tolist() == [[True] * 3 + [False] * 3, [False] * 3 + [True] * 3]
    np.testing.assert_allclose(two.keypoints[0, :3], (POSE + A)[:3], atol=0.6)
    np.testing.assert_allclose(two.keypoints[1, 3:], (POSE + B)[3:], atol=0.6)
    assert two.scores[0] > two.scores[1]
    # Filling finds the other's keypoints, which are as far away: they are not returned.
    filled = decode(points)
    assert (filled.keypoint_scores > 0).tolist() == (two.keypoint_scores > 0).tolist()
    assert not filled.filled.any()
    assert not filled.keypoints[filled.keypoint_scores == 0].any()


def test_fewer_than_three_keypoints_are_dropped():
    """The left foot of another person was taken."""
    points = [*whole(A, (0, 1, 2, 3, 5)), (4, POSE[4] + B, 0.9)]
    before = decode(points, max_limb=None)
    assert before.keypoints[0, 4, 0] == pytest.approx(204, abs=1)
    after = decode(points)
    assert (after.keypoint_scores > 0).tolist() == [[True] * 4 + [False, True]]
    np.testing.assert_allclose(np.delete(after.keypoints[0], 4, 0), np.delete(POSE + A, 4, 0), atol=0.8)
    assert after.keypoints[0, 4].tolist() == [0, 0]


def test_people_whose_limbs_are_usual_stay_as_they_are(rng):
    points = [*whole(A), *whole(B)]
    maps = maps_of(points)
    maps.tag4[:, :, 30:] = 3.0
    wanted = AssociativeEmbedding(SIDE, FIGURE).decode(maps)
    found = AssociativeEmbedding(SIDE, FIGURE, max_limb=2.0).decode(maps)
    assert len(found) == 2
    for name in ("keypoints", "keypoint_scores", "scores", "tags", "filled"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_skeleton_without_lengths_keeps_all():
    plain = {key: value for key, value in FIGURE.items() if key != "limb_lengths"}
    points = [*whole(A, (0, 1, 2)), *whole(B, (3, 4, 5))]
    assert len(AssociativeEmbedding(SIDE, plain, max_limb=2.0).decode(maps_of(points))) == 1


@pytest.mark.parametrize("fill_missing", [False, True])
def test_no_limb_of_the_people_found_is_too_long(rng, fill_missing):
    """Whatever the candidates, filled or not."""
    num_before, limit = 0, 2.0 * GUESS
    for _ in range(60):
        points = whole(A, rng.permutation(6)[: rng.integers(2, 6)])
        points += [(k, rng.uniform(10, 246, 2), rng.uniform(0.2, 1)) for k in range(6)]
        people = decode(points, fill_missing=fill_missing)
        before = decode(points, fill_missing=fill_missing, max_limb=None)
        num_before += too_long(
            before.keypoints, before.keypoint_scores > 0, SKELETON, USUAL, limit, SLACK
        ).any()
        assert not too_long(people.keypoints, people.keypoint_scores > 0, SKELETON, USUAL, limit, SLACK).any()
    assert num_before > 5


def test_the_lengths_survive_the_sidecar_of_an_export():
    meta = KeypointMeta.build(FIGURE)
    again = KeypointMeta.build(meta.to_dict())
    np.testing.assert_array_equal(again.limb_lengths, USUAL)
    assert "limb_lengths" not in KeypointMeta.build({**FIGURE, "limb_lengths": None}).to_dict()


@pytest.mark.parametrize("given", [[1.0], [1, 1, 1, 1, 0], [1, 1, 1, 1, float("nan")], [1, 1, 1, 1, -1]])
def test_lengths_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="limb_lengths: expected 5 positive numbers, one for each limb, got"):
        KeypointMeta.build({**FIGURE, "limb_lengths": given})
