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
from ehrpose.structures import People

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is in the extra 'deploy'")

FOLDER = Path(__file__).parents[3] / "configs/rivals"
FULL_SIZE = (
    "higherhrnet-w32_coco-512", "hrnet-w32-udp_coco-512", "litepose-l_coco-512", "res50_coco-512",
    "mobilenetv2_coco-512", "lwopenpose_coco-368",
)  # fmt: skip
# An exported network sees each photo once, and the runtime decodes in the mode "fast". Which of many similar pixels a
# missing keypoint falls to depends on the processor.
PLAIN = {"model.flip_test": False, "codec.mode": "fast"}
# One of each kind of backbone, neck and head; the others take 2 s each as well.
QUICK = (
    "higherhrnet-w32_coco-512",
    "litepose-xs_coco-256",
    "res50_coco-512",
    "hourglass_coco-512",
    "lwopenpose_coco-368",
)


def export_and_compare(name, options, folder, backend="onnxruntime", decode="none"):
    """Export once, and run the file with both runtimes."""
    from ehrpose.deploy.export.onnx import DeployNetwork
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.export.parity import change_of_people
    from ehrpose.deploy.pipeline import drawn_scene, export
    from ehrpose.deploy.runtime import PoseRuntime

    options = {**options, **PLAIN}
    if not name.startswith("lwopenpose"):
        options["codec.fill_missing"] = False
    config = str(FOLDER / f"{name}.py")
    model = enliven(init_model(load_config(config, options, INFERENCE_PARTS)))
    torch.save({"state_dict": model.state_dict()}, folder / "weights.pth")
    norms = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    # The sums in LitePose's head come before their batch norms, so these three stay.
    kept = len(getattr(model.head, "norms", ()))
    assert len(DeployNetwork(model).folded) == norms - kept
    weights = str(folder / "weights.pth")
    path, errors, _ = export(
        config, weights, folder / "out", ExportOptions(backend=backend, decode=decode), (), options
    )
    assert errors["map_error"] < 5e-4
    photos = [
        np.ascontiguousarray(drawn_scene(model.codec.meta, (160, 160))[:h, :w])
        for w, h in ((160, 90), (90, 160))
    ]
    found = [inference(model, photo)[0].pred_instances for photo in photos]
    expected = [People(f.keypoints, f.keypoint_scores, f.bbox_scores) for f in found]
    for runtime_name in ("onnxruntime", "openvino"):
        with PoseRuntime(path, runtime_name) as runtime:
            codec = runtime.codec
            names = codec.output_names if decode == "none" else codec.peaks_type._fields
            assert tuple(runtime.sidecar.outputs) == names
            people = runtime.predict(photos)
        assert people[0].scores[0] == pytest.approx(expected[0].scores[0], abs=2e-3)
        change = change_of_people(list(zip(people, expected)), (160, 160))
        assert (change.missing, change.added) == (0, 0), change.describe()
        assert change.num_people > 5


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SMALL]
)
def test_a_small_form_finds_the_same_people(name, tmp_path):
    export_and_compare(name, small_options(name), tmp_path)


def test_candidates_of_lightweight_openpose_are_the_same_people(tmp_path):
    name = "lwopenpose_coco-368"
    export_and_compare(name, small_options(name), tmp_path, decode="peaks")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_network_of_full_width_finds_the_same_people(name, backend, tmp_path):
    export_and_compare(name, {"codec.input_size": 128, "codec.min_score": 0.05}, tmp_path, backend)


def test_default_shapes_of_hourglasses_are_multiples_of_64():
    from ehrpose.deploy.export.input_form import input_form
    from ehrpose.deploy.export.onnx import DeployNetwork, export_onnx
    from ehrpose.deploy.export.options import ExportOptions

    name = "hourglass-mmpose_coco-512"
    model = init_model(load_config(str(FOLDER / f"{name}.py"), small_options(name), INFERENCE_PARTS))
    # For 64 px and other networks: 96 x 64.
    assert input_form(model, ExportOptions(backend="tensorrt")).varying == {"shapes": [[64, 128], [128, 64]]}
    for sizes in ({"input_wh": (96, 64)}, {"shapes_wh": ((64, 64), (96, 64))}):
        with pytest.raises(ValueError, match="expected an input size in multiples of 64 px, got 96 x 64"):
            input_form(model, ExportOptions(**sizes))
    with pytest.raises(ValueError, match="multiples of 64 px"):
        export_onnx(DeployNetwork(model), (96, 64))
