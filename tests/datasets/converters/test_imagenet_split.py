"""Lists that split ImageNet as the paper does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.datasets.classification import ImageNet
from ehrpose.datasets.converters.imagenet_split import split_imagenet


@pytest.fixture
def imagenet(tmp_path):
    content = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    for folder, number in (("train/n1", 20), ("train/n2", 40), ("val/n1", 3), ("val/n2", 3)):
        (tmp_path / folder).mkdir(parents=True)
        for photo in range(number):
            (tmp_path / folder / f"{photo:02}.JPEG").write_bytes(content)
    return tmp_path


def test_every_class_has_its_share_and_no_photo_is_in_two_lists(imagenet):
    assert split_imagenet(imagenet, imagenet / "lists", 30, 15) == {"train": 30, "val": 15, "test": 6}
    lists = {name: ImageNet(imagenet, "val" if name == "test" else "train", list_file=f"lists/{name}.txt")
             for name in ("train", "val", "test")}  # fmt: skip
    shares, paths = {}, []
    for name, dataset in lists.items():
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        shares[name] = np.bincount([info["gt_label"] for info in infos]).tolist()
        paths += [info["img_path"] for info in infos]
    assert len(set(paths)) == len(paths) == 51
    assert shares["train"] == pytest.approx([10, 20], abs=1)
    assert shares["val"] == pytest.approx([5, 10], abs=1)
    assert shares["test"] == [3, 3]


def test_the_seed_decides(imagenet):
    def drawn(seed):
        split_imagenet(imagenet, imagenet / "lists", 10, 5, seed)
        return (imagenet / "lists/train.txt").read_text()

    assert drawn(1) == drawn(1) != drawn(2)


def test_too_many_photos_are_asked_for(imagenet):
    with pytest.raises(ValueError, match="has 60 training photos, got `train` and `val` of together 61"):
        split_imagenet(imagenet, imagenet / "lists", 50, 11)
    with pytest.raises(ValueError, match="from 1, got 0 and 5"):
        split_imagenet(imagenet, imagenet / "lists", 0, 5)
