from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from toy_parts import toy_config, weights

from ehrpose.engine import CheckpointError, build_runner
from ehrpose.engine.checkpoint import checkpoint_beside


def fail_at(monkeypatch, number: int, action):
    """Write half of the checkpoint of this number (from 1), then act."""
    put = LocalBackend.put
    calls = []

    def half(self, data, path):
        calls.append(path)
        if len(calls) < number:
            return put(self, data, path)
        put(self, data[: len(data) // 2], path)
        return action()

    monkeypatch.setattr(LocalBackend, "put", half)


def disk_is_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def quiet_config(work_dir, **changes):
    hooks = {"checkpoint": {"type": "SafeCheckpointHook", "max_keep_ckpts": 1, "interval": 1}}
    changes = {"default_hooks": hooks, **changes}
    return toy_config(work_dir, val_dataloader=None, val_cfg=None, val_evaluator=None, **changes)


def files(folder: Path) -> list[str]:
    """Names of the files in a folder, without the config."""
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix != ".py")


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    fail_at(monkeypatch, 2, disk_is_full)
    with pytest.raises(
        CheckpointError, match=r"epoch_2\.pth could not be written: No space left.*`resume=True`"
    ) as error:
        build_runner(quiet_config(tmp_path)).train()
    assert "\n" not in str(error.value)
    assert files(tmp_path) == ["epoch_1.pth", "last_checkpoint"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_1.pth")
    monkeypatch.undo()
    build_runner(quiet_config(tmp_path, resume=True)).train()
    assert torch.load(tmp_path / "epoch_3.pth", weights_only=True)["meta"]["epoch"] == 3


def _train_and_die(work_dir: Path) -> None:
    fail_at(pytest.MonkeyPatch(), 2, lambda: os.kill(os.getpid(), signal.SIGKILL))
    build_runner(quiet_config(work_dir)).train()


def test_kill_while_saving_leaves_the_last_good_checkpoint(tmp_path):
    # A fresh process: torch does not train in one that was forked after training in its parent.
    process = multiprocessing.get_context("spawn").Process(target=_train_and_die, args=(tmp_path,))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "epoch_1.pth")
    assert torch.load(tmp_path / "epoch_1.pth", weights_only=False)["meta"]["epoch"] == 1
    assert [*tmp_path.glob(".epoch_2.*.partial.pth")]
    assert not (tmp_path / "epoch_2.pth").exists()
    build_runner(quiet_config(tmp_path, resume=True)).train()
    # Half-written and outdated ones are gone.
    assert files(tmp_path) == ["epoch_3.pth", "last_checkpoint"]


def test_old_checkpoint_goes_only_after_the_new_one_stands(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda a, b: (seen.append((Path(b).name, files(tmp_path))), replace(a, b))
    )
    build_runner(quiet_config(tmp_path, max_epochs=2)).train()
    before = dict(seen)
    assert "epoch_1.pth" in before["epoch_2.pth"]
    assert "epoch_1.pth" not in files(tmp_path)


def test_previous_best_goes_only_after_the_new_one_stands(tmp_path, monkeypatch):
    from toy_parts import ToyMetric

    scores = iter([0.1, 0.5, 0.3, 0.7])
    monkeypatch.setattr(ToyMetric, "compute_metrics", lambda self, results: {"AP": next(scores)})
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda a, b: (seen.append((Path(b).name, files(tmp_path))), replace(a, b))
    )
    build_runner(toy_config(tmp_path, max_epochs=4)).train()
    present = dict(seen)
    assert "best_toy_AP_epoch_1.pth" in present["best_toy_AP_epoch_2.pth"]
    assert "best_toy_AP_epoch_2.pth" in present["best_toy_AP_epoch_4.pth"]
    assert [name for name in files(tmp_path) if name.startswith("best")] == ["best_toy_AP_epoch_4.pth"]


def test_resumed_run_removes_the_best_of_the_interrupted_one(tmp_path, monkeypatch):
    from toy_parts import ToyMetric

    scores = iter([0.1, 0.5])
    monkeypatch.setattr(ToyMetric, "compute_metrics", lambda self, results: {"AP": next(scores)})
    build_runner(toy_config(tmp_path, max_epochs=1)).train()
    build_runner(toy_config(tmp_path, max_epochs=2, resume=True)).train()
    assert [name for name in files(tmp_path) if name.startswith("best")] == ["best_toy_AP_epoch_2.pth"]


def test_unknown_metric_of_save_best_is_an_error(tmp_path):
    cfg = toy_config(tmp_path, max_epochs=1)
    cfg.default_hooks.checkpoint.save_best = "coco/AP"
    with pytest.raises(ValueError, match="unknown metric 'coco/AP'; available: toy/AP"):
        build_runner(cfg).train()


def test_failed_write_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write():
        with checkpoint_beside(path) as partial:
            Path(partial).write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert (path.read_text(), files(tmp_path)) == ("old", ["file"])


def test_best_checkpoint_holds_weights_but_no_optimizer(tmp_path):
    build_runner(toy_config(tmp_path, max_epochs=1)).train()
    best = torch.load(next(tmp_path.glob("best*.pth")), weights_only=True)
    assert "optimizer" not in best
    last = weights(tmp_path / "epoch_1.pth")
    assert all(torch.equal(last[name], value) for name, value in best["state_dict"].items())
