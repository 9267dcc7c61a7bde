from __future__ import annotations

import pytest
import torch
from toy_parts import loader, toy_config

from ehrpose.engine import CheckpointError, NonFiniteLossError, build_runner
from ehrpose.engine.hooks.finite import image_names


def test_loss_that_is_not_finite_stops_the_run_and_names_the_images(tmp_path):
    cfg = toy_config(tmp_path, train_dataloader=loader(bad_index=4, shuffle=False))
    runner = build_runner(cfg)
    parameters = []
    step = runner.model.train_step

    def spy(data, optim_wrapper):
        parameters.append([p.detach().clone() for p in runner.model.parameters()])
        return step(data, optim_wrapper)

    runner.model.train_step = spy
    losses = "loss_square is nan, loss_size is nan at epoch 1, iteration 3"
    pattern = f"{losses}; images of the batch: photo_4.jpg, photo_5"
    with pytest.raises(NonFiniteLossError, match=pattern):
        runner.train()
    assert len(parameters) == 3
    for before, after in zip(parameters[-1], runner.model.parameters()):
        assert torch.equal(before, after)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    runner = build_runner(toy_config(tmp_path, max_epochs=1))
    step = runner.model.train_step

    def spoil(*args, **kwargs):
        outputs = step(*args, **kwargs)
        if runner.iter == 4:
            runner.model.net[0].weight.data.fill_(float("inf"))
        return outputs

    runner.model.train_step = spoil
    with pytest.raises(CheckpointError, match=r"net\.0\.weight contains non-finite values"):
        runner.train()
    assert not list(tmp_path.glob("*.pth*"))


def test_image_without_a_path_is_named_by_its_id():
    assert image_names({"data_samples": [{"img_path": "a.jpg"}, {"img_id": 7}]}) == ["a.jpg", "img_id 7"]
    assert image_names(None) == []


def test_progress_without_a_terminal_is_plain_lines(tmp_path, capfd):
    cfg = toy_config(tmp_path, max_epochs=1)
    cfg.custom_hooks = [{"type": "ProgressBarHook", "every": 0}]
    build_runner(cfg).train()
    lines = capfd.readouterr().err.splitlines()
    shown = [line for line in lines if "loss_square" in line]
    assert shown[0].startswith("1/5 loss ")
    assert shown[-1].startswith("5/5")
    assert "left 0:00" in shown[-1]
    assert any(line.startswith("validation after 5 iterations: toy/AP") for line in lines)


def test_progress_on_a_terminal_is_a_bar(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats any output as a terminal
    monkeypatch.setenv("COLUMNS", "200")
    cfg = toy_config(tmp_path, max_epochs=1)
    cfg.custom_hooks = [{"type": "ProgressBarHook"}]
    build_runner(cfg).train()
    assert "━" in capfd.readouterr().err
