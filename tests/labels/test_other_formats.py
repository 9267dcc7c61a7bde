"""CVAT, labelme, DeepLabCut, SLEAP and ehrpose's own predictions."""

from __future__ import annotations

import json
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from label_cases import label_set, person, write_json, write_photo

from ehrpose.labels import LABEL_FORMATS, detect_format, find_format, read_labels
from ehrpose.labels.label_format import FIELDS
from ehrpose.labels.table import format_list, format_table

POINTS = [(4, 5, 2), (6, 7, 1), (0, 0, 0), (8, 9, 2), (1, 1, 2)]
CSV = """scorer,,,me,me,me,me,me,me,me,me
individuals,,,m1,m1,m1,m1,m2,m2,m2,m2
bodyparts,,,tail,tail,nose,nose,tail,tail,nose,nose
coords,,,x,y,x,y,x,y,x,y
labeled-data,video,img001.png,1.5,2,,,10,11,12,13
"""


@pytest.mark.parametrize("name", sorted(LABEL_FORMATS.module_dict))
def test_every_format_says_what_it_is_and_refuses_others(name, tmp_path):
    one = find_format(name)
    assert one.title
    assert one.docs.endswith(".")
    assert one.holds <= set(FIELDS)
    write_photo(tmp_path / "a.png")
    assert one.check(tmp_path).startswith("expected ")
    with pytest.raises(ValueError, match=r"^[^\n]*expected [^\n]*$"):
        one.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="file or folder not found"):
        one.read(tmp_path / "none")
    for suffix in ("json", "xml", "yaml", "csv", "slp"):
        (tmp_path / f"broken.{suffix}").write_bytes(b"{\x00<[")
        assert "\n" not in (one.check(tmp_path / f"broken.{suffix}") or "\n")


def test_the_page_has_the_registrys_table_and_list(root):
    page = (root / "docs" / "labels.md").read_text(encoding="utf-8")
    assert format_table() in page
    assert " ".join(format_list().split()) in " ".join(page.split())


def test_a_cvat_task_can_be_made_with_the_labels_written(tmp_path, five_keypoints):
    labels = label_set(tmp_path / "photos", five_keypoints, [person(POINTS, box=[1, 2, 20, 30])])
    find_format("cvat").write(labels, tmp_path / "out")
    raw = {label["name"]: label for label in json.loads((tmp_path / "out/cvat_labels.json").read_text())}
    assert [sub["name"] for sub in raw["person"]["sublabels"]] == list(labels.meta.names)
    drawing = ElementTree.fromstring(f"<svg>{raw['person']['svg']}</svg>")
    assert [node.get("data-label-name") for node in drawing.iter("circle")] == list(labels.meta.names)
    assert len(list(drawing.iter("line"))) == len(labels.meta.skeleton)
    used = {
        e.get("label")
        for e in ElementTree.parse(tmp_path / "out/annotations.xml").getroot().iterfind("image/*")
    }
    assert used == {"person", "person_box"} <= set(raw)


def test_outside_points_of_cvat_stay_unlabelled(tmp_path, five_keypoints):
    labels = label_set(tmp_path / "photos", five_keypoints, [person(POINTS)])
    find_format("cvat").write(labels, tmp_path / "out")
    points = ElementTree.parse(tmp_path / "out/annotations.xml").getroot().findall("image/skeleton/points")
    assert [point.get("outside") for point in points] == list("00100")
    assert [point.get("occluded") for point in points] == list("01000")
    assert next(read_labels(tmp_path / "out").people()).keypoints.tolist() == POINTS_AS_LISTS


POINTS_AS_LISTS = [list(map(float, point)) for point in POINTS]


def test_deeplabcuts_order_individuals_and_gaps(tmp_path):
    folder = tmp_path / "labeled-data/video"
    write_photo(folder / "img001.png")
    (folder / "CollectedData_me.csv").write_text(CSV)
    labels = read_labels(tmp_path)
    assert labels.meta.names == ("tail", "nose")  # sleap-io sorts them
    first, second = labels.people()
    assert first.keypoints.tolist() == [[1.5, 2, 2], [0, 0, 0]]
    assert second.keypoints.tolist() == [[10, 11, 2], [12, 13, 2]]
    assert labels.photos()[0].name == "video/img001.png"


def test_deeplabcuts_h5_and_broken_cells_are_named(tmp_path):
    (tmp_path / "CollectedData_me.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        ValueError, match="expected DeepLabCut's csv, got an h5 file: give the csv next to it"
    ):
        read_labels(tmp_path / "CollectedData_me.h5", format="deeplabcut")
    path = tmp_path / "CollectedData_me.csv"
    path.write_text(CSV.replace("1.5", "one"))
    with pytest.raises(ValueError, match=r"CollectedData_me\.csv: .*img001\.png, tail: expected two numbers"):
        read_labels(path)


