from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.image_warp import (
    MAX_WARP_SIDE,
    centred_warp,
    compose_warps,
    plan_inputs,
    resize_warp,
    warp_image,
    warp_points,
)
from ehrpose.structures import invert_warp


def blob(height: int, width: int, x: float, y: float, sigma: float = 5.0) -> np.ndarray:
    yy, xx = np.mgrid[:height, :width]
    return (255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def centre_of(image: np.ndarray) -> np.ndarray:
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(image * xx).sum(), (image * yy).sum()]) / image.sum()


WARPS = {
    "enlarged": centred_warp((90, 70), (256, 256), 2.5),
    "same size": centred_warp((90, 70), (90, 70), 1.0),
    "turned": centred_warp((90, 70), (128, 128), 1.3, 30, (5, -7)),
    "shrunk a little": centred_warp((90, 70), (64, 64), 0.7, -20),
    "shrunk to less than half": centred_warp((90, 70), (64, 64), 0.42, 10),
    "shrunk to less than a third": centred_warp((90, 70), (64, 64), 0.3, 0, (2.25, 0)),
}


@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS.keys())
def test_content_moves_as_points_do(warp):
    image = blob(70, 90, 41.3, 30.6)
    moved = warp_image(image, warp, (300, 300))
    # OpenCV 4 places samples at multiples of 1/32 px; a shrunk blob is a few pixels, interpolated once more.
    tolerance = 0.02 if warp[0, 0] > 0.5 else 0.05
    np.testing.assert_allclose(centre_of(moved), warp_points(np.array([41.3, 30.6]), warp), atol=tolerance)


@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS.keys())
def test_points_return_exactly(warp, rng):
    points = rng.uniform(0, 90, (50, 2))
    back = warp_points(warp_points(points, warp).astype(np.float64), invert_warp(warp))
    np.testing.assert_allclose(back, points, atol=1e-4)
    np.testing.assert_allclose(compose_warps(invert_warp(warp), warp), np.eye(2, 3), atol=1e-12)


def test_rotation_is_clockwise_as_seen():
    warp = centred_warp((101, 101), (101, 101), 1.0, 90)
    np.testing.assert_allclose(
        warp_points(np.array([50.0, 0.0]), warp), [100, 50], atol=1e-4
    )  # top to the right


def test_a_thin_line_survives_strong_shrinking():
    image = np.zeros((1000, 1000), np.uint8)
    image[:, 503] = 255  # single samples 10 px apart would mostly miss it
    small = warp_image(image, centred_warp((1000, 1000), (100, 100), 0.1), (100, 100)).astype(float)
    assert small.sum(axis=1) == pytest.approx(np.full(100, 25.5), abs=3)


def test_border_and_masks_keep_their_values():
    image = np.full((4, 4, 3), 200, np.uint8)
    warp = centred_warp((4, 4), (32, 32), 2)
    moved = warp_image(image, warp, (32, 32), (10, 20, 30))
    assert moved[0, 0].tolist() == [10, 20, 30]
    assert moved[16, 16].tolist() == [200, 200, 200]
    mask = np.random.default_rng(0).integers(0, 2, (90, 70)).astype(np.uint8)
    shrunk = warp_image(
        mask, centred_warp((70, 90), (32, 32), 0.3), (32, 32), interpolation=cv2.INTER_NEAREST
    )
    assert set(np.unique(shrunk)) <= {0, 1}


@pytest.mark.parametrize("at", [500, 20000, 39000])
def test_sides_longer_than_opencv_allows_are_cut_first(at):
    image = np.zeros((1, MAX_WARP_SIDE + 8000, 3), np.uint8)
    image[0, at] = 255
    warp = np.array([[1.0, 0, 20 - at], [0, 1, 20]])
    moved = warp_image(image, warp, (64, 64))
    assert np.argwhere(moved[..., 0]).tolist() == [[20, 20]]
    far = warp_image(image, np.array([[1.0, 0, 1e6], [0, 1, 0]]), (64, 48), (1, 2, 3))
    assert far.shape == (48, 64, 3)
    assert (far == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("photo_wh", "input_size", "divisor", "wanted_wh"),
    [
        ((640, 480), 512, 64, (704, 512)),  # 682.7 rounded up
        ((480, 640), 512, 64, (512, 704)),
        ((640, 480), 512, 32, (704, 512)),
        ((640, 640), 512, 64, (512, 512)),
        ((640, 480), 480, 64, (704, 512)),  # 480 itself is rounded up
        ((640, 480), 480, 32, (640, 480)),
        ((640, 427), 416, 64, (704, 448)),
        ((1, 1), 384, 64, (384, 384)),
        ((4000, 1), 384, 64, (3072, 64)),  # 8 times 384, and no empty rows next to the photo
        ((1, 4000), 384, 32, (32, 3072)),
        ((3000, 375), 384, 64, (3072, 384)),  # just 8 : 1 is not touched
    ],
)
def test_test_inputs_have_the_documented_sizes(photo_wh, input_size, divisor, wanted_wh):
    warp, size_wh = resize_warp(*photo_wh, input_size, divisor)
    assert size_wh == wanted_wh
    # The photo's centre is the input's centre, the whole photo is inside.
    corners = warp_points(np.array([[-0.5, -0.5], np.array(photo_wh) - 0.5]), warp)
    np.testing.assert_allclose(corners.sum(axis=0), np.array(wanted_wh) - 1, atol=1e-2)
    assert (corners[0] >= -0.5 - 1e-3).all()


