"""``fast`` decoding: at the resolution of the finest level, with sub-pixel positions.

Axes: K keypoint types, T tag length, N people, M candidates of a type.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.codecs.assembly import fill, people_of
from ehrpose.codecs.grouping import Groups
from ehrpose.codecs.heatmap import Peaks, coarsest, distinct_peaks, find_peaks, parabola_peak, sample_bilinear
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.structures import Maps, People

# A missing keypoint is searched for around the person's other ones: within this multiple of their extent, and at
# least within this fraction of the map.
FILL_REACH = 3.0
FILL_LEAST = 0.2
# Pixels that NumPy searches together: so many stay in the processor's cache.
TOGETHER = 2**17


def decode_fast(maps: Maps, input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode at the resolution of the finest level with sub-pixel positions; no map is resized.

    Peaks come from the finest heatmap; their scores are averaged with the coarser level's, interpolated bilinearly
    at the peak; their tags are those of the nearest pixel.
    """
    coarse, tags = coarsest(maps)
    fine = coarse if maps.heat2 is None else maps.heat2
    on_fine, on_coarse = (
        geometry(input_wh, (m.shape[2], m.shape[1]), settings.unbiased, settings.cell_offset)
        for m in (fine, coarse)
    )
    tags = tags.reshape(-1, len(coarse), *coarse.shape[1:])

    peaks = without_copies(find_peaks(fine, 3, settings.min_score, settings.max_candidates))
    positions = on_fine.to_input(parabola_peak(fine, peaks.types, peaks.ys, peaks.xs))
    at_coarse = on_coarse.to_map(positions)
    scores = peaks.scores
    if fine is not coarse:
        scores = 0.5 * (scores + sample_bilinear(coarse, peaks.types, at_coarse))
    # Training supervises a tag at one pixel only: the nearest pixel is better than a mix of neighbours.
    nearest = on_coarse.nearest_pixels(at_coarse)
    peak_tags = tags[:, peaks.types, nearest[:, 1], nearest[:, 0]].T

    def complete(people: People, groups: Groups) -> None:
        owners, types, ys, xs = fill_nearby(coarse, tags, groups, nearest, peaks.offsets)
        start = on_fine.to_map(on_coarse.to_input(np.array([xs, ys]).T))
        fine_ys, fine_xs = _climb(fine, types, start)
        filled = on_fine.to_input(parabola_peak(fine, types, fine_ys, fine_xs))
        fill(people, owners, types, filled, coarse[types, ys, xs])

    return people_of(
        peaks, positions, scores, peak_tags, input_wh, settings, complete if settings.fill_missing else None
    )


def without_copies(peaks: Peaks) -> Peaks:
    """Return the peaks with one for each flat top; see ``distinct_peaks``."""
    kept = distinct_peaks(*peaks[:4])
    if len(kept) == len(peaks.types):
        return peaks
    # Types ascend, so each ends where those kept up to its old end do.
    types, ys, xs, scores = (field[kept] for field in peaks[:4])
    return Peaks(types, ys, xs, scores, np.searchsorted(kept, peaks.offsets))


