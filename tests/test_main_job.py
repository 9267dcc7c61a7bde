"""A user's dataset with its own skeleton, from a COCO folder to people on a photo."""

from __future__ import annotations

import json
import runpy
import sys
from unittest import mock

import pytest

LEAF = """
_base_ = [{bases}]
phi = -8
keypoints = {keypoints}
data_root = "mine/"
codec = dict(input_size=64, keypoints="$keypoints", mode="fast")
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=1, val_interval=1)
model = dict(neck=dict(init_std=None), head=dict(init_std=None, tag_init_std=0.05))
param_scheduler = [dict(type="LinearLR", begin=0, end=4, start_factor=0.1, by_epoch=False)]
"""


def run_tool(root, name, arguments):
    path = str(root / f"{name}.py")
    with mock.patch.object(sys, "argv", [path, *map(str, arguments)]):
        runpy.run_path(path, run_name="__main__")


@pytest.fixture
def folder(root, five_keypoints, tmp_path, monkeypatch):
    """A COCO folder of five keypoints, and a config that trains on it."""
    monkeypatch.chdir(tmp_path)
    skeleton = tmp_path / "skeleton.py"
    skeleton.write_text(f"keypoints = {five_keypoints!r}\n")
    sizes = ["--length", 8, "--val-length", 4, "--image-size", 96]
    run_tool(
        root, "tools/dataset_converters/synthetic_to_coco", ["--out", "mine", *sizes, "--keypoints", skeleton]
    )
    names = ["models/ehrnet.py", "datasets/coco.py", "schedules/300e.py", "runtime/default.py"]
    bases = ", ".join(repr(str(root / "configs/_base_" / name)) for name in names)
    (tmp_path / "leaf.py").write_text(
        LEAF.format(bases=bases, keypoints={**five_keypoints, "_delete_": True})
    )
    return tmp_path


def test_five_keypoints_train_test_and_predict(root, folder, capsys):
    run_tool(root, "tools/train", ["leaf.py", "--work-dir", "run"])
    assert (folder / "run/epoch_1.pth").is_file()
    run_tool(root, "tools/test", ["leaf.py", "run/epoch_1.pth", "--work-dir", "test", "--out", "test/people.json",
                                  "--cfg-options", "codec.min_score=-1"])  # fmt: skip
    rows = json.loads((folder / "test/people.json").read_text())
    assert rows
    assert all(len(row["keypoints"]) == 15 for row in rows)
    labels = folder / "mine/annotations/person_keypoints_val2017.json"
    labels.write_text(
        json.dumps({**json.loads(labels.read_text()), "annotations": []})
    )  # as in COCO's test-dev
    run_tool(root, "tools/test", ["leaf.py", "run/epoch_1.pth", "--work-dir", "test", "--out", "test/dev.json",
                                  "--format-only", "--cfg-options", "codec.min_score=-1"])  # fmt: skip
    assert json.loads((folder / "test/dev.json").read_text()) == rows
    run_tool(root, "demo/image_demo", ["mine/val2017", "leaf.py", "run/epoch_1.pth", "--out-dir", "drawn"])
    assert len(list((folder / "drawn").glob("*.jpg"))) == 4
    assert len(list((folder / "drawn").glob("*.json"))) == 4
