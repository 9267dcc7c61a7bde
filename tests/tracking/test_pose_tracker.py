from __future__ import annotations

import itertools

import numpy as np
import pytest

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import TRACKERS
from ehrpose.structures import People
from ehrpose.tracking import PoseTracker, Tracked

FPS = 25.0


@pytest.fixture(scope="module")
def skeleton(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


@pytest.fixture(scope="module")
def shape():
    """A person of about 30 x 100 px."""
    return np.random.default_rng(5).uniform((-15, -50), (15, 50), (17, 2))


@pytest.fixture
def make(skeleton):
    return lambda **options: PoseTracker(skeleton, frame_rate=FPS, **options)


def found(shape, places, scores=0.6):
    """Return people of one shape at some positions."""
    places = np.asarray(places, float).reshape(-1, 1, 2)
    keypoints = (shape + places).astype(np.float32)
    scores = np.broadcast_to(np.asarray(scores, np.float32), len(keypoints)).copy()
    return People(keypoints, np.full(keypoints.shape[:2], 0.8, np.float32), scores)


def test_people_keep_their_ids_in_any_order(make, shape, rng):
    tracker = make()
    start = np.array([[50.0, 100], [200, 100], [350, 100]])
    for i in range(20):
        order = rng.permutation(3)
        tracked = tracker.update(found(shape, start[order] + (3 * i, i)))
        if i == 0:
            names = {int(person): int(number) for person, number in zip(order, tracked.ids)}
        assert [names[int(person)] for person in order] == tracked.ids.tolist()


def test_people_are_returned_unchanged_without_smoothing(make, shape):
    people = found(shape, [(50, 100)])
    tracked = make().update(people)
    assert isinstance(tracked, Tracked)
    assert tracked.people is people
    assert tracked.ids.dtype == np.int64


def test_people_who_cross_keep_their_ids_with_motion(make, shape):
    def ids_after(motion):
        tracker = make(motion=motion)
        for i in range(40):
            places = np.array([(100 + 5 * i, 100), (300 - 5 * i, 103)])
            # The detector finds no one while they overlap.
            people = People.empty(17) if 15 < i < 25 else found(shape, places)
            tracked = tracker.update(people)
        return tracked.ids.tolist()

    assert ids_after(True) == [0, 1]
    assert ids_after(False) != [0, 1]


def test_a_person_comes_back_until_max_age(make, shape):
    for frames_away, is_same in ((20, True), (60, False)):
        tracker = make(max_age=1.0, min_hits=1)
        for _ in range(5):
            assert tracker.update(found(shape, [(100, 100)])).ids.tolist() == [0]
        for _ in range(frames_away):
            assert tracker.update(People.empty(17)).ids.shape == (0,)
        assert tracker.update(found(shape, [(100, 100)])).ids.tolist() == [0 if is_same else 1]


def test_ids_are_not_reused_until_reset(make, shape):
    tracker = make(max_age=0.0, min_hits=1)
    given = []
    for _ in range(6):
        given += tracker.update(found(shape, [(100, 100), (300, 100)])).ids.tolist()
        tracker.update(People.empty(17))
    assert given == list(range(12))
    tracker.reset()
    assert tracker.update(found(shape, [(100, 100)])).ids.tolist() == [0]


def test_newcomers_wait_for_their_id(make, shape):
    tracker = make(min_hits=3)
    both = [(100, 100), (300, 100)]
    assert tracker.update(found(shape, both[:1])).ids.tolist() == [0]  # first frame of a video: immediately
    ids = [tracker.update(found(shape, both)).ids.tolist() for _ in range(4)]
    assert ids == [[0, -1], [0, -1], [0, 1], [0, 1]]


def test_a_newcomer_who_is_missed_starts_again(make, shape):
    tracker = make(min_hits=2)
    tracker.update(People.empty(17))
    one = found(shape, [(100, 100)])
    ids = [tracker.update(p).ids.tolist() for p in (one, People.empty(17), one, one)]
    assert ids == [[-1], [], [-1], [0]]


def test_low_scores_continue_a_track_but_start_none(make, shape):
    tracker = make(high_score=0.3, low_score=0.1, min_hits=1)
    two = [(100, 100), (300, 100)]
    assert tracker.update(found(shape, two, [0.6, 0.2])).ids.tolist() == [0, -1]
    assert tracker.update(found(shape, two, [0.2, 0.2])).ids.tolist() == [0, -1]
    assert tracker.update(found(shape, two, [0.05, 0.6])).ids.tolist() == [-1, 1]


def test_a_better_person_nearby_does_not_take_anothers_id(make, shape):
    tracker = make()
    tracker.update(found(shape, [(100, 100)]))
    # The newcomer comes first and has the higher score; the best match wins.
    assert tracker.update(found(shape, [(108, 104), (101, 100)], [0.9, 0.5])).ids.tolist() == [-1, 0]


def test_a_person_elsewhere_is_another_person(make, shape):
    tracker = make(min_hits=1)
    tracker.update(found(shape, [(100, 100)]))
    assert tracker.update(found(shape, [(220, 100)])).ids.tolist() == [1]


def test_boxes_decide_where_few_keypoints_are_common(make, shape):
    tracker = make()
    upper, lower = found(shape, [(100, 100)]), found(shape, [(100, 100)])
    upper.keypoint_scores[:, 9:] = 0
    lower.keypoint_scores[:, :8] = 0
    assert tracker.update(upper).ids.tolist() == [0]
    assert tracker.update(lower).ids.tolist() == [0]


def test_broken_keypoints_and_scores_are_tolerated(make, shape):
    tracker = make(smoothing={})
    places = [(100, 100), (300, 100), (500, 100)]
    for _ in range(4):
        people = found(shape, places)
        people.keypoints[0, :6] = np.nan
        people.keypoints[1, 3] = np.inf
        people.keypoint_scores[0, 10:] = 0
        people.scores[2] = np.nan
        tracked = tracker.update(people)
        assert tracked.ids.tolist() == [0, 1, -1]
        assert np.isnan(tracked.people.keypoints[0, :6]).all()
        np.testing.assert_allclose(tracked.people.keypoints[0, 6:], people.keypoints[0, 6:], atol=1e-3)
    nothing = found(shape, places)
    nothing.keypoints[:] = np.nan
    assert tracker.update(nothing).ids.tolist() == [-1, -1, -1]
    assert tracker.update(found(shape, places)).ids.tolist() == [0, 1, -1]


def test_one_keypoint_is_enough_to_be_tracked(make):
    tracker = make(min_hits=1)
    for i in range(5):
        people = People(
            np.full((1, 17, 2), 40.0 + i, np.float32), np.eye(1, 17, dtype=np.float32), np.ones(1, np.float32)
        )
        assert tracker.update(people).ids.tolist() == [0]


def test_other_skeletons(five_keypoints):
    tracker = TRACKERS.build(dict(type="PoseTracker", keypoints=five_keypoints, smoothing={}))
    pose = np.array([[0, 0], [-10, 20], [10, 20], [-5, 60], [5, 60]], float)
    for i in range(6):
        tracked = tracker.update(found(pose, [(50 + i, 50), (200 - i, 50)]))
        assert tracked.ids.tolist() == [0, 1]
    with pytest.raises(
        ValueError, match="people have 17 keypoints, expected 5 for the tracker's skeleton 'five'"
    ):
        tracker.update(People.empty(17))


def test_forty_people(make, shape, rng):
    tracker = make()
    start = np.array(list(itertools.product(range(60, 860, 100), range(80, 780, 140)))[:40], float)
    speed = rng.uniform(-1, 1, (40, 2))
    for i in range(30):
        tracked = tracker.update(found(shape + rng.normal(0, 0.5, shape.shape), start + speed * i))
        assert tracked.ids.tolist() == list(range(40))


def test_no_people_for_a_long_time(make, shape):
    tracker = make(smoothing={})
    for _ in range(300):
        assert len(tracker.update(People.empty(17)).ids) == 0
    ids = [tracker.update(found(shape, [(100, 100)])).ids.tolist() for _ in range(2)]
    assert ids == [[-1], [0]]


@pytest.mark.parametrize("later", [1.0, 0.4, -5.0])
def test_time_must_increase(make, shape, later):
    tracker = make()
    tracker.update(found(shape, [(100, 100)]), 1.0)
    with pytest.raises(ValueError, match=r"not later than that of the last frame, 1\.0 s.*reset\(\)"):
        tracker.update(found(shape, [(100, 100)]), later)
    assert tracker.update(found(shape, [(100, 100)]), 1.1).ids.tolist() == [0]  # the state is intact
    tracker.reset()
    tracker.update(found(shape, [(100, 100)]), 0.0)


def test_time_must_be_finite(make):
    with pytest.raises(ValueError, match="expected seconds, got nan"):
        make().update(People.empty(17), float("nan"))


def test_dropped_frames_are_bridged_by_their_time(make, shape):
    tracker = make()
    times = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 30]
    for i in times:
        assert tracker.update(found(shape, [(100 + 6 * i, 100)]), i / FPS).ids.tolist() == [0]