def _climb(
    heatmaps: np.ndarray, types: np.ndarray, start: np.ndarray, reach: float = 1.5
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the highest pixel within ``reach`` of each (M, 2) x, y start position, as y and x."""
    height, width = heatmaps.shape[1:]
    # Start positions are multiples of 0.5: the window of whole pixels around them is symmetric, as mirroring needs.
    steps = np.arange(int(2 * reach) + 1)
    low = np.ceil(start - reach - 1e-6).astype(np.int64)[..., None]
    high = np.floor(start + reach + 1e-6).astype(np.int64)[..., None]
    at = np.minimum(np.maximum(np.minimum(low + steps, high), 0), [[width - 1], [height - 1]])
    xs, ys = at[:, 0], at[:, 1]
    window = heatmaps[types[:, None, None], ys[:, :, None], xs[:, None]]
    best = window.reshape(len(start), len(steps) ** 2).argmax(axis=1)
    rows = np.arange(len(start))
    return ys[rows, best // len(steps)], xs[rows, best % len(steps)]


class Geometry:
    """Converts (M, 2) x, y positions between the network input and a map.

    Args:
        input_wh: Width and height of the network input, px.
        map_wh: Width and height of the map, px.
        unbiased: Whether the centres of the corner pixels coincide; otherwise the corners of the images do.
        offset: Unless unbiased: where in the interval that a map pixel covers it lies, 0 to 1.
    """

    def __init__(
        self, input_wh: Tuple[int, int], map_wh: Tuple[int, int], unbiased: bool, offset: float = 0.5
    ):
        self.unbiased, self.offset = unbiased, offset
        self.last = np.array(map_wh) - 1
        sizes = np.array([input_wh, map_wh], np.float64) - unbiased
        # A single pixel has no corners apart: it lies in the middle of the input.
        single = sizes[1] == 0
        self.input_per_map = np.where(single, 0, sizes[0] / np.where(single, 1, sizes[1]))
        self.map_per_input = sizes[1] / sizes[0]
        self.first = np.where(single, sizes[0] / 2, 0)

    def to_input(self, positions: np.ndarray) -> np.ndarray:
        """Convert positions on the map to positions on the input."""
        if self.unbiased:
            return positions * self.input_per_map + self.first
        return (positions + self.offset) * self.input_per_map

    def to_map(self, positions: np.ndarray) -> np.ndarray:
        """Convert positions on the input to positions on the map."""
        on_map = positions * self.map_per_input
        return on_map if self.unbiased else on_map - self.offset

    def nearest_pixels(self, positions: np.ndarray) -> np.ndarray:
        """Return the pixels (M, 2) x, y int64 of the map that are nearest to positions on it."""
        return np.minimum(np.maximum(np.rint(positions), 0), self.last).astype(np.int64)


@lru_cache(maxsize=64)
def geometry(input_wh: Tuple[int, int], map_wh: Tuple[int, int], unbiased: bool, offset: float) -> Geometry:
    """Return the ``Geometry`` of these arguments from a cache."""
    return Geometry(input_wh, map_wh, unbiased, offset)


def fill_nearby(
    heat: np.ndarray, tags: np.ndarray, groups: Groups, pixels: np.ndarray, offsets: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the pixel of highest ``heat - round(tag distance)`` around each person, for each missing type.

    Args:
        heat: (K, H, W) heatmaps.
        tags: (T, K, H, W) tags.
        groups: The people.
        pixels: (M, 2) x and y of each candidate in these maps.
        offsets: (K + 1,) where the candidates of each type start.

    Returns:
        Person, type, y and x of each missing keypoint, (F,) int64.
    """
    height, width = heat.shape[1:]
    has = groups.candidate >= 0
    owners, types = np.nonzero(~has)
    members = pixels[np.where(has, offsets[:-1] + groups.candidate, 0)]
    low = np.where(has[..., None], members, max(height, width)).min(axis=1)
    high = np.where(has[..., None], members, -1).max(axis=1)
    reach = FILL_REACH * (high - low).max(axis=1)
    reach = np.maximum(reach, FILL_LEAST * max(height, width)).astype(np.int64)[:, None]
    low, high = np.maximum(low - reach, 0), np.minimum(high + reach + 1, (width, height))
    best_in_windows = kernel("best_in_windows") or _best_in_windows
    person_tags = groups.tags.astype(np.float32)
    ys, xs = best_in_windows(heat, tags, person_tags, owners, types, low, high)
    return owners, types, ys, xs


def _best_in_windows(
    heat: np.ndarray,
    tags: np.ndarray,
    person_tags: np.ndarray,
    owners: np.ndarray,
    types: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Search for each (owner, type), owners ascending, between ``low`` and ``high`` (N, 2) x, y of the owner."""
    ys, xs = np.zeros(len(owners), np.int64), np.zeros(len(owners), np.int64)
    ends = np.searchsorted(owners, np.arange(len(low) + 1)).tolist()
    for n, ((x0, y0), (x1, y1)) in enumerate(zip(low.tolist(), high.tolist())):
        together = max(TOGETHER // ((y1 - y0) * (x1 - x0)), 1)
        for start in range(ends[n], ends[n + 1], together):
            part = slice(start, min(start + together, ends[n + 1]))
            k = types[part]
            values = _distances(tags[:, k, y0:y1, x0:x1], person_tags[n])
            np.rint(values, out=values)
            np.subtract(heat[k, y0:y1, x0:x1], values, out=values)
            best = values.reshape(len(k), -1).argmax(axis=1)
            ys[part], xs[part] = y0 + best // (x1 - x0), x0 + best % (x1 - x0)
    return ys, xs


def _distances(tags: np.ndarray, person_tag: np.ndarray) -> np.ndarray:
    """Return the distances of (T, ...) tags, which are changed, from a person's (T,): see ``tag_distance``."""
    for number, of_person in zip(tags, person_tag):
        number -= of_person
    if len(tags) == 1:
        return np.abs(tags[0], out=tags[0])
    np.multiply(tags, tags, out=tags)
    for number in tags[1:]:  # in the order of the compiled loop
        tags[0] += number
    return np.sqrt(tags[0], out=tags[0])
