"""A page whose people are known, without a network."""

from __future__ import annotations

import threading
import time

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps, People

FIVE = {
    "dataset_name": "five",
    "names": ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"],
    "swap": [("left_wrist", "right_wrist"), ("left_ankle", "right_ankle")],
    "skeleton": [("nose", name) for name in ("left_wrist", "right_wrist", "left_ankle", "right_ankle")],
    "sigmas": [0.026, 0.062, 0.062, 0.089, 0.089],
}
# Shares of the photo's width and height.
SHAPE = np.array([[0.5, 0.2], [0.4, 0.5], [0.6, 0.5], [0.45, 0.9], [0.55, 0.9]])


class TwoPeople:
    """Finds two people in every photo, of scores 0.8 and 0.4, left and right of the middle."""

    name = "two"

    def __init__(self, seconds: float = 0.0):
        self.meta = KeypointMeta.build(FIVE)
        self.seconds, self.seen, self.at_once, self.most = seconds, [], 0, 0
        self.count = threading.Lock()

    def predict(self, images):
        with self.count:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(self.seconds)
        self.seen += [image.shape for image in images]
        with self.count:
            self.at_once -= 1
        return [self._people(image.shape) for image in images]

    def _people(self, shape):
        size = np.array([shape[1], shape[0]])
        keypoints = np.stack([(SHAPE + np.array([shift, 0])) * size for shift in (-0.2, 0.2)]).astype(
            np.float32
        )
        scores = np.array([[0.9] * 5, [0.35] * 5], np.float32)
        return People(keypoints, scores, np.array([0.8, 0.4], np.float32))

    def maps(self, image):
        heat = np.zeros((5, 16, 16), np.float32)
        heat[0, 4:8, 4:8] = 1
        scale = 64 / max(image.shape[:2])
        return Maps(heat, np.zeros_like(heat)), np.array([[scale, 0, 0], [0, scale, 0]])

    def close(self):
        self.seen = None
