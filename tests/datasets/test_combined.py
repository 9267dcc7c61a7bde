"""Several datasets combined into one."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from ehrpose.config import load_config
from ehrpose.datasets.combined import CombinedDataset
from ehrpose.engine import build_runner
from ehrpose.engine.seeding import SeededDataset, SeededIndex
from ehrpose.registry import DATASETS

KEYPOINTS = {
    "dataset_name": "heads",
    "names": ["nose", "left_eye", "right_eye"],
    "swap": [["left_eye", "right_eye"]],
    "skeleton": [["nose", "left_eye"]],
    "sigmas": [0.03, 0.03, 0.03],
}


def scenes(length, seed, keypoints=KEYPOINTS, **kwargs):
    return {
        "type": "SyntheticPeople",
        "keypoints": keypoints,
        "length": length,
        "seed": seed,
        "image_size": 64,
        **kwargs,
    }


def test_items_are_those_of_the_datasets_one_after_the_other():
    configs = [scenes(3, 1), scenes(2, 2)]
    parts = [DATASETS.build(config) for config in configs]
    both = DATASETS.build({"type": "CombinedDataset", "datasets": configs})
    assert len(both) == 5
    wanted = [item for part in parts for item in part]
    for index in range(5):
        np.testing.assert_array_equal(both[index]["img"], wanted[index]["img"])
        np.testing.assert_array_equal(both.get_data_info(index)["keypoints"], wanted[index]["keypoints"])
    np.testing.assert_array_equal(both[-1]["img"], wanted[4]["img"])
    assert not np.array_equal(wanted[0]["img"], wanted[3]["img"])
    assert both.metainfo.keys() == parts[0].metainfo.keys()
    assert both.keypoints.names == ("nose", "left_eye", "right_eye")
    for beyond in (5, -6):
        with pytest.raises(IndexError, match=f"index {beyond} is out of range for a dataset of 5 items"):
            both[beyond]


def test_factors_say_how_often_items_come():
    sets = [DATASETS.build(scenes(n, n)) for n in (4, 8, 3)]
    combined = CombinedDataset(sets, sample_ratio_factor=[2, 0.25, 1])
    assert len(combined) == 8 + 2 + 3
    located = [combined.locate(i) for i in range(len(combined))]
    assert located[:8] == [(0, i // 2) for i in range(8)]
    assert located[10:] == [(2, 0), (2, 1), (2, 2)]
    # One of every four consecutive items, and all of them in the long run.
    drawn = [[combined.locate(i) for _ in range(200)] for i in (8, 9)]
    assert set(drawn[0]) == {(1, i) for i in range(4)}
    assert set(drawn[1]) == {(1, i) for i in range(4, 8)}
    # A dataset whose share rounds to 0 still has one item.
    assert len(CombinedDataset(sets[:1], sample_ratio_factor=[0.01])) == 1


def test_items_come_equally_often_with_a_factor_between_whole_numbers():
    random.seed(0)
    combined = CombinedDataset([DATASETS.build(scenes(4, 1))], sample_ratio_factor=[1.5])
    assert len(combined) == 6
    counts = np.bincount([combined.locate(i)[1] for _ in range(2000) for i in range(6)], minlength=4)
    np.testing.assert_allclose(counts / 2000, 1.5, atol=0.06)


def test_a_seeded_item_is_the_same_whatever_was_drawn_before():
    config = {
        "type": "CombinedDataset",
        "datasets": [scenes(2, 1), scenes(40, 2)],
        "sample_ratio_factor": [1, 0.1],
    }
    dataset = SeededDataset(config)
    first = dataset[SeededIndex(3, (7, 0, 0, 5))]["img"]
    random.random()
    np.testing.assert_array_equal(dataset[SeededIndex(3, (7, 0, 0, 5))]["img"], first)
    others = [dataset[SeededIndex(3, (seed, 0, 0, 5))]["img"] for seed in range(8, 14)]
    assert any(not np.array_equal(other, first) for other in others)


def test_bad_photos_of_all_datasets_are_counted():
    sets = [DATASETS.build(scenes(2, 1)) for _ in range(3)]
    sets[1].num_bad_images, sets[2].num_bad_images = 2, 3
    assert CombinedDataset(sets).num_bad_images == 5


def test_training_with_worker_processes_resumes_bit_equal(tmp_path, root):
    """Two datasets, of one a random half of the items: a resumed run ends with an uninterrupted run's weights."""

    def run(work_dir, iterations, **more):
        cfg = load_config(root / "configs/ehrnet/demo_synthetic-128.py")
        part = cfg.train_dataloader.dataset
        part.length, part.cache = 12, False
        cfg.train_dataloader.dataset = {
            "type": "CombinedDataset",
            "datasets": [part, {**part, "seed": 77}],
            "sample_ratio_factor": [1, 0.5],
        }
        cfg.merge_from_dict(
            {
                "work_dir": str(work_dir),
                "train_dataloader.batch_size": 2,
                "train_dataloader.num_workers": 1,
                "train_cfg.max_iters": iterations,
                "train_cfg.val_interval": 1000,
                "default_hooks.checkpoint.interval": 2,
                "default_hooks.checkpoint.max_keep_ckpts": -1,
                **more,
            }
        )
        build_runner(cfg).train()

    run(tmp_path / "a", 4)
    run(tmp_path / "b", 4, resume=True, load_from=str(tmp_path / "a/iter_2.pth"))
    whole, resumed = (
        torch.load(tmp_path / name / "iter_4.pth", weights_only=False)["state_dict"] for name in "ab"
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("datasets", "factors", "message"),
    [
        ([], None, "at least one dataset"),
        (scenes(2, 1), None, "must be a list"),
        ([scenes(2, 1)], [1, 2], "for each of 1 datasets"),
        ([scenes(2, 1)], [0], "positive number"),
        ([scenes(2, 1)], 0.5, "list of one positive number"),
        ([scenes(2, 1)], ["2"], "positive number"),
        (["photos"], None, "dataset 1 must have a KeypointMeta .*got str"),
        ([{"length": 2}], None, "dataset 1 has no 'type'"),
        (
            [scenes(2, 1), scenes(2, 1, {**KEYPOINTS, "swap": []})],
            None,
            "dataset 2 has the keypoint flip_indices",
        ),
        (
            [scenes(2, 1), scenes(2, 1, {**KEYPOINTS, "names": ["nose", "right_eye", "left_eye"]})],
            None,
            "dataset 2 has the keypoint names .*expected those of the first",
        ),
    ],
)
def test_wrong_arguments_are_named(datasets, factors, message):
    with pytest.raises(ValueError, match=message):
        CombinedDataset(datasets, factors)
