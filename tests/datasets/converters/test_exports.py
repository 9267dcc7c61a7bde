"""Exports that labelling tools and their users really make: what is converted, refused or warned about."""

from __future__ import annotations

import importlib.util
import json
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from broken_values import GONE, VALUES, mutated, places
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrpose.datasets.converters.coco_export import CocoExport
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.keypoint_meta import KeypointMeta

NAMES = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
WIDTH, HEIGHT = 120, 90


def person(number: int, image_id: int, **more) -> dict:
    """A person whose nose is at (20 + number, 20)."""
    keypoints = [value for k in range(5) for value in (20 + 10 * k + number, 20 + 10 * k, 2)]
    return {
        **{"id": number, "image_id": image_id, "category_id": 1, "keypoints": keypoints, "num_keypoints": 5},
        **{"bbox": [10, 10, 60, 60], "area": 2000.0, "iscrowd": 0, "segmentation": []},
        **more,
    }


def labels() -> dict:
    return {
        "images": [{"id": i, "file_name": f"p{i}.png", "width": WIDTH, "height": HEIGHT} for i in (1, 2, 3)],
        "annotations": [person(i, i) for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]]}],
    }


@pytest.fixture
def convert(root, tmp_path, capsys):
    """Convert an export with the photos p1.png to p3.png; return the new annotations and the printed text."""
    (tmp_path / "in/images").mkdir(parents=True)
    for i in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"in/images/p{i}.png"), np.full((HEIGHT, WIDTH, 3), i, np.uint8))
    spec = importlib.util.spec_from_file_location("tool", root / "tools/dataset_converters/cvat_to_coco.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def convert(content, *options):
        if isinstance(content, dict):
            (tmp_path / "in/result.json").write_text(json.dumps(content))
        else:
            (tmp_path / "in/annotations.xml").write_text(content)
        out = tmp_path / "out"
        module.main([str(tmp_path / "in"), "--out", str(out), "--val-fraction", "0", *options])
        return json.loads(
            (out / "annotations/person_keypoints_train2017.json").read_text()
        ), capsys.readouterr().out

    return convert


def changed(**change) -> dict:
    """The labels after a change of the first annotation."""
    data = labels()
    data["annotations"][0].update(change)
    return data


def appended(key: str, *entries: dict) -> dict:
    data = labels()
    data[key] += entries
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (appended("images", {**labels()["images"][0], "file_name": "p4.png"}), "image id 1 is used twice"),
        (appended("images", labels()["images"][0]), "image id 1 is used twice"),
        (appended("images", {"id": 77, "file_name": "p1.png"}), r"'p1\.png' is listed twice, as image 1 and image 77"),
        (appended("images", {"id": 77, "file_name": "images/p1.png"}), r"both for the file .*p1\.png"),
        (appended("annotations", person(3, 3)), "annotation 3 is in the file twice"),
        (appended("annotations", person(9, 50)), "annotation 9 belongs to image 50, which is not in 'images'"),
        (appended("annotations", person(9, "1")), "annotation 9 belongs to image \"1\", which is not in 'images'"),
        (appended("annotations", person(9, 1, category_id=4)), "annotation 9 has the category 4, which is not in"),
        (appended("categories", {"id": 1, "name": "dog"}), "category id 1 is used twice"),
        (
            appended("categories", {"id": 2, "name": "person", "keypoints": NAMES[::-1]}),
            "the categories 1, 2 are all named 'person', with different keypoints; choose one by its id with `label`",
        ),
        (changed(iscrowd="0"), "annotation 1: expected 0 or 1 as 'iscrowd'"),
        (changed(bbox=[10, 10, -60, 60]), r"result\.json: annotation 1: expected a width and height of at least 0"),
        (changed(bbox=[10, 10, float("inf"), 60]), r"result\.json: annotation 1: expected 'bbox' as four numbers"),
        (changed(area=-5), r"result\.json: annotation 1: expected a number, at least 0, as 'area', got -5"),
        (changed(area=float("inf")), r"result\.json: annotation 1: .* as 'area', got Infinity"),
        (changed(attributes={"rotation": float("nan")}), "annotation 1: expected degrees as 'rotation', got NaN"),
        (changed(bbox=["10", "10", "60", "60"]), "annotation 1: expected 'bbox'"),
        (changed(segmentation=[[5, 5, None, 5, 60, 60]]), "annotation 1: expected a list of polygons"),
        (changed(segmentation={"size": [HEIGHT, WIDTH], "counts": [3]}), "annotation 1: expected RLE counts that add"),
        (changed(attributes={"rotation": "x"}), "annotation 1: expected degrees as 'rotation', got \"x\""),
        ({**labels(), "categories": {"id": 1}}, "expected COCO format with the lists"),
        ({**labels(), "annotations": [3]}, "annotation number 0: expected an object, got 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(convert, tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        convert(data)
    assert not (tmp_path / "out").exists()


def test_two_categories_of_one_name_and_skeleton_are_one(convert):
    data = appended("categories", {"id": 2, "name": "person", "keypoints": NAMES})
    data["annotations"].append(person(4, 1, category_id=2))
    assert len(convert(data)[0]["annotations"]) == 4


def test_a_category_may_be_chosen_by_its_id(convert):
    data = appended("categories", {"id": 2, "name": "person", "keypoints": ["a", "b"]})
    assert len(convert(data, "--label", "1")[0]["annotations"]) == 3


@pytest.mark.parametrize(
    ("skeleton", "limbs", "note"),
    [
        ([[1, 2], [4, 5]], [("nose", "left_wrist"), ("left_ankle", "right_ankle")], None),
        ([[0, 1], [1, 2], [3, 4]], [("nose", "left_wrist"), ("left_wrist", "right_wrist"),
                                    ("left_ankle", "right_ankle")], "counts keypoints from 0"),
        ([[5, 4], [9, 15], [6, 1]], [("right_ankle", "left_ankle")], "2 of its limbs are left out, .* from 1 to 5"),
        ([[0, 1], [4, 5]], [("nose", "left_wrist")], "from 0; 1 of its limbs are left out, .* from 0 to 4"),
        ([["nose", "left_wrist"], None, [1]], [("nose", "left_wrist")], "2 of its limbs are left out, .*null"),
        (5, [], "1 of its limbs are left out"),
    ],
)  # fmt: skip
def test_limbs_are_counted_from_0_or_1(convert, tmp_path, skeleton, limbs, note):
    data = labels()
    data["categories"][0]["skeleton"] = skeleton
    (tmp_path / "k.json").write_text(json.dumps(data))
    export = CocoExport(tmp_path / "k.json")
    assert export.keypoints()["skeleton"] == limbs
    assert len(export.notes) == (note is not None)
    if note:
        _, text = convert(data)
        assert "warning: " in text
        assert re.search(note, text)


def test_the_files_own_area_is_kept(convert):
    mask = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * 50, 500, HEIGHT * WIDTH - HEIGHT * 50 - 500]}
    data = labels()
    data["annotations"][0].update(area=777.0, segmentation=mask)
    data["annotations"][1].update(segmentation=mask)
    data["annotations"][2].update(area=0)
    del data["annotations"][1]["area"]
    areas = [ann["area"] for ann in convert(data)[0]["annotations"]]
    assert areas == [777, 500, pytest.approx(0.53 * 3600)]


