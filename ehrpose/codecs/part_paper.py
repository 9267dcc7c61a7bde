"""Decoding of part-affinity fields as Lightweight OpenPose's code defines it (NumPy and OpenCV only).

Source: arXiv:1811.12004 and its code, which evaluates maps resized to the photo; here they have the input's size.
Axes: P parts, L limbs, M candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Set, Tuple

import cv2
import numpy as np

from ehrpose.codecs.part_layout import PartLayout
from ehrpose.codecs.part_settings import PartSettings
from ehrpose.structures import FieldMaps, People

# Keeps divisions by a length, or a count, of 0 finite.
_EPSILON = 1e-6


class Parts(NamedTuple):
    """Candidates, sorted by part.

    Attributes:
        xs, ys: (M,) int64 pixels.
        scores: (M,) float32 values of the heatmap.
        offsets: (P + 1,) int64; those of part p are ``offsets[p]:offsets[p + 1]``.
    """

    xs: np.ndarray
    ys: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray


@dataclass
class Entry:
    """A person while it is put together: the candidate of each part or -1, the sum of scores, the parts counted."""

    members: List[int]
    total: float
    count: int


def decode_paper(maps: FieldMaps, stride: int, layout: PartLayout, settings: PartSettings) -> People:
    """Find people in maps that are resized to the input's size first; positions are input px."""
    size_wh = (maps.heat.shape[2] * stride, maps.heat.shape[1] * stride)
    heat, field = (enlarged(maps_of, size_wh) for maps_of in (maps.heat[: len(layout.names)], maps.field))
    return find_people(heat, field, layout, settings)


def enlarged(maps: np.ndarray, size_wh: Tuple[int, int]) -> np.ndarray:
    """Return (C, h, w) maps resized to ``size_wh`` by OpenCV's bicubic interpolation."""
    return np.stack([cv2.resize(one, size_wh, interpolation=cv2.INTER_CUBIC) for one in maps])


def find_people(heat: np.ndarray, field: np.ndarray, layout: PartLayout, settings: PartSettings) -> People:
    """Find people in (P, H, W) heatmaps and (2 L, H, W) fields; positions are theirs, plus half a pixel."""
    parts = find_parts(heat, settings)
    entries: List[Entry] = []
    for limb, (a, b) in enumerate(layout.limbs):
        links = find_links(field, layout.channels[limb], parts, a, b, settings)
        if limb in layout.bridges:
            _bridge(entries, links, a, b)
        else:
            _extend(entries, links, a, b, parts, begin=limb == 0)
    kept = [
        entry for entry in entries
        if entry.count >= settings.min_parts and entry.total / entry.count >= settings.min_person_score
    ]  # fmt: skip
    return _people(kept, parts, layout)


def find_parts(heat: np.ndarray, settings: PartSettings) -> Parts:
    """Return the candidates: pixels above their four neighbours, of which the leftmost of a cluster stays."""
    xs, ys, scores, counts = [], [], [], []
    for one in heat:
        framed = np.pad(np.where(one < np.float32(settings.min_score), np.float32(0), one), 1)
        inner = framed[1:-1, 1:-1]
        is_peak = (inner > framed[1:-1, :-2]) & (inner > framed[1:-1, 2:])
        is_peak &= (inner > framed[:-2, 1:-1]) & (inner > framed[2:, 1:-1])
        y, x = np.nonzero(is_peak)
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
        kept = _leftmost(x, y, settings.peak_distance)
        xs.append(x[kept])
        ys.append(y[kept])
        scores.append(one[y[kept], x[kept]])
        counts.append(len(kept))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Parts(np.concatenate(xs), np.concatenate(ys), np.concatenate(scores), offsets)


