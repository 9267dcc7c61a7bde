"""Drawing people on a picture (NumPy and OpenCV, no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from ehrpose.files import write_bytes
from ehrpose.image_io import check_image
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization import COLORINGS, STYLES
from ehrpose.visualization.map_view import draw_heatmaps as draw_heatmaps
from ehrpose.visualization.openpose_style import LIMB_OPACITY, to_openpose
from ehrpose.visualization.person_colors import color_of_id, color_of_person, in_one_color
from ehrpose.visualization.strokes import Color, draw_box, draw_disc, draw_ellipse, draw_line, to_bgr
from ehrpose.visualization.text_labels import Label, draw_labels, label_height

if TYPE_CHECKING:
    from ehrpose.file_sets import FileGroup

__all__ = ["draw_people", "write_picture"]

# With ``fade``, keypoints from this score on are drawn in full, those at the threshold at the least opacity and size.
_FULL_SCORE = 0.8
_LEAST_OPACITY, _LEAST_SIZE = 0.35, 0.6
# Background of labels of people without a colour of their own.
_DARK = (40, 40, 40)
# BGR of boxes, unless coloured by id.
_BOX = (0, 220, 220)


class _Person(NamedTuple):
    """One person to draw: (K, 2) px, (K,) flags, (K,) confidence 0 to 1, colours, and the line width, px."""

    points: np.ndarray
    shown: np.ndarray
    confidence: np.ndarray
    meta: KeypointMeta
    unit: float


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
    ids: Sequence[int] | np.ndarray | None = None,
    person_scores: Sequence[float] | np.ndarray | None = None,
    fade: bool = False,
    style: str = "mmpose",
) -> np.ndarray:
    """Return a copy of ``image`` with limbs and keypoints drawn.

    Keypoints and boxes that are not finite are not drawn. ``fade`` and ``style="openpose"`` blend limb by limb,
    which takes up to 2.5 times as long; for times see docs/drawing.md.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (N, K, 2) px.
        keypoint_scores: (N, K), 0 to 1.
        meta: Limbs and colours.
        kpt_thr: Keypoints below this score, and limbs that end in one, are not drawn.
        radius: Radius of a keypoint, px; None adapts to the size of the image and of each person.
        thickness: Width of a limb, px; None likewise.
        bboxes: (N, 4) xyxy boxes to draw.
        show_kpt_idx: Write the index next to each keypoint; OpenPose's indices in its style.
        black_background: Draw on black instead of on the photo.
        color_by: ``"limb"``: the colours of the style; ``"person"``: one colour for each person in the picture;
            ``"id"``: one for each id, the same in every picture.
        ids: (N,) integers, written as labels; negative ones stand for no id.
        person_scores: (N,) scores, written as labels.
        fade: Draw keypoints and limbs of low confidence fainter and smaller.
        style: ``"mmpose"``: lines between discs in the colours of ``meta``; ``"openpose"``: translucent ellipses in
            OpenPose's colours, with a neck, for COCO's 17 keypoints.

    Raises:
        ValueError: Shapes do not match, the image is not (H, W, 3) uint8, ``color_by`` or ``style`` is unknown,
            ``color_by="id"`` is used without ids, or the style does not support the skeleton.
    """
    _check_choice("color_by", color_by, COLORINGS)
    _check_choice("style", style, STYLES)
    keypoints, scores = np.asarray(keypoints, np.float64), np.asarray(keypoint_scores)
    _check_shapes(image, keypoints, scores, meta, bboxes)
    _check_of_each("ids", ids, len(keypoints), whole=True)
    _check_of_each("person_scores", person_scores, len(keypoints))
    if color_by == "id" and ids is None:
        raise ValueError("color_by='id' needs ids, one per person; without ids use color_by='person'")
    if style == "openpose":
        keypoints, scores, meta = to_openpose(keypoints, scores, meta)
    canvas = np.zeros_like(image, order="C") if black_background else image.copy(order="C")
    labels: list[Label] = []
    for i, (points, score) in enumerate(zip(keypoints, scores)):
        shown = (score >= kpt_thr) & np.isfinite(points).all(axis=1)
        color = _own_color(color_by, i, ids)
        confidence = _confidence(score, kpt_thr) if fade else np.ones(len(shown))
        colors = meta if color is None else in_one_color(meta, color)
        person = _Person(points, shown, confidence, colors, _unit(image.shape, points[shown]))
        box = None if bboxes is None or not np.isfinite(bboxes[i]).all() else np.asarray(bboxes[i])
        if box is not None:
            framed = _BOX if color is None or color_by != "id" else to_bgr(color)
            draw_box(canvas, box, 0.7 * person.unit, framed)
        _draw_limbs(canvas, person, thickness, style)
        _draw_points(canvas, person, radius, style, show_kpt_idx)
        text = _label_text(i, ids, person_scores)
        if text:
            labels += _labels(image.shape, person, box, text, _label_color(color, i, ids))
    draw_labels(canvas, labels)
    return canvas


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _check_shapes(
    image: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    meta: KeypointMeta,
    bboxes: np.ndarray | None,
) -> None:
    check_image(image)
    n, k = len(keypoints), meta.num_keypoints
    if keypoints.shape != (n, k, 2) or scores.shape != (n, k):
        raise ValueError(
            f"expected keypoints (N, {k}, 2) and scores (N, {k}), got {keypoints.shape} and {scores.shape}"
        )
    if bboxes is not None and np.shape(bboxes) != (n, 4):
        raise ValueError(f"expected bboxes ({n}, 4), one per person, got {np.shape(bboxes)}")


def _check_of_each(name: str, values: Any, count: int, whole: bool = False) -> None:
    array = np.asarray(() if values is None else values)
    kinds = "iu" if whole else "iuf"
    if values is not None and (array.shape != (count,) or (count and array.dtype.kind not in kinds)):
        what = "integers" if whole else "numbers"
        raise ValueError(
            f"expected {name} as ({count},) {what}, one per person, got {array.shape} {array.dtype}"
        )


def _own_color(color_by: str, person: int, ids: Any) -> np.ndarray | None:
    """Return the single RGB colour of a person, or None if limbs have their own."""
    if color_by == "limb":
        return None
    return color_of_id(int(ids[person])) if color_by == "id" else color_of_person(person)


def _confidence(scores: np.ndarray, kpt_thr: float) -> np.ndarray:
    """Return confidence, from 0 at the threshold to 1 at the full score."""
    span = max(_FULL_SCORE - kpt_thr, 0.05)
    return np.asarray(np.clip((scores - kpt_thr) / span, 0, 1))


def _unit(shape: tuple, points: np.ndarray) -> float:
    """Return the line width, px, for a person on an image of this shape."""
    by_image = max(shape[:2]) / 250
    if len(points) < 2:
        return max(1.0, by_image)
    extent = float(np.ptp(points, axis=0).max())
    return float(np.clip(extent / 60, max(1.0, 0.35 * by_image), max(1.5, 1.6 * by_image)))


def _draw_limbs(canvas: np.ndarray, person: _Person, thickness: float | None, style: str) -> None:
    points, confidence = person.points.tolist(), person.confidence.tolist()
    is_openpose = style == "openpose"
    # OpenPose's limbs are wide, but in the same proportion they would hide a small person drawn with 1 px lines.
    suited = 2.8 * person.unit - 0.8 if is_openpose else person.unit
    width = suited if thickness is None else thickness
    for (i, j), color in zip(person.meta.skeleton, person.meta.limb_colors):
        if person.shown[i] and person.shown[j]:
            sure = min(confidence[i], confidence[j])
            stroke = draw_ellipse if is_openpose else draw_line
            opacity = _opacity(sure) * (LIMB_OPACITY if is_openpose else 1)
            stroke(canvas, points[i], points[j], to_bgr(color), width * _size(sure), opacity)


def _draw_points(
    canvas: np.ndarray, person: _Person, radius: float | None, style: str, show_idx: bool
) -> None:
    full = 1.1 * person.unit if radius is None else radius
    points, confidence = person.points.tolist(), person.confidence.tolist()
    for k in np.flatnonzero(person.shown).tolist():
        (x, y), bgr = points[k], to_bgr(person.meta.keypoint_colors[k])
        opacity, size = _opacity(confidence[k]), full * _size(confidence[k])
        draw_disc(canvas, points[k], size, bgr, opacity, rim=style != "openpose")
        if show_idx:
            at, scale = (int(x + full + 1), int(y + full + 1)), 0.3 + full / 20
            cv2.putText(canvas, str(k), at, cv2.FONT_HERSHEY_SIMPLEX, scale, bgr, 1, cv2.LINE_AA)


def _opacity(confidence: float) -> float:
    return _LEAST_OPACITY + (1 - _LEAST_OPACITY) * confidence


def _size(confidence: float) -> float:
    return _LEAST_SIZE + (1 - _LEAST_SIZE) * confidence


def _label_text(person: int, ids: Any, scores: Any) -> str:
    has_id = ids is not None and ids[person] >= 0
    parts = ([str(int(ids[person]))] if has_id else []) + (
        [] if scores is None else [f"{scores[person]:.2f}"]
    )
    return "  ".join(parts)


def _label_color(color: np.ndarray | None, person: int, ids: Any) -> Color:
    if color is not None:
        return to_bgr(color)
    return _DARK if ids is None else to_bgr(color_of_id(int(ids[person])))


def _labels(shape: tuple, person: _Person, box: np.ndarray | None, text: str, bgr: Color) -> list[Label]:
    """Return the label above the person's box, or above its head; empty without box and keypoints."""
    points = person.points[person.shown]
    if box is None and len(points) == 0:
        return []
    if box is None:
        low, high = points.min(axis=0), points.max(axis=0)
        low[1] -= 0.07 * (high - low).max() + person.unit
        box = np.concatenate([low, high])
    extent = float((box[2:] - box[:2]).max())
    return [Label(text, box, bgr, label_height(shape, extent))]


def write_picture(
    path: str | Path, picture: np.ndarray, quality: int | None = None, group: FileGroup | None = None
) -> None:
    """Write (H, W, 3) uint8 BGR to a file, whole or not at all.

    Args:
        path: The file; its folder is created if missing.
        picture: The picture.
        quality: JPEG quality, 0 to 100; None: OpenCV's default, 95. Other formats ignore it.
        group: Write it as part of this group, with which it appears; None: now.

    Raises:
        ValueError: Images cannot be written in the format of the suffix.
    """
    suffix = Path(path).suffix
    try:
        options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
        written, encoded = cv2.imencode(suffix or ".none", picture, options)
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"{path}: images cannot be written as {suffix!r}; use .jpg or .png")
    write = write_bytes if group is None else group.write
    write(path, encoded.tobytes())
