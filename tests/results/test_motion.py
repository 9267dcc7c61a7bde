"""Segment lengths and joint angles, and the formats motion and trc."""

from __future__ import annotations

import csv
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.results.motion import joint_angles, joints, motion_columns, segment_lengths, segments
from ehrpose.results.results import Results
from ehrpose.results.writers import WRITERS
from ehrpose.structures import People

SIZE_WH = (200, 100)
# A leg that is bent at the knee, and the shoulder above it.
LEG = {"left_hip": (50, 20), "left_knee": (50, 50), "left_ankle": (80, 50), "left_shoulder": (50, 0)}


@pytest.fixture(scope="module")
def meta(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


@pytest.fixture(scope="module")
def leg(meta):
    """One person with four keypoints, (1, 17, 3)."""
    keypoints = np.zeros((1, 17, 3), np.float32)
    for name, place in LEG.items():
        keypoints[0, meta.names.index(name)] = (*place, 0.5)
    return keypoints


def people_of(keypoints, filled=None):
    return People(
        keypoints[..., :2], keypoints[..., 2], np.full(len(keypoints), 0.7, np.float32), None, filled
    )


def skeleton(names, limbs, swap=()):
    return {
        "dataset_name": "toy", "names": names, "sigmas": [0.1] * len(names), "swap": swap, "skeleton": limbs,
    }  # fmt: skip


def named(values, names):
    return {name: value for name, value in zip(names, values) if not math.isnan(value)}


@pytest.mark.parametrize("name", ["coco", "crowdpose"])
def test_joints_of_the_shipped_skeletons(name):
    config = pytest.importorskip("mmengine.config")
    path = Path(__file__).resolve().parents[2] / "configs/_base_/keypoints" / f"{name}.py"
    meta = KeypointMeta.build(config.Config.fromfile(str(path)).keypoints.to_dict())
    found = {joint.name: {meta.names[joint.first], meta.names[joint.last]} for joint in joints(meta)}
    wanted = {}
    for side in ("left", "right"):
        for name, ends in {
            "shoulder": ("hip", "elbow"), "elbow": ("shoulder", "wrist"),
            "hip": ("shoulder", "knee"), "knee": ("hip", "ankle"),
        }.items():  # fmt: skip
            wanted[f"{side}_{name}"] = {f"{side}_{end}" for end in ends}
    assert found == wanted
    assert len(joints(meta)) == 8
    assert all(meta.names[joint.centre] == joint.name for joint in joints(meta))


def test_limbs_to_the_middle_count_where_no_others_do():
    names = ["neck", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "nose", "left_hip"]
    swap = [("left_shoulder", "right_shoulder"), ("left_elbow", "right_elbow")]
    limbs = [("neck", "left_shoulder"), ("neck", "right_shoulder"), ("left_shoulder", "left_elbow")]
    limbs += [("right_shoulder", "right_elbow"), ("nose", "neck"), ("nose", "left_shoulder")]
    found = {joint.name: (joint.first, joint.last) for joint in joints(skeleton(names, limbs, swap))}
    # The neck too, as the limb to the nose does not count.
    assert found == {"neck": (1, 2), "left_shoulder": (0, 3), "right_shoulder": (0, 4)}
    found = {joint.name for joint in joints(skeleton(names, [*limbs, ("neck", "left_hip")], swap))}
    assert found == {"left_shoulder", "right_shoulder"}  # at the neck three meet


def test_limbs_that_are_there_twice_count_once():
    found = segments(skeleton(["a", "b", "c"], [("a", "b"), ("b", "c"), ("b", "a"), ("a", "b")]))
    assert found == ((0, 1), (1, 2))
    assert len(joints(skeleton(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "b")]))) == 1


def test_lengths_and_angles_of_a_bent_leg(leg, meta):
    lengths = named(
        segment_lengths(leg, meta)[0], [f"{meta.names[a]} {meta.names[b]}" for a, b in segments(meta)]
    )
    assert lengths == {"left_ankle left_knee": 30, "left_knee left_hip": 30, "left_shoulder left_hip": 20}
    angles = named(joint_angles(leg, meta)[0], [joint.name for joint in joints(meta)])
    assert angles == pytest.approx({"left_knee": 90, "left_hip": 180})


@pytest.mark.parametrize("degrees", [0, 1e-6, 30, 90, 179.999999, 180])
def test_angles_are_exact_and_do_not_depend_on_place_size_and_turn(degrees, rng):
    toy = skeleton(["a", "b", "c"], [("a", "b"), ("b", "c")])
    turn = math.radians(degrees)
    person = np.array([[1, 0], [0, 0], [math.cos(turn), math.sin(turn)]])
    assert joint_angles(person, toy) == pytest.approx(degrees, abs=1e-9)
    for _ in range(5):
        way = rng.uniform(0, 2 * math.pi)
        turned = person @ np.array([[math.cos(way), math.sin(way)], [-math.sin(way), math.cos(way)]])
        moved = turned * (3.0, 3.0) * rng.uniform(0.5, 50) + rng.uniform(-10, 10, 2)
        assert joint_angles(moved, toy) == pytest.approx(degrees, abs=1e-6)
        assert joint_angles(moved * (1, -1), toy) == pytest.approx(degrees, abs=1e-6)


