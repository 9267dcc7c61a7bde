"""Training by the clock: learning rate, files, the end, and going on; with a clock of the test's own."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ehrpose.engine.hooks import time_budget
from ehrpose.engine.hooks.time_budget import TimeBudgetHook
from ehrpose.models.weights.checkpoint import read_checkpoint, read_state_dict


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time_budget, "time", clock)
    return clock


def make_runner():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.02}])
    info = {}
    logged = {"params": torch.zeros(1), "lr": 0.1}
    processor = SimpleNamespace(
        get_log_after_iter=lambda *args: ({}, "Iter(train) [    3/1000000000]  lr: 0.1")
    )
    return SimpleNamespace(
        model=model, hooks=[], param_schedulers=None, iter=0, logger=logging.getLogger("time_budget"),
        max_iters=10**9, log_processor=processor,
        optim_wrapper=SimpleNamespace(optimizer=optimizer, base_param_settings=logged),
        train_loop=SimpleNamespace(stop_training=False),
        message_hub=SimpleNamespace(update_info=info.__setitem__), info=info,
    )  # fmt: skip


def rates(runner):
    return [group["lr"] for group in runner.optim_wrapper.optimizer.param_groups]


def run(hook, runner, clock, seconds=60.0, batch=5, most=1000):
    """Train in steps of so many seconds until the hook stops; return the rates of the first group."""
    seen = []
    hook.before_train(runner)
    while not runner.train_loop.stop_training and len(seen) < most:
        hook.before_train_iter(runner, runner.iter)
        seen.append(rates(runner)[0])
        clock.now += seconds
        hook.after_train_iter(runner, runner.iter, {"inputs": [0] * batch})
        runner.iter += 1
    hook.after_train(runner)
    return seen


def test_the_rate_falls_with_time_and_the_end_is_in_time(clock, tmp_path):
    runner = make_runner()
    seen = run(TimeBudgetHook(10, tmp_path, warm_up=0.0, end=0.0), runner, clock)
    assert len(seen) == 10
    assert seen[0] == pytest.approx(0.1)
    assert seen[5] == pytest.approx(0.05)
    assert seen == sorted(seen, reverse=True)
    assert rates(runner)[1] == pytest.approx(rates(runner)[0] / 5)
    assert runner.optim_wrapper.base_param_settings["lr"] == rates(runner)[0], "the one that is logged"
    assert runner.log_processor.get_log_after_iter()[1] == "Iter(train) [    3]  lr: 0.1", "there is no total"
    meta = read_checkpoint(str(tmp_path / "latest.pth"))["meta"]
    assert (meta["minutes"], meta["photos"], meta["iter"]) == (pytest.approx(10), 50, 10)


def test_two_runs_make_one_schedule(clock, tmp_path):
    whole = run(TimeBudgetHook(20, tmp_path, warm_up=0.0), make_runner(), clock)
    first = run(TimeBudgetHook(20, tmp_path, warm_up=0.0, stop_after=7), make_runner(), clock)
    assert len(first) == 7
    second = run(TimeBudgetHook(20, tmp_path, warm_up=0.0, spent=7.0, seen=35), make_runner(), clock)
    assert first + second == pytest.approx(whole)
    assert read_checkpoint(str(tmp_path / "latest.pth"))["meta"]["photos"] == 100
    warmed = run(TimeBudgetHook(20, tmp_path, warm_up=0.1, spent=7.0), make_runner(), clock)
    assert warmed[0] < 0.02 * whole[7]
    assert warmed[1] == pytest.approx(whole[8] / 2)
    assert warmed[2:] == pytest.approx(whole[9:])


def test_files_come_every_few_minutes(clock, tmp_path, monkeypatch):
    written = []
    hook = TimeBudgetHook(10, tmp_path, every=2.0)
    write = hook.write
    monkeypatch.setattr(hook, "write", lambda runner: written.append(clock.now) or write(runner))
    start = clock.now
    runner = make_runner()
    run(hook, runner, clock, seconds=30.0)
    assert [now - start for now in written] == [120, 240, 360, 480, 600]
    assert runner.info["eta"] == pytest.approx(0, abs=1e-6)
    weights = read_state_dict(tmp_path / "latest.pth")
    assert weights["weight"].dtype == torch.float16
    torch.testing.assert_close(weights["weight"].float(), runner.model.weight.detach(), atol=1e-3, rtol=0)


def test_what_cannot_be_done_is_refused_before_training(clock, tmp_path):
    with pytest.raises(ValueError, match="all 10 minutes are spent"):
        TimeBudgetHook(10, tmp_path, spent=10.0)
    for bad in ({"minutes": 0}, {"every": 0}, {"stop_after": 0}, {"warm_up": 1.0}):
        with pytest.raises(ValueError, match="expected minutes"):
            TimeBudgetHook(**{"minutes": 10, "out": tmp_path, **bad})
    with pytest.raises(ValueError, match="MiB as float16: expected at most"):
        TimeBudgetHook(10, tmp_path, max_mib=1e-4).before_train(make_runner())
    runner = make_runner()
    runner.param_schedulers = [object()]
    with pytest.raises(ValueError, match="param_scheduler=None"):
        TimeBudgetHook(10, tmp_path).before_train(runner)
    assert not list(tmp_path.iterdir())
