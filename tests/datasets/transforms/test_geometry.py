from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from ehrpose.datasets.transforms import BottomUpAffine, BottomUpResize, RandomFlip
from ehrpose.image_warp import warp_points
from ehrpose.structures import invert_warp


@pytest.fixture
def codec(five_keypoints) -> dict:
    return {"type": "AssociativeEmbedding", "input_size": 256, "keypoints": five_keypoints}


def item_of(width=200, height=150, keypoints=None, **more) -> dict:
    """An item whose photo shows a blob at the first keypoint."""
    if keypoints is None:
        keypoints = np.array([[[90, 70], [80, 100], [110, 100], [85, 120], [105, 120]]], np.float32)
    yy, xx = np.mgrid[:height, :width]
    image = np.zeros((height, width), np.float32)
    for x, y in keypoints[:, 0]:
        image += 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 4.0**2))
    low, high = keypoints.min(axis=1), keypoints.max(axis=1)
    return {
        "img": np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2),
        "img_shape": (height, width),
        "width": width,
        "height": height,
        "keypoints": keypoints.astype(np.float32),
        "visible": np.full(keypoints.shape[:2], 2, np.uint8),
        "bbox": np.concatenate([low, high], axis=1).astype(np.float32),
        "area": np.full(len(keypoints), 1000, np.float32),
        "mask_regions": [],
        **more,
    }


def bright_spot(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(float) ** 2
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * xx).sum(), (weight * yy).sum()]) / weight.sum()


def affine(codec, **settings) -> BottomUpAffine:
    return BottomUpAffine(codec, **{"rotate": 0, "scale": (1, 1), "shift": 0, **settings})


