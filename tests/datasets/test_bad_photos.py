from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from four_photos import CROWD, EMPTY, HEIGHT, LOAD, PEOPLE, UNLABELLED, WIDTH
from torch.utils.data import DataLoader

from ehrpose.image_io import ImageReadError


def test_a_missing_folder_names_both_places(build, folder):
    shutil.rmtree(folder / "train2017")
    with pytest.raises(FileNotFoundError, match=r"neither .*train2017.* nor .*images.train2017"):
        build(pipeline=LOAD)
    assert len(build()) == 2  # labels alone need no photos


def test_raising_names_the_photo(build, folder):
    dataset = build(pipeline=LOAD)
    (folder / "train2017" / "12.png").write_bytes(b"not a photo")
    assert dataset[0]["img_id"] == PEOPLE
    with pytest.raises(ImageReadError, match=r"12\.png"):
        dataset[1]
    (folder / "train2017" / "12.png").unlink()
    with pytest.raises(ImageReadError, match=r"12\.png.*file not found"):
        dataset[1]
    assert dataset.bad_images == {}


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "other size"])
def test_skipping_in_training_draws_another_photo(build, folder, warnings, damage):
    path = folder / "train2017" / "12.png"
    content = path.read_bytes()
    {
        "missing": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "truncated": lambda: path.write_bytes(content[: len(content) // 2]),
        "other size": lambda: cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8)),
    }[damage]()
    dataset = build(pipeline=LOAD, on_bad_image="skip")
    for _ in range(5):
        assert dataset[1]["img_id"] == PEOPLE
    assert list(dataset.bad_images) == [str(path)]
    assert len(warnings) == 1, "a photo is reported once"
    assert "(1 so far)" in warnings[0]
    assert "12.png" in warnings[0]


def test_skipping_gives_up_when_no_photo_is_usable(build, folder, warnings):
    for path in (folder / "train2017").iterdir():
        path.write_bytes(b"")
    dataset = build(pipeline=LOAD, on_bad_image="skip", max_refetch=20)
    with pytest.raises(ValueError, match=r"21 tries, 2 unusable.*empty"):
        dataset[0]
    assert [message.split(":")[0] for message in warnings] == [
        "skipped an unusable photo (1 so far)",
        "skipped an unusable photo (2 so far)",
    ]


def test_skipping_in_test_mode_substitutes_a_grey_image(build, folder, five_keypoints, warnings):
    (folder / "train2017" / "12.png").write_bytes(b"")
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    pipeline = (*LOAD, {"type": "BottomUpResize", "codec": codec}, {"type": "PackPose"})
    dataset = build(pipeline=pipeline, on_bad_image="skip", test_mode=True)
    items = [dataset[i] for i in (0, 1, 2, 3, 1)]
    assert [item["data_samples"].img_id for item in items] == [PEOPLE, CROWD, UNLABELLED, EMPTY, CROWD]
    for item in (items[1], items[4]):
        sample = item["data_samples"]
        assert "12.png" in sample.bad_image
        assert "img_path" not in sample
        assert sample.ori_shape == (HEIGHT, WIDTH)
        assert [ann["id"] for ann in sample.raw_anns] == [3, 4]
        assert item["inputs"].unique().tolist()[-1] == 128
    assert "bad_image" not in items[0]["data_samples"]
    assert len(dataset.bad_images) == len(warnings) == 1


def test_bad_photos_met_by_workers_are_counted(build, folder, five_keypoints):
    (folder / "train2017" / "12.png").write_bytes(b"")
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": five_keypoints}
    pipeline = (*LOAD, {"type": "BottomUpResize", "codec": codec}, {"type": "PackPose"})
    dataset = build(pipeline=pipeline, on_bad_image="skip", test_mode=True)
    list(DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list))
    assert dataset.num_bad_images == 1
