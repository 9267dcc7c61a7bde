"""Decoding of part-affinity fields in ``fast`` mode, from whole maps or from candidates found in the network.

Nothing is resized: peaks are those of the maps as they are, moved by a parabola through the logarithms, and fields are
read bilinearly. The links of all limbs together are accepted from the best on; one joins two candidates, or all that
has been joined to them, unless that would give a person two candidates of one part. Then pieces of people without a
neck, or another hub, are joined by their places.

Axes: P parts, L limbs, M candidates of all parts, Q pairs of candidates. Positions are map px until the end.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.codecs.heatmap import Peaks, distinct_peaks, find_peaks, parabola_of_cross, parabola_peak
from ehrpose.codecs.part_layout import PartLayout
from ehrpose.codecs.part_settings import PartSettings
from ehrpose.structures import FieldMaps, FieldPeaks, People

# Of a direction, where both candidates are at one place.
_EPSILON = 1e-6


class Pairs(NamedTuple):
    """Pairs of candidates of the two ends of each limb, by limb, first candidate and second candidate.

    Attributes:
        limbs: (Q,) int64.
        starts, ends: (Q,) int64, index of each candidate.
    """

    limbs: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def decode_fast(maps: FieldMaps, stride: int, layout: PartLayout, settings: PartSettings) -> People:
    """Find people in maps; positions are input px."""
    num_parts = len(layout.names)
    heat = maps.heat[:num_parts]
    found = find_peaks(heat, 3, settings.min_score, settings.max_candidates)
    kept = distinct_peaks(found.types, found.ys, found.xs, found.scores)
    found = _selected(found, kept, num_parts)
    positions = parabola_peak(heat, found.types, found.ys, found.xs)
    pairs = pairs_of(found.offsets, layout)
    channels = np.asarray(layout.channels, np.int64)
    compiled = kernel("score_pairs", "part_kernels")
    score = _score_pairs if compiled is None else compiled
    scores, shares = score(
        maps.field, channels, positions, *pairs, _points(settings.num_samples), settings.min_field,
        settings.min_share,
    )  # fmt: skip
    return _people(found, positions, pairs, scores, shares, stride, layout, settings)


def decode_peaks(
    peaks: FieldPeaks, map_wh: Tuple[int, int], stride: int, layout: PartLayout, settings: PartSettings
) -> People:
    """Find people among candidates of one image; positions are input px."""
    num_parts = len(layout.names)
    types, ranks = np.nonzero(peaks.part_scores > np.float32(settings.min_score))
    # A top-k does not define the order of equal values: sort them in raster order, as for whole maps.
    order = np.lexsort((peaks.part_pixels[types, ranks], -peaks.part_scores[types, ranks], types))
    types, ranks = types[order], ranks[order]
    kept = np.arange(len(types)) - np.searchsorted(types, types) < settings.max_candidates
    types, ranks = types[kept], ranks[kept]
    ys, xs = np.divmod(peaks.part_pixels[types, ranks], map_wh[0])
    kept = distinct_peaks(types, ys, xs, peaks.part_scores[types, ranks])
    types, ranks, ys, xs = types[kept], ranks[kept], ys[kept], xs[kept]
    counts = np.bincount(types, minlength=num_parts)
    scores = peaks.part_scores[types, ranks]
    found = Peaks(types, ys, xs, scores, np.concatenate([[0], np.cumsum(counts)]))
    cross = np.concatenate([scores[None], peaks.part_cross[types, ranks].T])
    positions = parabola_of_cross(cross, ys, xs, map_wh)
    pairs = pairs_of(found.offsets, layout)
    at = pairs.limbs, ranks[pairs.starts], ranks[pairs.ends]
    pair_scores, shares = (field[at].astype(np.float64) for field in (peaks.pair_scores, peaks.pair_shares))
    return _people(found, positions, pairs, pair_scores, shares, stride, layout, settings)


def _selected(found: Peaks, kept: np.ndarray, num_parts: int) -> Peaks:
    if len(kept) == len(found.types):
        return found
    types = found.types[kept]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(types, minlength=num_parts))])
    return Peaks(types, found.ys[kept], found.xs[kept], found.scores[kept], offsets)


def pairs_of(offsets: np.ndarray, layout: PartLayout) -> Pairs:
    """Return all pairs of candidates that a limb might join; those of part p are ``offsets[p]:offsets[p + 1]``."""
    counts = np.diff(offsets)
    first, second = np.array(layout.limbs, np.int64).T
    sizes = counts[first] * counts[second]
    limbs = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(limbs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    start, end = np.divmod(place, np.maximum(counts[second], 1)[limbs])
    return Pairs(limbs, offsets[first][limbs] + start, offsets[second][limbs] + end)


def _points(num_samples: int) -> np.ndarray:
    """Return places on a line, 0 to 1, from the middle outwards: there most wrong pairs show first that they are."""
    steps = np.arange(num_samples)
    return steps[np.argsort(np.abs(2 * steps - (num_samples - 1)), kind="stable")] / (num_samples - 1)


def _score_pairs(
    field: np.ndarray,
    channels: np.ndarray,
    positions: np.ndarray,
    limbs: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    points: np.ndarray,
    min_field: float,
    min_share: float,
) -> Tuple[np.ndarray, np.ndarray]:
    """Return how well the field along each pair agrees with its direction.

    Args:
        field: (2 L, h, w) float32.
        channels: (L,) channel of each limb's x component.
        positions: (M, 2) float64 x, y of the candidates.
        limbs: (Q,) limb of each pair, as in ``Pairs``.
        starts: (Q,) first candidate of each pair.
        ends: (Q,) second candidate of each pair.
        points: (S,) places on the line of a pair, 0 to 1.
        min_field: Points above it count.
        min_share: Pairs of which a smaller share counts get the score and share 0.

    Returns:
        (Q,) float64 mean of the field along the direction of the pair, and (Q,) float64 share of the points that count.
    """
    height, width = field.shape[1:]
    first = positions[starts]
    way = positions[ends] - first
    length = np.sqrt(way[:, 0] * way[:, 0] + way[:, 1] * way[:, 1]) + _EPSILON
    ux, uy = way[:, 0] / length, way[:, 1] / length
    plane = channels[limbs] * (height * width)
    flat = field.reshape(-1)
    sums, counts = np.zeros(len(limbs)), np.zeros(len(limbs))
    for share in points:
        x = np.minimum(np.maximum(first[:, 0] + share * way[:, 0], 0.0), width - 1.0)
        y = np.minimum(np.maximum(first[:, 1] + share * way[:, 1], 0.0), height - 1.0)
        x0, y0 = x.astype(np.int64), y.astype(np.int64)
        fx, fy = x - x0, y - y0
        at = plane + y0 * width + x0
        right, below = at + (x0 < width - 1), width * (y0 < height - 1)
        along = np.zeros(len(limbs))
        for component, unit in ((0, ux), (height * width, uy)):
            top = flat[at + component] * (1.0 - fx) + flat[right + component] * fx
            bottom = flat[at + below + component] * (1.0 - fx) + flat[right + below + component] * fx
            along = along + (top * (1.0 - fy) + bottom * fy) * unit
        sums += along
        counts += along > min_field
    shares = counts / len(points)
    kept = shares >= min_share
    return np.where(kept, sums / len(points), 0.0), np.where(kept, shares, 0.0)


def _join(
    starts: np.ndarray, ends: np.ndarray, types: np.ndarray, num_parts: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Join candidates by links, best first.

    Args:
        starts: (Q,) first candidate of each link.
        ends: (Q,) second candidate of each link.
        types: (M,) part of each candidate.
        num_parts: P.

    Returns:
        (M,) person of each candidate, or -1, and (Q,) whether a link joined two candidates of one person.
    """
    owner = np.full(len(types), -1, np.int64)
    used = np.zeros(len(starts), bool)
    has = np.zeros((0, num_parts), bool)
    for link, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        for candidate in (start, end):
            if owner[candidate] < 0:
                owner[candidate] = len(has)
                has = np.concatenate([has, np.arange(num_parts)[None] == types[candidate]])
        one, other = owner[start], owner[end]
        if one == other:
            used[link] = True
        elif not (has[one] & has[other]).any():
            has[one] |= has[other]
            has[other] = False
            owner[owner == other] = one
            used[link] = True
    return owner, used


