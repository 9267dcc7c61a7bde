"""The part of decoding part-affinity fields inside a graph exported with ``decode="peaks"``.

It finds the candidates, and scores all pairs of candidates of the two ends of each limb, as ``codecs/part_fast.py``
does. Only operators that TensorRT 8.5 supports, static shapes, indices as int32.

Axes: B images, P parts, L limbs, M candidates of a part, S points on a line.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ehrpose.codecs.part_layout import PartLayout
from ehrpose.codecs.part_settings import PartSettings
from ehrpose.structures import FieldMaps, FieldPeaks

_EPSILON = 1e-6
# Where the parabola through the logarithms is flatter, the peak stays where it is.
_LEAST_CURVATURE = 1e-9


class FieldPeakExtractor(nn.Module):
    """Finds candidates and scores their pairs: ``FieldMaps`` in, ``FieldPeaks`` out.

    Args:
        layout: Parts and limbs.
        settings: Number of candidates and of points, and from where a point counts.
    """

    def __init__(self, layout: PartLayout, settings: PartSettings):
        super().__init__()
        self.num_parts = len(layout.names)
        self.max_candidates, self.num_samples = settings.max_candidates, settings.num_samples
        self.min_field = settings.min_field
        self.starts = [a for a, _ in layout.limbs]
        self.ends = [b for _, b in layout.limbs]
        self.channels_x = list(layout.channels)
        self.channels_y = [channel + 1 for channel in layout.channels]

    def forward(self, maps: FieldMaps) -> FieldPeaks:
        """Return the candidates of a batch of maps."""
        p, m = self.num_parts, self.max_candidates
        heat = maps.heat[:, :p]
        height, width = heat.shape[2:]
        flat = heat.reshape(-1, p, height * width)
        highest = functional.max_pool2d(heat, 3, 1, 1)
        kept = torch.where(highest == heat, heat, torch.zeros_like(heat)).reshape(-1, p, height * width)
        scores, pixels = torch.topk(kept, m, dim=2)
        ys = torch.div(pixels, width, rounding_mode="trunc")
        xs = pixels - ys * width
        # Both bounds, though one suffices: OpenCV's dnn does not run a one-sided Clip of integers.
        left, right = (xs - 1).clamp(0, width - 1), (xs + 1).clamp(0, width - 1)
        above, below = (ys - 1).clamp(0, height - 1), (ys + 1).clamp(0, height - 1)
        around = [ys * width + left, ys * width + right, above * width + xs, below * width + xs]
        cross = flat.gather(2, torch.stack(around, dim=-1).reshape(-1, p, 4 * m)).reshape(-1, p, m, 4)
        x = _refined(xs, scores, cross[..., 0], cross[..., 1], width)
        y = _refined(ys, scores, cross[..., 2], cross[..., 3], height)
        pair_scores, pair_shares = self._pairs(maps.field, x, y)
        return FieldPeaks(scores, pixels.to(torch.int32), cross, pair_scores, pair_shares)

    def _pairs(self, field: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, L, M, M) mean of the field along each pair of candidates, and share of the points that count."""
        limbs, m, s = len(self.starts), self.max_candidates, self.num_samples
        height, width = field.shape[2:]
        from_x, from_y = (at[:, self.starts].unsqueeze(3) for at in (x, y))
        way_x = x[:, self.ends].unsqueeze(2) - from_x
        way_y = y[:, self.ends].unsqueeze(2) - from_y
        length = torch.sqrt(way_x * way_x + way_y * way_y) + _EPSILON
        share = torch.arange(s, dtype=torch.float32).reshape(1, 1, 1, 1, s) / (s - 1)
        px = (from_x.unsqueeze(4) + share * way_x.unsqueeze(4)).clamp(0, width - 1)
        py = (from_y.unsqueeze(4) + share * way_y.unsqueeze(4)).clamp(0, height - 1)
        x0, y0 = torch.floor(px), torch.floor(py)
        fx, fy = px - x0, py - y0
        x1, y1 = (x0 + 1).clamp(0, width - 1), (y0 + 1).clamp(0, height - 1)
        corners = [
            ((row * width + column).to(torch.int64).reshape(-1, limbs, m * m * s), weight)
            for row, column, weight in (
                (y0, x0, (1 - fy) * (1 - fx)), (y0, x1, (1 - fy) * fx), (y1, x0, fy * (1 - fx)), (y1, x1, fy * fx)
            )
        ]  # fmt: skip
        along = torch.zeros_like(px)
        for channels, way in ((self.channels_x, way_x), (self.channels_y, way_y)):
            plane = field[:, channels].reshape(-1, limbs, height * width)
            value = torch.zeros_like(px)
            for index, weight in corners:
                value = value + weight * plane.gather(2, index).reshape(-1, limbs, m, m, s)
            along = along + value * (way / length).unsqueeze(4)
        counted = (along > self.min_field).to(torch.float32)
        return along.mean(dim=4), counted.mean(dim=4)


def _refined(at: Tensor, centre: Tensor, before: Tensor, after: Tensor, length: int) -> Tensor:
    """Return positions along one axis, moved to the vertex of a parabola through the logarithms of three values."""
    logs = [torch.log(torch.clamp(value, min=1e-6)) for value in (before, centre, after)]
    curvature = logs[0] + logs[2] - 2 * logs[1]
    is_curved = curvature < -_LEAST_CURVATURE
    shift = 0.5 * (logs[0] - logs[2]) / torch.where(is_curved, curvature, -torch.ones_like(curvature))
    at = at.to(torch.float32)
    # No shift at the border; products of comparisons, as not all runtimes have And.
    inner = is_curved.to(torch.float32) * (at > 0).to(torch.float32) * (at < length - 1).to(torch.float32)
    return at + shift.clamp(-0.5, 0.5) * inner
