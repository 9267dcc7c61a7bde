from __future__ import annotations

import json
import runpy

import cv2
import numpy as np
import pytest


@pytest.fixture
def config(tmp_path, five_keypoints):
    """A config whose dataset is one photo with one person."""
    (tmp_path / "train2017").mkdir()
    cv2.imwrite(str(tmp_path / "train2017" / "1.png"), np.full((60, 80, 3), 99, np.uint8))
    labels = {
        "images": [{"id": 1, "file_name": "1.png", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [10, 10, 40, 40], "area": 900, "keypoints": [20, 30, 2] * 5}
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    dataset = {
        "type": "CocoPoseDataset",
        "data_root": str(tmp_path),
        "ann_file": "labels.json",
        "keypoints": "$keypoints",
    }
    train = [{"type": "LoadImage"}, {"type": "BottomUpAffine", "codec": "$codec", "prob": 0},
             {"type": "EncodeTargets", "codec": "$codec"}, {"type": "PackPose"}]  # fmt: skip
    test = [{"type": "LoadImage"}, {"type": "BottomUpResize", "codec": "$codec"}, {"type": "PackPose"}]
    path = tmp_path / "config.py"
    path.write_text(
        f"keypoints = {five_keypoints!r}\n"
        "codec = dict(type='AssociativeEmbedding', input_size=64, keypoints='$keypoints')\n"
        f"train_dataloader = dict(dataset=dict({dataset!r}, pipeline={train!r}))\n"
        f"val_dataloader = dict(dataset=dict({dataset!r}, test_mode=True, pipeline={test!r}))\n"
    )
    return path


@pytest.fixture
def browse(root):
    return runpy.run_path(str(root / "tools/misc/browse_dataset.py"))["main"]


@pytest.mark.parametrize(
    ("flags", "shape"),
    [
        ([], (64, 128, 3)),
        (["--phase", "val"], (64, 128, 3)),
        (["--mode", "original"], (60, 80, 3)),
        (["--cfg-options", "codec.input_size=96"], (96, 192, 3)),
    ],
    ids=["train", "val", "original", "options"],
)
def test_pictures_are_written(config, browse, tmp_path, capsys, flags, shape):
    browse([str(config), "--output-dir", str(tmp_path / "out"), "--max-item-per-dataset", "3", *flags])
    (path,) = (tmp_path / "out").iterdir()
    assert cv2.imread(str(path)).shape == shape
    assert "drew 1 of 1 samples" in capsys.readouterr().out


def test_a_phase_that_is_missing_is_named(config, browse):
    with pytest.raises(ValueError, match="test_dataloader"):
        browse([str(config), "--phase", "test"])
