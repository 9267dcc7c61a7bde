"""Pictures of a network's maps over the photo: heatmaps, and tags as colours (NumPy and OpenCV, no torch).

Axes: K keypoint types, T tag length; h and w of a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps

# The colours span at least this range of tags, so that the tags of a single person are not spread over all of them.
# (Decoding starts a new person at a tag distance of 1 by default.)
_LEAST_SPAN = 4.0
# OpenCV hue (0 to 180) of the largest tag: colours go from red to violet and stop before red returns.
_LAST_HUE = 145
# Heatmap value from which a tag counts, and from which its colour is drawn in full.
_LEAST_RESPONSE, _FULL_RESPONSE = 0.1, 0.4


def draw_heatmaps(
    image: np.ndarray,
    heatmaps: np.ndarray | Maps,
    opacity: float = 0.5,
    keypoint: int | str | None = None,
    meta: KeypointMeta | None = None,
) -> np.ndarray:
    """Return ``image`` overlaid with the maximum over all heatmaps, or with one of them.

    Args:
        image: (H, W, 3) uint8 BGR.
        heatmaps: (K, h, w), about 0 to 1, stretched over the image; or the Maps of one image, of which the finest
            are used (``maps_of_photo`` crops the border around the photo).
        opacity: Opacity of the heatmap's colours, 0 to 1.
        keypoint: Index or name of the one to draw; None draws all.
        meta: Keypoint names, needed if ``keypoint`` is a name.

    Raises:
        ValueError: The keypoint does not exist, ``meta`` is missing for a name, or shapes differ from those above.
    """
    channels = _pick(_heat_of(heatmaps), keypoint, meta)
    heat = np.clip(channels.max(axis=0), 0, 1)
    heat = cv2.resize(heat, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    color = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(image, 1 - opacity, color, opacity, 0)


def draw_tags(
    image: np.ndarray,
    tags: np.ndarray | Maps,
    heatmaps: np.ndarray | None = None,
    opacity: float = 0.9,
    keypoint: int | str | None = None,
    meta: KeypointMeta | None = None,
) -> np.ndarray:
    """Return ``image``, grey and dimmed, with the tags as colours where a heatmap responds.

    Keypoints of one person have nearly the same tag, so a person has one colour, and people that can be told apart
    differ in colour. With T > 1 (flip test) the first tag is drawn, that of the unflipped photo.

    Args:
        image: (H, W, 3) uint8 BGR.
        tags: (T*K, h, w), channel ``t * K + k``; or the Maps of one image, without ``heatmaps``.
        heatmaps: (K, h', w'), about 0 to 1, over the same part of the image.
        opacity: Opacity of the colours at full response, 0 to 1.
        keypoint: Index or name of the one to draw; None draws the strongest at each pixel.
        meta: Keypoint names, needed if ``keypoint`` is a name.

    Raises:
        ValueError: The keypoint does not exist, ``meta`` is missing for a name, or shapes differ from those above.
    """
    if hasattr(tags, "_fields") and not isinstance(tags, Maps):
        raise ValueError(
            f"expected a network with tags, whose maps can be drawn as colours, got {type(tags).__name__}"
        )
    if isinstance(tags, Maps):
        if heatmaps is not None:
            raise ValueError("Maps hold both tags and heatmaps: omit the argument heatmaps")
        heatmaps, tags = _heat_of(tags), tags.tag4 if tags.tag2 is None else tags.tag2
    elif heatmaps is None:
        raise ValueError("tags are drawn where heatmaps respond: pass heatmaps too, or Maps, which hold both")
    heat, tag = _heat_of(heatmaps), np.asarray(tags, np.float32)
    if tag.ndim != 3 or len(tag) == 0 or len(tag) % len(heat):
        raise ValueError(f"expected tags (T*{len(heat)}, h, w) for {len(heat)} heatmaps, got {tag.shape}")
    tag = tag[: len(heat)]
    span = _tag_span(_strongest(heat, tag), heat.max(axis=0))
    channels = _pick(heat, keypoint, meta)
    response = channels.max(axis=0)
    value = _strongest(channels, _pick(tag, keypoint, meta))
    size_wh = (image.shape[1], image.shape[0])
    colors = cv2.resize(_tag_colors(value, span), size_wh, interpolation=cv2.INTER_LINEAR)
    share = cv2.resize(response, size_wh, interpolation=cv2.INTER_LINEAR)
    share = np.clip((share - _LEAST_RESPONSE) / (_FULL_RESPONSE - _LEAST_RESPONSE), 0, 1)[..., None] * opacity
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) * np.float32(0.55)
    return np.asarray(np.round(grey * (1 - share) + colors * share), np.uint8)


def maps_of_photo(
    maps: Any, warp: np.ndarray, photo_wh: tuple[int, int], strides: Mapping[str, int] | None = None
) -> Any:
    """Return the maps of one image cropped to the photo, for the functions above.

    Args:
        maps: Maps of the network's input, without the batch axis.
        warp: (2, 3) matrix from photo to input px, as the pipeline and ``PoseRuntime.prepare`` return it.
        photo_wh: Width and height of the photo, px.
        strides: Name to stride of each map, ``map_strides`` of the codec; None: those of Maps.
    """
    warp = np.asarray(warp, np.float64)
    corners = np.array([[0, 0, 1], [*photo_wh, 1]]) @ warp.T
    strides = strides or {"heat4": 4, "tag4": 4, "heat2": 2, "tag2": 2}
    cut: list[np.ndarray | None] = []
    for name, field in zip(maps._fields, maps):
        if field is None or name not in strides:
            cut.append(None)
            continue
        ratio = 1 / strides[name]
        left, top = np.maximum(np.round(corners[0] * ratio).astype(int), 0)
        right, bottom = np.round(corners[1] * ratio).astype(int)
        cut.append(field[:, top : max(bottom, top + 1), left : max(right, left + 1)])
    return type(maps)(*cut)


def _heat_of(heatmaps: np.ndarray | Maps) -> np.ndarray:
    if isinstance(heatmaps, Maps):
        heatmaps = heatmaps.heat4 if heatmaps.heat2 is None else heatmaps.heat2
    heat = np.asarray(heatmaps, np.float32)
    if heat.ndim != 3 or 0 in heat.shape:
        raise ValueError(
            f"expected heatmaps (K, h, w), got {heat.shape}; pick one image of a batch: maps.image(0)"
        )
    return heat


def _pick(channels: np.ndarray, keypoint: int | str | None, meta: KeypointMeta | None) -> np.ndarray:
    """Return the channel of a keypoint as (1, h, w), or all channels for None."""
    if keypoint is None:
        return channels
    if isinstance(keypoint, str):
        if meta is None or keypoint not in meta.names:
            known = "pass meta, which has the names" if meta is None else f"available: {list(meta.names)}"
            raise ValueError(f"keypoint {keypoint!r} not found; {known}")
        keypoint = meta.names.index(keypoint)
    if not 0 <= keypoint < len(channels):
        raise ValueError(f"expected a keypoint from 0 to {len(channels) - 1}, got {keypoint}")
    return channels[keypoint : keypoint + 1]


def _strongest(heat: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return (h', w'): at each pixel of ``heat`` (K, h', w') the tag of the strongest keypoint."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(heat.shape[1:], tags.shape[1:]))
    return np.asarray(tags[heat.argmax(axis=0), rows[:, None], columns])


def _tag_span(values: np.ndarray, response: np.ndarray) -> tuple[float, float]:
    """Return the tags of the first and the last colour: the extremes where a heatmap responds."""
    seen = values[response > _LEAST_RESPONSE]
    low, high = np.quantile(seen, [0.01, 0.99]).tolist() if len(seen) else (0.0, 0.0)
    spare = max(_LEAST_SPAN - (high - low), 0) / 2
    return low - spare, high + spare


def _tag_colors(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Return (h, w, 3) uint8 BGR."""
    place = np.clip((values - span[0]) / (span[1] - span[0]), 0, 1)
    hue = np.round(place * _LAST_HUE).astype(np.uint8)
    full = np.full_like(hue, 255)
    return cv2.cvtColor(np.dstack([hue, full, full]), cv2.COLOR_HSV2BGR)