def test_a_long_pause_forgets_all_people(make, shape):
    tracker = make(min_hits=1, max_age=2.0)
    tracker.update(found(shape, [(100, 100)]), 0.0)
    assert tracker.update(found(shape, [(100, 100)]), 60.0).ids.tolist() == [1]


def test_one_frame_per_second_is_not_a_pause(make, shape):
    tracker = make(max_age=0.1)
    for i in range(5):
        assert tracker.update(found(shape, [(100 + i, 100)]), float(i)).ids.tolist() == [0]


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_ids_do_not_depend_on_the_resolution(make, shape, rng, factor):
    trackers = [make(smoothing={}), make(smoothing={})]
    for i in range(30):
        noisy = shape + rng.normal(0, 1, shape.shape)
        places = np.array([(100 + 5 * i, 100), (300 - 5 * i, 110)])
        small = trackers[0].update(found(noisy, places))
        large = trackers[1].update(found(noisy * factor, places * factor))
        assert small.ids.tolist() == large.ids.tolist()
        np.testing.assert_allclose(
            large.people.keypoints, small.people.keypoints * factor, rtol=1e-3, atol=1e-2
        )


def test_smoothing_damps_jitter_and_does_not_lag_behind_a_walker(make, shape, rng):
    tracker = make(smoothing=dict(min_cutoff=1.0, beta=1.0))
    true, raw, smooth = [], [], []
    for i in range(100):
        clean = found(shape, [(100 + 4 * i, 100)])
        people = found(shape + rng.normal(0, 1.5, shape.shape), [(100 + 4 * i, 100)])
        before = people.keypoints.copy()
        out = tracker.update(people).people
        assert (people.keypoints == before).all()  # the input is not modified
        true.append(clean.keypoints[0])
        raw.append(people.keypoints[0])
        smooth.append(out.keypoints[0])
    true, raw, smooth = (np.array(values)[20:] for values in (true, raw, smooth))
    assert np.abs(np.diff(smooth, 2, axis=0)).mean() < 0.4 * np.abs(np.diff(raw, 2, axis=0)).mean()
    assert np.abs(smooth - true).mean() < 0.8 * np.abs(raw - true).mean()
    assert abs((smooth - true)[..., 0].mean()) < 0.5  # a lag of 4 px per frame would show


