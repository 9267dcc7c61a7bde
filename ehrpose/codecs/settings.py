"""What decoding needs to know: thresholds and options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding needs to know; see ``AssociativeEmbedding`` for the meanings."""

    order: Tuple[int, ...]
    unbiased: bool
    max_candidates: int
    min_score: float
    max_tag_dist: float
    fill_missing: bool
    sigmas: np.ndarray
    min_keypoints: int = 1
    max_spread: Optional[float] = None
    nms_oks: Optional[float] = None
    place_weight: float = 0.0
    score_power: float = 1.0
    score_size: float = 0.0
    pair_ratio: Optional[float] = None
    limb_weight: float = 0.0
    paired_limbs: Tuple[Tuple[int, int, int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.max_spread is not None and self.max_spread <= 1:
            raise ValueError(f"max_spread must be over 1 (or None), got {self.max_spread}")
        if self.nms_oks is not None and not 0 <= self.nms_oks <= 1:
            raise ValueError(f"nms_oks must lie in 0 to 1 (or be None), got {self.nms_oks}")
        if self.pair_ratio is not None and not 0 <= self.pair_ratio <= 1:
            raise ValueError(f"pair_ratio must lie in 0 to 1 (or be None), got {self.pair_ratio}")
        for name in ("place_weight", "score_size", "limb_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.score_power < math.inf:
            raise ValueError(f"score_power must be positive, got {self.score_power}")