@pytest.mark.parametrize(
    ("photo_wh", "wanted_wh"),
    [
        ((640, 480), (496, 368)),  # 490.7 rounded up to 8
        ((480, 640), (368, 368)),  # upright: also by height, and as wide as high
        ((368, 368), (368, 368)),
        ((4000, 100), (2944, 80)),  # 8 times 368
        ((1, 4000), (368, 368)),
    ],
)
def test_inputs_by_height(photo_wh, wanted_wh):
    plan = plan_inputs(photo_wh, 368, 8, side="height")[0]
    assert plan.size_wh == wanted_wh
    corners = warp_points(np.array([[-0.5, -0.5], np.array(photo_wh) - 0.5]), plan.warp)
    np.testing.assert_allclose(corners.sum(axis=0), np.array(wanted_wh) - 1, atol=1e-2)
    assert (corners[0] >= -0.5 - 1e-3).all()


def test_scales_are_laid_out_as_multiples_of_the_smallest():
    plans = plan_inputs((640, 427), 416, 64, (0.5, 1.0, 1.5))
    # 208 becomes 256; twice that is the size at scale 1, whatever 416 alone would give.
    assert [plan.size_wh for plan in plans] == [(768, 512), (384, 256), (1152, 768)]
    alone = plan_inputs((640, 427), 416, 64)
    assert [plan.size_wh for plan in alone] == [(704, 448)]


@pytest.mark.parametrize("scales", [(1.0, 0.5, 1.5), (1.0, 0.75), (1.0, 0.8, 1.3), (1.0, 2.0)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_all_scales_show_the_same(scales, align_corners):
    plans = plan_inputs((500, 333), 416, 64, scales, align_corners=align_corners)
    (base_wh, base), photo_xy = plans[0], np.array([123.4, 56.7])
    for size_wh, warp in plans:
        assert size_wh[0] % 32 == 0
        assert size_wh[1] % 32 == 0
        here, there = warp_points(photo_xy, warp), warp_points(photo_xy, base)
        if align_corners:
            np.testing.assert_allclose(
                here / (np.array(size_wh) - 1), there / (np.array(base_wh) - 1), atol=1e-5
            )
        else:
            np.testing.assert_allclose((here + 0.5) / size_wh, (there + 0.5) / base_wh, atol=1e-5)


@pytest.mark.parametrize("divisor", [16, 32])
def test_sides_may_be_multiples_plus_an_offset(divisor):
    for photo_wh in ((640, 480), (333, 500), (481, 481), (4000, 30)):
        plans = plan_inputs(photo_wh, 353, divisor, (1.0, 0.5, 2.0), 8.0, align_corners=True, offset=1)
        for size_wh, _ in plans:
            assert size_wh[0] % divisor == size_wh[1] % divisor == 1
        corner = np.array([(0.0, 0.0), photo_wh])
        shares = [warp_points(corner, warp) / (np.array(size_wh) - 1) for size_wh, warp in plans]
        for share in shares[1:]:
            np.testing.assert_allclose(share, shares[0], atol=1e-5)
    assert plan_inputs((640, 480), 481, 16, offset=1)[0].size_wh == (657, 481)
    assert plan_inputs((641, 481), 481, 16, offset=1)[0].size_wh == (641, 481)


@pytest.mark.parametrize("photo_wh", [(640, 480), (333, 500), (500, 333), (77, 41), (1600, 1200)])
def test_a_mirrored_photo_gives_the_mirrored_input(photo_wh, rng):
    photo = rng.integers(0, 256, (photo_wh[1], photo_wh[0], 3), np.uint8)
    for size_wh, warp in plan_inputs(photo_wh, 256, 64, (1.0, 0.5)):
        plain = warp_image(photo, warp, size_wh)
        mirrored = warp_image(cv2.flip(photo, 1), warp, size_wh)
        assert np.abs(cv2.flip(plain, 1).astype(int) - mirrored).max() <= 1


@pytest.mark.parametrize("scales", [(), (0.5,), (1.0, 0.0), (1.0, -1)])
def test_bad_scales_are_refused(scales):
    with pytest.raises(ValueError, match="scales"):
        plan_inputs((10, 10), 256, 64, scales)


def test_colour_photos_are_warped_as_opencv_warps_them(rng):
    for _ in range(30):
        image = rng.integers(0, 256, (*rng.integers(1, 90, 2), 3)).astype(np.uint8)
        warp = np.array([[rng.normal(0, 1.5), rng.normal(), 9], [rng.normal(), rng.normal(0, 1.5), 5]])
        if abs(np.linalg.det(warp[:, :2])) < 0.3:
            continue
        size_wh = tuple(int(side) for side in rng.integers(1, 90, 2))
        wanted = cv2.warpAffine(image, warp, size_wh, flags=cv2.INTER_LINEAR, borderValue=(10, 20, 30))
        np.testing.assert_array_equal(warp_image(image, warp, size_wh, (10, 20, 30)), wanted)


@pytest.mark.parametrize("times", [2, 3, 6, 8, 10, 22, 25])
def test_photos_several_times_as_large_become_means_of_whole_blocks(times, rng):
    photo = rng.integers(0, 256, (32 * times, 48 * times, 3), dtype=np.uint8)
    means = photo.reshape(32, times, 48, times, 3).mean(axis=(1, 3))
    small = warp_image(photo, centred_warp((48 * times, 32 * times), (48, 32), 1 / times), (48, 32))
    # Halving is left to the interpolation, which is the mean of four.
    np.testing.assert_allclose(small, means, atol=0.51)
