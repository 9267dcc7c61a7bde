"""Drawing as it was before it had styles, labels and fading: what it gave must stay as it is, bit for bit."""

from __future__ import annotations

import colorsys
import dataclasses

import cv2
import numpy as np

from ehrpose.keypoint_meta import KeypointMeta

# cv2 draws with whole numbers of 1 / 2**4 px.
_SHIFT = 4


def draw_people(
    image: np.ndarray,
    keypoints: np.ndarray,
    keypoint_scores: np.ndarray,
    meta: KeypointMeta,
    kpt_thr: float = 0.3,
    radius: float | None = None,
    thickness: float | None = None,
    bboxes: np.ndarray | None = None,
    show_kpt_idx: bool = False,
    black_background: bool = False,
    color_by: str = "limb",
) -> np.ndarray:
    """Return a copy of ``image`` with limbs and keypoints drawn.

    Keypoints, and boxes, that are not finite are left out.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (N, K, 2) px.
        keypoint_scores: (N, K), 0 to 1.
        meta: Limbs and colours.
        kpt_thr: Keypoints below it, and limbs that end in one, are left out.
        radius: Of a keypoint, px; None suits the size of the image and of each person.
        thickness: Of a limb, px; None likewise.
        bboxes: (N, 4) xyxy boxes to draw.
        show_kpt_idx: Write the index beside each keypoint.
        black_background: Draw on black instead of on the photo.
        color_by: ``"limb"``: the colours of ``meta``; ``"person"``: one colour for each person.

    Raises:
        ValueError: Shapes disagree, the image is no (H, W, 3) uint8, or ``color_by`` is unknown.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"wanted a (H, W, 3) uint8 BGR image, got {image.shape} {image.dtype}")
    if color_by not in ("limb", "person"):
        raise ValueError(f"color_by must be 'limb' or 'person', got {color_by!r}")
    keypoints, scores = np.asarray(keypoints, np.float64), np.asarray(keypoint_scores)
    n, k = len(keypoints), meta.num_keypoints
    if keypoints.shape != (n, k, 2) or scores.shape != (n, k):
        raise ValueError(
            f"wanted keypoints (N, {k}, 2) and scores (N, {k}), got {keypoints.shape}, {scores.shape}"
        )
    if bboxes is not None and np.shape(bboxes) != (n, 4):
        raise ValueError(f"wanted bboxes ({n}, 4), one for each person, got {np.shape(bboxes)}")
    canvas = np.zeros_like(image, order="C") if black_background else image.copy(order="C")
    for i in range(n):
        shown = (scores[i] >= kpt_thr) & np.isfinite(keypoints[i]).all(axis=1)
        unit = _unit(image.shape, keypoints[i][shown])
        if bboxes is not None and np.isfinite(bboxes[i]).all():
            _box(canvas, bboxes[i], unit)
        colors = meta if color_by == "limb" else _in_one_color(meta, i)
        _limbs(canvas, keypoints[i], shown, colors, unit if thickness is None else thickness)
        _points(canvas, keypoints[i], shown, colors, 1.1 * unit if radius is None else radius, show_kpt_idx)
    return canvas


def _in_one_color(meta: KeypointMeta, person: int) -> KeypointMeta:
    """Return ``meta`` in one colour; hues of following people are far apart (golden ratio)."""
    color = np.round(np.array(colorsys.hsv_to_rgb(person * 0.618034 % 1, 0.75, 1.0)) * 255).astype(np.uint8)
    return dataclasses.replace(
        meta,
        keypoint_colors=np.tile(color, (meta.num_keypoints, 1)),
        limb_colors=np.tile(color, (len(meta.skeleton), 1)),
    )


def _unit(shape: tuple, points: np.ndarray) -> float:
    """Return the line width, px, for a person on an image of this shape."""
    by_image = max(shape[:2]) / 250
    if len(points) < 2:
        return max(1.0, by_image)
    extent = float(np.ptp(points, axis=0).max())
    return float(np.clip(extent / 60, max(1.0, 0.35 * by_image), max(1.5, 1.6 * by_image)))


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(point * 2**_SHIFT, -(2**28), 2**28).tolist()
    return round(x), round(y)


def _limbs(
    canvas: np.ndarray, points: np.ndarray, shown: np.ndarray, meta: KeypointMeta, width: float
) -> None:
    for (i, j), color in zip(meta.skeleton, meta.limb_colors):
        if shown[i] and shown[j]:
            bgr = tuple(int(c) for c in color[::-1])
            cv2.line(
                canvas, _fixed(points[i]), _fixed(points[j]), bgr, max(1, round(width)), cv2.LINE_AA, _SHIFT
            )


def _points(
    canvas: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    meta: KeypointMeta,
    radius: float,
    show_idx: bool,
) -> None:
    for k in np.flatnonzero(shown):
        bgr = tuple(int(c) for c in meta.keypoint_colors[k][::-1])
        size = max(1, round(radius * 2**_SHIFT))
        cv2.circle(canvas, _fixed(points[k]), size + 2**_SHIFT // 2, (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, _fixed(points[k]), size, bgr, -1, cv2.LINE_AA, _SHIFT)
        if show_idx:
            x, y = points[k] + radius + 1
            cv2.putText(
                canvas,
                str(k),
                (int(x), int(y)),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.3 + radius / 20,
                bgr,
                1,
                cv2.LINE_AA,
            )


def _box(canvas: np.ndarray, box: np.ndarray, width: float) -> None:
    corners = np.asarray(box, np.float64).reshape(2, 2)
    cv2.rectangle(
        canvas,
        _fixed(corners[0]),
        _fixed(corners[1]),
        (0, 220, 220),
        max(1, round(0.7 * width)),
        cv2.LINE_AA,
        _SHIFT,
    )


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Return ``image`` with the maximum over all heatmaps laid over it.

    Args:
        image: (H, W, 3) uint8 BGR.
        heatmaps: (K, h, w), about 0 to 1; stretched over the image.
        opacity: Share of the heatmap's colour, 0 to 1.
    """
    heat = np.clip(np.asarray(heatmaps, np.float32).max(axis=0), 0, 1)
    heat = cv2.resize(heat, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    color = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(image, 1 - opacity, color, opacity, 0)
