from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy_parts import loader, toy_config, weights

from ehrpose.engine import build_runner, compat
from ehrpose.engine.seeding import plain

EMA = {"type": "EMAHook", "momentum": 0.1, "update_buffers": True}


class InterruptionError(Exception):
    pass


def train(cfg, stop_after: int | None = None):
    """Train; with ``stop_after`` abort in the iteration after that many, as a kill would."""
    runner = build_runner(cfg)
    if stop_after is not None:
        step = runner.model.train_step

        def interrupted(*args, **kwargs):
            if runner.iter >= stop_after:
                raise InterruptionError
            return step(*args, **kwargs)

        runner.model.train_step = interrupted
        with pytest.raises(InterruptionError):
            runner.train()
    else:
        runner.train()
    return runner


def assert_same(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("hooks", [[], [EMA]], ids=["plain", "ema"])
def test_resumed_run_ends_bit_equal(tmp_path, num_workers, hooks):
    changes = {"custom_hooks": hooks, "num_workers": num_workers}
    train(toy_config(tmp_path / "whole", **changes))
    train(toy_config(tmp_path / "cut", **changes), stop_after=7)  # 5 iterations per epoch: in the second one
    assert not (tmp_path / "cut/epoch_2.pth").exists()
    train(toy_config(tmp_path / "cut", resume=True, **changes))
    assert_same(weights(tmp_path / "whole/epoch_3.pth"), weights(tmp_path / "cut/epoch_3.pth"))


def test_resume_takes_no_notice_of_validation(tmp_path):
    train(toy_config(tmp_path / "whole"))
    quiet = toy_config(tmp_path / "quiet")
    quiet.val_dataloader = quiet.val_cfg = quiet.val_evaluator = None
    train(quiet)
    assert_same(weights(tmp_path / "whole/epoch_3.pth"), weights(tmp_path / "quiet/epoch_3.pth"))


def test_accumulated_gradients_survive_an_interruption(tmp_path):
    wrapper = {
        "accumulative_counts": 3,
        "clip_grad": {"max_norm": 1.0},
        "optimizer": {"type": "Adam", "lr": 0.01},
    }
    train(toy_config(tmp_path / "whole", optim_wrapper=wrapper))
    train(toy_config(tmp_path / "cut", optim_wrapper=wrapper), stop_after=5)
    assert "accumulated_gradients" in torch.load(tmp_path / "cut/epoch_1.pth", weights_only=True)
    train(toy_config(tmp_path / "cut", optim_wrapper=wrapper, resume=True))
    assert_same(weights(tmp_path / "whole/epoch_3.pth"), weights(tmp_path / "cut/epoch_3.pth"))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("loop", ["IterBasedTrainLoop", "ResumableIterBasedTrainLoop"])
@pytest.mark.parametrize("sampler", ["InfiniteSampler", "DefaultSampler"])
def test_iteration_based_run_resumes_bit_equal(tmp_path, loop, sampler, num_workers):
    if (sampler, loop) == ("DefaultSampler", "IterBasedTrainLoop"):
        pytest.skip("MMEngine's own; covered by the other loop, which falls back to it")
    changes = {
        "train_cfg": {"type": loop, "max_iters": 9, "val_interval": 3},
        "default_hooks": {"checkpoint": {"type": "SafeCheckpointHook", "interval": 4, "by_epoch": False}},
        "log_processor": {"by_epoch": False},
        "train_dataloader": {
            **loader(num_workers=num_workers),
            "sampler": {"type": sampler, "shuffle": True},
        },
        "param_scheduler": [
            {"type": "LinearLR", "begin": 0, "end": 7, "start_factor": 0.1, "by_epoch": False}
        ],
    }
    train(toy_config(tmp_path / "whole", **changes))
    train(toy_config(tmp_path / "cut", **changes), stop_after=6)
    train(toy_config(tmp_path / "cut", **changes, resume=True))
    assert_same(weights(tmp_path / "whole/iter_9.pth"), weights(tmp_path / "cut/iter_9.pth"))


def test_resumed_iterations_read_only_what_is_left(tmp_path):
    changes = {
        "train_cfg": {"type": "ResumableIterBasedTrainLoop", "max_iters": 6, "val_interval": 100},
        "default_hooks": {"checkpoint": {"type": "SafeCheckpointHook", "interval": 4, "by_epoch": False}},
        "log_processor": {"by_epoch": False},
        "train_dataloader": {**loader(), "sampler": {"type": "InfiniteSampler", "shuffle": True}},
    }
    train(toy_config(tmp_path, **changes), stop_after=5)
    resumed = toy_config(tmp_path, resume=True, **changes)
    resumed.val_dataloader = resumed.val_cfg = resumed.val_evaluator = None
    runner = build_runner(resumed)
    dataset = type(runner.train_dataloader.dataset)
    original, positions = dataset.__getitem__, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            dataset, "__getitem__", lambda self, i: positions.append(i.key[-1]) or original(self, i)
        )
        runner.train()
    assert positions == [8, 9, 10, 11]  # iterations 4 and 5, two items each


