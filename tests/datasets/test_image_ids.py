from __future__ import annotations

import json

import pytest

from ehrpose.config import load_config, resolve
from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.registry import DATASETS


@pytest.fixture
def build(tmp_path, five_keypoints):
    """A dataset of five photos, 10 to 14, each with a person."""
    people = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 9, 9], "area": 50,
         "num_keypoints": 5, "keypoints": [5, 5, 2] * 5}
        for i in range(10, 15)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 20, "height": 20} for i in range(10, 15)]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": people}))

    def build(image_ids, **more):
        return CocoPoseDataset("labels.json", five_keypoints, str(tmp_path), image_ids=image_ids, **more)

    return build


def ids_of(dataset):
    return [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))]


def test_only_the_chosen_photos_are_used(build, tmp_path):
    (tmp_path / "ids.txt").write_text("14\n\n10\n12")
    assert ids_of(build(str(tmp_path / "ids.txt"))) == [10, 12, 14]
    assert ids_of(build([13])) == [13]
    assert ids_of(build(None)) == [10, 11, 12, 13, 14]
    assert ids_of(build([10, 12, 14], indices=2)) == [10, 12]


def test_missing_photos_are_named(build, tmp_path):
    with pytest.raises(ValueError, match=r"2 of the 3 image_ids not found, e\.g\. 98"):
        build([10, 98, 99])
    with pytest.raises(FileNotFoundError, match="image_ids: file not found"):
        build(str(tmp_path / "absent.txt"))
    (tmp_path / "ids.txt").write_text("10\n000000000011.jpg\n")
    with pytest.raises(ValueError, match=r"one image id per line, got '000000000011\.jpg'"):
        build(str(tmp_path / "ids.txt"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_lists_of_the_small_models_photos(root, coco_mini, split):
    options = {
        "data_root": f"{coco_mini}/",
        f"{split}_dataloader.dataset.image_ids": str(root / f"configs/ehrnet/coco-mini_{split}2017.txt"),
    }
    cfg = resolve(load_config(root / "configs/ehrnet/small_coco-256.py", options))
    settings = {**cfg[f"{split}_dataloader"].dataset, "test_mode": True}
    assert len(DATASETS.build(settings)) == {"train": 4638, "val": 391}[split]


def test_no_photo_is_in_both_lists(root):
    train, val = (
        set((root / f"configs/ehrnet/coco-mini_{s}2017.txt").read_text().split()) for s in ("train", "val")
    )
    assert (len(train), len(val), train & val) == (4638, 391, set())
