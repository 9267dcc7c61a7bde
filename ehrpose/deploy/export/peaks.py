"""The part of decoding inside a graph exported with ``decode="peaks"``, which outputs candidates instead of maps.

Only operators that TensorRT 8.5 supports, static shapes, indices as int32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ehrpose.deploy.sidecar import DeployError
from ehrpose.structures import FieldPeaks, Maps, PeakMaps, PeoplePeaks

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


class PeakExtractor(nn.Module):
    """Finds keypoint candidates: maps in, ``PeakMaps`` out.

    Args:
        max_candidates: M, candidates of each keypoint type.
        num_keypoints: K.
    """

    def __init__(self, max_candidates: int, num_keypoints: int):
        super().__init__()
        self.max_candidates, self.num_keypoints = max_candidates, num_keypoints

    def forward(self, maps: Maps) -> PeakMaps:
        """Return the candidates of a batch of maps."""
        coarse, coarse_tags = (maps.heat2, maps.tag2) if maps.heat4 is None else (maps.heat4, maps.tag4)
        fine = coarse if maps.heat2 is None else maps.heat2
        k, m = self.num_keypoints, self.max_candidates
        height, width = fine.shape[2:]
        highest = functional.max_pool2d(fine, 3, 1, 1)
        kept = torch.where(highest == fine, fine, torch.zeros_like(fine)).reshape(-1, k, height * width)
        scores, pixels = torch.topk(kept, m, dim=2)
        ys = torch.div(pixels, width, rounding_mode="trunc")
        xs = pixels - ys * width
        # Both bounds, though one suffices: OpenCV's dnn does not run a one-sided Clip of integers.
        rows, columns = [ys, ys], [(xs - 1).clamp(0, width - 1), (xs + 1).clamp(0, width - 1)]
        rows += [(ys - 1).clamp(0, height - 1), (ys + 1).clamp(0, height - 1)]
        columns += [xs, xs]
        flat = torch.stack([y * width + x for y, x in zip(rows, columns)], dim=-1).reshape(-1, k, 4 * m)
        cross = fine.reshape(-1, k, height * width).gather(2, flat).reshape(-1, k, m, 4)

        low, wide = coarse.shape[2:]
        step = width // wide
        at_y = torch.div(ys, step, rounding_mode="trunc") if step > 1 else ys
        at_x = torch.div(xs, step, rounding_mode="trunc") if step > 1 else xs
        around = torch.stack(
            [(at_y + dy).clamp(0, low - 1) * wide + (at_x + dx).clamp(0, wide - 1) for dy, dx in _AROUND],
            dim=-1,
        ).reshape(-1, k, 9 * m)
        heat = coarse.reshape(-1, k, low * wide).gather(2, around).reshape(-1, k, m, 9)
        num_tags = coarse_tags.shape[1] // k
        tags = coarse_tags.reshape(-1, num_tags, k, low * wide)
        read = [tags[:, t].gather(2, around).reshape(-1, 1, k, m, 9) for t in range(num_tags)]
        return PeakMaps(
            scores, pixels.to(torch.int32), cross, heat, torch.cat(read, dim=1) if num_tags > 1 else read[0]
        )


def peak_extractor(codec: Any) -> nn.Module:
    """Return the network from the maps of a codec to what its ``decode_peaks`` takes.

    Raises:
        DeployError: There is none for this codec or its options.
    """
    if codec.peaks_type is FieldPeaks:
        from ehrpose.deploy.export.field_peaks import FieldPeakExtractor  # other codecs do not need it

        return FieldPeakExtractor(codec.layout, codec.settings)
    if codec.peaks_type is PeoplePeaks and codec.why_no_peaks() is None:
        from ehrpose.deploy.export.offset_peaks import PeopleExtractor  # other codecs do not need it

        return PeopleExtractor(codec.tree, codec.stride, codec.growth, codec.settings.max_candidates)
    if codec.peaks_type is not PeakMaps:
        raise DeployError(f"`decode='peaks'`: {codec.why_no_peaks() or 'no form is known for this codec'}")
    return PeakExtractor(codec.settings.max_candidates, codec.num_keypoints)
