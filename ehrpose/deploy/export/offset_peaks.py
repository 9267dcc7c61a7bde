"""Growing people along offsets inside a graph exported with ``decode="peaks"``, as ``codecs/offset_poses.py`` does.

Every candidate gets its whole pose; which of them are people is decided outside. Only operators that TensorRT 8.5
supports, static shapes.

Axes: B images, K keypoint types, E edges, M candidates of a type, P = h w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ehrpose.codecs.offset_poses import LEAST_VOTES, Growth
from ehrpose.codecs.offset_tree import OffsetTree
from ehrpose.structures import OffsetMaps, PeoplePeaks

# Logit of what is no local maximum; its probability is 0.
_NONE = -1e4


class PeopleExtractor(nn.Module):
    """Finds candidates and the pose of each: ``OffsetMaps`` in, ``PeoplePeaks`` out.

    Args:
        tree: The tree of keypoints.
        stride: Px of the input between map pixels.
        growth: How people grow, in ``fast`` mode.
        max_candidates: M.
    """

    def __init__(self, tree: OffsetTree, stride: int, growth: Growth, max_candidates: int):
        super().__init__()
        self.stride, self.max_candidates = float(stride), max_candidates
        self.refine_steps, self.num_edges = growth.refine_steps, tree.num_edges
        # Keypoints of people by root, (root, keypoint), in the order in which they are reached: first all roots, then
        # one level of the tree after the other, each from keypoints before it.
        pairs = [(k, k) for k in range(len(tree.levels))]
        self.levels: list[tuple[list[int], list[int], list[int]]] = []
        for level in range(1, int(tree.levels.max()) + 1):
            steps = [
                (root, *step)
                for root in range(len(tree.levels))
                for step in tree.ways[root].tolist()
                if tree.levels[root, step[1]] == level
            ]
            sources = [pairs.index((root, source)) for root, source, _, _ in steps]
            self.levels.append((sources, [step[2] for step in steps], [step[3] for step in steps]))
            pairs += [(root, target) for root, _, target, _ in steps]
        self.order = [
            pairs.index((root, k)) for root in range(len(tree.levels)) for k in range(len(tree.levels))
        ]

    def forward(self, maps: OffsetMaps) -> PeoplePeaks:
        """Return the candidates of a batch of maps, with their poses."""
        k, (height, width) = maps.heat.shape[1], maps.heat.shape[2:]
        m = min(self.max_candidates, int(height) * int(width))
        highest = functional.max_pool2d(maps.heat, 3, 1, 1)
        kept = torch.where(highest == maps.heat, maps.heat, torch.full_like(maps.heat, _NONE))
        logits, pixels = torch.topk(kept.reshape(-1, k, height * width), m, dim=2)
        reader = _Reader(maps, self.num_edges, self.stride)
        pixels = pixels.transpose(1, 2)
        rows = torch.div(pixels, width, rounding_mode="trunc")
        columns = pixels - rows * width
        kinds = torch.arange(k)
        y, x = reader.refined(kinds, rows.to(torch.float32), columns.to(torch.float32))
        y, x = reader.voted(kinds, y, x)
        scores = torch.sigmoid(logits).transpose(1, 2)
        for sources, targets, moves in self.levels:
            target, move = torch.tensor(targets), torch.tensor(moves)
            from_y, from_x = y[:, :, sources], x[:, :, sources]
            step_y, step_x = reader.moved(move, from_y / self.stride, from_x / self.stride)
            at_y, at_x = from_y + step_y, from_x + step_x
            for _ in range(self.refine_steps):
                at_y, at_x = reader.refined(target, *reader.on_map(at_y / self.stride, at_x / self.stride))
            at_y, at_x = reader.voted(target, at_y, at_x)
            found = reader.probability(target, at_y / self.stride, at_x / self.stride)
            y, x, scores = (torch.cat(pair, dim=2) for pair in ((y, at_y), (x, at_x), (scores, found)))
        # (B, M, K K) of each, to (B, K, M, K, 3).
        poses = torch.stack([part[:, :, self.order] for part in (y, x, scores)], dim=3)
        return PeoplePeaks(logits, poses.reshape(-1, m, k, k, 3).transpose(1, 2))


class _Reader:
    """Reads maps at positions: tensors of any shape (B, ...), with the channels as a tensor of shape (...).

    All maps are in one row of values, so that one gather reads all that a position needs.
    """

    def __init__(self, maps: OffsetMaps, num_edges: int, stride: float):
        self.stride = stride
        self.height, self.width = maps.heat.shape[2:]
        k, e = maps.heat.shape[1], num_edges
        moves = [
            part[:, half] for half in (slice(0, e), slice(e, 2 * e)) for part in (maps.forward, maps.backward)
        ]
        fields = torch.cat([maps.short, torch.sigmoid(maps.heat), *moves], dim=1)
        self.values = fields.reshape(-1, fields.shape[1] * self.height * self.width)
        # First channel of short offsets (y, x), heatmaps, and offsets along edges (y, x).
        self.short, self.heat, self.moves = [0, k], [2 * k], [3 * k, 3 * k + 2 * e]

    def on_map(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        return row.clamp(0, self.height - 1), column.clamp(0, self.width - 1)

    def refined(self, kind: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions, px, to which the short offsets at positions on the map point."""
        found = self._smooth(self.short, kind, row, column)
        return row * self.stride + found[..., 0], column * self.stride + found[..., 1]

    def moved(self, move: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        found = self._smooth(self.moves, move, row, column)
        return found[..., 0], found[..., 1]

    def probability(self, kind: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return self._smooth(self.heat, kind, row, column)[..., 0]

    def voted(self, kind: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Do what ``offset_poses.voted`` does."""
        row, column = self.on_map(torch.floor(y / self.stride + 0.5), torch.floor(x / self.stride + 0.5))
        wanted_i = row.unsqueeze(-1) + torch.tensor([-1.0, 0, 1]).repeat_interleave(3)
        wanted_j = column.unsqueeze(-1) + torch.tensor([-1.0, 0, 1]).repeat(3)
        i, j = self.on_map(wanted_i, wanted_j)
        # A neighbour beyond the border has no weight.
        inside = (i == wanted_i).to(torch.float32) * (j == wanted_j).to(torch.float32)
        found = self._at([*self.short, *self.heat], kind, i, j)
        at_y, at_x = i * self.stride + found[..., 0, :], j * self.stride + found[..., 1, :]
        way_y, way_x = at_y - y.unsqueeze(-1), at_x - x.unsqueeze(-1)
        near = torch.relu(1 - (way_y * way_y + way_x * way_x) / (self.stride * self.stride))
        weight = inside * found[..., 2, :] * near
        total = weight.sum(dim=-1)
        enough = total > LEAST_VOTES
        whole = torch.where(enough, total, torch.ones_like(total))
        return (
            torch.where(enough, (weight * at_y).sum(dim=-1) / whole, y),
            torch.where(enough, (weight * at_x).sum(dim=-1) / whole, x),
        )

    def _smooth(self, first: list[int], channel: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return (B, ..., F) values of F fields, bilinear."""
        row, column = self.on_map(row, column)
        top, left = torch.floor(row), torch.floor(column)
        fy, fx = row - top, column - left
        low, right = self.on_map(top + 1, left + 1)
        rows = torch.stack([top, top, low, low], dim=-1)
        columns = torch.stack([left, right, left, right], dim=-1)
        weights = torch.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], dim=-1)
        return (self._at(first, channel, rows, columns) * weights.unsqueeze(-2)).sum(dim=-1)

    def _at(self, first: list[int], channel: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return (B, ..., F, J) values of F fields at J whole rows and columns, (B, ..., J) each."""
        start = (channel.unsqueeze(-1) + torch.tensor(first)) * (self.height * self.width)
        pixel = (row * self.width + column).to(torch.int64)
        index = start.unsqueeze(-1) + pixel.unsqueeze(-2)
        return self.values.gather(1, index.reshape(self.values.shape[0], -1)).reshape(index.shape)
