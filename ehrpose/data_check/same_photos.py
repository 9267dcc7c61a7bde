"""Photos that are there twice, also resized or compressed again.

Each photo has a difference hash of 2 x 64 bits: whether a cell of a 9 x 8 and of an 8 x 9 picture is brighter than its
neighbour. Pairs that differ in few bits are compared as small grey pictures; only those that agree there are findings.
"""

from __future__ import annotations

from typing import Iterator, List, Sequence, Tuple

import cv2
import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.photo_scan import PhotoFacts

WITHIN, LEAKED = "duplicate-photo", "leaked-photo"
# Bits of 128 that may differ; the least correlation, and the largest mean difference of grey levels, of small pictures.
_BITS, _CORRELATION, _DIFFERENCE = 16, 0.93, 12.0
# Photos with less contrast, grey levels, have no hash that means something.
_CONTRAST = 4.0
_ROWS = 2048


def find_leaked_photos(labels: DataLabels, facts: Sequence[PhotoFacts]) -> List[Finding]:
    """Return photos that equal one of an earlier split."""
    return [
        Finding(
            LEAKED,
            "error",
            b,
            f"the same picture as {labels.photos[a].name} of {labels.photos[a].split}",
            r,
            other=a,
        )
        for a, b, r in same_pairs(facts)
        if labels.photos[a].split != labels.photos[b].split
    ]


def find_duplicate_photos(labels: DataLabels, facts: Sequence[PhotoFacts]) -> List[Finding]:
    """Return photos that equal an earlier one of their split."""
    return [
        Finding(WITHIN, "warning", b, f"the same picture as {labels.photos[a].name}", r, other=a)
        for a, b, r in same_pairs(facts)
        if labels.photos[a].split == labels.photos[b].split
    ]


def same_pairs(facts: Sequence[PhotoFacts]) -> List[Tuple[int, int, float]]:
    """Return (first, second, correlation) of the same photos, each second with the earliest of its like."""
    usable = [(i, each.small) for i, each in enumerate(facts) if each.small is not None]
    usable = [(i, small) for i, small in usable if small.std() >= _CONTRAST]
    if not usable:
        return []
    index, small = zip(*usable)
    pairs: List[Tuple[int, int, float]] = []
    seen = set()
    for a, b in _near(np.stack([_signs(each) for each in small])):
        if b in seen:
            continue
        one, two = small[a].ravel(), small[b].ravel()
        alike = float(np.corrcoef(one, two)[0, 1])
        if alike >= _CORRELATION and np.abs(one - two).mean() <= _DIFFERENCE:
            seen.add(b)
            pairs.append((index[a], index[b], alike))
    return pairs


def _signs(small: np.ndarray) -> np.ndarray:
    """Return the (128,) float32 bits of a picture, as -1 and 1."""
    across = np.diff(cv2.resize(small, (9, 8), interpolation=cv2.INTER_AREA), axis=1)
    down = np.diff(cv2.resize(small, (8, 9), interpolation=cv2.INTER_AREA), axis=0)
    return np.where(np.concatenate([across.ravel(), down.ravel()]) > 0, 1, -1).astype(np.float32)


def _near(signs: np.ndarray) -> Iterator[Tuple[int, int]]:
    """Yield the pairs of rows (a < b) that differ in few bits, by b and then a."""
    least = signs.shape[1] - 2 * _BITS
    for start in range(0, len(signs), _ROWS):
        block = signs[start : start + _ROWS]
        later, earlier = np.nonzero(block @ signs[: start + len(block)].T >= least)
        for b, a in zip((later + start).tolist(), earlier.tolist()):
            if a < b:
                yield a, b
