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
        # Of the people with each root (first axis): whence and by which move each keypoint is reached. Roots stay.
        k = len(tree.levels)
        self.depth = int(tree.levels.max())
        self.sources = torch.arange(k).repeat(k, 1)
        self.moves = torch.zeros((k, k), dtype=torch.int64)
        for root in range(k):
            for source, target, move in tree.ways[root].tolist():
                self.sources[root, target], self.moves[root, target] = source, move

    def forward(self, maps: OffsetMaps) -> PeoplePeaks:
        """Return the candidates of a batch of maps, with their poses."""
        k, m = self.sources.shape[0], self.max_candidates
        height, width = maps.heat.shape[2:]
        highest = functional.max_pool2d(maps.heat, 3, 1, 1)
        kept = torch.where(highest == maps.heat, maps.heat, torch.full_like(maps.heat, _NONE))
        logits, pixels = torch.topk(kept.reshape(-1, k, height * width), m, dim=2)
        reader = _Reader(maps, self.num_edges, self.stride)
        rows = torch.div(pixels, width, rounding_mode="trunc")
        columns = (pixels - rows * width).to(torch.float32)
        root_kind = torch.arange(k)[:, None].expand(k, m)
        root_y, root_x = reader.refined(root_kind, rows.to(torch.float32), columns)
        root_y, root_x = reader.voted(root_kind, root_y, root_x)
        # (B, K, M, K): every keypoint of every pose begins at the root; each round, all are reached anew from where
        # the keypoint before them is, so that after as many rounds as the tree is deep all are right.
        is_root = torch.eye(k)[:, None, :]
        source = self.sources[:, None, :].expand(k, m, k)
        move = self.moves[:, None, :].expand(k, m, k)
        target = torch.arange(k).expand(k, m, k)
        first_y, first_x = (at.unsqueeze(3).expand(-1, k, m, k) for at in (root_y, root_x))
        y, x = first_y, first_x
        for _ in range(self.depth):
            from_y, from_x = (at.gather(3, source.expand(at.shape[0], k, m, k)) for at in (y, x))
            step_y, step_x = reader.moved(move, from_y / self.stride, from_x / self.stride)
            y, x = from_y + step_y, from_x + step_x
            for _ in range(self.refine_steps):
                y, x = reader.refined(target, *reader.on_map(y / self.stride, x / self.stride))
            y, x = reader.voted(target, y, x)
            y, x = (new * (1 - is_root) + old * is_root for new, old in ((y, first_y), (x, first_x)))
        scores = reader.probability(target, y / self.stride, x / self.stride)
        scores = scores * (1 - is_root) + torch.sigmoid(logits).unsqueeze(3) * is_root
        return PeoplePeaks(logits, torch.stack([y, x, scores], dim=4))


class _Reader:
    """Reads maps at positions: tensors of any shape (B, ...), with the channels as a tensor of shape (...)."""

    def __init__(self, maps: OffsetMaps, num_edges: int, stride: float):
        self.stride = stride
        self.height, self.width = maps.heat.shape[2:]
        size, k = self.height * self.width, maps.heat.shape[1]
        self.heat = torch.sigmoid(maps.heat).reshape(-1, k * size)
        self.short_y, self.short_x = (
            part.reshape(-1, k * size) for part in (maps.short[:, :k], maps.short[:, k:])
        )
        e = num_edges
        self.move_y, self.move_x = (
            torch.cat([maps.forward[:, part], maps.backward[:, part]], dim=1).reshape(-1, 2 * e * size)
            for part in (slice(0, e), slice(e, 2 * e))
        )

    def on_map(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        return row.clamp(0, self.height - 1), column.clamp(0, self.width - 1)

    def refined(self, kind: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions, px, to which the short offsets at positions on the map point."""
        y, x = self._smooth((self.short_y, self.short_x), kind, row, column)
        return row * self.stride + y, column * self.stride + x

    def moved(self, move: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, ...]:
        return self._smooth((self.move_y, self.move_x), move, row, column)

    def probability(self, kind: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return self._smooth((self.heat,), kind, row, column)[0]

    def voted(self, kind: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Do what ``offset_poses.voted`` does."""
        row, column = (torch.floor(at / self.stride + 0.5) for at in (y, x))
        row, column = self.on_map(row, column)
        total, sum_y, sum_x = torch.zeros_like(y), torch.zeros_like(y), torch.zeros_like(y)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                # A neighbour beyond the border has no weight.
                i, j = self.on_map(row + dr, column + dc)
                inside = (i == row + dr).to(torch.float32) * (j == column + dc).to(torch.float32)
                shift_y, shift_x, heat = self._at((self.short_y, self.short_x, self.heat), kind, i, j)
                at_y, at_x = i * self.stride + shift_y, j * self.stride + shift_x
                apart = (at_y - y) * (at_y - y) + (at_x - x) * (at_x - x)
                weight = inside * heat * torch.relu(1 - apart / (self.stride * self.stride))
                total, sum_y, sum_x = total + weight, sum_y + weight * at_y, sum_x + weight * at_x
        enough = total > LEAST_VOTES
        total = torch.where(enough, total, torch.ones_like(total))
        return torch.where(enough, sum_y / total, y), torch.where(enough, sum_x / total, x)

    def _smooth(
        self, fields: tuple[Tensor, ...], channel: Tensor, row: Tensor, column: Tensor
    ) -> tuple[Tensor, ...]:
        row, column = self.on_map(row, column)
        top, left = torch.floor(row), torch.floor(column)
        fy, fx = row - top, column - left
        low, right = self.on_map(top + 1, left + 1)
        corners = [self._at(fields, channel, i, j) for i in (top, low) for j in (left, right)]
        return tuple(
            (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy for a, b, c, d in zip(*corners)
        )

    def _at(
        self, fields: tuple[Tensor, ...], channel: Tensor, row: Tensor, column: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the values at whole rows and columns, of shape (B, ...)."""
        shape = row.shape
        pixel = (row * self.width + column).to(torch.int64)
        index = (channel * (self.height * self.width) + pixel).reshape(shape[0], -1)
        return tuple(field.gather(1, index).reshape(shape) for field in fields)
