"""The time left that a training shows is right, also after it was resumed; on a clock that the test moves."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from test_resume import InterruptionError
from toy_parts import loader, toy_config

from ehrpose.config import load_config
from ehrpose.engine import build_runner
from ehrpose.engine.hooks.time_left import validations_left

# Seconds on the moved clock.
STEP, VALIDATION_STEP, METRICS, SAVING = 2.0, 7.0, 30.0, 11.0
BY_ITERATION = {
    "train_cfg": {"type": "ResumableIterBasedTrainLoop", "max_iters": 40, "val_interval": 10},
    "log_processor": {"by_epoch": False},
    "train_dataloader": {**loader(), "sampler": {"type": "InfiniteSampler", "shuffle": True}},
    "param_scheduler": None,
}


class Clock:
    """Seconds that pass only when something is done."""

    def __init__(self):
        self.now = 1000.0
        self.module = SimpleNamespace(monotonic=self.read)

    def read(self) -> float:
        return self.now

    def takes(self, seconds, function):
        """Return the function, which then takes this long."""

        def slow(*args, **kwargs):
            self.now += seconds
            return function(*args, **kwargs)

        return slow


class EtaHook(Hook):
    """Keep the ETA and the clock after each training iteration."""

    priority = "LOWEST"

    def __init__(self, clock):
        self.clock, self.seen = clock, {}

    def after_train_iter(self, runner, *_, **__):
        self.seen[runner.iter + 1] = (runner.message_hub.get_info("eta"), self.clock.now)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in ("time_left", "progress"):
        monkeypatch.setattr(f"ehrpose.engine.hooks.{module}.time", clock.module)
    return clock


@pytest.fixture
def trained(clock):
    """Return a function that trains on the moved clock: ETA and clock by iterations done."""

    def train(cfg, stop_after=None, step=STEP):
        runner = build_runner(cfg)
        hook = EtaHook(clock)
        runner.register_hook(hook)
        train_step = clock.takes(step, runner.model.train_step)

        def until(*args, **kwargs):
            if runner.iter == stop_after:
                raise InterruptionError
            return train_step(*args, **kwargs)

        runner.model.train_step = until
        runner.model.val_step = clock.takes(VALIDATION_STEP, runner.model.val_step)
        runner.val_evaluator.evaluate = clock.takes(METRICS, runner.val_evaluator.evaluate)
        runner.save_checkpoint = clock.takes(SAVING, runner.save_checkpoint)
        if stop_after is None:
            runner.train()
        else:
            with pytest.raises(InterruptionError):
                runner.train()
        return hook.seen

    return train


# 7 photos in batches of 3, the metrics, and in the end a better checkpoint or none.
VALIDATION = 3 * VALIDATION_STEP + METRICS


def iterations_left(done, total=40):
    return (total - done) * STEP


def test_before_the_first_validation_the_eta_is_the_time_of_the_iterations_left(trained, tmp_path):
    seen = trained(toy_config(tmp_path, max_epochs=8))
    assert [seen[done][0] for done in range(1, 6)] == [iterations_left(done) for done in range(1, 6)]


@pytest.mark.parametrize("changes", [{"max_epochs": 8}, BY_ITERATION], ids=["epochs", "iterations"])
@pytest.mark.parametrize("done", [11, 20, 22, 33])
def test_eta_is_the_time_that_really_passes(trained, clock, tmp_path, changes, done):
    by_epoch = "max_epochs" in changes
    hook = {"type": "SafeCheckpointHook", "by_epoch": by_epoch, "interval": 2 if by_epoch else 10}
    seen = trained(toy_config(tmp_path, default_hooks={"checkpoint": hook}, **changes))
    eta, at = seen[done]
    assert eta == pytest.approx(clock.now - at, rel=0.35)
    validations = 8 - -(-done // 5) + 1 if by_epoch else 4 - -(-done // 10) + 1
    without_saving = iterations_left(done) + validations * VALIDATION
    assert without_saving <= eta <= without_saving + 8 * SAVING


@pytest.mark.parametrize(
    ("val_interval", "val_begin", "done", "left"),
    [(10, 1, 1, 4), (10, 1, 10, 4), (10, 1, 11, 3), (10, 1, 40, 1), (15, 1, 1, 3), (15, 1, 31, 1), (15, 31, 1, 1),
     (100, 1, 1, 1), (10, 25, 1, 2), (10, 100, 1, 0)],
)  # fmt: skip
def test_validations_left_are_those_that_come(trained, tmp_path, val_interval, val_begin, done, left):
    cfg = toy_config(tmp_path, **BY_ITERATION)
    cfg.train_cfg.update(val_interval=val_interval, val_begin=val_begin)
    runner = build_runner(cfg)
    seen = []
    runner.train_loop  # noqa: B018 built here, as in train
    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner._val_loop.run = lambda: seen.append(runner.iter)
    assert validations_left(runner, done) == left
    runner.train()
    assert len([at for at in seen if at >= done]) == left


@pytest.mark.parametrize("changes", [{"max_epochs": 8}, BY_ITERATION], ids=["epochs", "iterations"])
def test_what_was_done_before_a_resume_does_not_count(trained, tmp_path, changes):
    by_epoch = "max_epochs" in changes
    hook = {"type": "SafeCheckpointHook", "by_epoch": by_epoch, "interval": 4 if by_epoch else 20}
    cfg = toy_config(tmp_path, **changes, default_hooks={"checkpoint": hook})
    trained(cfg, stop_after=21, step=50 * STEP)  # by a machine that was much slower
    cfg.resume = True
    seen = trained(cfg)
    assert min(seen) == 21
    # The validation that should have followed the checkpoint is made up for, so its duration is known.
    validations = 4 if by_epoch else 2
    assert [seen[done][0] for done in (21, 25)] == [
        iterations_left(done) + validations * VALIDATION for done in (21, 25)
    ]


def left_of(lines):
    """Return the seconds left of the progress lines, by iterations done."""
    found = re.findall(r"^(\d+)/40 .* left (\d+):(\d+)$", lines, re.MULTILINE)
    return {int(done): 60 * int(minutes) + int(seconds) for done, minutes, seconds in found}


@pytest.mark.parametrize("resumed", [False, True])
def test_progress_lines_say_the_time_left(trained, clock, tmp_path, capsys, resumed):
    hook = {"type": "SafeCheckpointHook", "interval": 20, "by_epoch": False}
    cfg = toy_config(tmp_path, **BY_ITERATION, default_hooks={"checkpoint": hook})
    cfg.custom_hooks = [{"type": "ProgressBarHook", "every": 0}]
    if resumed:  # between a checkpoint and its validation
        cfg.train_cfg.val_interval = 100
        trained(cfg, stop_after=20, step=50 * STEP)
        cfg.train_cfg.val_interval, cfg.resume = 10, True
        capsys.readouterr()
    seen = trained(cfg)
    left = left_of(capsys.readouterr().err)
    first = 21 if resumed else 1
    assert min(left) == first
    assert left[first] == iterations_left(first) + (2 * VALIDATION if resumed else 0)
    for done in (25, 30, 35):
        assert left[done] == pytest.approx(clock.now - seen[done][1], rel=0.35)
    assert left[40] == VALIDATION


def test_eta_half_way_on_the_embedded_data(trained, clock, demo_config, small_options, tmp_path, monkeypatch):
    # Formatting the config's text would take half of the time.
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, True), raising=False)
    sizes = {"train_dataloader.dataset.length": 8, "train_dataloader.batch_size": 2, "max_iters": 8}
    sizes |= {"val_dataloader.dataset.length": 2, "image_size": 64, "train_cfg.val_interval": 2}
    cfg = load_config(demo_config, {**small_options, **sizes})
    cfg.work_dir, cfg.visualizer = str(tmp_path), None
    seen = trained(cfg)
    eta, at = seen[4]
    really = clock.now - at
    assert really / 2 <= eta <= really * 2
