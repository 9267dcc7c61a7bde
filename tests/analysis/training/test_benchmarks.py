"""The benchmarks run, and the paths they compare are equivalent; nothing is timed here."""

from __future__ import annotations

import importlib.util
import time

import pytest
import torch

from ehrpose.analysis.training.data_benchmark import DataBenchmark
from ehrpose.analysis.training.startup_benchmark import print_startup_times
from ehrpose.analysis.training.train_benchmark import TrainBenchmark, variants
from ehrpose.config import load_config, resolve
from ehrpose.models.cpu_training import why_no_kernels


@pytest.fixture
def config(root):
    return str(root / "configs/ehrnet/demo_synthetic-128.py")


def load_tool(root, name):
    path = root / "tools/analysis_tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "options",
    [{"codec.unbiased": False}, {"codec.unbiased": True}, {"codec.unbiased": True, "codec.oks_sigma": 1.5}],
)
def test_all_paths_to_a_batch_give_the_same_targets(config, options):
    benchmark = DataBenchmark(config, options)
    assert benchmark.check(num_items=6) <= 1e-6
    first = benchmark.dataset.get_data_info(0)
    assert len(first["keypoints"]) > 0


def test_the_paths_agree_after_all_that_the_small_model_does_to_photos(config):
    cfg = resolve(load_config(config))
    before, *after = cfg.train_dataloader.dataset.pipeline
    pipeline = [before, *after[:-2], {"type": "PhotometricDistortion", "prob": 1.0}, *after[-2:]]
    place = next(i for i, step in enumerate(pipeline) if step["type"] == "BottomUpAffine")
    pipeline[place] = {**pipeline[place], "stretch": 0.2, "on_person": 0.8}
    benchmark = DataBenchmark(config, {"train_dataloader.dataset.pipeline": pipeline})
    assert benchmark.check(num_items=6) <= 1e-6


def test_dataloader_benchmark_prints_its_tables(root, config, capsys):
    options = ["--batch-size", "2", "--num-batches", "1", "--rounds", "1", "--num-items", "2"]
    load_tool(root, "benchmark_dataloader").main([config, *options])
    printed = capsys.readouterr().out
    assert "largest difference between targets of the paths" in printed
    rows = {line.rsplit(maxsplit=3)[0]: line.split() for line in printed.splitlines() if line.strip()}
    assert rows["plain"][2] == "1.00"
    assert {"points sent", "heatmaps sent", "read and decode", "warp", "targets", "pack", "batch"} <= set(
        rows
    )


def test_a_pipeline_without_targets_is_no_training_pipeline(config):
    with pytest.raises(ValueError, match="must contain BottomUpAffine, EncodeTargets and, last, PackPose"):
        DataBenchmark(config, {"train_dataloader.dataset.pipeline": [{"type": "LoadImage"}]})


def test_mosaic_finds_its_other_photos_and_several_pipelines_are_refused(root, config):
    cfg = resolve(load_config(config))
    pipeline = cfg.train_dataloader.dataset.pipeline
    mosaic = [pipeline[0], {"type": "Mosaic", "codec": "$codec", "prob": 1.0}, *pipeline[1:]]
    assert DataBenchmark(config, {"train_dataloader.dataset.pipeline": mosaic}).check(num_items=3) <= 1e-6
    both = {"_delete_": True, "type": "CombinedDataset", "datasets": [cfg.train_dataloader.dataset]}
    with pytest.raises(ValueError, match="CombinedDataset has a pipeline for each"):
        DataBenchmark(config, {"train_dataloader.dataset": both})


def test_every_form_of_a_training_step_runs(config):
    benchmark = TrainBenchmark(config, batch_size=1, device="cpu")
    forms = variants("cpu")
    expected = [
        "fp32",
        "fp32, channels_last",
        "fp32, kernels",
        "bf16",
        "bf16, channels_last",
        "bf16, kernels",
    ]
    with_kernels = why_no_kernels() is None
    assert [form.name for form in forms] == [n for n in expected if with_kernels or "kernels" not in n]
    benchmark.measure(forms, rounds=1)
    assert all(len(form.seconds) == 1 for form in forms)
    for model in [benchmark.model, *([benchmark.with_kernels] if with_kernels else [])]:
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_training_benchmark_prints_a_row_for_each_form(root, config, capsys):
    load_tool(root, "benchmark_training").main(
        [config, "--batch-size", "1", "--rounds", "1", "--device", "cpu"]
    )
    printed = capsys.readouterr().out
    assert printed.count("demo_synthetic-128") == (6 if why_no_kernels() is None else 4)


def test_startup_benchmark_names_each_part_in_order(demo_config, capsys):
    print_startup_times(str(demo_config), steps=2, photos=2, started=time.perf_counter())
    rows = [line.rsplit(None, 2) for line in capsys.readouterr().out.split("seconds for")[1].splitlines()[1:]]
    assert [row[0] for row in rows] == [
        "imports", "config and runner", "dataset and workers", "first step", "all steps", "validation",
    ]  # fmt: skip
    totals = [float(row[2]) for row in rows]
    assert totals == sorted(totals)
    assert totals[-1] > 0


def test_startup_benchmark_wants_a_training_by_iterations(root):
    with pytest.raises(ValueError, match="trains by epochs"):
        print_startup_times(str(root / "configs/ehrnet/h-4_coco-384.py"), 2, 2, time.perf_counter())
