"""OpenPose's skeleton for drawing: 18 keypoints with a neck, 17 limbs, rainbow colours.

Source: Cao et al., OpenPose, arXiv:1812.08008, and its documentation of the output format of its COCO model.
The colours are hues in steps of 20 degrees; limb i has the colour of keypoint i.
"""

from __future__ import annotations

import colorsys
import functools

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta

_SIDED = ("shoulder", "elbow", "wrist")
_NAMES = ("nose", "neck", *(f"right_{part}" for part in _SIDED), *(f"left_{part}" for part in _SIDED),
          "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
          "right_eye", "left_eye", "right_ear", "left_ear")  # fmt: skip
_LIMBS = (
    *(("neck", "right_shoulder"), ("neck", "left_shoulder")),
    *((f"{side}_{a}", f"{side}_{b}")
      for side in ("right", "left") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *(("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    ("neck", "nose"),
    *(("nose", "right_eye"), ("right_eye", "right_ear"), ("nose", "left_eye"), ("left_eye", "left_ear")),
)  # fmt: skip
_SHOULDERS = ("left_shoulder", "right_shoulder")
# OpenPose's limbs are translucent.
LIMB_OPACITY = 0.6


def to_openpose(
    keypoints: np.ndarray, scores: np.ndarray, meta: KeypointMeta
) -> tuple[np.ndarray, np.ndarray, KeypointMeta]:
    """Return people in OpenPose's order, with a neck midway between the shoulders.

    Args:
        keypoints: (N, 17, 2) px.
        scores: (N, 17), 0 to 1.
        meta: COCO's 17 keypoints, in any order.

    Returns:
        Keypoints (N, 18, 2), scores (N, 18) and their metadata; the neck has the lower score of the two shoulders.

    Raises:
        ValueError: ``meta`` does not have COCO's 17 keypoints.
    """
    coco_names = set(_NAMES) - {"neck"}
    if set(meta.names) != coco_names:
        raise ValueError(
            f"style 'openpose' needs COCO's 17 keypoints; {meta.dataset_name!r} has {meta.num_keypoints}: missing "
            f"{sorted(coco_names - set(meta.names))}, unknown {sorted(set(meta.names) - coco_names)}; "
            "use style 'mmpose'"
        )
    index = {name: i for i, name in enumerate(meta.names)}
    shoulders = [index[name] for name in _SHOULDERS]
    columns = [index.get(name, 0) for name in _NAMES]
    neck = _NAMES.index("neck")
    moved, confidence = keypoints[:, columns], scores[:, columns]
    moved[:, neck] = keypoints[:, shoulders].mean(axis=1)
    confidence[:, neck] = scores[:, shoulders].min(axis=1)
    return moved, confidence, _openpose_meta()


@functools.lru_cache(maxsize=None)  # functools.cache is not in Python 3.8
def _openpose_meta() -> KeypointMeta:
    hues = [colorsys.hsv_to_rgb(i / len(_NAMES), 1, 1) for i in range(len(_NAMES))]
    colors = np.round(np.array(hues) * 255).astype(int)
    pairs = [(name, f"right_{name[5:]}") for name in _NAMES if name.startswith("left_")]
    return KeypointMeta.build(
        {
            "dataset_name": "openpose",
            "names": _NAMES,
            "swap": pairs,
            "skeleton": _LIMBS,
            "sigmas": np.full(len(_NAMES), 0.05),  # not used: this skeleton is only drawn
            "keypoint_colors": colors,
            "limb_colors": colors[: len(_LIMBS)],
        }
    )
