"""Weights as float16, for files of half the size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def halved(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return float tensors as float16, except running variances, which would lose precision if small.

    Raises:
        ValueError: A value is too large for float16.
    """
    result = {
        name: t.half() if t.is_floating_point() and not name.endswith("running_var") else t
        for name, t in tensors.items()
    }
    bad = [name for name, t in result.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if bad:
        raise ValueError(f"{bad[0]} has values beyond float16's 65504 ({len(bad)} such tensors)")
    return result
