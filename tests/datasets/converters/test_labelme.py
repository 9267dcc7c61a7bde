from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import pytest
from broken_values import GONE, VALUES, mutated, places
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling_tools import NAMES, shape

from ehrpose.datasets.converters.coco_folder import CocoFolderWriter
from ehrpose.datasets.converters.labelme import LabelmeReader
from ehrpose.keypoint_meta import KeypointMeta

SIDE = 64


@pytest.fixture
def meta(five_keypoints):
    return KeypointMeta.build(five_keypoints)


@pytest.fixture
def write(tmp_path):
    """Write one photo and its labels; return the folder."""
    (tmp_path / "in").mkdir()
    photo = tmp_path / "in/a.png"
    cv2.imwrite(str(photo), np.zeros((SIDE, SIDE, 3), np.uint8))

    def write(*shapes, **more):
        content = {
            "shapes": list(shapes),
            "imagePath": "a.png",
            "imageWidth": SIDE,
            "imageHeight": SIDE,
            **more,
        }
        (tmp_path / "in/a.json").write_text(json.dumps(content))
        return tmp_path / "in"

    return write


def point(label="nose", group=None, at=(5, 6), **flags):
    return shape("point", label, [list(at)], group, **flags)


def test_shapes_without_groups_are_one_person(write, meta):
    folder = write(point(), point("left_wrist", at=(9, 9)), shape("rectangle", "person", [[1, 2], [30, 40]]))
    (photo,) = LabelmeReader(meta).read_folder(folder)
    (person,) = photo.people
    assert person.keypoints.tolist() == [[5, 6, 2], [9, 9, 2], *[[0, 0, 0]] * 3]
    assert person.box == [1, 2, 29, 38]


def test_a_turned_rectangle_is_the_box_around_it(write, meta):
    turned = shape("oriented_rectangle", "person", [[10, 0], [20, 10], [10, 20], [0, 10]])
    (photo,) = LabelmeReader(meta).read_folder(write(point(), turned))
    assert photo.people[0].box == [0, 0, 20, 20]


@pytest.mark.parametrize("how", ["flag", "description"])
def test_hidden_points(write, meta, how):
    hidden = point(occluded=True) if how == "flag" else {**point(), "description": "hidden"}
    (photo,) = LabelmeReader(meta).read_folder(write(hidden, point("left_wrist", occluded=False)))
    assert photo.people[0].keypoints[:2, 2].tolist() == [1, 2]


def test_outlines_crowds_and_unlabelled_people(write, meta, tmp_path):
    triangle = [[10, 10], [30, 10], [10, 30]]
    folder = write(
        point(group=1),
        shape("polygon", "person", triangle, 1),
        shape("rectangle", "person", [[40, 40], [50, 60]], 2),
        shape("polygon", "crowd", [[0, 0], [4, 0], [4, 4]]),
    )
    photos = LabelmeReader(meta).read_folder(folder)
    writer = CocoFolderWriter(tmp_path, meta)
    writer.write("train", photos, "test")
    content = json.loads((tmp_path / "annotations/person_keypoints_train2017.json").read_text())
    crowd, outlined, unlabelled = content["annotations"]
    assert (crowd["iscrowd"], crowd["num_keypoints"], crowd["area"]) == (1, 0, 8)
    assert (outlined["iscrowd"], outlined["num_keypoints"], outlined["area"]) == (0, 1, 200)
    assert outlined["bbox"] == [10, 10, 20, 20]
    assert (unlabelled["num_keypoints"], unlabelled["bbox"]) == (0, [40, 40, 10, 20])


def test_a_box_is_made_around_keypoints_and_stays_inside(write, meta, tmp_path):
    folder = write(point(at=(2, 20)), point("left_ankle", at=(42, 60)))
    CocoFolderWriter(tmp_path, meta).write("train", LabelmeReader(meta).read_folder(folder), "test")
    (ann,) = json.loads((tmp_path / "annotations/person_keypoints_train2017.json").read_text())["annotations"]
    assert ann["bbox"] == [0, 16, 46, 48]


def test_other_shapes_and_labels_are_left_out_and_counted(write, meta):
    folder = write(point(), point("tail"), point("tail"), shape("circle", "x", [[1, 1], [2, 2]]))
    reader = LabelmeReader(meta, ignore=["tail"])
    (photo,) = reader.read_folder(folder)
    assert len(photo.people) == 1
    assert reader.ignored == {"label 'tail'": 2, "shape 'circle'": 1}


