"""The drawing that the web page offers as an example: python -m ehrpose.analysis.pictures.web_example FILE.jpg."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from ehrpose.datasets.synthetic.scene import render_scene
from ehrpose.files import write_bytes

_SEED = 58


def example_photo() -> np.ndarray:
    """Return the example, (480, 720, 3) uint8 BGR: three drawn people, whom ehrnet-small finds."""
    image, _ = render_scene(
        np.random.default_rng(_SEED),
        (720, 480),
        num_people=(3, 3),
        person_height=(0.55, 0.9),
        occlusion=0.0,
        clutter=0.4,
        pose_variety=0.5,
    )
    return image


def write_example(path: str | Path) -> None:
    """Write the example as a JPEG."""
    write_bytes(path, cv2.imencode(".jpg", example_photo(), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


if __name__ == "__main__":
    write_example(sys.argv[1])