@pytest.mark.parametrize(
    "outline",
    [
        [[[5, 5], [60, 5], [60, 60], [5, 60]]],
        [[5, 5], [60, 5], [60, 60], [5, 60]],
        [5, 5, 60, 5, 60, 60, 5, 60],
        [[5, 5, 60, 5, 60, 60, 5, 60]],
    ],
)
def test_outlines_of_every_form_are_flat_polygons(convert, outline):
    assert convert(changed(segmentation=outline))[0]["annotations"][0]["segmentation"] == [
        [5, 5, 60, 5, 60, 60, 5, 60]
    ]


def test_a_rotated_box_becomes_the_upright_one_around_it(convert):
    data = changed(bbox=[40, 30, 20, 10], attributes={"rotation": 90.0})
    assert convert(data)[0]["annotations"][0]["bbox"] == [45, 25, 10, 20]


def test_a_file_without_names_boxes_and_areas_is_read_with_a_skeleton(convert, tmp_path, five_keypoints):
    data = labels()
    del data["categories"][0]["keypoints"]
    for ann in data["annotations"]:
        del ann["bbox"], ann["area"]
    with pytest.raises(
        ValueError, match="no category has keypoints; give their names and order with `keypoints`"
    ):
        convert(data)
    (tmp_path / "five.py").write_text(f"keypoints = {five_keypoints!r}\n")
    content, _ = convert(data, "--keypoints", str(tmp_path / "five.py"))
    first = content["annotations"][0]
    assert first["keypoints"] == person(1, 1)["keypoints"]
    assert first["bbox"] == [17, 16, 48, 48]
    assert first["area"] == pytest.approx(0.53 * 48 * 48)
    assert content["categories"][0]["keypoints"] == NAMES


