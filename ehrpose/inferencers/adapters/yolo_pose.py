"""Networks exported like YOLO-pose, before or after their non-maximum suppression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ehrpose.inferencers.adapters.foreign_network import ForeignNetwork, letterboxed
from ehrpose.structures import People


class YoloPosePredictor(ForeignNetwork):
    """YOLO-pose; see ``ForeignNetwork`` for the other arguments.

    The photo is fitted into the middle of a square, filled up with grey 114. The file takes (1, 3, S, S) float32 RGB of
    0 to 1 and returns, in px of the input,

    - before suppression (1, 5 + 3 K, N): centre, width and height of the box, score, and x, y, score of each keypoint,
    - after it (1, N, 5 + 3 K) or (1, N, 6 + 3 K): corners of the box, score, perhaps a class, keypoints.

    Args:
        nms_iou: Of two people before suppression whose boxes overlap by more than this, the better one stays.
        **options: As for ``ForeignNetwork``.
    """

    default_min_score: ClassVar[float] = 0.05

    def __init__(self, path: Any, *args: Any, nms_iou: float = 0.7, **options: Any):
        if not 0 < nms_iou <= 1:
            raise ValueError(f"nms_iou: expected a number above 0, up to 1, got {nms_iou}")
        self.nms_iou = nms_iou
        super().__init__(path, *args, **options)

    def _check(self) -> None:
        shape = self._network.input_shape
        if len(shape) != 4 or shape[1] != 3:
            raise self._wrong("an input of (1, 3, S, S)", shape)

    def _predict(self, photo: np.ndarray) -> People:
        square, scale, corner = letterboxed(photo, self.size, 114, centred=True)
        pixels = np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        rows = self._rows(self._run(pixels / np.float32(255))[0])
        num_types = self.meta.num_keypoints
        points = rows[:, -3 * num_types :].reshape(-1, num_types, 3)
        return self._people((points[:, :, :2] - corner + 0.5) / scale - 0.5, points[:, :, 2], rows[:, 4])

    def _rows(self, output: np.ndarray) -> np.ndarray:
        """Return a row for each person that is left."""
        width = 5 + 3 * self.meta.num_keypoints
        if output.ndim == 3 and output.shape[2] in (width, width + 1):
            return output[0]
        if output.ndim != 3 or output.shape[1] != width:
            raise self._wrong(
                f"an output of (1, {width}, N), (1, N, {width}) or (1, N, {width + 1})", output.shape
            )
        rows = output[0].T
        rows = rows[rows[:, 4] >= self.min_score]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        half = rows[:, 2:4] / 2
        return rows[_separate(np.hstack([rows[:, :2] - half, rows[:, :2] + half]), self.nms_iou)]


def _separate(boxes: np.ndarray, max_iou: float) -> np.ndarray:
    """Return the indices of (N, 4) xyxy boxes, best first, that overlap no better one by more than ``max_iou``."""
    kept = []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = np.arange(len(boxes))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        left = left[common <= max_iou * (areas[best] + areas[left] - common)]
    return np.array(kept, np.int64)
