#!/bin/bash
# label-studio-sdk 2.1.2, its converter. A photo with two people, each a rectangle with its keypoints as children
# (parentID): the way to say whose they are. The YOLO export has two people. The COCO export has one annotation with
# keypoints for the photo: those of the second person. The first one's are lost without a word, and its box is kept as
# an annotation of its own without keypoints, in another category.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install label-studio-sdk==2.1.2
cd "$folder"
"$folder/env/bin/python" - <<'PY'
import importlib.metadata
import json
from pathlib import Path

from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.converter import Format

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="person"/></RectangleLabels>
<KeyPointLabels name="point" toName="image"><Label value="nose" model_index="0"/><Label value="tail" model_index="1"/>
</KeyPointLabels></View>"""


def region(name, kind, tag, parent, label, **place):
    found = {"id": name, "type": kind, "from_name": tag, "to_name": "image", "original_width": 100}
    found.update(original_height=100, image_rotation=0, value={**place, "rotation": 0, kind: [label]})
    return {**found, "parentID": parent} if parent else found


result = []
for person, x in (("first", 10), ("second", 60)):
    result.append(region(person, "rectanglelabels", "box", None, "person", x=x, y=10, width=30, height=50))
    for number, keypoint in enumerate(("nose", "tail")):
        place = {"x": x + 5, "y": 20 + 20 * number, "width": 0.5}
        result.append(region(f"{person}{number}", "keypointlabels", "point", person, keypoint, **place))
data = {"image": "/data/local-files/?d=images/a.png"}
task = {"id": 1, "data": data, "annotations": [{"id": 1, "completed_by": 1, "result": result}]}
Path("tasks.json").write_text(json.dumps([task]))
Path("config.xml").write_text(CONFIG)
converter = Converter("config.xml", project_dir=None, download_resources=False)
for form in (Format.YOLO, Format.COCO):
    converter.convert("tasks.json", form.name, form, is_dir=False)
lines = Path("YOLO/labels/a.txt").read_text().splitlines()
posed = [a for a in json.loads(Path("COCO/result.json").read_text())["annotations"] if "keypoints" in a]
print(f"label-studio-sdk {importlib.metadata.version('label-studio-sdk')}, two people with two keypoints each")
print(f"YOLO: {len(lines)} lines: {lines}")
print(f"COCO: {len(posed)} annotation with keypoints: {[a['keypoints'] for a in posed]}")
assert len(lines) == 2 and len(posed) == 1 and posed[0]["keypoints"] == [65, 20, 2, 65, 40, 2], "it has changed"
PY
