from __future__ import annotations

import numpy as np
import pytest
from four_photos import HEIGHT, PEOPLE, POLYGON, WIDTH, K, labels

from ehrpose.datasets.coco import CocoPoseDataset


def without(key: str, *path) -> dict:
    data = labels()
    node = data
    for step in path:
        node = node[step]
    del node[key]
    return data


def with_value(value, *path) -> dict:
    data = labels()
    node = data
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return data


def with_category(**fields) -> dict:
    return with_value([{"id": 1, "name": "person", **fields}], "categories")


def without_any_keypoints() -> dict:
    data = labels()
    for ann in data["annotations"]:
        ann.pop("keypoints", None)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({**labels(), "images": [], "annotations": []}, "none of 0 photos"),
        (without("images"), "a list 'images'"),
        (without("annotations"), "a list 'annotations'"),
        (with_value({}, "images"), "a list 'images'"),
        (without("file_name", "images", 1), "image 12 has no 'file_name'"),
        (without("id", "images", 1), "image number 1 has no 'id'"),
        (without("width", "images", 0), "image 11 has no 'width'"),
        (with_value(0, "images", 0, "height"), "image 11: expected width and height"),
        (with_value("60", "images", 0, "width"), "image 11: expected width and height"),
        (with_value(PEOPLE, "images", 1, "id"), "image id 11 is used twice"),
        (without("keypoints", "annotations", 0), "annotation 1 has no 'keypoints'$"),
        (without_any_keypoints(), "annotation 1 has no 'keypoints'; no annotation has"),
        (without("image_id", "annotations", 2), "annotation 3 has no 'image_id'"),
        (without("id", "annotations", 2), "annotation number 2 has no 'id'"),
        (with_value(99, "annotations", 2, "image_id"), "annotation 3 belongs to image 99"),
        (with_value([1, 2, 2] * 4, "annotations", 1, "keypoints"), r"annotation 2 has 12 numbers.* 3 \* 5 = 15"),
        (with_value([1, 2, 2] * 17, "annotations", 1, "keypoints"), r"annotation 2 has 51 numbers"),
        (with_value([1, 2, 3] * K, "annotations", 1, "keypoints"), "annotation 2: visibility of nose is 3"),
        (with_value([1, "x", 2] * K, "annotations", 1, "keypoints"), "annotation 2: 'keypoints' must contain only"),
        (with_value([1, None, 2] * K, "annotations", 1, "keypoints"), "annotation 2: .*(NaN|numbers)"),
        (with_value([1, float("nan"), 2] * K, "annotations", 1, "keypoints"), "annotation 2: .*got NaN"),
        (with_value([1, 2, 3], "annotations", 1, "bbox"), "annotation 2: expected 'bbox'"),
        (with_value(None, "annotations", 1, "area"), "annotation 2: .*'area'"),
        (with_value({"size": [WIDTH, HEIGHT], "counts": [1]}, "annotations", 3, "segmentation"), "annotation 4.*RLE"),
        (with_category(keypoints=["nose"] * 17), "no category has the 5 keypoints"),
        (with_category(keypoints=["left_wrist", "nose", "right_wrist", "left_ankle", "right_ankle"]), "in the order"),
        ({**labels(), "annotations": []}, "none of 4 photos has a person with at least 1 labelled keypoint$"),
    ],
)  # fmt: skip
def test_bad_labels_are_refused_with_the_file_and_the_place(build, data, message):
    with pytest.raises(ValueError, match=rf"labels\.json.*{message}"):
        build(data)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "\x00\x01", "[]", "3"])
def test_a_file_that_is_not_a_json_object_is_refused(build, text):
    with pytest.raises(ValueError, match=r"labels\.json.*JSON"):
        build(text=text)


def test_a_missing_file_is_named(folder, five_keypoints):
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        CocoPoseDataset("gone.json", five_keypoints, str(folder))


def test_categories_without_keypoints_are_left_out(build, five_keypoints):
    data = labels()
    data["categories"] = [
        {"id": 1, "name": "person", "keypoints": five_keypoints["names"]},
        {"id": 2, "name": "dog"},
    ]
    data["annotations"].append(
        {"id": 9, "image_id": PEOPLE, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1}
    )
    assert [ann["id"] for ann in build(data).get_data_info(0)["raw_anns"]] == [1, 2]


def test_test_mode_takes_files_without_annotations(build):
    assert len(build(without("annotations"), test_mode=True)) == 4


def test_keypoints_outside_the_photo_are_counted_and_not_labelled(build, warnings):
    data = labels()
    data["annotations"][0]["keypoints"][:6] = [-1, 5, 2, WIDTH + 1, 5, 1]
    data["annotations"][2]["keypoints"][0] = WIDTH  # the far edge still counts as inside
    data["annotations"][1]["keypoints"] = [5, HEIGHT + 7, 2] + [
        0,
        0,
        0,
    ] * 4  # this person has no keypoint left
    item = build(data).get_data_info(0)
    np.testing.assert_array_equal(item["visible"], [[0, 0, 2, 2, 2]])
    assert item["mask_regions"] == [[POLYGON]]
    assert len(warnings) == 1
    assert "3 labelled keypoints outside the photo, treated as unlabelled" in warnings[0]
    assert "annotation 1 has nose at [-1.0, 5.0]" in warnings[0]
