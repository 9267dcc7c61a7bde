"""Drawn scenes written in the formats of labelling tools: the converters must return them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from ehrpose.datasets.synthetic.dataset import SyntheticPeople

NAMES = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]
LIMBS = [(1, 2), (1, 3), (2, 4), (3, 5)]  # counted from 1


def draw_scenes(keypoints: dict, folder: Path, length: int = 6) -> list[dict]:
    """Write the photos; return the scenes' items."""
    dataset = SyntheticPeople(keypoints, length=length, image_size=(120, 96), num_people=(1, 3))
    folder.mkdir(parents=True, exist_ok=True)
    items = [dataset.get_data_info(i) for i in range(length)]
    for i, item in enumerate(items):
        cv2.imwrite(str(folder / f"scene{i}.png"), item["img"])
    return items


def people_of(item: dict) -> list[dict]:
    """Return the annotated people of a scene that have keypoints."""
    return [ann for ann in item["raw_anns"] if ann["num_keypoints"]]


def labelme_file(item: dict, name: str) -> dict:
    """Return labelme's JSON for a scene: points, boxes, group ids."""
    shapes = []
    for group, ann in enumerate(people_of(item)):
        x, y, width, height = ann["bbox"]
        for label, (px, py, visible) in zip(NAMES, np.reshape(ann["keypoints"], (-1, 3)).tolist()):
            if visible:
                shapes.append(shape("point", label, [[px, py]], group, occluded=visible == 1))
        shapes.append(shape("rectangle", "person", [[x + width, y], [x, y + height]], group))
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageWidth": item["width"],
        "imageHeight": item["height"],
    }


def shape(kind: str, label: str, points: list, group: int | None = None, **flags: bool) -> dict:
    return {
        **{"label": label, "points": points, "group_id": group, "description": ""},
        **{"shape_type": kind, "flags": flags, "mask": None},
    }


def write_labelme(items: list[dict], folder: Path) -> None:
    for i, item in enumerate(items):
        (folder / f"scene{i}.json").write_text(json.dumps(labelme_file(item, f"scene{i}.png")))


def write_cvat_xml(items: list[dict], folder: Path) -> None:
    """Write `annotations.xml` in the format "CVAT for images 1.1"."""
    root = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels"
    )
    person = ElementTree.SubElement(labels, "label")
    lines = "".join(
        f'<line data-type="edge" data-node-from="{i}" data-node-to="{j}"></line>' for i, j in LIMBS
    )
    nodes = "".join(
        f'<circle data-node-id="{i}" data-label-name="{n}"></circle>' for i, n in enumerate(NAMES, 1)
    )
    for tag, text in (("name", "person"), ("type", "skeleton"), ("svg", lines + nodes)):
        ElementTree.SubElement(person, tag).text = text
    for name in NAMES:
        label = ElementTree.SubElement(labels, "label")
        for tag, text in (("name", name), ("type", "points"), ("parent", "person")):
            ElementTree.SubElement(label, tag).text = text
    for i, item in enumerate(items):
        size = {"width": str(item["width"]), "height": str(item["height"])}
        image = ElementTree.SubElement(root, "image", {"id": str(i), "name": f"scene{i}.png", **size})
        for group, ann in enumerate(people_of(item), 1):
            x, y, width, height = ann["bbox"]
            corners = {"xtl": str(x), "ytl": str(y), "xbr": str(x + width), "ybr": str(y + height)}
            ElementTree.SubElement(image, "box", {"label": "person box", "group_id": str(group), **corners})
            skeleton = ElementTree.SubElement(image, "skeleton", {"label": "person", "group_id": str(group)})
            for name, (px, py, v) in zip(NAMES, np.reshape(ann["keypoints"], (-1, 3)).tolist()):
                state = {"outside": str(int(v == 0)), "occluded": str(int(v == 1))}
                ElementTree.SubElement(skeleton, "points", {"label": name, "points": f"{px},{py}", **state})
    folder.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(folder / "annotations.xml")


def coco_export(items: list[dict]) -> dict:
    """Return a COCO keypoint JSON with the keypoints in reverse order and no outlines, as from CVAT."""
    annotations = []
    for i, item in enumerate(items):
        for ann in people_of(item):
            labels = np.reshape(ann["keypoints"], (-1, 3))[::-1].ravel().tolist()
            kept = {key: ann[key] for key in ("id", "bbox", "area", "num_keypoints", "iscrowd")}
            annotations.append(
                {**kept, "image_id": i, "category_id": 3, "keypoints": labels, "segmentation": []}
            )
    return {
        "images": [
            {"id": i, "file_name": f"scene{i}.png", "width": item["width"], "height": item["height"]}
            for i, item in enumerate(items)
        ],
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "car", "keypoints": [], "skeleton": []},
            {
                "id": 3,
                "name": "person",
                "keypoints": NAMES[::-1],
                "skeleton": [[6 - i, 6 - j] for i, j in LIMBS],
            },
        ],
    }
