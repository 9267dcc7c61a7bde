from __future__ import annotations

import numpy as np
import pytest

from ehrpose.datasets.transforms.loss_mask import draw_loss_mask
from ehrpose.image_warp import centred_warp, warp_points
from ehrpose.structures import invert_warp

coco_mask = pytest.importorskip("pycocotools.mask", reason="pycocotools reads RLE")

POLYGON = [20.0, 10.0, 70.0, 15.0, 60.0, 50.0, 25.0, 40.0]
WIDTH, HEIGHT = 100, 80


def covered() -> np.ndarray:
    return coco_mask.decode(coco_mask.frPyObjects([POLYGON], HEIGHT, WIDTH))[..., 0]


def rle(compressed: bool, text: bool = False) -> dict:
    region = covered()
    if compressed:
        encoded = coco_mask.encode(np.asfortranarray(region))
        return {**encoded, "counts": encoded["counts"].decode()} if text else encoded
    flat = region.flatten(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, flat.size]).tolist()}


REGIONS = {
    "polygon": [[POLYGON]],
    "rle": [rle(False)],
    "compressed rle": [rle(True)],
    "compressed rle as text, as in json": [rle(True, True)],
    "all at once": [[POLYGON], rle(True), rle(False)],
    "twice the same polygon": [[POLYGON, POLYGON]],
}
WARPS = {
    "as it is": np.eye(2, 3),
    "larger": centred_warp((WIDTH, HEIGHT), (256, 256), 2.5),
    "turned": centred_warp((WIDTH, HEIGHT), (128, 128), 1.3, 25, (6, -4)),
    "smaller": centred_warp((WIDTH, HEIGHT), (64, 64), 0.4, -10),
}


@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS.keys())
@pytest.mark.parametrize("regions", REGIONS.values(), ids=REGIONS.keys())
def test_mask_is_off_where_the_region_is(regions, warp):
    size_wh = (160, 128)
    mask = draw_loss_mask(regions, (WIDTH, HEIGHT), warp, size_wh)
    assert mask.shape == (128, 160)
    assert mask.dtype == np.uint8
    yy, xx = np.mgrid[:128, :160]
    source = np.round(warp_points(np.stack([xx, yy], axis=-1), invert_warp(warp))).astype(int)
    inside = (source >= 0).all(axis=-1) & (source < [WIDTH, HEIGHT]).all(axis=-1)
    wanted = np.ones((128, 160), np.uint8)
    wanted[inside] = 1 - covered()[source[inside][:, 1], source[inside][:, 0]]
    scale = np.sqrt(np.linalg.det(warp[:, :2]))
    assert (1 - wanted).sum() > 0
    # The edge, about 150 px long in the photo, may differ by one pixel everywhere.
    assert (mask != wanted).sum() <= 150 * max(scale, 1)


def test_without_regions_everything_counts():
    assert draw_loss_mask([], (10, 10), np.eye(2, 3), (32, 32)).min() == 1


def test_polygons_far_outside_do_no_harm():
    far = [1e9, 1e9, 2e9, 1e9, 1e9, 2e9]
    around = [-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8]
    assert draw_loss_mask([[far]], (10, 10), np.eye(2, 3), (32, 32)).min() == 1
    assert draw_loss_mask([[around]], (10, 10), np.eye(2, 3), (32, 32)).max() == 0


def test_an_rle_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\[80, 100\].*\[100, 80\]"):
        draw_loss_mask([rle(True)], (80, 100), np.eye(2, 3), (32, 32))
