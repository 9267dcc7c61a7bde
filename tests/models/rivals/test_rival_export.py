"""Exported networks of configs/rivals find the people that the model finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_rivals import SMALL, enliven, small_options

from ehrpose.apis import inference
from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.models.loading import init_model
from ehrpose.structures import Maps

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")

FOLDER = Path(__file__).parents[3] / "configs/rivals"
FULL_SIZE = (
    "higherhrnet-w32_coco-512", "hrnet-w32-udp_coco-512", "litepose-l_coco-512", "res50_coco-512",
    "mobilenetv2_coco-512",
)  # fmt: skip
# An export sees each photo once. Which of many similar pixels a missing keypoint falls to depends on the processor.
PLAIN = {"model.flip_test": False, "codec.fill_missing": False}


def export_and_compare(name, options, backend, folder):
    from ehrpose.deploy.export.onnx import DeployNetwork
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import drawn_scene, export
    from ehrpose.deploy.runtime import PoseRuntime

    if backend == "openvino":
        pytest.importorskip("openvino")
    options = {**options, **PLAIN}
    config = str(FOLDER / f"{name}.py")
    model = enliven(init_model(load_config(config, options, INFERENCE_PARTS)))
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    norms = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    # The sums in LitePose's head come before their batch norms, so these three stay.
    kept = len(getattr(model.head, "norms", ()))
    assert DeployNetwork(model).num_folded == norms - kept
    path, errors, report = export(
        config, str(folder / "weights.pth"), folder / "out", ExportOptions(backend=backend), (), options
    )
    assert errors["map_error"] < 5e-4
    assert ("letterboxed" in report) is False
    side = model.codec.input_size
    photos = [
        np.ascontiguousarray(drawn_scene(model.codec.meta, (160, 160))[:h, :w]) for w, h in ((160, 90), (90, 160))
    ]
    with PoseRuntime(path) as runtime:
        assert set(runtime.sidecar.outputs) <= set(Maps._fields)
        for photo, people in zip(photos, runtime.predict(photos)):
            expected = inference(model, photo)[0].pred_instances
            assert len(people) == len(expected.keypoints) > 0
            np.testing.assert_allclose(people.scores, expected.bbox_scores, atol=1e-3)
            np.testing.assert_allclose(people.keypoints, expected.keypoints, atol=160 / side * 0.05)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", SMALL)
def test_a_small_form_finds_the_same_people(name, backend, tmp_path):
    export_and_compare(name, small_options(name), backend, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_network_of_full_width_finds_the_same_people(name, backend, tmp_path):
    export_and_compare(name, {"codec.input_size": 128, "codec.min_score": 0.05}, backend, tmp_path)
