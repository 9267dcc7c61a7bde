"""The ceiling and the benchmark of the part-affinity codec."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ehrpose.analysis.codec.part_benchmark import print_part_benchmark
from ehrpose.analysis.codec.part_ceiling import people_of_labels, print_part_ceilings
from ehrpose.codecs import PartAffinity

FIGURE = [
    [50, 8], [54, 4], [46, 4], [60, 8], [40, 8], [70, 28], [30, 28], [80, 48], [20, 48], [84, 68], [16, 68], [62, 70],
    [38, 70], [64, 100], [36, 100], [66, 128], [34, 128],
]  # fmt: skip


@pytest.fixture
def labels(tmp_path):
    """Two photos, one upright, with two people each."""
    images = [{"id": 1, "width": 320, "height": 200}, {"id": 2, "width": 200, "height": 320}]
    annotations = []
    for image in images:
        for x in (5, 95):
            points = np.add(FIGURE, (x, 30))
            flat = np.concatenate([points, np.full((17, 1), 2)], axis=1).ravel().tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": 0, "keypoints": flat,
                "num_keypoints": 17, "bbox": [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()],
                "area": 4000.0,
            })  # fmt: skip
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1}]}))
    return path


def test_the_table_has_a_row_for_each_procedure(labels, root, capsys):
    config = str(root / "configs/_base_/keypoints/coco.py")
    print_part_ceilings(str(labels), config, ["fast", "paper"], None, 0.01)
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][
        1:
    ]
    found = {row[0].strip(): (int(row[1]), float(row[3])) for row in rows}
    assert len(found) == 7
    assert {int(row[2]) for row in rows} == {4}
    for name, (people, ap) in found.items():
        if name.startswith("fast"):
            assert (people, ap > 0.9) == (4, True), name
    noisy, perfect = found["paper at the photo's size, noise there"], found["paper at the photo's size"]
    assert noisy[0] > perfect[0]
    assert noisy[1] < perfect[1]


def test_noise_is_the_same_at_each_call(labels, coco_keypoints):
    image = json.loads(labels.read_text())["images"][0]
    image["annotations"] = json.loads(labels.read_text())["annotations"][:2]
    codec = PartAffinity(368, coco_keypoints, parts="coco-18")
    one, other = (people_of_labels(codec, image, 0.05, False)[0] for _ in range(2))
    np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_the_benchmark_prints_both_modes(root, capsys):
    print_part_benchmark(str(root / "configs/_base_/keypoints/coco.py"), None, [1], [60], 1, 1, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("paper | paper / fast |")
    assert lines[3].startswith("| 1 | 64 | 8 |")
