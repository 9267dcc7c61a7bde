"""Any people, in the file of any labelling tool, come out as the same labels, in training and in evaluation."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling_tools import NAMES, shape

from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.datasets.converters.coco_export import CocoExport
from ehrpose.datasets.converters.coco_folder import CocoFolderWriter
from ehrpose.datasets.converters.cvat import CvatXml
from ehrpose.datasets.converters.labelme import LabelmeReader
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.evaluation.coco_eval import prepare_truth
from ehrpose.keypoint_meta import KeypointMeta

WIDTH, HEIGHT = 64, 48


def quarters(low: int, high: int):
    """Numbers that decimal text holds exactly."""
    return st.integers(4 * low, 4 * high).map(lambda number: number / 4)


X, Y = quarters(0, WIDTH - 1), quarters(0, HEIGHT - 1)
BOX = st.tuples(quarters(0, 40), quarters(0, 30), quarters(1, 20), quarters(1, 15)).map(list)
OUTLINE = st.lists(st.tuples(X, Y), min_size=3, max_size=6).map(lambda points: [v for p in points for v in p])
KEYPOINTS = st.lists(st.tuples(X, Y, st.sampled_from([0, 1, 2, 2])), min_size=5, max_size=5)
PERSON = st.fixed_dictionaries(
    {"keypoints": KEYPOINTS, "box": st.none() | BOX, "outline": st.none() | OUTLINE, "crowd": st.just(False)}
).filter(lambda person: person["box"] or any(v for _, _, v in person["keypoints"]))
CROWD = st.fixed_dictionaries(
    {
        "keypoints": st.just([(0, 0, 0)] * 5),
        "box": st.just(None),
        "outline": OUTLINE,
        "crowd": st.just(True),
    }
)
PEOPLE = st.lists(PERSON | CROWD, min_size=1, max_size=4)


def pairs(outline):
    return [list(point) for point in zip(outline[::2], outline[1::2])]


def labelme(people) -> str:
    shapes = []
    for group, person in enumerate(people):
        label = "crowd" if person["crowd"] else "person"
        shapes += [
            shape("point", name, [[x, y]], group, occluded=v == 1)
            for name, (x, y, v) in zip(NAMES, person["keypoints"])
            if v
        ]
        if person["box"]:
            x, y, w, h = person["box"]
            shapes.append(shape("rectangle", label, [[x + w, y], [x, y + h]], group))
        if person["outline"]:
            shapes.append(shape("polygon", label, pairs(person["outline"]), group))
    return json.dumps(
        {"shapes": shapes, "imagePath": "a.png", "imageWidth": WIDTH, "imageHeight": HEIGHT, "flags": {}}
    )


def cvat(people) -> str:
    root = ElementTree.Element("annotations")
    size = {"width": str(WIDTH), "height": str(HEIGHT)}
    image = ElementTree.SubElement(root, "image", {"id": "0", "name": "a.png", **size})
    for group, person in enumerate(people, 1):
        own = {"label": "crowd" if person["crowd"] else "person", "group_id": str(group)}
        if not person["crowd"]:
            skeleton = ElementTree.SubElement(image, "skeleton", own)
            for name, (x, y, v) in zip(NAMES, person["keypoints"]):
                state = {"outside": str(int(v == 0)), "occluded": str(int(v == 1))}
                ElementTree.SubElement(skeleton, "points", {"label": name, "points": f"{x},{y}", **state})
        if person["box"]:
            x, y, w, h = person["box"]
            corners = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
            ElementTree.SubElement(image, "box", {**own, **{k: str(v) for k, v in corners.items()}})
        if person["outline"]:
            points = ";".join(f"{x},{y}" for x, y in pairs(person["outline"]))
            ElementTree.SubElement(image, "polygon", {**own, "points": points})
    return ElementTree.tostring(root, "unicode")


def coco(people, order=range(5), name="person") -> str:
    """A COCO export with its keypoints in another order, without areas, as Label Studio writes it."""
    annotations = []
    for number, person in enumerate(people):
        values = [value for k in order for value in person["keypoints"][k]]
        ann = {"id": number, "image_id": 0, "category_id": 1, "iscrowd": int(person["crowd"])}
        ann["segmentation"] = [person["outline"]] if person["outline"] else []
        if person["box"]:
            ann["bbox"] = person["box"]
        if not person["crowd"]:
            ann["keypoints"] = values
        annotations.append(ann)
    category = {"id": 1, "name": name, "keypoints": [NAMES[k] for k in order], "skeleton": [[1, 2]]}
    image = {"id": 0, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    return json.dumps({"images": [image], "annotations": annotations, "categories": [category]})


@pytest.fixture
def convert(tmp_path, five_keypoints):
    """Write an export, convert it, and return the people as training and as evaluation see them."""
    meta = KeypointMeta.build(five_keypoints)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def convert(name, content):
        (folder / name).write_text(content)
        if name == "a.json":
            photos = LabelmeReader(meta).read_folder(folder)
        else:
            export = (CvatXml if name.endswith("xml") else CocoExport)(folder / name, "person")
            photos = export.read(meta, PhotoSearch([folder]))
        (folder / name).unlink()
        CocoFolderWriter(out, meta).write("train", photos, "test")
        path = out / "annotations/person_keypoints_train2017.json"
        (item,) = read_coco_json(path, meta).items
        truth = prepare_truth(json.loads(path.read_text()), [item["img_id"]], 5, meta.names)
        return item, truth["annotations"]

    return convert


def plain(annotations) -> list[str]:
    """The annotations without their numbers, in an order of their own: converters put crowds first."""
    keys = ("keypoints", "bbox", "area", "iscrowd", "num_keypoints")
    return sorted(json.dumps([ann[key] for key in keys]) for ann in annotations)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(PEOPLE, st.permutations(range(5)))
def test_every_tools_file_gives_the_same_people(convert, people, order):
    files = {"a.json": labelme(people), "a.xml": cvat(people), "result.json": coco(people, order)}
    found = {name: convert(name, content) for name, content in files.items()}
    item, truth = found["a.xml"]
    for name, (other, anns) in found.items():
        assert plain(anns) == plain(truth), name
        assert plain(other["raw_anns"]) == plain(anns), f"{name}: training and evaluation differ"

    wanted = [p["keypoints"] for p in people if any(v for _, _, v in p["keypoints"])]
    wanted = [[(x, y, v) if v else (0, 0, 0) for x, y, v in points] for points in wanted]
    seen = np.concatenate([item["keypoints"], item["visible"][..., None]], axis=2)
    assert sorted(map(str, seen.tolist())) == sorted(
        map(str, np.array(wanted, float).reshape(-1, 5, 3).tolist())
    )
    boxes = [ann["bbox"] for ann in truth]
    assert all(person["box"] in boxes for person in people if person["box"])
    assert sum(ann["iscrowd"] for ann in truth) == sum(person["crowd"] for person in people)


ANYTHING = st.sampled_from(
    ["", "0", "1", "-1", "x", "nan", "inf", "1e300", "1e400", "12.5", "1,2", "1,2;3,4;5,6", "1,x", "nose", "tail",
     "person", "crowd", "car", "../a.png", "b.png", "\u2028", "1" * 5000]
) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)  # fmt: skip
EXAMPLE = cvat(
    [
        {"keypoints": [(1 + k, 2 + k, k % 3) for k in range(5)], "box": [1, 2, 9, 9], "outline": [1, 1, 9, 1, 9, 9],
         "crowd": False},
        {"keypoints": [(0, 0, 0)] * 5, "box": [30, 2, 9, 9], "outline": [30, 1, 40, 1, 40, 9], "crowd": True},
    ]
)  # fmt: skip


def read_xml(path, meta):
    """Return the people, or the message of the one error."""
    try:
        export = CvatXml(path)
        KeypointMeta.build(export.keypoints())
        photos = export.read(meta, PhotoSearch([path.parent]))
    except (ValueError, FileNotFoundError) as error:
        return [], str(error)
    return [person for photo in photos for person in photo.people], ""


def check_read(people, message):
    assert "\n" not in message
    for person in people:
        assert np.isfinite(person.keypoints).all()
        assert person.box is None or (np.isfinite(person.box).all() and min(person.box[2:]) >= 0)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_any_attribute_of_a_cvat_file_is_read_or_gives_one_error(tmp_path, five_keypoints, data):
    (tmp_path / "a.png").touch()
    root = ElementTree.fromstring(EXAMPLE)
    parents = list(root.iter())
    node = data.draw(st.sampled_from(parents))
    what = data.draw(st.sampled_from(["value", "value", "value", "no value", "gone", "twice", "tag"]))
    keys = list(node.keys())
    if what in ("value", "no value") and keys:
        key = data.draw(st.sampled_from(keys))
        node.set(key, data.draw(ANYTHING)) if what == "value" else node.attrib.pop(key)
    elif what == "tag":
        node.tag = data.draw(st.sampled_from(["image", "box", "polygon", "points", "skeleton", "tag"]))
    else:
        children = [(parent, child) for parent in parents for child in parent]
        parent, child = data.draw(st.sampled_from(children))
        parent.append(child) if what == "twice" else parent.remove(child)
    path = tmp_path / "annotations.xml"
    path.write_bytes(ElementTree.tostring(root, "utf-8"))
    people, message = read_xml(path, KeypointMeta.build(five_keypoints))
    check_read(people, message)
    assert not message or "annotations.xml" in message or "photo '" in message


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, len(EXAMPLE)), st.binary(max_size=3), st.booleans())
def test_damaged_bytes_of_a_cvat_file_give_one_error(tmp_path, five_keypoints, at, junk, is_cut):
    (tmp_path / "a.png").touch()
    path = tmp_path / "annotations.xml"
    data = EXAMPLE.encode()
    path.write_bytes(data[:at] + junk + (b"" if is_cut else data[at + len(junk) :]))
    check_read(*read_xml(path, KeypointMeta.build(five_keypoints)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('width="64"', 'width="64.5"', "photo 'a.png': expected width and height as whole numbers of px, got '64.5'"),
        ('width="64"', 'width="-4"', "photo 'a.png': expected width and height as whole numbers of px, got '-4'"),
        ('name="a.png"', 'name="../a.png"', "expected a photo's name below the folder, got '../a.png'"),
        ('label="left_wrist"', 'label="nose"', "photo 'a.png': two points are 'nose'"),
        ('points="2,3"', 'points="1e300,3"', "photo 'a.png': expected 2 finite numbers"),
        ("<annotations>", "<?xml version='1.0' encoding='no-such'?><annotations>", "is not valid XML"),
    ],
)  # fmt: skip
def test_what_a_cvat_file_cannot_mean_is_named(tmp_path, five_keypoints, old, new, message):
    (tmp_path / "a.png").touch()
    path = tmp_path / "annotations.xml"
    content = cvat(
        [{"keypoints": [(1 + k, 2 + k, 2) for k in range(5)], "box": None, "outline": None, "crowd": False}]
    )
    assert old in content
    path.write_text(content.replace(old, new, 1))
    people, told = read_xml(path, KeypointMeta.build(five_keypoints))
    assert not people
    assert message in told
    assert "annotations.xml" in told
