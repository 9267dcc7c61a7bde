"""One colour per person, by position in a list or by an id that persists across frames."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta

# RGB of a person without an id.
_NO_ID = (160, 160, 160)
# Saturation and value in turn: hues repeat, so consecutive ids also differ in strength and brightness.
_TONES = ((0.75, 1.0), (0.9, 0.8), (0.45, 1.0))


def color_of_person(number: int) -> np.ndarray:
    """Return RGB (3,) uint8; hues of consecutive people are far apart (golden ratio)."""
    return _rgb(number * 0.618034 % 1, 0.75, 1.0)


def color_of_id(person_id: int) -> np.ndarray:
    """Return RGB (3,) uint8, always the same for an id; grey for a negative one, which stands for no id."""
    if person_id < 0:
        return np.array(_NO_ID, np.uint8)
    return _rgb(person_id * 0.618034 % 1, *_TONES[person_id % len(_TONES)])


def in_one_color(meta: KeypointMeta, color: np.ndarray) -> KeypointMeta:
    """Return ``meta`` with ``color``, RGB (3,) uint8, for all keypoints and limbs."""
    return dataclasses.replace(
        meta,
        keypoint_colors=np.tile(color, (meta.num_keypoints, 1)),
        limb_colors=np.tile(color, (len(meta.skeleton), 1)),
    )


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    color = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.asarray(np.round(color * 255), np.uint8)
