"""Options of decoding part-affinity fields: names, defaults, meanings and checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Tuple

from ehrpose.codecs.argument_checks import positive_int
from ehrpose.codecs.settings import checked_number, refuse_unknown


@dataclass(frozen=True)
class PartSettings:
    """Options of ``PartAffinity``; all are keys of ``codec`` in configs. The defaults are those of the authors.

    Attributes:
        min_score: Peaks of a heatmap below it (``paper``), or not above it (``fast``), are ignored.
        max_candidates: ``fast`` only: peaks of each part.
        peak_distance: ``paper`` only: a peak drops others of its part that are nearer than this, px of the input.
        num_samples: Points of the field between two candidates.
        min_field: A point counts if the field along the limb is above it there.
        min_share: Share of the points that must count; ``paper``: more than it, ``fast``: at least it.
        piece_distance: ``fast`` only: without the part with the most limbs, such as the neck, a person comes in pieces,
            which are joined if they are nearer than this multiple of the larger one's diagonal; 0: they stay apart.
        min_parts: People with fewer parts are dropped.
        min_person_score: People with a lower mean score of their parts (``paper``: and their limbs) are dropped.
    """

    min_score: float = 0.1
    max_candidates: int = 30
    peak_distance: float = 6.0
    num_samples: int = 10
    min_field: float = 0.05
    min_share: float = 0.8
    piece_distance: float = 0.5
    min_parts: int = 3
    min_person_score: float = 0.2

    @classmethod
    def from_options(cls, **options: Any) -> PartSettings:
        """Return the settings.

        Raises:
            TypeError: An option does not exist; the message names the nearest one.
            ValueError: A value is out of range; the message names the option and what was expected.
        """
        refuse_unknown(cls, options)
        return cls(**options)

    def __post_init__(self) -> None:
        for name in ("max_candidates", "num_samples", "min_parts"):
            object.__setattr__(self, name, positive_int(getattr(self, name), name))
        if self.num_samples < 2:
            raise ValueError(f"num_samples: expected a whole number of at least 2, got {self.num_samples}")
        for name, (expected, is_valid) in _NUMBERS.items():
            object.__setattr__(self, name, checked_number(getattr(self, name), name, expected, is_valid))


_NUMBERS: Dict[str, Tuple[str, Callable[[float], bool]]] = {
    "min_score": ("a finite number", math.isfinite),
    "peak_distance": ("a number of at least 0", lambda value: value >= 0),
    "min_field": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "min_share": ("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "piece_distance": ("a finite number of at least 0", lambda value: 0 <= value < math.inf),
    "min_person_score": ("a finite number", math.isfinite),
}
