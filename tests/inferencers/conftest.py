"""An inferencer with a very small model, and a video."""

from __future__ import annotations

import cv2
import pytest

from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoWriter


@pytest.fixture(scope="module")
def inferencer(lively_model):
    return PoseInferencer(lively_model)


@pytest.fixture
def video(scene_photos, tmp_path):
    """Nine frames of three scenes."""
    path = tmp_path / "clip.avi"
    with VideoWriter(path, fps=10) as writer:
        for index in range(9):
            writer.write(cv2.imread(str(scene_photos / f"{index % 3}.png")))
    return path
