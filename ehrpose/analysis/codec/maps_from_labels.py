"""Network-like maps made from labels: perfect, or with specified noise in heatmaps and tags.

They measure a codec without a network: its ceiling, its speed, the effect of its options on AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.heatmap import coarsest
from ehrpose.structures import Maps

# Distance between the tags of two people, beyond any grouping threshold.
TAG_GAP = 3.0


@dataclass(frozen=True)
class Noise:
    """The errors of a simulated network; heatmap values are 0 to 1.

    Attributes:
        peak: Minimum height of a peak; heights are uniform between it and 1.
        missed: Share of keypoints whose peak has only the height ``weak``.
        weak: Height of those peaks.
        floor: Standard deviation of the smooth background of the heatmaps.
        pixel: Standard deviation of the noise of single heatmap pixels.
        shift: Standard deviation of the position of a peak, map pixels at stride 4.
        tag: Standard deviation of a keypoint's tag around its person's.
        tag_gap: Distance between the tags of two people without noise.
    """

    peak: float = 0.4
    missed: float = 0.15
    weak: float = 0.06
    floor: float = 0.01
    pixel: float = 0.005
    shift: float = 0.3
    tag: float = 0.15
    tag_gap: float = TAG_GAP


def perfect_maps(
    codec: AssociativeEmbedding, keypoints: np.ndarray, visible: np.ndarray, input_wh: tuple[int, int]
) -> Maps:
    """Return the maps of an error-free network, at any input size.

    Args:
        codec: The codec; its ``input_size`` is not used, as ``input_wh`` determines the size of the maps.
        keypoints: (N, K, 2) input px.
        visible: (N, K) COCO visibility.
        input_wh: Width and height of the input, multiples of 32.
    """
    side = max(input_wh)
    square = AssociativeEmbedding(
        -(-side // 32) * 32,
        codec.meta,
        strides=codec.strides,
        tag_strides=codec.strides[:1],
        cell_offset=codec.cell_offset,
        sigma=codec.sigma,
        oks_sigma=codec.oks_sigma,
        max_people=max(len(keypoints), 1),
        unbiased=codec.unbiased,
    )
    # Unbiased positions depend on the ratio of input to map size, so they are adapted to the square's.
    moved = keypoints
    if codec.unbiased:
        on_map = codec.to_map(keypoints, codec.strides[-1], input_wh)
        ratio = (square.input_size - 1) / (square.input_size // codec.strides[-1] - 1)
        moved = (on_map * ratio).astype(np.float32)
    targets = square.encode(moved, visible)
    width, height = input_wh
    heat = {f"heat{s}": targets[f"heat{s}"][:, : height // s, : width // s] for s in codec.strides}
    tags = _nearest_person(codec, keypoints, visible, input_wh) * TAG_GAP
    return Maps(**heat, **{f"tag{codec.strides[0]}": tags.astype(np.float32)})


def _nearest_person(
    codec: AssociativeEmbedding, keypoints: np.ndarray, visible: np.ndarray, input_wh: tuple[int, int]
) -> np.ndarray:
    """Return (K, h, w) at the coarsest stride: at each pixel the person whose keypoint of the type is nearest."""
    stride = codec.strides[0]
    width, height = input_wh[0] // stride, input_wh[1] // stride
    positions = codec.to_map(keypoints, stride, input_wh)
    columns, rows = np.arange(width), np.arange(height)
    nearest = np.zeros((codec.num_keypoints, height, width))
    for k in range(codec.num_keypoints):
        people = np.flatnonzero(visible[:, k] > 0)
        if len(people) < 2:
            nearest[k] = people[0] if len(people) else 0
            continue
        dx = (columns - positions[people, k, 0, None]) ** 2
        dy = (rows - positions[people, k, 1, None]) ** 2
        nearest[k] = people[(dy[:, :, None] + dx[:, None]).argmin(axis=0)]
    return nearest


def noisy_maps(
    codec: AssociativeEmbedding,
    keypoints: np.ndarray,
    visible: np.ndarray,
    input_wh: tuple[int, int],
    rng: np.random.Generator,
    noise: Noise = Noise(),
) -> Maps:
    """Return maps of labelled people with noise.

    Args:
        codec: Codec for strides and targets; its ``input_size`` is not used.
        keypoints: (N, K, 2) input px.
        visible: (N, K) COCO visibility.
        input_wh: Width and height of the input, multiples of 32.
        rng: Random generator of the noise.
        noise: Amount of noise.
    """
    moved = keypoints + rng.normal(0, 4 * noise.shift, keypoints.shape)
    height_of = rng.uniform(noise.peak, 1, visible.shape)
    height_of[rng.random(visible.shape) < noise.missed] = noise.weak
    width, height = input_wh
    heat = {s: np.zeros((codec.num_keypoints, height // s, width // s), np.float32) for s in codec.strides}
    tags = coarsest(perfect_maps(codec, moved.astype(np.float32), visible, input_wh))[1]
    tags = tags * (noise.tag_gap / TAG_GAP)
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
    return Maps(**{f"heat{s}": total for s, total in heat.items()}, **{f"tag{codec.strides[0]}": tags})


def place_people(
    poses: Sequence[np.ndarray], num_people: int, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (N, K, 2) and visibility (N, K) of poses at random positions in a square input.

    Args:
        poses: (K, 3) arrays of x, y and visibility in any unit.
        num_people: N.
        side: Side of the input, px.
        rng: Random generator of the choice, sizes (0.15 to 0.6 of the side, smaller in crowds) and positions.
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
