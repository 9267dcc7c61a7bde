"""``fast`` decoding of the candidates that an exported network outputs, without whole maps.

The people are bit-identical to those of ``decode_fast`` with ``fill_missing=False``, as long as the network's
arithmetic is the same and the lowest candidate of each type is not tied with a pixel that was left out.

Axes: K keypoint types, T tag length, M candidates of a type.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ehrpose.codecs.assembly import people_of
from ehrpose.codecs.fast_decoding import geometry
from ehrpose.codecs.heatmap import Peaks, distinct_peaks, parabola_of_cross, sample_bilinear
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.structures import PeakMaps, People


def decode_peaks(
    peaks: PeakMaps, input_wh: Tuple[int, int], strides: Tuple[int, ...], settings: DecodeSettings
) -> People:
    """Group candidates into people.

    Args:
        peaks: Candidates of one image.
        input_wh: Width and height of the network input, px.
        strides: Strides of the coarsest and of the finest heatmap.
        settings: Thresholds and options; missing keypoints stay missing.

    Returns:
        People in input px, best score first.
    """
    fine_wh, coarse_wh = ((input_wh[0] // s, input_wh[1] // s) for s in (strides[-1], strides[0]))
    factor = strides[0] // strides[-1]
    types, ranks = np.nonzero(peaks.peak_scores > np.float32(settings.min_score))
    # A top-k does not define the order of equal values: sort them in raster order, as for whole maps.
    order = np.lexsort((peaks.peak_pixels[types, ranks], -peaks.peak_scores[types, ranks], types))
    types, ranks = types[order], ranks[order]
    kept = np.arange(len(types)) - np.searchsorted(types, types) < settings.max_candidates
    types, ranks = types[kept], ranks[kept]
    ys, xs = np.divmod(peaks.peak_pixels[types, ranks].astype(np.int64), fine_wh[0])
    kept = distinct_peaks(types, ys, xs, peaks.peak_scores[types, ranks])
    types, ranks, ys, xs = types[kept], ranks[kept], ys[kept], xs[kept]
    counts = np.bincount(types, minlength=len(peaks.peak_scores))
    scores = peaks.peak_scores[types, ranks]
    found = Peaks(types, ys, xs, scores, np.concatenate([[0], np.cumsum(counts)]))
    cross = np.concatenate([found.scores[None], peaks.peak_cross[types, ranks].T])
    on_fine, on_coarse = (
        geometry(input_wh, wh, settings.unbiased, settings.cell_offset) for wh in (fine_wh, coarse_wh)
    )
    positions = on_fine.to_input(parabola_of_cross(cross, ys, xs, fine_wh))
    at_coarse = on_coarse.to_map(positions)
    centre = np.stack([xs, ys], axis=-1) // factor
    candidates = np.arange(len(types))
    counted = found.scores
    if factor > 1:
        window = peaks.peak_heat[types, ranks].reshape(-1, 3, 3)
        inside = np.clip(at_coarse, 0, np.asarray(coarse_wh) - 1) - (centre - 1)
        counted = 0.5 * (counted + sample_bilinear(window, candidates, inside))
    nearest = on_coarse.nearest_pixels(at_coarse) - (centre - 1)
    tags = peaks.peak_tags[:, types, ranks, 3 * nearest[:, 1] + nearest[:, 0]].T
    return people_of(found, positions, counted, tags, input_wh, settings)
