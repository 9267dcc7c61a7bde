"""Options of decoding heatmaps and offsets: names, defaults, meanings and checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.codecs.settings import checked_number, refuse_unknown


@dataclass(frozen=True)
class OffsetSettings:
    """Options of ``PersonLab``; all are keys of ``codec`` in configs.

    Attributes:
        min_score: People grow from local maxima (3 x 3) of a heatmap with at least this probability, 0 to 1.
        max_people: Most people in an image.
        max_candidates: ``fast`` only: local maxima of each keypoint type.
        nms_radius: Where a better person has the same keypoint within this distance, input px, no person grows, and
            the keypoint does not count for a person's score.
        refine_steps: Times that a keypoint's position is refined with the short offset found there.
        hough: ``paper`` only: people grow from maxima of Hough score maps, as in PersonLab, to which each position of
            the heatmap gives its probability where its short offset points; PoseNet does without.
        score_power: ``fast`` only: a person's score is the power mean of its keypoints' probabilities; 1 is the mean,
            2 the root mean square.
        score_size: ``fast`` only: the score is multiplied by this power of the person's size relative to the input;
            0: size does not count.
        nms_oks: ``fast`` only: of two people with a higher OKS, the one with the lower score is dropped; None: both are
            kept.
    """

    min_score: float = 0.05
    max_people: int = 30
    max_candidates: int = 30
    nms_radius: float = 20.0
    refine_steps: int = 2
    hough: bool = False
    score_power: float = 2.0
    score_size: float = 0.25
    nms_oks: Optional[float] = None

    @classmethod
    def from_options(cls, **options: Any) -> OffsetSettings:
        """Return the settings.

        Raises:
            TypeError: An option does not exist; the message names the nearest one.
            ValueError: A value is out of range; the message names the option and what was expected.
        """
        refuse_unknown(cls, options)
        return cls(**options)

    def __post_init__(self) -> None:
        for name in ("max_people", "max_candidates"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        for name, (expected, is_valid) in _NUMBERS.items():
            object.__setattr__(self, name, checked_number(getattr(self, name), name, expected, is_valid))
        object.__setattr__(self, "refine_steps", int(self.refine_steps))
        object.__setattr__(self, "hough", bool(self.hough))


# Allowed values of each option; where the text ends in "or None", None too.
_NUMBERS: Dict[str, Tuple[str, Callable[[float], bool]]] = {
    "min_score": ("a number above 0 and below 1", lambda value: 0 < value < 1),
    "nms_radius": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "refine_steps": ("a whole number from 0 to 20", lambda value: value in range(21)),
    "score_power": ("a finite number above 0", lambda value: 0 < value < math.inf),
    "score_size": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "nms_oks": ("a number from 0 to 1, or None", lambda value: 0 <= value <= 1),
}
