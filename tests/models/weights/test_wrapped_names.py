"""Weights of a wrapped model, and those without counters, are read with a line that says so."""

from __future__ import annotations

import pytest
import torch
from reference_network import ReferenceNetwork, randomize
from torch import nn

import ehrpose.models.weights.checkpoint as checkpoint
from ehrpose.models import compound_scaling
from ehrpose.models.weights.averaging import average_checkpoints
from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.state_dict_diff import COUNTER, strip_prefix


class Small(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 2, 1)


class Wrapper(nn.Module):
    """Its own names begin like those of a wrapped model."""

    def __init__(self, name, seed=0):
        super().__init__()
        self.add_module(name, Small(seed))


@pytest.fixture
def lines(monkeypatch):
    found = []
    monkeypatch.setattr(checkpoint, "print_log", lambda line, *_, **__: found.append(line))
    return found


def save(path, tensors):
    torch.save({"state_dict": tensors}, path)
    return path


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


PREFIXES = ("module.", "model.", "_orig_mod.", "model.module.", "module.model.", "model._orig_mod.", "1.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers(tmp_path, lines, prefix):
    expected = Small().state_dict()
    path = save(tmp_path / "a.pth", {prefix + name: value for name, value in expected.items()})
    assert_same(checkpoint.read_state_dict(path), expected)
    model = Small(1)
    assert not checkpoint.load_checkpoint(model, path)
    assert_same(model.state_dict(), expected)
    pretrained = Small(1)
    assert not checkpoint.load_pretrained(pretrained, path)
    assert_same(pretrained.state_dict(), expected)
    said = [line for line in lines if not line.startswith("loaded")]
    assert said == [f"{path}: the prefix {prefix!r} of a wrapper is removed from the names"] * 3


def test_a_compiled_part(tmp_path, lines):
    expected = Small().state_dict()
    path = save(tmp_path / "a.pth", {k.replace("stem.", "stem._orig_mod."): v for k, v in expected.items()})
    model = Small(1)
    assert not checkpoint.load_checkpoint(model, path)
    assert_same(model.state_dict(), expected)
    assert lines == [f"{path}: the prefix '_orig_mod.' of a wrapper is removed from the names"]


@pytest.mark.parametrize("name", ["model", "module", "1"])
def test_a_prefix_of_the_models_own_names_is_kept(tmp_path, lines, name):
    expected = Wrapper(name).state_dict()
    model = Wrapper(name, 1)
    assert not checkpoint.load_checkpoint(model, save(tmp_path / "a.pth", expected))
    assert_same(model.state_dict(), expected)
    assert lines == []
    path = save(tmp_path / "b.pth", {f"module.{k}": v for k, v in expected.items()})
    model = Wrapper(name, 1)
    assert not checkpoint.load_checkpoint(model, path)
    assert_same(model.state_dict(), expected)
    # A part is still chosen with its prefix.
    assert not checkpoint.load_pretrained(Small(1), path, name)


def test_a_part_of_a_wrapped_model(tmp_path, lines):
    expected = Small().state_dict()
    tensors = {f"model.backbone.{k}": v for k, v in expected.items()} | {"model.head.w": torch.ones(1)}
    for prefix in ("backbone.", "model.backbone."):
        part = Small(1)
        assert not checkpoint.load_pretrained(part, save(tmp_path / "a.pth", tensors), prefix)
        assert_same(part.state_dict(), expected)


def test_names_that_share_no_prefix_stay():
    tensors = {"model.a": torch.ones(1), "loss.b": torch.ones(1)}
    assert strip_prefix(tensors) == (tensors, "")


def without_counters(tensors):
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}


def test_files_without_counters(tmp_path, lines):
    expected = Small().state_dict()
    path = save(tmp_path / "a.pth", without_counters(expected))
    for load in (checkpoint.load_checkpoint, checkpoint.load_pretrained):
        model = Small(1)
        model.stem[1].num_batches_tracked += 7
        assert not load(model, path)
        assert_same(model.state_dict(), expected)
    said = [line for line in lines if not line.startswith("loaded")]
    assert said == [f"{path} has no num_batches_tracked: 1 counter starts at 0, which changes no result"] * 2


def test_a_whole_norm_that_is_missing_is_still_an_error(tmp_path):
    tensors = {name: value for name, value in Small().state_dict().items() if not name.startswith("stem.1.")}
    with pytest.raises(ValueError, match=r"5 missing: stem\.1\.weight"):
        checkpoint.load_checkpoint(Small(1), save(tmp_path / "a.pth", tensors))


def test_averaging_files_without_counters(tmp_path):
    first, second = Small().state_dict(), Small(1).state_dict()
    paths = [save(tmp_path / f"{i}.pth", without_counters(t)) for i, t in enumerate((first, second))]
    average = average_checkpoints(Small(), paths)
    assert average.keys() == first.keys()
    assert int(average[f"stem.1.{COUNTER}"]) == 0
    torch.testing.assert_close(average["head.bias"], (first["head.bias"] + second["head.bias"]) / 2)


def test_conversion_without_counters():
    sizes = compound_scaling(-4)
    network = ReferenceNetwork(
        sizes.stage_channels, sizes.stage_repeats, sizes.branch_channels, sizes.num_modules
    )
    tensors = randomize(network).state_dict()
    whole = convert(tensors, phi=-4)
    converted = convert({f"model.{k}": v for k, v in without_counters(tensors).items()}, phi=-4)
    assert converted.state_dict.keys() == whole.state_dict.keys()
    assert converted.counters == sum(name.endswith(COUNTER) for name in whole.state_dict)
    assert whole.counters == 0
