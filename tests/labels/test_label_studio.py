"""Label Studio's JSON: people by parentID, percent of the upright photo, model_index without effect."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from label_cases import label_set, person, write_json, write_photo, write_turned_photo

from ehrpose.labels import find_format, read_labels

NAMES = ["nose", "left_hand", "right_hand"]


def shape(kind, label, name, size=(400, 200), parent=None, **value):
    made = {
        "id": name, "type": kind, "from_name": "x", "to_name": "image", "original_width": size[0],
        "original_height": size[1], "image_rotation": 0, "value": {**value, kind: [label]},
    }  # fmt: skip
    return made if parent is None else {**made, "parentID": parent}


def two_people(left="box0", right="box1"):
    """Two people of a photo of 400 x 200 px, in rectangles."""
    result = []
    for x, name in ((10, left), (210, right)):
        rect = {"x": x / 4, "y": 10, "width": 25, "height": 80, "rotation": 0}
        result.append(shape("rectanglelabels", "person", name, **rect))
        for k, label in enumerate(NAMES):
            point = {"x": (x + 10 * k) / 4, "y": 20 + k, "width": 0.5}
            result.append(shape("keypointlabels", label, f"{name}-{k}", parent=name, **point))
    return result


def write_tasks(folder, *results, image="/data/upload/1/1a2b3c4d-a.png", **task):
    write_photo(folder / "a.png", 400, 200)
    tasks = [{"id": 5, "data": {"image": image}, "annotations": [{"result": r}], **task} for r in results]
    return write_json(folder / "export.json", tasks)


def test_two_people_stay_two_in_pixels(tmp_path):
    labels = read_labels(write_tasks(tmp_path, two_people()))
    (photo,) = labels.photos()
    assert (photo.name, photo.size) == ("a.png", (400, 200))
    first, second = photo.people
    assert first.keypoints.tolist() == [[10, 40, 2], [20, 42, 2], [30, 44, 2]]
    assert second.keypoints[:, 0].tolist() == [210, 220, 230]
    assert list(second.box) == [210, 20, 100, 160]
    assert labels.meta.names == tuple(NAMES)


def test_the_configs_order_is_taken_and_model_index_changes_nothing(tmp_path):
    path = write_tasks(tmp_path, two_people())
    config = "<View><KeyPointLabels name='k' toName='image'>{}</KeyPointLabels></View>"
    labels = "".join(f"<Label value='{n}' model_index='{i}'/>" for n, i in zip(NAMES[::-1], (1, 0, 2)))
    (tmp_path / "labeling_config.xml").write_text(config.format(labels))
    found = read_labels(path)
    assert found.meta.names == tuple(NAMES[::-1])
    assert next(found.people()).keypoints.tolist() == [[30, 44, 2], [20, 42, 2], [10, 40, 2]]
    assert not any("first appearance" in note for note in found.notes)


def test_keypoints_without_parent_are_refused_where_there_are_several_people(tmp_path):
    result = two_people()
    del result[1]["parentID"]
    path = write_tasks(tmp_path, result)
    told = r"task 5: 1 shape, such as 'nose', without the rectangle of a person as parentID, in a photo of 2"
    with pytest.raises(ValueError, match=told):
        read_labels(path)
    alone = [{k: v for k, v in s.items() if k != "parentID"} for s in two_people()[:4]]
    (one,) = read_labels(write_tasks(tmp_path, alone)).people()
    assert one.keypoints[:, 2].tolist() == [2, 2, 2]


def test_a_rectangle_is_turned_about_its_upper_left_corner(tmp_path):
    rect = {"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 90}
    points = [shape("keypointlabels", n, n, parent="b", x=50, y=50, width=1) for n in NAMES]
    (one,) = read_labels(
        write_tasks(tmp_path, [shape("rectanglelabels", "person", "b", **rect), *points])
    ).people()
    # 40 x 20 px at (200, 100): turned clockwise by 90 degrees, it reaches from x = 180 to 200 and y = 100 to 140.
    assert np.allclose(one.box, [180, 100, 20, 40])


def test_a_photo_turned_in_the_browser_is_refused_and_one_turned_by_exif_is_upright(tmp_path):
    result = two_people()
    for one in result:
        one["image_rotation"] = 90
    with pytest.raises(ValueError, match="task 5: expected image_rotation 0, got 90"):
        read_labels(write_tasks(tmp_path, result))
    path = write_tasks(tmp_path, [shape("keypointlabels", "nose", "n", (20, 40), x=50, y=75, width=1)])
    write_turned_photo(tmp_path / "a.png")
    labels = read_labels(path)
    assert next(labels.people()).keypoints.tolist() == [[10, 30, 2]]
    find_format("coco").write(labels, tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations/person_keypoints_train2017.json").read_text())
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (20, 40)


def test_people_with_scores_are_written_as_predictions_and_read_again(tmp_path, five_keypoints):
    points = [(4, 5, 2), (6, 7, 1), (0, 0, 0), (8, 9, 2), (1, 1, 2)]
    labels = label_set(tmp_path / "photos", five_keypoints, [person(points, score=0.75)])
    find_format("label-studio").write(labels, tmp_path / "out")
    (task,) = json.loads((tmp_path / "out/tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=images/train.png"
    assert task["annotations"] == []
    assert task["predictions"][0]["score"] == 0.75
    again = read_labels(tmp_path / "out")
    (one,) = again.people()
    assert one.score == 0.75
    assert one.keypoints[1].tolist() == [6, 7, 1]
    assert again.meta.names == labels.meta.names
    root = ElementTree.parse(tmp_path / "out/labeling_config.xml").getroot()
    found = [label.get("value") for label in root.find("KeyPointLabels").iter("Label")]
    assert found == list(labels.meta.names)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"original_width": None}, "expected original_width and original_height in px"),
        ({"value": {"x": "1", "y": 2, "keypointlabels": ["nose"]}}, "expected x, y in percent of the photo"),
        ({"value": {"x": 1, "y": 2, "keypointlabels": []}}, r"expected one label, got \[\]"),
    ],
)
def test_a_wrong_shape_is_named_by_its_task(tmp_path, change, told):
    result = two_people()
    result[1].update(change)
    with pytest.raises(ValueError, match=rf"export\.json: .*{told}"):
        read_labels(write_tasks(tmp_path, result), {
            "dataset_name": "three", "names": NAMES, "swap": [], "skeleton": [], "sigmas": [0.1] * 3,
        })  # fmt: skip


def test_two_points_of_one_name_are_refused(tmp_path):
    result = two_people()
    result.append({**result[1], "id": "again"})
    with pytest.raises(ValueError, match="two points 'nose' of one person"):
        read_labels(write_tasks(tmp_path, result))
