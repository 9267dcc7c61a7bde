"""The skeleton of a dataset: keypoint names and everything derived from them (no torch).

One object serves the codec, transforms, metric, drawing and exported model, so the number of keypoints is defined
nowhere else.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np

from ehrpose.registry import refuse_reference

_REQUIRED = ("dataset_name", "names", "swap", "skeleton", "sigmas")
_OPTIONAL = ("order", "keypoint_colors", "limb_colors", "limb_lengths")


@dataclass(frozen=True, eq=False)
class KeypointMeta:
    """Names, symmetry, limbs and tolerances of K keypoint types.

    Attributes:
        dataset_name: Name of the dataset.
        names: K keypoint names, in the order of the annotations.
        flip_indices: Permutation of ``range(K)``: the type that each becomes in a mirrored image.
        skeleton: L limbs, each a pair of keypoint indices.
        sigmas: (K,) float32 tolerances of the object keypoint similarity (OKS).
        order: Permutation of ``range(K)``: the order in which grouping visits the types.
        keypoint_colors: (K, 3) uint8 RGB.
        limb_colors: (L, 3) uint8 RGB.
        limb_lengths: (L,) float64, usual lengths of the limbs relative to one another; None if they are not known.
    """

    dataset_name: str
    names: Tuple[str, ...]
    flip_indices: Tuple[int, ...]
    skeleton: Tuple[Tuple[int, int], ...]
    sigmas: np.ndarray
    order: Tuple[int, ...]
    keypoint_colors: np.ndarray
    limb_colors: np.ndarray
    limb_lengths: Optional[np.ndarray] = None

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoint types."""
        return len(self.names)

    @classmethod
    def build(cls, keypoints: Union[KeypointMeta, Mapping[str, Any]]) -> KeypointMeta:
        """Build the metadata from its config.

        Args:
            keypoints: A KeypointMeta (returned unchanged), or a mapping with ``dataset_name``, ``names``,
                ``swap`` (pairs of names that a mirror exchanges), ``skeleton`` (pairs of names), ``sigmas``
                and optionally ``order`` (names; default: as in ``names``), RGB colours and ``limb_lengths``.

        Raises:
            ValueError: A key is missing or unknown, a name is unknown or used twice, or lengths disagree.
        """
        if isinstance(keypoints, KeypointMeta):
            return keypoints
        refuse_reference(keypoints)
        if not isinstance(keypoints, Mapping):
            raise ValueError(f"keypoints must be a mapping, got {type(keypoints).__name__}")
        keypoints = {key: value for key, value in keypoints.items() if not key.startswith("_")}
        missing = [key for key in _REQUIRED if key not in keypoints]
        unknown = sorted(set(keypoints) - set(_REQUIRED) - set(_OPTIONAL))
        if missing or unknown:
            raise ValueError(
                f"keypoints config: missing {missing}, unknown {unknown}; "
                f"required: {list(_REQUIRED)}, optional: {list(_OPTIONAL)}"
            )
        names = tuple(keypoints["names"])
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected at least one keypoint name, all distinct, got {list(names)}")
        index = {name: i for i, name in enumerate(names)}
        sigmas = np.asarray(keypoints["sigmas"], np.float32)
        if sigmas.shape != (len(names),) or not (sigmas > 0).all():
            raise ValueError(f"sigmas: expected {len(names)} positive numbers, got {sigmas.tolist()}")
        order = _look_up(keypoints.get("order") or names, index, "order")
        if sorted(order) != list(range(len(names))):
            raise ValueError(
                f"order must name each of the {len(names)} keypoints once, got {len(order)} names"
            )
        skeleton = tuple(_pair(limb, index, "skeleton") for limb in keypoints["skeleton"])
        return cls(
            dataset_name=str(keypoints["dataset_name"]),
            names=names,
            flip_indices=_flip_indices(keypoints["swap"], index),
            skeleton=skeleton,
            sigmas=sigmas,
            order=order,
            keypoint_colors=_colors(keypoints.get("keypoint_colors"), len(names), "keypoint_colors"),
            limb_colors=_colors(keypoints.get("limb_colors"), len(skeleton), "limb_colors"),
            limb_lengths=_limb_lengths(keypoints.get("limb_lengths"), len(skeleton)),
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return a plain mapping from which ``build`` restores the same metadata."""
        names = self.names
        known = {} if self.limb_lengths is None else {"limb_lengths": self.limb_lengths.tolist()}
        return {
            "dataset_name": self.dataset_name,
            "names": list(names),
            "swap": [[names[i], names[j]] for i, j in enumerate(self.flip_indices) if i < j],
            "skeleton": [[names[i], names[j]] for i, j in self.skeleton],
            "sigmas": [round(float(sigma), 6) for sigma in self.sigmas],
            "order": [names[i] for i in self.order],
            "keypoint_colors": self.keypoint_colors.tolist(),
            "limb_colors": self.limb_colors.tolist(),
            **known,
        }


def _look_up(names: Sequence[str], index: Mapping[str, int], what: str) -> Tuple[int, ...]:
    unknown = [name for name in names if name not in index]
    if unknown:
        raise ValueError(f"{what}: unknown keypoints {unknown}; available: {list(index)}")
    return tuple(index[name] for name in names)


def _pair(names: Sequence[str], index: Mapping[str, int], what: str) -> Tuple[int, int]:
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f"{what}: expected a pair of keypoint names, got {names!r}")
    first, second = _look_up(names, index, what)
    return first, second


def _flip_indices(swap: Sequence[Sequence[str]], index: Mapping[str, int]) -> Tuple[int, ...]:
    flipped = list(range(len(index)))
    seen: Set[int] = set()
    for names in swap:
        i, j = _pair(names, index, "swap")
        if i in seen or j in seen or i == j:
            raise ValueError(f"swap: {list(names)} names a keypoint twice")
        seen.update((i, j))
        flipped[i], flipped[j] = j, i
    return tuple(flipped)


def _limb_lengths(given: Any, count: int) -> Optional[np.ndarray]:
    if given is None:
        return None
    lengths = np.asarray(given, np.float64)
    if lengths.shape != (count,) or not ((lengths > 0) & np.isfinite(lengths)).all():
        raise ValueError(f"limb_lengths: expected {count} positive numbers, one for each limb, got {given}")
    return lengths


def _colors(given: Any, count: int, what: str) -> np.ndarray:
    if given is None:
        hues = [colorsys.hsv_to_rgb(i / max(count, 1), 0.85, 1.0) for i in range(count)]
        return np.asarray(np.round(np.asarray(hues).reshape(-1, 3) * 255), np.uint8)
    colors = np.asarray(given) if len(given) else np.zeros((0, 3))
    if colors.shape != (count, 3) or colors.min(initial=0) < 0 or colors.max(initial=0) > 255:
        raise ValueError(f"{what}: expected {count} RGB triples of 0 to 255, got shape {colors.shape}")
    return colors.astype(np.uint8)