def test_what_is_missing_has_no_length_and_no_angle(leg, meta):
    index = meta.names.index
    for name, gone in (("left_ankle", {"left_knee"}), ("left_hip", {"left_knee", "left_hip"})):
        for bad in ((1, 1, 0), (np.nan, 1, 0.5), (1, np.inf, 0.5), (1, 1, np.nan)):
            person = leg.copy()
            person[0, index(name)] = bad
            angles = named(joint_angles(person, meta)[0], [joint.name for joint in joints(meta)])
            assert set(angles) == {"left_knee", "left_hip"} - gone
            lengths = segment_lengths(person, meta)[0]
            assert all(math.isnan(lengths[i]) for i, limb in enumerate(segments(meta)) if index(name) in limb)
    person = leg.copy()
    person[0, index("left_ankle")] = person[0, index("left_knee")]
    assert np.isnan(joint_angles(person, meta)[0, [joint.name for joint in joints(meta)].index("left_knee")])
    assert np.nanmin(segment_lengths(person, meta)) == 0


def test_frames_people_and_results_are_measured_alike(meta, rng):
    video = rng.uniform(0, 100, (4, 3, 17, 3))
    lengths, angles = segment_lengths(video, meta), joint_angles(video, meta)
    assert lengths.shape == (4, 3, 19)
    assert angles.shape == (4, 3, 8)
    assert ((angles >= 0) & (angles <= 180)).all()
    for t in range(4):
        results = Results(people_of(video[t].astype(np.float32)), meta, SIZE_WH)
        np.testing.assert_allclose(segment_lengths(results), lengths[t], rtol=1e-5)
        np.testing.assert_allclose(joint_angles(results), angles[t], atol=1e-2)
        np.testing.assert_allclose(joint_angles(results.people, meta), angles[t], atol=1e-2)
    np.testing.assert_array_equal(segment_lengths(video[0, 1, :, :2], meta.to_dict()), lengths[0, 1])
    assert joint_angles(np.zeros((0, 17, 2)), meta).shape == (0, 8)


def test_bad_arrays_are_refused(leg, meta):
    with pytest.raises(ValueError, match=r"expected keypoints of shape \(\.\.\., K, 2\) .*, got \(17,\)"):
        segment_lengths(np.zeros(17), meta)
    with pytest.raises(ValueError, match="people have 5 keypoints, expected 17 for the skeleton 'coco'"):
        joint_angles(np.zeros((1, 5, 2)), meta)
    with pytest.raises(ValueError, match="expected a skeleton"):
        joint_angles(leg)


def test_rows_of_results(leg, meta):
    filled = np.zeros((1, 17), bool)
    filled[0, meta.names.index("left_knee")] = True
    results = Results(people_of(leg, filled), meta, SIZE_WH, "a.mp4", 3, 0.12, np.array([7]))
    (row,) = results.to_motion()
    assert tuple(row) == motion_columns(meta)
    assert (row["frame"], row["time"], row["person"], row["id"], row["filled"]) == (3, 0.12, 0, 7, 0.25)
    assert (row["left_knee-left_hip_px"], row["left_knee_deg"], row["right_knee_deg"]) == (30, 90, None)
    (row,) = Results(people_of(leg), meta, SIZE_WH).to_motion()
    assert (row["time"], row["id"], row["filled"]) == (None, None, None)


class Walkers:
    """Finds as many people as the first pixel of the frame says; each stands 60 px to the right of the last."""

    name = "walkers"

    def __init__(self, meta, leg):
        self.meta, self.leg = meta, leg

    def predict(self, images):
        found = []
        for image in images:
            places = np.repeat(self.leg, image[0, 0, 0], axis=0)
            places[..., 0] += 60 * np.arange(len(places))[:, None]
            found.append(people_of(places))
        return found


def run(meta, leg, out, counts, kind, **options):
    photos = [np.full((SIZE_WH[1], SIZE_WH[0], 3), count, np.uint8) for count in counts]
    inferencer = PoseInferencer(Walkers(meta, leg))
    list(inferencer(photos, pred_out_dir=out, pred_format=kind, **options))
    return inferencer.written


def test_a_table_of_motion(meta, leg, tmp_path):
    (path,) = run(meta, leg, tmp_path, [2, 0, 1], "motion", fps=25, tracker=True)
    assert path.name == "sequence_motion.csv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time"], row["person"], row["id"]) for row in rows] == [
        ("0", "0.0", "0", "0"), ("0", "0.0", "1", "1"), ("2", "0.08", "0", "0"),
    ]  # fmt: skip
    assert {row["left_knee_deg"] for row in rows} == {"90.0"}
    assert {row["right_knee_deg"] for row in rows} == {""}
    assert tuple(rows[0]) == motion_columns(meta)


def test_a_table_of_photos_and_of_nothing(meta, leg, tmp_path):
    (path,) = run(meta, leg, tmp_path, [1], "motion")
    assert path.name == "predictions_motion.csv"
    assert path.read_text().splitlines()[1].startswith("0,,0,,")
    (path,) = WRITERS["motion"](tmp_path, "none").close()
    assert path.read_text() == "frame,time,person,id,filled\n"


def test_a_long_table_takes_little_memory(meta, leg, tmp_path):
    one = Results(people_of(leg), meta, SIZE_WH, "clip.mp4", 0, 0.0)
    writer = WRITERS["motion"](tmp_path, "clip")
    for _ in range(50):
        writer.add(one, "")
    tracemalloc.start()
    for _ in range(500):
        writer.add(one, "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    assert len(writer.close()[0].read_text().splitlines()) == 551
