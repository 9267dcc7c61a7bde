"""Whatever a COCO JSON holds, training and evaluation read the same truth, or one error names file and entry."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from broken_values import GONE, VALUES, mutated, places
from four_photos import HEIGHT, PEOPLE, WIDTH, K, labels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.datasets.coco_masks import decoded, mask_area, mask_points
from ehrpose.evaluation.coco_eval import prepare_truth
from ehrpose.keypoint_meta import KeypointMeta

NAMES = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
POINTS = [10, 8, 2] * K


def small(people: int = 1) -> dict:
    """The labels of four photos with named keypoints; ``people`` of their annotations."""
    data = json.loads(json.dumps(labels()))  # no part is shared
    data["categories"][0]["keypoints"] = list(NAMES)
    data["annotations"] = data["annotations"][:people] if people else data["annotations"]
    return data


@pytest.fixture
def both(tmp_path, five_keypoints):
    """Return the truth of the dataset's ``raw_anns``, and that of the file itself; ids left out."""
    meta = KeypointMeta.build(five_keypoints)

    def both(data):
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(data))
        items = read_coco_json(path, meta, need_annotations=False).items
        ids = [item["img_id"] for item in items]
        seen = {
            "images": [{"id": i["img_id"], "width": i["width"], "height": i["height"]} for i in items],
            "annotations": [ann for item in items for ann in item["raw_anns"]],
        }
        truths = [
            prepare_truth(seen, ids, K),
            prepare_truth(json.loads(path.read_text()), ids, K, meta.names),
        ]
        return items, *(sorted((_plain(a) for a in t["annotations"]), key=str) for t in truths)

    return both


def _plain(ann: dict) -> dict:
    return {key: value for key, value in ann.items() if key not in ("id", "category_id")}


def with_value(value, *path, people=1) -> dict:
    data = small(people)
    node = data
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return data


