"""Data exchanged between network, codec and caller, as NumPy arrays (no torch).

Axes: B images, K keypoint types, T tag length, N people; H and W of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, NamedTuple, Optional

import numpy as np

from ehrpose.oks import extents

__all__ = [
    "FieldMaps", "FieldPeaks", "Maps", "OffsetMaps", "PeakMaps", "People", "PeoplePeaks", "invert_warp",
]  # fmt: skip


class Maps(NamedTuple):
    """Output of a network with heatmaps and tags (``AssociativeEmbedding``); exported ones have the same names.

    Attributes:
        heat4: (B, K, H/4, W/4) heatmaps at stride 4, None for a head with stride 2 alone.
        tag4: (B, T*K, H/4, W/4) tags at stride 4, channel ``t * K + k``; None without heatmaps there.
        heat2: (B, K, H/2, W/2) heatmaps at stride 2, None for a head with stride 4 alone.
        tag2: (B, T*K, H/2, W/2) tags at stride 2, None unless the head has tags there.
    """

    heat4: Any = None
    tag4: Any = None
    heat2: Any = None
    tag2: Any = None

    def image(self, index: int) -> Maps:
        """Return the maps of one image, without the batch axis."""
        return Maps(*(None if field is None else field[index] for field in self))


class FieldMaps(NamedTuple):
    """Output of a network with heatmaps and part-affinity fields (``PartAffinity``).

    P are the parts that it knows, which may be more than the keypoints that people get; L its limbs.

    Attributes:
        heat: (B, P + 1, h, w) heatmaps; the last is the background.
        field: (B, 2 L, h, w) unit vectors along the limbs, channels x and y of each.
    """

    heat: Any
    field: Any

    def image(self, index: int) -> FieldMaps:
        """Return the maps of one image, without the batch axis."""
        return FieldMaps(self.heat[index], self.field[index])


class FieldPeaks(NamedTuple):
    """Output of a network with heatmaps and part-affinity fields exported with ``decode="peaks"``.

    M candidates of each of P parts: local maxima (3 x 3) of its heatmap, highest first, padded with arbitrary pixels
    of score 0. L limbs.

    Attributes:
        part_scores: (B, P, M) float32, heatmap values.
        part_pixels: (B, P, M) int32, ``y * w + x``.
        part_cross: (B, P, M, 4) float32, the heatmap's values to the left, right, above and below.
        pair_scores: (B, L, M, M) float32, mean of the limb's field along the line from a candidate of its first part
            to one of its second.
        pair_shares: (B, L, M, M) float32, share of the points on the line where the field agrees with its direction.
    """

    part_scores: Any
    part_pixels: Any
    part_cross: Any
    pair_scores: Any
    pair_shares: Any

    def image(self, index: int) -> FieldPeaks:
        """Return the candidates of one image, without the batch axis."""
        return FieldPeaks(*(field[index] for field in self))


class OffsetMaps(NamedTuple):
    """Output of a network with heatmaps and offsets (``PersonLab``); K keypoints, E edges of the tree of keypoints.

    Attributes:
        heat: (B, K, h, w) logits: that a keypoint is near.
        short: (B, 2 K, h, w) offsets to that keypoint, px of the input, first all y, then all x.
        forward: (B, 2 E, h, w) offsets from an edge's parent to its child, likewise.
        backward: (B, 2 E, h, w) offsets from child to parent, likewise.
        long: (B, 2 K, h, w) offsets from any pixel of a person to its keypoints, or None.
    """

    heat: Any
    short: Any
    forward: Any
    backward: Any
    long: Any = None

    def image(self, index: int) -> OffsetMaps:
        """Return the maps of one image, without the batch axis."""
        return OffsetMaps(*(None if field is None else field[index] for field in self))


class PeoplePeaks(NamedTuple):
    """Output of a network with heatmaps and offsets exported with ``decode="peaks"``: a pose for each candidate.

    M candidates of each keypoint type: local maxima (3 x 3) of its heatmap, highest first, padded with arbitrary pixels
    of a very low logit.

    Attributes:
        root_logits: (B, K, M) float32, logits of the heatmap.
        root_poses: (B, K, M, K, 3) float32: y, x (input px) and probability of all keypoints of the person that each
            candidate belongs to.
    """

    root_logits: Any
    root_poses: Any

    def image(self, index: int) -> PeoplePeaks:
        """Return the candidates of one image, without the batch axis."""
        return PeoplePeaks(self.root_logits[index], self.root_poses[index])


class PeakMaps(NamedTuple):
    """Output of a network with heatmaps and tags exported with ``decode="peaks"``, under the same names.

    M candidates of each keypoint type: local maxima (3 x 3) of the finest heatmap, highest first, padded with
    arbitrary pixels of score 0. h and w are the sides of the coarsest maps; S is 2 with two levels, else 1.

    Attributes:
        peak_scores: (B, K, M) float32, heatmap values.
        peak_pixels: (B, K, M) int32, ``y * S * w + x`` on the finest heatmap (S h, S w).
        peak_cross: (B, K, M, 4) float32, finest heatmap's values to the left, right, above and below.
        peak_heat: (B, K, M, 9) float32, coarsest heatmap in the 3 x 3 window around (x // S, y // S), row by
            row, with replicated borders.
        peak_tags: (B, T, K, M, 9) float32, coarsest tags in the same window.
    """

    peak_scores: Any
    peak_pixels: Any
    peak_cross: Any
    peak_heat: Any
    peak_tags: Any

    def image(self, index: int) -> PeakMaps:
        """Return the candidates of one image, without the batch axis."""
        return PeakMaps(*(field[index] for field in self))


@dataclass
class People:
    """The people found in one image; N may be 0.

    Attributes:
        keypoints: (N, K, 2) float32, x and y in pixels, of the network's input (codec) or of the photo (model).
        keypoint_scores: (N, K) float32, heatmap value at each keypoint; 0 where none was found.
        scores: (N,) float32, score of each person, descending.
        tags: (N, T) float32 tag of each person, or None.
        filled: (N, K) bool, keypoints that no candidate supports and that were read from the heatmap instead; None if
            the codec does not tell.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    tags: Optional[np.ndarray] = None
    filled: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        n = len(self.keypoints)
        if self.keypoints.ndim != 3 or self.keypoints.shape[2] != 2:
            raise ValueError(f"keypoints have shape {self.keypoints.shape}, expected (N, K, 2)")
        if self.keypoint_scores.shape != self.keypoints.shape[:2] or self.scores.shape != (n,):
            raise ValueError(
                f"shapes do not match: keypoints {self.keypoints.shape}, keypoint_scores "
                f"{self.keypoint_scores.shape}, scores {self.scores.shape}"
            )

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def empty(cls, num_keypoints: int) -> People:
        """Return an empty result for a skeleton with ``num_keypoints`` keypoints."""
        return cls(
            np.zeros((0, num_keypoints, 2), np.float32),
            np.zeros((0, num_keypoints), np.float32),
            np.zeros((0,), np.float32),
        )

    def boxes(self) -> np.ndarray:
        """Return (N, 4) float32 xyxy boxes around each person's keypoints with a score above 0; zeros without any."""
        found = self.keypoint_scores > 0
        boxes = np.concatenate(extents(self.keypoints, found), axis=1).astype(np.float32)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)

    def to_fields(self) -> Dict[str, np.ndarray]:
        """Return the fields of ``pred_instances``: keypoints, keypoint_scores, bbox_scores, bboxes (N, 4) xyxy."""
        return {
            "keypoints": self.keypoints,
            "keypoint_scores": self.keypoint_scores,
            "bbox_scores": self.scores,
            "bboxes": self.boxes(),
        }

    def select(self, chosen: np.ndarray) -> People:
        """Return the people selected by an index array or a mask (N,)."""
        tags = None if self.tags is None else self.tags[chosen]
        filled = None if self.filled is None else self.filled[chosen]
        return People(self.keypoints[chosen], self.keypoint_scores[chosen], self.scores[chosen], tags, filled)

    def warped(self, warp: np.ndarray) -> People:
        """Return the same people with keypoints transformed by ``warp``, a (2, 3) affine matrix."""
        warp = np.asarray(warp, np.float64)
        if warp.shape != (2, 3):
            raise ValueError(f"warp has shape {warp.shape}, expected (2, 3)")
        moved = self.keypoints.astype(np.float64) @ warp[:, :2].T + warp[:, 2]
        return People(moved.astype(np.float32), self.keypoint_scores, self.scores, self.tags, self.filled)


def invert_warp(warp: np.ndarray) -> np.ndarray:
    """Return the inverse (2, 3) float64 matrix of an affine (2, 3) ``warp``.

    Raises:
        ValueError: The warp is not (2, 3) or cannot be inverted.
    """
    warp = np.asarray(warp, np.float64)
    if warp.shape != (2, 3):
        raise ValueError(f"warp has shape {warp.shape}, expected (2, 3)")
    determinant = np.linalg.det(warp[:, :2])
    if not np.isfinite(determinant) or abs(determinant) < 1e-12:
        raise ValueError(f"warp cannot be inverted: {warp.tolist()}")
    linear = np.linalg.inv(warp[:, :2])
    return np.hstack([linear, -linear @ warp[:, 2:]])
