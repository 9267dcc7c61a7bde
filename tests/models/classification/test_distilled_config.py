"""The config of distillation trains, with a small teacher and drawn photos, and its backbone starts a pose network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ehrpose.config import load_config
from ehrpose.engine import build_runner
from ehrpose.models import EfficientNet, ImageClassifier


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("train2017", "val2017"):
        (tmp_path / folder).mkdir()
        for number in range(8):
            path = str(tmp_path / folder / f"{number}.png")
            cv2.imwrite(path, rng.integers(0, 256, (40, 50, 3), np.uint8))
    return tmp_path


def test_the_students_backbone_starts_a_pose_networks(root, photos):
    torch.manual_seed(0)
    small = {"type": "EfficientNetLite", "phi": -12, "drop_connect": 0.0}
    teacher = ImageClassifier(small, num_classes=5, lite=True)
    torch.save(teacher.state_dict(), photos / "teacher.pth")
    options = {
        "phi": -12, "num_classes": 5, "input_size": 32, "max_iters": 2, "data_root": str(photos),
        "train_dataloader.batch_size": 4, "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False, "vis_backends": [], "model.teacher.backbone.phi": -12,
        "model.teacher.init_cfg.checkpoint": str(photos / "teacher.pth"),
    }  # fmt: skip
    cfg = load_config(root / "configs/classification/b-4_distilled-128.py", options)
    runner = build_runner(cfg, photos / "run")
    model = runner.train()
    kept = model._teacher[0].state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())
    init = {"type": "Pretrained", "checkpoint": str(photos / "run/iter_2.pth"), "prefix": "backbone."}
    backbone = EfficientNet(phi=-12, init_cfg=init)
    backbone.init_weights()
    assert torch.equal(backbone.stem.conv.weight, model.backbone.stem.conv.weight.cpu())