def _join_pieces(
    owner: np.ndarray, positions: np.ndarray, types: np.ndarray, layout: PartLayout, reach: float
) -> np.ndarray:
    """Join people that both lack the hub and have no part in common, nearest first; see ``piece_distance``.

    Args:
        owner: (M,) person of each candidate, or -1.
        positions: (M, 2).
        types: (M,) part of each candidate.
        layout: Parts and limbs.
        reach: Largest distance, as a multiple of the diagonal of the larger piece.

    Returns:
        (M,) person of each candidate.
    """
    pieces = np.setdiff1d(owner[owner >= 0], owner[types == layout.hub])
    if len(pieces) < 2:
        return owner
    members = np.flatnonzero(np.isin(owner, pieces))
    members = members[np.argsort(owner[members], kind="stable")]
    piece, places = np.searchsorted(pieces, owner[members]), positions[members]
    starts = np.searchsorted(piece, np.arange(len(pieces)))
    squares = (places[:, None, 0] - places[:, 0]) ** 2 + (places[:, None, 1] - places[:, 1]) ** 2
    nearest = np.minimum.reduceat(np.minimum.reduceat(squares, starts, axis=0), starts, axis=1)
    extent = np.maximum.reduceat(places, starts) - np.minimum.reduceat(places, starts)
    diagonal = np.sqrt((extent**2).sum(axis=1))
    ratio = np.sqrt(nearest) / (np.maximum(diagonal[:, None], diagonal) + _EPSILON)
    first, second = np.nonzero(np.triu(ratio < reach, 1))
    order = np.argsort(ratio[first, second], kind="stable")
    has = np.zeros((len(pieces), len(layout.names)), bool)
    has[piece, types[members]] = True
    joined = np.arange(len(pieces))
    for i, j in zip(first[order].tolist(), second[order].tolist()):
        one, other = joined[i], joined[j]
        if one != other and not (has[one] & has[other]).any():
            has[one] |= has[other]
            joined[joined == other] = one
    owner = owner.copy()
    owner[members] = pieces[joined[piece]]
    return owner