def test_sleap_through_sleap_io(tmp_path, five_keypoints):
    pytest.importorskip("sleap_io", reason="sleap-io is in the extra 'labels'")
    labels = label_set(tmp_path / "photos", five_keypoints, [person(POINTS), person(POINTS[::-1])])
    find_format("sleap").write(labels, tmp_path / "out")
    again = read_labels(tmp_path / "out")
    assert [p.keypoints.tolist() for p in again.people()] == [POINTS_AS_LISTS, POINTS_AS_LISTS[::-1]]
    assert again.meta.names == labels.meta.names
    assert again.meta.flip_indices == labels.meta.flip_indices
    assert again.meta.skeleton == labels.meta.skeleton
    assert again.photos()[0].path == (tmp_path / "out/images/train.png").resolve()


def test_sleap_without_its_package_says_what_to_install(tmp_path, five_keypoints, monkeypatch):
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    labels = label_set(tmp_path / "photos", five_keypoints, [person(POINTS)])
    with pytest.raises(ValueError, match=r"pip install 'ehrpose\[labels\]'"):
        find_format("sleap").write(labels, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def prediction(num=17, **changes):
    scores = [0.9] * num
    scores[1] = 0.2
    return {
        "keypoints": [[float(k), 5.0] for k in range(num)],
        "keypoint_scores": scores,
        "bbox": [[1.0, 2.0, 21.0, 32.0]],
        "bbox_score": 0.8,
        **changes,
    }


def test_predictions_become_labels_with_scores(tmp_path, coco_keypoints):
    write_photo(tmp_path / "photos/sub/a.png")
    write_json(tmp_path / "outputs/a.json", [prediction(track_id=4)])
    write_photo(tmp_path / "photos/empty.png")
    write_json(tmp_path / "outputs/empty.json", [])
    labels = read_labels(tmp_path / "outputs", photos=tmp_path / "photos")
    assert labels.meta.names == tuple(coco_keypoints["names"])
    (one,) = labels.people()
    assert (one.score, one.track_id, list(one.box)) == (0.8, 4, [1, 2, 20, 30])
    assert one.keypoints[:3].tolist() == [[0, 5, 2], [0, 0, 0], [2, 5, 2]]
    assert {photo.name: len(photo.people) for photo in labels.photos()} == {"sub/a.png": 1, "empty.png": 0}
    more = read_labels(tmp_path / "outputs", photos=tmp_path / "photos", kpt_thr=0.1)
    assert next(more.people()).keypoints[1].tolist() == [1, 5, 2]


@pytest.mark.parametrize("name", ["cvat", "label-studio"])
def test_predictions_of_zoo_models_are_pre_labels(name, tmp_path):
    write_photo(tmp_path / "photos/a.png")
    write_json(tmp_path / "outputs/a.json", [prediction()])
    labels = read_labels(tmp_path / "outputs", photos=tmp_path / "photos")
    find_format(name).write(labels, tmp_path / "out")
    assert detect_format(tmp_path / "out") == name
    (one,) = read_labels(tmp_path / "out").people()
    assert int((one.keypoints[:, 2] > 0).sum()) == 16
    assert np.allclose(one.box, [1, 2, 20, 30])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{"frame_id": 0, "instances": [], "keypoints": [], "keypoint_scores": []}], "got those of a video"),
        ([prediction(4)], r"they have \[4\], expected COCO's 17 or the skeleton as `keypoints`"),
        ([prediction(keypoint_scores=[1.0])], r"a\.json: expected 17 numbers as 'keypoint_scores'"),
        ([prediction(bbox=[1, 2])], r"a\.json: expected x0, y0, x1, y1 as 'bbox'"),
    ],
)
def test_wrong_predictions_are_named(content, told, tmp_path):
    write_photo(tmp_path / "a.png")
    write_json(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=told):
        read_labels(tmp_path, format="ehrpose")


def test_a_prediction_without_its_photo_is_named(tmp_path):
    write_json(tmp_path / "outputs/a.json", [prediction()])
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"a\.json: no photo named a in or below"):
        read_labels(tmp_path / "outputs", photos=tmp_path / "photos")


def test_predictions_cannot_be_written(tmp_path, five_keypoints):
    labels = label_set(tmp_path / "photos", five_keypoints, [person(POINTS)])
    with pytest.raises(ValueError, match="ehrpose predictions can be read only"):
        find_format("ehrpose").write(labels, tmp_path / "out")
