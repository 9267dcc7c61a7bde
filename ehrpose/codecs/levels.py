"""The levels of a network's maps: which there are, and all of them as one."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

from ehrpose.codecs.heatmap import resize_maps
from ehrpose.structures import Maps


def coarsest(maps: Maps) -> Tuple[np.ndarray, np.ndarray]:
    """Return the heatmaps and the tags of the coarsest level, those that decoding uses."""
    return (maps.heat2, maps.tag2) if maps.heat4 is None else (maps.heat4, maps.tag4)


def heat_levels(maps: Maps) -> List[np.ndarray]:
    """Return the heatmaps of each level, the coarsest first."""
    return [level for level in (maps.heat4, maps.heat2) if level is not None]


def at_finest(maps: Maps, align_corners: bool) -> Maps:
    """Return the maps as one level at the finest stride: the mean of the heatmaps and the coarsest level's tags.

    It is the first step of the resizing in HigherHRNet's code, arXiv:1908.10357.
    """
    if maps.heat4 is None or maps.heat2 is None:
        return maps
    size_wh = (maps.heat2.shape[2], maps.heat2.shape[1])
    heat = mean([resize_maps(maps.heat4, size_wh, align_corners), maps.heat2])
    return Maps(heat2=heat, tag2=resize_maps(maps.tag4, size_wh, align_corners))


def mean(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of maps of one size, float32."""
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32))
