from __future__ import annotations

import json

import numpy as np
import pytest
from annotated_people import make_samples, run
from mmengine.config import Config

from ehrpose.evaluation.crowdpose_metric import CrowdPoseMetric

# Results of xtcocotools 1.14.3 for `crowd_samples`, with iouType "keypoints_crowd" and use_area=False.
REFERENCE = {
    **{
        "AP": 0.222149,
        "AP50": 0.437727,
        "AP75": 0.191353,
        "AR": 0.446970,
        "AR50": 0.696970,
        "AR75": 0.454545,
    },
    **{"AP_E": 0.1327, "AP_M": 0.2509, "AP_H": 0.2671},
}


@pytest.fixture
def crowdpose_keypoints(root):
    return Config.fromfile(str(root / "configs/_base_/keypoints/crowdpose.py")).keypoints.to_dict()


@pytest.fixture
def crowd_samples():
    """Thirty images in the form of CrowdPose: with a crowd index, without areas, only visible keypoints counted."""
    samples = make_samples(np.random.default_rng(5), 14, images=30, noise=6.0)
    for place, sample in enumerate(samples):
        sample["crowd_index"] = round(place / 29, 2)
        for ann in sample["raw_anns"]:
            del ann["area"]
            ann["num_keypoints"] = sum(v == 2 for v in ann["keypoints"][2::3])
    samples[3]["raw_anns"][0]["num_keypoints"] = 0
    return samples


def truth_of(samples) -> dict:
    return {
        "images": [{"id": s["img_id"], "crowdIndex": s["crowd_index"]} for s in samples],
        "annotations": [a for s in samples for a in s["raw_anns"]],
        "categories": [{"id": 1, "name": "person"}],
    }


def test_numbers_are_those_of_the_usual_evaluation(crowd_samples, crowdpose_keypoints):
    result = run(CrowdPoseMetric(keypoints=crowdpose_keypoints), crowd_samples)
    assert list(result) == [f"crowdpose/{name}" for name in REFERENCE]
    assert list(result.values()) == pytest.approx(list(REFERENCE.values()), abs=6e-5)


def test_the_crowd_index_may_come_from_the_annotation_file(crowd_samples, crowdpose_keypoints, tmp_path):
    (tmp_path / "test.json").write_text(json.dumps(truth_of(crowd_samples)))
    by_sample = run(CrowdPoseMetric(keypoints=crowdpose_keypoints), crowd_samples)
    metric = CrowdPoseMetric(keypoints=crowdpose_keypoints, ann_file=str(tmp_path / "test.json"))
    for sample in crowd_samples:
        del sample["crowd_index"], sample["raw_anns"]
    assert run(metric, crowd_samples) == by_sample


def test_groups_change_with_the_crowd_index_and_an_empty_one_is_minus_one(crowd_samples, crowdpose_keypoints):
    for sample in crowd_samples:
        sample["crowd_index"] = 0.2
    result = run(CrowdPoseMetric(keypoints=crowdpose_keypoints), crowd_samples)
    assert result["crowdpose/AP_M"] == result["crowdpose/AP"] > 0
    assert result["crowdpose/AP_E"] == result["crowdpose/AP_H"] == -1


def test_photos_without_a_crowd_index_are_an_error(crowd_samples, crowdpose_keypoints):
    del crowd_samples[7]["crowd_index"]
    with pytest.raises(
        ValueError, match=r"1 of 30 images have no crowdIndex, for example 8: .*CrowdPoseDataset"
    ):
        run(CrowdPoseMetric(keypoints=crowdpose_keypoints), crowd_samples)
