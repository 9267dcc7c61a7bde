"""A page whose people are known, without a network."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np
import uvicorn

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps, People
from ehrpose.web.app import create_app
from ehrpose.web.connections import limited_protocol
from ehrpose.web.server import listen

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
    """Finds two people in every photo, of scores 0.8 and 0.4, left and right of the middle.

    Runs in a process of its own, so what it saw goes to a file: a line per photo, its height and width.
    """

    name = "two"

    def __init__(self, record=None):
        self.meta, self.record = KeypointMeta.build(FIVE), record

    def predict(self, images):
        if self.record:
            with open(self.record, "a") as file:
                file.writelines(f"{image.shape[0]} {image.shape[1]}\n" for image in images)
        return [self._people(image.shape) for image in images]

    def _people(self, shape):
        size = np.array([shape[1], shape[0]])
        keypoints = np.stack([(SHAPE + np.array([shift, 0])) * size for shift in (-0.2, 0.2)]).astype(
            np.float32
        )
        scores = np.array([[0.9] * 5, [0.35] * 5], np.float32)
        return People(keypoints, scores, np.array([0.8, 0.4], np.float32))

    codec = AssociativeEmbedding(64, FIVE)

    def maps(self, image):
        heat = np.zeros((5, 16, 16), np.float32)
        heat[0, 4:8, 4:8] = 1
        scale = 64 / max(image.shape[:2])
        return Maps(heat, np.zeros_like(heat)), np.array([[scale, 0, 0], [0, scale, 0]])

    def close(self):
        """Nothing to free."""


class Gated(TwoPeople):
    """Waits at every photo until a file exists."""

    def __init__(self, gate, record=None):
        super().__init__(record)
        self.gate = gate

    def predict(self, images):
        people = super().predict(images)
        while not os.path.exists(self.gate):
            time.sleep(0.01)
        return people


class Moody(TwoPeople):
    """Does what the photo's width says: 11 px never returns, 12 px ends the process, 13 px raises an error."""

    def predict(self, images):
        width = images[0].shape[1]
        if width == 11:
            threading.Event().wait()
        if width == 12:
            os._exit(3)
        if width == 13:
            raise RuntimeError("secret of the machine")
        return super().predict(images)


def unusable():
    """Stand in for an opener of a model that cannot be opened."""
    raise ValueError("these weights are broken")


def encoded(suffix=".png", shape=(60, 80, 3)):
    """Return a photo of one colour."""
    return cv2.imencode(suffix, np.full(shape, 120, np.uint8))[1].tobytes()


@contextmanager
def running(pool, limits, app=None, **options):
    """Yield the port of a real server, and the server."""
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app or create_app(pool, limits, **options),
        http=limited_protocol(limits),
        ws="none",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        if pool is not None:
            pool.close()
