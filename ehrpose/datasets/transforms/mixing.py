"""Training samples from several photos: a mosaic of four, or people cut out of another photo.

Both transforms come after LoadImage and before BottomUpAffine, and get other photos of the dataset through the item's
``other_photo`` (``ehrpose.datasets.other_items``). The result counts as a photo of its own: ``width``, ``height``,
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
    """Combine four photos into a mosaic of twice the input's side, around a random point.

    Each photo covers its quarter: it is scaled by a random factor from 1 (just covering) and cropped at a random
    position. People thus appear smaller, cut off, and next to people of other photos.

    Args:
        codec: The codec or its config; the mosaic's side is twice its ``input_size``.
        prob: Probability, 0 to 1.
        centre: Minimum and maximum position of the point, as a fraction of the side, for x and y each.
        zoom: Maximum scale factor beyond covering, at least 1.

    Raises:
        ValueError: A value is out of range, or, from the transform, the item has no ``other_photo``.
    """

    def __init__(
        self,
        codec: Mapping | Any,
        prob: float = 0.5,
        centre: Sequence[float] = (0.35, 0.65),
        zoom: float = 1.5,
    ):
        if not 0 <= prob <= 1 or zoom < 1:
            raise ValueError(f"prob must be from 0 to 1 and zoom at least 1, got {prob} and {zoom}")
        if len(centre) != 2 or not 0.1 <= centre[0] <= centre[1] <= 0.9:
            raise ValueError(f"centre must be (min, max) with 0.1 <= min <= max <= 0.9, got {centre}")
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
        # The half pixel at the edge replicates the photo's last pixel, so no border shows.
        tile["img"] = cv2.warpAffine(
            item["img"], warp, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        tile["loss_mask"] = draw_loss_mask(item.get("mask_regions", ()), photo_wh, warp, size_wh)
        return tile


@TRANSFORMS.register_module()
class CopyPaste(BaseTransform):
    """Paste people from another photo, cut out along their outlines, onto this one.

    Only people with an outline are pasted (``CocoPoseDataset(keep_outlines=True)``; synthetic people always have
    one). Keypoints that they cover stay labelled but become hidden, as in COCO's labels; a person with every keypoint
    covered becomes a region where the loss is off.

    Args:
        prob: Probability, 0 to 1.
        max_people: Maximum number of pasted people, at least 1.
        scale: Minimum and maximum scale factor, relative to the person's size in the other photo.
        min_keypoints: People with fewer labelled keypoints are not pasted.

    Raises:
        ValueError: A value is out of range, or, from the transform, the item has no ``other_photo``.
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
                f"prob must be from 0 to 1, max_people and min_keypoints at least 1, got {prob}, {max_people} and "
                f"{min_keypoints}"
            )
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be (min, max) with 0 < min <= max, got {scale}")
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
        """Paste one person into ``image`` and ``mask`` in place; return all people including the new one."""
        size_wh = image.shape[1::-1]
        warp = self._place(other["bbox"][n], size_wh, min(size_wh) / min(other["img"].shape[:2]))
        # A loss mask drawn for the outline is 0 where the person is.
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
        """Return the warp that moves the centre of a box to a random point of the photo, at about its size."""
        scale = relative * random.uniform(*self.scale)
        target = [random.uniform(0, length) for length in size_wh]
        centre = (box[:2] + box[2:]) / 2
        return np.array(
            [[scale, 0, target[0] - scale * centre[0]], [0, scale, target[1] - scale * centre[1]]]
        )


def _source(results: Mapping[str, Any], name: str) -> Any:
    if OTHER_PHOTO not in results:
        raise ValueError(
            f"{name} needs other photos of the dataset, but the item has no {OTHER_PHOTO!r}: use it in a pipeline of "
            f"CocoPoseDataset, CrowdPoseDataset or SyntheticPeople"
        )
    return results[OTHER_PHOTO]


def _cut(people: dict[str, Any], size_wh: Sequence[int]) -> None:
    """Drop people outside, clip boxes, and shrink areas in proportion."""
    _drop_outside(people, size_wh)
    box = people["bbox"]
    limit = np.array([*size_wh, *size_wh], np.float32)
    clipped = np.clip(box, 0, limit)
    before, after = (np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (box, clipped))
    people["area"] = (people["area"] * after / np.maximum(before, 1e-6)).astype(np.float32)
    people["bbox"] = clipped.astype(np.float32)


def _covered(people: dict[str, Any], cover: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Hide keypoints under ``cover``; drop fully covered people and mask their boxes out of the loss."""
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
    """Return the item with ``image`` as its photo."""
    from pycocotools import mask as coco_mask

    regions = []
    if not mask.all():
        rle = coco_mask.encode(np.asfortranarray(1 - mask))
        regions = [{"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}]
    height, width = image.shape[:2]
    results.update(img=image, img_shape=(height, width), width=width, height=height)
    results.update(mask_regions=regions, raw_anns=[], warp=np.eye(2, 3))
    results.pop("outlines", None)
    # The image no longer matches the file.
    results.pop("img_path", None)
    return results