@pytest.mark.parametrize("seed", range(12))
def test_affine_moves_pixels_and_keypoints_alike(codec, seed):
    random.seed(seed)
    item = item_of()
    results = BottomUpAffine(codec, scale_type="short" if seed % 2 else "long")(item_of())
    assert results["img"].shape == (256, 256, 3)
    assert results["img"].dtype == np.uint8
    assert results["warp"].shape == (2, 3)
    np.testing.assert_allclose(bright_spot(results["img"]), results["keypoints"][0, 0], atol=0.15)
    back = warp_points(results["keypoints"], invert_warp(results["warp"]))
    np.testing.assert_allclose(back, item["keypoints"], atol=1e-4)
    scale = np.sqrt(np.linalg.det(results["warp"][:, :2]))
    side = 150 if seed % 2 else 200
    assert 256 / 1.5 / side <= scale <= 256 / 0.75 / side
    assert results["area"] == pytest.approx(1000 * scale**2, rel=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_stretch_changes_the_aspect_and_moves_keypoints_along(codec, seed):
    random.seed(seed)
    results = BottomUpAffine(codec, rotate=20, shift=10, scale_type="long", stretch=0.5)(item_of())
    np.testing.assert_allclose(bright_spot(results["img"]), results["keypoints"][0, 0], atol=0.3)
    across, down = np.linalg.norm(results["warp"][:, :2], axis=0)
    assert 1 / 1.5 <= across / down <= 1.5
    assert across / down != pytest.approx(1, abs=0.01)


def test_resize_may_be_larger_than_the_codec(codec):
    item = item_of(width=200, height=150)
    small, large = (
        BottomUpResize(codec, 64)(dict(item)),
        BottomUpResize(codec, 64, input_size=384)(dict(item)),
    )
    assert small["img"].shape == (256, 384, 3)
    assert large["img"].shape == (384, 512, 3)
    for results in (small, large):
        spot = warp_points(item["keypoints"][0, :1], results["warp"])[0]
        np.testing.assert_allclose(bright_spot(results["img"]), spot, atol=0.15)


def test_affine_draws_within_its_limits(codec):
    random.seed(0)
    transform = BottomUpAffine(codec, rotate=30, scale=(0.75, 1.5), shift=40)
    item = item_of()
    warps = np.array([transform._draw_warp(item) for _ in range(500)])
    angles = np.degrees(np.arctan2(warps[:, 1, 0], warps[:, 0, 0]))
    windows = 256 / 150 / np.hypot(warps[:, 1, 0], warps[:, 0, 0])
    centres = warps @ np.array([99.5, 74.5, 1]) - 127.5
    for values, least, largest in ((angles, -30, 30), (windows, 0.75, 1.5), (centres, -40, 40)):
        spread = largest - least
        assert least - 1e-6 <= values.min() <= least + 0.05 * spread
        assert largest - 0.05 * spread <= values.max() <= largest + 1e-6


@pytest.mark.parametrize(
    ("scale_type", "prob", "wanted"),
    [
        ("short", 1.0, 256 / 150),
        ("long", 1.0, 256 / 200),
        ("short", 0.0, 256 / 150),
        ("long", 0.0, 256 / 200),
    ],
)
def test_at_scale_1_the_side_fills_the_input(codec, scale_type, prob, wanted):
    settings = {} if prob else {"rotate": 30, "scale": (0.5, 0.6), "shift": 40}
    results = affine(codec, scale_type=scale_type, prob=prob, **settings)(item_of())
    np.testing.assert_allclose(results["warp"][:, :2], wanted * np.eye(2), atol=1e-12)
    np.testing.assert_allclose(results["warp"] @ [99.5, 74.5, 1], [127.5, 127.5])


def corner_people() -> dict:
    """A white photo with a labelled person in its lower right corner, and one without labels at the left."""
    keypoints = np.array(
        [[[180, 120], [175, 130], [185, 130], [178, 140], [182, 140]], [[5, 75]] * 5], np.float32
    )
    visible = np.array([[2] * 5, [0] * 5], np.uint8)
    return item_of(keypoints=keypoints, visible=visible, img=np.full((150, 200, 3), 255, np.uint8))


def test_windows_about_people_show_them_and_stay_in_the_photo(codec):
    random.seed(4)
    windows = {on_person: [] for on_person in (0.0, 0.5, 1.0)}
    for on_person, results in windows.items():
        transform = affine(codec, scale=(0.2, 0.4), on_person=on_person)
        results.extend(transform(corner_people()) for _ in range(200))
    shown = {
        on_person: np.mean([len(r["keypoints"]) for r in results]) for on_person, results in windows.items()
    }
    assert shown[0.0] == 0
    assert 0.4 < shown[0.5] < 0.6
    assert shown[1.0] == 1
    # The outermost pixels mix with the border.
    assert all(results["img"][4:-4, 4:-4].min() == 255 for results in windows[1.0])
    for results in windows[1.0]:
        x, y = warp_points(np.array([[180.0, 120.0]]), results["warp"])[0]
        np.testing.assert_allclose(results["keypoints"][0, 0], [x, y], atol=1e-3)


def test_windows_about_people_may_be_turned_and_stretched(codec):
    random.seed(5)
    for _ in range(50):
        item = item_of()
        transform = BottomUpAffine(codec, rotate=40, scale=(0.6, 1.4), shift=0, stretch=0.3, on_person=1)
        results = transform(item)
        assert len(results["keypoints"]) == 1
        if (results["visible"][0, 0] > 0) and (np.abs(results["keypoints"][0, 0] - 127.5) < 100).all():
            np.testing.assert_allclose(bright_spot(results["img"]), results["keypoints"][0, 0], atol=0.4)


def test_without_people_or_room_the_window_is_about_the_photos_centre(codec):
    for item, scale in (
        (corner_people(), 1.5),
        (corner_people() | {"visible": np.zeros((2, 5), np.uint8)}, 0.3),
    ):
        results = affine(codec, scale=(scale, scale), on_person=1)(item)
        np.testing.assert_allclose(results["warp"] @ [99.5, 74.5, 1], [127.5, 127.5], atol=1e-9)


def test_boxes_stay_around_their_keypoints(codec):
    random.seed(3)
    results = BottomUpAffine(codec)(item_of())
    x0, y0, x1, y1 = results["bbox"][0]
    keypoints = results["keypoints"][0]
    assert (keypoints >= [x0 - 1e-3, y0 - 1e-3]).all()
    assert (keypoints <= [x1 + 1e-3, y1 + 1e-3]).all()


def test_keypoints_outside_are_unlabelled_and_people_outside_dropped(codec):
    # The window is 75 px wide around the centre (99.5, 74.5): x and y within 62.2 to 136.8, 37.2 to 111.8.
    people = np.array(
        [
            [[100, 75], [10, 75], [190, 75], [100, 5], [100, 145]],  # one inside
            [[10, 10], [12, 10], [14, 10], [10, 20], [12, 20]],  # all outside
            [[90, 60], [95, 60], [100, 60], [90, 80], [95, 80]],  # all inside
        ],
        np.float32,
    )
    item = item_of(keypoints=people)
    item["visible"][0] = 1
    results = affine(codec, scale=(0.5, 0.5))(item)
    assert results["visible"].tolist() == [[1, 0, 0, 0, 0], [2, 2, 2, 2, 2]]
    for name in ("keypoints", "bbox", "area"):
        assert len(results[name]) == 2
    assert results["visible"].dtype == np.uint8
    np.testing.assert_allclose(warp_points(people[2], results["warp"]), results["keypoints"][1])


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 4000), (4000, 1), (40000, 1), (3, 2000), (3000, 2000)]
)
def test_photos_of_any_shape_work(codec, width, height):
    item = {**item_of(keypoints=np.zeros((0, 5, 2))), "width": width, "height": height}
    item["img"] = np.full((height, width, 3), 90, np.uint8)
    trained = BottomUpAffine(codec, prob=0)(dict(item))
    assert trained["img"].shape == (256, 256, 3)
    assert trained["img"].max() == 90
    tested = BottomUpResize(codec)(dict(item))
    assert tested["img"].shape[:2] == tested["img_shape"]
    assert [side % 64 for side in tested["img_shape"]] == [0, 0]
    assert max(tested["img_shape"]) <= 8 * 256
    if min(tested["warp"][0, 0] * np.array([width, height])) >= 1:  # thinner ones may fall between pixels
        assert tested["img"].max() == 90


