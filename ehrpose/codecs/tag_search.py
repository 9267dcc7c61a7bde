"""Filling in missing keypoints at the resolution of the network input, without full scans.

For a person and a type, find the pixel of highest ``heat - round(tag distance)``. Bounds of heat and tags in blocks
of 4 x 4 pixels leave few blocks that can contain it. Axes: K types, T tag length, S blocks of a type, F searches.
"""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.codecs.heatmap import highest_first
from ehrpose.codecs.upsampling import BLOCK, ROUNDING, UpsampledMaps

# Searches at a time; limits the memory.
BATCH = 128
# Blocks of a search that are computed first; the bounds of the others are compared with the best pixel found.
FEW = 64


def find_upsampled_by_tag(
    heat: UpsampledMaps, tags: UpsampledMaps, types: np.ndarray, person_tags: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Return y and x of the highest ``heat - round(tag distance)`` of each (person, type), first on a tie.

    Args:
        heat: Heatmaps of K types.
        tags: T * K channels, channel ``t * K + k``.
        types: (F,) type of each search.
        person_tags: (F, T).
    """
    compiled = kernel("best_by_tag")
    if compiled is not None and heat.is_compiled:
        found = compiled(*heat.arrays(), tags.arrays()[0], types, person_tags)
        return np.asarray(found[0]), np.asarray(found[1])
    search = _Search(heat, tags, person_tags.shape[1])
    batches = [slice(start, start + BATCH) for start in range(0, len(types), BATCH)]
    results = [search.run(types[batch], person_tags[batch]) for batch in batches]
    ys, xs = (np.concatenate(arrays) for arrays in zip(*results))
    return ys, xs


class _Search:
    """Bounds and one sample of each block, shared by all searches."""

    def __init__(self, heat: UpsampledMaps, tags: UpsampledMaps, num_tags: int):
        self.heat, self.tags = heat, tags
        shape = num_tags, heat.channels, heat.height * heat.width
        self.high, self.some = heat.bounds().reshape(shape[1:]), heat.samples().reshape(shape[1:])
        self.tag_low, self.tag_high = tags.bounds(lower=True).reshape(shape), tags.bounds().reshape(shape)
        self.some_tags = tags.samples().reshape(shape)
        # Allowance for rounding, as bounds are float32 means.
        self.margin = np.float32(2 * ROUNDING * max(float(np.abs(self.high).max(initial=0)), 1.0))

    def run(self, types: np.ndarray, person_tags: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        search, block, reach = self._candidates(types, person_tags)
        starts = np.searchsorted(search, np.arange(len(types) + 1))
        few = np.ones(len(search), bool)
        for row in np.flatnonzero(np.diff(starts) > FEW).tolist():
            part = slice(starts[row], starts[row + 1])
            few[part] = False
            few[starts[row] + highest_first(reach[part], FEW)] = True
        best, y, x = self._best_pixels(types, person_tags, search[few], block[few])
        # The other blocks that may contain a higher pixel, or an equal one that comes first.
        block_y, block_x = np.divmod(block, self.heat.width)
        width = BLOCK * self.heat.width
        before = BLOCK * (block_y * width + block_x) < (y * width + x)[search]
        rest = ~few & ((reach > best[search]) | ((reach == best[search]) & before))
        again, row = np.unique(search[rest], return_inverse=True)
        if len(again):
            found = self._best_pixels(types[again], person_tags[again], row, block[rest])
            for n, value, to_y, to_x in zip(again.tolist(), *found):
                if (-value, to_y, to_x) < (-best[n], y[n], x[n]):
                    y[n], x[n] = to_y, to_x
        return y, x

    def _candidates(
        self, types: np.ndarray, person_tags: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return search (ascending), block and highest possible value of all blocks that may contain the answer."""
        slack = 1e-5 * (1 + np.abs(person_tags).max(initial=0))
        blocks: List[np.ndarray] = []
        costs: List[np.ndarray] = []
        for k, tag in zip(types.tolist(), person_tags):
            # The best pixel is at least as high as the best sample; slack makes this safe.
            reached = self.some[k] - np.rint(_distance(self.some_tags[:, k], tag) + np.float32(slack))
            cost = np.rint(_least_distance(self.tag_low[:, k], self.tag_high[:, k], tag, slack))
            blocks.append(np.flatnonzero(self.high[k] - cost >= reached.max() - self.margin))
            costs.append(cost[blocks[-1]])
        search = np.repeat(np.arange(len(types)), [len(block) for block in blocks])
        block, cost = np.concatenate(blocks), np.concatenate(costs)
        # Many searches share few blocks: exact maxima of these replace the bounds.
        at = types[search] * self.high.shape[1] + block
        met = np.zeros(self.high.size, bool)
        met[at] = True
        met = np.flatnonzero(met)
        k, inside = np.divmod(met, self.high.shape[1])
        highest = np.zeros(self.high.size)
        highest[met] = self.heat.blocks(k, *np.divmod(inside, self.heat.width)).max(axis=(0, 1))
        return search, block, highest[at] - cost

    def _best_pixels(
        self, types: np.ndarray, person_tags: np.ndarray, search: np.ndarray, block: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return value, y and x of the best pixel of each search in its blocks; ``search`` is ascending."""
        ys, xs = np.divmod(block, self.heat.width)
        k = types[search]
        squares = np.zeros((BLOCK, BLOCK, len(block)))
        for t in range(person_tags.shape[1]):
            difference = self.tags.blocks(t * self.heat.channels + k, ys, xs) - person_tags[search, t]
            squares += difference**2
        value = self.heat.blocks(k, ys, xs) - np.round(np.sqrt(squares))
        starts = np.searchsorted(search, np.arange(len(types)))
        best = np.maximum.reduceat(value.max(axis=(0, 1)), starts)
        inside_y, inside_x, tied = np.nonzero(value == best[search])
        y, x = BLOCK * ys[tied] + inside_y, BLOCK * xs[tied] + inside_x
        order = np.lexsort((x, y, search[tied]))
        first = order[np.searchsorted(search[tied][order], np.arange(len(types)))]
        return best, y[first], x[first]


def _distance(tags: np.ndarray, tag: np.ndarray) -> np.ndarray:
    """Return (S,) float32 distances of ``tag`` (T,) from ``tags`` (T, S)."""
    if len(tag) == 1:
        return np.asarray(np.abs(tags[0] - np.float32(tag[0])))
    return np.sqrt(np.sum([(tags[t] - np.float32(tag[t])) ** 2 for t in range(len(tag))], axis=0))


def _least_distance(low: np.ndarray, high: np.ndarray, tag: np.ndarray, slack: float) -> np.ndarray:
    """Return (S,) minimum distances of ``tag`` (T,) from boxes ``low`` to ``high``, (T, S)."""
    outside = [
        np.maximum(np.maximum(low[t] - np.float32(tag[t] + slack), np.float32(tag[t] - slack) - high[t]), 0)
        for t in range(len(tag))
    ]
    if len(outside) == 1:
        return outside[0]
    squares = np.sum([distance * distance for distance in outside], axis=0)
    return np.maximum(np.sqrt(squares) - np.float32(slack), 0)
