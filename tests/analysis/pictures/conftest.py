"""A very small model with random weights that find people, and photos for it."""

from __future__ import annotations

import cv2
import pytest
import torch
from torch import nn

from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.models.loading import init_model

TINY_OPTIONS = {"codec.input_size": 64, "codec.min_score": 0.01, "phi": -8}


@pytest.fixture(scope="session")
def tiny_config(root):
    return root / "configs/ehrnet/demo_synthetic-128.py"


@pytest.fixture(scope="session")
def tiny_options():
    """Command-line options that make the model small."""
    return ["--cfg-options", *(f"{key}={value}" for key, value in TINY_OPTIONS.items())]


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_config, tmp_path_factory):
    """Random weights that find people."""
    torch.manual_seed(0)
    model = init_model(tiny_config, cfg_options=TINY_OPTIONS)
    for layer in [*model.neck.modules(), *model.head.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        for name, layer in (("heat4", model.head.output4), ("heat2", model.head.output2)):
            layer.weight *= 0.4 / getattr(model(torch.randn(1, 3, 64, 64)), name).std()
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@pytest.fixture
def scenes(coco_keypoints, tmp_path):
    """Two synthetic scenes as photos, and their annotations in COCO format."""
    import json

    dataset = SyntheticPeople(coco_keypoints, length=2, image_size=(96, 64), num_people=(2, 2), occlusion=0)
    folder = tmp_path / "photos"
    folder.mkdir()
    images, anns = [], []
    for index in range(2):
        item = dataset.get_data_info(index)
        cv2.imwrite(str(folder / f"{index}.png"), item["img"])
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": 96, "height": 64})
        anns += item["raw_anns"]
    categories = [{"id": 1, "name": "person", "keypoints": coco_keypoints["names"]}]
    text = json.dumps({"images": images, "annotations": anns, "categories": categories})
    (tmp_path / "people.json").write_text(text)
    return folder, tmp_path / "people.json"