def test_run_without_a_seed_resumes_with_the_one_it_drew(tmp_path):
    changes = {"randomness": {"seed": None}, "max_epochs": 2}
    whole = train(toy_config(tmp_path / "run", **changes))
    expected = weights(tmp_path / "run/epoch_2.pth")
    first = str(tmp_path / "run/epoch_1.pth")
    again = train(toy_config(tmp_path / "again", resume=True, load_from=first, **changes))
    assert again.seed == whole.seed
    assert_same(expected, weights(tmp_path / "again/epoch_2.pth"))


def test_other_seed_gives_another_run(tmp_path):
    for seed in (1, 2):
        train(toy_config(tmp_path / str(seed), max_epochs=1, randomness={"seed": seed}))
    a, b = (weights(tmp_path / f"{seed}/epoch_1.pth") for seed in (1, 2))
    assert not torch.equal(a["net.0.weight"], b["net.0.weight"])


def test_ema_weights_are_those_that_are_evaluated_and_saved(tmp_path):
    runner = build_runner(toy_config(tmp_path, max_epochs=1, custom_hooks=[EMA]))
    seen = {}
    predict = runner.model.val_step

    def spy(data):
        seen["evaluated"] = runner.model.net[0].weight.detach().clone()
        return predict(data)

    runner.model.val_step = spy
    runner.train()
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert torch.equal(seen["evaluated"], checkpoint["state_dict"]["net.0.weight"])
    assert not torch.equal(seen["evaluated"], runner.model.net[0].weight)


def test_resuming_recognises_the_data_set(tmp_path):
    train(toy_config(tmp_path, max_epochs=1))
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert checkpoint["meta"]["dataset_meta"] == {"dataset_name": "toy", "sigmas": [1.0, 1.0, 1.0]}
    runner = build_runner(toy_config(tmp_path, max_epochs=1, resume=True))
    warnings = []
    runner.logger.warning = lambda text, *args: warnings.append(text)
    runner.train()
    assert not [text for text in warnings if "dataset metainfo" in text]


def test_metadata_becomes_plain():
    @dataclasses.dataclass
    class Meta:
        names: tuple
        sigmas: np.ndarray

    got = plain({"meta": Meta(("a", "b"), np.float32([0.5])), "number": np.int64(3), "text": None})
    assert got == {"meta": {"names": ["a", "b"], "sigmas": [0.5]}, "number": 3, "text": None}


def test_code_in_a_checkpoint_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"state_dict": {}, "meta": Evil()}, tmp_path / "evil.pth")
    compat.apply()
    runner = build_runner(toy_config(tmp_path / "run", resume=True, load_from=str(tmp_path / "evil.pth")))
    with pytest.raises(ValueError, match=r"evil\.pth is refused: it refers to .*print"):
        runner.train()


def validations(runner):
    """Count the validations of a runner that is yet to train."""
    seen = []
    run = runner.val_loop.run
    runner.val_loop.run = lambda: seen.append(runner.iter) or run()
    return seen


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_validation_that_was_cut_off_is_made_up_for(tmp_path, is_cut):
    runner = build_runner(toy_config(tmp_path))
    metric = runner.val_loop.evaluator.metrics[0]
    compute = metric.compute_metrics

    def interrupted(results):
        if runner.iter > 9:  # the second validation
            raise InterruptionError
        return {**compute(results), "AP": runner.iter}

    metric.compute_metrics = interrupted
    if is_cut:
        with pytest.raises(InterruptionError):
            runner.train()
    else:
        metric.compute_metrics = lambda results: {**compute(results), "AP": runner.iter}
        train_until = runner.model.train_step

        def stop(*args, **kwargs):
            if runner.iter >= 12:
                raise InterruptionError
            return train_until(*args, **kwargs)

        runner.model.train_step = stop
        with pytest.raises(InterruptionError):
            runner.train()
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_2.pth")
    resumed = build_runner(toy_config(tmp_path, resume=True))
    seen = validations(resumed)
    metric = resumed.val_loop.evaluator.metrics[0]
    original = metric.compute_metrics
    metric.compute_metrics = lambda results: {**original(results), "AP": 100 - resumed.iter}
    resumed.train()
    assert seen == ([10, 15] if is_cut else [15])
    # 90 after epoch 2 is better than 85 after epoch 3; where epoch 2 was validated before, with 10, 85 is the best.
    assert [path.name for path in tmp_path.glob("best*")] == [f"best_toy_AP_epoch_{2 if is_cut else 3}.pth"]


@pytest.mark.parametrize("in_epochs", [True, False])
def test_a_run_that_begins_or_is_within_an_epoch_does_not_validate_first(tmp_path, in_epochs):
    checkpoint = {"type": "SafeCheckpointHook", "interval": 3, "by_epoch": False}
    changes = {"default_hooks": {"checkpoint": checkpoint}, "max_epochs": 2}
    if not in_epochs:
        changes |= {
            "train_cfg": {"type": "ResumableIterBasedTrainLoop", "max_iters": 7, "val_interval": 4},
            "log_processor": {"by_epoch": False},
        }
    runner = build_runner(toy_config(tmp_path, **changes))
    seen = validations(runner)
    runner.train()
    assert seen == ([5, 10] if in_epochs else [4, 7])
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_3.pth"))
    resumed = build_runner(toy_config(tmp_path, resume=True, **changes))
    seen = validations(resumed)
    resumed.train()
    # An epoch begins again.
    assert seen == ([8, 13] if in_epochs else [4, 7])
