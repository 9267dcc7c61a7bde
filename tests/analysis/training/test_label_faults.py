"""The faults that the plant tool plants, and how it counts those that a check names."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from ehrpose.analysis.training.label_faults import Plant, plant_faults, score
from ehrpose.data_check import misplaced, sides
from ehrpose.data_check.coco_source import find_label_files, read_labels
from ehrpose.data_check.findings import as_record
from ehrpose.data_check.kinds import KINDS, find_all
from ehrpose.data_check.photo_scan import scan_photos
from ehrpose.datasets.converters.synthetic_folder import write_synthetic_folder
from ehrpose.datasets.synthetic.dataset import SyntheticPeople

EACH = 2
LABELS = "annotations/person_keypoints_{}2017.json"
FAULTS = (
    "left and right exchanged",
    "box elsewhere",
    "keypoint moved",
    "photo twice in train",
    "train photo in val",
    "photo truncated",
    "size or orientation",
    "no keypoints, or person twice",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, coco_keypoints):
    out = tmp_path_factory.mktemp("faults") / "data"
    options = {"num_people": (1, 1), "person_height": (0.3, 0.45), "occlusion": 0.0, "clutter": 0.3}
    splits = [("train", SyntheticPeople(coco_keypoints, 40, 0, image_size=(160, 120), **options))]
    splits.append(("val", SyntheticPeople(coco_keypoints, 4, 1, image_size=(160, 120), **options)))
    write_synthetic_folder(splits, out)
    return out


@pytest.fixture(scope="module")
def planted(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("planted") / "copy"
    return plant_faults(folder, out, 3, EACH), out


def people(folder, split="train"):
    content = json.loads((folder / LABELS.format(split)).read_text())
    return {ann["id"]: ann for ann in content["annotations"]}


def of(plants, fault):
    return [plant for plant in plants if plant.fault == fault]


def test_every_kind_is_planted_once_in_a_photo(planted):
    plants, _ = planted
    assert Counter(plant.fault for plant in plants) == dict.fromkeys(FAULTS, EACH)
    names = [plant.photo.replace("copy_", "").replace("leak_", "") for plant in plants]
    assert len(set(names)) == len(names)
    assert {kind for plant in plants for kind in plant.kinds} <= set(KINDS)


def test_labels_are_changed_as_said_and_no_others(folder, planted):
    plants, out = planted
    before, after = people(folder), people(out)
    flip = list(read_labels(find_label_files(folder)).meta.flip_indices)
    changed = {i for i in before if before[i] != after[i]}
    twice = of(plants, "no keypoints, or person twice")[1]
    assert changed == {plant.person for plant in plants if plant.person is not None} - {twice.person}
    for plant in of(plants, "left and right exchanged"):
        own = np.reshape(before[plant.person]["keypoints"], (-1, 3))
        np.testing.assert_array_equal(own[flip].ravel(), after[plant.person]["keypoints"])
    for plant in of(plants, "keypoint moved"):
        (old, new), box = ([np.reshape(each[plant.person]["keypoints"], (-1, 3)) for each in (before, after)],
                           before[plant.person]["bbox"])  # fmt: skip
        reach = np.linalg.norm((new - old)[:, :2], axis=1) / max(box[2:])
        assert (reach > 0).sum() == 1
        assert 0.5 <= reach.max() <= 1
    for plant in of(plants, "box elsewhere"):
        shift = np.subtract(after[plant.person]["bbox"], before[plant.person]["bbox"])
        assert shift[2:].tolist() == [0, 0]
        assert 0.75 <= np.linalg.norm(shift[:2] / before[plant.person]["bbox"][2:]) <= 1.5
    assert not any(after[of(plants, "no keypoints, or person twice")[0].person]["keypoints"])


def test_photos_are_links_but_for_the_planted_ones(planted):
    plants, out = planted
    own = {path.name for path in out.glob("*2017/*") if not path.is_symlink()}
    written = ("photo twice in train", "train photo in val", "photo truncated")
    turned = of(plants, "size or orientation")[1].photo
    assert own == {plant.photo for plant in plants if plant.fault in written} | {turned}
    (first, second) = (cv2.imread(str(out / "train2017" / name)) for name in (turned, next(
        path.name for path in (out / "train2017").iterdir() if path.is_symlink())))  # fmt: skip
    assert first.shape[:2] == second.shape[1::-1]


def test_the_same_seed_plants_the_same(folder, planted, tmp_path):
    plants, out = planted
    assert plant_faults(folder, tmp_path / "again", 3, EACH) == plants
    assert people(tmp_path / "again") == people(out)
    assert plant_faults(folder, tmp_path / "other", 4, EACH) != plants


def test_a_check_names_all_faults_that_need_no_network(planted):
    plants, out = planted
    labels = read_labels(find_label_files(out))
    kinds = [name for name in KINDS if name not in (sides.KIND, misplaced.KIND)]
    found = find_all(labels, scan_photos(labels.photos), kinds)
    records = [as_record(finding, labels) for findings in found.values() for finding in findings]
    result = score(plants, records, [])
    unnamed = dict.fromkeys(("left and right exchanged", "keypoint moved"), 0)
    assert result.named == {**dict.fromkeys(FAULTS, EACH), **unnamed}


def record(kind, person, level="warning", photo="a.jpg"):
    return {"kind": kind, "level": level, "split": "train", "photo": photo, "person": person}


def test_what_counts_as_named_and_as_other():
    plants = [
        Plant("moved", ("misplaced-keypoint",), "train", "a.jpg", 1),
        Plant("cut", ("broken-photo",), "train", "b.jpg"),
    ]
    moved, cut = record("misplaced-keypoint", 1), record("broken-photo", None, "error", "b.jpg")
    neighbour, hint = record("misplaced-keypoint", 2), record("box-keypoints", 3, "hint")
    assert score(plants, [moved, cut], []) == ({"moved": 1, "cut": 1}, 0, 0)
    assert score(plants, [{**moved, "level": "hint"}, hint], []) == ({"moved": 0, "cut": 0}, 0, 0)
    assert score(plants, [record("box-keypoints", 1)], []) == ({"moved": 0, "cut": 0}, 0, 0)
    assert score(plants, [moved, neighbour], []) == ({"moved": 1, "cut": 0}, 1, 0)
    assert score(plants, [moved, neighbour], [neighbour]) == ({"moved": 1, "cut": 0}, 1, 1)
    assert score(plants, [record("misplaced-keypoint", 9, photo="b.jpg")], []).others == 0


def test_the_tool_prints_the_median_and_the_worst(folder, tmp_path, monkeypatch, capsys, root):
    monkeypatch.syspath_prepend(root / "tools" / "analysis_tools")
    import plant_label_faults

    plant_label_faults.main([str(folder), "--out", str(tmp_path), "--seeds", "5", "6", "--each", "1"])
    told = capsys.readouterr().out.split("seeds 5 6: median, worst, each\n")[1].splitlines()
    assert told[:3] == [
        f"{FAULTS[0]}: 0, 0, [0, 0]",
        f"{FAULTS[1]}: 1, 1, [1, 1]",
        f"{FAULTS[2]}: 0, 0, [0, 0]",
    ]
    assert told[8].startswith("all named: 6, 6,")
    assert told[10] == "others that are new: 0, 0, [0, 0]"
