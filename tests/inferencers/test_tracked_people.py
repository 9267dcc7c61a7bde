from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from outcomes import people_of

from ehrpose.media.inputs import InputSource
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


def test_offline_smoothing_fills_gaps_and_draws_what_it_found(inferencer, video, tmp_path):
    """Everyone is missed in every third frame: causal tracking leaves them out, offline smoothing puts them back."""
    options = {"high_score": 0.0, "low_score": 0.0, "min_hits": 1, "max_age": 5.0, "min_similarity": 1e-6}
    real, seen = inferencer.predictor, []

    class Blinking:
        name, meta = real.name, real.meta

        def predict(self, images):
            found = real.predict(images)
            seen.extend(range(len(seen), len(seen) + len(images)))
            return [
                p.select(np.zeros(len(p), bool)) if n % 3 == 1 else p
                for n, p in zip(seen[-len(images) :], found)
            ]

    from ehrpose import PoseInferencer

    blinking = PoseInferencer(Blinking())
    plain = people_of(blinking(video, tracker=options))
    assert [len(rows) > 0 for rows in plain] == [True, False, True] * 3
    seen.clear()
    results = list(blinking(video, tracker={**options, "smoothing": "offline"}, out_dir=tmp_path))
    smoothed = people_of(results)
    assert len(seen) == 9  # the network saw each frame once
    ids = [{person["track_id"] for person in rows} for rows in smoothed]
    for before, now, after in zip(ids, ids[1:], ids[2:]):
        assert before & after <= now
    assert all(smoothed[n] for n in (1, 4))
    filled = [found.people.filled.any() for batch in results for found in batch["results"]]
    assert filled[1]
    assert filled[4]
    assert (tmp_path / "visualizations" / "clip.mp4").stat().st_size > 0
    assert len(json.loads((tmp_path / "predictions" / "clip.json").read_text())) == 9


def test_a_camera_cannot_be_smoothed_offline(inferencer):
    class Camera:
        path, is_camera, fps, name, num_frames, num_read = None, True, 10.0, "webcam0", None, 0

        def close(self):
            pass

    with pytest.raises(
        ValueError, match="expected a recorded video or photos, got a camera, whose frames pass once"
    ):
        list(inferencer(InputSource(video=Camera()), tracker={"smoothing": "offline"}))
