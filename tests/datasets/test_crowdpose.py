from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ehrpose.config import load_config, resolve
from ehrpose.registry import DATASETS, METRICS

K, SIDE = 14, 96


def labels(crowd_index=0.4) -> dict:
    """One photo with two people in CrowdPose's format: boxes, a crowd index, no areas."""
    people = [
        {
            "id": number + 1,
            "image_id": 7,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [10 * number, 5, 40, 80],
            "num_keypoints": K,
            "keypoints": [value for k in range(K) for value in (10 * number + 2 * k, 10 + 5 * k, 2)],
        }
        for number in range(2)
    ]
    image = {"id": 7, "file_name": "7.jpg", "width": SIDE, "height": SIDE, "crowdIndex": crowd_index}
    return {"images": [image], "annotations": people, "categories": [{"id": 1, "name": "person"}]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    cv2.imwrite(str(tmp_path / "images/7.jpg"), np.full((SIDE, SIDE, 3), 90, np.uint8))
    for split in ("trainval", "test"):
        (tmp_path / f"annotations/crowdpose_{split}.json").write_text(json.dumps(labels()))
    return tmp_path


@pytest.fixture
def config(root, folder):
    options = {"data_root": f"{folder}/", "codec.input_size": 64, "phi": -8}
    return resolve(load_config(root / "configs/ehrnet/h-4_crowdpose-384.py", options))


def test_people_without_an_area_get_half_of_their_box(config):
    item = DATASETS.build(config.test_dataloader.dataset).get_data_info(0)
    assert item["area"].tolist() == pytest.approx([0.53 * 40 * 80] * 2)
    assert item["crowd_index"] == 0.4
    assert item["keypoints"].shape == (2, K, 2)


def test_an_area_that_is_there_is_kept(config, folder):
    changed = labels()
    changed["annotations"][1]["area"] = 77
    (folder / "annotations/crowdpose_test.json").write_text(json.dumps(changed))
    item = DATASETS.build(config.test_dataloader.dataset).get_data_info(0)
    assert item["area"].tolist() == pytest.approx([0.53 * 40 * 80, 77])


def test_samples_have_what_the_metric_needs(config):
    dataset, metric = DATASETS.build(config.test_dataloader.dataset), METRICS.build(config.test_evaluator)
    sample = dataset[0]["data_samples"]
    truth = sample.gt_instances
    people = {
        "keypoints": truth.keypoints,
        "keypoint_scores": np.ones(truth.keypoints.shape[:2]),
        "bbox_scores": np.ones(2),
    }
    metric.process({}, [{**sample.metainfo, "pred_instances": people}])
    result = metric.evaluate(1)
    assert result["crowdpose/AP"] == result["crowdpose/AP_M"] == pytest.approx(1)
    assert result["crowdpose/AP_E"] == result["crowdpose/AP_H"] == -1


def test_training_samples_have_fourteen_keypoints(config):
    sample = DATASETS.build(config.train_dataloader.dataset)[0]["data_samples"]
    assert sample.gt_targets["tag_index4"].shape == (config.codec.max_people, K)
    assert set(sample.gt_targets["points"][:, 0].tolist()) <= set(range(K))


@pytest.mark.parametrize("value", [-0.1, 1.5, "many", None, True])
def test_an_invalid_crowd_index_is_an_error(config, folder, value):
    (folder / "annotations/crowdpose_test.json").write_text(json.dumps(labels(value)))
    with pytest.raises(ValueError, match=r"image 7: expected a crowdIndex from 0 to 1"):
        DATASETS.build(config.test_dataloader.dataset)


@pytest.mark.parametrize("box", [[1, 2, 3], None, "box", [1, 2, "x", 4]])
def test_a_broken_box_without_an_area_is_named(config, folder, box):
    changed = labels()
    changed["annotations"][0]["bbox"] = box
    (folder / "annotations/crowdpose_test.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"annotation 1( has no 'area'|: expected 'bbox')"):
        DATASETS.build(config.test_dataloader.dataset)
