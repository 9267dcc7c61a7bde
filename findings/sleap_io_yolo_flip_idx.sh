#!/bin/bash
# sleap-io 0.9.5. Its YOLO-pose export writes a flip_idx that exchanges nothing, also for a skeleton with symmetries,
# which the same package knows how to mirror. Trainers that mirror photos (ultralytics does with every second one)
# take it at its word: a mirrored left eye is then trained as a left eye. With another class number, names still has
# class 0 only, so all labels are of a class that the file does not name. A point that is there but not visible is
# written as not labelled.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check -q install sleap-io==0.9.5 pillow pyyaml
cd "$folder"
"$folder/env/bin/python" - <<'PY'
from pathlib import Path

import numpy as np
import sleap_io
import yaml
from PIL import Image

names = ["nose", "left_eye", "right_eye"]
skeleton = sleap_io.Skeleton(nodes=names, edges=[(0, 1), (0, 2)], symmetries=[(1, 2)])
Image.new("RGB", (64, 48)).save("photo.png")
video = sleap_io.load_video(["photo.png"])
person = sleap_io.Instance.from_numpy(np.array([[30.0, 30], [40, 20], [20, 20]]), skeleton=skeleton)
person.points["visible"][2] = False
labels = sleap_io.Labels([sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[person])])
sleap_io.save_file(labels, "out", format="ultralytics", split_ratios={"train": 1.0}, class_id=3, verbose=False)
data = yaml.safe_load(Path("out/data.yaml").read_text())
line = Path("out/train/labels/0000000.txt").read_text().split()
print(f"sleap-io {sleap_io.__version__}; its own mirror of the skeleton: {skeleton.get_flipped_node_inds()}")
print(f"flip_idx in data.yaml: {data['flip_idx']}; names: {data['names']}")
print(f"class in the label file: {line[0]}; the point at 20 20 that is not visible: {' '.join(line[-3:])}")
assert skeleton.get_flipped_node_inds() == [0, 2, 1] and data["flip_idx"] == [0, 1, 2], "it has changed"
assert line[0] == "3" and data["names"] == {0: "animal"} and line[-1] == "0", "it has changed"
PY
