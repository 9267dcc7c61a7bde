"""Training samples of several photos: four tiles, or people cut out of another photo.

Both come after LoadImage and before BottomUpAffine, and ask the data set for other photos through the item's
``other_photo`` (``ehrpose.datasets.other_items``). What they give is a photo of its own: ``width``, ``height``,
``keypoints``, ``visible``, ``bbox``, ``area`` and ``mask_regions`` are in its px, and ``raw_anns`` is empty.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.datasets.transforms.geometry import _drop_outside, _warp_people
from ehrpose.datasets.transforms.loading import OTHER_PHOTO
from ehrpose.datasets.transforms.loss_mask import draw_loss_mask
from ehrpose.image_warp import centred_warp, warp_image
from ehrpose.registry import TRANSFORMS, build_codec

_PEOPLE = ("keypoints", "visible", "bbox", "area")


@TRANSFORMS.register_module()
class Mosaic(BaseTransform):
    """Put four photos into the quarters of one, twice as long as the input, around a random point.

    Each photo covers its quarter: it is scaled by a random factor from 1 (just covering) and cut at a random place. So
    people appear smaller, cut off, and beside people of other photos.

    Args:
        codec: The codec or its config; the new photo's side is twice its ``input_size``.
        prob: Chance, 0 to 1.
        centre: Least and greatest place of the point, as a share of the side, for x and y each.
        zoom: Greatest factor beyond covering, from 1.

    Raises:
        ValueError: A value is out of range; in use, the data set gives no other photos.
    """

    def __init__(
        self,
        codec: Mapping | Any,
        prob: float = 0.5,
        centre: Sequence[float] = (0.35, 0.65),
        zoom: float = 1.5,
    ):
        if not 0 <= prob <= 1 or zoom < 1:
            raise ValueError(f"wanted prob 0 to 1 and zoom from 1, got {prob} and {zoom}")
        if len(centre) != 2 or not 0.1 <= centre[0] <= centre[1] <= 0.9:
            raise ValueError(f"centre must be (least, greatest) within 0.1 to 0.9, got {centre}")
        self.side = 2 * build_codec(codec).input_size
        self.prob = prob
        self.centre = tuple(centre)
        self.zoom = zoom

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if random.random() >= self.prob:
            return results
        other_photo = _source(results, "Mosaic")
        cut_x, cut_y = (round(self.side * random.uniform(*self.centre)) for _ in range(2))
        columns, rows = ((0, cut_x), (cut_x, self.side)), ((0, cut_y), (cut_y, self.side))
        image = np.empty((self.side, self.side, 3), np.uint8)
        mask = np.empty((self.side, self.side), np.uint8)
        parts: list[dict[str, Any]] = []
        for y0, y1 in rows:
            for x0, x1 in columns:
                item = results if not parts else other_photo()
                tile = self._tile(item, (x1 - x0, y1 - y0))
                image[y0:y1, x0:x1], mask[y0:y1, x0:x1] = tile["img"], tile["loss_mask"]
                tile["keypoints"] = tile["keypoints"] + np.array([x0, y0], np.float32)
                tile["bbox"] = tile["bbox"] + np.array([x0, y0, x0, y0], np.float32)
                parts.append(tile)
        results = {**results, **{name: np.concatenate([tile[name] for tile in parts]) for name in _PEOPLE}}
        return _as_photo(results, image, mask)

    def _tile(self, item: dict[str, Any], size_wh: tuple[int, int]) -> dict[str, Any]:
        """Return the part of an item that fills a quarter, with its people in the quarter's px."""
        photo_wh = item["img"].shape[1::-1]
        scale = max(size / length for size, length in zip(size_wh, photo_wh)) * random.uniform(1, self.zoom)
        room = [max(0.0, scale * length - size) / 2 for size, length in zip(size_wh, photo_wh)]
        shift_xy = [random.uniform(-space, space) for space in room]
        warp = centred_warp(photo_wh, size_wh, scale, 0.0, shift_xy)
        tile = {name: item[name] for name in _PEOPLE}
        _warp_people(tile, warp)
        _cut(tile, size_wh)
        # Half a pixel at the edge repeats the photo's last one rather than show a border.
        tile["img"] = cv2.warpAffine(
            item["img"], warp, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        tile["loss_mask"] = draw_loss_mask(item.get("mask_regions", ()), photo_wh, warp, size_wh)
        return tile


@TRANSFORMS.register_module()
class CopyPaste(BaseTransform):
    """Paste people of another photo, cut out along their outlines, onto this one.

    Only people with an outline are pasted (``CocoPoseDataset(keep_outlines=True)``; drawn people always have one).
    Keypoints that they cover stay labelled and become hidden, as COCO labels them; someone of whom every keypoint is
    covered becomes a region where the loss is off.

    Args:
        prob: Chance, 0 to 1.
        max_people: The most people that are pasted, from 1.
        scale: Least and greatest factor of size, about what it is in the other photo.
        min_keypoints: People with fewer labelled keypoints are not pasted.

    Raises:
        ValueError: A value is out of range; in use, the data set gives no other photos.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_people: int = 2,
        scale: Sequence[float] = (0.7, 1.3),
        min_keypoints: int = 5,
    ):
        if not 0 <= prob <= 1 or max_people < 1 or min_keypoints < 1:
            raise ValueError(
                f"wanted prob 0 to 1, max_people and min_keypoints from 1; got {prob}, {max_people}, {min_keypoints}"
            )
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be (least, largest) with 0 < least <= largest, got {scale}")
        self.prob = prob
        self.max_people = max_people
        self.scale = tuple(scale)
        self.min_keypoints = min_keypoints

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if random.random() >= self.prob:
            return results
        other = _source(results, "CopyPaste")()
        outlines = other.get("outlines") or [None] * len(other["keypoints"])
        labelled = (other["visible"] > 0).sum(axis=1)
        able = [n for n, outline in enumerate(outlines) if outline and labelled[n] >= self.min_keypoints]
        if not able:
            return results
        chosen = random.sample(able, min(len(able), random.randint(1, self.max_people)))
        image = results["img"].copy()
        width, height = image.shape[1::-1]
        mask = draw_loss_mask(results.get("mask_regions", ()), (width, height), np.eye(2, 3), (width, height))
        people = {name: results[name] for name in _PEOPLE}
        for n in chosen:
            people = self._paste(other, n, outlines[n], image, mask, people)
        return _as_photo({**results, **people}, image, mask)

    def _paste(
        self, other: dict[str, Any], n: int, outline: Any, image: np.ndarray, mask: np.ndarray, people: dict
    ) -> dict[str, Any]:
        """Paste one person into ``image`` and ``mask``, in place; return all people with them."""
        size_wh = image.shape[1::-1]
        warp = self._place(other["bbox"][n], size_wh, min(size_wh) / min(other["img"].shape[:2]))
        # Where the person is, the loss mask of a region is 0.
        cover = draw_loss_mask([outline], other["img"].shape[1::-1], warp, size_wh) == 0
        if not cover.any():
            return people
        image[cover] = warp_image(other["img"], warp, size_wh)[cover]
        mask[cover] = 1
        new = {name: other[name][n : n + 1] for name in _PEOPLE}
        _warp_people(new, warp)
        _cut(new, size_wh)
        if not len(new["keypoints"]):
            return people
        return _join(_covered(people, cover, mask), new)

    def _place(self, box: np.ndarray, size_wh: Sequence[int], relative: float) -> np.ndarray:
        """Return the warp that puts the centre of a box anywhere in the photo, at about its size."""
        scale = relative * random.uniform(*self.scale)
        target = [random.uniform(0, length) for length in size_wh]
        centre = (box[:2] + box[2:]) / 2
        return np.array(
            [[scale, 0, target[0] - scale * centre[0]], [0, scale, target[1] - scale * centre[1]]]
        )


def _source(results: Mapping[str, Any], name: str) -> Any:
    if OTHER_PHOTO not in results:
        raise ValueError(
            f"{name} needs other photos of the data set, and got none: use it in the training pipeline of "
            f"CocoPoseDataset, CrowdPoseDataset or SyntheticPeople"
        )
    return results[OTHER_PHOTO]


def _cut(people: dict[str, Any], size_wh: Sequence[int]) -> None:
    """Drop who is outside, clip boxes, and shrink areas by the same share."""
    _drop_outside(people, size_wh)
    box = people["bbox"]
    limit = np.array([*size_wh, *size_wh], np.float32)
    clipped = np.clip(box, 0, limit)
    before, after = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (box, clipped))
    people["area"] = (people["area"] * after / np.maximum(before, 1e-6)).astype(np.float32)
    people["bbox"] = clipped.astype(np.float32)


def _covered(people: dict[str, Any], cover: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return the people with keypoints under ``cover`` hidden; of someone wholly covered the box leaves the loss."""
    height, width = cover.shape
    columns, rows = np.moveaxis(np.round(people["keypoints"]).astype(int), -1, 0)
    under = cover[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)] & (people["visible"] > 0)
    visible = np.where(under & (people["visible"] == 2), 1, people["visible"]).astype(np.uint8)
    seen = ((visible > 0) & ~under).any(axis=1)
    for box in people["bbox"][~seen]:
        x0, y0, x1, y1 = np.round(box).astype(int)
        region = mask[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]
        region[~cover[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]] = 0
    return {name: (visible if name == "visible" else people[name])[seen] for name in _PEOPLE}


def _join(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.concatenate([first[name], second[name]]) for name in _PEOPLE}


def _as_photo(results: dict[str, Any], image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return the item as if the picture were its photo."""
    from pycocotools import mask as coco_mask

    regions = []
    if not mask.all():
        rle = coco_mask.encode(np.asfortranarray(1 - mask))
        regions = [{"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}]
    height, width = image.shape[:2]
    results.update(img=image, img_shape=(height, width), width=width, height=height)
    results.update(mask_regions=regions, raw_anns=[], warp=np.eye(2, 3))
    results.pop("outlines", None)
    # The picture is no longer that of the file.
    results.pop("img_path", None)
    return results