def test_a_photo_inside_the_json_serves_where_the_file_is_missing(write, meta, tmp_path):
    data = base64.b64encode((tmp_path / "in/a.png").read_bytes()).decode()
    folder = write(point(), imageData=data, imagePath="..\\elsewhere\\gone.png")
    photos = LabelmeReader(meta).read_folder(folder)
    CocoFolderWriter(tmp_path, meta).write("train", photos, "test")
    assert cv2.imread(str(tmp_path / "train2017/gone.png")).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([point("tail")], r"a\.json: point with unknown label 'tail'.*`rename` tail=NAME"),
        ([point(), point()], r"two points 'nose': give every person their own group_id"),
        ([point(group=1), point("left_wrist")], r"point 'left_wrist' has no group_id while others do"),
        (
            [{**point(), "points": [["x", 1]]}],
            r"point 'nose': expected at least 1 pair of finite numbers",
        ),
        ([{**point(), "points": [[float("nan"), 1]]}], r"point 'nose': expected at least 1 pair"),
        ([shape("rectangle", "person", [[1, 1]])], r"rectangle 'person': expected at least 2"),
        ([shape("rectangle", "a", [[1, 1], [2, 2]])] * 2, "two rectangles, expected one box per person"),
        (["nose"], "expected a list of objects as 'shapes'"),
    ],
)
def test_wrong_shapes_are_named(write, meta, shapes, message):
    with pytest.raises(ValueError, match=message):
        LabelmeReader(meta).read_folder(write(*shapes))


def test_files_that_do_not_fit_are_named(write, meta, tmp_path, five_keypoints):
    folder = write(point())
    (folder / "b.json").write_text((folder / "a.json").read_text())
    with pytest.raises(ValueError, match=r"b\.json and .*a\.json are both for the photo a\.png"):
        LabelmeReader(meta).read_folder(folder)
    (folder / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json is not valid JSON"):
        LabelmeReader(meta).read_folder(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no labelme file"):
        LabelmeReader(meta).read_folder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="folder not found"):
        LabelmeReader(meta).read_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"`rename`: unknown keypoints \['tail'\]"):
        LabelmeReader(meta, rename={"x": "tail"})


def test_a_photo_of_another_size_is_an_error(write, meta, tmp_path):
    photos = LabelmeReader(meta).read_folder(write(point(), imageWidth=32))
    with pytest.raises(ValueError, match="labelled on a photo of 32 x 64 px"):
        CocoFolderWriter(tmp_path, meta).write("train", photos, "test")


def one_person() -> dict:
    box = shape("rectangle", "person", [[1, 2], [60, 70]], 1)
    points = [shape("point", name, [[10 + k, 20]], 1, occluded=False) for k, name in enumerate(NAMES)]
    return {
        **{
            "version": "5.5.0",
            "flags": {},
            "shapes": [*points, box],
            "imagePath": "a.png",
            "imageData": None,
        },
        **{"imageWidth": 80, "imageHeight": 90},
    }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("shapes", 0, "points"), [["10", "20"]], "point 'nose': expected at least 1 pair"),
        (("shapes", 0, "group_id"), "1", "'nose': expected a whole number or null as 'group_id', got \"1\""),
        (("shapes", 0, "flags"), [1], "point 'nose': expected an object as 'flags'"),
        (("shapes", 0, "description"), 5, "a text as 'description'"),
        (("imageWidth",), "80", "'imageWidth' and 'imageHeight' as whole numbers"),
        (("imageData",), 5, "expected a base64 text as 'imageData', got 5"),
    ],
)
def test_numbers_as_text_and_other_kinds_of_values_are_refused(tmp_path, meta, path, value, message):
    (tmp_path / "a.json").write_text(json.dumps(mutated(one_person(), path, value)))
    with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
        LabelmeReader(meta).read_folder(tmp_path)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(places(one_person())), st.one_of(VALUES, st.just(GONE)))
def test_any_value_is_read_or_gives_one_error(tmp_path, meta, path, value):
    (tmp_path / "a.json").write_text(json.dumps(mutated(one_person(), path, value)))
    message, people = "", []
    try:
        people = [person for photo in LabelmeReader(meta).read_folder(tmp_path) for person in photo.people]
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    assert "\n" not in message
    assert not message or "a.json: " in message or path == ("shapes",)
    assert all(np.isfinite(person.keypoints).all() for person in people)
