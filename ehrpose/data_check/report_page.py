"""The report of a check as one HTML page, which needs no other file: the worst findings with their pictures."""

from __future__ import annotations

import base64
import html
from typing import Any, Mapping, Sequence

import cv2
import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.kinds import KINDS
from ehrpose.data_check.report import as_lines, counts_of, describe
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.visualization.drawing import draw_people

# Findings of each kind with a picture, the longest side of a picture, px, and the margin around a person's box.
_SHOWN, _SIDE, _MARGIN = 12, 280, 0.2
_STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:1250px}figure{display:inline-block;vertical-align:top;width:290px;"
    "margin:0 1em 1em 0}figcaption{font-size:13px;overflow-wrap:anywhere}pre{white-space:pre-wrap}"
)


def as_page(labels: DataLabels, summary: Mapping[str, Any], found: Mapping[str, Sequence[Finding]]) -> str:
    """Return the page as HTML; names from the data are escaped."""
    counts = [line for line in as_lines(labels, summary, {}) if line]
    parts = [
        f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>ehrpose check</title><style>{_STYLE}</style>",
        f"<h1>ehrpose check</h1><pre>{html.escape(chr(10).join(counts))}</pre>",
    ]
    for name, findings in found.items():
        told = ", ".join(f"{level}: {number}" for level, number in counts_of(findings).items() if number)
        parts.append(f"<h2>{html.escape(KINDS[name].title)}</h2><p>{name}: {told or 'none'}</p>")
        parts += [_figure(labels, finding) for finding in findings[:_SHOWN]]
    return "\n".join([*parts, "</html>", ""])


def _figure(labels: DataLabels, finding: Finding) -> str:
    text = html.escape(f"{finding.level}: {describe(labels, finding)}")
    pictures = [_picture(labels, finding.photo, finding.person)]
    if finding.other is not None:
        pictures.append(_picture(labels, finding.other, None))
    return f"<figure>{''.join(pictures)}<figcaption>{text}</figcaption></figure>"


def _picture(labels: DataLabels, photo: int, person: Any) -> str:
    """Return a photo, or the part with a person and its keypoints, as an element; empty if it cannot be read."""
    try:
        image = read_image(labels.photos[photo].path)
    except ImageReadError:
        return ""
    left, top = 0, 0
    if person is not None:
        image, left, top = _part(image, labels, person)
    scale = _SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.resize(image, (size[0], size[1]), interpolation=cv2.INTER_AREA)
    if person is not None:
        image = _drawn(image, labels, person, np.array([left, top]), scale)
    is_done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not is_done:
        return ""
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'>"


def _drawn(
    image: np.ndarray, labels: DataLabels, person: int, corner: np.ndarray, scale: float
) -> np.ndarray:
    points = (labels.keypoints[[person], :, :2] - corner) * scale
    shown = (labels.keypoints[[person], :, 2] > 0).astype(np.float64)
    boxes = labels.boxes[[person]].copy()
    boxes[:, 2:] += boxes[:, :2]
    boxes = (boxes - np.tile(corner, 2)) * scale
    return draw_people(image, points, shown, labels.meta, bboxes=boxes if np.isfinite(boxes).all() else None)


def _part(image: np.ndarray, labels: DataLabels, person: int) -> Any:
    """Return the part of a photo with a person's box and keypoints, and its left and top, px."""
    points = labels.keypoints[person, labels.keypoints[person, :, 2] > 0, :2]
    box = labels.frames()[person]
    corners = np.concatenate([points, [box[:2], box[:2] + box[2:]]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    grow = _MARGIN * max(float((high - low).max()), 8.0)
    height, width = image.shape[:2]
    left, top = (int(v) for v in np.clip(low - grow, 0, [width - 1, height - 1]))
    right, bottom = (int(v) for v in np.clip(high + grow, [left + 1, top + 1], [width, height]))
    return image[top:bottom, left:right], left, top
