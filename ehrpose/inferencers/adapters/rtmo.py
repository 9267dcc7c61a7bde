"""RTMO and networks exported like it: boxes with scores, and keypoints."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ehrpose.inferencers.adapters.foreign_network import ForeignNetwork, letterboxed
from ehrpose.structures import People


class RtmoPredictor(ForeignNetwork):
    """RTMO as exported with its non-maximum suppression; see ``ForeignNetwork`` for the arguments.

    The photo is fitted into the top left of a square, filled up with grey 114. The file takes (1, 3, S, S) float32 BGR
    of 0 to 255 and returns ``dets`` (1, N, 5), x1, y1, x2, y2 and score, and ``keypoints`` (1, N, K, 3), x, y and
    score, in px of the input; in either order.
    """

    default_min_score: ClassVar[float] = 0.05

    def _check(self) -> None:
        shape, names = self._network.input_shape, self._network.output_names
        if len(shape) != 4 or shape[1] != 3 or len(names) != 2:
            raise self._wrong("an input of (1, 3, S, S) and two outputs", f"{shape} and {len(names)}")

    def _predict(self, photo: np.ndarray) -> People:
        square, scale, _ = letterboxed(photo, self.size, 114, centred=False)
        outputs = self._run(np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32))
        boxes, keypoints = sorted(outputs, key=lambda array: array.ndim)
        num_types = self.meta.num_keypoints
        if boxes.ndim != 3 or boxes.shape[2] != 5 or keypoints.shape[2:] != (num_types, 3):
            raise self._wrong(
                f"outputs of (1, N, 5) and (1, N, {num_types}, 3)", f"{boxes.shape} and {keypoints.shape}"
            )
        points = keypoints[0]
        return self._people((points[:, :, :2] + 0.5) / scale - 0.5, points[:, :, 2], boxes[0, :, 4])
