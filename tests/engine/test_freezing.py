"""Frozen parts keep weights and statistics, bit for bit, also in a run that is resumed."""

from __future__ import annotations

import copy

import pytest
import torch
from toy_parts import toy_config, weights

from ehrpose.config import load_config, resolve
from ehrpose.engine import build_runner
from ehrpose.engine.freezing import freeze
from ehrpose.registry import MODELS


def tensors(runner, part):
    return {n: v.clone() for n, v in runner.model.state_dict().items() if n.startswith(part)}


def changed(before, after):
    return [name for name, value in before.items() if not torch.equal(value, after[name])]


@pytest.mark.parametrize("hooks", [[], [{"type": "EMAHook", "momentum": 0.1, "update_buffers": True}]])
def test_frozen_weights_and_statistics_stay_bit_equal(tmp_path, hooks):
    runner = build_runner(
        toy_config(tmp_path, frozen_parts=["net.0", "net.1"], custom_hooks=hooks, max_epochs=2)
    )
    frozen, rest = tensors(runner, ("net.0", "net.1")), tensors(runner, "net.5")
    assert any(name.endswith("running_mean") for name in frozen)
    runner.train()
    assert changed(frozen, runner.model.state_dict()) == []
    assert len(changed(rest, runner.model.state_dict())) == len(rest)
    saved = torch.load(tmp_path / "epoch_2.pth", weights_only=True)["state_dict"]
    assert changed(frozen, saved) == []
    runner.model.train()
    assert not runner.model.net[1].training
    assert runner.model.net[3].training


def test_number_of_trained_parameters_is_said(tmp_path, capfd):
    build_runner(toy_config(tmp_path, frozen_parts=["net.5"], log_level="INFO"))
    assert "frozen: net.5; 120 of 265 parameters train" in capfd.readouterr().out


def test_resumed_run_stays_frozen_without_being_told(tmp_path):
    for name, epochs in (("whole", 3), ("cut", 1)):
        build_runner(toy_config(tmp_path / name, frozen_parts=["net.1"], max_epochs=epochs)).train()
    runner = build_runner(toy_config(tmp_path / "cut", resume=True))
    runner.train()
    assert not any(p.requires_grad for p in runner.model.net[1].parameters())
    whole, cut = (weights(tmp_path / f"{name}/epoch_3.pth") for name in ("whole", "cut"))
    assert changed(whole, cut) == []
    other = build_runner(toy_config(tmp_path / "cut", frozen_parts=["net.0"], resume=True, max_epochs=4))
    with pytest.raises(ValueError, match=r"run that is resumed \(net\.1\), got net\.0; leave it out"):
        other.train()


def test_unknown_parts_are_refused_with_near_names(demo_config, small_options):
    cfg = resolve(load_config(demo_config, small_options))
    model = MODELS.build(cfg.model)
    with pytest.raises(ValueError, match=r"no part 'backbone\.stm'; did you mean backbone\.stem"):
        freeze(model, ["backbone.stm"])
    with pytest.raises(ValueError, match=r"no part 'legs'; there are .*backbone, neck, head"):
        freeze(model, ["legs"])
    with pytest.raises(ValueError, match="leaves no parameter to train"):
        freeze(model, ["backbone", "neck", "head"])


def test_real_backbone_is_frozen_by_its_name_and_in_copies(demo_config, small_options):
    model = MODELS.build(resolve(load_config(demo_config, small_options)).model)
    said = freeze(model, ["backbone.stem", "neck"])
    assert f"of {sum(p.numel() for p in model.parameters()):,} parameters train" in said
    for each in (model, copy.deepcopy(model)):
        each.train()
        assert not each.neck.training
        assert not any(m.training for m in each.backbone.stem.modules())
        assert all(m.training for m in each.head.modules())
    copied = copy.deepcopy(model)
    copied.head.eval()
    assert model.head.training
