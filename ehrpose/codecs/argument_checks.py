"""Checks of what a codec is given."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.structures import Maps


def checked_maps(names: Sequence[str], num_keypoints: int, maps: Maps) -> Maps:
    """Return the maps called ``names`` as float32 arrays; maps of other names come back as None.

    Raises:
        ValueError: A map is missing, has a wrong shape, or holds NaN or infinity.
    """
    k = num_keypoints
    arrays = {name: np.asarray(getattr(maps, name), np.float32) for name in names
              if getattr(maps, name) is not None}  # fmt: skip
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"this codec wants the maps {tuple(names)}; missing are {missing}")
    height, width = arrays["heat4"].shape[-2:]
    for name, array in arrays.items():
        factor = 4 // int(name[-1])
        channels_fit = array.shape[0] == k if name.startswith("heat") else array.shape[0] % k == 0
        if array.ndim != 3 or not channels_fit or array.shape[1:] != (height * factor, width * factor):
            raise ValueError(
                f"{name} has shape {array.shape}, wanted ({k}{' * T' if name.startswith('tag') else ''}, "
                f"{height * factor}, {width * factor})"
            )
        if not all_finite(array):
            raise ValueError(f"{name} holds NaN or infinity: the network's output is broken")
    return Maps(**{name: arrays.get(name) for name in Maps._fields})


def all_finite(array: np.ndarray) -> bool:
    """Whether a float32 array of any shape holds neither NaN nor infinity."""
    compiled = kernel("all_finite")
    if compiled is not None:
        return bool(compiled(np.ascontiguousarray(array).reshape(-1).view(np.int32)))
    # A sum costs half of a look at each value; one that overflows is no proof.
    return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def positive_int(value: int, name: str) -> int:
    """Return ``value`` as an int.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
