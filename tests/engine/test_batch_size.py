"""The largest batch that fits: the limit of the container, growing steps, and the choice."""

from __future__ import annotations

import pytest
import torch

from ehrpose.config import load_config
from ehrpose.engine.batch_size import Step, choose, find_batch_size, growing_steps
from ehrpose.engine.memory_limit import available_bytes

MIB = 2**20


@pytest.mark.parametrize(
    ("most", "expected"), [("max", 8000 * 1024), (str(5000 * 1024), (5000 - 3000 + 500) * 1024), ("1", 0)]
)
def test_the_containers_limit_counts_if_it_is_smaller(tmp_path, most, expected):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text(f"{3000 * 1024 if most != '1' else 512001}\n")
    (tmp_path / "memory.stat").write_text(f"active_file 1\ninactive_file {500 * 1024}\n")
    assert available_bytes("cpu", tmp_path, tmp_path) == expected


def test_a_system_that_does_not_tell_is_named(tmp_path):
    with pytest.raises(ValueError, match="give a number"):
        available_bytes("cpu", tmp_path, tmp_path)


def grown(run, limit=1000 * MIB, photos=10**6):
    *steps, reason = growing_steps(run, limit, photos)
    return tuple(steps), reason


def test_steps_end_before_the_one_that_would_not_fit():
    steps, reason = grown(lambda batch: (100 + 50 * batch) * MIB)
    assert [step.batch for step in steps] == [1, 2, 4, 8, 16]
    assert reason == "32 would take about 1700 MiB"
    choice = choose(steps, "cpu", 1000 * MIB, reason)
    assert choice.batch == 16
    assert "batch size 16 on cpu: 50.0 MiB per photo, 900 of 1000 MiB" in choice.describe()


def test_steps_end_with_the_photos_and_where_cuda_has_no_memory():
    assert grown(lambda batch: MIB, photos=5)[1] == "the data set has 5 photos"

    def run(batch):
        if batch > 2:
            raise torch.OutOfMemoryError
        return MIB

    steps, reason = grown(run)
    assert (steps[-1].batch, reason) == (2, "4 does not fit")


def test_a_size_that_took_more_than_the_limit_is_not_chosen():
    steps = (Step(1, 10, 0.1), Step(2, 30, 0.1))
    assert choose(steps, "cpu", 20, "").batch == 1
    with pytest.raises(ValueError, match="one photo needs 0 MiB"):
        choose(steps, "cpu", 5, "")


def test_a_real_model_takes_real_steps_in_a_child(root, tmp_path):
    base = str(root / "configs/ehrnet/demo_synthetic-128.py")
    (tmp_path / "a.py").write_text(
        f"_base_ = [{base!r}]\nphi = -8\nimage_size = 64\ncodec = dict(input_size=64)\n"
        "train_dataloader = dict(dataset=dict(length=5))\n"
    )
    choice = find_batch_size(load_config(tmp_path / "a.py"))
    assert choice.batch == 4
    assert choice.reason == "the data set has 5 photos"
    assert all(100 * MIB < step.peak < choice.limit for step in choice.steps)