def _people(
    found: Peaks,
    positions: np.ndarray,
    pairs: Pairs,
    scores: np.ndarray,
    shares: np.ndarray,
    stride: int,
    layout: PartLayout,
    settings: PartSettings,
) -> People:
    """Return the people that the links of at least ``min_share`` and a positive score join, best score first."""
    num_parts, part_of = len(layout.names), np.array(layout.part_of)
    links = np.flatnonzero((shares >= settings.min_share) & (scores > 0))
    # A link between weak candidates, such as noise, comes late.
    heat = found.scores.astype(np.float64)
    worth = scores[links] * np.sqrt(heat[pairs.starts[links]] * heat[pairs.ends[links]])
    links = links[np.argsort(-worth, kind="stable")]
    compiled = kernel("join", "part_kernels")
    join = _join if compiled is None else compiled
    owner, _ = join(pairs.starts[links], pairs.ends[links], found.types, num_parts)
    if settings.piece_distance > 0:
        owner = _join_pieces(owner, positions, found.types, layout, settings.piece_distance)
    numbers, person = np.unique(owner[owner >= 0], return_inverse=True)
    members = np.full((len(numbers), num_parts), -1, np.int64)
    joined = np.flatnonzero(owner >= 0)
    members[person.reshape(-1), found.types[joined]] = joined
    has = members >= 0
    count = has.sum(axis=1)
    part_scores = np.where(has, np.append(found.scores, 0)[members], 0)
    mean = part_scores.sum(axis=1) / np.maximum(count, 1)
    kept = (count >= settings.min_parts) & (mean >= settings.min_person_score)
    members, has, part_scores = members[kept][:, part_of], has[kept][:, part_of], part_scores[kept]
    places = np.append(positions, [[0.0, 0.0]], axis=0)[members] * stride + (stride - 1) / 2
    total = (part_scores.sum(axis=1) / num_parts).astype(np.float32)
    best = np.argsort(-total, kind="stable")
    keypoints = np.where(has[..., None], places, 0).astype(np.float32)
    return People(keypoints[best], part_scores[:, part_of][best].astype(np.float32), total[best])
