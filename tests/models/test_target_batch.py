from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.models.target_batch import collate_targets, scatter_gaussians

CPU = torch.device("cpu")


def images(codec, rng):
    """Keypoints and visibility of four images: random ones, some on and beyond the border, many people, and none."""
    side, k = codec.input_size, codec.num_keypoints
    for number in (3, 40, 0):
        yield rng.uniform(-9, side + 9, (number, k, 2)), rng.integers(0, 3, (number, k))
    corners = np.array([[0, 0], [side - 1, 0], [0, side - 1], [side - 1, side - 1], [side / 2, 0.2]])
    yield corners[None], np.full((1, k), 2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unbiased": True},
        {"unbiased": True, "sigma": 1.3},
        {"strides": (4,)},
        {"unbiased": True, "oks_sigma": 1.0},
        {"oks_sigma": 0.7},
    ],
)
def test_targets_drawn_by_the_model_are_those_of_the_codec(five_keypoints, rng, options):
    codec = AssociativeEmbedding(64, five_keypoints, **options)
    mask = rng.integers(0, 2, (64, 64))
    samples = list(images(codec, rng))
    expected = [codec.encode(*sample, mask) for sample in samples]
    short = [codec.encode_points(*sample, mask) for sample in samples]
    batch = collate_targets(codec, [to_tensors(targets) for targets in short], CPU)
    assert set(batch) == set(expected[0])
    for name, tensor in batch.items():
        stacked = np.stack([targets[name] for targets in expected])
        np.testing.assert_array_equal(tensor.numpy(), stacked, err_msg=name)
    whole = collate_targets(codec, [to_tensors(targets) for targets in expected], CPU)
    for name, tensor in whole.items():
        assert torch.equal(tensor, batch[name].to(tensor.dtype)), name
    for stride in codec.strides:
        scattered = scatter_gaussians(codec, [targets["points"] for targets in short], stride, CPU)
        torch.testing.assert_close(scattered, batch[f"heat{stride}"], rtol=0, atol=1e-6)


def to_tensors(targets):
    return {name: torch.from_numpy(array) for name, array in targets.items()}


def test_no_people_at_all(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints)
    points = [codec.encode_points(np.zeros((0, 5, 2)), np.zeros((0, 5)))["points"]] * 2
    assert scatter_gaussians(codec, points, 4, CPU).shape == (2, 5, 16, 16)
    assert float(scatter_gaussians(codec, points, 4, CPU).abs().max()) == 0
