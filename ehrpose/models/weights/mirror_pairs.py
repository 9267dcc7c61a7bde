"""Find left and right keypoints that a network cannot tell apart, and help training to separate them.

While nothing in the features tells a left knee from a right one, a least-squares loss pulls the output convolution's
rows of the two heatmaps together. Once they are equal, the features cannot learn the difference: their gradient is the
difference of the two errors times that of the two rows. Training stays at this saddle point for thousands of steps,
with both maps high at both knees. Moving the rows apart restores the gradient.

Axes: K keypoint types, C channels of the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ehrpose.models.weights.state_dict_diff import first_names


class PairLikeness(NamedTuple):
    """Similarity of the output rows of a mirror pair.

    Attributes:
        output: Name of the convolution's weight.
        left: Index of one keypoint of the pair, the lower one.
        right: Index of the other.
        cosine: Cosine of the angle between the rows, -1 to 1; near 1 the two heatmaps are the same.
    """

    output: str
    left: int
    right: int
    cosine: float


def pair_likeness(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[PairLikeness]:
    """Return the similarity of each mirror pair at each output.

    Args:
        model: The model, for the names of its outputs and the pairs of its codec.
        tensors: Its weights.

    Raises:
        ValueError: The model has no head with heatmap outputs, or ``tensors`` lacks one.
    """
    found = []
    for name in _output_names(model, tensors):
        rows = tensors[name].double().flatten(1)
        for left, right in _pairs(model):
            cosine = torch.nn.functional.cosine_similarity(rows[left], rows[right], dim=0)
            found.append(PairLikeness(name, left, right, float(cosine)))
    return found


def separate_pairs(
    model: nn.Module, tensors: Mapping[str, Tensor], above: float = 0.9, apart: float = 0.5
) -> tuple[dict[str, Tensor], list[PairLikeness]]:
    """Move the output rows of similar mirror pairs apart, along their difference.

    The mean row m of a pair is kept; the rows become ``m + apart * |m| * u`` and ``m - apart * |m| * u``, with u the
    direction of their difference: however small, it is the one in which training was leaving the saddle point.
    Bit-equal rows get a random direction, orthogonal to m.

    Args:
        model: The model, for the names of its outputs and the pairs of its codec.
        tensors: Its weights; not modified.
        above: Pairs with a cosine above this are moved, -1 to 1.
        apart: Half the new difference, relative to the norm of the mean row.

    Returns:
        All tensors, and the pairs that were moved, with their previous cosines.

    Raises:
        ValueError: ``above`` or ``apart`` is out of range; or as in ``pair_likeness``.
    """
    if not -1 <= above <= 1:
        raise ValueError(f"above must be a cosine, -1 to 1, got {above}")
    if not 0 < apart < float("inf"):
        raise ValueError(f"apart must be positive and finite, got {apart}")
    moved = [pair for pair in pair_likeness(model, tensors) if pair.cosine > above]
    result = dict(tensors)
    generator = torch.Generator().manual_seed(0)
    for pair in moved:
        weight = result[pair.output]
        rows = weight.double().flatten(1)
        mean, difference = (rows[pair.left] + rows[pair.right]) / 2, rows[pair.left] - rows[pair.right]
        if not difference.any():
            difference = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
            difference -= mean * (difference @ mean) / (mean @ mean)
        step = apart * mean.norm() * difference / difference.norm()
        rows = rows.clone()
        rows[pair.left], rows[pair.right] = mean + step, mean - step
        result[pair.output] = rows.view(weight.shape).to(weight.dtype)
    return result, moved


def _pairs(model: Any) -> list[tuple[int, int]]:
    return [(i, j) for i, j in enumerate(model.head.codec.meta.flip_indices) if i < j]


def _output_names(model: Any, tensors: Mapping[str, Tensor]) -> list[str]:
    head = getattr(model, "head", None)
    strides = getattr(getattr(head, "codec", None), "strides", ())
    names = [f"head.output{s}.weight" for s in strides if hasattr(head, f"output{s}")]
    if not names:
        raise ValueError(
            f"{type(head).__name__} has no heatmap outputs: expected convolutions output4 or output2"
        )
    missing = tuple(name for name in names if name not in tensors)
    if missing:
        raise ValueError(f"the weights lack {first_names(missing)}: are they from another model?")
    return names
