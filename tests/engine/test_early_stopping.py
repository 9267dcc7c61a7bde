"""A training that no longer gets better ends, and a resumed one ends at the same iteration."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_resume import train
from toy_parts import ToyMetric, loader, toy_config, weights

from ehrpose.engine import build_runner
from ehrpose.registry import METRICS

ITERATIONS = {
    "train_cfg": {"type": "ResumableIterBasedTrainLoop", "max_iters": 40, "val_interval": 4},
    "default_hooks": {
        "checkpoint": {
            "type": "SafeCheckpointHook",
            "interval": 2,
            "by_epoch": False,
            "save_best": "toy/AP",
            "rule": "greater",
        }
    },
    "log_processor": {"by_epoch": False},
    "train_dataloader": {**loader(), "sampler": {"type": "InfiniteSampler", "shuffle": True}},
    "param_scheduler": None,
    "val_evaluator": {"type": "RisingMetric"},
}


@METRICS.register_module(force=True)
class RisingMetric(ToyMetric):
    """0.1 to 0.3 over the first 12 iterations, then 0.3 for ever."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        from mmengine.logging import MessageHub

        super().compute_metrics(results)
        done = MessageHub.get_current_instance().get_info("iter") + 1
        return {"AP": min(done // 4, 3) / 10}


def early(**changes) -> dict:
    hook = {"type": "EarlyStoppingHook", "monitor": "toy/AP", "patience": 2, **changes}
    return {**ITERATIONS, "custom_hooks": [hook]}


def test_iterations_end_after_validations_without_a_better_value(tmp_path):
    runner = train(toy_config(tmp_path, **early()))
    assert runner.iter == 20
    assert Path((tmp_path / "last_checkpoint").read_text()).name == "iter_20.pth"
    assert (tmp_path / "best_toy_AP_iter_12.pth").is_file()


def test_a_last_checkpoint_is_written_between_two_intervals(tmp_path):
    changes = early()
    checkpoint = {**changes["default_hooks"]["checkpoint"], "interval": 40}
    train(toy_config(tmp_path, **{**changes, "default_hooks": {"checkpoint": checkpoint}}))
    assert (tmp_path / "iter_20.pth").is_file()


@pytest.mark.parametrize("stop_after", [7, 13, 17])
def test_resumed_run_ends_at_the_same_iteration(tmp_path, stop_after):
    train(toy_config(tmp_path / "whole", **early()))
    train(toy_config(tmp_path / "cut", **early()), stop_after=stop_after)
    runner = train(toy_config(tmp_path / "cut", resume=True, **early()))
    assert runner.iter == 20
    whole, cut = (weights(tmp_path / f"{name}/iter_20.pth") for name in ("whole", "cut"))
    assert [name for name in whole if not bool((whole[name] == cut[name]).all())] == []


def test_an_ended_run_stays_ended(tmp_path):
    train(toy_config(tmp_path, **early()))
    assert train(toy_config(tmp_path, resume=True, **early())).iter == 20


def test_epochs_end_too(tmp_path):
    hook = early(min_delta=1e9, patience=1)["custom_hooks"]
    assert train(toy_config(tmp_path, max_epochs=5, custom_hooks=hook)).epoch == 2


def test_mistakes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        build_runner(toy_config(tmp_path, **early(patience=0)))
    with pytest.raises(ValueError, match=r"unknown metric 'coco/ap'; available: toy/AP"):
        train(toy_config(tmp_path, **early(monitor="coco/ap")))
