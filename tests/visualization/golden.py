"""Golden pictures of people, one per style, and the comparison of new pictures with them.

    python tests/visualization/golden.py

rewrites tests/data/golden_{mmpose,openpose}.png. Look at them before you commit them, as they are the reference.

They contain no text, as OpenCV 5 and OpenCV 4 have different fonts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization.drawing import STYLES, draw_people

ROOT = Path(__file__).resolve().parents[2]
# A pixel is wrong if a channel differs by more than WRONG, of 255; a picture is wrong if any square of BLOCK px has
# more than MOST wrong pixels. OpenCV 4.5.5, 4.8, 4.12 and 5.0 on x86 draw bit-identical pictures; other processors and
# builds may round line edges differently, by less than this. The smallest tested mistake, a missing limb, makes 64
# wrong pixels in a square, a shift of one pixel more than 100.
WRONG, MOST, BLOCK = 32, 16, 16
SIZE_WH = (280, 240)
# COCO's 17 keypoints, px, with a head as large as the trunk, so that no limb hides under its keypoints.
_PERSON = [
    (70, 62), (92, 38), (48, 38), (120, 52), (20, 52), (108, 98), (32, 98), (132, 134), (8, 134), (118, 172), (22, 172),
    (96, 150), (44, 150), (104, 192), (36, 192), (98, 234), (42, 234),
]  # fmt: skip


def load_meta() -> KeypointMeta:
    return KeypointMeta.build(Config.fromfile(str(ROOT / "configs/_base_/keypoints/coco.py")).keypoints)


def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keypoints (3, 17, 2), scores (3, 17) and boxes (3, 4): one whole, one mirrored and small, one cut off."""
    whole = np.array(_PERSON, float) + 0.3
    small = whole * (-0.55, 0.55) + (235.4, 12.7)
    cut = whole * 0.9 + (180.6, 118.1)
    keypoints = np.stack([whole, small, cut])
    keypoints[1, 9] = np.nan
    scores = np.tile(np.linspace(0.95, 0.35, 17), (3, 1))
    scores[1, [3, 15]] = 0.2
    low, high = np.nanmin(keypoints, axis=1), np.nanmax(keypoints, axis=1)
    return keypoints, scores, np.concatenate([low - 3, high + 3], axis=1)


def draw(style: str, meta: KeypointMeta) -> np.ndarray:
    """Return the picture of a style, (240, 560, 3) uint8 BGR: by default with boxes, and with options."""
    keypoints, scores, boxes = people()
    rows, columns = np.indices(SIZE_WH[::-1])
    image = np.stack([60 + rows // 4, 90 + columns // 8, 120 - rows // 4], axis=2).astype(np.uint8)
    plain = draw_people(image, keypoints, scores, meta, bboxes=boxes, style=style)
    options = {"color_by": "person", "radius": 4.5, "thickness": 2.5, "kpt_thr": 0.5, "fade": True}
    other = draw_people(image, keypoints, scores, meta, black_background=True, style=style, **options)
    return np.hstack([plain, other])


def path_of(style: str) -> Path:
    return ROOT / f"tests/data/golden_{style}.png"


def is_same(picture: np.ndarray, golden: np.ndarray) -> bool:
    """Return whether a picture (H, W, 3) uint8 equals the golden one, except for the rounding of edges."""
    return wrong_pixels(picture, golden) <= MOST


def wrong_pixels(picture: np.ndarray, golden: np.ndarray) -> int:
    """Return the number of wrong pixels in the worst square."""
    wrong = (cv2.absdiff(picture, golden).max(axis=2) > WRONG).astype(np.float32)
    sums = cv2.boxFilter(wrong, -1, (BLOCK, BLOCK), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return round(float(sums.max()))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    parse_args()
    skeleton = load_meta()
    for name in STYLES:
        cv2.imwrite(str(path_of(name)), draw(name, skeleton), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(f"{path_of(name)}: {path_of(name).stat().st_size / 1000:.1f} kB")
