from __future__ import annotations

import json

import numpy as np
import pytest

from ehrpose.analysis.codec.codec_ceiling import config_ceiling, load_labels, measure_ceiling, print_ceilings
from ehrpose.analysis.codec.maps_from_labels import Noise
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.config import load_config
from ehrpose.image_warp import resize_warp


@pytest.fixture
def labels(tmp_path, rng):
    """Twelve images of 640 x 427 px with up to four people of any size."""
    images, annotations = [], []
    for image_id in range(1, 13):
        images.append({"id": image_id, "width": 640, "height": 427})
        for _ in range(int(rng.integers(1, 5))):
            size = rng.uniform(40, 200)
            points = rng.uniform((size / 2, size / 2), (640 - size / 2, 427 - size / 2)) + rng.normal(
                0, size / 5, (17, 2)
            )
            points = np.clip(np.round(points), 1, (638, 425))
            flat = np.concatenate([points, np.full((17, 1), 2)], axis=1).ravel().tolist()
            box = [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]
            person = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0}
            person |= {"keypoints": flat, "num_keypoints": 17, "bbox": box, "area": 0.5 * box[2] * box[3]}
            annotations.append(person)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1}]}))
    return path


def ceiling(labels, keypoints, size, **kwargs):
    codec = AssociativeEmbedding(size, keypoints, **kwargs)
    images = [
        (image, *resize_warp(image["width"], image["height"], size, 64)) for image in load_labels(labels)
    ]
    return measure_ceiling(codec, images)["coco/AP"]


def test_ceilings_rise_with_the_input_and_with_unbiased_targets(labels, coco_keypoints):
    paper = ceiling(labels, coco_keypoints, 384, mode="paper")
    assert 0.93 < paper < 1
    assert ceiling(labels, coco_keypoints, 192, mode="paper") < paper
    assert ceiling(labels, coco_keypoints, 384, mode="paper", unbiased=True) > paper
    assert ceiling(labels, coco_keypoints, 384, mode="fast", unbiased=True) > 0.98
    assert ceiling(labels, coco_keypoints, 384, mode="fast") > paper - 0.001


def test_noise_costs_more_than_the_codec(labels, coco_keypoints):
    codec = AssociativeEmbedding(256, coco_keypoints)
    images = [(i, *resize_warp(i["width"], i["height"], 256, 64)) for i in load_labels(labels)]
    perfect, noisy, again = (measure_ceiling(codec, images, noise) for noise in (None, Noise(), Noise()))
    assert noisy == again
    assert noisy["coco/AP"] < perfect["coco/AP"]
    assert 0 < perfect["position_error"] < noisy["position_error"] < 4


def test_the_table_has_a_row_for_each_choice(labels, root, capsys):
    keypoints = str(root / "configs/_base_/keypoints/coco.py")
    print_ceilings(str(labels), keypoints, [-4], ["fast"], ["floor", "unbiased"], 64, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 images of labels.json")
    assert [line.split("|")[4].strip() for line in lines[3:]] == ["floor", "unbiased"]


def test_a_config_has_a_ceiling_of_its_own(root):
    options = {"test_dataloader.dataset.length": 6}
    numbers = config_ceiling(load_config(root / "configs/ehrnet/demo_synthetic-128.py", options))
    assert 0.9 < numbers["coco/AP"] <= 1


def test_labels_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        load_labels(tmp_path / "nowhere.json")
    (tmp_path / "x.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match="not a COCO keypoint json"):
        load_labels(tmp_path / "x.json")
