"""Values of JSON files of labels: which are numbers, and how they are shown in errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

# Limit of coordinates, px, and areas, px^2: beyond it float32 is no longer useful.
_LIMIT = 1e12
_NUMBERS = frozenset((int, float))


def shown(value: Any) -> str:
    """Return a value as it stands in the JSON file, shortened to about 60 characters."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number and not a truth value."""
    return type(value) in _NUMBERS or (isinstance(value, Real) and not isinstance(value, (bool, np.bool_)))


def are_finite(values: Sequence[Any]) -> bool:
    """Return whether all values are numbers of a size that a photo can have."""
    if not _NUMBERS.issuperset(map(type, values)) and not all(map(is_number, values)):
        return False
    return not len(values) or (
        min(values) >= -_LIMIT and max(values) <= _LIMIT and math.isfinite(sum(values))
    )