def _leftmost(xs: np.ndarray, ys: np.ndarray, distance: float) -> np.ndarray:
    """Return the indices of peaks, sorted by x, that no kept earlier one is nearer to than ``distance``."""
    left = np.ones(len(xs), bool)
    kept = []
    for i in range(len(xs)):
        if left[i]:
            kept.append(i)
            left[i + 1 :] &= (xs[i + 1 :] - xs[i]) ** 2 + (ys[i + 1 :] - ys[i]) ** 2 >= distance**2
    return np.array(kept, np.int64)


def find_links(
    field: np.ndarray, channel: int, parts: Parts, a: int, b: int, settings: PartSettings
) -> List[Tuple[int, int, float]]:
    """Return the links of one limb: candidates of both ends and score, best first, each candidate at most once."""
    first, second = (np.arange(parts.offsets[p], parts.offsets[p + 1]) for p in (a, b))
    if not len(first) or not len(second):
        return []
    ends, starts = (grid.reshape(-1) for grid in np.meshgrid(second, first, indexing="ij"))
    x, y = parts.xs[starts].astype(np.float64), parts.ys[starts].astype(np.float64)
    dx, dy = parts.xs[ends] - x, parts.ys[ends] - y
    length = np.sqrt(dx**2 + dy**2) + _EPSILON
    sums, counts = np.zeros(len(x)), np.zeros(len(x), np.int64)
    for step in range(settings.num_samples):
        share = step / (settings.num_samples - 1)
        column, row = np.rint(x + share * dx).astype(np.int64), np.rint(y + share * dy).astype(np.int64)
        along = dx / length * field[channel, row, column] + dy / length * field[channel + 1, row, column]
        counted = along > settings.min_field
        sums += np.where(counted, along, 0)
        counts += counted
    scores = sums / (counts + _EPSILON)
    accepted = np.flatnonzero((scores > 0) & (counts / settings.num_samples > settings.min_share))
    accepted = accepted[np.argsort(scores[accepted], kind="stable")[::-1]]
    links: List[Tuple[int, int, float]] = []
    used: Set[int] = set()
    for start, end, score in zip(
        starts[accepted].tolist(), ends[accepted].tolist(), scores[accepted].tolist()
    ):
        if start not in used and end not in used:
            used.update((start, end))
            links.append((start, end, score))
    return links


def _extend(
    entries: List[Entry], links: List[Tuple[int, int, float]], a: int, b: int, parts: Parts, begin: bool
) -> None:
    """Add the links' ends to the people that have their starts, or begin people."""
    for start, end, score in links:
        owners = [] if begin else [entry for entry in entries if entry.members[a] == start]
        for entry in owners:
            entry.members[b] = end
            entry.total += float(parts.scores[end]) + score
            entry.count += 1
        if not owners:
            members = [-1] * (len(parts.offsets) - 1)
            members[a], members[b] = start, end
            entries.append(Entry(members, float(parts.scores[start]) + float(parts.scores[end]) + score, 2))


def _bridge(entries: List[Entry], links: List[Tuple[int, int, float]], a: int, b: int) -> None:
    """Complete people that have one end of a link and lack the other; nothing is counted."""
    for start, end, _ in links:
        for entry in entries:
            if entry.members[a] == start and entry.members[b] < 0:
                entry.members[b] = end
            elif entry.members[b] == end and entry.members[a] < 0:
                entry.members[a] = start


def _people(entries: List[Entry], parts: Parts, layout: PartLayout) -> People:
    """Return people, best score first; the score is the sum of all scores times the number of parts less one."""
    num_keypoints = len(layout.part_of)
    if not entries:
        return People.empty(num_keypoints)
    members = np.array([entry.members for entry in entries])[:, list(layout.part_of)]
    found = members >= 0
    places = np.stack([parts.xs, parts.ys], axis=1)[members] + 0.5
    scores = np.array([entry.total * max(0, entry.count - 1) for entry in entries], np.float32)
    best = np.argsort(-scores, kind="stable")
    return People(
        np.where(found[..., None], places, 0).astype(np.float32)[best],
        np.where(found, parts.scores[members], 0).astype(np.float32)[best],
        scores[best],
    )
