"""Averages of checkpoints, of one model and of a smaller one it grew from."""

from __future__ import annotations

import copy

import pytest
import torch

from ehrpose.models.necks import HighResolutionNeck
from ehrpose.models.weights.averaging import average_checkpoints

SIZES = {"in_channels": (4, 6, 8, 10), "channels": (4, 5, 6, 7), "init_std": None}


def neck(grown: bool, seed: int) -> HighResolutionNeck:
    torch.manual_seed(seed)
    if grown:
        return HighResolutionNeck(num_modules=(1, 1, 2), num_blocks=2, zero_init_residual=True, **SIZES)
    return HighResolutionNeck(num_modules=(1, 1, 1), num_blocks=1, **SIZES)


def trained(model, seed):
    """Return a copy of the model with other values in all of its tensors except the counters."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(
                torch.rand_like(tensor) if name.endswith("running_var") else 0.1 * torch.randn_like(tensor)
            )
    return model


def save(model, path):
    torch.save({"state_dict": model.state_dict()}, path)
    return path


def taps():
    torch.manual_seed(9)
    return [
        torch.rand(2, width, 64 // stride, 64 // stride)
        for width, stride in zip((4, 6, 8, 10), (2, 4, 8, 16))
    ]


def test_mean_of_each_tensor(tmp_path):
    models = [trained(neck(False, 0), seed) for seed in (1, 2, 3)]
    files = [save(model, tmp_path / f"{i}.pth") for i, model in enumerate(models)]
    average = average_checkpoints(neck(False, 4), files)
    states = [model.state_dict() for model in models]
    assert average.keys() == states[0].keys()
    for name, tensor in average.items():
        expected = torch.stack([state[name].double() for state in states]).mean(dim=0)
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-7)
        assert tensor.dtype == states[0][name].dtype


def test_float16_files_are_averaged_in_float32(tmp_path):
    model = neck(False, 0)
    file = save(model.half(), tmp_path / "half.pth")
    average = average_checkpoints(neck(False, 1), [file, file, file])
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(average[name], tensor.float() if tensor.is_floating_point() else tensor)


def test_smaller_model_counts_as_the_one_it_grew_into(tmp_path):
    small, start = trained(neck(False, 0), 1), neck(True, 2)
    # The larger model with the small one's weights, and with any weights and statistics before its zero scales.
    start.load_state_dict(small.state_dict(), strict=False)
    files = [save(small, tmp_path / "small.pth"), save(start, tmp_path / "large.pth")]
    average = neck(True, 3)
    average.load_state_dict(average_checkpoints(average, files))
    with torch.no_grad():
        torch.testing.assert_close(average.eval()(taps()), small.eval()(taps()))


def test_new_blocks_are_halfway_between_nothing_and_what_they_learnt(tmp_path):
    small, large = trained(neck(False, 0), 1), trained(neck(True, 0), 2)
    files = [save(small, tmp_path / "small.pth"), save(large, tmp_path / "large.pth")]
    average = average_checkpoints(neck(True, 3), files)
    learnt, old = large.state_dict(), small.state_dict()
    counted = 0
    for name in learnt:
        if not learnt[name].is_floating_point():
            continue
        expected = learnt[name]
        if name in old:
            expected = (learnt[name] + old[name]) / 2
        elif name.startswith("stages.0.0.branches.0.1."):
            # A block: its last norm was 0 in the small model, so the rest of it had no effect there.
            is_last = name.endswith(("bn2.weight", "bn2.bias"))
            expected = learnt[name] / 2 if is_last else learnt[name]
            counted += is_last
        else:
            continue
        torch.testing.assert_close(average[name], expected)
    assert counted == 2


def test_what_cannot_be_averaged_is_named(tmp_path):
    small, large = neck(False, 0), neck(True, 0)
    small_file, large_file = save(small, tmp_path / "small.pth"), save(large, tmp_path / "large.pth")
    with pytest.raises(ValueError, match="at least two checkpoints to average, got 1"):
        average_checkpoints(small, [small_file])
    with pytest.raises(ValueError, match=r"large\.pth does not fit the model: .*unexpected"):
        average_checkpoints(small, [small_file, large_file])
    plain = HighResolutionNeck(num_modules=(1, 1, 2), num_blocks=2, **SIZES)
    with pytest.raises(ValueError, match=r"small\.pth does not fit .*missing.*zero_init_residual=True"):
        average_checkpoints(plain, [large_file, small_file])
    with pytest.raises(ValueError, match="none of the 2 checkpoints has stages"):
        average_checkpoints(large, [small_file, small_file])
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        average_checkpoints(small, [small_file, tmp_path / "none.pth"])


@pytest.mark.parametrize("lost", ["transitions.0.0.0.bias", "stages.0.0.branches.0.1.conv1.weight"])
def test_a_file_that_lost_a_tensor_is_not_a_smaller_model(tmp_path, lost):
    large = neck(True, 0)
    whole = save(large, tmp_path / "whole.pth")
    tensors = large.state_dict()
    del tensors[lost]
    torch.save({"state_dict": tensors}, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=rf"cut\.pth does not fit the model: 1 missing: {lost}"):
        average_checkpoints(large, [whole, tmp_path / "cut.pth"])