@pytest.mark.parametrize(
    "options",
    [
        {"frame_rate": 0},
        {"max_age": -1},
        {"min_hits": 0},
        {"low_score": 0.5},
        {"keypoint_score": -1},
        {"min_similarity": 0},
        {"min_common": 0},
        {"acceleration": 0},
        {"decay": 0},
        {"smoothing": {"beta": -1}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_bad_options_are_named(skeleton, options):
    name = "beta" if "smoothing" in options else next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: expected"):
        PoseTracker(skeleton, **options)


@pytest.mark.parametrize("smoothing", [{"betta": 1}, True])
def test_wrong_smoothing_is_named(skeleton, smoothing):
    with pytest.raises(ValueError, match="smoothing: expected options of OneEuroFilter"):
        PoseTracker(skeleton, smoothing=smoothing)


def test_smoothing_keeps_what_is_filled(coco_keypoints, rng):
    points = rng.uniform(0, 200, (2, 17, 2)).astype(np.float32)
    filled = rng.random((2, 17)) < 0.3
    found = People(points, np.full((2, 17), 0.6, np.float32), np.full(2, 0.6, np.float32), filled=filled)
    tracker = PoseTracker(coco_keypoints, smoothing={})
    for seconds in (0.0, 0.1, 0.2):
        tracked = tracker.update(found, seconds)
    np.testing.assert_array_equal(tracked.people.filled, filled)
