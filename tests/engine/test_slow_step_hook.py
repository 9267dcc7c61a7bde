"""Training steps that become slow, on a clock of the test."""

from __future__ import annotations

import pytest
from toy_parts import toy_config

from ehrpose.engine import build_runner
from ehrpose.engine.hooks.slow_steps import SlowStepHook
from ehrpose.slow_steps import SlowSteps


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Return a function that trains on a clock, and returns the warnings.

    Its arguments give the seconds of a step by its number, and those that saving and validating take.
    """

    def train(seconds_of, others=0.0):
        runner = build_runner(toy_config(tmp_path, max_epochs=4))
        clock, lines = Clock(), []
        (hook,) = [hook for hook in runner.hooks if isinstance(hook, SlowStepHook)]
        hook._steps = SlowSteps("training steps", clock, clock, lambda: 11.4, lambda: None, cores=2)
        monkeypatch.setattr(runner.logger, "warning", lines.append)

        def taking(function, seconds):
            def timed(*args, **kwargs):
                clock.now += seconds(runner.iter)
                return function(*args, **kwargs)

            return timed

        runner.model.train_step = taking(runner.model.train_step, seconds_of)
        runner.model.val_step = taking(runner.model.val_step, lambda number: others)
        runner.save_checkpoint = taking(runner.save_checkpoint, lambda number: others)
        runner.train()
        assert runner.iter == 20
        assert clock.now >= 20 * seconds_of(0) + 4 * others
        return [line for line in lines if "training steps" in str(line)]

    return train


def test_steps_that_become_slow_are_told_once(trained):
    (line,) = trained(lambda number: 3.0 if number >= 12 else 0.2)
    assert line.startswith(
        "training steps take 15 times as long as before, 3 s and not 0.2 s: other programs"
    )


def test_validation_and_checkpoints_are_no_slow_steps(trained):
    assert trained(lambda number: 0.2, others=3600.0) == []
