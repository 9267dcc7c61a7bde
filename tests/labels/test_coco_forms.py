"""COCO's relatives: COCO-WholeBody, CrowdPose, FiftyOne's and Roboflow's folders, and sizes of turned photos."""

from __future__ import annotations

import json

import pytest
from label_cases import write_json, write_photo, write_turned_photo

from ehrpose.labels import detect_format, find_format, read_labels, wholebody

THREE = {"dataset_name": "three", "names": ["a", "b", "c"], "swap": [], "skeleton": [], "sigmas": [0.05] * 3}


def coco(annotations, names=("a", "b", "c"), size=(64, 48), file="a.png", **image):
    return {
        "images": [{"id": 1, "file_name": file, "width": size[0], "height": size[1], **image}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, **ann} for i, ann in enumerate(annotations, 1)
        ],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(names)} if names else {"id": 1, "name": "person"}
        ],
    }


def wholebody_annotation(**changes):
    parts = {name: [10.0, 20.0, 0.0] * number for name, number in wholebody.PARTS.items()}
    parts["foot_kpts"] = [5, 6, 2] * 6
    parts["lefthand_kpts"] = [7.0, 8.0, 0.83] * 21
    return {
        "keypoints": [1, 2, 2] * 17,
        "num_keypoints": 17,
        "bbox": [0, 0, 40, 40],
        "area": 900.0,
        **parts,
        **changes,
    }


def test_wholebody_is_133_keypoints_with_its_mirror(tmp_path):
    write_photo(tmp_path / "a.png")
    ann = wholebody_annotation(lefthand_box=[1, 1, 5, 5])
    path = write_json(tmp_path / "w.json", coco([ann], wholebody.NAMES[:17]))
    labels = read_labels(path)
    (one,) = labels.people()
    assert one.keypoints.shape == (133, 3)
    assert one.keypoints[17:23].tolist() == [[5, 6, 2]] * 6
    assert one.keypoints[91:112].tolist() == [[7, 8, 2]] * 21
    assert not one.keypoints[23:91, 2].any()
    flip, names = labels.meta.flip_indices, labels.meta.names
    assert [names[flip[names.index(n)]] for n in ("face_0", "face_27", "face_36", "left_heel", "left_hand_pinky4")] == [
        "face_16", "face_27", "face_45", "right_heel", "right_hand_pinky4",
    ]  # fmt: skip
    assert any("lefthand_box of 1" in note for note in labels.notes)
    find_format("coco").write(labels, tmp_path / "out")
    (again,) = read_labels(tmp_path / "out").people()
    seen = one.keypoints[:, 2] > 0
    assert again.keypoints[seen].tolist() == one.keypoints[seen].tolist()
    assert (int((again.keypoints[:, 2] > 0).sum()), again.area) == (int(seen.sum()), 900.0)


def test_wholebodys_invalid_parts_are_not_labelled_and_wrong_ones_named(tmp_path):
    write_photo(tmp_path / "a.png")
    path = write_json(
        tmp_path / "w.json", coco([wholebody_annotation(foot_valid=False)], wholebody.NAMES[:17])
    )
    assert not next(read_labels(path).people()).keypoints[17:23, 2].any()
    write_json(path, coco([wholebody_annotation(face_kpts=[1, 2, 3])], wholebody.NAMES[:17]))
    with pytest.raises(
        ValueError, match=r"w\.json: annotation 1: expected 204 numbers as 'face_kpts', got 3"
    ):
        read_labels(path)


def test_crowdposes_index_stays(tmp_path):
    write_photo(tmp_path / "a.png")
    ann = {"keypoints": [1, 2, 2] * 3, "bbox": [0, 0, 9, 9], "iscrowd": 0}
    path = write_json(tmp_path / "crowdpose_test.json", coco([ann], crowdIndex=0.45))
    labels = read_labels(path)
    assert list(labels.splits) == ["test"]
    find_format("coco").write(labels, tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations/person_keypoints_test2017.json").read_text())
    assert content["images"][0]["crowdIndex"] == 0.45
    assert content["annotations"][0]["area"] == pytest.approx(0.53 * 81, abs=0.01)


def test_fiftyones_file_without_names_boxes_and_areas_needs_the_skeleton(tmp_path):
    write_photo(tmp_path / "a.png")
    path = write_json(tmp_path / "labels.json", coco([{"keypoints": [10, 10, 2, 20, 20, 2, 0, 0, 0]}], None))
    with pytest.raises(
        ValueError, match="no category has keypoints; give their names and order with `keypoints`"
    ):
        read_labels(path)
    find_format("coco").write(read_labels(path, THREE), tmp_path / "out")
    (one,) = read_labels(tmp_path / "out").people()
    assert list(one.box) == [9, 9, 12, 12]
    assert one.area == pytest.approx(0.53 * 144)


def test_roboflows_folders_are_splits(tmp_path):
    ann = {"keypoints": [1, 2, 2] * 3, "bbox": [0, 0, 9, 9]}
    for name in ("train", "valid"):
        write_photo(tmp_path / name / "a.png")
        write_json(tmp_path / name / "_annotations.coco.json", coco([ann]))
    labels = read_labels(tmp_path)
    assert {split: photos[0].path.parent.name for split, photos in labels.splits.items()} == {
        "train": "train",
        "val": "valid",
    }


def test_several_files_that_are_no_splits_are_refused(tmp_path):
    for name in ("one.json", "two.json"):
        write_json(tmp_path / name, coco([]))
    with pytest.raises(ValueError, match=r"2 annotation files \(one\.json, two\.json\): expected one"):
        read_labels(tmp_path)


def test_the_stored_size_of_a_turned_photo_is_read_upright_where_labels_show_it(tmp_path):
    write_turned_photo(tmp_path / "a.png")  # 40 x 20 stored, 20 x 40 upright
    path = write_json(
        tmp_path / "l.json", coco([{"keypoints": [10, 35, 2] * 3, "bbox": [5, 5, 10, 30]}], size=(40, 20))
    )
    find_format("coco").write(read_labels(path), tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations/person_keypoints_train2017.json").read_text())
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (20, 40)
    write_json(path, coco([{"keypoints": [10, 15, 2] * 3}], size=(40, 20)))
    with pytest.raises(ValueError, match="its EXIF turns it, and its labels do not show for which"):
        find_format("coco").write(read_labels(path), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_path_that_is_no_format_gets_a_reason_from_each(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="is none of the label formats") as caught:
        detect_format(tmp_path)
    for name in ("coco", "yolo", "cvat", "labelme", "label-studio", "deeplabcut", "sleap", "ehrpose"):
        assert f"{name}: expected" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="file or folder not found"):
        detect_format(tmp_path / "nowhere")
