"""LoadImage, EncodeTargets and PackPose, alone and as one pipeline."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ehrpose.datasets.transforms import (
    BottomUpAffine,
    BottomUpResize,
    EncodeTargets,
    LoadImage,
    PackPose,
    RandomFlip,
)
from ehrpose.image_io import ImageReadError
from ehrpose.registry import CODECS, TRANSFORMS


@pytest.fixture
def codec(five_keypoints) -> dict:
    return {"type": "AssociativeEmbedding", "input_size": 128, "keypoints": five_keypoints}


def people_item(num_people: int, width: int = 200, height: int = 160, num_keypoints: int = 5) -> dict:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, [width - 1, height - 1], (num_people, num_keypoints, 2)).astype(np.float32)
    return {
        "img_id": 7,
        "img": rng.integers(0, 256, (height, width, 3), np.uint8),
        "width": width,
        "height": height,
        "keypoints": keypoints,
        "visible": np.full((num_people, num_keypoints), 2, np.uint8),
        "bbox": np.tile(np.array([[1, 2, 30, 40]], np.float32), (num_people, 1)),
        "area": np.full(num_people, 99, np.float32),
        "mask_regions": [],
        "raw_anns": [{"id": 1, "keypoints": [1, 2, 2] * 5}],
    }


def write_jpeg(path, width: int, height: int, orientation: int = 1) -> str:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes the orientation")
    exif = image_module.Exif()
    exif[0x0112] = orientation
    image_module.new("RGB", (width, height), (200, 10, 10)).save(path, exif=exif)
    return str(path)


def test_photos_are_loaded_and_given_images_kept(tmp_path):
    path = write_jpeg(tmp_path / "a.jpg", 30, 20)
    results = LoadImage()({"img_path": path})
    assert results["img"].shape == (20, 30, 3)
    assert results["img_shape"] == (20, 30)
    assert (results["width"], results["height"]) == (30, 20)
    given = np.zeros((4, 5, 3), np.uint8)
    kept = LoadImage(backend="pillow")({"img": given})
    assert kept["img"] is given
    assert kept["img_shape"] == (4, 5)


@pytest.mark.parametrize(
    ("annotated", "wanted"),
    [((20, 30), (20, 30)), ((30, 20), (30, 20))],
    ids=["annotated upright", "annotated as stored"],
)
def test_the_annotated_size_decides_about_orientation(tmp_path, annotated, wanted):
    path = write_jpeg(tmp_path / "turned.jpg", 30, 20, orientation=6)  # upright it is 20 wide, 30 high
    results = LoadImage()({"img_path": path, "width": annotated[0], "height": annotated[1]})
    assert results["img"].shape[1::-1] == wanted


def test_a_photo_of_another_size_is_refused(tmp_path):
    path = write_jpeg(tmp_path / "small.jpg", 30, 20)
    with pytest.raises(ImageReadError, match=r"small\.jpg is 30 x 20 px.*60 x 40"):
        LoadImage()({"img_path": path, "width": 60, "height": 40})
    with pytest.raises(ImageReadError, match=r"gone\.jpg"):
        LoadImage()({"img_path": str(tmp_path / "gone.jpg")})
    with pytest.raises(ValueError, match="pil"):
        LoadImage("pil")


@pytest.mark.parametrize("num_people", [0, 1, 3, 200])
def test_training_pipeline(codec, num_people, five_keypoints):
    steps = [
        LoadImage(),
        BottomUpAffine(codec, prob=0),
        RandomFlip(1.0, five_keypoints),
        EncodeTargets(codec, heatmaps=True),
        PackPose(),
    ]
    results = people_item(num_people)
    for step in steps:
        results = step(results)
    sample = results["data_samples"]
    assert results["inputs"].shape == (3, 128, 128)
    assert results["inputs"].dtype == torch.uint8
    built = CODECS.build(codec)
    people = sample.gt_instances
    wanted = built.encode(people.keypoints, people.visible)
    assert set(sample.gt_targets) == set(wanted)
    for name, array in wanted.items():
        assert torch.equal(sample.gt_targets[name], torch.from_numpy(array)), name
    assert len(people) <= num_people
    if num_people == 200:
        # The codec has 30 slots, and no person is lost before encoding.
        assert len(people) > 150
        assert (sample.gt_targets["tag_index4"] >= 0).any(dim=1).sum() == built.max_people
    assert sample.flip is True
    assert sample.ori_shape == (160, 200)
    assert sample.input_shape == (128, 128)
    assert sample.img_id == 7
    assert "raw_anns" not in sample  # for metrics alone
    assert "img_path" not in sample


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5)])
def test_test_pipeline(codec, scales):
    results = people_item(2)
    keypoints = results["keypoints"].copy()
    for step in (LoadImage(), BottomUpResize(codec, 64, scales), PackPose()):
        results = step(results)
    inputs, sample = results["inputs"], results["data_samples"]
    if len(scales) > 1:
        assert [tuple(part.shape) for part in inputs] == [(3, 128, 256), (3, 64, 128)]
    else:
        assert tuple(inputs.shape) == (3, 128, 192)
    assert sample.input_shape == tuple((inputs[0] if len(scales) > 1 else inputs).shape[1:])
    assert "gt_targets" not in sample
    np.testing.assert_array_equal(sample.gt_instances.keypoints, keypoints)
    assert sample.flip is False
    assert sample.raw_anns == [{"id": 1, "keypoints": [1, 2, 2] * 5}]


def test_channels_and_rows_keep_their_order(codec):
    item = {"img": np.zeros((128, 128, 3), np.uint8), "width": 128, "height": 128, "img_id": 1}
    item["img"][3, 5] = (10, 20, 30)
    packed = PackPose()(dict(item))["inputs"]
    assert packed[:, 3, 5].tolist() == [10, 20, 30]
    assert packed.sum() == 60


def test_only_the_named_metadata_is_kept():
    item = people_item(1)
    sample = PackPose(meta_keys=("img_id", "bad_image"))({**item, "bad_image": "it is gone"})["data_samples"]
    assert sample.metainfo == {"img_id": 7, "bad_image": "it is gone"}


@pytest.mark.parametrize("before", ["nothing", "BottomUpResize"])
def test_targets_need_warped_keypoints(codec, before):
    item = people_item(1, 128, 128)
    if before == "nothing":
        item["img"] = item["img"][:100]
    else:
        item = BottomUpResize(codec, 64)(item)
    with pytest.raises(ValueError, match="BottomUpAffine"):
        EncodeTargets(codec)(item)


def test_regions_reach_the_targets(codec):
    item = people_item(1)
    item["mask_regions"] = [[[0, 0, 200, 0, 200, 80, 0, 80]]]  # the upper half of the photo
    results = EncodeTargets(codec)(BottomUpAffine(codec, prob=0)(item))
    for name in ("mask4", "mask2"):
        mask = results["targets"][name]
        middle = len(mask) // 2
        assert mask[: middle - 1].max() == 0
        assert mask[middle + 1 :].min() == 1


def test_configs_build_by_name(codec, five_keypoints):
    names = ["LoadImage", "BottomUpAffine", "RandomFlip", "PhotometricDistortion", "BottomUpResize", "EncodeTargets",
             "PackPose"]  # fmt: skip
    needs = {"BottomUpAffine": {"codec": codec}, "BottomUpResize": {"codec": codec}, "EncodeTargets": {"codec": codec},
             "RandomFlip": {"keypoints": five_keypoints}}  # fmt: skip
    for name in names:
        built = TRANSFORMS.build({"type": name, **needs.get(name, {})})
        assert type(built).__module__.startswith("ehrpose."), name


def test_greyscale_and_deep_files_make_inputs(tmp_path, codec):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp)
    item = {"img_path": str(tmp_path / "deep.png"), "img_id": 1}
    for step in (LoadImage(), BottomUpResize(codec, 64), PackPose()):
        item = step(item)
    assert item["inputs"].shape == (3, 128, 128)
    assert torch.equal(item["inputs"][0], item["inputs"][2])
    assert item["inputs"].float().mean() == pytest.approx(127, abs=4)
