"""The tracker takes people of any source: plain arrays and supervision.KeyPoints."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People
from ehrpose.tracking import PoseTracker, TrackedArrays
from ehrpose.tracking.plain_arrays import UNKNOWN_SIGMA

PLACES = np.array([[50.0, 100], [200, 100], [350, 100]])


@pytest.fixture(scope="module")
def shape():
    """A person of about 30 x 100 px."""
    return np.random.default_rng(5).uniform((-15, -50), (15, 50), (17, 2))


def walk(shape, frames, rng, noise=0.0):
    """Yield the order of three people who walk, their keypoints (3, 17, 2) and scores (3, 17)."""
    for i in range(frames):
        order = rng.permutation(3)
        keypoints = shape + PLACES[order][:, None] + (3 * i, i) + rng.normal(0, noise, (3, 17, 2))
        yield order, keypoints, np.full((3, 17), 0.6)


def test_arrays_are_tracked_as_people_are(shape, coco_keypoints, rng):
    tracker, other = (PoseTracker(coco_keypoints, smoothing={}) for _ in range(2))
    for _, keypoints, scores in walk(shape, 10, rng, noise=2.0):
        tracked = tracker.update_arrays(keypoints, scores)
        assert isinstance(tracked, TrackedArrays)
        wanted = other.update(
            People(keypoints.astype(np.float32), scores.astype(np.float32), np.full(3, 0.6, np.float32))
        )
        np.testing.assert_array_equal(tracked.ids, wanted.ids)
        np.testing.assert_array_equal(tracked.keypoints, wanted.people.keypoints)
        np.testing.assert_array_equal(tracked.scores, scores.astype(np.float32))
    assert np.abs(tracked.keypoints - keypoints).max() > 0.1  # smoothed


@pytest.mark.parametrize(
    "skeleton", [17, np.int64(17), [f"point {i}" for i in range(17)]], ids=["K", "int64", "names"]
)
def test_ids_of_an_unknown_skeleton_persist(skeleton, shape, rng):
    tracker = PoseTracker(skeleton)
    assert set(tracker.keypoints.sigmas.tolist()) == {np.float32(UNKNOWN_SIGMA)}
    for i, (order, keypoints, _) in enumerate(walk(shape, 15, rng)):
        ids = tracker.update_arrays(keypoints).ids
        if i == 0:
            names = dict(zip(order.tolist(), ids.tolist(), strict=True))
        assert [names[person] for person in order.tolist()] == ids.tolist()


def test_the_third_column_is_the_score(shape):
    keypoints = np.concatenate([shape + PLACES[:2, None], np.full((2, 17, 1), 0.6)], axis=2)
    keypoints[1, :, 2] = 0.05  # below low_score
    tracker = PoseTracker(17)
    tracked = tracker.update_arrays(keypoints)
    assert tracked.ids.tolist() == [0, -1]
    np.testing.assert_array_equal(tracked.keypoints, keypoints[..., :2].astype(np.float32))
    np.testing.assert_array_equal(tracked.scores, keypoints[..., 2].astype(np.float32))
    tracker.reset()
    ids = tracker.update_arrays(keypoints, person_scores=[0.05, 0.9]).ids
    assert ids.tolist() == [-1, -1]  # keypoints below keypoint_score are missing
    tracker = PoseTracker(17, keypoint_score=0.01)
    assert tracker.update_arrays(keypoints, person_scores=[0.05, 0.9]).ids.tolist() == [-1, 0]


def test_keypoints_that_are_not_finite_are_missing(shape):
    keypoints = np.repeat((shape + PLACES[0])[None], 1, axis=0)
    keypoints[0, 3] = np.nan
    tracker = PoseTracker(17, smoothing={})
    for _ in range(3):
        tracked = tracker.update_arrays(keypoints)
        assert tracked.ids.tolist() == [0]
        assert tracked.scores[0].tolist() == [1, 1, 1, 0, *[1] * 13]
        assert np.isnan(tracked.keypoints[0, 3]).all()
        assert np.isfinite(np.delete(tracked.keypoints[0], 3, axis=0)).all()


def test_frames_without_people(shape):
    tracker = PoseTracker(17, min_hits=1)
    person = (shape + PLACES[:1, None]).tolist()
    assert tracker.update_arrays(person, timestamp=0.0).ids.tolist() == [0]
    for seconds, nobody in ((0.1, []), (0.2, np.zeros((0, 17, 2))), (0.3, np.zeros((0, 17, 3)))):
        tracked = tracker.update_arrays(nobody, timestamp=seconds)
        assert tracked.ids.shape == (0,)
        assert tracked.keypoints.shape == (0, 17, 2)
        assert tracked.scores.shape == (0, 17)
    assert tracker.update_arrays(person, timestamp=0.4).ids.tolist() == [0]
    with pytest.raises(ValueError, match="is not later than that of the last frame"):
        tracker.update_arrays(person, timestamp=0.4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((np.zeros((17, 2)),), r"keypoints have shape \(17, 2\), expected \(N, K, 2\), or \(N, K, 3\)"),
        ((np.zeros((1, 17, 3)), np.zeros((1, 17))), r"expected \(N, K, 2\)$"),
        ((np.zeros((2, 17, 2)), np.zeros((1, 17))), r"scores have shape \(1, 17\), expected \(2, 17\)"),
        ((np.zeros((2, 17, 2)), None, np.zeros(3)), r"person_scores have shape \(3,\), expected \(2,\)"),
        ((np.zeros((2, 5, 2)),), "people have 5 keypoints, expected 17"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        PoseTracker(17).update_arrays(*arguments)


@pytest.mark.parametrize("bad", [0, [], ["a", "a"], "coco", True, None, 3.5])
def test_bad_skeletons_are_refused(bad):
    with pytest.raises(ValueError, match=r"expected (at least one keypoint name|KeypointMeta, its config)"):
        PoseTracker(bad)


def test_supervision_in_and_out(shape, coco_keypoints, rng):
    sv = pytest.importorskip("supervision")
    tracker, other = (PoseTracker(coco_keypoints, smoothing={}) for _ in range(2))
    for i, (order, xy, scores) in enumerate(walk(shape, 10, rng, noise=2.0)):
        xy, scores = xy.astype(np.float32), scores.astype(np.float32)
        given = sv.KeyPoints(
            xy=xy.copy(), class_id=order, keypoint_confidence=scores,
            detection_confidence=np.array([0.5, 0.9, 0.7], np.float32), data={"name": order},
        )  # fmt: skip
        tracked = tracker.update_supervision(given, timestamp=i / 25)
        wanted = other.update_arrays(xy, scores, [0.5, 0.9, 0.7], i / 25)
        assert isinstance(tracked, sv.KeyPoints)
        np.testing.assert_array_equal(tracked.data["tracker_id"], wanted.ids)
        np.testing.assert_array_equal(tracked.xy, wanted.keypoints)
        np.testing.assert_array_equal(tracked.data["name"], order)
        np.testing.assert_array_equal(tracked.class_id, order)
        np.testing.assert_array_equal(given.xy, xy)
        assert set(given.data) == {"name"}
        assert tracked[1:].data["tracker_id"].tolist() == wanted.ids[1:].tolist()
    nobody = tracker.update_supervision(sv.KeyPoints.empty())
    assert nobody.is_empty()
    assert len(nobody.data["tracker_id"]) == 0


def test_supervision_without_scores_and_with_invisible_keypoints(shape):
    sv = pytest.importorskip("supervision")
    xy = (shape + PLACES[:2, None]).astype(np.float32)
    xy[0, :4] = 0
    tracked = PoseTracker(17).update_supervision(sv.KeyPoints(xy=xy))
    assert tracked.data["tracker_id"].tolist() == [0, 1]
    np.testing.assert_array_equal(tracked.xy, xy)
    visible = np.ones((2, 17), bool)
    visible[1] = False
    tracked = PoseTracker(17).update_supervision(sv.KeyPoints(xy=xy, visible=visible))
    assert tracked.data["tracker_id"].tolist() == [0, -1]
    with pytest.raises(TypeError, match=r"expected supervision\.KeyPoints"):
        PoseTracker(17).update_supervision(xy)


def test_a_skeletons_own_tolerances_are_kept(coco_keypoints):
    meta = KeypointMeta.build(coco_keypoints)
    assert PoseTracker(meta).keypoints is meta
    np.testing.assert_array_equal(PoseTracker(coco_keypoints).keypoints.sigmas, meta.sigmas)
