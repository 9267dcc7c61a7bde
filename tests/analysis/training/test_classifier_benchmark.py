"""The comparison of classifiers' training steps."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from ehrpose.analysis.training.classifier_benchmark import contenders, measure
from ehrpose.config_names import find_config
from ehrpose.models.cpu_training import why_no_kernels


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for timm, with one network."""

    def create_model(name, num_classes, drop_path_rate):
        assert (name, num_classes, drop_path_rate) == ("efficientnet_b0", 3, 0.2)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))


def test_forms_take_turns_on_the_same_images(timm):
    found = contenders(find_config("demo_drawn-64"), "efficientnet_b0", 3)
    assert [(c.name, c.form) for c in found[:4]] == [
        ("ehrpose", "fp32"), ("timm", "fp32"), ("ehrpose", "fp32, channels_last"), ("timm", "fp32, channels_last"),
    ]  # fmt: skip
    assert found[-1].form == ("bf16, kernels" if why_no_kernels() is None else "bf16, channels_last")
    chosen = [found[1], found[3]]
    before = [next(c.network.parameters()).clone() for c in chosen]
    labels, images = torch.tensor([0, 1]), torch.rand(2, 3, 32, 32)
    assert all(one.step(images, labels) > 0 for one in chosen)
    assert not any(torch.equal(p, next(c.network.parameters())) for p, c in zip(before, chosen))
    measure(chosen[:1], 16, 2, 2)
    assert len(chosen[0].seconds) == 2


def test_without_timm_there_are_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert {c.name for c in contenders(find_config("demo_drawn-64"), "efficientnet_b0", 3)} == {"ehrpose"}
