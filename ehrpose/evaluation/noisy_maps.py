"""Maps as a network gives them, made from labels: perfect maps with stated noise in heat and tags.

For measuring a codec without a network: how fast it decodes, and what its choices are worth in AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.evaluation.codec_ceiling import perfect_maps
from ehrpose.structures import Maps


@dataclass(frozen=True)
class Noise:
    """What the network gets wrong. Heat is 0 to 1; tags of two people are 3 apart without noise.

    Attributes:
        peak: Least height of a peak; heights are uniform from it to 1.
        missed: Share of keypoints whose peak is only ``weak`` high.
        weak: Height of those.
        floor: Standard deviation of the smooth background of the heatmaps.
        pixel: Standard deviation of noise of single heatmap pixels.
        shift: Standard deviation of the place of a peak, map pixels at stride 4.
        tag: Standard deviation of a keypoint's tag around its person's.
    """

    peak: float = 0.4
    missed: float = 0.15
    weak: float = 0.06
    floor: float = 0.01
    pixel: float = 0.005
    shift: float = 0.3
    tag: float = 0.15


def noisy_maps(
    codec: AssociativeEmbedding,
    keypoints: np.ndarray,
    visible: np.ndarray,
    input_wh: tuple[int, int],
    rng: np.random.Generator,
    noise: Noise = Noise(),
) -> Maps:
    """Return maps of ``keypoints`` (N, K, 2), input px, and ``visible`` (N, K) with noise.

    Args:
        codec: Its levels and targets; ``input_size`` is not used.
        keypoints: Input px.
        visible: COCO visibility.
        input_wh: Width and height of the input, multiples of 32.
        rng: Source of the noise.
        noise: How much of it.
    """
    moved = keypoints + rng.normal(0, 4 * noise.shift, keypoints.shape)
    height_of = rng.uniform(noise.peak, 1, visible.shape)
    height_of[rng.random(visible.shape) < noise.missed] = noise.weak
    width, height = input_wh
    heat = {s: np.zeros((codec.num_keypoints, height // s, width // s), np.float32) for s in codec.strides}
    tags = perfect_maps(codec, moved.astype(np.float32), visible, input_wh).tag4
    for n in range(len(keypoints)):
        alone = perfect_maps(codec, moved[n : n + 1].astype(np.float32), visible[n : n + 1], input_wh)
        for stride, total in heat.items():
            part = getattr(alone, f"heat{stride}") * height_of[n, :, None, None]
            np.maximum(total, part, out=total, casting="same_kind")
    for total in heat.values():
        for channel in total:
            smooth = cv2.resize(rng.normal(0, noise.floor, (channel.shape[0] // 4, channel.shape[1] // 4)),
                                channel.shape[::-1], interpolation=cv2.INTER_CUBIC)  # fmt: skip
            channel += (smooth + rng.normal(0, noise.pixel, channel.shape)).astype(np.float32)
    for channel in tags:
        coarse = rng.normal(0, noise.tag, (channel.shape[0] // 4, channel.shape[1] // 4))
        channel += cv2.resize(coarse, channel.shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return Maps(heat[4], tags, heat.get(2))


def place_people(
    poses: Sequence[np.ndarray], num_people: int, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (N, K, 2) and visibility (N, K) of poses set at random places of a square input.

    Args:
        poses: (K, 3) arrays of x, y and visibility in any unit.
        num_people: N.
        side: Side of the input, px.
        rng: Source of the choice, the sizes (0.15 to 0.6 of the side, smaller in crowds) and the places.
    """
    num_types = len(poses[0])
    keypoints, visible = np.zeros((num_people, num_types, 2)), np.zeros((num_people, num_types), np.uint8)
    for n, pose in enumerate(rng.choice(len(poses), num_people)):
        known = poses[pose][:, 2] > 0
        xy = poses[pose][:, :2].astype(np.float64)
        low, extent = xy[known].min(axis=0), np.ptp(xy[known], axis=0)
        size = side * rng.uniform(0.15, 0.6) / max(1.0, num_people / 10) ** 0.5
        scaled = (xy - low) * (size / max(extent.max(), 1e-6))
        room = np.maximum(side - 1 - scaled[known].max(axis=0), 0)
        keypoints[n] = scaled + rng.uniform(0, 1, 2) * room
        visible[n] = poses[pose][:, 2] * known
    return keypoints, visible
