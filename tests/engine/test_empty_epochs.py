"""A data loader that gives no batch is an error before anything starts, in training, validation and test."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from toy_parts import loader, toy_config

import ehrpose.engine.batches as batches
from ehrpose.engine import build_runner
from ehrpose.engine.batches import check_batches
from ehrpose.engine.runner import PoseRunner

INFINITE = {"sampler": {"type": "InfiniteSampler", "shuffle": True}}
BY_ITERATION = {"type": "ResumableIterBasedTrainLoop", "max_iters": 2, "val_interval": 2}
TOO_FEW = "4 photos are fewer than a batch of 24 with drop_last; set a smaller batch_size, or drop_last=False"


def few(**changes):
    return {**loader(24, length=4), "drop_last": True, **changes}


@pytest.mark.parametrize("loop", [{}, {"train_cfg": BY_ITERATION}], ids=["by epoch", "by iteration"])
def test_fewer_photos_than_a_batch_with_drop_last(tmp_path, loop):
    runner = build_runner(toy_config(tmp_path, train_dataloader=few(), **loop))
    with pytest.raises(ValueError, match=f"^train_dataloader: {TOO_FEW}: nothing would be trained$"):
        runner.train()
    assert list(tmp_path.rglob("*.pth")) == []


def test_the_last_batch_of_validation_and_test(tmp_path):
    cfg = toy_config(tmp_path, val_dataloader=few())
    with pytest.raises(ValueError, match=f"^val_dataloader: {TOO_FEW}: nothing would be validated$"):
        build_runner(cfg).train()
    with pytest.raises(ValueError, match=r"^val_dataloader: 4 photos"):
        build_runner(cfg).val()
    with pytest.raises(ValueError, match=r"^test_dataloader: 4 photos .* nothing would be tested$"):
        build_runner(cfg).test()
    assert list(tmp_path.rglob("*.pth")) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_data_set_without_photos_does_not_hang_an_infinite_sampler(tmp_path, num_workers):
    empty = {**loader(2, num_workers, length=0), **INFINITE}
    runner = build_runner(toy_config(tmp_path, train_dataloader=empty, train_cfg=BY_ITERATION))
    with pytest.raises(
        ValueError, match=r"^train_dataloader: the data set has no photos: nothing would be tr"
    ):
        runner.train()


def test_an_infinite_sampler_fills_a_batch_from_fewer_photos(tmp_path):
    runner = build_runner(toy_config(tmp_path, train_dataloader=few(**INFINITE), train_cfg=BY_ITERATION))
    runner.train()
    assert runner.iter == 2


def test_the_rest_of_an_epoch_is_dropped_as_asked(tmp_path):
    runner = build_runner(
        toy_config(tmp_path, max_epochs=2, train_dataloader={**loader(4), "drop_last": True})
    )
    runner.train()
    assert runner.iter == 4


def test_one_photo_is_singular():
    built = PoseRunner.build_dataloader(few(dataset={"type": "ToyPeople", "length": 1}), seed=0)
    with pytest.raises(ValueError, match="1 photo is fewer than a batch of 24"):
        check_batches("train", built)


def test_a_data_loader_and_a_loop_that_are_built_already(tmp_path):
    runner = build_runner(toy_config(tmp_path))
    runner._train_dataloader = DataLoader(torch.arange(3), batch_size=4, drop_last=True)
    with pytest.raises(ValueError, match="3 photos are fewer than a batch of 4"):
        runner.train()
    runner = build_runner(toy_config(tmp_path, train_dataloader=few()))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    with pytest.raises(ValueError, match=TOO_FEW):
        runner.train()


def test_a_data_set_of_unknown_length_is_left_to_the_loop():
    class Stream(IterableDataset):
        def __iter__(self):
            yield 1

    check_batches("train", DataLoader(Stream()))


@pytest.mark.parametrize(
    ("part", "counts", "message"),
    [
        ("train", [1, 0], "4 photos for 2 processes are fewer than a batch of 24 each with drop_last"),
        ("val", [1, 0], None),
        ("val", [0, 0], "nothing would be validated"),
        ("test", [0, 0], "nothing would be tested"),
    ],
)
def test_several_processes(monkeypatch, part, counts, message):
    built = PoseRunner.build_dataloader(few(), seed=0)
    monkeypatch.setattr(batches, "all_gather_object", lambda number: counts)
    monkeypatch.setattr(batches, "get_world_size", lambda: len(counts))
    if message is None:
        check_batches(part, built)
        return
    with pytest.raises(ValueError, match=message):
        check_batches(part, built)


def test_more_processes_than_photos(monkeypatch):
    built = PoseRunner.build_dataloader({**loader(2, length=1), "drop_last": False}, seed=0)
    monkeypatch.setattr(batches, "all_gather_object", lambda number: [number, 0])
    monkeypatch.setattr(batches, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="1 photo for 2 processes is too few for a batch each"):
        check_batches("train", built)