def test_an_image_without_people_works(codec):
    item = item_of(keypoints=np.zeros((0, 5, 2)))
    results = RandomFlip(1.0, _keypoints(codec))(BottomUpAffine(codec)(item))
    assert results["keypoints"].shape == (0, 5, 2)
    assert results["visible"].shape == (0, 5)
    assert results["bbox"].shape == (0, 4)
    assert results["loss_mask"].min() == 1


def _keypoints(codec) -> dict:
    return codec["keypoints"]


def test_flip_twice_changes_nothing(codec):
    flip = RandomFlip(1.0, _keypoints(codec))
    once = affine(codec)(item_of(mask_regions=[[[0, 0, 50, 0, 50, 60, 0, 60]]]))
    before = {
        key: np.copy(once[key])
        for key in ("img", "keypoints", "visible", "bbox", "area", "loss_mask", "warp")
    }
    twice = flip(flip(once))
    assert twice["flip"] is False
    for key, value in before.items():
        np.testing.assert_allclose(twice[key], value, atol=1e-5, err_msg=key)


def test_flip_mirrors_everything(codec):
    item = affine(codec)(item_of(mask_regions=[[[0, 0, 50, 0, 50, 150, 0, 150]]]))
    item["visible"][0] = [2, 1, 2, 0, 2]
    image, mask, keypoints, box = item["img"], item["loss_mask"], item["keypoints"], item["bbox"][0]
    results = RandomFlip(1.0, _keypoints(codec))(dict(item))
    assert results["flip"] is True
    np.testing.assert_array_equal(results["img"], image[:, ::-1])
    np.testing.assert_array_equal(results["loss_mask"], mask[:, ::-1])
    assert mask[:, 0].max() == 0
    assert results["loss_mask"][:, 0].min() == 1
    np.testing.assert_allclose(results["keypoints"][0, 0], [255 - keypoints[0, 0, 0], keypoints[0, 0, 1]])
    np.testing.assert_allclose(results["keypoints"][0, 1], [255 - keypoints[0, 2, 0], keypoints[0, 2, 1]])
    assert results["visible"][0].tolist() == [2, 2, 1, 2, 0]
    np.testing.assert_allclose(results["bbox"][0], [255 - box[2], box[1], 255 - box[0], box[3]], atol=1e-4)
    # The warp starts at the photo; the first keypoint has no mirror type.
    np.testing.assert_allclose(
        warp_points(np.array([90, 70]), results["warp"]), results["keypoints"][0, 0], atol=1e-3
    )


