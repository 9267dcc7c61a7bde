"""Mosaic and CopyPaste: keypoints stay on their pixels."""

from __future__ import annotations

import json
import random

import cv2
import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.datasets.transforms import CopyPaste, LoadImage, Mosaic
from ehrpose.engine.seeding import SeededDataset, SeededIndex
from ehrpose.registry import TRANSFORMS

K, SIDE = 5, 160
# Where the keypoints of a person lie in its box of 60 x 80 px.
POSE = np.array([[30, 8], [8, 40], [52, 40], [15, 72], [45, 72]], np.float32)
OUTLINE = [[0, 0, 60, 0, 60, 80, 0, 80]]


def dot_photo(number: int, corners, background: int) -> dict:
    """An item whose people are white boxes with a dot at each keypoint, in a colour per photo and person."""
    image = np.full((SIDE, SIDE + 40, 3), background, np.uint8)
    people = np.array([POSE + corner for corner in corners], np.float32).reshape(-1, K, 2)
    for x, y in corners:
        image[y : y + 80, x : x + 60] = 255
    for n in range(len(corners)):
        for px, py in people[n].astype(int):
            cv2.circle(image, (int(px), int(py)), 5, (40 * number + 20, 90 * n + 20, 0), -1)
    boxes = np.array([[x, y, x + 60, y + 80] for x, y in corners], np.float32).reshape(-1, 4)
    return {
        "img_id": number,
        "img_path": f"{number}.png",
        "img": image,
        "width": SIDE + 40,
        "height": SIDE,
        "keypoints": people,
        "visible": np.full(people.shape[:2], 2, np.uint8),
        "bbox": boxes,
        "area": np.full(len(people), 4800, np.float32),
        "mask_regions": [],
        "outlines": [[[v + c for v, c in zip(OUTLINE[0], (x, y) * 4)]] for x, y in corners],
        "raw_anns": [{"id": 1}],
    }


@pytest.fixture
def codec(five_keypoints):
    return AssociativeEmbedding(128, five_keypoints, mode="fast")


def item_with_others(*others, **changes):
    """An item with two people, and the other photos that it returns in turn."""
    left = list(others)
    item = dot_photo(0, [(10, 20), (100, 60)], 60)
    return {**item, "other_photo": lambda: left.pop(0), **changes}


def check_dots(results, dots_of):
    """Check that every visible keypoint lies on its dot; return their number."""
    checked = 0
    for person, visible in zip(results["keypoints"], results["visible"]):
        for (x, y), v in zip(person, visible):
            if v == 2:
                colour = results["img"][round(float(y)), round(float(x))].astype(int)
                assert dots_of(colour), (colour, x, y)
                checked += 1
    return checked


def is_dot(colour) -> bool:
    return colour[2] < 60 and colour[1] in range(10, 130) and max(colour) < 200


@pytest.mark.parametrize("seed", range(6))
def test_mosaic_keeps_keypoints_on_their_dots(codec, seed):
    random.seed(seed)
    others = [dot_photo(n, [(20 * n, 10), (70, 60)], 40 * n + 60) for n in (1, 2, 3)]
    results = Mosaic(codec, prob=1.0).transform(item_with_others(*others))
    assert results["img"].shape == (256, 256, 3)
    assert (results["width"], results["height"], results["raw_anns"]) == (256, 256, [])
    assert check_dots(results, is_dot) >= 8
    assert results["visible"].any(axis=1).all()
    assert len({len(results[name]) for name in ("keypoints", "visible", "bbox", "area")}) == 1
    assert (results["bbox"] >= 0).all()
    assert (results["bbox"] <= 256).all()
    # A keypoint outside its quarter is not labelled, even if it lies on the mosaic.
    assert (results["visible"] == 0).any()


