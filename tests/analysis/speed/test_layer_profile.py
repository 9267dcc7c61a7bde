from __future__ import annotations

import pytest

from ehrpose.analysis.speed.layer_profile import (
    LayerProfile,
    LayerTime,
    convolution_macs,
    profile_layers,
    report,
)
from ehrpose.deploy.sidecar import DeployError
from ehrpose.models.complexity import count_complexity
from ehrpose.models.loading import init_model


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_nodes_have_times_and_nearly_all_multiply_adds(exported, backend):
    pytest.importorskip(backend, reason=f"{backend} is in the extra 'deploy'")
    path = exported()
    profile = profile_layers(path, backend, num_threads=1, runs=3)
    assert profile.backend == backend
    assert profile.wall_ms > 0
    assert all(layer.milliseconds >= 0 for layer in profile.layers)
    parts = {layer.part for layer in profile.layers}
    assert {"backbone/stem", "backbone/stages.6", "head/blocks"} <= parts
    known = sum(layer.macs for layer in profile.layers)
    every = convolution_macs(path)
    unique = {name: macs for name, macs in every.items() if name.startswith("/") and name.endswith("Conv")}
    assert 0.85 * sum(unique.values()) < known


def test_multiply_adds_are_those_of_get_flops(exported, demo_config):
    model = init_model(demo_config)
    counted = count_complexity(model, (128, 128))
    macs = convolution_macs(exported(input_wh=(128, 128)))
    ours = {name: value for name, value in macs.items() if name.endswith(("/Conv", "/ConvTranspose"))}
    # Only the exported network has the 1 x 1 convolution of the normalisation.
    whole = sum(ours.values()) - ours["/normalise/Conv"]
    assert whole == pytest.approx(counted.macs, rel=0.02)


def test_report_orders_by_time_and_adds_up():
    layers = [
        LayerTime("/backbone/stem/conv/Conv", "Conv", 1.0, 2_000_000),
        LayerTime("/neck/stages.0.0/branches.0/conv1/Conv", "Conv", 3.0, 3_000_000),
        LayerTime("/neck/stages.0.0/branches.1/conv1/Conv", "Conv", 2.0),
        LayerTime("Reorder_1", "Reorder", 0.5),
    ]
    text = report(LayerProfile(layers, 5.0, "openvino"), top=2)
    assert text.startswith("openvino: 5.00 ms per run; nodes add up to 6.50 ms")
    nodes, parts, operators = text.split("\n\n")[1:]
    assert [line.split(" | ")[0] for line in nodes.splitlines()[2:]] == [
        "| /neck/stages.0.0/branches.0/conv1/Conv", "| /neck/stages.0.0/branches.1/conv1/Conv",
    ]  # fmt: skip
    assert "| neck/stages.0.0/branches | 5.000 | 76.9% | 0.6 |" in parts
    assert "| other | 0.500 | 7.7% |  |" in parts
    assert "| Conv | 6.000 | 92.3% | 0.8 |" in operators


def test_what_cannot_be_profiled_is_named(exported, tmp_path):
    with pytest.raises(DeployError, match="trtexec"):
        profile_layers(exported(), "tensorrt")
    with pytest.raises(FileNotFoundError):
        profile_layers(tmp_path / "a.onnx")
