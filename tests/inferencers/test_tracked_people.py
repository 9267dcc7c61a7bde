from __future__ import annotations

import cv2
import numpy as np
import pytest
from outcomes import people_of

from ehrpose.tracking.pose_tracker import Tracked


class Numbers:
    """A tracker that gives each person a new id in every frame."""

    def __init__(self):
        self.count, self.times = 0, []

    def update(self, people, timestamp):
        self.times.append(timestamp)
        self.count += len(people)
        return Tracked(people, np.arange(self.count - len(people), self.count))


def test_a_tracker_gives_people_their_ids(inferencer, video, scene_photos):
    tracker = Numbers()
    everyone = [person for rows in people_of(inferencer(video, tracker=tracker)) for person in rows]
    assert [person["track_id"] for person in everyone] == list(range(tracker.count))
    assert tracker.count > 3
    assert tracker.times == pytest.approx([0.1 * i for i in range(9)])
    (plain, *_) = inferencer(video, return_vis=True, kpt_thr=0)
    (labelled, *_) = inferencer(video, return_vis=True, kpt_thr=0, tracker=Numbers(), color_by="id")
    assert (labelled["visualization"][0] != plain["visualization"][0]).any()
    with pytest.raises(ValueError, match="pass fps"):
        list(inferencer(scene_photos, tracker=Numbers()))


def test_people_who_stand_still_keep_their_numbers(inferencer, scene_photos):
    photo = cv2.imread(str(scene_photos / "0.png"))
    frames = [photo] * 5
    options = {"high_score": 0.0, "low_score": 0.0}
    (single,) = people_of(inferencer(photo))
    ids = [[p["track_id"] for p in rows] for rows in people_of(inferencer(frames, fps=10, tracker=options))]
    assert ids[0] == list(range(len(single)))
    assert ids.count(ids[0]) == 5
    smoothed = people_of(inferencer(frames, fps=10, tracker={**options, "smoothing": {}}))
    np.testing.assert_allclose(smoothed[4][0]["keypoints"], single[0]["keypoints"], atol=0.02)
    everyone = people_of(inferencer(frames, fps=10, tracker=True))
    assert all("track_id" in person for rows in everyone for person in rows)
    with pytest.raises(ValueError, match="unknown tracker 'Fancy'"):
        list(inferencer(frames, fps=10, tracker={"type": "Fancy"}))