def test_people_merged_by_label_studio_are_told(convert):
    data = labels()
    data["categories"] += [{"id": 2, "name": "human"}, {"id": 3, "name": "car"}]
    boxes = [[15, 10, 30, 60], [62, 10, 30, 60]]
    box = {"image_id": 2, "category_id": 2, "iscrowd": 0}
    data["annotations"] += [{**box, "id": 10 + i, "bbox": b} for i, b in enumerate(boxes)]
    # Boxes of other things say nothing, unless a person lies in two of them.
    data["annotations"] += [
        {**box, "id": 20 + i, "image_id": 1, "category_id": 3, "bbox": [90, 70, 9, 9]} for i in (1, 2)
    ]
    data["annotations"] += [
        {**box, "id": 30 + i, "image_id": 3, "category_id": 3, "bbox": b} for i, b in enumerate(boxes)
    ]
    _, text = convert(data)
    assert "warning: " in text
    assert "more boxes without keypoints than people with keypoints in 2 photos, e.g. p2.png, p3.png" in text


def xml(*shapes: str) -> str:
    points = "".join(
        f'<points label="{n}" points="{20 + 10 * k},20" outside="0"/>' for k, n in enumerate(NAMES)
    )
    skeleton = f'<skeleton label="person" group_id="1">{points}</skeleton>'
    image = (
        f'<image id="0" name="p1.png" width="{WIDTH}" height="{HEIGHT}">{skeleton}{"".join(shapes)}</image>'
    )
    ElementTree.fromstring(image)
    return f"<annotations>{image}</annotations>"


def box(label: str, corners=(40, 30, 60, 40), **more) -> str:
    values = dict(zip(("xtl", "ytl", "xbr", "ybr"), corners), label=label, **more)
    return ElementTree.tostring(ElementTree.Element("box", {k: str(v) for k, v in values.items()}), "unicode")


def test_boxes_of_other_labels_are_not_people(convert):
    content, text = convert(xml(box("car"), box("car", group_id="7"), box("person"), box("crowd")))
    assert [(a["num_keypoints"], a["iscrowd"]) for a in content["annotations"]] == [(0, 1), (5, 0), (0, 0)]
    assert "warning: " in text
    assert "other labels than 'person' are left out: 2 x 'car'" in text


def test_the_persons_own_box_in_a_group(convert):
    own = [5, 5, 100, 60]
    content, text = convert(xml(box("bag", group_id="1"), box("Person", own, group_id="1")))
    assert content["annotations"][0]["bbox"] == [5, 5, 95, 55]
    assert "1 x 'bag'" in text


def test_the_only_box_of_a_group_is_the_persons(convert):
    content, text = convert(xml(box("body", group_id="1", rotation="90.00")))
    assert content["annotations"][0]["bbox"] == [45, 25, 10, 20]
    assert "warning" not in text


def test_a_photo_twice_in_an_xml_is_refused(convert):
    text = xml()
    with pytest.raises(ValueError, match=r"are both for the photo p1\.png"):
        convert(text.replace("</annotations>", text.replace("<annotations>", "")))


def test_null_fields_are_missing_ones(tmp_path, five_keypoints):
    data = changed(bbox=None, segmentation=None)
    data["annotations"][1].update(keypoints=None, bbox=None, segmentation=[])
    (tmp_path / "k.json").write_text(json.dumps(data))
    for i in (1, 2, 3):
        (tmp_path / f"p{i}.png").touch()
    photos = CocoExport(tmp_path / "k.json").read(KeypointMeta.build(five_keypoints), PhotoSearch([tmp_path]))
    first, second = photos[0].people[0], photos[1].people[0]
    assert first.box is None
    assert first.keypoints[0].tolist() == [21, 20, 2]
    assert second.box is None
    assert not second.keypoints.any()


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(places(labels())), st.one_of(VALUES, st.just(GONE)), st.booleans())
def test_any_value_is_converted_or_gives_one_error(tmp_path, five_keypoints, path, value, without_names):
    file = tmp_path / "export.json"
    content = mutated(labels(), path, value)
    if without_names and path[0] == "annotations":
        del content["categories"][0]["keypoints"]
    file.write_text(json.dumps(content))
    for i in (1, 2, 3):
        (tmp_path / f"p{i}.png").touch()
    message, photos = "", []
    try:
        export = CocoExport(file)
        if not without_names:
            KeypointMeta.build(export.keypoints())
        photos = export.read(KeypointMeta.build(five_keypoints), PhotoSearch([tmp_path]))
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert "\n" not in message
    if path[-1] != "file_name":  # PhotoSearch names the photo, which is not found
        assert not message or "export.json: " in message
    for person in (person for photo in photos for person in photo.people):
        assert np.isfinite(person.keypoints).all()
        assert person.box is None or (np.isfinite(person.box).all() and min(person.box[2:]) > 0)
        assert person.area is None or person.area > 0
