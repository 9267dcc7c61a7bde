"""Head and loss are exchangeable: a segmentation head over the same backbone and neck, on the masks of drawn people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.datasets.synthetic import SyntheticPeople
from ehrpose.datasets.transforms import EncodeMasks
from ehrpose.registry import MODELS

PIPELINE = [{"type": "LoadImage"}, {"type": "EncodeMasks", "stride": 4}, {"type": "PackPose"}]


def model(**loss):
    return MODELS.build(
        {
            "type": "BottomUpEstimator",
            "backbone": {"type": "EfficientNet", "phi": -10, "drop_connect": 0.0},
            "neck": {"type": "HighResolutionNeck", "channels": (12, 16, 20, 24), "num_modules": (1, 1, 1),
                     "num_blocks": 1, "init_std": None},
            "head": {"type": "SegmentationHead", "loss": {"type": "ClassLoss", **loss}},
        }
    )  # fmt: skip


def test_people_are_told_from_their_background(five_keypoints):
    torch.manual_seed(0)
    scenes = SyntheticPeople(
        five_keypoints, length=8, image_size=64, num_people=(1, 2), person_height=(0.8, 1.0), occlusion=0.1,
        clutter=0.1, pipeline=PIPELINE,
    )  # fmt: skip
    items = [scenes[i] for i in range(8)]
    batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
    masks = torch.stack([sample.gt_targets["mask"] for sample in batch["data_samples"]])
    assert masks.shape == (8, 16, 16)
    assert 0.05 < masks.float().mean() < 0.6
    network = model().train()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    prepared = network.data_preprocessor(batch)
    for _ in range(25):
        losses = network(**prepared, mode="loss")
        optimizer.zero_grad()
        losses["loss_mask"].backward()
        optimizer.step()
    network.train()
    with torch.no_grad():
        found = network(prepared["inputs"]).argmax(1)
    both, either = ((found & masks) > 0).sum(), ((found | masks) > 0).sum()
    assert both / either > 0.6, "intersection over union of people"


def test_the_loss_is_another_by_one_key():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    logits = torch.randn(2, 2, 16, 16)
    targets = {"mask": torch.zeros(2, 16, 16, dtype=torch.int64)}
    plain, smooth = (model(**loss).head.loss(logits, targets)["loss_mask"]
                     for loss in ({}, {"label_smoothing": 0.5}))  # fmt: skip
    assert plain != smooth
    assert model().eval()(images).shape == (2, 2, 16, 16)


def test_masks_follow_the_warp_and_need_outlines():
    square = [[2.0, 2.0, 10.0, 2.0, 10.0, 10.0, 2.0, 10.0]]
    item = {"img": np.zeros((16, 16, 3), np.uint8), "outlines": [square], "width": 16, "height": 16}
    mask = EncodeMasks(stride=2).transform(item)["targets"]["mask"]
    assert (mask.shape, mask.sum(), mask[1:5, 1:5].all()) == ((8, 8), 16, True)
    moved = EncodeMasks(2).transform({**item, "warp": np.array([[1.0, 0, 4], [0, 1, 0]]), "targets": {}})
    assert moved["targets"]["mask"][1:5, 3:7].all()
    with pytest.raises(ValueError, match="keep_outlines=True"):
        EncodeMasks().transform({"img": item["img"]})
    with pytest.raises(ValueError, match="stride must be"):
        EncodeMasks(0)
