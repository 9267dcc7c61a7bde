"""Shipped weights load, find people, and reach the AP stated in their metafile."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ehrpose.analysis.speed.exported_ap import evaluate_runtime
from ehrpose.apis import inference
from ehrpose.config import load_config
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.engine import build_runner
from ehrpose.inferencers.predictors import open_predictor
from ehrpose.model_zoo import find_model, list_models
from ehrpose.models.loading import init_model
from ehrpose.models.weights.checkpoint import read_checkpoint

MODELS = [model for model in list_models() if model.checkpoint is not None]
SETTINGS = [(model, result) for model in MODELS for result in model.results]


def test_some_weights_are_shipped():
    assert MODELS
    size = sum(model.checkpoint.stat().st_size for model in MODELS)
    assert size <= 32 * 2**20


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_metafile_says_how_they_were_made(model):
    for key in ("Training Data", "Iterations", "Seed", "Command", "Parameters (M)", "Input Size"):
        assert key in model.metadata, key
    assert {bool(result["Flip Test"]) for result in model.results} == {False, True}
    loaded = init_model(model.aliases[0])
    number = sum(parameter.numel() for parameter in loaded.parameters())
    assert number / 1e6 == pytest.approx(model.metadata["Parameters (M)"], abs=0.001)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_nobody_is_seen_on_a_grey_wall(model):
    loaded = init_model(model.aliases[0])
    (sample,) = inference(loaded, np.full((240, 320, 3), 128, np.uint8))
    assert (sample.pred_instances.bbox_scores < 0.1).all()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_files_hold_nothing_but_weights_and_plain_facts(model):
    content = torch.load(model.checkpoint, map_location="cpu", weights_only=True)
    assert set(content) <= {"state_dict", "meta"}
    assert set(read_checkpoint(model.checkpoint)["state_dict"]) == set(init_model(model.config).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "result"),
    SETTINGS,
    ids=[f"{m.name}-{'flip' if r['Flip Test'] else 'plain'}" for m, r in SETTINGS],
)
def test_ap_of_the_metafile(model, result, coco_mini, tmp_path):
    options = {
        "data_root": f"{coco_mini}/",
        "model.flip_test": bool(result["Flip Test"]),
        "load_from": str(model.checkpoint),
    }
    runner = build_runner(load_config(model.config, options), tmp_path)
    assert runner.test()["coco/AP"] == pytest.approx(result["Metrics"]["AP"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_default_export_has_the_ap_of_torch(backend, coco_mini, tmp_path):
    """Photos keep their shape; letterboxed into a square, small people are lost: 0.049 AP."""
    pytest.importorskip(backend)
    data = coco_mini / "annotations/person_keypoints_val2017.json", coco_mini / "val2017"
    model = find_model("ehrnet-small")
    path = export(model.config, str(model.checkpoint), tmp_path, ExportOptions(backend=backend)).path
    in_torch = open_predictor("ehrnet-small", backend="torch", mode="fast", flip_test=False)
    wanted = evaluate_runtime(in_torch, *data)["coco/AP"]
    with PoseRuntime(path) as runtime:
        found = evaluate_runtime(runtime, *data)["coco/AP"]
    assert found == pytest.approx(wanted, abs=0.003)