def test_mosaic_shows_four_photos_and_their_regions(codec):
    random.seed(0)
    whole = [[0, 0, 400, 0, 400, 400, 0, 400]]
    others = [dot_photo(n, [], 40 * n + 60) for n in (1, 2, 3)]
    others[1]["mask_regions"] = [whole]
    results = Mosaic(codec, prob=1.0, zoom=1.0).transform(item_with_others(*others))
    corners = [results["img"][y, x, 0] for y, x in ((2, 250), (250, 2), (250, 250))]
    assert corners == [100, 140, 180]
    (region,) = results["mask_regions"]
    from pycocotools import mask as coco_mask

    off = coco_mask.decode(region)
    assert (off[250, 2], off[2, 250], off[250, 250], off[2, 2]) == (1, 0, 0, 0)


def test_mosaic_follows_its_probability(codec):
    random.seed(0)
    kept = item_with_others()
    assert Mosaic(codec, prob=0.0).transform(kept) is kept
    mosaic, count = Mosaic(codec, prob=0.3), 0
    for _ in range(300):
        results = mosaic.transform(item_with_others(*(dot_photo(n, [], 60) for n in (1, 2, 3))))
        count += results["raw_anns"] == []
    assert 60 <= count <= 120


@pytest.mark.parametrize("seed", range(8))
def test_pasted_people_bring_their_dots_and_hide_what_they_cover(seed):
    random.seed(seed)
    other = dot_photo(2, [(20, 30), (110, 40)], 140)
    before = item_with_others(other)
    image = before["img"].copy()
    results = CopyPaste(prob=1.0, min_keypoints=1, scale=(0.9, 1.1)).transform(before)
    np.testing.assert_array_equal(before["img"], image)  # the photo may be kept by a cache
    assert (results["img"] != image).any()
    assert check_dots(results, is_dot) >= 5
    changed = (results["img"] != image).any(axis=2)
    for person, visible in zip(results["keypoints"][:2], results["visible"][:2]):
        for (x, y), v in zip(person.astype(int), visible):
            assert v in (1, 2)
            if v == 1:
                assert changed[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7].any()


def test_a_fully_covered_person_leaves_people_and_loss(monkeypatch):
    other = dot_photo(2, [(20, 30)], 140)
    paste = CopyPaste(prob=1.0, max_people=1, min_keypoints=1)
    # Exactly onto the first of the two, twice as large.
    monkeypatch.setattr(paste, "_place", lambda *args: np.array([[2.0, 0, 10 - 60], [0, 2.0, 20 - 90]]))
    results = paste.transform(item_with_others(other))
    assert len(results["keypoints"]) == 2
    np.testing.assert_allclose(results["keypoints"][0], POSE + np.float32([100, 60]))
    assert (results["visible"][0] > 0).all()
    assert set(results["visible"][0]) == {1, 2}  # one of its wrists is behind
    assert set(results["visible"][1]) == {2}
    assert results["mask_regions"] == []  # all of the box is covered by the one in front


def test_people_without_outline_or_with_few_keypoints_are_not_pasted():
    other = dot_photo(2, [(20, 30), (110, 40)], 140)
    other["outlines"] = [None, other["outlines"][1]]
    other["visible"][1, 1:] = 0
    item = item_with_others(other)
    assert CopyPaste(prob=1.0, min_keypoints=2).transform(item) is item
    del other["outlines"]
    item = item_with_others(other)
    assert CopyPaste(prob=1.0).transform(item) is item


@pytest.mark.parametrize("name", ["Mosaic", "CopyPaste"])
def test_without_a_dataset_the_error_says_where_they_belong(codec, name):
    step = TRANSFORMS.build({"type": name, "prob": 1.0, **({"codec": codec} if name == "Mosaic" else {})})
    item = item_with_others()
    del item["other_photo"]
    with pytest.raises(ValueError, match=f"{name} needs other photos"):
        step.transform(item)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prob": 2}, "prob must be from 0 to 1"),
        ({"zoom": 0.5}, "zoom at least 1"),
        ({"centre": (0.6, 0.4)}, "centre must be"),
    ],
)
def test_mosaic_refuses(codec, settings, message):
    with pytest.raises(ValueError, match=message):
        Mosaic(codec, **settings)


@pytest.mark.parametrize(
    ("settings", "message"), [({"max_people": 0}, "max_people"), ({"scale": (0, 1)}, "scale must be")]
)
def test_copy_paste_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        CopyPaste(**settings)