def test_flip_before_and_after_the_affine_is_the_same(codec):
    flip = RandomFlip(1.0, _keypoints(codec))
    region = [[[20, 30, 80, 30, 60, 90]]]
    first = affine(codec)(flip(item_of(mask_regions=region)))
    last = flip(affine(codec)(item_of(mask_regions=region)))
    np.testing.assert_allclose(first["warp"], last["warp"], atol=1e-9)
    np.testing.assert_allclose(first["keypoints"], last["keypoints"], atol=1e-3)
    assert np.abs(first["img"].astype(int) - last["img"]).max() <= 1
    assert (first["loss_mask"] != last["loss_mask"]).mean() < 0.005


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_flip_follows_its_probability(codec, prob, low, high):
    random.seed(0)
    flip = RandomFlip(prob, _keypoints(codec))
    small = {"img": np.zeros((2, 2, 3), np.uint8)}
    assert low <= sum(flip(dict(small))["flip"] for _ in range(200)) <= high


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5, 1.5)])
def test_resize_keeps_keypoints_in_the_photo_and_the_warp_leads_there(codec, scales):
    item = item_of()
    keypoints = item["keypoints"].copy()
    results = BottomUpResize(codec, scales=scales)(item)
    np.testing.assert_array_equal(results["keypoints"], keypoints)
    image = results["img"][0] if len(scales) > 1 else results["img"]
    assert results["img_shape"] == image.shape[:2]
    if len(scales) > 1:
        assert [part.shape for part in results["img"]] == [(256, 384, 3), (128, 192, 3), (384, 576, 3)]
    spot = warp_points(bright_spot(image), invert_warp(results["warp"]))
    np.testing.assert_allclose(spot, keypoints[0, 0], atol=0.1)


def test_flip_after_resize_leaves_the_labels(codec):
    results = RandomFlip(1.0, _keypoints(codec))(BottomUpResize(codec, scales=(1.0, 0.5))(item_of()))
    np.testing.assert_array_equal(results["keypoints"], item_of()["keypoints"])
    spot = warp_points(bright_spot(results["img"][0]), invert_warp(results["warp"]))
    np.testing.assert_allclose(spot, [90, 70], atol=0.1)
    small = cv2.resize(results["img"][0], results["img"][1].shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - results["img"][1]).max() <= 12


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda c: BottomUpAffine(c, scale_type="area"), "'area'"),
        (lambda c: BottomUpAffine(c, scale=(1.5, 0.75)), "min <= max"),
        (lambda c: BottomUpAffine(c, scale=(0, 1)), "0 < min"),
        (lambda c: BottomUpAffine(c, rotate=-1), "rotate"),
        (lambda c: BottomUpAffine(c, prob=2), "prob"),
        (lambda c: BottomUpAffine(c, on_person=1.5), "on_person"),
        (lambda c: BottomUpResize(c, size_divisor=48), "48"),
        (lambda c: BottomUpResize(c, size_divisor=8), "a multiple of 32, got 8"),
        (lambda c: BottomUpResize(c, side="width"), "'short' or 'height', got 'width'"),
        (lambda c: BottomUpResize(c, scales=(0.5,)), "1.0"),
        (lambda c: BottomUpResize(c, max_aspect=0.5), "max_aspect"),
        (lambda c: RandomFlip(1.5, c["keypoints"]), "prob"),
        (lambda c: RandomFlip(0.5), "mirror"),
    ],
)
def test_bad_settings_are_refused(codec, build, message):
    with pytest.raises(ValueError, match=message):
        build(codec)
