"""Transforms that move pixels, keypoints, boxes and the loss mask together.

Each one multiplies its own warp onto ``results["warp"]``, (2, 3) float64 from the photo to the current image, so
mapping back to photo pixels stays exact. See ``ehrpose.image_warp`` for the coordinates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.datasets.transforms.loss_mask import draw_loss_mask
from ehrpose.image_warp import (
    centred_warp,
    compose_warps,
    letterbox_warp,
    plan_inputs,
    warp_image,
    warp_points,
)
from ehrpose.image_warp import resize_warp as resize_warp
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import TRANSFORMS, build_codec


@TRANSFORMS.register_module()
class BottomUpAffine(BaseTransform):
    """Rotate, scale and shift the photo at random into the codec's square training input.

    A window of ``scale`` times the photo's short (or long) side fills the input: at 1 that side fits exactly, above
    1 the photo appears smaller. Keypoints outside the input get ``visible`` 0; people left without a labelled
    keypoint are dropped. Also creates ``loss_mask`` (S, S) uint8: 0 in ``mask_regions``, 1 elsewhere, including the
    border around the photo.

    Args:
        codec: The codec or its config; its ``input_size`` is the side S.
        rotate: Maximum rotation in either direction, degrees.
        scale: Minimum and maximum window, in sides of the photo.
        scale_type: The side that ``scale`` refers to, ``"short"`` or ``"long"``.
        shift: Maximum shift in x and in y, input px.
        prob: Probability of a random warp; otherwise the photo is only fitted, as at scale 1.
        border: Fill colour around the photo, BGR, 0 to 255.
        stretch: Maximum relative change of the aspect ratio, in either direction: 0.25 draws 1 / 1.25 to 1.25.
        on_person: Probability that the window is centred on a labelled person instead of the photo's centre: on a
            random point in the box around the labelled keypoints, moved so that the window stays in the photo if it
            fits. Over time, small windows then show all people of a photo, not only those in its middle.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        codec: Mapping | Any,
        rotate: float = 30,
        scale: Sequence[float] = (0.75, 1.5),
        scale_type: str = "short",
        shift: float = 40,
        prob: float = 1.0,
        border: Sequence[int] = (0, 0, 0),
        stretch: float = 0.0,
        on_person: float = 0.0,
    ):
        if scale_type not in ("short", "long"):
            raise ValueError(f"scale_type must be 'short' or 'long', got {scale_type!r}")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale must be (min, max) with 0 < min <= max, got {scale}")
        if min(rotate, shift, stretch) < 0 or not 0 <= prob <= 1:
            raise ValueError(
                f"rotate, shift and stretch must be at least 0 and prob from 0 to 1, got {rotate}, {shift}, "
                f"{stretch} and {prob}"
            )
        if not 0 <= on_person <= 1:
            raise ValueError(f"on_person must be from 0 to 1, got {on_person}")
        self.input_size = build_codec(codec).input_size
        self.rotate = rotate
        self.scale = tuple(scale)
        self.scale_type = scale_type
        self.shift = shift
        self.prob = prob
        self.border = tuple(border)
        self.stretch = stretch
        self.on_person = on_person

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        size_wh = (self.input_size, self.input_size)
        step = self._draw_warp(results)
        warp = compose_warps(step, results.get("warp", np.eye(2, 3)))
        results["img"] = warp_image(results["img"], step, size_wh, self.border)
        results["img_shape"] = size_wh
        results["warp"] = warp
        photo_wh = (results["width"], results["height"])
        results["loss_mask"] = draw_loss_mask(results.get("mask_regions", ()), photo_wh, warp, size_wh)
        _warp_people(results, step)
        _drop_outside(results, size_wh)
        return results

    def _draw_warp(self, results: Mapping[str, Any]) -> np.ndarray:
        photo_wh = results["img"].shape[1::-1]
        side = min(photo_wh) if self.scale_type == "short" else max(photo_wh)
        degrees, window, shift_xy, stretch = 0.0, 1.0, (0.0, 0.0), 1.0
        middle = centre = (np.asarray(photo_wh) - 1) / 2
        if random.random() < self.prob:
            degrees = random.uniform(-self.rotate, self.rotate)
            window = random.uniform(*self.scale)
            shift_xy = (random.uniform(-self.shift, self.shift), random.uniform(-self.shift, self.shift))
            if self.stretch:
                stretch = (1 + self.stretch) ** random.uniform(-1, 1)
            if self.on_person and random.random() < self.on_person:
                centre = self._draw_centre(results, window * side)
        input_wh = (self.input_size, self.input_size)
        warp = centred_warp(photo_wh, input_wh, self.input_size / (window * side), degrees, shift_xy)
        if stretch == 1 and centre is middle:
            return warp
        # Before the rotation: move the window's centre to the photo's, and stretch about it.
        factors = np.array([stretch**0.5, stretch**-0.5])
        return compose_warps(warp, np.column_stack([np.diag(factors), middle - centre * factors]))

    @staticmethod
    def _draw_centre(results: Mapping[str, Any], side: float) -> np.ndarray:
        """Draw a point in a labelled person's box, photo px, such that a window of ``side`` stays in the photo."""
        middle = (np.asarray(results["img"].shape[1::-1]) - 1) / 2
        people = [
            points[seen > 0] for points, seen in zip(results.get("keypoints", ()), results.get("visible", ()))
        ]
        people = [points for points in people if len(points)]
        if not people:
            return middle
        points = random.choice(people)
        (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
        reach = np.maximum(middle - (side - 1) / 2, 0)
        drawn = np.array([random.uniform(x1, x2), random.uniform(y1, y2)])
        return np.clip(drawn, middle - reach, middle + reach)


@TRANSFORMS.register_module()
class BottomUpResize(BaseTransform):
    """Resize the photo for testing, keeping its aspect ratio, and pad it to multiples of ``size_divisor``.

    The photo's short side, or height, becomes the codec's input size, rounded up to the divisor; see
    ``ehrpose.image_warp.plan_inputs`` for the sizes with several scales and for very elongated photos. Keypoints
    and boxes stay in photo px, to which ``warp`` maps predictions back.

    Args:
        codec: The codec or its config; sides are multiples of the divisor plus its ``side_offset``.
        size_divisor: A multiple of 32, the network's largest stride, or of the codec's own ``side_multiple``; the paper
            tested with 64.
        scales: Test scales, including 1.0; with more than one, ``img`` becomes a list, scale 1.0 first.
        max_aspect: Maximum long side of the input, in input sizes: a photo of 1 x 4000 px is scaled down instead of
            filling the memory.
        border: Fill colour around the photo, BGR, 0 to 255.
        input_size: Short side, px, instead of the codec's: a model may be tested at a higher resolution than it was
            trained at.
        side: The side of the photo that becomes the input size, ``"short"`` or ``"height"``; with ``"height"`` inputs
            are at least as wide as high.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        codec: Mapping | Any,
        size_divisor: int = 64,
        scales: Sequence[float] = (1.0,),
        max_aspect: float = 8.0,
        border: Sequence[int] = (0, 0, 0),
        input_size: int | None = None,
        side: str = "short",
    ):
        if side not in ("short", "height"):
            raise ValueError(f"side must be 'short' or 'height', got {side!r}")
        if input_size is not None and input_size < 1:
            raise ValueError(f"input_size must be positive, got {input_size}")
        if max_aspect < 1:
            raise ValueError(f"max_aspect must be at least 1, got {max_aspect}")
        self.codec = build_codec(codec)
        multiple = getattr(self.codec, "side_multiple", 32)
        if size_divisor < multiple or size_divisor % multiple:
            raise ValueError(f"size_divisor must be a multiple of {multiple}, got {size_divisor}")
        self.input_size = self.codec.input_size if input_size is None else input_size
        self.side = side
        self.size_divisor = size_divisor
        self.scales = tuple(float(scale) for scale in scales)
        self.max_aspect = max_aspect
        self.border = tuple(border)
        self._plan((32, 32))  # raises on bad scales

    def _plan(self, photo_wh: Sequence[int]) -> list:
        align_corners = getattr(self.codec, "unbiased", False) or getattr(self.codec, "aligned", False)
        return plan_inputs(
            photo_wh,
            self.input_size,
            self.size_divisor,
            self.scales,
            self.max_aspect,
            align_corners,
            self.side,
            getattr(self.codec, "side_offset", 0),
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        photo = results["img"]
        plans = self._plan(photo.shape[1::-1])
        images = [warp_image(photo, plan.warp, plan.size_wh, self.border) for plan in plans]
        results["img"] = images if len(images) > 1 else images[0]
        results["img_shape"] = images[0].shape[:2]
        results["warp"] = compose_warps(plans[0].warp, results.get("warp", np.eye(2, 3)))
        results["labels_in_photo"] = True
        return results


@TRANSFORMS.register_module()
class BottomUpLetterbox(BaseTransform):
    """Fit the photo into a test input of fixed size, centred and keeping its aspect ratio, as exported networks do.

    Photos of any shape can then share a batch. Keypoints and boxes stay in photo px.

    Args:
        size_wh: Width and height of the input, px, multiples of 32; or one number for both.
        border: Fill colour around the photo, BGR, 0 to 255.
        codec: The codec or its config, which may ask for other sides: multiples of its ``side_multiple`` plus its
            ``side_offset``.

    Raises:
        ValueError: A size is not a positive multiple of 32, or what the codec asks for.
    """

    def __init__(
        self, size_wh: int | Sequence[int], border: Sequence[int] = (0, 0, 0), codec: Mapping | Any = None
    ):
        width, height = (size_wh, size_wh) if isinstance(size_wh, int) else size_wh
        built = build_codec(codec)
        multiple, offset = getattr(built, "side_multiple", 32), getattr(built, "side_offset", 0)
        if min(width, height) < 32 or (width - offset) % multiple or (height - offset) % multiple:
            plus = f" plus {offset}" if offset else ""
            raise ValueError(f"size_wh must be positive multiples of {multiple}{plus}, got {size_wh}")
        self.size_wh = (int(width), int(height))
        self.border = tuple(border)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        photo = results["img"]
        warp = letterbox_warp(photo.shape[1::-1], self.size_wh)
        results["img"] = warp_image(photo, warp, self.size_wh, self.border)
        results["img_shape"] = results["img"].shape[:2]
        results["warp"] = compose_warps(warp, results.get("warp", np.eye(2, 3)))
        results["labels_in_photo"] = True
        return results


@TRANSFORMS.register_module()
class RandomFlip(BaseTransform):
    """Flip image, loss mask, keypoints and boxes horizontally, and swap left and right keypoint types.

    After BottomUpResize, which leaves keypoints in photo px, only the image and ``warp`` change.

    Args:
        prob: Probability, 0 to 1; 1 always flips.
        keypoints: KeypointMeta or its config.

    Raises:
        ValueError: ``prob`` is out of range or ``keypoints`` is missing.
    """

    def __init__(self, prob: float = 0.5, keypoints: Mapping | KeypointMeta | None = None):
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be from 0 to 1, got {prob}")
        if keypoints is None:
            raise ValueError(
                "RandomFlip needs the mirror pairs of the keypoints: pass keypoints='$keypoints'"
            )
        self.prob = prob
        self.flip_indices = list(KeypointMeta.build(keypoints).flip_indices)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results.setdefault("flip", False)
        if random.random() >= self.prob:
            return results
        results["flip"] = not results["flip"]
        image = results["img"]
        flipped = [cv2.flip(part, 1) for part in (image if isinstance(image, list) else [image])]
        results["img"] = flipped if isinstance(image, list) else flipped[0]
        mirror = np.array([[-1.0, 0, flipped[0].shape[1] - 1], [0, 1, 0]])
        results["warp"] = compose_warps(mirror, results.get("warp", np.eye(2, 3)))
        if results.get("loss_mask") is not None:
            results["loss_mask"] = cv2.flip(results["loss_mask"], 1)
        if "keypoints" in results and not results.get("labels_in_photo"):
            _warp_people(results, mirror)
            results["keypoints"] = results["keypoints"][:, self.flip_indices]
            results["visible"] = results["visible"][:, self.flip_indices]
        return results


def _warp_people(results: dict[str, Any], warp: np.ndarray) -> None:
    """Warp keypoints and boxes and scale areas; a rotated box becomes its axis-aligned bounding box."""
    if "keypoints" not in results:
        return
    results["keypoints"] = warp_points(results["keypoints"], warp)
    if "bbox" in results:
        corners = results["bbox"][:, [[0, 1], [2, 1], [0, 3], [2, 3]]]
        corners = warp_points(corners, warp)
        results["bbox"] = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    if "area" in results:
        results["area"] = (results["area"] * abs(np.linalg.det(warp[:, :2]))).astype(np.float32)


def _drop_outside(results: dict[str, Any], size_wh: Sequence[int]) -> None:
    """Set ``visible`` to 0 for keypoints outside the image, and drop people left without any."""
    if "keypoints" not in results:
        return
    keypoints = results["keypoints"]
    inside = ((keypoints >= 0) & (keypoints <= np.asarray(size_wh) - 1)).all(axis=2)
    visible = np.where(inside, results["visible"], 0).astype(np.uint8)
    kept = visible.any(axis=1)
    results["visible"] = visible[kept]
    for name in ("keypoints", "bbox", "area"):
        if name in results:
            results[name] = results[name][kept]