def pipeline(codec, keypoints):
    return [
        {"type": "LoadImage"},
        {"type": "Mosaic", "codec": codec, "prob": 0.7},
        {"type": "CopyPaste", "prob": 0.7},
        {"type": "BottomUpAffine", "codec": codec, "scale": (0.6, 1.2)},
        {"type": "RandomFlip", "keypoints": keypoints},
        {"type": "PhotometricDistortion"},
        {"type": "EncodeTargets", "codec": codec},
        {"type": "PackPose"},
    ]


def test_a_pipeline_on_synthetic_people_is_the_same_for_the_same_seed(codec, five_keypoints):
    settings = {
        "type": "SyntheticPeople", "keypoints": five_keypoints, "length": 6, "image_size": 128, "cache": True,
        "pipeline": pipeline(codec, five_keypoints),
    }  # fmt: skip
    first, second = (SeededDataset(settings) for _ in range(2))
    second[SeededIndex(3, (9, 9, 9, 9))]  # something else in between
    for index in range(6):
        a, b = (data[SeededIndex(index, (0, 0, 0, index))] for data in (first, second))
        assert a["inputs"].equal(b["inputs"])
        assert a["inputs"].shape == (3, 128, 128)
        targets = (a["data_samples"].gt_targets, b["data_samples"].gt_targets)
        assert all(targets[0][name].equal(targets[1][name]) for name in targets[0])


@pytest.fixture
def coco_folder(tmp_path, five_keypoints):
    """Six synthetic scenes as a COCO folder; the third photo is broken."""
    scenes = SyntheticPeople(five_keypoints, length=6, image_size=128)
    (tmp_path / "train2017").mkdir()
    images, anns = [], []
    for i in range(6):
        item = scenes.get_data_info(i)
        cv2.imwrite(str(tmp_path / f"train2017/{i}.png"), item["img"])
        images.append({"id": i + 1, "file_name": f"{i}.png", "width": 128, "height": 128})
        anns += item["raw_anns"]
    (tmp_path / "train2017/2.png").write_bytes(b"broken")
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": anns}))
    return tmp_path


def coco(folder, keypoints, codec=None, **more):
    steps = pipeline(codec, keypoints) if codec is not None else []
    settings = {"pipeline": steps, "keep_outlines": True, **more}
    return CocoPoseDataset("labels.json", keypoints, str(folder), **settings)


def test_outlines_of_a_coco_folder_paste_the_same_people(coco_folder, five_keypoints):
    drawn = SyntheticPeople(five_keypoints, length=6, image_size=128)
    dataset = coco(coco_folder, five_keypoints)
    for i in range(len(dataset)):
        item = dataset.get_data_info(i)
        assert item["outlines"] == drawn.get_data_info(item["img_id"] - 1)["outlines"]
    assert "outlines" not in coco(coco_folder, five_keypoints, keep_outlines=False).get_data_info(0)


def test_broken_other_photos_are_skipped_and_named(coco_folder, five_keypoints, codec):
    random.seed(0)
    dataset = coco(coco_folder, five_keypoints, codec, on_bad_image="skip")
    for _ in range(4):
        for index in (0, 1, 3, 4):
            assert dataset[index]["inputs"].shape == (3, 128, 128)
    assert [path.rsplit("/", 1)[-1] for path in dataset.bad_images] == ["2.png"]
    assert dataset.num_bad_images == 1
    strict = coco(coco_folder, five_keypoints, codec)
    with pytest.raises(ValueError, match=r"2\.png"):
        [strict[0] for _ in range(10)]


def test_a_dataset_of_broken_photos_gives_up(coco_folder, five_keypoints):
    for i in range(6):
        (coco_folder / f"train2017/{i}.png").write_bytes(b"broken")
    dataset = coco(coco_folder, five_keypoints, pipeline=[LoadImage()], on_bad_image="skip")
    with pytest.raises(ValueError, match="no usable photo in 100 tries"):
        dataset.other_photo()
