#!/bin/bash
# datumaro 1.13.12. Reading COCO keypoints and writing them again in the same format replaces the area of each person
# who has no outline by that of the box, though the file states an area: about twice as much. COCO's evaluation measures
# distances of keypoints against the area, so the same detections get a higher AP on the rewritten labels. The keypoints
# themselves are unchanged.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install datumaro==1.13.12 pycocotools pillow
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import contextlib
import importlib.metadata
import io
import json
import logging
from pathlib import Path

logging.disable(logging.CRITICAL)
import datumaro
import numpy as np
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

rng = np.random.default_rng(0)
Path("in/annotations").mkdir(parents=True)
Path("in/images/val").mkdir(parents=True)
images, annotations, found = [], [], []
for number in range(1, 41):
    Image.new("RGB", (300, 300)).save(f"in/images/val/{number}.png")
    images.append({"id": number, "file_name": f"{number}.png", "width": 300, "height": 300})
    points = rng.uniform(50, 250, (17, 2)).round()
    low, high = points.min(axis=0), points.max(axis=0)
    box = [float(v) for v in (*low, *(high - low))]
    person = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17, "bbox": box}
    labelled = np.concatenate([points, np.full((17, 1), 2)], axis=1).ravel().tolist()
    annotations.append({**person, "segmentation": [], "area": box[2] * box[3] / 2, "keypoints": labelled})
    moved = np.concatenate([points + rng.normal(0, 12, points.shape), np.ones((17, 1))], axis=1)
    found.append({"image_id": number, "category_id": 1, "score": 1.0, "keypoints": moved.ravel().tolist()})
category = {"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(17)], "skeleton": [[1, 2]]}
first = Path("in/annotations/person_keypoints_val.json")
first.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
datumaro.Dataset.import_from("in", "coco_person_keypoints").export("out", "coco_person_keypoints")


def ap(path):
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(path))
        evaluation = COCOeval(labels, labels.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0], {a["id"]: a for a in labels.dataset["annotations"]}


(before, old), (after, new) = ap(first), ap("out/annotations/person_keypoints_val.json")
ratio = float(np.mean([new[i]["area"] / old[i]["area"] for i in old]))
print(f"datumaro {importlib.metadata.version('datumaro')}, read and written again: area {ratio:.2f} times as large")
print(f"AP of the same detections: {before:.3f} on the labels, {after:.3f} on the rewritten ones")
assert all(new[i]["keypoints"] == old[i]["keypoints"] for i in old)
assert ratio > 1.9 and after > before + 0.05, "it has changed"
PY