ANN = ("annotations", 0)
RLE_OF = {"size": [HEIGHT, WIDTH]}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*ANN, "iscrowd"), "0", "annotation 1: expected 0 or 1 as 'iscrowd', got \"0\""),
        ((*ANN, "bbox"), None, "annotation 1: expected 'bbox' as four numbers .* got null"),
        ((*ANN, "bbox"), 5, "annotation 1: expected 'bbox' as four numbers .* got 5"),
        ((*ANN, "bbox"), ["1", "2", "3", "4"], "annotation 1: expected 'bbox'"),
        ((*ANN, "bbox"), [5, 5, -1, 9], r"annotation 1: expected a width and height of at least 0 .* \[5, 5, -1, 9\]"),
        ((*ANN, "bbox"), [5, 5, 9, -0.5], "annotation 1: expected a width and height of at least 0"),
        ((*ANN, "bbox"), [5, 5, float("inf"), 9], "annotation 1: expected 'bbox' as four numbers .* Infinity"),
        ((*ANN, "bbox"), [float("nan"), 5, 9, 9], "annotation 1: expected 'bbox' as four numbers .*NaN"),
        ((*ANN, "bbox"), [5, 5, 9, 1e300], "annotation 1: expected 'bbox' as four numbers"),
        ((*ANN, "area"), -1, "annotation 1: expected a number, at least 0, as 'area', got -1"),
        ((*ANN, "area"), float("inf"), "annotation 1: expected a number, at least 0, as 'area', got Infinity"),
        ((*ANN, "area"), float("nan"), "annotation 1: expected a number, at least 0, as 'area', got NaN"),
        ((*ANN, "num_keypoints"), float("inf"), "annotation 1: expected a whole number as 'num_keypoints'"),
        ((*ANN, "keypoints"), [float("inf"), 8, 2] * K, "annotation 1: 'keypoints' must contain only .* Infinity"),
        ((*ANN, "keypoints"), [10, 8, float("nan")] * K, "annotation 1: 'keypoints' must contain only .* NaN"),
        ((*ANN, "segmentation"), [[5, 5, 6, 5, 6, float("inf")]], "annotation 1: expected a list of polygons"),
        ((*ANN, "id"), float("inf"), "'id': expected a whole number or a text"),
        (("images", 0, "height"), float("inf"), f"image {PEOPLE}: expected width and height"),
        ((*ANN, "keypoints"), None, "annotation 1: 'keypoints' must be a list .* got null"),
        ((*ANN, "keypoints"), {"nose": 1}, "annotation 1: 'keypoints' must be a list"),
        ((*ANN, "keypoints"), ["10", 8, 2] * K, "annotation 1: 'keypoints' must contain only .* got \"10\""),
        ((*ANN, "keypoints"), [10, 8, True] * K, "annotation 1: 'keypoints' must contain only .* got true"),
        ((*ANN, "keypoints"), [10**400, 8, 2] * K, "annotation 1: 'keypoints' must contain only finite numbers"),
        ((*ANN, "area"), "300", "annotation 1: expected a number, at least 0, as 'area', got \"300\""),
        ((*ANN, "num_keypoints"), "5", "annotation 1: expected a whole number as 'num_keypoints'"),
        ((*ANN, "category_id"), "1", "annotation 1 has the category \"1\", which is not in 'categories'"),
        ((*ANN, "category_id"), 7, "annotation 1 has the category 7, which is not in 'categories'"),
        ((*ANN, "image_id"), str(PEOPLE), f"annotation 1 belongs to image \"{PEOPLE}\", which is not in 'images'"),
        ((*ANN, "image_id"), None, "annotation 1, 'image_id': expected a whole number or a text, got null"),
        ((*ANN, "id"), [1], "'id': expected a whole number or a text"),
        (("annotations", 0), None, "annotation number 0: expected an object, got null"),
        (("annotations",), {"1": {}}, "a list 'annotations'"),
        (("images", 0), 3, "image number 0: expected an object, got 3"),
        (("images", 0, "file_name"), None, f"image {PEOPLE}: expected a text as 'file_name', got null"),
        (("images", 0, "width"), "60", f"image {PEOPLE}: expected width and height"),
        (("images", 3, "id"), "x", "ids of images that are all numbers or all texts, got 11 and \"x\""),
        (("images", 3, "file_name"), "./12.png", "'12.png' is listed twice, as image 12 and image 14"),
        (("categories",), {"id": 1}, "a list 'categories'"),
        (("categories", 0, "keypoints"), [{"name": n} for n in NAMES], "category 1: expected a list of names"),
        (("categories", 0, "keypoints"), 5, "category 1: expected a list of names"),
        (("categories", 0, "keypoints"), [*NAMES[:4], "tail"], "no category has the config's keypoint names"),
        ((*ANN, "segmentation"), 5, "annotation 1: expected a list of polygons"),
        ((*ANN, "segmentation"), [[5, 5, None, 5, 60, 60]], "annotation 1: expected a list of polygons .* null"),
        ((*ANN, "segmentation"), [[5, 5, 6, 5, 6, 6, 7]], "annotation 1: .* got 7 numbers, which are not pairs"),
        ((*ANN, "segmentation"), {**RLE_OF}, "annotation 1: expected an RLE with 'counts'"),
        ((*ANN, "segmentation"), {"counts": [1], "size": 5}, "annotation 1: expected an RLE with 'counts'"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": None}, "annotation 1: expected RLE counts .* got null"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": [-10, 20]}, "annotation 1: expected RLE counts as"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": [10, 20]}, "annotation 1: .* add up to 40 .* got 30 px"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": [10, 10**7]}, "annotation 1: .* add up to .* got 10000010"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": "b'abc'"}, "annotation 1: expected RLE counts as"),
        ((*ANN, "segmentation"), {**RLE_OF, "counts": "ab"}, "annotation 1: expected RLE counts"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_when_the_file_is_read(both, path, value, message):
    with pytest.raises(ValueError, match=rf"labels\.json: .*{message}") as error:
        both(with_value(value, *path))
    assert "\n" not in str(error.value)


def test_the_same_annotation_twice_is_an_error_and_one_id_for_two_people_is_not(both):
    data = small(2)
    data["annotations"][1]["id"] = 1
    assert len(both(data)[0][0]["keypoints"]) == 2
    data["annotations"][1] = copy.deepcopy(data["annotations"][0])
    with pytest.raises(ValueError, match="annotation 1 is in the file twice"):
        both(data)


def test_ids_may_all_be_texts(both):
    data = small()
    for image in data["images"]:
        image["id"] = f"x{image['id']}"
    data["annotations"][0]["image_id"] = f"x{PEOPLE}"
    items, seen, stored = both(data)
    assert items[0]["img_id"] == f"x{PEOPLE}"
    assert seen == stored
    assert len(stored) == 1


def test_only_the_category_with_the_configs_names_is_people(both):
    data = small()
    data["categories"].append({"id": 2, "name": "dog", "keypoints": ["snout", "tail", "paw", "back", "hip"]})
    data["annotations"].append({**data["annotations"][0], "id": 2, "category_id": 2, "bbox": [0, 0, 1, 1]})
    items, seen, stored = both(data)
    assert len(items[0]["keypoints"]) == len(stored) == 1
    assert seen == stored
    # How a name is spelled is no difference.
    data["categories"][0]["keypoints"] = ["Nose", "left wrist", "RightWrist", "left-ankle", "right.ankle"]
    assert len(both(data)[0][0]["keypoints"]) == 1


def test_keypoints_outside_count_neither_in_training_nor_in_evaluation(both):
    data = small(2)
    data["annotations"][0]["keypoints"][:3] = [5, HEIGHT + 1, 2]
    data["annotations"][1]["keypoints"] = [WIDTH + 1, 5, 2] * K
    items, seen, stored = both(data)
    assert items[0]["visible"].tolist() == [[0, 2, 2, 2, 2]]
    assert seen == stored
    assert sorted(ann["num_keypoints"] for ann in stored) == [0, 4]
    assert sorted(sum(v > 0 for v in ann["keypoints"][2::3]) for ann in stored) == [0, 4]


@pytest.mark.parametrize("stored", [0, 3, None])
def test_num_keypoints_is_counted(both, stored):
    items, seen, truth = both(with_value(stored, *ANN, "num_keypoints"))
    assert len(items[0]["keypoints"]) == 1
    assert seen == truth
    assert truth[0]["num_keypoints"] == K


@pytest.mark.parametrize(
    ("segmentation", "box", "area"),
    [
        ([], [8.0, 6.0, 24.0, 16.0], 0.53 * 24 * 16),
        ([[4, 4, 24, 4, 24, 14, 4, 14]], [4, 4, 20, 10], 200),
        ([[[4, 4], [24, 4], [24, 14], [4, 14]]], [4, 4, 20, 10], 200),
        ([[4, 4], [24, 4], [24, 14], [4, 14]], [4, 4, 20, 10], 200),
        ([4, 4, 24, 4, 24, 14, 4, 14], [4, 4, 20, 10], 200),
    ],
)
def test_a_missing_box_and_area_are_made(both, segmentation, box, area):
    data = small()
    ann = data["annotations"][0]
    ann["keypoints"] = [10, 8, 2, 30, 20, 2] + [0, 0, 0] * 3
    ann["segmentation"] = segmentation
    del ann["bbox"], ann["area"]
    items, seen, stored = both(data)
    assert seen == stored
    assert stored[0]["bbox"] == box
    assert stored[0]["area"] == pytest.approx(area)
    assert items[0]["area"].tolist() == pytest.approx([area])
    del ann["segmentation"]
    ann["keypoints"] = [0, 0, 0] * K
    with pytest.raises(
        ValueError, match=r"labels\.json: annotation 1 has no 'bbox', and no keypoints or outline"
    ):
        both(data)


def test_run_lengths_are_those_of_pycocotools(rng):
    for share in (0.02, 0.5, 0.98):
        mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < share, np.uint8)
        coded = coco_mask.encode(mask)
        coded["counts"] = coded["counts"].decode()
        plain = {"size": [HEIGHT, WIDTH], "counts": decoded(coded["counts"])}
        np.testing.assert_array_equal(coco_mask.decode(coco_mask.frPyObjects(plain, HEIGHT, WIDTH)), mask)
        assert mask_area(coded) == mask.sum()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[5:9, 7:20] = 1
    coded = coco_mask.encode(mask)
    points = mask_points({"size": [HEIGHT, WIDTH], "counts": coded["counts"].decode()})
    assert [*points.min(axis=0), *points.max(axis=0)] == [7, 5, 20, 9]
    assert decoded("l") is None


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(places(small(0))), st.one_of(VALUES, st.just(GONE)))
def test_any_value_gives_one_truth_or_one_error(both, path, value):
    data = mutated(small(0), path, value)
    try:
        _, seen, stored = both(data)
    except ValueError as error:
        message = str(error)
        assert "labels.json: " in message
        assert "\n" not in message
        if len(path) > 1 and path[0] == "annotations":
            assert message.split("labels.json: ")[1].startswith("annotation "), message
    else:
        assert seen == stored
