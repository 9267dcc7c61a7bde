"""MoveNet MultiPose Lightning (Apache-2.0), as its published ONNX and OpenVINO files run it."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from ehrpose.inferencers.adapters.foreign_network import ForeignNetwork
from ehrpose.structures import People


class MoveNetPredictor(ForeignNetwork):
    """MoveNet MultiPose: at most 6 people in a photo; see ``ForeignNetwork`` for the arguments.

    The longer side of the photo becomes ``size`` px (256 by default, as published; 384 finds more), and the input is
    padded on the right and below to multiples of 32. The file takes (1, H, W, 3) RGB and returns (1, 6, 56): y, x and
    score of each keypoint, as fractions of the input, then a box and the person's score.
    """

    default_size: ClassVar[int] = 256
    default_min_score: ClassVar[float] = 0.02

    def _check(self) -> None:
        shape = self._network.input_shape
        if len(shape) != 4 or shape[3] != 3:
            raise self._wrong("an input of (1, H, W, 3)", shape)

    def _predict(self, photo: np.ndarray) -> People:
        height, width = photo.shape[:2]
        scale = self.size / max(height, width)
        new_wh = max(1, round(width * scale)), max(1, round(height * scale))
        shrinks = new_wh[0] < width
        resized = cv2.resize(photo, new_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        padded = np.zeros((1, -(-new_wh[1] // 32) * 32, -(-new_wh[0] // 32) * 32, 3), np.int32)
        padded[0, : new_wh[1], : new_wh[0]] = resized[:, :, ::-1]
        found = self._run(padded)[0]
        if found.ndim != 3 or found.shape[2] != 56:
            raise self._wrong("an output of (1, N, 56)", found.shape)
        rows = found[0]
        points = rows[:, :51].reshape(-1, 17, 3)
        # Fractions of the padded input to px of the photo. AP on COCO is 0.003 lower with half a pixel taken off.
        ratio = np.array(
            [padded.shape[2] * width / new_wh[0], padded.shape[1] * height / new_wh[1]], np.float32
        )
        return self._people(points[:, :, 1::-1] * ratio, points[:, :, 2], rows[:, 55])
